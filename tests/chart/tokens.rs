//! What the operator may make of `ServiceAccounts`: tokens for STS, of those that the values name, and nothing else. By RBAC alone it
//! could be any of them towards Kubernetes.

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    control_plane::{Cluster, Said},
    eventually, furnished, render,
};

const NAMESPACE: &str = "tokens";
const OPERATOR: &str = "system:serviceaccount:sessionkill-system:sessionkill-operator";
const OF_STS: &str = "--audience=sts.aliyuncs.com";

/// The cluster with two `ServiceAccounts` in the namespace, of which the values name one, and the policy in force.
async fn granted() -> &'static Cluster {
    static GRANTED: OnceCell<()> = OnceCell::const_new();
    let cluster = furnished().await;
    GRANTED.get_or_init(async || grant(cluster).await).await;
    cluster
}

async fn grant(cluster: &Cluster) {
    cluster.namespace(NAMESPACE, &[]).await;
    for name in ["ob-kill", "other"] {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE},
        });
        apply(cluster, &account.to_string()).await;
    }
    let values = json!({"rbac": {"serviceAccountTokens": [{"namespace": NAMESPACE, "name": "ob-kill"}]}});
    let rendered = render(&values).await;
    let is_of_tokens = |document: &&str| document.contains("templates/service-account-tokens.yaml");
    apply(cluster, &rendered.split("---\n").filter(is_of_tokens).collect::<Vec<_>>().join("---\n")).await;
    eventually("the policy to be in force", async || {
        let said = token(cluster, "ob-kill", &["--duration=600s"]).await;
        if said.stderr.contains("for the audience sts.aliyuncs.com only") { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
}

async fn apply(cluster: &Cluster, objects: &str) {
    let said = cluster.kubectl_with(&["apply", "--server-side", "-f", "-"], objects).await;
    assert!(said.success, "{said:?}");
}

/// Makes a token as the operator.
async fn token(cluster: &Cluster, account: &str, options: &[&str]) -> Said {
    let create = ["create", "token", account, "-n", NAMESPACE, "--as", OPERATOR];
    cluster.kubectl(&[&create[..], options].concat()).await
}

#[tokio::test]
async fn the_operator_makes_tokens_for_sts_only_and_of_those_that_are_named_only() {
    let cluster = granted().await;
    let said = token(cluster, "ob-kill", &[OF_STS, "--duration=600s"]).await;
    assert!(said.success, "{said:?}");
    assert_eq!(audiences(said.stdout.trim()), json!(["sts.aliyuncs.com"]));
    let cases: [(&str, &[&str], &str); 5] = [
        ("ob-kill", &["--duration=600s"], "for the audience sts.aliyuncs.com only"),
        ("ob-kill", &[OF_STS, "--audience=other", "--duration=600s"], "for the audience sts.aliyuncs.com only"),
        ("ob-kill", &[OF_STS, "--duration=3600s"], "for 600 s at most"),
        (
            "ob-kill",
            &[OF_STS, "--duration=600s", "--bound-object-kind=Secret", "--bound-object-name=x"],
            "bound to no object",
        ),
        ("other", &[OF_STS, "--duration=600s"], "cannot create resource \"serviceaccounts/token\""),
    ];
    for (account, options, words) in cases {
        let said = token(cluster, account, options).await;
        assert!(!said.success && said.stderr.contains(words), "{options:?}: {said:?}");
    }
    for (account, answer) in [("ob-kill", "yes"), ("other", "no")] {
        let ask = ["auth", "can-i", "get", &format!("serviceaccounts/{account}"), "-n", NAMESPACE, "--as", OPERATOR];
        assert_eq!(cluster.kubectl(&ask).await.stdout.trim(), answer, "{account}");
    }
}

/// The policy is about the operator: others make tokens as before.
#[tokio::test]
async fn others_make_tokens_as_before() {
    let cluster = granted().await;
    let said = cluster.kubectl(&["create", "token", "other", "-n", NAMESPACE]).await;
    assert!(said.success, "{said:?}");
}

/// Whom a token is for.
fn audiences(token: &str) -> Value {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["aud"].clone()
}
