//! Parses the list of a tenant's sessions (DescribeProcessStatsComposition) into sessions or a typed error. Pure, and
//! total: no input makes it panic.
//!
//! A session's absence leads to conclusions, so nothing that is missing may look like an empty list. All rows decide
//! whether the list is complete, but only the wanted ones are kept.

use std::borrow::Cow;
use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use sessionkill_core::backend::{CallError, ProcessList};
use sessionkill_core::selection::{Filter, Selecting};
use sessionkill_core::session::Seen;
use sessionkill_core::snapshot::Limits;

use super::json::{By, Reader, Skipped, Text};
use super::raw_answer::{Body, RawAnswer, unreadable};
use super::session_row::{self, Member};
use super::sieve::{Sieve, Sifted};

/// The most bytes read of a list: about 30,000 sessions with their statements.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

/// The most sessions counted: more documented rows do not fit into [`MAX_LIST_BYTES`].
const MAX_SESSIONS: usize = 65_536;

/// The deepest level of nested rows; three levels are documented.
const MAX_DEPTH: usize = 4;

/// Parses an answer. One without `Data.AllProcessList` is ambiguous: an absent list is not an empty one.
///
/// `filters` select sessions from all of them, whatever their IDs are.
pub fn read_list<B: Body>(
    raw: RawAnswer<B>,
    sieve: Sieve<'_>,
    filters: &[Arc<Filter>],
) -> Result<ProcessList, CallError> {
    let (key, status) = (sieve.key().clone(), raw.status);
    match raw.read(&key, Data(Rows::new(sieve, filters)))? {
        (_, Some(Some(list))) => Ok(list),
        _ => Err(unreadable(status, "Data that has no AllProcessList")),
    }
}

/// Whether the API counts no more sessions than it lists; `total` is empty if there is no count. An unreadable count
/// proves nothing.
fn covers(listed: usize, total: &str) -> bool {
    let total = total.trim();
    total.is_empty() || total.parse::<usize>().is_ok_and(|total| total <= listed)
}

/// Parses `Data`; `None` if it has no list or two lists.
struct Data<'a>(Rows<'a>);

impl<'de> Reader<'de> for Data<'_> {
    type Value = Option<ProcessList>;

    fn scalar(self, _: Option<Cow<'_, str>>) -> Self::Value {
        None
    }

    fn passed_over(self) -> Self::Value {
        None
    }

    fn object<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut lists, mut total) = (0, String::new());
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "AllProcessList" => {
                    let what = members.next_value_seed(By(List(&mut self.0)))?;
                    lists += match what {
                        Given::Null if lists == 0 => 0,
                        Given::Rows => 1,
                        // As bad as two lists.
                        Given::Null | Given::Odd => 2,
                    };
                }
                "TotalSessionCount" => total = members.next_value_seed(By(Text))?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok((lists == 1).then(|| self.0.into_list(&total)))
    }
}

/// The result of the rows, including nested ones.
struct Rows<'a> {
    sieve: Sieve<'a>,
    /// The number of rows read so far.
    read: usize,
    /// All sessions, each as a hash of its server and ID: there are many, and unwanted ones are not kept.
    counted: HashSet<u64>,
    hasher: RandomState,
    /// The kept rows, by the same hash.
    kept: HashMap<u64, Kept>,
    selecting: Selecting,
    /// Of each session, the outermost row that was offered to `selecting`, by the same hash.
    offered: HashMap<u64, (usize, usize)>,
    all_read: bool,
}

struct Kept {
    /// The depth of its row, and the number of the row.
    place: (usize, usize),
    session: Seen,
}

impl<'a> Rows<'a> {
    fn new(sieve: Sieve<'a>, filters: &[Arc<Filter>]) -> Self {
        Self {
            sieve,
            read: 0,
            counted: HashSet::new(),
            hasher: RandomState::new(),
            kept: HashMap::new(),
            selecting: Selecting::of(filters),
            offered: HashMap::new(),
            all_read: true,
        }
    }

