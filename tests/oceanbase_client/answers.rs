//! Answers after the request was sent. Only a readable answer of the API proves anything.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use sessionkill::oceanbase::ErrorKind;
use tokio::io::AsyncWriteExt as _;

use crate::{
    calls::{Permit, access, ambiguous, answered, call, client, impatient_call, kill, not_executed},
    server::{LIMIT, Server, http},
};

const ANSWER: &str =
    r#"{"RequestId":"R-1","Data":[{"SessionId":3221614618,"ServerIp":"::1","Status":"SLEEP","ErrorMessage":""}]}"#;

/// Calls a server that gives this answer, and checks that there was only one connection.
async fn call_answered_with(answer: impl Into<Vec<u8>>) -> sessionkill::oceanbase::Called<Permit> {
    let server = Server::answering(answer).await;
    let called = call(&server.url()).await;
    assert_eq!((server.connections(), server.requests().len()), (1, 1), "{called:?}");
    called
}

#[tokio::test]
async fn an_answer_is_read_whatever_its_framing() {
    let chunked =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{ANSWER}\r\n0\r\n\r\n", ANSWER.len());
    let until_the_end = format!("HTTP/1.1 200 OK\r\n\r\n{ANSWER}");
    for framed in [http("200 OK", "", ANSWER), chunked, until_the_end] {
        let answer = answered(call_answered_with(framed).await);
        assert_eq!((answer.request_id.as_str(), answer.rows.len()), ("R-1", 1));
    }
}

#[tokio::test]
async fn the_answer_for_as_many_sessions_as_one_call_names_is_read() {
    let statement = "x".repeat(8000);
    let row = |id: i64| json!({"SessionId": id, "ServerIp": "::1", "SqlText": statement, "ErrorMessage": ""});
    let body = json!({"RequestId": "R-1", "Data": (1..=500).map(row).collect::<Vec<_>>()}).to_string();
    let server = Server::answering(http("200 OK", "", &body)).await;
    let call_for = async |ids: std::ops::RangeInclusive<i64>| {
        let mut call = kill();
        call.target.sessions = ids.map(|id| ("::1".to_owned(), id).into()).collect();
        answered(client(LIMIT).kill(Permit::valid(), &call, &access(&server.url())).await)
    };
    assert_eq!(call_for(1..=500).await.rows.len(), 500);
    // Rows of sessions that the call does not name are ignored.
    assert_eq!(call_for(400..=600).await.rows.len(), 101);
}

