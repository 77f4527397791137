//! docs/kubectl.md shows what the plugin prints: `UPDATE_DOCS=1 cargo test --test kubectl screens` writes it.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use testbed::arena::kill_of;
use testbed::gateway::Session;

use crate::accounts::user;
use crate::page::{but_for_numbers, shows};
use crate::stage::{Said, Stage, eventually, idle, of};
use crate::terminal::Screen;

const PAGE: &str = "kubectl.md";

/// A command and what it printed, as on a terminal.
fn screen(line: &str, said: &Said) -> String {
    format!("```console\n$ kubectl sessionkill {line}\n{}{}```\n", said.stdout, said.stderr)
}

async fn run(stage: &Stage, line: &str) -> Said {
    stage.run(&line.split_whitespace().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn the_page_shows_what_is_printed() {
    let lingering = Session { lingering: true, ..of("etl", 5, 95) };
    let sessions = vec![of("report", 1, 742), of("report", 2, 61), of("app", 3, 3), idle("app", 4, 4000), lingering];
    let stage = Stage::ready("shop", sessions).await;
    // On a terminal, so that all that is printed is in its order.
    let show = async |part: &str, line: &str, code| {
        let mut terminal = Screen::open(&stage, &line.split_whitespace().collect::<Vec<_>>()).await;
        assert_eq!(terminal.code().await, Some(code), "{}", terminal.shown());
        shows(
            PAGE,
            part,
            &format!("```console\n$ kubectl sessionkill {line}\n{}```\n", terminal.all().await),
            but_for_numbers,
        );
    };
    show("sessions", "sessions", 0).await;
    show("filters", "ps --user report,app --min 5m --exclude-command Sleep", 0).await;

    let line = "kill --user report --min 5m --name inc-4711";
    let mut terminal = Screen::open(&stage, &line.split_whitespace().collect::<Vec<_>>()).await;
    terminal.answer("Why (", "INC-4711 runaway report\n").await;
    terminal.answer("End 1 session? [y/N]", "y\n").await;
    assert_eq!(terminal.code().await, Some(0));
    let printed = terminal.all().await;
    shows(PAGE, "kill", &format!("```console\n$ kubectl sessionkill {line}\n{printed}```\n"), but_for_numbers);

    // The history shows the newest first, by seconds.
    let first = stage.request("inc-4711").await.metadata.creation_timestamp.unwrap().0;
    eventually("another second", async || {
        let now = Timestamp::now();
        if now.duration_since(first) > SignedDuration::from_millis(1100) { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    show("some-not", "kill --user etl --yes --name inc-4712 --reason INC-4712", 2).await;
    show("explain", "explain inc-4712", 0).await;
    show("history", "history --since 1d", 0).await;

    let mut spec = kill_of(&[2], 600).unwrap();
    spec.not_before_time = Some(Time((Timestamp::now() + SignedDuration::from_mins(5)).round(Unit::Second).unwrap()));
    stage.arena.request("inc-4713", spec).await.unwrap();
    eventually("the request to wait", async || {
        let told = run(&stage, "explain inc-4713").await.stdout;
        if told.contains("now: Scheduled") { Ok(()) } else { Err(told) }
    })
    .await;
    let mut printed = "```console\n".to_owned();
    for line in ["suspend inc-4713", "resume inc-4713", "delete inc-4713 --yes"] {
        let said = run(&stage, line).await;
        assert_eq!(said.code, 0, "{said:?}");
        write!(printed, "$ kubectl sessionkill {line}\n{}", said.stdout).unwrap();
    }
    shows(PAGE, "suspend", &(printed + "```\n"), but_for_numbers);

    let jane = user(&stage, "jane", Some("sessionkill-requester")).await;
    let said = stage.run_as(&jane, &["check"]).await;
    let said = Said { stdout: said.stdout.replace(&stage.arena.gateway.url(), "GATEWAY"), ..said };
    shows(PAGE, "check", &screen("check", &said), but_for_numbers);
    let nobody = user(&stage, "nobody", None).await;
    let said = stage.run_as(&nobody, &["sessions"]).await;
    shows(PAGE, "refused", &screen("sessions", &said), but_for_numbers);
}
