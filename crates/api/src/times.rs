//! The form of the times that users write.

use schemars::{Schema, SchemaGenerator, json_schema};

/// Whether `$text` is a time that every client can parse.
///
/// The schema's own `date-time` also accepts times that clients cannot parse, such as `9999-12-31T23:59:59Z`. Every
/// reader would skip such an object. CEL sees only the parsed value of a `date-time`, so both times are strings here.
macro_rules! is_time {
    ($text:literal) => {
        concat!(
            $text,
            ".matches('^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')",
            " && !format.datetime().validate(",
            $text,
            ").hasValue()"
        )
    };
}

pub(super) const IS_TIME: &str = is_time!("self");

/// Compares only well-formed times, as a malformed one has its own message.
pub(super) const IS_EARLIER: &str = concat!(
    "!has(self.notBeforeTime) || [self.notBeforeTime, self.notAfterTime].exists(time, !(",
    is_time!("time"),
    ")) || timestamp(self.notBeforeTime) < timestamp(self.notAfterTime)"
);

/// The schema of such a time: a string, as the rules say the rest.
pub(super) fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 40})
}
