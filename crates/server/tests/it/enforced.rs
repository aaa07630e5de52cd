//! Guardrails that the account enforces: what callers ask for does not weaken them. And guardrails that can't be applied.

use craton_backend::{BlockStart, ChatEvent, Delta};
use craton_testkit::{Client, Scripted, Step, TestServer, text};
use craton_wire::types::Blob;
use serde_json::{Value, json};

use super::guardrails::{BLOCKED_INPUT, BLOCKED_OUTPUT, CLAUDE, converse, create, plain, seen, server};

/// Enforces `plain` for the account, with `guarding` for what callers mark.
async fn enforce(server: &TestServer, guarding: Value) -> String {
    let id = create(server, &plain()).await;
    let client = server.client();
    client.post(&format!("/guardrails/{id}"), &json!({})).await;
    let mut config = json!({"guardrailIdentifier": id, "guardrailVersion": "1"});
    if !guarding.is_null() {
        config["selectiveContentGuarding"] = guarding;
    }
    let body = json!({"guardrailInferenceConfig": config});
    let put = client.json(http::Method::PUT, "/enforcedGuardrailsConfiguration", &body).await;
    assert_eq!(put.status, 200, "{}", put.snapshot());
    id
}

/// A guardrail of the caller's own that minds nothing of what these tests say.
async fn lenient(server: &TestServer) -> String {
    let mut guardrail = plain();
    guardrail["name"] = json!("lenient");
    guardrail["wordPolicyConfig"]["wordsConfig"][0]["text"] = json!("marmalade");
    guardrail.as_object_mut().unwrap().remove("sensitiveInformationPolicyConfig");
    create(server, &guardrail).await
}

async fn reason(client: &Client, body: &Value) -> Value {
    client.post(&format!("{CLAUDE}/converse"), body).await.json()["stopReason"].clone()
}

fn marked(text: &str, qualifiers: &[&str]) -> Value {
    json!({"guardContent": {"text": {"text": text, "qualifiers": qualifiers}}})
}

fn message(content: Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

#[tokio::test]
async fn marks_of_the_caller_do_not_narrow_what_is_enforced() {
    let server = server("Fine.").await;
    enforce(&server, Value::Null).await;
    let client = server.client();
    for content in [
        json!([{"text": "some moonshine"}, marked("harmless", &["guard_content"])]),
        json!([{"text": "some moonshine"}, marked("harmless", &["query"])]),
        json!([marked("some moonshine", &["query"])]),
        json!([marked("some moonshine", &["grounding_source"]), {"text": "harmless"}]),
    ] {
        assert_eq!(reason(&client, &message(content.clone())).await, "guardrail_intervened", "{content}");
    }
    let mut system = message(json!([{"text": "harmless"}]));
    system["system"] = json!([{"text": "some moonshine"}]);
    assert_eq!(reason(&client, &system).await, "guardrail_intervened");
    let tagged = "moonshine <amazon-bedrock-guardrails-guardContent_xyz>harmless</amazon-bedrock-guardrails-guardContent_xyz>";
    let body = json!({"prompt": tagged, "amazon-bedrock-guardrailConfig": {"tagSuffix": "xyz"}});
    let answer = client.post("/model/meta.llama3-8b-instruct-v1%3A0/invoke", &body).await.json();
    assert_eq!(answer["amazon-bedrock-guardrailAction"], "INTERVENED", "{answer}");
    assert_eq!(answer["generation"], BLOCKED_INPUT, "{answer}");
    assert_eq!(server.model.requests().len(), 0, "nothing of it reaches the model");
    // What is anonymised is so wherever it is, next to marks that stay where they are.
    let body = message(json!([{"text": "mail ann@example.com"}, marked("and bob@example.com", &[])]));
    assert_eq!(reason(&client, &body).await, "end_turn");
    assert_eq!(seen(&server.model.requests()[0]), "mail {EMAIL}|and {EMAIL}");
}

/// `text` where callers could hide it from a guardrail that looks at texts alone.
fn hidden(text: &str) -> Vec<Value> {
    let bytes = |text: &str| serde_json::to_value(Blob(text.to_owned().into())).unwrap();
    let document = |format: &str, said: &str| json!({"document": {"name": "notes", "format": format, "source": {"bytes": bytes(said)}}});
    let ask = json!({"text": "Read this."});
    let mut requests: Vec<Value> =
        ["txt", "md", "csv"].map(|format| message(json!([ask, document(format, text)]))).to_vec();
    requests.push(message(json!([ask, document("html", &format!("<p>{text}</p>"))])));
    let tool = |input: Value, result: Value| {
        json!({
            "messages": [
                {"role": "user", "content": [{"text": "hello"}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "look", "input": input}}]},
                {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [result]}}]},
            ],
            "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]},
        })
    };
    requests.push(tool(json!({}), json!({"text": text})));
    requests.push(tool(json!({}), json!({"json": {"said": [text]}})));
    requests.push(tool(json!({}), document("txt", text)));
    requests.push(tool(json!({"word": text}), json!({"text": "ok"})));
    requests
}

