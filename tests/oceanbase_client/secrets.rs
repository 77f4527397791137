//! Only the gateway gets the credentials, the strings to sign and the statements.

use std::time::Duration;

use jiff::SignedDuration;
use sessionkill::oceanbase::{CallError, Called, Client, Operation};
use testbed::gateway::{self, Gateway, GatewayOptions};

use crate::{
    calls::{KEY_ID, Permit, SECRET, TOKEN, access, client, kill, tenant},
    recorder::recorded,
    server::{Server, http},
};

const SQL: &str = "select canary_column from canary_table";

/// Words that appear only in secrets, strings to sign and statements.
const TELLTALES: [&str; 8] = [
    "canary",
    "AccessKeyId",
    "Signature=",
    "Credential=",
    "x-acs-security-token",
    "SignedHeaders",
    "%2F&",
    "SessionList",
];

fn assert_tells_nothing(text: &str) {
    for telltale in TELLTALES {
        let line = text.lines().find(|line| line.to_ascii_lowercase().contains(&telltale.to_ascii_lowercase()));
        assert_eq!(line, None, "{telltale}");
    }
}

/// Errors of every kind: each signature version, with every failure after the signing.
async fn errors_of_all_kinds() -> Vec<CallError> {
    let key = gateway::AccessKey { id: KEY_ID.into(), secret: "another".into(), token: Some(TOKEN.into()) };
    let gateway = Gateway::start(GatewayOptions { access_keys: vec![key], ..GatewayOptions::default() }).await.unwrap();
    let row = format!(r#"{{"SessionId":7,"ServerIp":"::1","SqlText":"{SQL}"}}"#);
    let executed = Server::answering(http("200 OK", "", &format!(r#"{{"Data":[{row}]}}"#))).await;
    let echo = format!(r#"{{"Code":"Unknown","Message":"server string to sign is:POST&%2F&SessionList%3D{SQL}"}}"#);
    let echo = Server::answering(http("400 Bad Request", "", &echo)).await;
    let names_the_key = format!(r#"{{"Code":"Forbidden.RAM","Message":"{KEY_ID} with {TOKEN} may not run it"}}"#);
    let names_the_key = Server::answering(http("403 Forbidden", "", &names_the_key)).await;
    let escaped = KEY_ID.replace('L', "\\u004c");
    let escaped = format!(r#"{{"Code":"Forbidden.RAM","Message":"{escaped} may not run it"}}"#);
    let escaped = Server::answering(http("403 Forbidden", "", &escaped)).await;
    let unreadable =
        Server::answering(http("502 Bad Gateway", "", &format!("<html>{SQL} {TOKEN} {KEY_ID}</html>"))).await;
    let odd_header = format!("bad header {TOKEN}\r\n");
    let malformed = Server::answering(http("200 OK", &odd_header, "{}")).await;
    let mut servers = vec![gateway.url(), format!("http://127.0.0.1:{}", testbed::port::free().unwrap())];
    servers.extend([executed.url(), echo.url(), names_the_key.url(), escaped.url(), unreadable.url(), malformed.url()]);
    let no_tls = Server::start(|connection| async move { drop(connection) }).await;
    servers.push(format!("https://{}", no_tls.authority));

    let client = client(Duration::from_secs(30));
    let mut errors = vec![];
    for server in &servers {
        for v1 in [false, true] {
            errors.extend(errors_of_each_call(&client, server, v1).await);
        }
    }
    errors
}

async fn errors_of_each_call(client: &Client, server: &str, v1: bool) -> Vec<CallError> {
    let mut access = access(server);
    access.signature_v1 = v1;
    access.access_key.security_token = Some(TOKEN.into());
    assert_tells_nothing(&format!("{access:?} {client:?}"));
    let killed = match client.kill(Permit::valid(), &kill(), &access).await {
        Called::NotExecuted(_, error) | Called::Ambiguous(error) => Some(error),
        Called::Answered(_) | Called::InPart(..) => None,
    };
    let listed = client.list_sessions(&tenant(), (|_| true, &[]), SignedDuration::ZERO, &access).await.err();
    let probed = client.probe(Operation::KillProcessList, SignedDuration::ZERO, &access).await.err();
    [killed, listed, probed].into_iter().flatten().collect()
}

#[tokio::test]
async fn errors_tell_nothing() {
    let errors = errors_of_all_kinds().await;
    // 8 servers refuse all three calls. The one that executes the kill returns no list.
    assert_eq!(errors.len(), 2 * (8 * 3 + 1));
    for error in errors {
        assert_tells_nothing(&format!("{error} {error:?}"));
        assert!(!error.code.is_empty());
    }
}

#[tokio::test]
async fn logs_tell_nothing_at_any_level() {
    errors_of_all_kinds().await;
    tracing::trace!("recorded through tracing");
    log::trace!("recorded through log");
    let recorded = recorded();
    for heard in ["recorded through tracing", "recorded through log", "starting new connection"] {
        assert!(recorded.contains(heard), "{heard}: the recorder is deaf");
    }
    assert_tells_nothing(&recorded);
    for secret in [SECRET, TOKEN, KEY_ID, SQL] {
        assert!(secret.contains("canary"), "{secret} would not be noticed");
    }
}
