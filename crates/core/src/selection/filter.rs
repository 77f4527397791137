//! A selector made ready to be held against rows, and whether it holds for one. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use sessionkill_api::{MAX_SESSIONS, Scope, SessionCriteria, SessionKillSpec, SessionState, Take, TransactionState};

use crate::session::Seen;

/// The most memory of a compiled pattern (128 KiB): a short one can ask for much more, and its search can take as many steps for
/// each byte as it has states.
const MAX_PATTERN: usize = 128 << 10;

/// The most memory of what a search remembers (1 MiB).
const MAX_REMEMBERED: usize = 1 << 20;

/// The bytes of a statement that a pattern is held against: all that is kept of it by any backend.
const MAX_STATEMENT: usize = 8 * 1024;

/// A selector, its ranges and its pattern ready for use.
#[derive(Debug)]
pub struct Filter {
    matches: Criteria,
    exclude: Option<Criteria>,
    /// Whether only sessions that run a statement are meant: their statements are to end.
    runs_statement: bool,
    /// In which order the matching sessions are kept.
    pub(super) order: Order,
    /// How many of them are kept.
    pub(super) most: usize,
}

/// The order of matching sessions, by how long they have been in their present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The longest first.
    Longest,
    /// The shortest first.
    Newest,
}

#[derive(Debug)]
struct Criteria {
    given: SessionCriteria,
    ranges: Vec<IpNet>,
    pattern: Option<Regex>,
}

/// Whether a criterion holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    /// The row does not tell it.
    Untold,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// One criterion against one row; `None` if it is not given.
type Criterion = fn(&Criteria, &Seen) -> Option<Holds>;

/// All but that of the pattern, which costs far more.
const CHEAP: [Criterion; 8] = [
    Criteria::state,
    Criteria::command,
    Criteria::transaction,
    Criteria::execution,
    Criteria::user,
    Criteria::database,
    Criteria::sql_id,
    Criteria::client,
];

impl Filter {
    /// The filter of a request; `None` if it names its sessions. The error says which field cannot be used, where and why.
    pub fn of(spec: &SessionKillSpec) -> Result<Option<Self>, String> {
        let Some(selector) = &spec.selector else { return Ok(None) };
        let order = if selector.take == Take::Newest { Order::Newest } else { Order::Longest };
        Ok(Some(Self {
            matches: Criteria::of(&selector.matches, "match")?,
            exclude: selector.exclude.as_ref().map(|exclude| Criteria::of(exclude, "exclude")).transpose()?,
            runs_statement: spec.scope == Scope::Query,
            order,
            most: MAX_SESSIONS,
        }))
    }

    /// Whether `seen` is meant: every criterion of `match` holds, and none of `exclude`. What a row does not tell holds in
    /// neither way: such a session is not matched, and it is excluded.
    #[must_use]
    pub fn matches(&self, seen: &Seen) -> bool {
        let excludes = |exclude: &Criteria| exclude.statement(seen).is_some_and(|holds| holds != Holds::No);
        self.may_match(seen)
            && self.matches.statement(seen).is_none_or(|holds| holds == Holds::Yes)
            && !self.exclude.as_ref().is_some_and(excludes)
    }

    /// The same, whatever the patterns say: false if `seen` is not meant in any case.
    #[must_use]
    pub fn may_match(&self, seen: &Seen) -> bool {
        (!self.runs_statement || !seen.trace_id.is_empty())
            && self.matches.each(seen).all(|holds| holds == Holds::Yes)
            && !self.exclude.as_ref().is_some_and(|exclude| exclude.each(seen).any(|holds| holds != Holds::No))
    }

    /// Whether it has a pattern.
    #[must_use]
    pub fn has_pattern(&self) -> bool {
        self.matches.pattern.is_some() || self.exclude.as_ref().is_some_and(|exclude| exclude.pattern.is_some())
    }
}

impl Criteria {
    fn of(given: &SessionCriteria, part: &str) -> Result<Self, String> {
        let range = |text: &String| {
            text.parse().map_err(|_| format!("selector.{part}.clientCIDRs: {text} is not a range of addresses"))
        };
        let ranges = given.client_cidrs.iter().map(range).collect::<Result<_, _>>()?;
        let pattern = given.sql_text_pattern.as_deref().map(compiled).transpose();
        let pattern = pattern.map_err(|error| format!("selector.{part}.sqlTextPattern: {error}"))?;
        Ok(Self { given: given.clone(), ranges, pattern })
    }

    fn each<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = Holds> {
        CHEAP.iter().filter_map(move |criterion| criterion(self, seen))
    }

    fn state(&self, seen: &Seen) -> Option<Holds> {
        let is_it = |state: &SessionState| seen.status.eq_ignore_ascii_case(state.as_listed());
        one_of(&self.given.states, &seen.status, is_it)
    }

