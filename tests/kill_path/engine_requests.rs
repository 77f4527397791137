//! Requests on a real engine: some of their sessions changed after the request was written.

use sessionkill::api::{Expect, Outcome, SessionOutcome, SessionReason, SessionState};
use testbed::oceanbase::Engine;
use testbed::scratch;

use crate::scene::{Client, Request as _, Scene, Shown as _, as_listed, create_user, shared_engine};

const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const NOT_FOUND: (SessionOutcome, SessionReason) = (SessionOutcome::Gone, SessionReason::NotFound);
const MISMATCH: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::PreconditionMismatch);
const DRY_RUN: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::DryRun);

fn of_user(user: &str) -> Expect {
    Expect { user: Some(user.to_owned()), ..Expect::default() }
}

/// Restarts the engine until it gives this ID to a session of `user`. After a start, the engine gives out low IDs.
async fn reuse(engine: &Engine, id: i64, user: &str) -> Client {
    for _ in 0..20 {
        engine.restart().await.unwrap();
        loop {
            let client = Client::connect(engine, user).await;
            match client.id {
                same if same == id => return client,
                // The engine used the ID for an internal session.
                above if above > id => break,
                _ => client.leave().await,
            }
        }
    }
    panic!("the engine gave the ID {id} to no other session")
}

#[tokio::test]
async fn an_old_request_does_not_end_the_session_that_was_given_the_id_since() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();
    let scene = Scene::set_on(&engine, "engine-reused").await;
    scene.operator().await;
    create_user(&engine, "report_ro").await;
    create_user(&engine, "app").await;
    let mut runaway = Client::connect(&engine, "report_ro").await;
    // An ID of 250 or more: with a lower one, the engine would be past it before a client can connect.
    while runaway.id < 250 {
        runaway = Client::connect(&engine, "report_ro").await;
    }
    let id = runaway.id;
    let expect = Expect { min_execution_seconds: None, ..as_listed(&scene.wait_idle(&runaway).await) };
    let noted = scene.request("inc-1").session_on(engine.server_ip(), id).expecting(&expect);

    let mut innocent = reuse(&engine, id, "app").await;
    runaway.assert_lost().await;
    scene.wait_idle(&innocent).await;
    noted.create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!((ended.reason(), ended.outcomes()), ("PreconditionFailed", vec![MISMATCH]));
    let told = &ended.status.as_ref().unwrap().sessions[0];
    assert_eq!((told.session_id, told.message.as_str()), (id, r#"user is "app", expected "report_ro""#));
    assert_eq!(told.observed.as_ref().unwrap().user, "app");
    innocent.assert_served().await;
    scene.assert_nothing_sent();
    assert_eq!(scene.receipts().await, []);

    // Without `expect`, the ID alone names the session that has it now. Only `expect` saved it before.
    scene.request("inc-2").session_on(engine.server_ip(), id).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.outcomes(), [VERIFIED]);
    innocent.assert_lost().await;
    scene.assert_killed_on(&engine, [id]);
    scene.end().await;
}

#[tokio::test]
async fn of_many_sessions_only_those_that_are_as_expected_are_killed_and_each_is_accounted_for() {
    let engine = shared_engine().await;
    let scene = Scene::set_on(&engine, "engine-mixed").await;
    scene.operator().await;
    create_user(&engine, "mixed_reader").await;
    create_user(&engine, "mixed_app").await;
    let statement = Client::connect(&engine, "mixed_reader").await.start_statement();
    let mut idle = Client::connect(&engine, "mixed_reader").await;
    let mut unconditional = Client::connect(&engine, "mixed_reader").await;
    let mut of_another = Client::connect(&engine, "mixed_app").await;
    let mut at_rest = Client::connect(&engine, "mixed_reader").await;
    let mut unnamed = Client::connect(&engine, "mixed_reader").await;
    let left = Client::connect(&engine, "mixed_reader").await;
    let gone = left.id;
    left.leave().await;
    scene.wait_unlisted(gone).await;

    let (reader, server) = (of_user("mixed_reader"), engine.server_ip());
    let busy = as_listed(&scene.wait_listed(&statement).await);
    let active = Expect { state: Some(SessionState::Active), ..reader.clone() };
    let busy_id = statement.id;
    scene
        .request("inc-1")
        .session_on(server, of_another.id)
        .expecting_of_it(&reader)
        .and_session_on(server, busy_id)
        .expecting_of_it(&busy)
        .and_session_on(server, gone)
        .expecting_of_it(&reader)
        .and_session_on(server, idle.id)
        .expecting_of_it(&reader)
        .and_session_on(server, at_rest.id)
        .expecting_of_it(&active)
        .and_session_on(server, unconditional.id)
        .create()
        .await;

    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [MISMATCH, VERIFIED, NOT_FOUND, VERIFIED, MISMATCH, VERIFIED]);
    assert_eq!(
        ended.summary(),
        ["Succeeded=False(PartiallyKilled)", "Ready=False(PartiallyKilled)", "Stalled=True(PartiallyKilled)"]
    );
    assert_eq!(
        ended.message(),
        "3 of 6 sessions killed, 1 gone, 2 skipped: see status.sessions; nothing is sent again; to try again, create a \
         new SessionKill with a new notAfterTime"
    );
    let status = ended.status.unwrap();
    let counts = status.counts.unwrap();
    assert_eq!((counts.total, counts.killed, counts.gone, counts.skipped), (6, 3, 1, 2));
    assert_eq!((counts.failed, counts.unknown), (0, 0));
    let told: Vec<&str> = status.sessions.iter().map(|session| session.message.as_str()).collect();
    let differences = [r#"user is "mixed_app", expected "mixed_reader""#, r#"state is "SLEEP", expected "ACTIVE""#];
    assert_eq!(told, [differences[0], "", "", "", differences[1], ""]);

    for innocent in [&mut of_another, &mut at_rest, &mut unnamed] {
        innocent.assert_served().await;
    }
    statement.assert_lost().await;
    idle.assert_lost().await;
    unconditional.assert_lost().await;
    let calls = scene.kill_calls();
    assert_eq!((calls.len(), calls[0].sessions.len()), (1, 3), "the others are not named at all: {calls:?}");
    scene.assert_killed_on(&engine, [busy_id, idle.id, unconditional.id]);
    let record = scene.wait_recorded("inc-1").await;
    assert_eq!((record.outcome, record.sessions), (Outcome::PartiallyKilled, status.sessions));
    scene.wait_for_event("inc-1", "PartiallyKilled").await;
    scene.end().await;
}