#[tokio::test]
async fn documents_and_tools_hide_nothing_from_what_is_enforced() {
    let server = server("Fine.").await;
    enforce(&server, Value::Null).await;
    let client = server.client();
    for body in hidden("some moonshine") {
        assert_eq!(reason(&client, &body).await, "guardrail_intervened", "{body}");
    }
    assert_eq!(server.model.requests().len(), 0, "nothing of it reaches the model");
    for (count, body) in hidden("mail ann@example.com").into_iter().enumerate() {
        assert_eq!(reason(&client, &body).await, "end_turn", "{body}");
        let request = format!("{:?}", server.model.requests()[count]);
        assert!(!request.contains("ann@"), "{body}: {request}");
        assert!(request.contains("{EMAIL}"), "{body}: {request}");
    }
    for body in hidden("nothing of note") {
        assert_eq!(reason(&client, &body).await, "end_turn", "{body}");
    }
}

#[tokio::test]
async fn a_guardrail_is_enforced_for_models_that_there_are() {
    let server = server("Fine.").await;
    let id = create(&server, &plain()).await;
    let client = server.client();
    client.post(&format!("/guardrails/{id}"), &json!({})).await;
    let body = |included: Value| {
        json!({"guardrailInferenceConfig": {"guardrailIdentifier": id, "guardrailVersion": "1",
            "modelEnforcement": {"includedModels": included, "excludedModels": []}}})
    };
    let put = async |included: Value| {
        client.json(http::Method::PUT, "/enforcedGuardrailsConfiguration", &body(included)).await
    };
    assert_eq!(put(json!(["no.such-model"])).await.error(), (400, "ValidationException"));
    let model = CLAUDE.trim_start_matches("/model/").replace("%3A", ":");
    assert_eq!(put(json!([model])).await.status, 200);
    let said = message(json!([{"text": "some moonshine"}]));
    assert_eq!(reason(&client, &said).await, "guardrail_intervened");
}

#[tokio::test]
async fn the_account_may_leave_marking_to_callers() {
    let server = server("Fine.").await;
    enforce(&server, json!({"messages": "SELECTIVE", "system": "SELECTIVE"})).await;
    let client = server.client();
    let mut body = message(json!([{"text": "some moonshine"}, marked("harmless", &[])]));
    body["system"] = json!([{"text": "some moonshine"}]);
    assert_eq!(reason(&client, &body).await, "end_turn");
    body["messages"][0]["content"][1] = marked("some moonshine", &[]);
    assert_eq!(reason(&client, &body).await, "guardrail_intervened");
    // Where nothing is marked everything is judged.
    assert_eq!(reason(&client, &message(json!([{"text": "moonshine"}]))).await, "guardrail_intervened");
}

#[tokio::test]
async fn enforced_guardrails_judge_before_anything_leaves_and_are_told_apart() {
    let server = server("Of course. The number is 536-90-4399. Anything else?").await;
    let enforced = enforce(&server, Value::Null).await;
    let own = lenient(&server).await;
    let client = server.client();
    let mut body = converse(&own, "DRAFT", "hello");
    body["guardrailConfig"]["streamProcessingMode"] = json!("async");
    let frames = client.post(&format!("{CLAUDE}/converse-stream"), &body).await.frames();
    let events: Vec<Value> =
        frames.iter().map(|frame| serde_json::from_slice(&frame.payload).unwrap()).collect();
    let streamed: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert!(streamed.ends_with(BLOCKED_OUTPUT) && !streamed.contains("536"), "{streamed}");
    let trace = events.iter().find_map(|event| event["trace"]["guardrail"].as_object()).unwrap();
    let origin = |guard: &str| {
        trace["outputAssessments"][guard][0]["appliedGuardrailDetails"]["guardrailOrigin"].clone()
    };
    assert_eq!(origin(&enforced), json!(["ACCOUNT_ENFORCED"]), "{trace:?}");
    // Named by the call as well it judges once, for both.
    let twice = client.post(&format!("{CLAUDE}/converse"), &converse(&enforced, "1", "hello")).await.json();
    let details = &twice["trace"]["guardrail"]["outputAssessments"][&enforced];
    assert_eq!(details.as_array().unwrap().len(), 1, "{twice}");
    let origin = &details[0]["appliedGuardrailDetails"]["guardrailOrigin"];
    assert_eq!(origin, &json!(["REQUEST", "ACCOUNT_ENFORCED"]), "{twice}");
}

