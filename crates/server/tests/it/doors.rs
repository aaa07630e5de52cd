//! The OpenAI and Anthropic front doors, over a socket.

use std::time::Duration;

use bytes::Bytes;
use craton_backend::{BackendError, BlockStart, ChatEvent, Delta, Finished, StopReason, ToolChoice, Usage};
use craton_testkit::{Answer, Scripted, Step, TestServer, text};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

const MODEL: &str = "openai.gpt-oss-20b-1:0";
const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";

fn chat(stream: bool) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})
}

fn message(stream: bool) -> Value {
    json!({"model": CLAUDE, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stream": stream})
}

/// Names and data of server-sent events; the name is empty where there is none.
fn events(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
    let body = std::str::from_utf8(&answer.body).unwrap();
    assert!(body.ends_with("\n\n"), "{body}");
    let event = |block: &str| {
        let field = |name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
        };
        assert!(block.lines().count() <= 2, "{block}");
        (field("event: "), field("data: "))
    };
    body.trim_end().split("\n\n").map(event).collect()
}

fn data(event: &(String, String)) -> Value {
    serde_json::from_str(&event.1).unwrap()
}

/// A script with a call of the tool `look`.
fn tool_call() -> Vec<Step> {
    let usage = Usage { input_tokens: 5, output_tokens: 3, ..Usage::default() };
    let start = BlockStart::ToolUse { id: "c1".into(), name: "look".into() };
    let finished = Finished { reason: StopReason::ToolUse, stop_sequence: None, usage, extra: Value::Null };
    [
        ChatEvent::Started { usage: Usage { output_tokens: 0, ..usage } },
        ChatEvent::BlockStart { index: 0, block: start },
        ChatEvent::BlockDelta { index: 0, delta: Delta::ToolInput("{\"at\":".into()) },
        ChatEvent::BlockDelta { index: 0, delta: Delta::ToolInput("\"it\"}".into()) },
        ChatEvent::BlockStop { index: 0 },
        ChatEvent::Finished(finished),
    ]
    .map(Step::Event)
    .to_vec()
}

#[tokio::test]
async fn chat_completions_are_answered_under_both_prefixes() {
    let server = TestServer::start().await;
    for prefix in ["/v1", "/openai/v1"] {
        let answer = server.client().post(&format!("{prefix}/chat/completions"), &chat(false)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(!answer.header("x-craton-served-by").is_empty());
        let body = answer.json();
        assert_eq!((&body["object"], &body["model"]), (&json!("chat.completion"), &json!(MODEL)));
        assert_eq!(body["choices"][0]["message"]["content"], "Hello there.");
        assert_eq!(body["usage"]["completion_tokens"], 2);
    }
    assert_eq!(server.model.requests().len(), 2);
    assert!(!server.model.requests()[0].stream);
}

#[tokio::test]
async fn chat_completions_stream() {
    let server = TestServer::start().await;
    let mut request = chat(true);
    request["stream_options"] = json!({"include_usage": true});
    let answer = server.client().post("/v1/chat/completions", &request).await;
    let events = events(&answer);
    assert!(events.iter().all(|(name, _)| name.is_empty()));
    assert_eq!(events.last().unwrap().1, "[DONE]");
    let chunks: Vec<Value> = events[..events.len() - 1].iter().map(data).collect();
    let said: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "Hello there.");
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 2);
    assert!(server.model.requests()[0].stream);
}

