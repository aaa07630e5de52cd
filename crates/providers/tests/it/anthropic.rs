use std::time::Duration;

use craton_backend::contract::{self, Subject, ask};
use craton_backend::*;
use craton_providers::{ApiKey, Upstream, UpstreamKind, UpstreamSettings};
use serde_json::{Value, json};

use crate::speaker::{Asked, End, all_text, count, speak};
use crate::standin::{Seen, StandIn, Step, json as reply, sse};

fn connect(base_url: &str) -> Upstream {
    let mut settings = UpstreamSettings::new("claude", UpstreamKind::Anthropic, base_url);
    settings.api_key = Some(ApiKey::new("sk-ant-secret"));
    settings.timeouts.first_byte = Duration::from_secs(5);
    Upstream::connect(&settings).unwrap()
}

/// What counts as the prompt: the same for an answer and for a count.
fn prompt(body: &Value) -> String {
    all_text(&body["system"]) + &all_text(&body["messages"]) + &all_text(&body["tools"])
}

fn messages(seen: &Seen) -> Vec<Step> {
    for header in ["x-api-key: sk-ant-secret", "anthropic-version: 2023-06-01"] {
        assert!(seen.head.contains(header), "{}", seen.head);
    }
    let body = &seen.body;
    if seen.path == "/v1/messages/count_tokens" {
        assert_eq!(body.get("max_tokens"), None);
        return reply(200, &json!({"input_tokens": count(&prompt(body))}));
    }
    assert_eq!(seen.path, "/v1/messages");
    let speech = speak(&Asked {
        prompt: prompt(body),
        max_tokens: body["max_tokens"].as_u64().map(|max| max as usize),
        stops: serde_json::from_value(body["stop_sequences"].clone()).unwrap_or_default(),
        forced_tool: body["tool_choice"]["name"].as_str().map(str::to_owned),
        wants_json: body["output_config"]["format"]["type"] == "json_schema",
    });
    let (reason, sequence) = match &speech.end {
        End::Stop => ("end_turn", None),
        End::Length => ("max_tokens", None),
        End::Sequence(stop) => ("stop_sequence", Some(stop)),
        End::Tool => ("tool_use", None),
    };
    let text = speech.pieces.concat();
    let usage = json!({"input_tokens": speech.prompt_tokens, "output_tokens": speech.output_tokens});
    let block = |text: &str| match &speech.tool {
        Some(name) => {
            json!({"type": "tool_use", "id": "toolu_1", "name": name, "input": serde_json::from_str::<Value>(text).unwrap_or(json!({}))})
        }
        None => json!({"type": "text", "text": text}),
    };
    if body["stream"] != true {
        return reply(
            200,
            &json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [block(&text)],
                    "stop_reason": reason, "stop_sequence": sequence, "usage": usage}),
        );
    }
    let start = json!({"id": "msg_1", "role": "assistant", "content": [],
                       "usage": {"input_tokens": speech.prompt_tokens, "output_tokens": 1}});
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": block("")}),
    ];
    for piece in &speech.pieces {
        let delta = match &speech.tool {
            Some(_) => json!({"type": "input_json_delta", "partial_json": piece}),
            None => json!({"type": "text_delta", "text": piece}),
        };
        events.push(json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    }
    events.push(json!({"type": "content_block_stop", "index": 0}));
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": sequence},
                       "usage": {"output_tokens": speech.output_tokens}}));
    events.push(json!({"type": "message_stop"}));
    let written =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()));
    sse(&written.collect::<Vec<_>>())
}

#[tokio::test]
async fn keeps_the_contract_of_chat_drivers() {
    let server = StandIn::start(messages).await;
    for base in [server.url.clone(), format!("{}/v1/", server.url)] {
        let upstream = connect(&base);
        let chat = upstream.chat();
        let subject = Subject { driver: &*chat, model: "m", counts_exactly: true };
        tokio::time::timeout(Duration::from_secs(60), contract::all(&subject)).await.unwrap();
    }
}

#[tokio::test]
async fn errors_keep_their_meaning() {
    let server = StandIn::start(|seen| {
        let error = |status, kind: &str, message: &str| {
            reply(status, &json!({"type": "error", "error": {"type": kind, "message": message}}))
        };
        match seen.body["model"].as_str().unwrap_or_default() {
            "busy" => error(529, "overloaded_error", "Overloaded"),
            "long" => error(400, "invalid_request_error", "prompt is too long: 300 tokens > 200 maximum"),
            "unknown" => error(401, "authentication_error", "invalid x-api-key"),
            "denied" => error(403, "permission_error", "not for you"),
            _ => error(404, "not_found_error", "model: nobody"),
        }
    })
    .await;
    let upstream = connect(&server.url);
    let chat = upstream.chat();
    let error = async |model| {
        let subject = Subject { driver: &*chat, model, counts_exactly: false };
        chat.chat(ask(&subject, "Hi")).await.err().unwrap()
    };
    assert!(matches!(error("busy").await, BackendError::Overloaded { .. }));
    assert_eq!(error("long").await, BackendError::ContextOverflow { tokens: 300, limit: 200 });
    assert!(matches!(error("unknown").await, BackendError::UpstreamUnauthenticated(_)));
    assert!(matches!(error("denied").await, BackendError::UpstreamDenied(_)));
    assert!(matches!(error("nobody").await, BackendError::Upstream { status: 404, .. }));
    assert!(matches!(upstream.embedding("m"), Err(BackendError::Unsupported(_))));
    assert!(matches!(upstream.rerank(), Err(BackendError::Unsupported(_))));
}
