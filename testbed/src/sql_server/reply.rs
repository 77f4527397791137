//! What the server may answer to a statement, and to which one.

use std::time::Duration;

/// An error of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The code of the client's manual: 1094.
    pub code: u16,
    /// Five characters, or empty: then the packet has none, as older servers send it before the login.
    pub state: String,
    /// The text.
    pub message: String,
}

impl SqlError {
    /// This error.
    #[must_use]
    pub fn new(code: u16, state: &str, message: impl Into<String>) -> Self {
        Self { code, state: state.into(), message: message.into() }
    }

    /// 1094: there is no such session.
    #[must_use]
    pub fn unknown_thread(id: u32) -> Self {
        Self::new(1094, "HY000", format!("Unknown thread id: {id}"))
    }

    /// 1045: the user or the password is wrong.
    #[must_use]
    pub fn access_denied(user: &str) -> Self {
        Self::new(1045, "42000", format!("Access denied for user '{user}'@'xxx.xxx.xxx.xxx' (using password: YES)"))
    }

    /// 1064: the server does not understand the statement.
    #[must_use]
    pub fn syntax(near: &str) -> Self {
        Self::new(1064, "42000", format!("You have an error in your SQL syntax near '{near}'"))
    }
}

/// Rows of text. `None` is NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The names.
    pub columns: Vec<String>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// A table without NULL.
    #[must_use]
    pub fn new(columns: &[&str], rows: &[&[&str]]) -> Self {
        let text = |row: &&[&str]| row.iter().map(|value| Some((*value).to_owned())).collect();
        Self { columns: columns.iter().copied().map(String::from).collect(), rows: rows.iter().map(text).collect() }
    }

    /// One value.
    #[must_use]
    pub fn of_one(column: &str, value: Option<String>) -> Self {
        Self { columns: vec![column.into()], rows: vec![vec![value]] }
    }
}

/// What the server does with a statement.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Executes it and answers, as without a rule.
    Execute,
    /// Answers with these rows. Does not execute it.
    Rows(Table),
    /// Answers with OK. Does not execute it.
    Ok,
    /// Answers with an error. Does not execute it.
    Err(SqlError),
    /// Closes the connection without an answer. Does not execute it.
    Close,
    /// Executes it and closes the connection without an answer.
    CloseAfterExecuting,
    /// Never answers, and keeps the connection. Does not execute it.
    Hang,
    /// Executes it, never answers, and keeps the connection.
    HangAfterExecuting,
    /// Executes it after this time, and answers.
    Late(Duration),
    /// Executes it, and sends the answer in parts with a pause after each.
    Drip {
        /// The length of a part.
        bytes: usize,
        /// The pause.
        pause: Duration,
    },
    /// Executes it, sends so many bytes of the answer, and closes the connection.
    Cut(usize),
    /// Sends these bytes in a frame as if they were an answer, and keeps the connection. Does not execute it.
    Garbage(Vec<u8>),
    /// Sends these bytes without a frame, and keeps the connection. Does not execute it.
    Raw(Vec<u8>),
    /// Announces a packet of 16 MiB, and sends zeros as long as the client reads. Does not execute it.
    Huge,
    /// Asks the client for the content of its file. Does not execute it.
    LocalInfile(String),
}

/// Which statements get which reply.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) contains: String,
    pub(super) reply: Reply,
    pub(super) skips: u32,
    pub(super) times: Option<u32>,
}

impl Rule {
    /// For each statement that has this text, in upper or lower case.
    #[must_use]
    pub fn new(contains: &str, reply: Reply) -> Self {
        Self { contains: contains.to_uppercase(), reply, skips: 0, times: None }
    }

    /// Leaves out the first such statements.
    #[must_use]
    pub fn after(self, skips: u32) -> Self {
        Self { skips, ..self }
    }

    /// Only for so many of them.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Whether the rule holds for this statement, in upper case. Counts it.
    pub(super) fn takes(&mut self, statement: &str) -> bool {
        if self.times == Some(0) || !statement.contains(&self.contains) {
            return false;
        }
        if self.skips > 0 {
            self.skips -= 1;
            return false;
        }
        self.times = self.times.map(|times| times - 1);
        true
    }
}
