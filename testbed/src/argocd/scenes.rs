//! The scenes that are played with Argo CD. Each fails if anything is not as promised, and says what was seen.

use std::{path::Path, sync::Arc};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sessionkill::api::SessionKillSpec;

use super::application::{Application, eventually};
use crate::{
    arena::{Ground, kill_of, session},
    gateway::Session,
};

/// What a scene saw, with the words of Argo CD where they matter.
pub(super) type Seen = anyhow::Result<Vec<(&'static str, String)>>;

/// A session that the example's hook expects.
fn of_the_hook(number: i64) -> Session {
    Session { user: "batch_rw".into(), client_ip: "10.2.3.5".into(), ..session(number) }
}

/// The example as shipped, synced again and again, with deletions in between.
pub(super) async fn example(ground: &Arc<Ground>, directory: &Path) -> Seen {
    let app = Application::set(ground, directory, "example", vec![of_the_hook(1), session(2)]).await?;
    let hook = app.put_example("hook.yaml", 1, 900)?;
    let request = app.put_example("request.yaml", 2, 900)?;
    app.create(true).await?;
    app.health("Healthy").await?;
    ensure!(app.ended(&hook).await? == "SessionsKilled" && app.ended(&request).await? == "SessionsKilled");
    ensure!(app.kills() == [1, 1], "killed {:?}", app.kills());
    for _ in 0..3 {
        app.arena.gateway.set_sessions(vec![of_the_hook(1), session(2)])?;
        let (succeeded, said) = app.sync().await?;
        ensure!(succeeded, "{said}");
        ensure!(app.ended(&hook).await? == "AlreadyExecuted" && app.ended(&request).await? == "SessionsKilled");
    }
    app.delete(&request).await?;
    app.saying(&request, "AlreadyExecuted").await?;
    app.health("Healthy").await?;
    app.remove("request.yaml")?;
    app.commit("remove the request").await?;
    app.gone(&request).await?;
    app.health("Healthy").await?;
    ensure!(app.kills() == [1, 1], "killed {:?}", app.kills());
    Ok(vec![("the example: its first sync, three more, a deletion by hand, a removal", String::new())])
}

/// A request of the last wave fails.
pub(super) async fn failed(ground: &Arc<Ground>, directory: &Path) -> Seen {
    let app = Application::set(ground, directory, "failed", vec![Session { protected: true, ..session(1) }]).await?;
    app.put("inc-90", &kill_of(&[1], 900)?)?;
    app.create(false).await?;
    let (succeeded, sync) = app.sync().await?;
    ensure!(succeeded, "Argo CD does not wait for the last wave: {sync}");
    let health = app.health("Degraded").await?;
    let sent = app.arena.calls_for(1).len();
    ensure!(sent > 0, "nothing was sent");
    for is_made_anew in [false, true] {
        if is_made_anew {
            app.delete("inc-90").await?;
            app.gone("inc-90").await?;
        }
        let (succeeded, said) = app.sync().await?;
        ensure!(succeeded, "{said}");
        ensure!(app.ended("inc-90").await? == "KillFailed");
    }
    ensure!(app.arena.calls_for(1).len() == sent, "sent again: {:?}", app.arena.calls_for(1));
    ensure!(app.kills() == [0; 0], "killed {:?}", app.kills());
    Ok(vec![("a kill that failed, in the last wave: the sync", sync), ("its health, Degraded", health)])
}

/// A hook that fails stops what comes after it, also after its notAfterTime.
pub(super) async fn gate(ground: &Arc<Ground>, directory: &Path) -> Seen {
    let lasting = Session { protected: true, ..of_the_hook(1) };
    let app = Application::set(ground, directory, "gate", vec![lasting, session(2)]).await?;
    let hook = app.put_example("hook.yaml", 1, 60)?;
    app.put("migration", &kill_of(&[2], 900)?)?;
    app.create(false).await?;
    let (succeeded, said) = app.sync().await?;
    ensure!(!succeeded && !app.is_there("migration").await?, "the gate is open: {said}");
    ensure!(app.ended(&hook).await? == "KillFailed", "{said}");
    let sent = app.arena.calls_for(1).len();
    ensure!(sent > 0, "nothing was sent");
    let not_after = app.stored(&hook).await?.spec.not_after_time.0;
    eventually("notAfterTime to pass", async || Ok(Timestamp::now() > not_after)).await?;
    let (succeeded, later) = app.sync().await?;
    ensure!(!succeeded && !app.is_there("migration").await?, "the gate opened by itself: {later}");
    ensure!(app.ended(&hook).await? == "KillFailed", "{later}");
    let created = app.stored(&hook).await?.metadata.creation_timestamp.context("it was created at no time")?.0;
    ensure!(created >= not_after, "the hook is of {created}, and its notAfterTime is {not_after}");
    ensure!(app.arena.calls_for(1).len() == sent, "sent again: {:?}", app.arena.calls_for(1));
    ensure!(app.kills() == [0; 0], "killed {:?}", app.kills());
    Ok(vec![("a kill that failed, as a hook: the sync, which fails", said), ("the same after its notAfterTime", later)])
}

/// A request that waits does not block the others.
pub(super) async fn waits(ground: &Arc<Ground>, directory: &Path) -> Seen {
    let app = Application::set(ground, directory, "waits", vec![session(1), session(2)]).await?;
    let not_before = Some(Time((Timestamp::now() + SignedDuration::from_hours(1)).round(Unit::Second)?));
    app.put("inc-91", &SessionKillSpec { not_before_time: not_before, ..kill_of(&[1], 7200)? })?;
    app.create(true).await?;
    let said = app.health("Progressing").await?;
    app.put("urgent", &kill_of(&[2], 900)?)?;
    app.commit("an incident").await?;
    app.saying("urgent", "SessionsKilled").await?;
    app.saying("inc-91", "Scheduled").await?;
    ensure!(app.kills() == [1], "killed {:?}", app.kills());
    Ok(vec![("one that waits for its notBeforeTime: its health, Progressing", said)])
}

/// A missed kill is not healthy. An old manifest is.
pub(super) async fn missed(ground: &Arc<Ground>, directory: &Path) -> Seen {
    let app = Application::set(ground, directory, "missed", vec![session(1)]).await?;
    app.put("old", &kill_of(&[1], -31_536_000)?)?;
    app.create(true).await?;
    app.health("Healthy").await?;
    app.put("inc-92", &kill_of(&[1], -120)?)?;
    app.commit("too late").await?;
    let said = app.health("Degraded").await?;
    ensure!(app.kills() == [0; 0], "killed {:?}", app.kills());
    Ok(vec![("one that was missed: its health, Degraded", said)])
}