#[tokio::test]
async fn a_dry_run_says_of_each_session_what_the_kill_then_does() {
    let engine = shared_engine().await;
    let scene = Scene::set_on(&engine, "engine-dry-run").await;
    scene.operator().await;
    create_user(&engine, "dry_reader").await;
    let mut right = Client::connect(&engine, "dry_reader").await;
    let mut unconditional = Client::connect(&engine, "root").await;
    let mut of_another = Client::connect(&engine, "root").await;
    let left = Client::connect(&engine, "dry_reader").await;
    let gone = left.id;
    left.leave().await;
    scene.wait_unlisted(gone).await;
    let (reader, server) = (of_user("dry_reader"), engine.server_ip());
    let kill = scene
        .request("kill")
        .session_on(server, right.id)
        .expecting_of_it(&reader)
        .and_session_on(server, of_another.id)
        .expecting_of_it(&reader)
        .and_session_on(server, gone)
        .expecting_of_it(&reader)
        .and_session_on(server, unconditional.id);

    kill.named("dry-run").dry_run().create().await;
    let said = scene.wait_finished("dry-run").await;
    assert_eq!(said.summary(), ["Succeeded=True(DryRunCompleted)", "Ready=True(DryRunCompleted)"]);
    assert_eq!(said.message(), "nothing was sent: a Kill would be sent for 2 of 4 sessions");
    assert_eq!(said.outcomes(), [DRY_RUN, MISMATCH, NOT_FOUND, DRY_RUN]);
    for alive in [&mut right, &mut of_another, &mut unconditional] {
        alive.assert_served().await;
    }
    scene.assert_nothing_sent();
    assert_eq!(scene.receipts().await, []);
    let said = said.status.unwrap();
    assert!(said.dispatch.is_none(), "{:?}", said.dispatch);

    kill.create().await;
    let done = scene.wait_finished("kill").await;
    assert_eq!(done.reason(), "PartiallyKilled");
    let done = done.status.unwrap();
    assert_eq!(said.sessions.len(), done.sessions.len());
    for (said, done) in said.sessions.iter().zip(&done.sessions) {
        assert_eq!((said.server_ip.as_str(), said.session_id), (done.server_ip.as_str(), done.session_id));
        let who = |it: &sessionkill::api::SessionStatus| it.observed.as_ref().map(|seen| seen.user.clone());
        assert_eq!(who(said), who(done), "session {}", said.session_id);
        if (said.outcome, said.reason) == DRY_RUN {
            assert_eq!(said.message, "a Kill would be sent for it");
            assert_eq!((done.outcome, done.reason), VERIFIED);
        } else {
            assert_eq!((said.outcome, said.reason, &said.message), (done.outcome, done.reason, &done.message));
        }
    }
    right.assert_lost().await;
    unconditional.assert_lost().await;
    of_another.assert_served().await;
    scene.assert_killed_on(&engine, [right.id, unconditional.id]);

    kill.named("dry-run-later").dry_run().create().await;
    let said = scene.wait_finished("dry-run-later").await;
    let message = "nothing was sent, and nor would a Kill be: the same request was executed before as SessionKill kill";
    assert_eq!(said.message(), message);
    assert_eq!(said.outcomes(), [NOT_FOUND, MISMATCH, NOT_FOUND, NOT_FOUND]);
    scene.end().await;
}
