//! Upstreams that misbehave, as clients of every front door see them.

use std::time::Duration;

use craton_backend::{BackendError, ChatEvent, Usage};
use craton_models::ModelsConfig;
use craton_testkit::{Answer, Scripted, Step, TestServer};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const KINDS: [&str; 3] = ["openai", "anthropic", "bedrock"];
/// More than any answer may have.
const HUGE_BYTES: usize = 40 << 20;

/// Reads one request and misbehaves in the way that its model is called.
async fn misbehave(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut chunk).await.unwrap_or(0);
        request.extend_from_slice(&chunk[..count]);
        if count == 0 || is_whole(&request) {
            break;
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let streams = request.contains("converse-stream") || request.contains("\"stream\":true");
    let kind =
        if request.contains("/model/") { "application/vnd.amazon.eventstream" } else { "text/event-stream" };
    let head = |kind: &str, length: usize| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n")
    };
    if request.contains("slow") {
        tokio::time::sleep(Duration::from_secs(60)).await;
    } else if request.contains("busy") {
        let answer = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(answer.as_bytes()).await;
    } else if request.contains("page") {
        let page = "<html>It works!</html>";
        let answer = head("text/html", page.len()) + page;
        let _ = stream.write_all(answer.as_bytes()).await;
    } else if request.contains("half") && streams {
        let event =
            r#"data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":"Once"}}]}"#;
        let half = if kind == "text/event-stream" {
            format!("{event}\n\ndata: {{\"ch")
        } else {
            "\0\0\0\u{7f}".into()
        };
        let _ = stream.write_all((head(kind, 10_000) + &half).as_bytes()).await;
    } else if request.contains("half") {
        let answer = head("application/json", 10_000) + "{\"id\": \"c\", ";
        let _ = stream.write_all(answer.as_bytes()).await;
    } else {
        let (kind, begin) =
            if streams { (kind, "data: {\"x\": \"") } else { ("application/json", "{\"x\": \"") };
        let _ = stream.write_all((head(kind, HUGE_BYTES) + begin).as_bytes()).await;
        let filler = vec![b'x'; 1 << 20];
        while stream.write_all(&filler).await.is_ok() {}
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// A server with an upstream of each kind that misbehaves, and one of each that is not there.
async fn server() -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(misbehave(stream));
        }
    });
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut text = String::new();
    for kind in KINDS {
        let base = if kind == "openai" { "/v1" } else { "" };
        // Some variable that cargo sets stands for the key.
        let more = if kind == "bedrock" { "region = \"us-east-1\"\n" } else { "" };
        for (name, port) in [("there", port), ("gone", nobody)] {
            text += &format!(
                "[[upstream]]\nname = \"{kind}-{name}\"\nkind = \"{kind}\"\nbase_url = \"http://127.0.0.1:{port}{base}\"\n\
                 api_key_env = \"CARGO_PKG_NAME\"\nfirst_byte_timeout_ms = 300\nidle_timeout_ms = 300\n{more}"
            );
        }
        text += &format!("[[model]]\nid = \"{kind}.dead\"\nupstream = \"{kind}-gone\"\n");
        text += &format!("[[model]]\nid = \"{kind}.*\"\nupstream = \"{kind}-there\"\n");
    }
    let models: ModelsConfig = toml::from_str(&text).unwrap();
    TestServer::with_upstreams(|config| {
        config.upstreams = models.upstreams;
        config.models = models.models;
    })
    .await
}

/// Where a question is asked, and how its failure is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Door {
    Converse,
    OpenAi,
    Anthropic,
}

async fn ask(server: &TestServer, door: Door, model: &str, stream: bool) -> Answer {
    let (path, body) = match door {
        Door::Converse => {
            let operation = if stream { "converse-stream" } else { "converse" };
            let body = json!({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]});
            (format!("/model/{model}/{operation}"), body)
        }
        Door::OpenAi | Door::Anthropic => {
            let path =
                if door == Door::OpenAi { "/openai/v1/chat/completions" } else { "/anthropic/v1/messages" };
            let messages = json!([{"role": "user", "content": "Hi"}]);
            let body = json!({"model": model, "max_tokens": 9, "messages": messages, "stream": stream});
            (path.to_owned(), body)
        }
    };
    server.client().json(Method::POST, &path, &body).await
}

/// The error of an answer: its status, or 200 where it came inside a stream, and its name.
fn told(door: Door, answer: &Answer) -> (u16, String) {
    let status = answer.status.as_u16();
    let in_json = |body: &Value| body["error"]["type"].as_str().unwrap_or_default().to_owned();
    if status != 200 {
        return match door {
            Door::Converse => (status, answer.header("x-amzn-errortype").to_owned()),
            Door::OpenAi | Door::Anthropic => (status, in_json(&answer.json())),
        };
    }
    let name = match door {
        Door::Converse => {
            let last = answer.frames().pop().and_then(|frame| frame.failure());
            last.map(|(name, _)| name).unwrap_or_default()
        }
        Door::OpenAi | Door::Anthropic => {
            let body = String::from_utf8_lossy(&answer.body);
            let last = body.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or("{}");
            in_json(&serde_json::from_str(last).unwrap_or_default())
        }
    };
    (status, name)
}

