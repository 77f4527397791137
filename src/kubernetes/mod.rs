//! Access to the API server: client, calls, watches, status writes, Events and leader election. Does I/O.

pub mod api_error;
pub(crate) mod calls;
pub mod client;
pub(crate) mod events;
mod fair;
pub mod kubeconfig;
pub(crate) mod lease;
pub(crate) mod old_server;
pub(crate) mod pages;
pub(crate) mod removal;
pub mod server_version;
pub(crate) mod status_patch;
pub(crate) mod watch;
