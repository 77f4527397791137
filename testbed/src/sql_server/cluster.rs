//! What a healthy cluster answers. It is a stand-in for what the real engine cannot be: many servers, many tenants, a
//! proxy in front.
//!
//! | statement | answer |
//! |---|---|
//! | `SET …`, `USE …` | OK |
//! | `SELECT` of functions and variables | [`Cluster::values`], the connection's ID, the clock; 1305 or 1193 for others |
//! | `SELECT … FROM` the list `WHERE ID = … AND …` | rows of [`Cluster::sessions`]; comparisons of columns count |
//! | `SELECT … FROM (SELECT …, ROW_NUMBER() OVER (PARTITION BY SVR_IP) … FROM` the list `) … OR ID IN (…)` | those with the IDs, and the first row of each server |
//! | `SELECT @k := (SELECT … WHERE ID = 7 AND …), …` | the ID, or NULL if no session fits; remembered as `@k` |
//! | `SELECT … FROM`, `SHOW …` | [`Cluster::tables`]; 1146 for others |
//! | `KILL 7`, `KILL @k`, `KILL QUERY …`, `KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < t, …, …)` | OK, or 1094 for a session that is not there |
//! | anything else | 1064 |

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    reply::{SqlError, Table},
    session::Session,
    statement::{by_commas, by_from, fits, ids, named, plain},
};

/// What numbers the sessions of each server.
const FIRST_OF_EACH_SERVER: &str = "ROW_NUMBER() OVER (PARTITION BY SVR_IP";
const CLOCK: &str = "UNIX_TIMESTAMP(SYSDATE(6))";

/// The cluster. Change it before the start, or with [`SqlServer::change`](super::SqlServer::change).
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The version in the greeting, which does not name `OceanBase`.
    pub version: String,
    /// The columns of the list.
    pub columns: Vec<String>,
    /// The view with the list.
    pub view: String,
    /// The rows of the list. A connection to this server is added as long as it lasts.
    pub sessions: Vec<Session>,
    /// The row of a connection to this server, but for ID, USER and HOST.
    pub own: Session,
    /// Whether a killed session stays in the list, with the state `SESSION_KILLED`.
    pub keeps_killed: bool,
    /// How far the server's clock is ahead.
    pub lead: SignedDuration,
    /// The values of expressions in upper case.
    pub values: BTreeMap<String, Option<String>>,
    /// The answers to `SHOW` statements, and the tables besides the list, by name in upper case. Conditions do not count.
    pub tables: BTreeMap<String, Table>,
}

/// What a connection remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) id: u32,
    variables: BTreeMap<String, Option<u64>>,
}

impl Memory {
    pub(super) fn new(id: u32) -> Self {
        Self { id, variables: BTreeMap::new() }
    }
}

impl Cluster {
    /// Executes a statement. The answer `None` is OK.
    pub(super) fn execute(&mut self, text: &str, memory: &mut Memory) -> Result<Option<Table>, SqlError> {
        let statement = plain(text);
        let upper = statement.to_ascii_uppercase();
        let (verb, rest) = upper.split_once(char::is_whitespace).unwrap_or((&upper, ""));
        match verb {
            "SET" | "USE" => Ok(None),
            "KILL" => self.kill(rest.trim(), memory).map(|()| None),
            "SHOW" => self.show(&upper).map(Some),
            "SELECT" => self.select(statement[verb.len()..].trim(), memory).map(Some),
            _ => Err(SqlError::syntax(&statement)),
        }
    }

    fn show(&self, upper: &str) -> Result<Table, SqlError> {
        let words: Vec<_> = upper.split_whitespace().collect();
        let words = words.join(" ");
        let found = self.tables.iter().find(|(name, _)| words.starts_with(name.as_str()));
        found.map(|(_, table)| table.clone()).ok_or_else(|| SqlError::syntax(upper))
    }