#[tokio::test]
async fn each_failure_has_its_aws_error() {
    let server = server().await;
    for kind in KINDS {
        for (fault, status, name) in [
            ("dead", 503, "ServiceUnavailableException"),
            ("slow", 408, "ModelTimeoutException"),
            ("busy", 429, "ThrottlingException"),
            ("page", 424, "ModelErrorException"),
            ("half", 424, "ModelErrorException"),
            ("huge", 424, "ModelErrorException"),
        ] {
            let answer = ask(&server, Door::Converse, &format!("{kind}.{fault}"), false).await;
            assert_eq!(told(Door::Converse, &answer), (status, name.to_owned()), "{kind} {fault}");
            assert_eq!(answer.header("retry-after"), if fault == "busy" { "7" } else { "" });
            assert!(answer.body.len() < 2000, "{}", answer.body.len());
        }
    }
}

#[tokio::test]
async fn each_failure_of_a_stream_has_its_aws_error() {
    let server = server().await;
    for kind in KINDS {
        for (fault, status, name) in [
            ("dead", 503, "ServiceUnavailableException"),
            ("slow", 408, "ModelTimeoutException"),
            ("busy", 429, "ThrottlingException"),
            ("half", 200, "modelStreamErrorException"),
            ("huge", 200, "modelStreamErrorException"),
        ] {
            let answer = ask(&server, Door::Converse, &format!("{kind}.{fault}"), true).await;
            assert_eq!(told(Door::Converse, &answer), (status, name.to_owned()), "{kind} {fault}");
        }
        // A page in place of a stream is noticed by its type before, or by its content after the stream has begun.
        let (_, name) =
            told(Door::Converse, &ask(&server, Door::Converse, &format!("{kind}.page"), true).await);
        assert!(
            ["ModelErrorException", "modelStreamErrorException"].contains(&name.as_str()),
            "{kind}: {name}"
        );
    }
}

#[tokio::test]
async fn each_failure_is_told_in_the_doors_dialect() {
    let server = server().await;
    for (fault, openai, anthropic) in [
        ("dead", (503, "server_error"), (529, "overloaded_error")),
        ("slow", (504, "server_error"), (504, "timeout_error")),
        ("busy", (429, "rate_limit_error"), (429, "rate_limit_error")),
        ("page", (500, "server_error"), (500, "api_error")),
        ("half", (500, "server_error"), (500, "api_error")),
        ("huge", (500, "server_error"), (500, "api_error")),
    ] {
        for (door, (status, name)) in [(Door::OpenAi, openai), (Door::Anthropic, anthropic)] {
            let model = format!("openai.{fault}");
            let answer = ask(&server, door, &model, false).await;
            assert_eq!(told(door, &answer), (status, name.to_owned()), "{door:?} {fault}");
            assert_eq!(answer.header("retry-after"), if fault == "busy" { "7" } else { "" });
            let answer = ask(&server, door, &model, true).await;
            let in_stream = answer.status == 200;
            assert_eq!(
                in_stream,
                ["half", "huge"].contains(&fault) || in_stream && fault == "page",
                "{fault}"
            );
            assert_eq!(told(door, &answer).1, name, "{door:?} {fault}, streamed");
        }
    }
}

/// The streams of the agents' runtime have exceptions of their own, and a client can read no others.
#[tokio::test]
async fn failures_in_streams_are_exceptions_that_the_streams_have() {
    const MODEL: &str = "anthropic.claude-3-haiku-20240307-v1:0";
    let model_arn = format!("arn:aws:bedrock:us-east-1::foundation-model/{MODEL}");
    let source = json!({"sourceType": "BYTE_CONTENT", "byteContent": {
        "contentType": "text/plain", "identifier": "a.txt", "data": "U291cCBpcyBzZXJ2ZWQgb24gTW9uZGF5cy4="}});
    let doors = [
        (
            "/optimize-prompt",
            json!({"input": {"textPrompt": {"text": "tell {{who}}"}}, "targetModelId": MODEL}),
        ),
        (
            "/retrieveAndGenerateStream",
            json!({"input": {"text": "When is soup served?"}, "retrieveAndGenerateConfiguration": {
                "type": "EXTERNAL_SOURCES",
                "externalSourcesConfiguration": {"modelArn": model_arn, "sources": [source]}}}),
        ),
    ];
    let message = || "It broke.".to_owned();
    for (error, name) in [
        (BackendError::BrokenStream(message()), "dependencyFailedException"),
        (BackendError::Upstream { status: 500, message: message() }, "dependencyFailedException"),
        (BackendError::Timeout(Duration::from_secs(1)), "dependencyFailedException"),
        (BackendError::NotReady(message()), "dependencyFailedException"),
        (BackendError::Unreachable(message()), "badGatewayException"),
        (BackendError::Overloaded { message: message(), retry_after: None }, "throttlingException"),
    ] {
        let begun = Step::Event(ChatEvent::Started { usage: Usage::default() });
        let model = Scripted::playing(vec![begun, Step::Fail(error.clone())]);
        let server = TestServer::with(model, |_| {}).await;
        for (path, body) in &doors {
            let answer = server.client().post(path, body).await;
            let frames = answer.frames();
            let told = frames.last().and_then(|frame| frame.header(":exception-type"));
            assert_eq!(told, Some(name), "{path} {error:?}: {}", answer.snapshot());
            assert!(!answer.snapshot().contains("originalStatusCode"), "{}", answer.snapshot());
        }
    }
}
