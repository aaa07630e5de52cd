use std::time::Duration;

use craton_backend::contract::{self, Subject, ask};
use craton_backend::*;
use craton_core::{Clock, SystemClock};
use craton_providers::{ApiKey, AwsCredentials, SettingsError, Upstream, UpstreamKind, UpstreamSettings};
use craton_wire::eventstream::Frame;
use craton_wire::sigv4::{self, Claim, RequestHead, Rules, Secret, SigningSecret};
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::speaker::{Asked, End, all_text, count, speak};
use crate::standin::{Seen, StandIn, Step, chunk, json as reply, json_with, last_chunk, stream_head};

const MODEL: &str = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-x:0";
const PATH: &str = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Fanthropic.claude-x%3A0";

fn settings(url: &str) -> UpstreamSettings {
    let mut settings = UpstreamSettings::new("aws", UpstreamKind::Bedrock, url);
    settings.timeouts.first_byte = Duration::from_secs(5);
    settings.api_key = Some(ApiKey::new("bedrock-api-key-x"));
    settings
}

fn prompt(body: &Value) -> String {
    all_text(&body["system"]) + &all_text(&body["messages"]) + &all_text(&body["toolConfig"]["tools"])
}

fn frame(kind: &'static str, payload: &Value) -> Step {
    chunk(&Frame::json_event(kind, payload.to_string()).encode().unwrap())
}

