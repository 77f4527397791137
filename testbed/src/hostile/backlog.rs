//! A backlog when the operator starts: very many suspended requests, and very large ones.

use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use sessionkill::api::SessionKill;

use super::{
    annotations::{LARGEST, annotated},
    attack::Attack,
    ground::{Ground, Role, TEAM},
    objects,
};

const SESSIONS: u32 = 20;
const MOST_SESSIONS: u32 = 100;

/// Suspended requests, in two namespaces.
#[derive(Debug)]
pub struct Backlog {
    /// The number of requests with twenty sessions each.
    pub held_back: u32,
    /// The number of requests of the largest admitted size.
    pub large: u32,
}

impl Attack for Backlog {
    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Requester).await?;
            let held_back = (0..self.held_back).map(|number| held_back(ground, number, SESSIONS));
            user.store_all::<SessionKill>(held_back).await?;
            let user = ground.user("team-2", Role::Requester).await?;
            let large = |number: u32, bytes| annotated(expecting(held_back_largest(ground, number)), bytes);
            let bytes = user.largest::<SessionKill>(LARGEST, |bytes| large(0, bytes)).await?;
            user.store_all::<SessionKill>((1..self.large).map(|number| large(number, bytes))).await
        }
        .boxed()
    }
}

fn held_back(ground: &Ground<'_>, number: u32, sessions: u32) -> Value {
    let mut object =
        objects::kill(&ground.victim, &format!("held-back-{number}"), "none", &format!("t{number}"), number);
    object["spec"]["suspend"] = true.into();
    object["spec"]["sessions"] = objects::sessions(number, sessions);
    object
}

fn held_back_largest(ground: &Ground<'_>, number: u32) -> Value {
    let mut object = held_back(ground, number, MOST_SESSIONS);
    object["spec"]["reason"] = "r".repeat(256).into();
    object
}

/// The same with all fields of `expect` for each session, at their greatest length.
fn expecting(mut object: Value) -> Value {
    for session in object["spec"]["sessions"].as_array_mut().into_iter().flatten() {
        session["expect"] = json!({
            "user": "u".repeat(128),
            "database": "d".repeat(128),
            "clientIP": "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
            "command": "c".repeat(64),
            "state": "Sleep",
            "sqlID": "A".repeat(64),
            "proxySessionID": "1".repeat(20),
            "minExecutionSeconds": 2_147_483_647,
        });
    }
    object
}
