//! Sockets: protocols on one port, keep-alive and pipelining, slow and odd clients.

use std::time::Duration;

use craton_testkit::{Scripted, TestServer};
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONVERSE: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";

fn hello() -> serde_json::Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]})
}

/// Everything the server sends until it hangs up or falls silent.
async fn raw(server: &TestServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.server.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut seen = Vec::new();
    let _ = tokio::time::timeout(Duration::from_millis(1500), stream.read_to_end(&mut seen)).await;
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn http1_and_http2_share_the_port() {
    let server = TestServer::start().await;
    let mut client = server.client();
    assert_eq!(client.post(CONVERSE, &hello()).await.status, 200);
    client.http2 = true;
    let answers =
        futures::future::join_all((0..20).map(|_| async { client.post(CONVERSE, &hello()).await })).await;
    assert!(answers.into_iter().all(|answer| answer.status == 200));
}

#[tokio::test]
async fn tls_serves_both_protocols_with_a_certificate_clients_can_trust() {
    let server = TestServer::with(Scripted::saying("x"), |config| config.tls = true).await;
    assert!(server.server.url().starts_with("https://127.0.0.1:"));
    let mut client = server.client();
    assert_eq!(client.post(CONVERSE, &hello()).await.status, 200);
    client.http2 = true;
    assert_eq!(client.post(CONVERSE, &hello()).await.status, 200);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start().await;
    let seen = raw(&server, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /metrics HTTP/1.1\r\nhost: x\r\n\r\nGET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let answers: Vec<_> = seen.match_indices("HTTP/1.1 200 OK").collect();
    assert_eq!(answers.len(), 3, "{seen}");
    assert!(seen.find(r#"{"status":"ok"}"#) < seen.find("craton_requests_in_flight"), "{seen}");
}

#[tokio::test]
async fn a_preface_in_pieces_is_still_http2() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.server.address()).await.unwrap();
    for piece in [b"PRI * HT".as_slice(), b"TP/2.0\r\n\r\nSM", b"\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        stream.write_all(piece).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut header = [0_u8; 9];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(header[3], 4, "the server's first frame is SETTINGS");
}

#[tokio::test]
async fn continue_is_sent_when_asked_for() {
    let server = TestServer::start().await;
    let (parts, body) = server.client().signed(Method::POST, CONVERSE, hello().to_string().into());
    let mut head =
        format!("POST {CONVERSE} HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in &parts.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head.push_str("\r\n");
    let mut stream = TcpStream::connect(server.server.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = [0_u8; 25];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body).await.unwrap();
    let mut status = [0_u8; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}

#[tokio::test]
async fn slow_and_oversized_heads_are_cut_off() {
    let server = TestServer::with(Scripted::saying("x"), |config| {
        config.limits.header_timeout_ms = 300;
        config.limits.max_header_bytes = 8192;
    })
    .await;
    for opening in ["", "PRI * H", "GET /health HTTP/1.1\r\nhost:"] {
        let mut stream = TcpStream::connect(server.server.address()).await.unwrap();
        stream.write_all(opening.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(3), stream.read_to_end(&mut seen)).await;
        assert!(closed.is_ok(), "{opening:?} is still open");
    }
    let long = format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let seen = raw(&server, long.as_bytes()).await;
    assert!(seen.starts_with("HTTP/1.1 431"), "{seen}");
}

#[tokio::test]
async fn connections_over_the_cap_wait_and_are_served() {
    let server = TestServer::with(Scripted::saying("x"), |config| config.limits.max_connections = 2).await;
    let held = [
        TcpStream::connect(server.server.address()).await.unwrap(),
        TcpStream::connect(server.server.address()).await.unwrap(),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waiting = tokio::spawn({
        let client = server.client();
        async move { client.post(CONVERSE, &hello()).await.status }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    drop(held);
    assert_eq!(waiting.await.unwrap(), 200);
}
