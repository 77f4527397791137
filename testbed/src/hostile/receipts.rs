//! Receipts without an outcome, as a killed operator leaves them, and receipts that no operator made.

use anyhow::ensure;
use futures::{
    StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, FutureExt as _},
    stream,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use sessionkill::{
    api::{Operation, SessionKill, SessionKillReceipt, SessionOutcome, SessionReason},
    domain::{
        kill::claim::{Attempt, receipt},
        session::session_status,
    },
};

use super::{
    attack::{Attack, Needs},
    gateways::{self, Manners, tenant},
    ground::{AT_ONCE, Ground, Role, TEAM, User},
    objects,
    victim::Victim,
};
use crate::gateway::Gateway;

/// Receipts without a request, and some without an outcome whose endpoint never answers.
pub(super) struct Bad {
    gateway: Gateway,
    orphans: u32,
}

impl Bad {
    pub(super) async fn new(orphans: u32) -> anyhow::Result<Self> {
        Ok(Self { gateway: gateways::start(Manners::Silent).await?, orphans })
    }
}

impl Attack for Bad {
    fn needs(&self) -> Needs {
        Needs { endpoints: vec![self.gateway.url()], ..Needs::default() }
    }

    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async { ground.user(TEAM, Role::Owner).await?.connect(&self.gateway.url()).await }.boxed()
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let claimed = |number: u32| {
                let name = format!("lost-{number}");
                let request = objects::kill(&ground.victim, &name, objects::CONNECTION, &tenant(number), number);
                serde_json::to_value(orphan(&serde_json::from_value(request)?))
            };
            let mut objects = (0..self.orphans).map(claimed).collect::<Result<Vec<_>, _>>()?;
            for (number, name) in (self.orphans..).zip(["", "a b"]) {
                let mut nameless = claimed(number)?;
                nameless["spec"]["sessionKillRef"]["name"] = name.into();
                objects.push(nameless);
            }
            ground.administrator(TEAM).store_all::<SessionKillReceipt>(objects).await
        }
        .boxed()
    }
}

/// Claims of the victim's own tenant whose outcome an earlier operator did not write, and their requests. All become due at the
/// moment from which on the victim's kills are measured, as after a crash: nobody but the operator writes any more.
pub(super) struct Orphans {
    pub(super) receipts: u32,
}

/// Longer than storing them takes.
const UNTIL_DUE: SignedDuration = SignedDuration::from_secs(30);

impl Attack for Orphans {
    fn lay<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            let due = Timestamp::now() + UNTIL_DUE;
            let user = ground.administrator(&ground.victim.namespace);
            let lost = stream::iter(0..self.receipts).map(|number| lose(&user, &ground.victim, number, due));
            lost.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
            let left = due.duration_since(Timestamp::now());
            ensure!(left.is_positive(), "storing took longer than {UNTIL_DUE:#}: use a smaller attack");
            tokio::time::sleep(left.unsigned_abs()).await;
            Ok(())
        }
        .boxed()
    }
}

/// Stores a request that waits until `due`, and its claim, which is an orphan from then on.
async fn lose(user: &User<'_>, victim: &Victim, number: u32, due: Timestamp) -> anyhow::Result<()> {
    let name = format!("lost-{number}");
    let mut request = objects::kill(victim, &name, &victim.connection, &victim.tenant, number);
    request["spec"]["notBeforeTime"] = json!(Time(due));
    let Some(stored) = user.store::<SessionKill>(request).await? else { return Ok(()) };
    let mut claim = orphan(&stored);
    claim.spec.settle_deadline_time = Time(due);
    user.store::<SessionKillReceipt>(serde_json::to_value(claim)?).await?;
    Ok(())
}

/// The claim of `request` by a process that is gone. Its settle deadline has passed.
fn orphan(request: &SessionKill) -> SessionKillReceipt {
    let pending = |session| session_status(session, SessionOutcome::Pending, SessionReason::Waiting);
    let attempt = Attempt {
        attempt_id: uuid::Uuid::new_v4().to_string(),
        holder_identity: "sessionkill-operator_00000000-0000-0000-0000-000000000000".into(),
        claim_time: Timestamp::now() - SignedDuration::from_hours(1),
        dispatch_window: SignedDuration::from_secs(15),
        request_timeout: SignedDuration::from_secs(10),
        operation: Operation::KillProcessList,
        planned: request.spec.sessions.iter().map(pending).collect(),
        matched: None,
    };
    receipt(request, &attempt)
}