    /// Of several rows for one session, the outermost is selected by.
    fn offer(&mut self, hash: u64, session: &Seen, place: (usize, usize)) {
        if !self.selecting.is_any() {
            return;
        }
        match self.offered.insert(hash, place) {
            Some(before) if before <= place => drop(self.offered.insert(hash, before)),
            before => {
                if before.is_some() {
                    self.selecting.withdraw(hash);
                }
                let sieve = &self.sieve;
                self.selecting.offer(hash, session, |seen| sieve.storable(seen));
            }
        }
    }

    /// Of several rows for one session, keeps the outermost.
    fn keep(&mut self, mut session: Seen, place: (usize, usize)) {
        // A session without its server cannot be identified.
        self.all_read &= !session.server_ip.is_empty();
        let hash = self.hasher.hash_one((&session.server_ip, session.session_id));
        if self.counted.len() < MAX_SESSIONS {
            self.counted.insert(hash);
        } else if !self.counted.contains(&hash) {
            self.all_read = false;
            return;
        }
        self.offer(hash, &session, place);
        let entry = self.kept.entry(hash);
        if matches!(&entry, Entry::Occupied(kept) if kept.get().place <= place) {
            return;
        }
        match self.sieve.sift(&mut session, &mut String::new()) {
            Sifted::Kept => drop(entry.insert_entry(Kept { place, session })),
            Sifted::Unwanted => {}
            Sifted::NoRoom => self.all_read = false,
        }
    }

    fn into_list(self, total: &str) -> ProcessList {
        let complete = self.all_read && covers(self.counted.len(), total);
        let mut kept: Vec<Kept> = self.kept.into_values().collect();
        kept.sort_unstable_by_key(|kept| kept.place.1);
        let sessions = kept.into_iter().map(|kept| kept.session).collect();
        ProcessList { sessions, selected: self.selecting.finish(), complete, limits: Limits::default() }
    }
}

/// The type of the value of `AllProcessList`.
enum Given {
    Null,
    Rows,
    Odd,
}

/// Parses `AllProcessList`.
struct List<'r, 'a>(&'r mut Rows<'a>);

impl<'de> Reader<'de> for List<'_, '_> {
    type Value = Given;

    fn scalar(self, text: Option<Cow<'_, str>>) -> Given {
        if text.is_none() { Given::Null } else { Given::Odd }
    }

    fn passed_over(self) -> Given {
        Given::Odd
    }

    fn array<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Given, A::Error> {
        while elements.next_element_seed(By(Row { rows: self.0, depth: 1 }))?.is_some() {}
        Ok(Given::Rows)
    }
}

/// Parses a row and the rows nested in it.
struct Row<'r, 'a> {
    rows: &'r mut Rows<'a>,
    depth: usize,
}

impl<'de> Reader<'de> for Row<'_, '_> {
    type Value = ();

    fn scalar(self, _: Option<Cow<'_, str>>) {
        self.rows.all_read = false;
    }

    fn passed_over(self) {
        self.rows.all_read = false;
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { rows, depth } = self;
        rows.read += 1;
        let place = (depth, rows.read);
        let (mut session, mut has_id, mut has_inner) = (Seen::default(), false, false);
        while let Some(member) = members.next_key()? {
            match member {
                Member::SessionId => has_id = session_row::read_id(&mut session, &mut members)?,
                Member::ProcessSqlLists | Member::ProcessSqlList => {
                    has_inner |= members.next_value_seed(By(Inner { rows, depth: depth + 1 }))?;
                }
                member => session_row::read(&mut session, member, &mut members)?,
            }
        }
        if session.session_id > 0 {
            rows.keep(session, place);
        } else {
            // A row without an ID is fine only if it just groups other rows.
            rows.all_read &= has_inner && !has_id;
        }
        Ok(())
    }
}

/// Parses nested rows; true if there are any.
struct Inner<'r, 'a> {
    rows: &'r mut Rows<'a>,
    depth: usize,
}

impl<'de> Reader<'de> for Inner<'_, '_> {
    type Value = bool;

