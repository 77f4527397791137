//! Many requests of one namespace: for made-up tenants, for an endpoint that never answers, or without a Secret.

use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::Value;
use sessionkill::api::SessionKill;

use super::{
    attack::{Attack, Needs},
    gateways::{self, Manners},
    ground::{Ground, Role, TEAM},
    objects,
    victim::Victim,
};
use crate::gateway::Gateway;

/// Requests at one connection, each for a tenant of its own.
pub(super) struct Requests {
    gateway: Gateway,
    count: u32,
    object: fn(&Victim, &str, &str, &str, u32) -> Value,
    has_secret: bool,
    /// Whether all are stored before the victim's kills are measured.
    is_laid: bool,
}

impl Requests {
    /// Dry runs, made while the victim's kills are measured.
    pub(super) async fn dry_runs(manners: Manners, count: u32) -> anyhow::Result<Self> {
        let gateway = gateways::start(manners).await?;
        Ok(Self { gateway, count, object: objects::dry_run, has_secret: true, is_laid: false })
    }

    /// Kills that wait for an endpoint that never answers.
    pub(super) async fn waiting(count: u32) -> anyhow::Result<Self> {
        let gateway = gateways::start(Manners::Silent).await?;
        Ok(Self { gateway, count, object: objects::kill, has_secret: true, is_laid: true })
    }

    /// Kills that wait for a Secret that is never made.
    pub(super) async fn without_secret(count: u32) -> anyhow::Result<Self> {
        let gateway = gateways::start(Manners::Healthy).await?;
        Ok(Self { gateway, count, object: objects::kill, has_secret: false, is_laid: true })
    }

    async fn make(&self, ground: &Ground<'_>) -> anyhow::Result<()> {
        let user = ground.user(TEAM, Role::Owner).await?;
        let made = (0..self.count).map(|number| {
            let (name, tenant) = (format!("request-{number}"), format!("made-up-{number}"));
            (self.object)(&ground.victim, &name, objects::CONNECTION, &tenant, number)
        });
        user.store_all::<SessionKill>(made).await
    }
}

impl Attack for Requests {
    fn needs(&self) -> Needs {
        Needs { endpoints: vec![self.gateway.url()], ..Needs::default() }
    }

    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Owner).await?;
            user.connect(&self.gateway.url()).await?;
            if !self.has_secret {
                user.api::<Secret>().delete(objects::SECRET, &DeleteParams::default()).await?;
            }
            if self.is_laid { self.make(ground).await } else { Ok(()) }
        }
        .boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async { if self.is_laid { Ok(()) } else { self.make(ground).await } }.boxed()
    }
}