#[tokio::test]
async fn responses_are_answered_whole_and_streamed() {
    let server = TestServer::start().await;
    let client = server.client();
    let request =
        |stream: bool| json!({"model": MODEL, "input": "Hi", "stream": stream, "metadata": {"a": "b"}});
    let whole = client.post("/openai/v1/responses", &request(false)).await.json();
    assert_eq!((&whole["object"], &whole["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(whole["output"][0]["content"][0]["text"], "Hello there.");

    let answer = client.post("/v1/responses", &request(true)).await;
    let events = events(&answer);
    for event in &events {
        assert_eq!(event.0, data(event)["type"].as_str().unwrap());
    }
    assert_eq!(events[0].0, "response.created");
    let last = events.last().unwrap();
    assert_eq!(last.0, "response.completed");
    assert_eq!(data(last)["response"]["output"][0]["content"], whole["output"][0]["content"]);

    let refused = client
        .post("/v1/responses", &json!({"model": MODEL, "input": "Hi", "previous_response_id": "r"}))
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["param"], "previous_response_id");
}

#[tokio::test]
async fn messages_are_answered_whole_streamed_and_counted() {
    let server = TestServer::start().await;
    let client = server.client();
    let whole = client.post("/anthropic/v1/messages", &message(false)).await;
    assert!(!whole.header("x-craton-served-by").is_empty());
    let body = whole.json();
    assert_eq!((&body["type"], &body["model"]), (&json!("message"), &json!(CLAUDE)));
    assert_eq!(body["content"], json!([{"type": "text", "text": "Hello there."}]));
    assert_eq!(body["stop_reason"], "end_turn");

    let answer = client.post("/anthropic/v1/messages", &message(true)).await;
    let events = events(&answer);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"message_start"));
    assert_eq!(names.last(), Some(&"message_stop"));
    assert_eq!(names.iter().filter(|name| **name == "content_block_delta").count(), 2);

    let count = json!({"model": CLAUDE, "messages": [{"role": "user", "content": "Hi there you"}]});
    let counted = client.post("/anthropic/v1/messages/count_tokens", &count).await.json();
    assert!(counted["input_tokens"].as_u64().unwrap() > 0, "{counted}");
}

#[tokio::test]
async fn tool_calls_come_in_each_apis_shape() {
    let server = TestServer::with(Scripted::playing(tool_call()), |_| {}).await;
    let client = server.client();
    let parameters = json!({"type": "object", "properties": {"at": {"type": "string"}}});
    let mut request = chat(false);
    request["tools"] = json!([{"type": "function", "function": {"name": "look", "parameters": parameters}}]);
    let choice = &client.post("/v1/chat/completions", &request).await.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(
        choice["message"]["tool_calls"][0]["function"],
        json!({"name": "look", "arguments": "{\"at\":\"it\"}"})
    );

    let tools = json!([{"type": "function", "name": "look", "parameters": parameters}]);
    let request = json!({"model": MODEL, "input": "Hi", "tools": tools});
    let item = &client.post("/v1/responses", &request).await.json()["output"][0];
    assert_eq!((&item["type"], &item["call_id"]), (&json!("function_call"), &json!("c1")));
    assert_eq!(item["arguments"], "{\"at\":\"it\"}");

    let mut request = message(false);
    request["tools"] = json!([{"name": "look", "input_schema": parameters}]);
    let body = client.post("/anthropic/v1/messages", &request).await.json();
    assert_eq!(body["stop_reason"], "tool_use");
    assert_eq!(body["content"][0]["input"], json!({"at": "it"}));
}

#[tokio::test]
async fn api_keys_open_the_doors_and_strangers_are_told_in_their_own_words() {
    let server = TestServer::start().await;
    let client = server.client();
    let key = server.api_key(600);
    let send = async |path: &str, body: Value, header: Option<(&'static str, String)>| {
        let (mut parts, body) = client.unsigned(Method::POST, path, Bytes::from(body.to_string()));
        if let Some((name, value)) = header {
            parts.headers.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        client.send(parts, body).await.answer().await
    };
    let bearer = Some(("authorization", format!("Bearer {key}")));
    assert_eq!(send("/v1/chat/completions", chat(false), bearer).await.status, 200);
    let own = Some(("x-api-key", key.clone()));
    assert_eq!(send("/anthropic/v1/messages", message(false), own).await.status, 200);

    let stranger = send("/v1/chat/completions", chat(false), None).await;
    assert_eq!(stranger.status, 401);
    assert!(stranger.json()["error"]["message"].is_string());
    let wrong = || Some(("x-api-key", "sk-ant-wrong".to_owned()));
    let stranger = send("/anthropic/v1/messages", message(false), wrong()).await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.json()["error"]["type"], "authentication_error");
    let forged = Some(("authorization", "Bearer bedrock-api-key-QUJD".to_owned()));
    for (header, path) in [(wrong(), "/v1/chat/completions"), (forged, "/openai/v1/responses")] {
        let stranger = send(path, chat(false), header).await;
        assert_eq!(stranger.status, 401);
        assert_eq!(stranger.json()["error"]["code"], "invalid_api_key");
    }
    assert_eq!(server.model.requests().len(), 2);
}

