//! Makes lists of sessions as long as a test wants, without that number of sessions.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

const ROWS: &str = r#""AllProcessList":["#;
const TOTAL: &str = r#""TotalSessionCount":"#;
/// Larger than the IDs that tests name.
const FIRST: u64 = 4_000_000_000;

/// The same answer with this number of additional rows. An answer that is no list stays the same.
pub fn padded(body: Vec<u8>, rows: u32) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(&body) else { return body };
    let (Some(place), Some(total)) = (text.find(ROWS), total(text)) else { return body };
    let padding = padding(rows);
    let (before, after) = text.split_at(place + ROWS.len());
    let before = before.replacen(&format!("{TOTAL}{total}"), &format!("{TOTAL}{}", total + u64::from(rows)), 1);
    // Each row of the padding ends with a comma.
    let padding = if after.starts_with(']') { padding.trim_end_matches(',') } else { &padding };
    [before.as_bytes(), padding.as_bytes(), after.as_bytes()].concat()
}

fn total(text: &str) -> Option<u64> {
    let number = text.split_once(TOTAL)?.1;
    number[..number.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

/// Made once, as it may have megabytes and is used many times.
fn padding(rows: u32) -> Arc<str> {
    static LAST: Mutex<Option<(u32, Arc<str>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, text)) = last.as_ref().filter(|(of, _)| *of == rows) {
        return text.clone();
    }
    let mut text = String::new();
    for session in FIRST..FIRST + u64::from(rows) {
        let sql = Value::from(format!("SELECT region, SUM(amount) FROM orders WHERE batch = {session}"));
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"{{"SessionId":{session},"ServerIp":"192.168.13.119","ClientIp":"10.2.3.4","User":"report_ro","Database":"reports","Command":"Query","Status":"ACTIVE","SqlText":{sql},"ExecuteTime":1}},"#,
        );
    }
    let text: Arc<str> = text.into();
    *last = Some((rows, text.clone()));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_has_so_many_rows_more_and_says_so() {
        for own in [json!([]), json!([{"SessionId": 1}])] {
            let count = own.as_array().unwrap().len();
            let text = format!(r#"{{"Data":{{"TotalSessionCount":{count},"AllProcessList":{own}}}}}"#);
            let longer: Value = serde_json::from_slice(&padded(text.into_bytes(), 3)).unwrap();
            assert_eq!(longer["Data"]["TotalSessionCount"], count + 3, "{longer}");
            assert_eq!(longer["Data"]["AllProcessList"].as_array().unwrap().len(), count + 3, "{longer}");
        }
        assert_eq!(padded(b"{\"Data\":[]}".to_vec(), 3), b"{\"Data\":[]}");
    }
}
