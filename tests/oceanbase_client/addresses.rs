//! A host name is checked on the addresses that are really called.

use std::time::Duration;

use jiff::SignedDuration;
use sessionkill::backends::addresses::Addresses;
use sessionkill::oceanbase::{Client, ClientOptions, ErrorKind, Operation};

use crate::{
    calls::{Permit, access, answered, client, kill, not_executed, tenant},
    server::{Server, http},
};

const ANSWER: &str = r#"{"RequestId":"R","Data":[]}"#;

#[tokio::test]
async fn a_name_that_leads_inside_is_not_called_unless_the_operator_named_it() {
    let server = Server::answering(http("200 OK", "", ANSWER)).await;
    let endpoint = access(&format!("http://{}", server.authority.replace("127.0.0.1", "localhost")));
    let _ = client(Duration::from_secs(30));
    let client = |addresses| {
        Client::new(&ClientOptions { request_timeout: Duration::from_secs(30), addresses, proxy: None }).unwrap()
    };
    for addresses in [Addresses::Public, Addresses::Vpc] {
        let client = client(addresses);
        let killed = not_executed(client.kill(Permit::valid(), &kill(), &endpoint).await);
        let listed =
            client.list_sessions(&tenant(), (|_| true, &[]), SignedDuration::ZERO, &endpoint).await.unwrap_err();
        let probe = client.probe(Operation::KillProcessList, SignedDuration::ZERO, &endpoint);
        for error in [killed, listed, probe.await.unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
            let told = error.message.contains("localhost leads to ") && error.message.contains("--allow-endpoint");
            assert!(told, "{error}");
        }
    }
    assert_eq!(server.connections(), 0, "somebody inside was connected to");
    answered(client(Addresses::Any).kill(Permit::valid(), &kill(), &endpoint).await);
}
