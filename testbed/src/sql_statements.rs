//! The names of the statements that the operator sends to a database.

/// The statements that connect, in order. They end nothing, and are made before a request has its claim.
pub const LOGIN: [&str; 10] =
    ["SETTINGS", "PROXY", "MODE", "CLUSTER", "OWN ID", "OWN ADDRESS", "WHOLE VIEW", "VIEW", "PROBE <", "PROBE >="];
/// Lists all sessions.
pub const LIST: &str = "LIST";
/// Compares a session right before its kill.
pub const COMPARE: &str = "COMPARE";
/// Ends a session or its statement, if it is as compared.
pub const KILL: &str = "KILL";

/// The name of a statement of the operator, in capital letters.
#[must_use]
pub fn kind_of(statement: &str) -> &'static str {
    let kinds = [
        ("SELECT @k := ", COMPARE),
        ("@k, 0)", KILL),
        ("(6)) < 1, ", "PROBE <"),
        ("(6)) >= 1, ", "PROBE >="),
        ("SET SESSION ", "SETTINGS"),
        ("proxy_version()", "PROXY"),
        ("ob_compatibility_mode", "MODE"),
        ("SHOW PARAMETERS", "CLUSTER"),
        ("CONNECTION_ID()", "OWN ID"),
        ("host_ip()", "OWN ADDRESS"),
        ("GV$OB_PROCESSLIST", "WHOLE VIEW"),
        ("V$OB_PROCESSLIST LIMIT 1", "VIEW"),
        ("V$OB_PROCESSLIST", LIST),
    ];
    kinds.into_iter().find(|(text, _)| statement.contains(text)).map_or("OTHER", |(_, kind)| kind)
}
