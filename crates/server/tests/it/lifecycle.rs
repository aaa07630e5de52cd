//! Starting and stopping.

use std::time::{Duration, Instant};

use craton_testkit::{Scripted, Step, TestServer, text};
use http::Method;
use serde_json::json;

const CONVERSE_STREAM: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream";

fn hello() -> serde_json::Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]})
}

fn hanging() -> Scripted {
    let mut script = text("Hello there.");
    script.truncate(3);
    script.push(Step::Hang);
    Scripted::playing(script)
}

#[tokio::test]
async fn a_stream_that_outlives_the_grace_period_ends_with_a_modelled_error() {
    for http2 in [false, true] {
        let server = TestServer::with(hanging(), |config| config.limits.stop_grace_ms = 200).await;
        let mut client = server.client();
        client.http2 = http2;
        let mut open = client.open(Method::POST, CONVERSE_STREAM, hello().to_string()).await;
        open.frame().await.unwrap();
        let began = Instant::now();
        let stopping = tokio::spawn(server.server.stop());
        let mut last = None;
        while let Some(frame) = open.frame().await {
            last = Some(frame);
        }
        let last = last.unwrap();
        assert_eq!(last.header(":exception-type"), Some("serviceUnavailableException"), "http2: {http2}");
        assert!(began.elapsed() >= Duration::from_millis(190));
        stopping.await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn an_idle_server_stops_at_once_and_then_refuses_connections() {
    let server = TestServer::start().await;
    let client = server.client();
    // A kept-alive connection must not hold it up.
    assert_eq!(client.get("/foundation-models").await.status, 200);
    let address = server.server.address();
    let began = Instant::now();
    server.server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_that_finishes_in_the_grace_period_is_answered_whole() {
    let server = TestServer::with(Scripted::saying(&"word ".repeat(500)), |_| {}).await;
    let client = server.client();
    let mut open = client.open(Method::POST, CONVERSE_STREAM, hello().to_string()).await;
    open.frame().await.unwrap();
    let stopping = tokio::spawn(server.server.stop());
    let mut names = Vec::new();
    while let Some(frame) = open.frame().await {
        names.push(frame.header(":event-type").unwrap().to_owned());
    }
    assert_eq!(names.last().map(String::as_str), Some("metadata"));
    stopping.await.unwrap();
}