#[tokio::test]
async fn a_guardrail_that_can_not_be_applied_is_refused() {
    let server = server("Fine.").await;
    let id = create(&server, &plain()).await;
    let client = server.client();
    for (model, body) in [
        ("amazon.titan-embed-text-v2%3A0", json!({"inputText": "moonshine"})),
        ("cohere.rerank-v3-5%3A0", json!({"api_version": 2, "query": "a", "documents": ["moonshine"]})),
    ] {
        let path = format!("/model/{model}/invoke");
        assert_eq!(client.post(&path, &body).await.status, 200, "{model}");
        for named in [id.as_str(), "nosuchguard1"] {
            let (mut parts, body) =
                client.signed(http::Method::POST, &path, serde_json::to_vec(&body).unwrap().into());
            parts.headers.insert("x-amzn-bedrock-guardrailidentifier", named.parse().unwrap());
            parts.headers.insert("x-amzn-bedrock-guardrailversion", "DRAFT".parse().unwrap());
            let answer = client.send(parts, body).await.answer().await;
            assert_eq!(answer.error(), (400, "ValidationException"), "{model}: {}", answer.snapshot());
        }
    }
}

#[tokio::test]
async fn refused_input_is_looked_at_no_further() {
    let server = server("Fine.").await;
    let id = create(&server, &plain()).await;
    let broken = json!({"document": {"name": "d", "format": "pdf", "source": {"bytes": "bm90IGEgcGRm"}}});
    let mut body = converse(&id, "DRAFT", "harmless");
    body["messages"][0]["content"].as_array_mut().unwrap().push(broken);
    let answer = server.client().post(&format!("{CLAUDE}/converse"), &body).await;
    assert_eq!(answer.error(), (400, "ValidationException"), "the document is broken: {}", answer.snapshot());
    body["messages"][0]["content"][0]["text"] = json!("moonshine");
    let answer = server.client().post(&format!("{CLAUDE}/converse"), &body).await.json();
    assert_eq!(answer["stopReason"], "guardrail_intervened", "{answer}");
}

#[tokio::test]
async fn what_is_found_late_ends_the_block_it_is_in() {
    let mut script = text("The number is 536-90-4399. And more. And more of it. And so on. Bye.");
    for step in &mut script {
        if let Step::Event(
            ChatEvent::BlockStart { index, .. }
            | ChatEvent::BlockDelta { index, .. }
            | ChatEvent::BlockStop { index },
        ) = step
        {
            *index = 1;
        }
    }
    let thought = [
        ChatEvent::BlockStart { index: 0, block: BlockStart::Reasoning },
        ChatEvent::BlockDelta { index: 0, delta: Delta::Reasoning("hm".into()) },
        ChatEvent::BlockStop { index: 0 },
    ];
    script.splice(1..1, thought.map(Step::Event));
    let server = TestServer::with(Scripted::playing(script), |config| {
        config.guardrails.name_model.clear();
        config.guardrails.sentence_model.clear();
    })
    .await;
    let id = create(&server, &plain()).await;
    let mut body = converse(&id, "DRAFT", "hello");
    body["guardrailConfig"]["streamProcessingMode"] = json!("async");
    let frames = server.client().post(&format!("{CLAUDE}/converse-stream"), &body).await.frames();
    let events: Vec<Value> =
        frames.iter().map(|frame| serde_json::from_slice(&frame.payload).unwrap()).collect();
    let said = events.iter().find(|event| event["delta"]["text"] == BLOCKED_OUTPUT).unwrap();
    assert_eq!(said["contentBlockIndex"], 1, "{events:?}");
    let stops: Vec<&Value> = events
        .iter()
        .filter(|event| {
            event.get("contentBlockIndex").is_some()
                && event.get("delta").is_none()
                && event.get("start").is_none()
        })
        .map(|event| &event["contentBlockIndex"])
        .collect();
    assert_eq!(stops, [&json!(0), &json!(1)], "every block ends once: {events:?}");
}
