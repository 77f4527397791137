//! Connections to a server on loopback that does what each test says: what is sent, what is never sent, and how each
//! answer is taken.

mod certificates;
mod login;
pub(in crate::sql) mod peer;
mod query;
mod random;