    fn command(&self, seen: &Seen) -> Option<Holds> {
        one_of(&self.given.commands, &seen.command, |command| seen.command.eq_ignore_ascii_case(command))
    }

    fn transaction(&self, seen: &Seen) -> Option<Holds> {
        let is_open = !seen.transaction_id.is_empty();
        self.given.transaction.map(|wanted| ((wanted == TransactionState::Open) == is_open).into())
    }

    fn execution(&self, seen: &Seen) -> Option<Holds> {
        let least = i64::from(self.given.min_execution_seconds?);
        Some(seen.seconds().map_or(Holds::Untold, |seconds| (seconds >= least).into()))
    }

    fn user(&self, seen: &Seen) -> Option<Holds> {
        one_of(&self.given.users, &seen.user, |user| *user == seen.user)
    }

    /// A session may have no database.
    fn database(&self, seen: &Seen) -> Option<Holds> {
        let databases = &self.given.databases;
        (!databases.is_empty()).then(|| databases.contains(&seen.database).into())
    }

    /// A session may run no statement.
    fn sql_id(&self, seen: &Seen) -> Option<Holds> {
        let ids = &self.given.sql_ids;
        (!ids.is_empty()).then(|| ids.iter().any(|id| id.eq_ignore_ascii_case(&seen.sql_id)).into())
    }

    fn client(&self, seen: &Seen) -> Option<Holds> {
        if self.ranges.is_empty() {
            return None;
        }
        let address = seen.client_ip.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical());
        Some(address.map_or(Holds::Untold, |address| self.ranges.iter().any(|range| range.contains(&address)).into()))
    }

    fn statement(&self, seen: &Seen) -> Option<Holds> {
        let pattern = self.pattern.as_ref()?;
        let statement = &seen.sql_text[..seen.sql_text.floor_char_boundary(MAX_STATEMENT)];
        Some((!statement.is_empty() && pattern.is_match(statement)).into())
    }
}

/// Whether `is_it` is true of one of `wanted`; `None` if there is none. Every session has a `value`: an empty one is not told.
fn one_of<T>(wanted: &[T], value: &str, is_it: impl Fn(&T) -> bool) -> Option<Holds> {
    (!wanted.is_empty()).then(|| if value.is_empty() { Holds::Untold } else { wanted.iter().any(is_it).into() })
}

