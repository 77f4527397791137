//! How an operator names itself in claims and Events, even if the name of its Pod is very long.

use crate::scene::{Launch, Request as _, Scene};

#[tokio::test]
async fn with_the_longest_name_of_a_pod_claims_are_made_and_events_are_written() {
    for (scene, length) in [("pod-name-129", 129), ("pod-name-230", 230), ("pod-name-253", 253)] {
        let scene = Scene::set(scene).await;
        let variables = vec![format!("POD_NAME={}", "p".repeat(length))];
        scene.launch(Launch { variables, ..Launch::default() }).await;
        scene.request("inc-1").create().await;
        assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
        scene.wait_for_event("inc-1", "SessionsKilled").await;
        let events = scene.events().await;
        assert!(
            events.iter().all(|event| event.reporting_instance.as_ref().unwrap() == &"p".repeat(128)),
            "{events:?}"
        );
        let holder = scene.receipt().await.spec.holder_identity;
        assert!(holder.starts_with(&format!("{}_", "p".repeat(128))), "{holder}");
        scene.assert_killed_once([1]);
        scene.end().await;
    }
}