    fn scalar(self, text: Option<Cow<'_, str>>) -> bool {
        self.rows.all_read &= text.is_none();
        false
    }

    fn passed_over(self) -> bool {
        self.rows.all_read = false;
        false
    }

    fn array<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let Self { rows, depth } = self;
        let mut is_any = false;
        if depth > MAX_DEPTH {
            while elements.next_element::<Skipped>()?.is_some() {
                (is_any, rows.all_read) = (true, false);
            }
        } else {
            while elements.next_element_seed(By(Row { rows: &mut *rows, depth }))?.is_some() {
                is_any = true;
            }
        }
        Ok(is_any)
    }
}

#[cfg(test)]
mod tests {
    use sessionkill_core::backend::ErrorKind;

    use super::*;
    use crate::alibaba::AccessKey;

    fn key() -> AccessKey {
        AccessKey { id: "id".to_owned(), secret: "canary".into(), security_token: None }
    }

    fn read_bytes(status: u16, body: &[u8]) -> Result<ProcessList, CallError> {
        read_list(RawAnswer { status, retry_after: None, gateway_time: None, body }, Sieve::new(&key(), &|_| true), &[])
    }

    fn read(body: &str) -> Result<ProcessList, CallError> {
        read_bytes(200, body.as_bytes())
    }

    /// The list in an answer with these rows and no count.
    fn rows(rows: &str) -> ProcessList {
        read(&format!(r#"{{"Data":{{"AllProcessList":[{rows}]}}}}"#)).unwrap()
    }

    /// The server, ID and user of each session.
    fn named(list: &ProcessList) -> Vec<(&str, i64, &str)> {
        list.sessions.iter().map(|it| (it.server_ip.as_str(), it.session_id, it.user.as_str())).collect()
    }

    fn assert_unreadable(body: &str) {
        let error = read(body).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Ambiguous, "UnreadableAnswer"), "{body}");
    }