fn bedrock(seen: &Seen) -> Vec<Step> {
    let body = &seen.body;
    let operation = seen.path.strip_prefix(PATH).expect("the model is one segment of the path");
    if operation == "/count-tokens" {
        return reply(200, &json!({"inputTokens": count(&prompt(&body["input"]["converse"]))}));
    }
    let speech = speak(&Asked {
        prompt: prompt(body),
        max_tokens: body["inferenceConfig"]["maxTokens"].as_u64().map(|max| max as usize),
        stops: serde_json::from_value(body["inferenceConfig"]["stopSequences"].clone()).unwrap_or_default(),
        forced_tool: body["toolConfig"]["toolChoice"]["tool"]["name"].as_str().map(str::to_owned),
        wants_json: body["outputConfig"]["textFormat"]["type"] == "json_schema",
    });
    let (reason, fields) = match &speech.end {
        End::Stop => ("end_turn", Value::Null),
        End::Length => ("max_tokens", Value::Null),
        End::Sequence(stop) => {
            assert_eq!(body["additionalModelResponseFieldPaths"], json!(["/stop_sequence"]));
            ("stop_sequence", json!({"stop_sequence": stop}))
        }
        End::Tool => ("tool_use", Value::Null),
    };
    let usage = json!({"inputTokens": speech.prompt_tokens, "outputTokens": speech.output_tokens,
                       "totalTokens": speech.prompt_tokens + speech.output_tokens});
    let text = speech.pieces.concat();
    if operation == "/converse" {
        let block = match &speech.tool {
            Some(name) => {
                json!({"toolUse": {"toolUseId": "t", "name": name, "input": serde_json::from_str::<Value>(&text).unwrap()}})
            }
            None => json!({"text": text}),
        };
        return reply(
            200,
            &json!({"output": {"message": {"role": "assistant", "content": [block]}}, "stopReason": reason,
                    "usage": usage, "additionalModelResponseFields": fields}),
        );
    }
    assert_eq!(operation, "/converse-stream");
    let mut steps = vec![
        stream_head("application/vnd.amazon.eventstream"),
        frame("messageStart", &json!({"role": "assistant"})),
    ];
    if let Some(name) = &speech.tool {
        let start = json!({"toolUse": {"toolUseId": "t", "name": name}});
        steps.push(frame("contentBlockStart", &json!({"contentBlockIndex": 0, "start": start})));
    }
    for piece in &speech.pieces {
        let delta = match &speech.tool {
            Some(_) => json!({"toolUse": {"input": piece}}),
            None => json!({"text": piece}),
        };
        steps.push(frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": delta})));
    }
    steps.push(frame("contentBlockStop", &json!({"contentBlockIndex": 0})));
    steps.push(frame("messageStop", &json!({"stopReason": reason, "additionalModelResponseFields": fields})));
    steps.push(frame("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 1}})));
    steps.push(last_chunk());
    steps
}

#[tokio::test]
async fn keeps_the_contract_of_chat_drivers() {
    let server = StandIn::start(|seen| {
        assert!(seen.head.contains("authorization: bearer bedrock-api-key-x"), "{}", seen.head);
        bedrock(seen)
    })
    .await;
    let upstream = Upstream::connect(&settings(&server.url)).unwrap();
    let chat = upstream.chat();
    let subject = Subject { driver: &*chat, model: MODEL, counts_exactly: true };
    tokio::time::timeout(Duration::from_secs(60), contract::all(&subject)).await.unwrap();
}

/// Verifies a request's signature as the server side does.
fn verify(seen: &Seen) -> Claim {
    let mut headers = HeaderMap::new();
    for line in seen.raw_head.lines().skip(1) {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    let head =
        RequestHead { method: "POST", path: &seen.path, query: "", headers: &headers, authority: None };
    let claim = Claim::parse(&head, &Rules::of_service("bedrock")).unwrap();
    let secret = SigningSecret::new(Secret::new("s3cr3t/+="));
    claim.verify(&secret, &sigv4::sha256(&seen.raw_body), SystemClock.now_ms()).unwrap();
    claim
}

#[tokio::test]
async fn requests_are_signed_with_the_profiles_credentials() {
    let server = StandIn::start(bedrock).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let profile =
        "[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = s3cr3t/+=\naws_session_token = tok\n";
    std::fs::write(file.path(), profile).unwrap();
    let mut settings = settings(&server.url);
    settings.api_key = None;
    settings.aws_credentials =
        AwsCredentials::Profile { profile: "work".into(), file: Some(file.path().to_owned()) };
    assert!(matches!(Upstream::connect(&settings), Err(SettingsError::Aws { .. })), "no region");
    settings.aws_region = Some("eu-west-1".into());
    let upstream = Upstream::connect(&settings).unwrap();
    let chat = upstream.chat();
    let subject = Subject { driver: &*chat, model: MODEL, counts_exactly: true };
    contract::streamed_and_whole_answers_agree(&subject).await;
    for seen in server.seen() {
        let claim = verify(&seen);
        assert_eq!((claim.access_key_id.as_str(), claim.region.as_str()), ("AKIDWORK", "eu-west-1"));
        assert!(seen.head.contains("\r\nx-amz-security-token: tok\r\n"));
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn missing_credentials_are_said() {
    let mut settings = settings("http://127.0.0.1:9");
    settings.api_key = None;
    settings.aws_region = Some("us-east-1".into());
    settings.aws_credentials = AwsCredentials::Environment {
        access_key_id: "CRATON_TEST_NO_SUCH_ID".into(),
        secret_access_key: "CRATON_TEST_NO_SUCH_SECRET".into(),
        session_token: "CRATON_TEST_NO_SUCH_TOKEN".into(),
    };
    let upstream = Upstream::connect(&settings).unwrap();
    let error = upstream.chat().chat(ChatRequest::default()).await.err().unwrap();
    assert!(
        matches!(&error, BackendError::UpstreamUnauthenticated(message) if message.contains("CRATON_TEST_NO_SUCH_ID")),
        "{error:?}"
    );
}

#[tokio::test]
async fn errors_keep_their_meaning() {
    let server = StandIn::start(|seen| match seen.path.split('/').nth(2).unwrap() {
        "loading" => {
            json_with(429, "x-amzn-errortype: ModelNotReadyException\r\n", &json!({"message": "wait"}))
        }
        "busy" => json_with(429, "x-amzn-errortype: ThrottlingException\r\n", &json!({"message": "slow"})),
        "denied" => json_with(403, "x-amzn-errortype: AccessDeniedException\r\n", &json!({"message": "no"})),
        "unknown" => json_with(
            403,
            "x-amzn-errortype: UnrecognizedClientException:http://internal.amazon.com/coral/com.amazon.coral.service/\r\n",
            &json!({"message": "no"}),
        ),
        "wrong" => json_with(400, "x-amzn-errortype: ValidationException\r\n", &json!({"message": "bad"})),
        _ => {
            let exception =
                Frame::exception("throttlingException", bytes::Bytes::from_static(b"{\"message\":\"slow\"}"));
            vec![
                stream_head("application/vnd.amazon.eventstream"),
                frame("messageStart", &json!({"role": "assistant"})),
                chunk(&exception.encode().unwrap()),
                Step::AwaitClose,
            ]
        }
    })
    .await;
    let upstream = Upstream::connect(&settings(&server.url)).unwrap();
    let chat = upstream.chat();
    let request = |model: &'static str| ask(&Subject { driver: &*chat, model, counts_exactly: false }, "Hi");
    let error = async |model| chat.chat(request(model)).await.err().unwrap();
    assert!(matches!(error("loading").await, BackendError::NotReady(_)));
    assert!(matches!(error("busy").await, BackendError::Overloaded { .. }));
    assert!(matches!(error("denied").await, BackendError::UpstreamDenied(_)));
    assert!(matches!(error("unknown").await, BackendError::UpstreamUnauthenticated(_)));
    assert_eq!(error("wrong").await, BackendError::Refused("bad".into()));
    let events: Vec<_> = chat.chat(request("later")).await.unwrap().collect().await;
    assert!(matches!(events.last(), Some(Err(BackendError::Overloaded { .. }))), "{events:?}");
    server.until_closed(1).await;
}

#[tokio::test]
async fn embeds_and_ranks_in_each_familys_body() {
    let server = StandIn::start(|seen| {
        let body = &seen.body;
        let tokens = "x-amzn-bedrock-input-token-count: 12\r\n";
        match seen.path.as_str() {
            "/model/amazon.titan-embed-text-v2%3A0/invoke" => {
                let text = body["inputText"].as_str().unwrap();
                reply(200, &json!({"embedding": [text.len(), 0.0], "inputTextTokenCount": text.len()}))
            }
            "/model/cohere.embed-english-v3/invoke" => {
                assert_eq!(
                    (&body["truncate"], &body["input_type"]),
                    (&json!("END"), &json!("search_document"))
                );
                let vectors = vec![[3.0, 4.0]; body["texts"].as_array().unwrap().len()];
                let embeddings =
                    if body["texts"][0] == "typed" { json!({"float": vectors}) } else { json!(vectors) };
                json_with(200, tokens, &json!({ "embeddings": embeddings }))
            }
            "/model/cohere.rerank-v3-5%3A0/invoke" => {
                assert_eq!((&body["api_version"], &body["top_n"]), (&json!(2), &json!(2)));
                let result = |index, score| json!({"index": index, "relevance_score": score});
                reply(200, &json!({"results": [result(1, 0.75), result(0, 0.25)]}))
            }
            path => panic!("{path}"),
        }
    })
    .await;
    let upstream = Upstream::connect(&settings(&server.url)).unwrap();
    let request = |model: &str, texts: &[&str]| EmbedRequest {
        model: model.into(),
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        truncate: true,
    };
    let titan = upstream.embedding("amazon.titan-embed-text-v2:0").unwrap();
    let answer = titan.embed(request("amazon.titan-embed-text-v2:0", &["a", "bcd"])).await.unwrap();
    assert_eq!((answer.vectors, answer.input_tokens), (vec![vec![1.0, 0.0]; 2], vec![1, 3]));
    let cohere = upstream.embedding("cohere.embed-english-v3").unwrap();
    for first in ["plain", "typed"] {
        let answer = cohere.embed(request("cohere.embed-english-v3", &[first, "other"])).await.unwrap();
        assert_eq!((answer.vectors, answer.input_tokens), (vec![vec![0.6, 0.8]; 2], vec![6, 6]));
    }
    assert_eq!(cohere.dimensions(), 2);
    let many = vec!["x"; 100];
    assert_eq!(cohere.embed(request("cohere.embed-english-v3", &many)).await.unwrap().vectors.len(), 100);
    let rerank = RerankRequest {
        model: "cohere.rerank-v3-5:0".into(),
        query: "q".into(),
        documents: vec!["a".into(), "b".into()],
    };
    assert_eq!(upstream.rerank().unwrap().rerank(rerank).await.unwrap().scores, [0.25, 0.75]);
    assert!(matches!(upstream.embedding("anthropic.claude-x"), Err(BackendError::Unsupported(_))));
}
