//! Access keys of the largest size that a Secret can hold.

use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::Secret;
use sessionkill::api::{OceanBaseConnection, SessionKill};

use super::{
    attack::{Attack, Needs},
    gateways::{self, Manners},
    ground::{Ground, Role, TEAM},
    objects,
};
use crate::gateway::Gateway;

const BYTES: usize = 700_000;

/// Connections with an own key each, which the gateway refuses, and a dry run for each.
pub(super) struct Keys {
    gateway: Gateway,
    connections: u32,
}

impl Keys {
    pub(super) async fn new(connections: u32) -> anyhow::Result<Self> {
        Ok(Self { gateway: gateways::start(Manners::Healthy).await?, connections })
    }
}

impl Keys {
    /// Each number with the name of its objects.
    fn names(&self) -> impl Iterator<Item = (u32, String)> + use<> {
        (0..self.connections).map(|number| (number, format!("own-{number}")))
    }
}

impl Attack for Keys {
    fn needs(&self) -> Needs {
        Needs { endpoints: vec![self.gateway.url()], ..Needs::default() }
    }

    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let key = "k".repeat(BYTES);
            let secrets = self.names().map(|(_, name)| objects::secret_of(&name, &key));
            ground.user(TEAM, Role::Owner).await?.store_all::<Secret>(secrets).await
        }
        .boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Owner).await?;
            let connections = self.names().map(|(_, name)| {
                let mut connection = objects::connection(&name, &self.gateway.url());
                connection["spec"]["alibabaCloud"]["credentials"]["secretRef"]["name"] = name.into();
                connection
            });
            user.store_all::<OceanBaseConnection>(connections).await?;
            let dry_runs = self.names().map(|(number, name)| {
                objects::dry_run(&ground.victim, &name, &name, &gateways::tenant(number), number)
            });
            user.store_all::<SessionKill>(dry_runs).await
        }
        .boxed()
    }
}