#[tokio::test]
async fn what_is_no_answer_of_the_api_takes_the_permit() {
    let html = "<html><body>502 Bad Gateway</body></html>";
    for (answer, said) in [
        (http("502 Bad Gateway", "content-type: text/html\r\n", html), "HTTP 502"),
        (http("200 OK", "content-type: text/html\r\n", html), "HTTP 200"),
        (http("200 OK", "", ""), "HTTP 200"),
        (http("204 No Content", "", ""), "HTTP 204"),
        (http("500 Internal Server Error", "", "{}"), "HTTP 500"),
        (http("200 OK", "", "[]"), "HTTP 200"),
        (http("200 OK", "", &ANSWER[..40]), "HTTP 200"),
    ] {
        let error = ambiguous(call_answered_with(answer).await, "UnreadableAnswer");
        assert!(error.message.contains(said), "{error}");
        assert!(!error.message.contains("Gateway"), "the body is not repeated: {error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_takes_the_permit() {
    let whole = http("200 OK", "", ANSWER);
    let chunk_missing =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{ANSWER}\r\n", ANSWER.len());
    for cut_off in [whole[..whole.len() - 1].to_owned(), whole[..20].to_owned(), chunk_missing, String::new()] {
        ambiguous(call_answered_with(cut_off).await, "AnswerLost");
    }
    ambiguous(call_answered_with("SSH-2.0-OpenSSH_9.6\r\n").await, "AnswerLost");
}

#[tokio::test]
async fn the_code_decides_whatever_the_status_says() {
    let body = |code: &str| format!(r#"{{"RequestId":"R-1","Code":"{code}","Message":"m"}}"#);
    for status in ["200 OK", "400 Bad Request", "503 Service Unavailable"] {
        ambiguous(call_answered_with(http(status, "", &body("InternalError"))).await, "InternalError");
        let throttled = http(status, "x-acs-retry-after: 1500\r\n", &body("Throttling.User"));
        let error = not_executed(call_answered_with(throttled).await);
        assert_eq!(error.kind, ErrorKind::Throttled { retry_after: Some(SignedDuration::from_millis(1500)) });
        assert_eq!(error.to_string(), "Throttling.User: m (request R-1)");
    }
}

#[tokio::test]
async fn a_refused_time_stamp_tells_the_gateways_clock() {
    let body = r#"{"Code":"InvalidTimeStamp.Expired","Message":"m"}"#;
    let date = |date: &str| http("400 Bad Request", &format!("date: {date}\r\n"), body);
    let error = not_executed(call_answered_with(date("Mon, 05 Oct 2026 09:30:00 GMT")).await);
    let gateway_time = Some("2026-10-05T09:30:00Z".parse().unwrap());
    assert_eq!(error.kind, ErrorKind::ClockRefused { server_time: gateway_time });
    let error = not_executed(call_answered_with(date("yesterday")).await);
    assert_eq!(error.kind, ErrorKind::ClockRefused { server_time: None });
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::answering(http("200 OK", "", ANSWER)).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let redirect = http(status, &format!("location: {}/\r\n", elsewhere.url()), "");
        ambiguous(call_answered_with(redirect).await, "UnreadableAnswer");
    }
    assert_eq!(elsewhere.connections(), 0, "a signed request was sent to another host");
}

/// A small compressed answer may expand to gigabytes, so it must not be decompressed.
#[tokio::test]
async fn a_compressed_body_is_neither_asked_for_nor_unfolded() {
    // Decompressed it is {"RequestId":"R","Data":[]}
    let gzip = "1f8b0800000000000203ab560a4a2d2c4d2d2ef14c51b2520a52d25172492c4954b28a8ead0500ed3f3dfe1b000000";
    let gzip = hex::decode(gzip).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", gzip.len());
    let server = Server::answering([head.into_bytes(), gzip].concat()).await;
    ambiguous(call(&server.url()).await, "UnreadableAnswer");
    assert!(!server.requests()[0].to_ascii_lowercase().contains("accept-encoding"), "{:?}", server.requests());
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    for head in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let piece = if head.contains("chunked") {
            format!("10000\r\n{}\r\n", " ".repeat(0x10000))
        } else {
            " ".repeat(0x10000)
        };
        let server = Server::start(move |mut connection| {
            let piece = piece.clone();
            async move {
                connection.read_request().await;
                connection.stream.write_all(head.as_bytes()).await.unwrap();
                connection.write_for_ever(piece.as_bytes(), Duration::ZERO).await;
            }
        })
        .await;
        let error = ambiguous(call(&server.url()).await, "AnswerTooLarge");
        assert!(error.message.contains("more than 4194304 bytes"), "{error}");
        // The server writes until the client closes the connection.
        server.ended(1).await;
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn endless_headers_are_not_read_to_their_end() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        connection.stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        connection.write_for_ever(format!("x-more: {}\r\n", "y".repeat(1000)).as_bytes(), Duration::ZERO).await;
    })
    .await;
    ambiguous(call(&server.url()).await, "AnswerLost");
    server.ended(1).await;
}

#[tokio::test]
async fn a_slow_drip_does_not_hold_a_call_past_its_time_out() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        connection.stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        connection.write_for_ever(b" ", Duration::from_millis(10)).await;
    })
    .await;
    let error = ambiguous(impatient_call(&server.url()).await, "AnswerLost");
    assert_eq!(error.message, "no answer within 1 s");
    server.ended(1).await;
    assert_eq!(server.connections(), 1);
}
