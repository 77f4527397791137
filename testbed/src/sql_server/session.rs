//! The sessions of the cluster that the server plays, and the columns of their list.

use std::collections::BTreeMap;

/// The columns of `GV$OB_PROCESSLIST` from `OceanBase` 4.0.
const SINCE_4_0: &str = "SVR_IP SVR_PORT SQL_PORT ID USER HOST DB TENANT COMMAND TIME TOTAL_TIME STATE INFO PROXY_SESSID \
    MASTER_SESSID USER_CLIENT_IP USER_HOST RETRY_CNT RETRY_INFO SQL_ID TRANS_ID THREAD_ID SSL_CIPHER TRACE_ID \
    TRANS_STATE ACTION MODULE CLIENT_INFO";
const SINCE_4_2_3: &str = "LEVEL SAMPLE_PERCENTAGE RECORD_POLICY LB_VID LB_VIP LB_VPORT IN_BYTES OUT_BYTES";
const SINCE_4_3_5: &str = "TOTAL_CPU_TIME USER_CLIENT_PORT TOP_INFO MEMORY_USAGE";
/// What the single-node engine has not.
const NOT_IN_SEEKDB: [&str; 8] =
    ["SVR_IP", "SVR_PORT", "SQL_PORT", "TENANT", "PROXY_SESSID", "LB_VID", "LB_VIP", "LB_VPORT"];

/// Whose list it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// `OceanBase` 4.0 to 4.2.2.
    V4_0,
    /// `OceanBase` 4.2.3 to 4.3.2.
    V4_2_3,
    /// `OceanBase` 4.3.5.
    V4_3_5,
    /// The single-node engine, which has only `V$OB_PROCESSLIST`.
    Seekdb,
}

impl Kernel {
    /// The columns of its list.
    #[must_use]
    pub fn columns(self) -> Vec<String> {
        let parts: &[&str] = match self {
            Self::V4_0 => &[SINCE_4_0],
            Self::V4_2_3 => &[SINCE_4_0, SINCE_4_2_3],
            Self::V4_3_5 | Self::Seekdb => &[SINCE_4_0, SINCE_4_2_3, SINCE_4_3_5],
        };
        let all = parts.iter().flat_map(|part| part.split_whitespace());
        all.filter(|column| self != Self::Seekdb || !NOT_IN_SEEKDB.contains(column)).map(String::from).collect()
    }

    /// The view that lists its sessions.
    #[must_use]
    pub fn view(self) -> &'static str {
        if self == Self::Seekdb { "V$OB_PROCESSLIST" } else { "GV$OB_PROCESSLIST" }
    }
}

/// A row of the list. A column without a value is NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    id: u32,
    values: BTreeMap<String, String>,
}

impl Session {
    /// An idle session of `app` in the tenant `sys`, on the server 192.168.13.119.
    #[must_use]
    pub fn new(id: u32) -> Self {
        let (digits, host) = (id.to_string(), format!("10.0.0.7:{}", 40_000 + id % 20_000));
        let values = [
            ("ID", digits.as_str()),
            ("SVR_IP", "192.168.13.119"),
            ("SVR_PORT", "2882"),
            ("SQL_PORT", "2881"),
            ("USER", "app"),
            ("HOST", &host),
            ("DB", "test"),
            ("TENANT", "sys"),
            ("COMMAND", "Sleep"),
            ("STATE", "SLEEP"),
            ("TIME", "12.5"),
            ("TOTAL_TIME", "12.5"),
            ("USER_CLIENT_IP", "10.0.0.7"),
            ("USER_HOST", "%"),
            ("TRANS_ID", "0"),
            ("SQL_ID", ""),
            ("RETRY_CNT", "0"),
        ];
        Self { id, values: values.map(|(column, value)| (column.to_owned(), value.to_owned())).into() }
    }

    /// With this value of a column, whose name is in upper case.
    #[must_use]
    pub fn with(mut self, column: &str, value: impl Into<String>) -> Self {
        self.values.insert(column.into(), value.into());
        self
    }

    /// With NULL in a column.
    #[must_use]
    pub fn without(mut self, column: &str) -> Self {
        self.values.remove(column);
        self
    }

    /// In the middle of a statement.
    #[must_use]
    pub fn running(self, statement: &str) -> Self {
        let trace = format!("YB42C0A80D77-{:016X}-0-0", self.id);
        self.with("COMMAND", "Query")
            .with("STATE", "ACTIVE")
            .with("INFO", statement)
            .with("SQL_ID", "BC9E1F5E2E1D3C8E6C5D6D2C4B0A9F87")
            .with("TRACE_ID", trace)
    }

    /// With another ID.
    pub(super) fn named(self, id: u32) -> Self {
        Self { id, ..self }.with("ID", id.to_string())
    }

    /// Idle again.
    pub(super) fn interrupted(self) -> Self {
        self.with("COMMAND", "Sleep").with("STATE", "SLEEP").with("SQL_ID", "").without("INFO").without("TRACE_ID")
    }

    /// Its ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The value of a column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&str> {
        self.values.get(column).map(String::as_str)
    }

    pub(super) fn row(&self, columns: &[String]) -> Vec<Option<String>> {
        columns.iter().map(|column| self.values.get(column).cloned()).collect()
    }
}
