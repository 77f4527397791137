//! Learns how many sessions a connection's gateway accepts in one call. No I/O; `domain::kill::sharing` decides.

use std::time::Duration;

use tokio::time::Instant;

use crate::backends::costs;
use crate::connections::connection::Connection;
use crate::connections::state::Learnt;
use crate::connections::states::ConnectionStates;
use crate::domain::kill::sharing::CallSize;

/// The call size is learned again after 1 h: by then the gateway may accept more, or fewer.
const LEARN_AGAIN: Duration = Duration::from_hours(1);

impl ConnectionStates {
    /// The most sessions to put into a shared call of requests of `namespace` through `connection`.
    pub fn most_sessions(&self, connection: &Connection, namespace: &str) -> usize {
        let accepted = self.call_size(connection, namespace, |size| size.most());
        accepted.min(costs(&connection.spec().backend).sessions_of_shared_call)
    }

    /// Runs `f` on the call size of `connection` that was learned for requests of `namespace`, to read or change it.
    pub fn call_size<T>(&self, connection: &Connection, namespace: &str, f: impl FnOnce(&mut CallSize) -> T) -> T {
        let generation = connection.generation();
        self.with(connection, |state| {
            let holds = |learnt: &Learnt| learnt.since.elapsed() < LEARN_AGAIN && learnt.generation == generation;
            state.call_sizes.retain(|_, learnt| holds(learnt));
            let new = || Learnt { size: CallSize::default(), since: Instant::now(), generation };
            f(&mut state.call_sizes.entry(namespace.to_owned()).or_insert_with(new).size)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::kill::sharing::MAX_SESSIONS;
    use crate::domain::test_objects::connection;

    #[tokio::test(start_paused = true)]
    async fn what_is_learnt_of_a_connection_holds_for_a_while_and_until_it_is_edited_or_gone() {
        let states = ConnectionStates::default();
        let of = |uid: &str, generation| {
            let mut connection = connection();
            (connection.metadata.uid, connection.metadata.generation) = (Some(uid.to_owned()), Some(generation));
            Connection::Namespaced(Arc::new(connection))
        };
        let most = |connection: &Connection| states.call_size(connection, "dba", |size| size.most());
        let (one, other) = (of("uid-1", 1), of("uid-2", 1));
        let refused = |connection| states.call_size(connection, "dba", |size| size.refused(10));
        refused(&one);
        assert_eq!((most(&one), most(&other)), (5, MAX_SESSIONS));
        assert_eq!(
            states.call_size(&one, "shop", |size| size.most()),
            MAX_SESSIONS,
            "the requests of others are none of theirs"
        );
        tokio::time::sleep(LEARN_AGAIN / 2).await;
        assert_eq!(most(&one), 5);
        tokio::time::sleep(LEARN_AGAIN / 2).await;
        assert_eq!(most(&one), MAX_SESSIONS);
        refused(&one);
        assert_eq!((most(&one), most(&of("uid-1", 2))), (5, MAX_SESSIONS), "it may name another endpoint");
        refused(&one);
        states.forget(one.uid());
        assert_eq!(most(&one), MAX_SESSIONS);
    }
}
