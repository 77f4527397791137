//! Gateways that misbehave, and namespaces full of connections to them.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, join_all, try_join_all};
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;
use sessionkill::api::{OceanBaseConnection, SessionKill};
use tokio::time::sleep;

use super::{
    attack::{Attack, Needs},
    ground::{Ground, Role, TEAM},
    objects,
};
use crate::gateway::{Backend, Fault, FaultKind, Gateway, GatewayOptions};

const NAMESPACES: u32 = 10;
const TENANTS: u32 = 50;
/// A list of this number of sessions has 14 MB of JSON.
const HUGE: u32 = 65_000;
const SLOW: Duration = Duration::from_secs(5);
/// Longer than any caller waits.
const NEVER: Duration = Duration::from_hours(1);
const BETWEEN_WAVES: Duration = Duration::from_secs(3);

/// How a gateway treats its callers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manners {
    /// As it should.
    Healthy,
    /// It accepts calls and never answers.
    Silent,
    /// It answers slowly.
    Slow,
    /// It throttles every call.
    Throttled,
    /// It lists thousands of sessions.
    Huge,
}

impl Manners {
    fn fault(self) -> Option<Fault> {
        match self {
            Self::Healthy => None,
            Self::Silent => Some(Fault::new(FaultKind::Delay).delayed(NEVER)),
            Self::Slow => Some(Fault::new(FaultKind::Delay).delayed(SLOW)),
            Self::Throttled => Some(Fault::new(FaultKind::Throttle)),
            Self::Huge => Some(Fault::new(FaultKind::Padded).of_rows(HUGE)),
        }
    }
}

/// A tenant that each of the gateways has.
pub(super) fn tenant(number: u32) -> String {
    format!("t{}", number % TENANTS)
}

/// A gateway with no sessions.
pub(super) async fn start(manners: Manners) -> anyhow::Result<Gateway> {
    let options = GatewayOptions {
        backend: Backend::Memory(vec![]),
        tenant: tenant(0),
        more_tenants: (1..TENANTS).map(tenant).collect(),
        ..GatewayOptions::default()
    };
    let gateway = Gateway::start(options).await?;
    manners.fault().into_iter().for_each(|fault| gateway.inject(fault));
    Ok(gateway)
}

/// Many gateways at once, with a connection to each and kills for each, in ten namespaces.
pub(super) struct Gateways(Vec<Gateway>);

impl Gateways {
    pub(super) async fn new(manners: Manners, gateways: u32) -> anyhow::Result<Self> {
        Ok(Self(try_join_all((0..gateways).map(|_| start(manners))).await?))
    }

    /// The indexes of the gateways of one namespace.
    fn of(&self, namespace: u32) -> Vec<u32> {
        (0..).zip(&self.0).map(|(number, _)| number).filter(|number| number % NAMESPACES == namespace).collect()
    }

    /// The user of a namespace, a Secret, and a connection to each of its gateways.
    async fn connect(&self, ground: &Ground<'_>, namespace: u32) -> anyhow::Result<()> {
        let numbers = self.of(namespace);
        if numbers.is_empty() {
            return Ok(());
        }
        let user = ground.user(&team(namespace), Role::Owner).await?;
        user.store::<Secret>(objects::secret()).await?;
        let connection = |number: &u32| objects::connection(&own(*number), &self.0[*number as usize].url());
        let connections: Vec<Value> = numbers.iter().map(connection).collect();
        user.store_all::<OceanBaseConnection>(connections).await
    }

    /// Kills for each gateway of a namespace, again and again.
    async fn attack_from(&self, ground: &Ground<'_>, namespace: u32) -> anyhow::Result<()> {
        let numbers = self.of(namespace);
        if numbers.is_empty() {
            return Ok(());
        }
        let user = ground.user(&team(namespace), Role::Owner).await?;
        for wave in 0.. {
            let kill = |number: &u32| {
                let name = format!("wave-{wave}-{number}");
                objects::kill(&ground.victim, &name, &own(*number), &tenant(wave), wave)
            };
            let kills: Vec<Value> = numbers.iter().map(kill).collect();
            user.store_all::<SessionKill>(kills).await?;
            sleep(BETWEEN_WAVES).await;
        }
        Ok(())
    }
}

impl Attack for Gateways {
    fn needs(&self) -> Needs {
        Needs { endpoints: self.0.iter().map(Gateway::url).collect(), ..Needs::default() }
    }

    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            for namespace in 0..NAMESPACES {
                self.connect(ground, namespace).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let attacks = join_all((0..NAMESPACES).map(|namespace| self.attack_from(ground, namespace))).await;
            attacks.into_iter().collect()
        }
        .boxed()
    }
}

/// Unused connections to an endpoint that never answers.
pub(super) struct SlowConnections {
    gateway: Gateway,
    connections: u32,
}

impl SlowConnections {
    pub(super) async fn new(connections: u32) -> anyhow::Result<Self> {
        Ok(Self { gateway: start(Manners::Silent).await?, connections })
    }
}

impl Attack for SlowConnections {
    fn needs(&self) -> Needs {
        Needs { endpoints: vec![self.gateway.url()], ..Needs::default() }
    }

    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Owner).await?;
            user.store::<Secret>(objects::secret()).await.map(drop)
        }
        .boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let user = ground.user(TEAM, Role::Owner).await?;
            let url = self.gateway.url();
            let connections = (0..self.connections).map(|number| objects::connection(&own(number), &url));
            user.store_all::<OceanBaseConnection>(connections).await
        }
        .boxed()
    }
}

fn own(number: u32) -> String {
    format!("own-{number}")
}

fn team(namespace: u32) -> String {
    format!("team-{namespace}")
}
