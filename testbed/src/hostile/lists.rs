//! Answers of the greatest permitted length.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use sessionkill::api::SessionKill;
use tokio::time::sleep;

use super::{
    attack::{Attack, Needs},
    gateways::{self, Manners},
    ground::{Ground, Role, TEAM},
    objects,
};
use crate::gateway::Gateway;

const BETWEEN_WAVES: Duration = Duration::from_secs(3);

/// Dry runs in waves. Each is for its own tenant, so that each reads its own list.
pub(super) struct Lists {
    gateway: Gateway,
    at_once: u32,
}

impl Lists {
    pub(super) async fn new(at_once: u32) -> anyhow::Result<Self> {
        Ok(Self { gateway: gateways::start(Manners::Huge).await?, at_once })
    }
}

impl Attack for Lists {
    fn needs(&self) -> Needs {
        Needs { endpoints: vec![self.gateway.url()], ..Needs::default() }
    }

    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async { ground.user(TEAM, Role::Owner).await?.connect(&self.gateway.url()).await }.boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Owner).await?;
            for wave in 0_u32.. {
                let dry_runs = (0..self.at_once).map(|number| {
                    let name = format!("wave-{wave}-{number}");
                    objects::dry_run(&ground.victim, &name, objects::CONNECTION, &gateways::tenant(number), wave)
                });
                user.store_all::<SessionKill>(dry_runs).await?;
                sleep(BETWEEN_WAVES).await;
            }
            Ok(())
        }
        .boxed()
    }
}
