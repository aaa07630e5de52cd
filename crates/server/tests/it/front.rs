//! What happens before a handler: authentication, routing, validation, limits.

use bytes::Bytes;
use craton_testkit::{Scripted, TestServer};
use http::{HeaderValue, Method};
use serde_json::json;

const CONVERSE: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";

fn hello() -> serde_json::Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]})
}

#[tokio::test]
async fn health_and_metrics_need_no_keys() {
    let server = TestServer::start().await;
    let client = server.client();
    let (parts, body) = client.unsigned(Method::GET, "/health", Bytes::new());
    insta::assert_snapshot!(client.send(parts, body).await.answer().await.snapshot());
    assert_eq!(client.post(CONVERSE, &hello()).await.status, 200);
    let (parts, body) = client.unsigned(Method::GET, "/metrics", Bytes::new());
    let metrics = client.send(parts, body).await.answer().await;
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains(r#"craton_requests_total{operation="Converse",status="200"} 1"#), "{text}");
    assert!(text.contains("craton_tokens_total"), "{text}");
}

#[tokio::test]
async fn strangers_are_told_nothing() {
    let server = TestServer::start().await;
    let mut client = server.client();
    let mut answers = Vec::new();
    for path in [CONVERSE, "/no/such/path", "/v1/models"] {
        let (parts, body) = client.unsigned(Method::POST, path, Bytes::from(hello().to_string()));
        answers.push(client.send(parts, body).await.answer().await.snapshot());
    }
    client.secret = "not the secret".into();
    answers.push(client.post(CONVERSE, &hello()).await.snapshot());
    insta::assert_snapshot!(answers.join("\n----\n"));
    assert!(server.model.requests().is_empty());
}

#[tokio::test]
async fn a_changed_body_or_path_is_refused() {
    let server = TestServer::start().await;
    let client = server.client();
    let (parts, _) = client.signed(Method::POST, CONVERSE, Bytes::from(hello().to_string()));
    let changed = client.send(parts.clone(), Bytes::from(hello().to_string().replace("hi", "ho"))).await;
    assert_eq!(changed.answer().await.error(), (403, "InvalidSignatureException"));
    let mut elsewhere = parts;
    elsewhere.uri = elsewhere.uri.to_string().replace("haiku", "opus").parse().unwrap();
    let moved = client.send(elsewhere, Bytes::from(hello().to_string())).await;
    assert_eq!(moved.answer().await.error(), (403, "InvalidSignatureException"));
}

#[tokio::test]
async fn an_old_signature_is_refused() {
    let server = TestServer::start().await;
    let client = server.client();
    let (parts, body) = client.signed(Method::POST, CONVERSE, Bytes::from(hello().to_string()));
    server.clock.advance_ms(6 * 60 * 1000);
    let answer = client.send(parts, body).await.answer().await;
    assert_eq!(answer.status, 403, "{}", answer.snapshot());
}

#[tokio::test]
async fn an_api_key_is_as_good_as_a_signature_until_it_expires() {
    let server = TestServer::start().await;
    let client = server.client();
    let key = server.api_key(3600);
    let call = |key: &str| {
        let (mut parts, body) = client.unsigned(Method::POST, CONVERSE, Bytes::from(hello().to_string()));
        parts.headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {key}")).unwrap());
        let client = client.clone();
        async move { client.send(parts, body).await.answer().await }
    };
    assert_eq!(call(&key).await.status, 200);
    let mut forged = key.clone();
    forged.replace_range(forged.len() - 12..forged.len() - 8, "AAAA");
    assert_eq!(call(&forged).await.error(), (403, "AccessDeniedException"));
    server.clock.advance_ms(3601 * 1000);
    assert_eq!(call(&key).await.error(), (403, "AccessDeniedException"));
}

#[tokio::test]
async fn unknown_operations_and_services_say_so() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut answers = vec![
        client.get("/no/such/path").await.snapshot(),
        client.json(Method::DELETE, CONVERSE, &json!({})).await.snapshot(),
        client.get("/evaluation-jobs").await.snapshot(),
    ];
    let (mut parts, body) = client.signed(Method::GET, "/bucket", Bytes::new());
    let authorization = parts.headers["authorization"].to_str().unwrap().replace("/bedrock/", "/rds/");
    parts.headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
    answers.push(client.send(parts, body).await.answer().await.snapshot());
    insta::assert_snapshot!(answers.join("\n----\n"));
}

#[tokio::test]
async fn a_signature_for_another_service_is_refused() {
    let server = TestServer::start().await;
    let client = server.client();
    let signed_for = |service: &str| {
        let (mut parts, body) = client.signed(Method::POST, CONVERSE, Bytes::from(hello().to_string()));
        let scope = format!("/{service}/aws4_request");
        let authorization = parts.headers["authorization"].to_str().unwrap();
        let authorization = authorization.replace("/bedrock/aws4_request", &scope);
        parts.headers.insert("authorization", HeaderValue::from_str(&authorization).unwrap());
        let client = client.clone();
        async move { client.send(parts, body).await.answer().await }
    };
    for service in ["sts", "lambda", "aoss"] {
        let answer = signed_for(service).await;
        assert_eq!(answer.error(), (403, "InvalidSignatureException"), "{service}");
        assert_eq!(answer.json()["message"], "Credential should be scoped to correct service: 'bedrock'. ");
    }
    assert_eq!(signed_for("mystery").await.error(), (404, "UnknownOperationException"));
    assert!(server.model.requests().is_empty());
}

#[tokio::test]
async fn broken_constraints_are_told_as_aws_tells_them() {
    let server = TestServer::start().await;
    let client = server.client();
    let request = json!({
        "messages": [{"role": "narrator", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"temperature": 7},
    });
    let wrong_type = json!({"messages": "hi"});
    let answers = [
        client.post(CONVERSE, &request).await.snapshot(),
        client.post(CONVERSE, &wrong_type).await.snapshot(),
        client.open(Method::POST, CONVERSE, "{").await.answer().await.snapshot(),
    ];
    insta::assert_snapshot!(answers.join("\n----\n"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = TestServer::with(Scripted::saying("x"), |config| config.limits.max_body_bytes = 1000).await;
    let client = server.client();
    let long = "x".repeat(2000);
    let answer = client.open(Method::POST, CONVERSE, long.clone()).await.answer().await;
    insta::assert_snapshot!(answer.snapshot());
    let (parts, body) = client.unsigned(Method::POST, CONVERSE, Bytes::from(long));
    let stranger = client.send(parts, body).await.answer().await;
    assert_eq!(stranger.error(), (403, "MissingAuthenticationTokenException"));
    assert_eq!(client.post(CONVERSE, &hello()).await.status, 200);
}
