//! The same where replicas are Pods on two nodes: a container is killed, a Pod is deleted, a node is lost.

use std::time::Duration;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Signal, kill_process};
use tokio::time::sleep;

use super::row::row;
use crate::{
    scratch,
    site::{Fate, Leader, Site},
    stack::{Install, NAMESPACE, OperatorChoice, Pods, Sessions, Stack, StackOptions},
};

/// The namespace of the requests.
const WORK: &str = "work";
/// The number of requests around each blow.
const REQUESTS: i64 = 3;

/// What happens to the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// Its container is killed.
    Kill,
    /// Its Pod is deleted.
    Deletion,
    /// Its node is switched off.
    NodeLoss,
}

impl Blow {
    const ALL: [Self; 3] = [Self::Kill, Self::Deletion, Self::NodeLoss];

    const fn words(self) -> &'static str {
        match self {
            Self::Kill => "container killed",
            Self::Deletion => "Pod deleted",
            Self::NodeLoss => "node lost",
        }
    }
}

/// The time from the blow until another replica leads, and until it has ended a request.
struct TakeOver {
    blow: Blow,
    leads: SignedDuration,
    serves: SignedDuration,
}

/// Strikes this number of times in each way, and prints the results. Fails if a kill was lost or made twice.
pub(super) async fn on_nodes(pods: Pods, runs: usize) -> anyhow::Result<()> {
    let directory = scratch::directory()?;
    let options = StackOptions {
        directory: directory.path().into(),
        sessions: Sessions::Memory,
        operator: OperatorChoice::None,
        sts: None,
    };
    let lease_seconds = pods.lease_seconds.unwrap_or_default();
    let site = Site::new(Stack::start_installed(options, Install::Pods(pods)).await?).await?;
    site.open_namespace(WORK, &site.stack.gateway_url()).await?;
    let (mut take_overs, mut asked) = (vec![], vec![]);
    for blow in Blow::ALL.into_iter().cycle().take(runs * Blow::ALL.len()) {
        site.settled().await?;
        take_overs.push(strike(&site, blow, &mut asked).await?);
    }
    site.settled().await?;
    print(&site, lease_seconds, &take_overs, &asked).await
}

async fn ask(site: &Site, asked: &mut Vec<i64>) -> anyhow::Result<String> {
    let number = i64::try_from(asked.len())? + 1;
    asked.push(number);
    site.ask(WORK, &name(number), &[number]).await?;
    Ok(name(number))
}

fn name(number: i64) -> String {
    format!("request-{number}")
}

async fn strike(site: &Site, blow: Blow, asked: &mut Vec<i64>) -> anyhow::Result<TakeOver> {
    let leader = site.led_by(|_| true).await?;
    for _ in 1..REQUESTS {
        ask(site, asked).await?;
    }
    sleep(Duration::from_millis(fastrand::u64(..150))).await;
    let struck = Timestamp::now();
    befall(site, blow, &leader).await?;
    let first = ask(site, asked).await?;
    let next = site.led_by(|next| next.identity != leader.identity).await?;
    site.ended(WORK, &first).await?;
    let take_over =
        TakeOver { blow, leads: next.since.duration_since(struck), serves: Timestamp::now().duration_since(struck) };
    if blow == Blow::NodeLoss {
        site.nodes()?.node(&leader.node)?.boot()?;
        site.nodes()?.ready(&site.stack.control_plane).await?;
    }
    Ok(take_over)
}

async fn befall(site: &Site, blow: Blow, leader: &Leader) -> anyhow::Result<()> {
    match blow {
        Blow::Kill => Ok(kill_process(leader.process()?, Signal::KILL)?),
        Blow::Deletion => {
            let delete = ["delete", "pod", "-n", NAMESPACE, "--wait=false", &leader.pod];
            site.stack.control_plane.run_kubectl(&delete).await.map(drop)
        }
        Blow::NodeLoss => site.nodes()?.node(&leader.node)?.lose(),
    }
}

async fn print(site: &Site, lease_seconds: u16, take_overs: &[TakeOver], asked: &[i64]) -> anyhow::Result<()> {
    println!("a Lease of {lease_seconds} s; in seconds       runs    least   median      p95     most");
    for blow in Blow::ALL {
        let those = || take_overs.iter().filter(|it| it.blow == blow);
        let seconds = |it: SignedDuration| it.as_secs_f64();
        row(&format!("{}: another leads", blow.words()), &those().map(|it| seconds(it.leads)).collect::<Vec<_>>());
        row(&format!("{}: a request ended", blow.words()), &those().map(|it| seconds(it.serves)).collect::<Vec<_>>());
    }
    let mut fates = vec![];
    for number in asked {
        fates.push(site.fate(WORK, &name(*number), *number).await);
    }
    let of = |fate: Fate| fates.iter().flatten().filter(|it| **it == fate).count();
    for violation in fates.iter().filter_map(|fate| fate.as_ref().err()) {
        println!("LOST OR FALSE {violation:#}");
    }
    let violations = fates.iter().filter(|fate| fate.is_err()).count();
    println!("requests made around the blows     {:>6}", asked.len());
    println!("sessions killed                    {:>6}", of(Fate::Killed));
    println!("killed twice                       {:>6}", site.kills(asked).iter().filter(|count| **count > 1).count());
    println!("not killed, and the request says so{:>6}", of(Fate::Unsent));
    println!("lost, or said falsely              {violations:>6}");
    ensure!(violations == 0, "{violations} things did not hold, see above");
    Ok(())
}