#[tokio::test]
async fn models_are_listed() {
    let server = TestServer::start().await;
    let client = server.client();
    let list = client.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let found =
        |list: &Value, id: &str| list["data"].as_array().unwrap().iter().any(|model| model["id"] == id);
    assert!(found(&list, MODEL) && found(&list, CLAUDE));
    assert_eq!(client.get(&format!("/openai/v1/models/{MODEL}")).await.json()["id"], MODEL);
    let list = client.get("/anthropic/v1/models").await.json();
    assert!(found(&list, CLAUDE) && !found(&list, "amazon.titan-embed-text-v2:0"));
    assert_eq!(client.get(&format!("/anthropic/v1/models/{CLAUDE}")).await.json()["type"], "model");
    let missing = client.get("/v1/models/nobody").await;
    assert_eq!((missing.status.as_u16(), &missing.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn wrong_requests_are_told_so_in_each_apis_shape() {
    let server = TestServer::start().await;
    let client = server.client();
    let answer = client.post("/v1/chat/completions", &json!({"model": MODEL})).await;
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!((&error["param"], &error["type"]), (&json!("messages"), &json!("invalid_request_error")));
    let answer = client.post("/anthropic/v1/messages", &json!({"model": CLAUDE, "messages": []})).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert!(!answer.json()["request_id"].as_str().unwrap().is_empty());
    for path in ["/v1/nothing", "/v1/", "/anthropic/v1/nothing", "/openai/v1/chat/completions/"] {
        assert_eq!(client.post(path, &json!({})).await.status, 404, "{path}");
    }
    assert_eq!(client.get("/v1/chat/completions").await.status, 404);
    let mut nobody = chat(false);
    nobody["model"] = json!("nobody.no-such-model");
    let answer = client.post("/v1/chat/completions", &nobody).await;
    let error = &answer.json()["error"];
    assert_eq!((answer.status.as_u16(), &error["code"]), (404, &json!("model_not_found")));
    assert_eq!(error["param"], "model");
    nobody["max_tokens"] = json!(9);
    let answer = client.post("/anthropic/v1/messages", &nobody).await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json()["error"],
        json!({"type": "not_found_error", "message": "model: nobody.no-such-model"})
    );
    assert!(server.model.requests().is_empty());
}

#[tokio::test]
async fn messages_are_of_a_version_that_there_is() {
    let server = TestServer::start().await;
    let client = server.client();
    for (version, refusal) in [
        (Some("2023-06-01"), None),
        (Some("2026-10-21"), None),
        (Some("1999-01-01"), Some("anthropic-version: \"1999-01-01\" is not a valid version.")),
        (Some("latest"), Some("anthropic-version: \"latest\" is not a valid version.")),
        (None, None),
    ] {
        for (path, body) in [
            ("/anthropic/v1/messages", message(false)),
            (
                "/anthropic/v1/messages/count_tokens",
                json!({"model": CLAUDE, "messages": message(false)["messages"]}),
            ),
        ] {
            let (mut parts, body) = client.signed(Method::POST, path, body.to_string().into());
            parts.headers.remove("anthropic-version");
            if let Some(version) = version {
                parts.headers.insert("anthropic-version", HeaderValue::from_static(version));
            }
            let answer = client.send(parts, body).await.answer().await;
            let said = answer.json()["error"]["message"].as_str().map(str::to_owned);
            match refusal {
                Some(refusal) => {
                    assert_eq!(answer.status, 400);
                    assert!(said.unwrap().starts_with(refusal), "{path}: {refusal}");
                }
                None => assert_eq!(answer.status, 200, "{path}: {said:?}"),
            }
        }
    }
}

#[tokio::test]
async fn only_allowed_tools_are_offered() {
    let server = TestServer::start().await;
    let client = server.client();
    let function = |name: &str| json!({"name": name, "parameters": {"type": "object"}});
    let mut request = chat(false);
    request["service_tier"] = json!("flex");
    request["tools"] =
        json!(["look", "listen"].map(|name| json!({"type": "function", "function": function(name)})));
    let look = json!([{"type": "function", "function": {"name": "look"}}]);
    request["tool_choice"] =
        json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": look}});
    let answer = client.post("/v1/chat/completions", &request).await;
    assert_eq!(answer.json()["service_tier"], "flex", "{}", answer.snapshot());
    let mut response = json!({"model": MODEL, "input": "Hi"});
    response["tools"] = json!(["look", "listen"].map(|name| json!({"type": "function", "name": name})));
    response["tool_choice"] =
        json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]});
    let answer = client.post("/v1/responses", &response).await;
    assert_eq!(answer.status, 200, "{}", answer.snapshot());
    let choices: Vec<_> = server
        .model
        .requests()
        .into_iter()
        .map(|it| (it.tools.into_iter().map(|tool| tool.name).collect::<Vec<_>>(), it.tool_choice))
        .collect();
    assert_eq!(
        choices,
        [(vec!["look".to_owned()], ToolChoice::Any), (vec!["look".to_owned()], ToolChoice::Auto)]
    );
    response["tool_choice"]["tools"][0]["name"] = json!("smell");
    let answer = client.post("/v1/responses", &response).await;
    assert_eq!(
        answer.json()["error"]["message"],
        "Invalid 'tool_choice.tools[0]': tool 'smell' is not in 'tools'."
    );
}

