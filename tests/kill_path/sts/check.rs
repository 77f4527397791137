//! `sessionkill-operator check` asks for the tokens that connections need, by the names of their `ServiceAccounts`, and for what the
//! operator lends.

use std::fs;

use serde_json::json;

use super::{ACCOUNT_NAME, account, by_account, connect, grant_tokens, scene};
use crate::scene::{Scene, check, eventually};

#[tokio::test]
async fn of_each_service_account_it_says_what_is_missing_and_what_to_do() {
    let scene = scene("sts-check").await;
    account(&scene, false).await;
    let mut credentials = by_account();
    credentials["observe"] = by_account();
    credentials["observe"]["serviceAccountRef"]["name"] = "ob-list".into();
    connect(&scene, &credentials).await;
    let said = said(&scene, &[], &["may not be read"]).await;
    for words in [
        "namespace sts-check: kinds served, rights granted",
        "OceanBaseConnection sts-check/prod-ob: ServiceAccount ob-kill: it may not be read (",
        "OceanBaseConnection sts-check/prod-ob: ServiceAccount ob-kill: no token of it may be made: let the operator's own \
         ServiceAccount do that in namespace sts-check, by rbac.serviceAccountTokens of the chart",
        "OceanBaseConnection sts-check/prod-ob: ServiceAccount ob-list: no token of it may be made",
    ] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }

    grant_tokens(&scene, ACCOUNT_NAME).await;
    grant_tokens(&scene, "ob-list").await;
    let said = self::said(&scene, &[], &["ob-kill is not labelled", "ob-list does not exist"]).await;
    assert!(said.contains("kubectl label serviceaccount ob-kill --namespace sts-check"), "{said}");
    assert!(said.contains("ServiceAccount ob-list does not exist: create it in namespace sts-check"), "{said}");
    assert!(!said.contains("no token of it may be made"), "{said}");

    account(&scene, true).await;
    let good = "OceanBaseConnection sts-check/prod-ob: ServiceAccount ob-kill: labelled, tokens granted";
    self::said(&scene, &[], &[good]).await;
    scene.end().await;
}

/// They are in the namespace that the operator keeps for them.
#[tokio::test]
async fn those_of_connections_of_no_namespace_are_asked_for_where_they_are() {
    let scene = scene("sts-check-shared").await;
    scene.put_cluster_connection(&scene.namespace, Scene::SECRET, json!({"credentials": by_account()})).await;
    let home = ["--cluster-connections", "--cluster-resource-namespace", "sts-check-shared"];
    let of = "ClusterOceanBaseConnection sts-check-shared: ServiceAccount ob-kill";
    said(&scene, &home, &[&format!("{of}: no token of it may be made")]).await;
    account(&scene, true).await;
    grant_tokens(&scene, ACCOUNT_NAME).await;
    said(&scene, &home, &[&format!("{of}: labelled, tokens granted")]).await;
    scene.end().await;
}

#[tokio::test]
async fn what_is_lent_must_be_there() {
    let scene = scene("sts-check-lent").await;
    let role = "--allow-identity=sts-check-lent=acs:ram::1:role/kill";
    let provider = "--oidc-provider-arn=acs:ram::1:oidc-provider/ack-rrsa-c1";
    let file = scene.directory().join("token");
    let named = format!("--oidc-token-file={}", file.display());
    let run = async |arguments: &[&str]| {
        let arguments = [&["--watch-namespaces", "sts-check-lent"], arguments].concat();
        check(&scene.cluster.operator_kubeconfig, &arguments).await
    };

    let (content, said) = run(&[role]).await;
    assert!(!content, "{said}");
    for what in
        ["the ARN of the OIDC provider is not known", "own ServiceAccount is not known: set rrsa.oidcProviderARN"]
    {
        assert!(said.contains(what), "{said}");
    }
    assert!(said.contains("no name of the cluster"), "{said}");
    let (content, said) = run(&[role, provider, &named]).await;
    assert!(!content && said.contains("cannot be read from"), "{said}");
    fs::create_dir_all(scene.directory()).unwrap();
    fs::write(&file, "header.claims.signature").unwrap();
    let (content, said) = run(&[role, provider, &named, "--cluster-name=c1"]).await;
    assert!(content && !said.contains("no name of the cluster"), "{said}");
    // The role of a node needs no token.
    let (content, said) = run(&["--allow-identity=sts-check-lent=instance"]).await;
    assert!(content && said.contains("no name of the cluster"), "{said}");
    scene.end().await;
}

/// What the check prints once it has these words. It succeeds whatever connections name.
async fn said(scene: &Scene, more: &[&str], words: &[&str]) -> String {
    let arguments = [&["--watch-namespaces", &scene.namespace], more].concat();
    // Rights act some time after they are granted.
    eventually("the check to say so", async || {
        let (content, said) = check(&scene.cluster.operator_kubeconfig, &arguments).await;
        assert!(content, "{said}");
        if words.iter().all(|words| said.contains(words)) { Ok(said) } else { Err(said) }
    })
    .await
}
