//! Environment variables that configure proxies, such as `HTTPS_PROXY`. The operator calls neither the API server nor
//! the gateway through a proxy.

use std::env;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use testbed::control_plane::client_for;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::scene::{Launch, Request as _, Scene};

const PROXIES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
const BINARY: &str = env!("CARGO_BIN_EXE_sessionkill-operator");

/// All of these variables, and `NO_PROXY` with the exceptions.
fn variables(proxy: &str, no_proxy: &str) -> Vec<(String, String)> {
    let excepted = ["NO_PROXY", "no_proxy"].map(|name| (name.to_owned(), no_proxy.to_owned()));
    PROXIES.into_iter().map(|name| (name.to_owned(), proxy.to_owned())).chain(excepted).collect()
}

async fn succeeds(mut command: Command) -> String {
    let output = command.kill_on_drop(true).output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
#[ignore = "the other runs it as a process of its own"]
async fn the_testbed_in_a_process_of_its_own() {
    let client = client_for(Path::new(&env::var("KUBECONFIG").unwrap())).await.unwrap();
    client.apiserver_version().await.unwrap();
}

#[tokio::test]
async fn the_proxies_of_the_environment_are_not_used() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let cases = [
        ("proxied", url.as_str(), ""),
        ("proxied-but-for", &url, "127.0.0.1,localhost"),
        ("misproxied", "no URL", "*"),
    ];
    for (name, proxy, no_proxy) in cases {
        let variables = variables(proxy, no_proxy);
        let scene = Scene::set(name).await;
        let set = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        scene.launch(Launch { variables: set, ..Launch::default() }).await;
        scene.request("inc-1").create().await;
        assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
        scene.assert_killed_once([1]);

        let kubeconfig = &scene.cluster.operator_kubeconfig;
        let mut check = Command::new(BINARY);
        check.args(["check", "--watch-namespaces", name]).env("KUBECONFIG", kubeconfig).envs(variables.clone());
        let said = succeeds(check).await;
        assert!(said.contains(&format!("namespace {name}: kinds served, rights granted")), "{said}");

        let mut testbed = Command::new(env::current_exe().unwrap());
        testbed.args(["--exact", "proxies::the_testbed_in_a_process_of_its_own", "--ignored"]);
        testbed.env("KUBECONFIG", kubeconfig).envs(variables);
        assert!(succeeds(testbed).await.contains("1 passed"));
        scene.end().await;
    }
    let called = tokio::time::timeout(Duration::ZERO, proxy.accept()).await;
    assert!(called.is_err(), "somebody called the proxy: {called:?}");
}

#[tokio::test]
async fn a_proxy_that_the_kubeconfig_names_is_refused_in_a_sentence() {
    let directory = testbed::scratch::directory().unwrap();
    let path = directory.path().join("kubeconfig");
    let cluster = json!({"server": "https://127.0.0.1:1", "proxy-url": "http://user:hidden@proxy.example.com:8080"});
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x", "users": [{"name": "x", "user": {}}],
        "clusters": [{"name": "x", "cluster": cluster}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    for command in ["run", "check"] {
        let output =
            Command::new(BINARY).arg(command).env("KUBECONFIG", &path).kill_on_drop(true).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        let sentence =
            "the kubeconfig names a proxy, and the API server is only reached directly: remove proxy-url from it";
        assert!(said.contains(sentence) && !said.contains("hidden"), "{said}");
    }
}
