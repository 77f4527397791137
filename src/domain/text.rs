//! Bounds for text that comes from outside. Pure; used wherever such text enters a status, an Event or a log.

/// At most `max` characters of `text`, without control characters, cut at a character boundary with an ellipsis.
///
/// Control characters are stored verbatim by the API server and would reach the terminal of whoever reads the status.
#[must_use]
pub fn clamp(text: &str, max: usize) -> String {
    let mut clean = readable(text);
    let mut out: String = clean.by_ref().take(max).collect();
    if clean.next().is_some() {
        out.pop();
        out.push('…');
    }
    out.trim().to_owned()
}

/// At most `max` bytes of `text`, as [`clamp`] does it. For limits that count bytes.
#[must_use]
pub fn clamp_bytes(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "…";
    let mut out: String = readable(text).collect();
    if out.len() > max {
        out.truncate(out.floor_char_boundary(max.saturating_sub(ELLIPSIS.len())));
        out.push_str(ELLIPSIS);
    }
    out
}

fn readable(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if c.is_control() { ' ' } else { c })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_blanks() {
        assert_eq!(clamp("a\x1b[31m\nb\0", 20), "a [31m b");
        assert_eq!(clamp_bytes("a\x1b[31m\nb", 20), "a [31m b");
    }

    #[test]
    fn text_is_cut_at_a_character_boundary() {
        assert_eq!(clamp("数据库会话", 3), "数据…");
        assert_eq!(clamp("数据库", 3), "数据库");
        assert_eq!(clamp_bytes("数据库会话", 10), "数据…");
        assert_eq!(clamp_bytes("short", 10), "short");
    }
}
