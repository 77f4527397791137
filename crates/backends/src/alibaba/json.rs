//! Reads JSON of any shape member by member, and holds only what its reader keeps. Pure, and total: it never panics.
//!
//! Unlike in a derived deserializer, a value of an undocumented type is no error: only all members together tell
//! whether the call was executed, in whichever order they come.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads one value.
pub(super) trait Reader<'de>: Sized {
    type Value;

    /// For a text, a number or a boolean as written, or `None` for null.
    fn scalar(self, text: Option<Cow<'_, str>>) -> Self::Value;

    /// For an array or an object that was skipped.
    fn passed_over(self) -> Self::Value;

    /// For an array; skips it by default.
    fn array<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        while elements.next_element::<Skipped>()?.is_some() {}
        Ok(self.passed_over())
    }

    /// For an object; skips it by default.
    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        while members.next_entry::<Skipped, Skipped>()?.is_some() {}
        Ok(self.passed_over())
    }
}

/// Adapts a [`Reader`] to serde.
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
        // As in JSON: serde_json writes 1e3 as 1000.0, but Rust would write 1000.
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

/// The most bytes read of a text: the longest kept text, plus the longest key that may start inside it.
const MAX_READ: usize = 16 * 1024;

/// Reads a text up to [`MAX_READ`], a number or boolean as written, and anything else as an empty text.
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

/// Like [`Text`], but `None` for null.
pub(super) struct TextUnlessNull;

impl Reader<'_> for TextUnlessNull {
    type Value = Option<String>;

    fn scalar(self, text: Option<Cow<'_, str>>) -> Option<String> {
        // A copy, as a cut `String` would keep the memory of the rest.
        text.map(|text| if text.len() > MAX_READ { cut(&text).to_owned() } else { text.into_owned() })
    }

    fn passed_over(self) -> Option<String> {
        Some(String::new())
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_READ)]
}

/// Checks that a value is JSON of a readable depth, and drops it; serde's `IgnoredAny` checks neither.
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