    /// Rows in the documented shape.
    const SAMPLE: &str = r#"{"RequestId": "EE205C00-30E4-XXXX-XXXX-87E3A8A2AA0C", "Data": {"TotalSessionCount": 2,
        "ActiveSessionCount": 1, "IdleSessionCount": 1, "ObVersion": "4.2.1.8", "AllProcessList": [{"SessionId": 3221614618,
        "ServerIp": "192.168.13.119", "ServerSn": "i-bp1", "ClientIp": "10.2.3.4", "TenantId": "t4louaeei0001",
        "User": "report_ro", "Database": "reports", "Command": "Query", "Status": "ACTIVE", "SqlText": "SELECT 1",
        "SqlId": "45CCBDC7F1D2A0B34C5D6E7F8091A2B3", "TraceId": "YB42", "PlanId": "", "ExecuteTime": 742, "CpuTime": 600,
        "ProxySessId": "12402504630519660553", "DynamicSql": false, "ProcessSqlLists": []}, {"SessionId": 3221614620,
        "ServerIp": "192.168.13.119", "Status": "SLEEP"}], "SessionStatistics": {"UserStatistics": [{"MetricValue": "app",
        "ActiveCount": 1, "TotalCount": 2, "Type": "user"}], "SourceStatistics": [], "DataBaseStatistics": null}}}"#;

    #[test]
    fn the_documented_shape_is_read() {
        let list = read(SAMPLE).unwrap();
        assert!(list.complete);
        let active = Seen {
            session_id: 3_221_614_618,
            server_ip: "192.168.13.119".to_owned(),
            client_ip: "10.2.3.4".to_owned(),
            tenant_id: "t4louaeei0001".to_owned(),
            user: "report_ro".to_owned(),
            database: "reports".to_owned(),
            command: "Query".to_owned(),
            status: "ACTIVE".to_owned(),
            sql_text: "SELECT 1".to_owned(),
            sql_id: "45CCBDC7F1D2A0B34C5D6E7F8091A2B3".to_owned(),
            execute_time: "742".to_owned(),
            proxy_session_id: "12402504630519660553".to_owned(),
            ..Seen::default()
        };
        let idle = Seen {
            session_id: 3_221_614_620,
            server_ip: "192.168.13.119".to_owned(),
            status: "SLEEP".to_owned(),
            ..Seen::default()
        };
        assert_eq!(list.sessions, [active, idle]);
    }

    #[test]
    fn numbers_for_strings_and_the_reverse_are_read() {
        let list = rows(
            r#"{"SessionId":" 7 ","ServerIp":"::1","ExecuteTime":"742","ProxySessId":12402504630519660553,"User":null,
                "TenantId":5,"Command":true,"Unknown":{"a":[]}}"#,
        );
        let session = &list.sessions[0];
        assert_eq!((session.session_id, session.execute_time.as_str()), (7, "742"));
        assert_eq!((session.proxy_session_id.as_str(), session.user.as_str()), ("12402504630519660553", ""));
        assert_eq!((session.tenant_id.as_str(), session.command.as_str()), ("5", "true"));
        assert!(list.complete);
    }

    #[test]
    fn an_empty_list_is_one_that_was_given() {
        let list = read(r#"{"Data":{"TotalSessionCount":0,"AllProcessList":[]}}"#).unwrap();
        assert_eq!(list, ProcessList { sessions: vec![], selected: vec![], complete: true, limits: Limits::default() });
    }

    #[test]
    fn an_absent_list_is_not_an_empty_one() {
        for body in [
            r#"{"RequestId":"R"}"#,
            r#"{"Data":null}"#,
            r#"{"Data":[]}"#,
            r#"{"Data":[[],0]}"#,
            r#"{"Data":[{"AllProcessList":[]}]}"#,
            r#"{"Data":"{\"AllProcessList\":[]}"}"#,
            r#"{"Data":{}}"#,
            r#"{"Data":{"TotalSessionCount":0}}"#,
            r#"{"Data":{"allprocesslist":[]}}"#,
            r#"{"AllProcessList":[]}"#,
            r#"{"Data":{"AllProcessList":null}}"#,
            r#"{"Data":{"AllProcessList":{}}}"#,
            r#"{"Data":{"AllProcessList":""}}"#,
            r#"{"Data":{"AllProcessList":0}}"#,
            r#"{"Data":{"AllProcessList":[{"SessionId":1,"ServerIp":"a"}],"AllProcessList":[]}}"#,
            r#"{"Data":{"AllProcessList":[{"SessionId":1,"ServerIp":"a"}]},"Data":{"AllProcessList":[]}}"#,
            r#"{"Data":{"AllProcessList":[{"SessionId":1,"ServerIp":"a"}]},"data":{"AllProcessList":[]}}"#,
        ] {
            assert_unreadable(body);
        }
    }

    #[test]
    fn what_is_no_answer_of_the_api_is_unreadable() {
        for body in ["", " ", "<html>", "[]", "null", "7", "\"x\"", r#"[{"Data":{"AllProcessList":[]}}]"#] {
            assert_unreadable(body);
        }
        let empty = br#"{"Data":{"AllProcessList":[]}}"#;
        for status in [199, 302, 404, 500] {
            assert_eq!(read_bytes(status, empty).unwrap_err().kind, ErrorKind::Ambiguous, "{status}");
        }
        assert!(read_bytes(200, b"{\"Data\":{\"AllProcessList\":[{\"User\":\"\xff\"}]}}").is_err());
    }

    #[test]
    fn an_error_body_is_an_error_whatever_else_it_has() {
        let body = r#"{"Data":{"AllProcessList":[]},"Code":"Throttling.User","Message":"slow down","RequestId":"R"}"#;
        let error = read(body).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Throttled { retry_after: None });
        assert_eq!(error.to_string(), "Throttling.User: slow down (request R)");
        for (code, kind) in [
            ("Forbidden.RAM", ErrorKind::PermissionDenied),
            ("IllegalOperation.Resource", ErrorKind::Rejected),
            ("InvalidAction.NotFound", ErrorKind::OperationNotFound),
        ] {
            let body = format!(r#"{{"code":"{code}","data":[[[]]]}}"#);
            assert_eq!(read(&body).unwrap_err().kind, kind, "{code}");
        }
    }

    #[test]
    fn no_part_of_an_answer_is_taken_for_the_whole() {
        for end in 0..SAMPLE.len() {
            assert_unreadable(&SAMPLE[..end]);
        }
        assert_unreadable(&format!("{SAMPLE}}}"));
    }

    #[test]
    fn a_count_above_the_rows_says_that_some_are_missing() {
        let list = |count: &str| {
            let row = r#"{"SessionId":7,"ServerIp":"a"}"#;
            read(&format!(r#"{{"Data":{{"TotalSessionCount":{count},"AllProcessList":[{row},{row}]}}}}"#)).unwrap()
        };
        for count in ["0", "1", "\"1\"", "\" 1 \"", "null", "\"\""] {
            assert!(list(count).complete, "{count}");
        }
        // The second row repeats the first session.
        for count in ["2", "\"2\"", "-1", "1.5", "1e3", "\"many\"", "99999999999999999999"] {
            assert!(!list(count).complete, "{count}");
        }
    }

    #[test]
    fn a_row_that_cannot_be_read_is_left_out_and_told() {
        for odd in [
            "null",
            "7",
            "[]",
            r#"[7,"b"]"#,
            "{}",
            r#"{"ServerIp":"b"}"#,
            r#"{"SessionId":0,"ServerIp":"b"}"#,
            r#"{"SessionId":-7,"ServerIp":"b"}"#,
            r#"{"SessionId":7.5,"ServerIp":"b"}"#,
            r#"{"SessionId":99999999999999999999,"ServerIp":"b"}"#,
            r#"{"SessionId":"x","ServerIp":"b","ProcessSqlLists":[{"SessionId":1,"ServerIp":"a"}]}"#,
            r#"{"SessionId":1,"ServerIp":"a","ProcessSqlLists":{"SessionId":7,"ServerIp":"b"}}"#,
            r#"{"SessionId":1,"SessionId":2,"ServerIp":"a","ProcessSqlList":7}"#,
        ] {
            let list = rows(&format!(r#"{odd},{{"SessionId":1,"ServerIp":"a"}}"#));
            assert!(!list.complete, "{odd}");
            assert!(list.sessions.iter().all(|it| it.server_ip == "a"), "{odd}: {list:?}");
            assert!(named(&list).contains(&("a", 1, "")), "{odd}: {list:?}");
        }
    }

    #[test]
    fn a_session_without_its_server_makes_the_list_incomplete() {
        let list = rows(r#"{"SessionId":7,"User":"app"}"#);
        assert_eq!((named(&list), list.complete), (vec![("", 7, "app")], false));
    }

    #[test]
    fn rows_within_rows_are_sessions_too() {
        let list = rows(
            r#"{"SessionId":1,"ServerIp":"a","User":"one","ProcessSqlLists":[
                {"SessionId":2,"ServerIp":"a","User":"two","ProcessSqlList":[
                    {"SessionId":3,"ServerIp":"b","User":"three"}]},
                {"SessionId":4,"ServerIp":"a","User":"four"}]},
            {"SessionId":1,"ServerIp":"b","User":"five","ProcessSqlLists":null}"#,
        );
        let all = [("a", 1, "one"), ("a", 2, "two"), ("b", 3, "three"), ("a", 4, "four"), ("b", 1, "five")];
        assert_eq!((named(&list), list.complete), (all.to_vec(), true));
    }

    #[test]
    fn a_row_that_only_groups_others_is_no_session() {
        for id in ["", r#""SessionId":null,"#] {
            let list = rows(&format!(r#"{{{id}"SqlText":"x","ProcessSqlLists":[{{"SessionId":1,"ServerIp":"a"}}]}}"#));
            assert_eq!((named(&list), list.complete), (vec![("a", 1, "")], true));
        }
    }

    #[test]
    fn of_two_rows_for_one_session_the_outermost_is_kept() {
        let inner = r#"{"SessionId":1,"ServerIp":"a","User":"inner"}"#;
        let outer = r#"{"SessionId":"1","ServerIp":"a","User":"outer"}"#;
        let around = format!(r#"{{"SessionId":2,"ServerIp":"a","ProcessSqlLists":[{inner}]}}"#);
        for both in [format!("{around},{outer}"), format!("{outer},{around}"), format!("{outer},{outer},{around}")] {
            let list = rows(&both);
            let mut found = named(&list);
            found.sort_unstable();
            assert_eq!((found, list.complete), (vec![("a", 1, "outer"), ("a", 2, "")], true), "{both}");
        }
        let list = rows(&format!("{outer},{}", outer.replace("outer", "later")));
        assert_eq!(named(&list), [("a", 1, "outer")]);
    }

    #[test]
    fn rows_below_the_fourth_level_are_told_of() {
        let nest = |levels: usize| {
            let row = |level| format!(r#"{{"SessionId":{level},"ServerIp":"a","ProcessSqlList":[]}}"#);
            let nested =
                (1..levels).rev().fold(row(levels), |inner, level| row(level).replace("[]", &format!("[{inner}]")));
            let list = rows(&nested);
            (list.sessions.len(), list.complete)
        };
        assert_eq!([nest(1), nest(4), nest(5), nest(9)], [(1, true), (4, true), (4, false), (4, false)]);
    }

    #[test]
    fn deep_nesting_does_not_overflow_the_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let row = r#"{"SessionId":1,"ServerIp":"a","ProcessSqlList":["#;
        for body in [
            "[".repeat(100_000),
            r#"{"Data":"#.repeat(100_000),
            format!(r#"{{"Data":{deep}}}"#),
            format!(r#"{{"Data":{{"AllProcessList":{deep}}}}}"#),
            format!(r#"{{"Data":{{"AllProcessList":[{{"SessionId":1,"User":{deep}}}]}}}}"#),
            format!(r#"{{"Data":{{"AllProcessList":[{}{}]}}}}"#, row.repeat(10_000), "]}".repeat(10_000)),
        ] {
            assert_unreadable(&body);
        }
        let beside = format!(r#"{{"Other":{deep},"Data":{{"Other":{deep},"AllProcessList":[]}}}}"#);
        assert!(read(&beside).unwrap().complete);
    }

    /// A list of `count` sessions, filtered to those with `wanted` IDs.
    fn sifted(count: usize, wanted: &dyn Fn(i64) -> bool) -> ProcessList {
        let row = |id| format!(r#"{{"SessionId":{id},"ServerIp":"a"}}"#);
        let rows = (1..=count).map(row).collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"Data":{{"AllProcessList":[{rows}]}}}}"#);
        let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: body.as_bytes() };
        read_list(raw, Sieve::new(&key(), wanted), &[]).unwrap()
    }

    #[test]
    fn more_sessions_than_are_kept_are_told_of() {
        let counted = |count| {
            let list = sifted(count, &|id| id == 7 || id == 65_537);
            (list.sessions.len(), list.complete)
        };
        assert_eq!(counted(MAX_SESSIONS), (1, true));
        assert_eq!(counted(MAX_SESSIONS + 1), (1, false));
        let asked_for = sifted(MAX_SESSIONS, &|_| true);
        assert!(asked_for.sessions.len() < MAX_SESSIONS && !asked_for.complete, "there is no room for all of them");
    }

    #[test]
    fn only_sessions_that_were_asked_for_are_kept_and_all_are_counted() {
        let rows = |count: usize| {
            let row = |id| {
                format!(r#"{{"SessionId":{id},"ServerIp":"a","ProcessSqlList":[{{"SessionId":7,"ServerIp":"b"}}]}}"#)
            };
            (1..=count).map(row).collect::<Vec<_>>().join(",")
        };
        let list = |total: usize| {
            let body = format!(r#"{{"Data":{{"TotalSessionCount":{total},"AllProcessList":[{}]}}}}"#, rows(1000));
            let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: body.as_bytes() };
            read_list(raw, Sieve::new(&key(), &|id| [7, 500, 5000].contains(&id)), &[]).unwrap()
        };
        let whole = list(1001);
        assert_eq!(named(&whole), [("b", 7, ""), ("a", 7, ""), ("a", 500, "")]);
        assert!(whole.complete && !list(1002).complete);
    }

    #[test]
    fn a_row_that_nobody_asked_for_and_that_cannot_be_read_makes_the_list_incomplete() {
        for odd in [r#"{"SessionId":8}"#, "7", r#"{"SessionId":"x","ServerIp":"a"}"#] {
            let body = format!(r#"{{"Data":{{"AllProcessList":[{{"SessionId":7,"ServerIp":"a"}},{odd}]}}}}"#);
            let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: body.as_bytes() };
            let list = read_list(raw, Sieve::new(&key(), &|id| id == 7), &[]).unwrap();
            assert_eq!((named(&list), list.complete), (vec![("a", 7, "")], false), "{odd}");
        }
    }

    /// What a filter for the user report selects from these rows: whose session IDs, and how many match.
    fn selected(rows: &str) -> (Vec<i64>, usize) {
        let mut object = sessionkill_core::test_objects::request();
        object.spec.sessions.clear();
        object.spec.selector = Some(
            serde_json::from_value(serde_json::json!({"match": {"users": ["report"]}, "maxSessions": 5})).unwrap(),
        );
        let filter = Arc::new(Filter::of(&object.spec).unwrap().unwrap());
        let body = format!(r#"{{"Data":{{"AllProcessList":[{rows}]}}}}"#);
        let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: body.as_bytes() };
        let mut list = read_list(raw, Sieve::new(&key(), &|_| false), &[filter]).unwrap();
        assert!(list.sessions.is_empty(), "nobody asked for an ID");
        let selected = list.selected.remove(0);
        (selected.sessions.into_iter().map(|seen| seen.session_id).collect(), selected.matched)
    }

    #[test]
    fn of_several_rows_for_one_session_the_outermost_is_selected_by() {
        let row = |id: i64, user: &str, inner: &str| {
            format!(
                r#"{{"SessionId":{id},"ServerIp":"a","ExecuteTime":{id},"ProcessSqlLists":[{inner}],"User":"{user}"}}"#
            )
        };
        let rows = [row(1, "report", ""), row(2, "app", ""), row(3, "report", "")].join(",");
        assert_eq!(selected(&rows), (vec![3, 1], 2));
        assert_eq!(selected(&row(1, "app", &row(1, "report", ""))), (vec![], 0));
        assert_eq!(selected(&row(1, "report", &row(1, "app", ""))), (vec![1], 1));
        assert_eq!(selected(&row(1, "app", &row(2, "report", ""))), (vec![2], 1));
        let twice = [row(1, "report", ""), row(1, "app", "")].join(",");
        assert_eq!(selected(&twice), (vec![1], 1), "the first of two that are alike counts");
    }

    #[test]
    fn what_is_selected_holds_nothing_of_the_access_key() {
        let row = r#"{"SessionId":1,"ServerIp":"a","User":"report","SqlText":"select 'canary'"}"#;
        let mut object = sessionkill_core::test_objects::request();
        object.spec.selector = Some(serde_json::from_value(serde_json::json!({"match": {}})).unwrap());
        let filter = Arc::new(Filter::of(&object.spec).unwrap().unwrap());
        let body = format!(r#"{{"Data":{{"AllProcessList":[{row}]}}}}"#);
        let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: body.as_bytes() };
        let list = read_list(raw, Sieve::new(&key(), &|_| false), &[filter]).unwrap();
        let kept = &list.selected[0].sessions[0];
        assert!(kept.user == "report" && !kept.sql_text.contains("canary"), "{kept:?}");
    }
}
