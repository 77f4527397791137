//! The client's identity and the authority that it trusts, in every form that a kubeconfig or a Pod can have.

use std::fs;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::Value;

use crate::control_plane::cluster;
use crate::{ask, client, config, eventually, scratch, within};

/// The user name that the API server sees.
async fn who(client: &Client) -> String {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let said = within(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await.unwrap();
    said.status.unwrap().user_info.unwrap().username.unwrap()
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_another_user_impersonated() {
    let control_plane = &cluster().await.control_plane;
    for http1 in [false, true] {
        let mut config = config(control_plane.kubeconfig(), &control_plane.url()).await;
        assert_eq!(who(&client(config.clone(), http1)).await, "admin");
        config.auth_info.impersonate = Some("somebody".into());
        config.auth_info.impersonate_groups = Some(vec!["some".into(), "others".into()]);
        assert_eq!(who(&client(config, http1)).await, "somebody");
    }
}

#[tokio::test]
async fn the_servers_name_may_be_another_than_the_urls() {
    let control_plane = &cluster().await.control_plane;
    let mut config = config(control_plane.kubeconfig(), &control_plane.url()).await;
    config.tls_server_name = Some("kubernetes.default.svc".into());
    ask(&client(config.clone(), false), "GET", "/version").await.unwrap();
    config.tls_server_name = Some("somewhere.else".into());
    let error = ask(&client(config.clone(), false), "GET", "/version").await.unwrap_err();
    assert!(crate::causes(&error).contains("certificate"), "{}", crate::causes(&error));
    // A certificate of another authority is refused.
    config.tls_server_name = None;
    config.root_cert = Some(vec![rcgen::generate_simple_self_signed(vec![]).unwrap().cert.der().to_vec()]);
    let error = ask(&client(config, false), "GET", "/version").await.unwrap_err();
    assert!(crate::causes(&error).contains("certificate"), "{}", crate::causes(&error));
}

/// As in a Pod: the certificate authority and the token are files, and the kubelet replaces the token before it
/// expires.
#[tokio::test]
async fn a_token_that_is_replaced_is_read_again() {
    let cluster = cluster().await;
    cluster.namespace("tokens", &[]).await;
    let directory = scratch("tokens");
    let mut tokens = vec![];
    for account in ["before", "after"] {
        assert!(cluster.kubectl(&["create", "serviceaccount", "-n", "tokens", account]).await.success);
        let kubeconfig = cluster.control_plane.service_account_kubeconfig("tokens", account).await.unwrap();
        let kubeconfig: Value = serde_json::from_slice(&fs::read(kubeconfig).unwrap()).unwrap();
        tokens.push(kubeconfig["users"][0]["user"]["token"].as_str().unwrap().to_owned());
    }
    let administrator = config(cluster.control_plane.kubeconfig(), &cluster.control_plane.url()).await;
    let mut config = kube::Config::new(administrator.cluster_url);
    config.root_cert_file = Some(cluster.control_plane.kubeconfig().with_file_name("ca.crt"));
    config.root_cert = administrator.root_cert;
    let file = directory.join("token");
    fs::write(&file, &tokens[0]).unwrap();
    config.auth_info.token_file = Some(file.to_str().unwrap().into());
    let client = client(config, false);
    assert_eq!(who(&client).await, "system:serviceaccount:tokens:before");
    fs::write(&file, &tokens[1]).unwrap();
    eventually("the new token to be used", async || {
        let who = who(&client).await;
        if who == "system:serviceaccount:tokens:after" { Ok(()) } else { Err(who) }
    })
    .await;
}
