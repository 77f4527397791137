//! A namespace in which the operator's binary is tested: its own gateway, fault proxies on both sides, and any number
//! of replicas that can be killed and frozen. Many arenas share one control plane.

mod clients;
mod election;
mod example;
mod ground;
mod namespace;
mod replica;
mod sessions;
mod start;
mod verdict;

pub use self::{
    clients::{Clients, Runners},
    election::LEASE,
    example::{example_request, manifest},
    ground::Ground,
    namespace::Arena,
    replica::{Launch, Replica},
    sessions::{
        CONNECTION, INSTANCE, SERVER_IP, TENANT, interrupt_by_sql, kill_by_sql, kill_of, kill_sessions, session,
        session_id,
    },
    verdict::{Verdict, is_finished},
};
