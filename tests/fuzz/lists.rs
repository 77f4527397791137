//! The process list. A session that is missing in it counts as ended.

use std::collections::HashSet;

use bolero::check;
use serde_json::Value;
use sessionkill::oceanbase::process_list::read_list;
use sessionkill::oceanbase::raw_answer::RawAnswer;
use sessionkill::oceanbase::redact::WITHHELD;
use sessionkill::oceanbase::{CallError, ErrorKind, ProcessList, Sieve};

use crate::material::{Plan, assert_secret, body, key};
use crate::tally::{ITERATIONS, Tally};

#[test]
fn process_lists() {
    let tally = Tally::of("process lists");
    check!().with_iterations(ITERATIONS).with_type::<Plan>().for_each(|plan| {
        let body = body(plan);
        let list = read(&body, &|_| true);
        tally.count(list.is_ok());
        match list {
            Ok(list) => check_list(&body, &list),
            Err(error) => assert_secret(&format!("{error} {error:?}")),
        }
    });
    tally.assert_both();
}

/// A read for some sessions keeps exactly what a read of the whole list has about them.
#[test]
fn a_list_that_is_read_for_some_sessions_says_of_them_what_the_whole_says() {
    let tally = Tally::of("lists for some");
    check!().with_iterations(ITERATIONS).with_type::<Plan>().for_each(|plan| {
        let body = body(plan);
        let wanted = |id: i64| id % 2 == 1;
        let (whole, some) = (read(&body, &|_| true), read(&body, &wanted));
        tally.count(whole.is_ok());
        let expected = whole.map(|mut whole| {
            whole.sessions.retain(|session| wanted(session.session_id));
            whole
        });
        assert_eq!(some, expected);
    });
    tally.assert_both();
}

fn read(body: &[u8], wanted: &dyn Fn(i64) -> bool) -> Result<ProcessList, CallError> {
    let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body };
    read_list(raw, Sieve::new(&key(), wanted), &[])
}

#[test]
fn no_part_of_a_list_is_taken_for_the_whole() {
    let tally = Tally::of("cut lists");
    check!().with_iterations(ITERATIONS).with_type::<(Plan, u16)>().for_each(|(plan, cut)| {
        let mut body = body(plan);
        let is_whole = serde_json::from_slice::<Value>(&body).is_ok();
        body.truncate(usize::from(*cut) % body.len().max(1));
        let is_part = !String::from_utf8_lossy(&body).trim_end().ends_with('}');
        let list = read(&body, &|_| true);
        tally.count(is_whole);
        assert!(!is_part || list.is_err_and(|error| error.kind == ErrorKind::Ambiguous));
    });
    tally.assert_both();
}

fn check_list(body: &[u8], list: &ProcessList) {
    assert_secret(&format!("{list:?}"));
    // Skip lists that a strict parser refuses: parts that our parser ignores may have invalid UTF-8 or half of a
    // surrogate pair.
    let Ok(sent) = serde_json::from_slice::<Value>(body) else { return };
    let data = sent.get("Data").or_else(|| sent.get("data")).cloned().unwrap_or_default();
    let rows = data["AllProcessList"].as_array().expect("an absent list is not an empty one");
    assert!(list.sessions.iter().all(|session| session.session_id > 0));
    let withheld = list.sessions.iter().any(|session| session.server_ip == WITHHELD);
    let named: HashSet<_> =
        list.sessions.iter().map(|session| (session.server_ip.as_str(), session.session_id)).collect();
    assert!(withheld || named.len() == list.sessions.len(), "a session stands there twice: {list:?}");
    if list.complete {
        assert!(data["TotalSessionCount"].as_u64().is_none_or(|total| total <= list.sessions.len() as u64), "{sent}");
        assert!(rows.iter().all(|row| withheld || is_listed(row, &named)), "{sent}");
    }
}

/// Whether the list has the session that the row names. A row that only groups others names none.
fn is_listed(row: &Value, named: &HashSet<(&str, i64)>) -> bool {
    let id = row["SessionId"].as_i64().or_else(|| row["SessionId"].as_str()?.trim().parse().ok());
    let server = row["ServerIp"].as_str().map_or_else(|| row["ServerIp"].to_string(), str::to_owned);
    id.map_or(row.is_object() && row["SessionId"].is_null(), |id| named.contains(&(&server, id)))
}
