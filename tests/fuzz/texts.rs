//! Texts from outside, before they are stored.

use bolero::check;
use sessionkill::api::SqlTextPolicy;
use sessionkill::domain::sql_text::stored;
use sessionkill::domain::text::{clamp, clamp_bytes, quoted};

use crate::tally::{ITERATIONS, Tally};

#[test]
fn texts() {
    let tally = Tally::of("texts");
    check!().with_iterations(ITERATIONS).with_type::<(String, u8, u8)>().for_each(|(text, times, max)| {
        let (text, max) = (text.repeat(usize::from(times % 8)), usize::from(*max) + 1);
        let clamped = clamp(&text, max);
        tally.count(clamped == text);
        assert!(clamped.chars().count() <= max && !clamped.contains(char::is_control), "{clamped:?}");
        assert_eq!(clamp(&clamped, max), clamped, "what was stored once is stored again as it is");
        let cut = clamp_bytes(&text, max);
        assert!(cut.len() <= max.max("…".len()) && !cut.contains(char::is_control), "{cut:?}");
        assert_eq!(clamp_bytes(&cut, max.max("…".len())), cut, "what was cut once stays as it is");
        let value = quoted(&text, max);
        assert!(value.chars().count() <= max + 2 && !value.contains(char::is_control), "{value:?}");
        let statement = stored(&text, SqlTextPolicy::Truncated);
        assert!(statement.chars().count() <= 256 && !statement.contains(char::is_control));
        assert_eq!(stored(&text, SqlTextPolicy::None), "");
        let digest = stored(&text, SqlTextPolicy::Digest);
        assert!(digest.len() == if text.is_empty() { 0 } else { 71 }, "{digest}");
    });
    tally.assert_both();
}
