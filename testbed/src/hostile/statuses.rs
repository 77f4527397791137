//! Requests so large that their status cannot be stored.

use std::sync::OnceLock;

use futures::future::{BoxFuture, FutureExt as _};
use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt as _, api::DeleteParams};
use serde_json::{Map, Value};
use sessionkill::api::SessionKill;

use super::{
    attack::Attack,
    ground::{Ground, Role, TEAM, User},
    objects,
};

/// The default limit of etcd for one request, in bytes.
const STORE_LIMIT: usize = 1_572_864;
/// The bytes of a request to etcd beside the object. They are fewer than those of any status.
const MARGINS: [usize; 4] = [300, 500, 700, 900];
/// All annotations together may have 256 KiB. Labels have no such limit.
const LAST_BYTES: usize = 200_000;

/// Requests of a user without a connection. The operator can only end them.
pub(super) struct Statuses {
    requests: u32,
    /// The size that leaves no room for a status, once it is known.
    fullest: OnceLock<(usize, usize)>,
}

impl Statuses {
    pub(super) fn new(requests: u32) -> Self {
        Self { requests, fullest: OnceLock::new() }
    }
}

impl Attack for Statuses {
    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Requester).await?;
            if let Some(fullest) = fullest(&user, ground).await? {
                self.fullest.get_or_init(|| fullest);
            }
            Ok(())
        }
        .boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Requester).await?;
            let Some((labels, bytes)) = self.fullest.get().copied() else { return Ok(()) };
            user.store_all::<SessionKill>((1..self.requests).map(|number| large(ground, number, labels, bytes))).await
        }
        .boxed()
    }
}

/// How many labels and how many bytes of an annotation leave no room for a status. `None` if such a large object is
/// refused. The first admitted object stays stored.
async fn fullest(user: &User<'_>, ground: &Ground<'_>) -> anyhow::Result<Option<(usize, usize)>> {
    let stored = async |labels, bytes| {
        let mut object = large(ground, 0, labels, bytes);
        object["spec"]["suspend"] = true.into();
        let Some(stored) = user.store::<SessionKill>(object).await? else { return Ok(None) };
        user.api::<SessionKill>().delete(&stored.name_any(), &DeleteParams::default()).await?;
        anyhow::Ok(Some(serde_json::to_vec(&stored)?.len()))
    };
    let (Some(few), Some(more)) = (stored(10, 1).await?, stored(110, 1).await?) else { return Ok(None) };
    let labels = (STORE_LIMIT - LAST_BYTES) * 100 / (more - few);
    let Some(nearly) = stored(labels, 1).await? else { return Ok(None) };
    for margin in MARGINS {
        let bytes = STORE_LIMIT.saturating_sub(nearly + margin).max(1);
        if user.store::<SessionKill>(large(ground, 0, labels, bytes)).await?.is_some() {
            return Ok(Some((labels, bytes)));
        }
    }
    Ok(None)
}

/// An expired request for its own tenant.
fn large(ground: &Ground<'_>, number: u32, labels: usize, bytes: usize) -> Value {
    let mut object = objects::kill(&ground.victim, &format!("large-{number}"), "none", &format!("t{number}"), number);
    let filled: Map<String, Value> =
        (0..labels).map(|label| (format!("x.example/{label:06}-{}", "l".repeat(50)), "v".repeat(60).into())).collect();
    object["metadata"]["labels"] = filled.into();
    object["metadata"]["annotations"] =
        [("x.example/rest".to_owned(), Value::from("a".repeat(bytes)))].into_iter().collect();
    object["spec"]["notAfterTime"] = (Timestamp::now() - SignedDuration::from_mins(1)).to_string().into();
    object
}
