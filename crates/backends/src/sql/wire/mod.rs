//! A client of the MySQL protocol: logs in, sends one statement at a time, and reads its rows. Does I/O.
//!
//! ```text
//! connection ─ login ─ dial, tls, auth, handshake ─ answer ─ packet, cursor ─ error
//!            └ rows
//! ```
//!
//! Whoever writes an object may name the server, so nothing that a server sends may stop the operator or show it more
//! than a user name and a salted hash. That is why this is hand-written, although `mysql_async` exists (read at 0.37.1):
//! * It panics on what a server sends: `packet[1..]` of an empty packet, `nonce[i % nonce.len()]` of an empty nonce, and
//!   `crypto::encrypt` with a bad key. A panic ends the operator for all namespaces.
//! * Over plain TCP it encrypts the password with whatever RSA key the server sends.
//! * It always announces `CLIENT_LOCAL_FILES` and `CLIENT_MULTI_STATEMENTS`.
//!
//! What this client does instead: the server speaks first, only `mysql_native_password` is answered, each length is
//! bounded, each step ends at the deadline, and a connection with an exchange that was not completed is never used again.

// What a server sends is cut only by functions that cannot panic.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod answer;
mod auth;
mod connection;
mod cursor;
mod dial;
mod error;
mod handshake;
mod login;
mod packet;
mod rows;
mod tls;

pub use connection::Connection;
pub use dial::Address;
pub use error::{OpenError, QueryError, ServerError};
pub use login::Login;
pub use packet::Socket;
pub use rows::Row;
pub use tls::{Tls, client_config};

#[cfg(test)]
pub(super) mod tests;