#[tokio::test]
async fn a_busy_model_is_a_rate_limit() {
    let busy = BackendError::Overloaded { message: "full".into(), retry_after: Some(Duration::from_secs(7)) };
    let server = TestServer::with(Scripted::playing(vec![Step::Fail(busy)]), |_| {}).await;
    let answer = server.client().post("/v1/chat/completions", &chat(true)).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"));
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
    let answer = server.client().post("/anthropic/v1/messages", &message(false)).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_event() {
    let mut script = text("Hello there.");
    script.truncate(3);
    script.push(Step::Fail(BackendError::BrokenStream("gone".into())));
    let server = TestServer::with(Scripted::playing(script), |_| {}).await;
    let client = server.client();
    let last = |answer: &Answer| events(answer).last().unwrap().clone();
    let event = last(&client.post("/v1/chat/completions", &chat(true)).await);
    assert_eq!(data(&event)["error"]["type"], "server_error");
    let event =
        last(&client.post("/v1/responses", &json!({"model": MODEL, "input": "Hi", "stream": true})).await);
    assert_eq!(
        (event.0.as_str(), &data(&event)["response"]["status"]),
        ("response.failed", &json!("failed"))
    );
    let said = &data(&event)["response"]["output"][0];
    assert_eq!((&said["status"], &said["content"][0]["text"]), (&json!("incomplete"), &json!("Hello ")));
    let event = last(&client.post("/anthropic/v1/messages", &message(true)).await);
    assert_eq!((event.0.as_str(), &data(&event)["error"]["type"]), ("error", &json!("api_error")));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_answer() {
    let mut script = text("Hello there.");
    script.truncate(3);
    script.push(Step::Hang);
    let server = TestServer::with(Scripted::playing(script), |_| {}).await;
    let body = Bytes::from(chat(true).to_string());
    let open = server.client().open(Method::POST, "/v1/chat/completions", body).await;
    assert_eq!(open.response.status(), 200);
    drop(open);
    let cancelled = async {
        while server.model.cancelled() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), cancelled).await.expect("the answer is cancelled");
}
