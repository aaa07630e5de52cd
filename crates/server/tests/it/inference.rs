//! Calls to models: plain, streamed, failing, given up.

use std::time::Duration;

use craton_backend::BackendError;
use craton_testkit::{Scripted, Step, TestServer, text};
use http::Method;
use serde_json::json;

const CONVERSE: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";
const CONVERSE_STREAM: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream";

fn hello() -> serde_json::Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]})
}

/// The script up to its `at`th step, then `last`.
fn broken(at: usize, last: Step) -> Scripted {
    let mut script = text("Hello there, friend.");
    script.truncate(at);
    script.push(last);
    Scripted::playing(script)
}

#[tokio::test]
async fn converse_answers() {
    let server = TestServer::start().await;
    insta::assert_snapshot!(server.client().post(CONVERSE, &hello()).await.snapshot());
}

#[tokio::test]
async fn converse_streams() {
    let server = TestServer::start().await;
    insta::assert_snapshot!(server.client().post(CONVERSE_STREAM, &hello()).await.snapshot());
    assert_eq!(server.model.cancelled(), 0);
}

#[tokio::test]
async fn an_error_before_the_first_event_is_an_http_error() {
    let full = BackendError::Overloaded {
        message: "the queue is full".into(),
        retry_after: Some(Duration::from_secs(3)),
    };
    let server = TestServer::with(Scripted::playing(vec![Step::Fail(full)]), |_| {}).await;
    for path in [CONVERSE, CONVERSE_STREAM] {
        let answer = server.client().post(path, &hello()).await;
        assert_eq!(answer.error(), (429, "ThrottlingException"), "{}", answer.snapshot());
        assert_eq!(answer.header("retry-after"), "3");
    }
}

#[tokio::test]
async fn an_error_within_a_stream_is_its_last_frame() {
    let server =
        TestServer::with(broken(3, Step::Fail(BackendError::BrokenStream("cut".into()))), |_| {}).await;
    insta::assert_snapshot!(server.client().post(CONVERSE_STREAM, &hello()).await.snapshot());
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_server_lives() {
    let server = TestServer::with(broken(3, Step::Panic), |_| {}).await;
    let client = server.client();
    let answer = client.post(CONVERSE, &hello()).await;
    assert_eq!(answer.error(), (500, "InternalServerException"), "{}", answer.snapshot());
    assert!(!String::from_utf8_lossy(&answer.body).contains("script"), "{}", answer.snapshot());
    let streamed = client.post(CONVERSE_STREAM, &hello()).await;
    let last = streamed.frames().pop().unwrap();
    assert_eq!(last.header(":exception-type"), Some("internalServerException"));
    assert_eq!(client.get("/foundation-models").await.status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_the_work() {
    for http2 in [false, true] {
        for path in [CONVERSE_STREAM, CONVERSE] {
            let server = TestServer::with(broken(3, Step::Hang), |_| {}).await;
            let mut client = server.client();
            client.http2 = http2;
            if path == CONVERSE_STREAM {
                let mut open = client.open(Method::POST, path, hello().to_string()).await;
                assert_eq!(open.frame().await.unwrap().header(":event-type"), Some("messageStart"));
                drop(open);
            } else {
                let call = tokio::spawn(async move { client.post(path, &hello()).await });
                while server.model.requests().is_empty() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                call.abort();
            }
            let mut waits = 0;
            while server.model.cancelled() == 0 {
                waits += 1;
                assert!(waits < 500, "{path} (http2: {http2}) still runs");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test]
async fn models_are_listed() {
    let server = TestServer::start().await;
    let answer = server.client().get("/foundation-models?byProvider=anthropic").await;
    let summaries = answer.json()["modelSummaries"].as_array().unwrap().clone();
    assert!(summaries.len() > 3 && summaries.iter().all(|model| model["providerName"] == "Anthropic"));
}

#[tokio::test]
async fn application_profiles_carry_tags_and_system_profiles_do_not() {
    let server = TestServer::start().await;
    let client = server.client();
    let source = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0";
    let body = json!({"inferenceProfileName": "mine", "modelSource": {"copyFrom": source},
        "tags": [{"key": "team", "value": "a"}]});
    let arn = client.post("/inference-profiles", &body).await.json()["inferenceProfileArn"].clone();
    let list = async |arn: &serde_json::Value| {
        client.post("/listTagsForResource", &json!({"resourceARN": arn})).await
    };
    let tag = json!({"resourceARN": arn,
        "tags": [{"key": "team", "value": "b"}, {"key": "cost", "value": "1"}]});
    assert_eq!(client.post("/tagResource", &tag).await.status, 200);
    let both = json!([{"key": "cost", "value": "1"}, {"key": "team", "value": "b"}]);
    assert_eq!(list(&arn).await.json()["tags"], both);
    let untag = json!({"resourceARN": arn, "tagKeys": ["cost"]});
    assert_eq!(client.post("/untagResource", &untag).await.status, 200);
    assert_eq!(list(&arn).await.json()["tags"], json!([{"key": "team", "value": "b"}]));

    let unknown = json!("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/aaaaaaaaaaaa");
    assert_eq!(list(&unknown).await.error(), (404, "ResourceNotFoundException"));
    let system = json!(format!(
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{}",
        "anthropic.claude-3-haiku-20240307-v1:0"
    ));
    assert_eq!(list(&system).await.error(), (400, "ValidationException"));
}
