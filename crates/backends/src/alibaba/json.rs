//! JSON of any shape, read member by member: nothing of it is held but what its reader keeps. Pure, and total.
//!
//! A value of another type than documented is no error, as a derived reader would have it: what a call came to is told by
//! all members together, whichever of them comes first.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads one value.
pub(super) trait Reader<'de>: Sized {
    type Value;

    /// Of a text, of a number or a boolean as written, or of null, which is none.
    fn scalar(self, text: Option<Cow<'_, str>>) -> Self::Value;

    /// Of an array or an object that is passed over.
    fn passed_over(self) -> Self::Value;

    /// Passes it over unless the reader has a use for arrays.
    fn array<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<Skipped>()?.is_some() {}
        Ok(self.passed_over())
    }

    /// Passes it over unless the reader has a use for objects.
    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<Skipped, Skipped>()?.is_some() {}
        Ok(self.passed_over())
    }
}

/// A [`Reader`] as serde takes it.
pub(super) struct By<R>(pub R);

impl<'de, R: Reader<'de>> DeserializeSeed<'de> for By<R> {
    type Value = R::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Reader<'de>> Visitor<'de> for By<R> {
    type Value = R::Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<R::Value, E> {
        Ok(self.0.scalar(None))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<R::Value, E> {
        Ok(self.0.scalar(Some(flag.to_string().into())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<R::Value, E> {
        Ok(self.0.scalar(Some(number.to_string().into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<R::Value, E> {
        Ok(self.0.scalar(Some(number.to_string().into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<R::Value, E> {
        // As JSON has it: 1e3 is 1000.0, which Rust would write as 1000.
        let number = serde_json::Number::from_f64(number).map(|number| number.to_string().into());
        Ok(self.0.scalar(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<R::Value, E> {
        Ok(self.0.scalar(Some(text.into())))
    }

    fn visit_string<E>(self, text: String) -> Result<R::Value, E> {
        Ok(self.0.scalar(Some(text.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<R::Value, A::Error> {
        self.0.array(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<R::Value, A::Error> {
        self.0.object(members)
    }
}

/// The most bytes of a text that are read: all that is kept of the longest, and the longest key that may begin in it.
const MAX_READ: usize = 16 * 1024;

/// Strings as they are up to a length, numbers and booleans as written, everything else as nothing.
pub(super) struct Text;

impl Reader<'_> for Text {
    type Value = String;

    fn scalar(self, text: Option<Cow<'_, str>>) -> String {
        TextUnlessNull.scalar(text).unwrap_or_default()
    }

    fn passed_over(self) -> String {
        String::new()
    }
}

/// The same, but none for null.
pub(super) struct TextUnlessNull;

impl Reader<'_> for TextUnlessNull {
    type Value = Option<String>;

    fn scalar(self, text: Option<Cow<'_, str>>) -> Option<String> {
        // A copy of what is read: the rest would stay in memory.
        text.map(|text| if text.len() > MAX_READ { cut(&text).to_owned() } else { text.into_owned() })
    }

    fn passed_over(self) -> Option<String> {
        Some(String::new())
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_READ)]
}

/// A value that must be JSON, and of a depth that is read, but is not kept. What is merely ignored need be neither.
pub(super) struct Skipped;

impl Reader<'_> for Skipped {
    type Value = Self;

    fn scalar(self, _: Option<Cow<'_, str>>) -> Self {
        Self
    }

    fn passed_over(self) -> Self {
        Self
    }
}

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        By(Self).deserialize(deserializer)
    }
}
