//! The list of a tenant's sessions (DescribeProcessStatsComposition): bytes in, sessions or a typed error out. Pure, and
//! total: no input makes it panic.
//!
//! Conclusions are drawn from the absence of a session, so nothing that is missing may look like an empty list.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::answer::RawAnswer;
use super::error::CallError;
use super::session_row::{SessionRow, text_of};

/// The most bytes of a list that are read: some 30,000 sessions with their statements.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

/// The most sessions that are kept, more than that many bytes hold of documented rows. Rows stripped to their IDs would
/// take many times the memory that they had as text.
const MAX_SESSIONS: usize = 65_536;

/// How deep rows may stand within rows: three levels are documented.
const MAX_DEPTH: usize = 4;

/// The sessions of a tenant at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessList {
    /// Each session once, in the order of the answer.
    pub sessions: Vec<SessionRow>,
    /// Whether all sessions are in `sessions`. False when the API counts more than it lists, or when a row could not be
    /// read: then the absence of a session proves nothing.
    pub complete: bool,
}

impl ProcessList {
    /// Reads an answer. One without `Data.AllProcessList` is ambiguous: an absent list is not an empty one.
    pub fn read(raw: &RawAnswer) -> Result<Self, CallError> {
        raw.request_id_of_success()?;
        let Some(Data { rows: Some(rows), total }) = raw.data()? else {
            return Err(raw.unreadable("Data that has no AllProcessList"));
        };
        let complete = rows.all_read && covers(rows.sessions.len(), &total);
        Ok(Self { sessions: rows.sessions, complete })
    }
}

/// Whether the API counts no more than is listed; `total` is empty if it gave no count. One that cannot be read vouches
/// for nothing.
fn covers(listed: usize, total: &str) -> bool {
    let total = total.trim();
    total.is_empty() || total.parse::<usize>().is_ok_and(|total| total <= listed)
}

struct Data {
    rows: Option<Rows>,
    total: String,
}

impl<'de> Deserialize<'de> for Data {
    /// By hand, because a derived one would take an array for an object: its first element for the list.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Data;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Data, A::Error> {
                let mut data = Data { rows: None, total: String::new() };
                while let Some(name) = members.next_key::<String>()? {
                    match name.as_str() {
                        "AllProcessList" if data.rows.is_some() => {
                            return Err(A::Error::duplicate_field("AllProcessList"));
                        }
                        "AllProcessList" => data.rows = members.next_value()?,
                        "TotalSessionCount" => data.total = text_of(&members.next_value()?),
                        _ => {
                            members.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(data)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// What the rows came to, those within other rows among them.
struct Rows {
    sessions: Vec<SessionRow>,
    /// Where each session stands in `sessions`, and how deep its row stood.
    places: HashMap<(String, i64), (usize, usize)>,
    all_read: bool,
}

impl Rows {
    fn read(&mut self, row: &Value, depth: usize) {
        let Value::Object(members) = row else {
            self.all_read = false;
            return;
        };
        let inner: Vec<_> =
            ["ProcessSqlLists", "ProcessSqlList"].iter().filter_map(|name| members.get(*name)).collect();
        let has_inner = inner.iter().any(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()));
        // A row that only groups others names no session itself.
        let groups = has_inner && members.get("SessionId").is_none_or(Value::is_null);
        match SessionRow::deserialize(row) {
            Ok(session) if session.session_id > 0 => self.keep(session, depth),
            _ => self.all_read &= groups,
        }
        for rows in inner {
            self.read_inner(rows, depth + 1);
        }
    }

    fn read_inner(&mut self, rows: &Value, depth: usize) {
        match rows {
            Value::Null => {}
            Value::Array(rows) if rows.is_empty() => {}
            Value::Array(rows) if depth <= MAX_DEPTH => rows.iter().for_each(|row| self.read(row, depth)),
            _ => self.all_read = false,
        }
    }

    /// Of the rows that name the same session the outermost is kept.
    fn keep(&mut self, session: SessionRow, depth: usize) {
        // Without its server nobody can tell which session it is.
        self.all_read &= !session.server_ip.is_empty();
        let full = self.sessions.len() >= MAX_SESSIONS;
        match self.places.entry((session.server_ip.clone(), session.session_id)) {
            Entry::Occupied(mut place) => {
                let (index, kept_depth) = *place.get();
                if depth < kept_depth {
                    place.insert((index, depth));
                    self.sessions[index] = session;
                }
            }
            Entry::Vacant(_) if full => self.all_read = false,
            Entry::Vacant(place) => {
                place.insert((self.sessions.len(), depth));
                self.sessions.push(session);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Rows {
    /// Row by row: a tree of the whole list would take many times the memory of its text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Rows;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rows, A::Error> {
                let mut rows = Rows { sessions: Vec::new(), places: HashMap::new(), all_read: true };
                while let Some(row) = list.next_element::<Value>()? {
                    rows.read(&row, 1);
                }
                Ok(rows)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oceanbase::error::ErrorKind;

    fn read_bytes(status: u16, body: &[u8]) -> Result<ProcessList, CallError> {
        ProcessList::read(&RawAnswer { status, retry_after: None, gateway_time: None, body: body.to_vec() })
    }

    fn read(body: &str) -> Result<ProcessList, CallError> {
        read_bytes(200, body.as_bytes())
    }

    /// The list of an answer with these rows and no count.
    fn rows(rows: &str) -> ProcessList {
        read(&format!(r#"{{"Data":{{"AllProcessList":[{rows}]}}}}"#)).unwrap()
    }

    /// Server, ID and user of each session.
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
        let active = SessionRow {
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
            proxy_sess_id: "12402504630519660553".to_owned(),
        };
        let idle = SessionRow {
            session_id: 3_221_614_620,
            server_ip: "192.168.13.119".to_owned(),
            status: "SLEEP".to_owned(),
            ..SessionRow::default()
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
        assert_eq!((session.proxy_sess_id.as_str(), session.user.as_str()), ("12402504630519660553", ""));
        assert_eq!((session.tenant_id.as_str(), session.command.as_str()), ("5", "true"));
        assert!(list.complete);
    }

    #[test]
    fn an_empty_list_is_one_that_was_given() {
        let list = read(r#"{"Data":{"TotalSessionCount":0,"AllProcessList":[]}}"#).unwrap();
        assert_eq!(list, ProcessList { sessions: vec![], complete: true });
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
        // The second row is the first session again.
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

    #[test]
    fn more_sessions_than_are_kept_are_told_of() {
        let list = |count: usize| {
            let row = |id| format!(r#"{{"SessionId":{id},"ServerIp":"a"}}"#);
            let list = rows(&(1..=count).map(row).collect::<Vec<_>>().join(","));
            (list.sessions.len(), list.complete)
        };
        assert_eq!(list(MAX_SESSIONS), (MAX_SESSIONS, true));
        assert_eq!(list(MAX_SESSIONS + 1), (MAX_SESSIONS, false));
    }
}
