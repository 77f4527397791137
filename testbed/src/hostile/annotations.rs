//! Suspended requests and connections, with as much metadata as is admitted.

use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, SessionKill};

use super::{
    attack::{Attack, Needs},
    gateways::{self, Manners},
    ground::{Ground, Role, TEAM},
    objects,
};
use crate::gateway::Gateway;

/// The limit for all annotations of an object is 256 KiB.
pub(super) const LARGEST: usize = 250_000;

/// Requests and connections with annotations of the largest size.
pub(super) struct Annotations {
    gateway: Gateway,
    requests: u32,
    connections: u32,
}

impl Annotations {
    pub(super) async fn new(requests: u32, connections: u32) -> anyhow::Result<Self> {
        Ok(Self { gateway: gateways::start(Manners::Healthy).await?, requests, connections })
    }
}

impl Attack for Annotations {
    fn needs(&self) -> Needs {
        Needs { endpoints: vec![self.gateway.url()], ..Needs::default() }
    }

    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Owner).await?;
            user.store::<Secret>(objects::secret()).await?;
            let held_back = |number: u32, bytes| {
                let name = format!("held-back-{number}");
                let mut object = objects::kill(&ground.victim, &name, "own-0", &format!("t{number}"), number);
                object["spec"]["suspend"] = true.into();
                annotated(object, bytes)
            };
            let bytes = user.largest::<SessionKill>(LARGEST, |bytes| held_back(0, bytes)).await?;
            user.store_all::<SessionKill>((1..self.requests).map(|number| held_back(number, bytes))).await?;
            let url = self.gateway.url();
            let connection = |number: u32, bytes| annotated(objects::connection(&format!("own-{number}"), &url), bytes);
            let bytes = user.largest::<OceanBaseConnection>(LARGEST, |bytes| connection(0, bytes)).await?;
            user.store_all::<OceanBaseConnection>((1..self.connections).map(|number| connection(number, bytes))).await
        }
        .boxed()
    }
}

/// `object` with an annotation of this number of bytes.
pub(super) fn annotated(mut object: Value, bytes: usize) -> Value {
    object["metadata"]["annotations"] = json!({"x.example/fill": "a".repeat(bytes)});
    object
}
