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

/// What is sent, and the status and the kind of error that it ends with.
async fn ended(http2: bool, path: &str, body: serde_json::Value) -> (u16, String) {
    let server = TestServer::with(hanging(), |config| config.limits.stop_grace_ms = 200).await;
    let mut client = server.client();
    client.http2 = http2;
    let path = path.to_owned();
    let asking = tokio::spawn(async move { client.post(&path, &body).await });
    while server.model.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let model = server.model.clone();
    server.server.stop().await;
    let answer = asking.await.unwrap();
    assert_eq!(model.cancelled(), 1, "the model goes on for nobody");
    let body = answer.json();
    let kind = body["error"]["type"].as_str().unwrap_or_else(|| answer.header("x-amzn-errortype"));
    assert!(body.to_string().contains("shutting down"), "{body}");
    (answer.status.as_u16(), kind.to_owned())
}

#[tokio::test]
async fn a_whole_answer_that_outlives_the_grace_period_is_a_modelled_error() {
    let converse = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";
    let said = json!({"model": "openai.gpt-oss-20b-1:0", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    for http2 in [false, true] {
        assert_eq!(ended(http2, converse, hello()).await, (503, "ServiceUnavailableException".into()));
        let (status, kind) = ended(http2, "/openai/v1/chat/completions", said.clone()).await;
        assert_eq!(status, 503, "{kind}");
        // Anthropic's own name and status for a server that can't take a request now.
        let (status, kind) = ended(http2, "/anthropic/v1/messages", said.clone()).await;
        assert_eq!((status, kind.as_str()), (529, "overloaded_error"));
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
