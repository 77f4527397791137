//! Up to the login.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::peer::{ALL, NONCE, OK, Peer, handshake, login, opened, serve};
use crate::sql::wire::auth::{NATIVE, Nonce, response};
use crate::sql::wire::{Address, Connection, OpenError, Tls};

/// Fails if the password or what it is hashed to is in `packet`.
fn assert_secret(packet: &[u8], nonce: &[u8; 20]) {
    for secret in [b"correct horse", &response(&login().password, Nonce(*nonce))[..]] {
        assert!(!packet.windows(secret.len()).any(|window| window == secret));
    }
}

async fn unsupported<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send,
{
    match opened(script).await {
        Err(OpenError::Unsupported(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_server_speaks_first_and_gets_a_user_and_a_hash() {
    let connection = opened(async |mut peer| {
        let first = tokio::time::timeout(Duration::from_millis(50), peer.stream.peek(&mut [0])).await;
        assert!(first.is_err(), "the client spoke first");
        peer.greet().await;
        let packet = peer.receive().await;
        let hash = response(&login().password, Nonce(*NONCE));
        assert_eq!(packet[32..], [b"killer\0\x14", &hash[..], NATIVE, b"\0"].concat());
        peer.send(OK).await;
    });
    let connection = connection.await.unwrap();
    assert_eq!((connection.id(), connection.server_version()), (263, "5.7.25-OceanBase-v4.3.5.3"));
    assert!(connection.is_usable() && format!("{connection:?}").contains("263"));
}

#[tokio::test]
async fn an_error_in_place_of_the_handshake_is_told() {
    let refused = opened(async |mut peer| {
        peer.send(b"\xff\x10\x04Too many connections").await;
        peer.hears_nothing_more().await;
    });
    let Err(OpenError::Refused(error)) = refused.await else { panic!() };
    assert_eq!((error.code, error.message.as_str()), (1040, "Too many connections"));
}

#[tokio::test]
async fn a_refused_login_is_told() {
    let refused = opened(async |mut peer| {
        peer.greet().await;
        peer.receive().await;
        peer.send(b"\xff\x15\x04#28000Access denied for user 'killer'").await;
        peer.hears_nothing_more().await;
    });
    let text = refused.await.unwrap_err().to_string();
    assert_eq!(text, "1045 28000: Access denied for user 'killer'");
}

#[tokio::test]
async fn a_switch_to_the_native_plugin_is_followed_with_its_own_nonce() {
    const OTHER: &[u8; 20] = b"ABCDEFGHIJKLMNOPQRST";
    for first in [NATIVE, b"caching_sha2_password"] {
        let connection = opened(async move |mut peer| {
            peer.send(&handshake(ALL, first)).await;
            let packet = peer.receive().await;
            // A server with another plugin of its own gets no hash until it asks for this one.
            assert!(packet[32..].starts_with(if first == NATIVE { b"killer\0\x14" } else { b"killer\0\0" }));
            assert_secret(&packet, OTHER);
            peer.send(&[b"\xfe", NATIVE, b"\0", OTHER, b"\0"].concat()).await;
            assert_eq!(peer.receive().await, *response(&login().password, Nonce(*OTHER)));
            peer.send(OK).await;
        });
        assert!(connection.await.unwrap().is_usable());
    }
}

#[tokio::test]
async fn a_switch_to_any_other_plugin_is_refused_with_nothing_sent() {
    for plugin in ["mysql_clear_password", "caching_sha2_password", "sha256_password", "client_ed25519"] {
        let text = unsupported(async move |mut peer| {
            peer.send(&handshake(ALL, b"caching_sha2_password")).await;
            assert_secret(&peer.receive().await, NONCE);
            peer.send(&[b"\xfe", plugin.as_bytes(), b"\0", NONCE, b"\0"].concat()).await;
            peer.hears_nothing_more().await;
        });
        assert!(text.await.contains(plugin));
    }
    let text = unsupported(async |mut peer| {
        peer.greet().await;
        peer.receive().await;
        peer.send(b"\xfe").await;
        peer.hears_nothing_more().await;
    });
    assert!(text.await.contains("mysql_old_password"));
}

#[tokio::test]
async fn a_second_switch_or_a_request_for_more_is_refused_with_nothing_sent() {
    let switch = || [b"\xfe", NATIVE, b"\0", NONCE, b"\0"].concat();
    let text = unsupported(async move |mut peer| {
        peer.greet().await;
        for _ in 0..2 {
            peer.receive().await;
            peer.send(&switch()).await;
        }
        peer.hears_nothing_more().await;
    });
    assert!(text.await.contains("twice"));
    // "Send the password itself", of caching_sha2_password.
    let text = unsupported(async |mut peer| {
        peer.greet().await;
        peer.receive().await;
        peer.send(b"\x01\x04").await;
        peer.hears_nothing_more().await;
    });
    assert!(text.await.contains("asks for more"));
}

#[tokio::test]
async fn nothing_is_sent_to_what_is_no_mysql_server() {
    let greetings: [&[u8]; 7] = [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0",
        b"\x01\0\0\0\x0a",
        b"\x01\0\0\0\x09",
        b"\xff\xff\xff\0",
        b"\x01\x10\0\0\x0a",
    ];
    for greeting in greetings {
        unsupported(async move |mut peer| {
            peer.stream.write_all(greeting).await.unwrap();
            peer.hears_nothing_more().await;
        })
        .await;
    }
    let text = unsupported(async |mut peer| {
        peer.packet(b"");
        peer.greet().await;
        peer.hears_nothing_more().await;
    });
    assert_eq!(text.await, "the server sent a packet out of order");
}

#[tokio::test]
async fn what_comes_together_with_the_handshake_was_not_asked_for() {
    let text = unsupported(async |mut peer| {
        let both = [peer.packet(&handshake(ALL, NATIVE)), peer.packet(b""), peer.packet(OK)].concat();
        peer.stream.write_all(&both).await.unwrap();
        peer.hears_nothing_more().await;
    });
    assert_eq!(text.await, "the server sent something that was not asked for");
}

#[tokio::test]
async fn a_server_that_closes_is_unreachable() {
    let closed = opened(async |peer| drop(peer)).await.unwrap_err();
    assert_eq!(closed, OpenError::Unreachable("the server closed the connection before its handshake".to_owned()));
    let closed = opened(async |mut peer| {
        peer.greet().await;
        peer.receive().await;
    });
    assert_eq!(closed.await.unwrap_err(), OpenError::Unreachable("the server closed the connection".to_owned()));
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_deadline() {
    let (address, server) = serve(Tls::Disabled, async |mut peer| {
        for byte in peer.packet(&handshake(ALL, NATIVE)) {
            if peer.stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let began = Instant::now();
    let error = Connection::open(&address, &login(), began + Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(error, OpenError::Unreachable("connected, but the login timed out".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(2));
    server.abort();
}

#[tokio::test]
async fn each_address_is_tried_in_turn() {
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let (mut address, server) = serve(Tls::Disabled, async |mut peer| peer.admit().await).await;
    address.addresses.insert(0, dead);
    assert!(Connection::open(&address, &login(), super::peer::later()).await.is_ok());
    server.await.unwrap();

    for (addresses, said) in [(vec![dead], "refused"), (vec![], "no address")] {
        let address = Address { addresses, tls: Tls::Disabled };
        let error = Connection::open(&address, &login(), super::peer::later()).await.unwrap_err();
        assert!(matches!(&error, OpenError::Unreachable(text) if text.contains(said)), "{error:?}");
    }
}

#[tokio::test]
async fn a_user_name_with_a_zero_byte_is_not_sent() {
    let (address, server) = serve(Tls::Disabled, async |mut peer| {
        peer.greet().await;
        peer.hears_nothing_more().await;
    })
    .await;
    let login = crate::sql::wire::Login { user: "a\0b".to_owned(), ..login() };
    let error = Connection::open(&address, &login, super::peer::later()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unsupported(_)));
    server.await.unwrap();
    assert!(!format!("{login:?}").contains("horse"));
}
