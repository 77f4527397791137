//! What the tests are built from: a scene (namespace, gateway, operators), its objects, and relays that hold a message.

mod clients;
mod cluster;
mod connections;
mod counts;
mod ending;
mod fixtures;
mod neighbour;
mod objects;
mod operators;
mod patience;
mod relay;
mod stage;
mod waits;
mod world;

pub use clients::{Client, Statement, as_listed, create_user};
pub use cluster::{Cluster, shared_engine};
pub use counts::results;
pub use ending::{ACCOUNT_TOKEN, ISSUED_TOKEN, texts};
pub use fixtures::{
    KEY_ID, KEY_SECRET, Keys, SERVER_IP, SQL_MARK, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN, access_keys, in_seconds,
    lingering, session, session_id, successor,
};
pub use neighbour::Neighbour;
pub use objects::{Request, RequestBuilder, Shown};
pub use operators::{Launch, check};
pub use patience::{eventually, until};
pub use relay::{At, Hold, Relay};
pub use stage::Scene;