    fn select(&self, text: &str, memory: &mut Memory) -> Result<Table, SqlError> {
        if let Some((variable, query)) = text.split_once(":=") {
            return self.assign(text, variable, &query.to_ascii_uppercase(), memory);
        }
        let Some((list, rest)) = by_from(text) else {
            let mut table = Table { columns: vec![], rows: vec![vec![]] };
            for (expression, name) in by_commas(text).into_iter().map(named) {
                table.columns.push(name.into());
                table.rows[0].push(self.value(expression, memory)?);
            }
            return Ok(table);
        };
        let rest = rest.to_ascii_uppercase();
        let numbered = rest.split_once(FIRST_OF_EACH_SERVER).and_then(|(_, outer)| outer.split_once(" FROM "));
        let (table, condition) = match numbered {
            Some((_, inner)) => inner.split_once(')'),
            None => rest.split_once(char::is_whitespace),
        }
        .unwrap_or((&rest, ""));
        let table = table.trim_start_matches("OCEANBASE.").split_whitespace().next().unwrap_or_default();
        let whole = if table == self.view {
            let wanted =
                if condition.contains("CONNECTION_ID()") { Some(vec![memory.id.into()]) } else { ids(condition) };
            let mut servers = BTreeSet::new();
            let mut is_first = |session: &Session| {
                numbered.is_some()
                    && servers.insert(["SVR_IP", "SQL_PORT"].map(|column| session.get(column).map(str::to_owned)))
            };
            let is_meant = |session: &&Session| {
                let is_named = wanted.as_ref().is_none_or(|ids| ids.contains(&session.id().into()));
                is_first(session) || is_named && (numbered.is_some() || fits(condition, |column| session.get(column)))
            };
            let rows = self.sessions.iter().filter(is_meant).map(|session| session.row(&self.columns)).collect();
            Table { columns: self.columns.clone(), rows }
        } else {
            self.tables.get(table).cloned().ok_or_else(|| no_such_table(table))?
        };
        columns(&whole, list)
    }

    /// The variable gets the ID of the one session that fits. It keeps its value if there are two.
    fn assign(&self, text: &str, variable: &str, query: &str, memory: &mut Memory) -> Result<Table, SqlError> {
        if !query.contains(&self.view) {
            return Err(no_such_table(query));
        }
        let parts = by_commas(query);
        let (subquery, others) = parts.split_first().ok_or_else(|| SqlError::syntax(query))?;
        let condition = subquery.split_once(" WHERE ").ok_or_else(|| SqlError::syntax(query))?.1;
        let condition = condition.strip_suffix(')').unwrap_or(condition);
        let wanted = ids(condition).ok_or_else(|| SqlError::syntax(query))?;
        let is_meant =
            |session: &&Session| wanted.contains(&session.id().into()) && fits(condition, |column| session.get(column));
        let found: Vec<u64> = self.sessions.iter().filter(is_meant).map(|session| session.id().into()).collect();
        if found.len() > 1 {
            return Err(SqlError::new(1242, "21000", "Subquery returns more than 1 row"));
        }
        let value = found.first().copied();
        memory.variables.insert(variable.trim().to_ascii_uppercase(), value);
        let mut table = Table::of_one(text, value.map(|id| id.to_string()));
        for expression in others {
            table.columns.push((*expression).to_owned());
            table.rows[0].push(self.value(expression, memory)?);
        }
        Ok(table)
    }

    fn value(&self, expression: &str, memory: &Memory) -> Result<Option<String>, SqlError> {
        let upper = expression.to_ascii_uppercase().replace("@@SESSION.", "@@").replace("@@GLOBAL.", "@@");
        if let Some(value) = self.values.get(&upper) {
            return Ok(value.clone());
        }
        match upper.as_str() {
            "CONNECTION_ID()" => Ok(Some(memory.id.to_string())),
            CLOCK => Ok(Some(format!("{:.6}", self.seconds()))),
            _ if upper.parse::<i64>().is_ok() => Ok(Some(upper)),
            _ if upper.starts_with('\'') => Ok(Some(expression.trim_matches('\'').into())),
            _ if upper.starts_with("@@") => {
                let name = expression.trim_start_matches('@');
                Err(SqlError::new(1193, "HY000", format!("Unknown system variable '{name}'")))
            }
            _ if upper.starts_with('@') => Ok(memory.variables.get(&upper).copied().flatten().map(|id| id.to_string())),
            _ if upper.ends_with(')') => {
                let name = expression.split('(').next().unwrap_or_default();
                Err(SqlError::new(1305, "42000", format!("FUNCTION {name} does not exist")))
            }
            _ => Err(no_such_column(expression)),
        }
    }