/// Compiles a pattern, whose search takes time that grows with the statement only. The error says where it cannot be read.
fn compiled(pattern: &str) -> Result<Regex, String> {
    let at = |offset: usize, what: &dyn std::fmt::Display| {
        let position = pattern.get(..offset).unwrap_or(pattern).chars().count() + 1;
        format!("character {position} of the regular expression: {what}")
    };
    match regex_syntax::parse(pattern) {
        Err(regex_syntax::Error::Parse(error)) => return Err(at(error.span().start.offset, error.kind())),
        Err(regex_syntax::Error::Translate(error)) => return Err(at(error.span().start.offset, error.kind())),
        Err(error) => return Err(error.to_string()),
        Ok(_) => {}
    }
    RegexBuilder::new(pattern).size_limit(MAX_PATTERN).dfa_size_limit(MAX_REMEMBERED).build().map_err(|_| {
        "the regular expression takes too much memory: use smaller repetitions, and [A-Za-z0-9_] for \\w".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::test_objects::selecting;

    fn seen() -> Seen {
        Seen {
            server_ip: "192.168.13.119".to_owned(),
            session_id: 7,
            status: "ACTIVE".to_owned(),
            client_ip: "10.2.3.4".to_owned(),
            user: "report".to_owned(),
            database: "shop".to_owned(),
            sql_text: "SELECT * FROM orders WHERE id = 'x'".to_owned(),
            sql_id: "45CCBDC7F1D2A0B3".to_owned(),
            trace_id: "YB42".to_owned(),
            command: "Query".to_owned(),
            execute_time: "301.5".to_owned(),
            ..Seen::default()
        }
    }

    fn holds(selector: Value, seen: &Seen) -> bool {
        Filter::of(&selecting(selector).spec).unwrap().unwrap().matches(seen)
    }

    fn matches(criteria: &Value) -> bool {
        holds(json!({"match": criteria}), &seen())
    }

    #[test]
    fn each_criterion_holds_or_does_not() {
        let cases = [
            (json!({"users": ["app", "report"]}), json!({"users": ["Report"]})),
            (json!({"databases": ["shop"]}), json!({"databases": ["SHOP", "sho"]})),
            (json!({"clientCIDRs": ["10.0.0.0/8"]}), json!({"clientCIDRs": ["10.2.3.5/32", "fd00::/8"]})),
            (json!({"commands": ["query"]}), json!({"commands": ["Sleep"]})),
            (json!({"states": ["Active"]}), json!({"states": ["Sleep"]})),
            (json!({"sqlIDs": ["45ccbdc7f1d2a0b3"]}), json!({"sqlIDs": ["45ccbdc7f1d2a0b"]})),
            (json!({"sqlTextPattern": "(?i)from ORDERS"}), json!({"sqlTextPattern": "^from"})),
            (json!({"minExecutionSeconds": 301}), json!({"minExecutionSeconds": 302})),
            (json!({"transaction": "None"}), json!({"transaction": "Open"})),
        ];
        for (does, does_not) in &cases {
            assert!(matches(does) && !matches(does_not), "{does}, {does_not}");
            assert!(!holds(json!({"match": {}, "exclude": does}), &seen()), "{does}");
            assert!(holds(json!({"match": {}, "exclude": does_not}), &seen()), "{does_not}");
            for (other, other_not) in &cases {
                let both = |one: &Value, other: &Value| {
                    let mut both = one.clone();
                    both.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
                    both
                };
                assert!(matches(&both(does, other)));
                if does.as_object().unwrap().keys().ne(other.as_object().unwrap().keys()) {
                    assert!(!matches(&both(does, other_not)), "all fields of match must hold: {does}, {other_not}");
                    let exclude = both(does, other_not);
                    assert!(!holds(json!({"match": {}, "exclude": exclude}), &seen()), "one field excludes: {exclude}");
                }
            }
        }
        assert!(matches(&json!({})), "a filter without criteria is that of a DryRun");
    }

    #[test]
    fn what_a_row_does_not_tell_is_not_matched_and_is_excluded() {
        type Untell = fn(&mut Seen);
        let cases: [(Value, Untell); 5] = [
            (json!({"users": ["report"]}), |seen| seen.user.clear()),
            (json!({"clientCIDRs": ["0.0.0.0/0", "::/0"]}), |seen| seen.client_ip = "unix".to_owned()),
            (json!({"commands": ["Query"]}), |seen| seen.command.clear()),
            (json!({"states": ["Active"]}), |seen| seen.status.clear()),
            (json!({"minExecutionSeconds": 1}), |seen| seen.execute_time = "long".to_owned()),
        ];
        for (criteria, change) in cases {
            let mut untold = seen();
            change(&mut untold);
            assert!(!holds(json!({"match": criteria}), &untold), "{criteria}");
            assert!(!holds(json!({"match": {}, "exclude": criteria}), &untold), "{criteria}");
        }
        let idle = Seen { sql_text: String::new(), sql_id: String::new(), database: String::new(), ..seen() };
        for criteria in [json!({"sqlTextPattern": ".*"}), json!({"sqlIDs": ["45"]}), json!({"databases": ["shop"]})] {
            assert!(!holds(json!({"match": criteria}), &idle), "it has none: {criteria}");
            assert!(holds(json!({"match": {}, "exclude": criteria}), &idle), "it has none: {criteria}");
        }
    }

    #[test]
    fn an_address_is_compared_whatever_its_notation() {
        let mapped = Seen { client_ip: "::ffff:10.2.3.4".to_owned(), ..seen() };
        assert!(holds(json!({"match": {"clientCIDRs": ["10.2.3.4/32"]}}), &mapped));
    }

    #[test]
    fn of_a_session_that_runs_nothing_no_statement_is_ended() {
        let mut request = selecting(json!({"match": {"users": ["report"]}, "maxSessions": 1}));
        request.spec.scope = Scope::Query;
        let filter = Filter::of(&request.spec).unwrap().unwrap();
        assert!(filter.matches(&seen()));
        assert!(!filter.matches(&Seen { trace_id: String::new(), ..seen() }));
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused_with_its_position() {
        let refusal = |pattern: &str| {
            let of = selecting(json!({"match": {"sqlTextPattern": pattern}}));
            Filter::of(&of.spec).unwrap_err()
        };
        for (pattern, said) in [
            ("från (", "selector.match.sqlTextPattern: character 6 of the regular expression: unclosed group"),
            ("(?=x)", "character 1 of the regular expression: look-around"),
            (r"\p{Nowhere}", "character 1 of the regular expression: Unicode property not found"),
            (r"((\w{100}){100}){100}", "takes too much memory"),
        ] {
            let told = refusal(pattern);
            assert!(told.contains(said), "{pattern}: {told}");
        }
    }

    #[test]
    fn of_a_long_statement_the_beginning_counts_and_no_character_is_cut() {
        let long = |end: &str| Seen { sql_text: format!("{}{end}", "数".repeat(MAX_STATEMENT / 3)), ..seen() };
        assert!(!holds(json!({"match": {"sqlTextPattern": "beyond$"}}), &long("数beyond")));
        assert!(holds(json!({"match": {"sqlTextPattern": "^数"}}), &long("数beyond")));
    }
}
