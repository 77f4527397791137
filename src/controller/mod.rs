//! The only code that touches both sides: it observes requests, and acts on what `domain` decides.
//!
//! ```text
//! watch ─→ reconcile ─→ queue (FIFO per tenant) ─→ group: route → observe → claim → dispatch → verify → settle → record
//!          decides         bounded                 one read and one call for all who waited; retries nothing blindly
//! sweep: TTL, receipts past their time, what a crash left unrecorded (orphan); looks at all of it page by page (walk)
//! probe: whether a connection works, before it is needed
//! chores: the turns of what sweep and probe do, so that no namespace's hold up another's
//! endings: the order in which the requests of a tenant end
//! writes: how many claims, outcomes or records of a tenant are on their way to the API server at a time
//! unsent: the end of requests for which nothing is sent any more, beside the queue
//! old_server: says at start if the API server is too old
//! time: whether the operator's clock can be trusted; without that nothing is sent
//! awaited_secrets: looks at the Secrets that requests wait for, as there is no watch on Secrets
//! silence: whether a watch in which nothing comes has nothing to tell, or is dead
//! election: of several replicas one does all of the above but the watch and its silence; no kill rests on it
//! ```

mod alone;
mod api_calls;
mod attempt;
mod audit;
mod awaited_secrets;
mod beside;
mod blocked;
mod budget;
mod cached;
mod call_size;
mod called;
mod calls;
mod chores;
mod claim;
mod connection_report;
mod connection_states;
mod context;
mod credentials;
mod dispatch;
mod election;
mod endings;
mod events;
mod fair;
mod gateway_clock;
mod group;
mod guarded;
mod held;
mod kill_path;
mod leadership;
mod live_claims;
mod metadata;
mod observer;
mod old_server;
mod orphan;
mod pace;
mod permits;
mod places;
mod poison;
mod probe;
mod queue;
mod reconcile;
mod refusal;
mod released;
mod removal;
mod report;
mod request;
mod ring;
mod route;
mod run;
mod secret;
mod settle;
mod silence;
mod spans;
mod stored;
mod sweep;
mod sweep_receipts;
mod sweep_requests;
mod tenant;
mod time;
mod turns;
mod unsent;
mod verify;
mod walk;
mod watches;
mod writes;

pub use run::{RunError, run};
