//! The way to the API server: its client and its watches, single objects, Events, and who leads. Does I/O.

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
