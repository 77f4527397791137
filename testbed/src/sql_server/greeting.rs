//! How the server begins a connection, and what is recorded of it.

use std::time::Duration;

use super::reply::SqlError;

/// How the server begins.
#[derive(Clone, Debug)]
pub enum Greeting {
    /// As it should.
    Normal,
    /// The first packet is an error.
    Refuse(SqlError),
    /// Closes the connection at once.
    Close,
    /// Says nothing, and keeps the connection.
    Silent,
    /// Speaks HTTP.
    NotMysql,
    /// Sends these bytes, and keeps the connection.
    Raw(Vec<u8>),
    /// Greets after this time.
    Late(Duration),
    /// Offers TLS, and answers with something else.
    BreakTls,
    /// Names another way to log in than `mysql_native_password`, and accepts any password.
    Plugin(String),
    /// Asks for another way to log in after the login, and accepts any password.
    AuthSwitch(String),
    /// Refuses every login.
    RefuseLogin(SqlError),
}

/// What a client said before the server let it in.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The number of the connection, from 0.
    pub connection: usize,
    /// The bytes that came without TLS.
    pub clear: Vec<u8>,
    /// Whether the login came with TLS.
    pub tls: bool,
    /// The user. Empty until the login has come, like all that follows.
    pub user: String,
    /// The database.
    pub database: Option<String>,
    /// The client's capabilities.
    pub capabilities: u32,
    /// The way to log in that the client chose.
    pub plugin: Option<String>,
    /// What the server sent to be mixed with the password.
    pub nonce: [u8; 20],
    /// The proof of the password.
    pub auth: Vec<u8>,
    /// What the client sent after a demand for more.
    pub more_auth: Vec<Vec<u8>>,
    /// Whether it was let in.
    pub accepted: bool,
}
