//! What is made of each error code of STS.

use serde_json::{Value, json};
use sessionkill::api::WaitReason;
use sessionkill::backends::credentials::errors::Retry;

use crate::recordings::Recordings;
use crate::scene::{Scene, assumed, issued, of_account, of_node, refusal};
use crate::server::{Answer, Server};

/// The reason, how soon it is tried again, and how often STS was asked.
async fn made_of(spec: Value, status: u16, code: &str) -> (WaitReason, Retry, usize) {
    let code = code.to_owned();
    let scene = Scene::of(Server::answering(move |_, _| refusal(status, &code)).await);
    let why = scene.why(&scene.identity(spec, &json!({}))).await;
    assert!(!why.message.contains("canary"), "{why}");
    (why.reason, why.retry, scene.server.count())
}

#[tokio::test]
async fn each_code_says_whether_it_passes_and_who_can_change_it() {
    for error in Recordings::read().errors {
        let sources = match error.action.as_str() {
            "AssumeRole" | "AssumeRole and OpenAPI" => vec![assumed()],
            "AssumeRoleWithOIDC" => vec![of_account()],
            "both" => vec![assumed(), of_account()],
            other => panic!("{other} is not tried"),
        };
        let of_token = error.code.starts_with("AuthenticationFail.OIDCToken.");
        let refused = if of_token { WaitReason::OidcTokenRejected } else { WaitReason::RoleNotAssumable };
        let expected = match error.class.as_str() {
            "refused" | "misconfigured" | "retry slowly" => (refused, Retry::Slowly, 1),
            "new token, once, then retry later" => (refused, Retry::Slowly, 2),
            // Whoever read the Secret reads it anew: another key is another identity.
            "base key refused: read it anew once" | "renew once, then retry" => {
                (WaitReason::CredentialsRejected, Retry::Slowly, 1)
            }
            "retry" => (WaitReason::StsUnavailable, Retry::Soon, 1),
            other => panic!("{other} is not tried"),
        };
        for spec in sources {
            assert_eq!(made_of(spec, error.status, &error.code).await, expected, "{}", error.code);
        }
    }
}

#[tokio::test]
async fn a_status_without_a_code_and_no_answer_at_all_pass_by_themselves() {
    for status in [200, 302, 403, 404, 500, 502, 503] {
        for body in ["", "<html>502</html>", "{}"] {
            let scene = Scene::of(Server::answering(move |_, _| Answer(status, &[], body.into())).await);
            let why = scene.why(&scene.identity(assumed(), &json!({}))).await;
            assert_eq!((why.reason, why.retry), (WaitReason::StsUnavailable, Retry::Soon), "{status} {body}: {why}");
        }
    }
    let scene = Scene::of(Server::nowhere());
    for (spec, reason) in [(assumed(), WaitReason::StsUnavailable), (of_node(), WaitReason::MetadataUnavailable)] {
        let why = scene.why(&scene.identity(spec, &json!({}))).await;
        assert_eq!(why.reason, reason);
        assert!(why.message.contains("Unreachable"), "{why}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_to_change() {
    for (spec, code, words) in [
        (of_account(), "AuthenticationFail.NoPermission", "the subject system:serviceaccount:shop:ob-kill"),
        (
            of_account(),
            "AuthenticationFail.OIDCToken.IssuerNotMatch",
            "check the issuer, the client ID sts.aliyuncs.com",
        ),
        (assumed(), "NoPermission", "let its trust policy name the identity that assumes it"),
        (assumed(), "InvalidAccessKeyId.NotFound", "correct the access key in Secret ak"),
        (assumed(), "Throttling.User", "trying again"),
    ] {
        let scene = Scene::of(Server::answering(move |_, _| refusal(400, code)).await);
        let why = scene.why(&scene.identity(spec, &json!({}))).await;
        assert!(why.message.contains(words) && why.message.contains(&format!("{code}: why (request R-1)")), "{why}");
    }
}

/// STS answers with its own time: the operator's clock may be the wrong one.
#[tokio::test]
async fn a_time_that_is_refused_is_corrected_once() {
    let server = Server::answering(|number, request| {
        if number == 0 {
            let Answer(status, _, body) = refusal(400, "InvalidTimeStamp.Expired");
            return Answer(status, &[("date", "Mon, 05 Oct 2026 10:00:00 GMT")], body);
        }
        let stamp = request.header("x-acs-date").unwrap();
        assert!(stamp.starts_with("2026-10-05T10:0"), "{stamp}");
        issued(request, number, 3600)
    });
    let scene = Scene::of(server.await);
    let identity = scene.identity(assumed(), &json!({}));
    assert_eq!(scene.key(&identity).await.unwrap().id, "STS.Issued1");
    let refusing = Server::answering(|_, _| {
        let Answer(status, _, body) = refusal(400, "InvalidTimeStamp.Expired");
        Answer(status, &[("date", "Mon, 05 Oct 2026 10:00:00 GMT")], body)
    });
    let scene = Scene::of(refusing.await);
    let why = scene.why(&scene.identity(assumed(), &json!({}))).await;
    assert_eq!((why.reason, scene.server.count()), (WaitReason::TimeStampRefused, 2));
}
