//! Bounds text from outside and escapes invisible characters in it, for statuses, Events and logs. Pure.

/// Invisible, although Unicode classes them as letters and symbols: the Hangul fillers and the blank Braille pattern.
const BLANKS: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

const ELLIPSIS: char = '…';

/// At most `max` characters of `text`, cut with an ellipsis. Invisible characters are escaped, such as `\n` or
/// `\u{202e}`: the API server stores them unchanged, so that they would reach the terminal of whoever reads the status,
/// and two different names could look the same.
#[must_use]
pub fn clamp(text: &str, max: usize) -> String {
    cut(text, max, is_seen, |_| 1)
}

/// Like [`clamp`], but at most `max` bytes, for limits in bytes.
#[must_use]
pub fn clamp_bytes(text: &str, max: usize) -> String {
    cut(text, max, is_seen, char::len_utf8)
}

/// Like [`clamp`], but in quotes, which show where a value begins and ends. `max` does not count the quotes.
#[must_use]
pub fn quoted(text: &str, max: usize) -> String {
    format!("\"{}\"", cut(text, max, |c| is_seen(c) && !matches!(c, '"' | '\\'), |_| 1))
}

/// As much of `text` as fits in `max`, measured by `size`; characters that are not `plain` are escaped.
fn cut(text: &str, max: usize, plain: fn(char) -> bool, size: fn(char) -> usize) -> String {
    // Fast path for printable ASCII, which is nearly all text in a process list.
    let is_usual = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.len() <= max && text.bytes().all(is_usual) {
        return text.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    // The last position that leaves room for the ellipsis.
    let mut end = 0;
    for c in text.chars() {
        let begin = out.len();
        if plain(c) {
            out.push(c);
        } else if BLANKS.contains(&c) {
            out.extend(c.escape_unicode());
        } else {
            out.extend(c.escape_debug());
        }
        used += out[begin..].chars().map(size).sum::<usize>();
        if used > max {
            out.truncate(end);
            out.push(ELLIPSIS);
            return out;
        }
        if used + size(ELLIPSIS) <= max {
            end = out.len();
        }
    }
    out
}

/// Whether `c` is visible by itself: not a control character, direction mark, joiner, combining mark, or blank other
/// than the ASCII space.
fn is_seen(c: char) -> bool {
    matches!(c, ' '..='~') || (c.escape_debug().len() == 1 && !BLANKS.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (hidden, shown) in [
            ("a\x1b[31m\nb\0", r"a\u{1b}[31m\nb\0"),
            ("a\u{7f}\u{85}\tb", r"a\u{7f}\u{85}\tb"),
            ("ad\u{200b}min", r"ad\u{200b}min"),
            ("\u{202e}nimda\u{202c}\u{2066}\u{200f}", r"\u{202e}nimda\u{202c}\u{2066}\u{200f}"),
            ("\u{feff}app\u{a0}\u{3000}\u{2028}", r"\u{feff}app\u{a0}\u{3000}\u{2028}"),
            ("app\u{ad}\u{e0041}\u{fe0f}\u{301}", r"app\u{ad}\u{e0041}\u{fe0f}\u{301}"),
            ("\u{3164}\u{2800}\u{115f}\u{1160}\u{ffa0}", r"\u{3164}\u{2800}\u{115f}\u{1160}\u{ffa0}"),
        ] {
            assert_eq!(clamp(hidden, 100), shown);
            assert_eq!(clamp_bytes(hidden, 100), shown);
            assert_eq!(quoted(hidden, 100), format!("\"{shown}\""));
        }
    }

    #[test]
    fn what_can_be_seen_stays_as_it_is() {
        for text in ["", " batch ", "it's \"a\\b\"", "数据库会话", "Größe — 'x'…", "😀"] {
            assert_eq!(clamp(text, 100), text);
        }
        let once = clamp("a\u{200b}\n", 100);
        assert_eq!(clamp(&once, 100), once, "shown again, it is the same");
    }

    #[test]
    fn a_value_has_an_end_that_can_be_seen() {
        assert_eq!(quoted("batch ", 64), "\"batch \"");
        assert_eq!(quoted("", 64), "\"\"");
        assert_eq!(quoted("a\", expected \"b\\", 64), r#""a\", expected \"b\\""#);
        assert_eq!(quoted("abcdef", 4), "\"abc…\"");
        assert_eq!(
            [quoted("\"", 64), quoted("\\", 64)],
            [r#""\"""#, r#""\\""#],
            "nor is a mark alone taken for the end"
        );
    }

    #[test]
    fn text_is_cut_at_a_character_boundary() {
        assert_eq!(clamp("数据库会话", 3), "数据…");
        assert_eq!(clamp("数据库", 3), "数据库");
        assert_eq!(clamp_bytes("数据库会话", 10), "数据…");
        assert_eq!(clamp_bytes("short", 10), "short");
        assert_eq!(clamp_bytes("short", 5), "short");
        assert_eq!(clamp("ab\u{200b}c", 8), "ab…", "an escape is not cut");
    }
}