    fn kill(&mut self, target: &str, memory: &Memory) -> Result<(), SqlError> {
        let query = target.strip_prefix("QUERY ");
        let expression = query.or_else(|| target.strip_prefix("CONNECTION ")).unwrap_or(target);
        let number = self.number(expression.trim(), memory).ok_or_else(|| SqlError::syntax(target))?;
        // As the kernel does.
        let id = u32::try_from(number & 0xffff_ffff).unwrap_or_default();
        let mut found = (0..self.sessions.len()).filter(|index| self.sessions[*index].id() == id);
        let (Some(index), more) = (found.next(), found.next()) else {
            return Err(SqlError::unknown_thread(id));
        };
        if more.is_some() {
            return Err(SqlError::new(4016, "HY000", "Internal error"));
        }
        let session = self.sessions.remove(index);
        if query.is_some() {
            self.sessions.insert(index, session.interrupted());
        } else if self.keeps_killed {
            self.sessions.insert(index, session.with("STATE", "SESSION_KILLED"));
        }
        Ok(())
    }

    /// The value of what stands behind `KILL`. NULL is 0.
    fn number(&self, expression: &str, memory: &Memory) -> Option<u64> {
        if let Some(arguments) = expression.strip_prefix("IF(").and_then(|rest| rest.strip_suffix(')')) {
            let [condition, yes, no] = by_commas(arguments).try_into().ok()?;
            return self.number(if self.holds(condition)? { yes } else { no }, memory);
        }
        if expression.starts_with('@') {
            return Some(memory.variables.get(expression).copied().flatten().unwrap_or_default());
        }
        expression.parse().ok()
    }

    fn holds(&self, condition: &str) -> Option<bool> {
        let rest = condition.strip_prefix(CLOCK)?.trim_start();
        let end = rest.find(|letter: char| letter.is_ascii_digit())?;
        let (now, limit) = (self.seconds(), rest[end..].trim().parse::<f64>().ok()?);
        match rest[..end].trim() {
            "<" => Some(now < limit),
            "<=" => Some(now <= limit),
            ">" => Some(now > limit),
            ">=" => Some(now >= limit),
            _ => None,
        }
    }

    /// The server's clock, to the microsecond.
    fn seconds(&self) -> f64 {
        (Timestamp::now().duration_since(Timestamp::UNIX_EPOCH) + self.lead).as_secs_f64()
    }
}

/// These columns of the table, or all.
fn columns(whole: &Table, list: &str) -> Result<Table, SqlError> {
    if list == "*" {
        return Ok(whole.clone());
    }
    let mut chosen = vec![];
    let mut names = vec![];
    for (expression, name) in by_commas(list).into_iter().map(named) {
        let column = expression.rsplit('.').next().unwrap_or_default();
        let index = whole.columns.iter().position(|known| known.eq_ignore_ascii_case(column));
        chosen.push(index.ok_or_else(|| no_such_column(expression))?);
        names.push(name.to_owned());
    }
    let row = |row: &Vec<Option<String>>| chosen.iter().map(|index| row[*index].clone()).collect();
    Ok(Table { columns: names, rows: whole.rows.iter().map(row).collect() })
}

fn no_such_table(table: &str) -> SqlError {
    SqlError::new(1146, "42S02", format!("Table '{}' doesn't exist", table.to_lowercase()))
}

fn no_such_column(column: &str) -> SqlError {
    SqlError::new(1054, "42S22", format!("Unknown column '{column}' in 'field list'"))
}
