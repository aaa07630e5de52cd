//! Runs of agents: what goes to the model and to functions, and what comes back as events.

use std::sync::Arc;
use std::time::Duration;

use craton_backend::{Block, ChatRequest, Role, ToolResult};
use craton_lambda::MappedFunction;
use craton_testkit::{Answer, Client, Scripted, Step, TestServer, calls, text};
use craton_wire::eventstream::Frame;
use craton_wire::types::Blob;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub(crate) const MODEL: &str = "anthropic.claude-3-haiku-20240307-v1:0";
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:orders";

/// The results of the last message, or none.
pub(crate) fn results<'a>(request: &'a ChatRequest) -> Vec<&'a ToolResult> {
    let last = request.messages.last().map(|message| &message.content[..]).unwrap_or_default();
    let result = |block: &'a Block| match block {
        Block::ToolResult(result) => Some(result),
        _ => None,
    };
    last.iter().filter_map(result).collect()
}

pub(crate) fn result_text(result: &ToolResult) -> &str {
    match &result.content[..] {
        [Block::Text(text)] => text,
        other => panic!("{other:?}"),
    }
}

/// The text of the last message of the user's.
pub(crate) fn asked(request: &ChatRequest) -> &str {
    let last = request.messages.iter().rev().find(|message| message.role == Role::User);
    match last.map(|message| &message.content[0]) {
        Some(Block::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn tool(request: &ChatRequest, part: &str) -> String {
    request.tools.iter().find(|tool| tool.name.contains(part)).map(|tool| tool.name.clone()).expect(part)
}

/// Calls the tool whose name has `name` in it once, and then says what it gave.
fn calls_once(name: &'static str, input: Value) -> Scripted {
    Scripted::deciding(move |request| match results(request).first() {
        None => calls("<thinking>I look it up.</thinking>", &[(&tool(request, name), input.clone())]),
        Some(result) => text(&format!("It says: {}", result_text(result))),
    })
}

fn functions() -> Value {
    json!([{
        "name": "get_order", "description": "Finds an order",
        "parameters": { "order_id": { "type": "string", "required": true, "description": "its id" },
                        "deep": { "type": "boolean" } },
    }])
}

pub(crate) fn group(executor: Value) -> Value {
    json!({
        "actionGroupName": "orders", "description": "Orders of the shop", "actionGroupExecutor": executor,
        "functionSchema": { "functions": functions() },
    })
}

pub(crate) fn inline(question: &str, groups: Value) -> Value {
    json!({
        "foundationModel": MODEL, "inputText": question, "enableTrace": true, "actionGroups": groups,
        "instruction": "You help the customers of a shop, politely and in few words.",
    })
}

pub(crate) async fn ask(client: &Client, session: &str, body: &Value) -> Answer {
    client.json(Method::POST, &format!("/agents/{session}"), body).await
}

pub(crate) fn payload(frame: &Frame) -> Value {
    serde_json::from_slice(&frame.payload).expect("JSON")
}

pub(crate) fn kind(frame: &Frame) -> &str {
    frame.header(":event-type").or_else(|| frame.header(":exception-type")).unwrap_or("?")
}

/// What all chunks say together.
pub(crate) fn said(answer: &Answer) -> String {
    let frames = answer.frames();
    let chunks = frames.iter().filter(|frame| kind(frame) == "chunk");
    let bytes = |frame| serde_json::from_value::<Blob>(payload(frame)["bytes"].clone()).expect("base64").0;
    chunks.map(|frame| String::from_utf8(bytes(frame).to_vec()).expect("text")).collect()
}

/// Traces of one kind, without what is around them.
pub(crate) fn traces(answer: &Answer, name: &str) -> Vec<Value> {
    let frames = answer.frames();
    let traces = frames.iter().filter(|frame| kind(frame) == "trace").map(payload);
    traces.filter_map(|part| part["trace"].get(name).cloned()).collect()
}

pub(crate) fn last(answer: &Answer) -> (String, Value) {
    let frames = answer.frames();
    let frame = frames.last().expect("an event");
    (kind(frame).to_owned(), payload(frame))
}

/// A function over HTTP that answers with what `answer` makes of an event; with the events it got.
pub(crate) async fn function(
    answer: impl Fn(&Value) -> Value + Send + Sync + 'static,
) -> (MappedFunction, Arc<parking_lot::Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let events: Arc<parking_lot::Mutex<Vec<Value>>> = Arc::default();
    let kept = Arc::clone(&events);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut got = Vec::new();
            let body = loop {
                let mut piece = [0; 4096];
                let read = socket.read(&mut piece).await.unwrap_or(0);
                got.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&got).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.to_ascii_lowercase();
                let length = length.split_once("content-length:").map(|(_, rest)| rest.trim_start());
                let length = length.and_then(|rest| rest.split("\r\n").next()?.trim().parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break serde_json::from_str(body).expect("an event");
                }
            };
            let reply = answer(&body).to_string();
            kept.lock().push(body);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let reply = format!("{head}\r\ncontent-length: {}\r\n\r\n{reply}", reply.len());
            let _ = socket.write_all(reply.as_bytes()).await;
        }
    });
    let mapped = MappedFunction { name: "orders".into(), url: Some(url), ..MappedFunction::default() };
    (mapped, events)
}

pub(crate) fn replied(event: &Value, body: &Value) -> Value {
    json!({ "messageVersion": "1.0", "response": {
        "actionGroup": event["actionGroup"], "function": event["function"],
        "functionResponse": { "responseBody": { "TEXT": { "body": body.to_string() } } },
    } })
}

#[tokio::test]
async fn control_is_returned_and_taken_up_again() {
    let server =
        TestServer::with(calls_once("get_order", json!({ "order_id": "7", "deep": "true" })), |_| {}).await;
    let client = server.client();
    let groups = json!([group(json!({ "customControl": "RETURN_CONTROL" }))]);
    let answer = ask(&client, "session-1", &inline("Where is order 7?", groups.clone())).await;
    insta::assert_snapshot!("agent_return_control", answer.snapshot());
    let (event, returned) = last(&answer);
    assert_eq!(event, "returnControl");

    let mut body = inline("", groups.clone());
    let result = json!({ "functionResult": { "actionGroup": "orders", "function": "get_order",
                         "responseBody": { "TEXT": { "body": "on its way" } } } });
    body["inlineSessionState"] =
        json!({ "invocationId": returned["invocationId"], "returnControlInvocationResults": [result] });
    let answer = ask(&client, "session-1", &body).await;
    insta::assert_snapshot!("agent_control_taken_up", answer.snapshot());
    assert_eq!(said(&answer), "It says: on its way");

    // The invocation is over: it can't be answered twice.
    let again = ask(&client, "session-1", &body).await;
    assert_eq!(again.error(), (400, "ValidationException"));
}

#[tokio::test]
async fn a_function_is_sent_the_documented_event() {
    let schema = json!({ "openapi": "3.0.0", "info": { "title": "t", "version": "1" }, "paths": { "/orders/{id}/cancel": {
        "post": { "operationId": "cancel_order", "description": "Cancels an order",
            "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } }],
            "requestBody": { "required": true, "content": { "application/json": { "schema": { "type": "object",
                "properties": { "reason": { "type": "string" } }, "required": ["reason"] } } } },
            "responses": { "200": { "description": "ok" } } } } } });
    let (mapped, events) = function(|event| {
        let mut reply = replied(event, &json!({ "cancelled": true }));
        reply["sessionAttributes"] = json!({ "tier": "silver" });
        reply
    })
    .await;
    let model = calls_once("cancel_order", json!({ "id": "7", "reason": "late" }));
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let groups = json!([{ "actionGroupName": "ops", "actionGroupExecutor": { "lambda": FUNCTION },
                          "apiSchema": { "payload": schema.to_string() } }]);
    let mut body = inline("Cancel order 7, it is late", groups.clone());
    body["inlineSessionState"] =
        json!({ "sessionAttributes": { "tier": "gold" }, "promptSessionAttributes": { "today": "Monday" } });
    let answer = ask(&client, "session-2", &body).await;
    assert_eq!(said(&answer), "It says: {\"cancelled\":true}", "{}", answer.snapshot());
    assert_eq!(
        events.lock()[0],
        json!({
            "messageVersion": "1.0",
            "agent": { "name": "INLINE_AGENT", "id": "INLINE_AGENT", "alias": "INLINE", "version": "DRAFT" },
            "inputText": "Cancel order 7, it is late", "sessionId": "session-2", "actionGroup": "ops",
            "apiPath": "/orders/{id}/cancel", "httpMethod": "POST", "function": "cancel_order",
            "parameters": [{ "name": "id", "type": "integer", "value": "7" },
                           { "name": "reason", "type": "string", "value": "late" }],
            "requestBody": { "content": { "application/json": { "properties": [
                { "name": "reason", "type": "string", "value": "late" }] } } },
            "sessionAttributes": { "tier": "gold" }, "promptSessionAttributes": { "today": "Monday" },
        })
    );
    let called = &traces(&answer, "orchestrationTrace")[3]["invocationInput"]["actionGroupInvocationInput"];
    assert_eq!(
        called,
        &json!({ "actionGroupName": "ops", "apiPath": "/orders/{id}/cancel", "executionType": "LAMBDA",
                 "function": "cancel_order", "verb": "post",
                 "parameters": [{ "name": "id", "type": "integer", "value": "7" }],
                 "requestBody": { "content": { "application/json": [
                     { "name": "reason", "type": "string", "value": "late" }] } } })
    );
    // What the function changed of the session is there in the next turn, and the model remembers the first.
    let answer = ask(&client, "session-2", &inline("And again", groups)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(events.lock()[1]["sessionAttributes"], json!({ "tier": "silver" }));
    let request = server.model.requests().pop().unwrap();
    assert!(format!("{:?}", request.messages).contains("Cancel order 7, it is late"));
}

#[tokio::test]
async fn wrong_arguments_are_told_once() {
    let wrong = |request: &ChatRequest| calls("", &[(&tool(request, "get_order"), json!({ "order_id": 7 }))]);
    let model = Scripted::deciding(move |request| match results(request).first() {
        Some(result) if asked_any(request, "recover") => {
            assert!(result.is_error && result_text(result).contains("order_id"), "{}", result_text(result));
            text("Sorry, which order?")
        }
        _ => wrong(request),
    });
    let (mapped, events) = function(|event| replied(event, &json!("ok"))).await;
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let groups = json!([group(json!({ "lambda": FUNCTION }))]);
    let answer = ask(&client, "session-3", &inline("recover please", groups.clone())).await;
    assert_eq!(said(&answer), "Sorry, which order?");
    assert_eq!(traces(&answer, "orchestrationTrace")[2]["observation"]["type"], "REPROMPT");
    let answer = ask(&client, "session-4", &inline("go on", groups)).await;
    let (event, error) = last(&answer);
    assert_eq!(event, "dependencyFailedException");
    assert!(error["message"].as_str().unwrap().contains("2 times in a row"), "{error}");
    assert_eq!(traces(&answer, "failureTrace")[0]["failureCode"], 424);
    assert_eq!((server.model.requests().len(), events.lock().len()), (4, 0));
}

fn asked_any(request: &ChatRequest, word: &str) -> bool {
    format!("{:?}", request.messages).contains(word)
}

#[tokio::test]
async fn a_function_that_fails_is_seen_by_the_model_and_then_by_the_caller() {
    // Nobody listens there.
    let nowhere = Some("http://127.0.0.1:1/".to_owned());
    let gone = MappedFunction { name: "orders".into(), url: nowhere, ..MappedFunction::default() };
    let model = Scripted::deciding(|request| match results(request).first() {
        Some(result) if asked_any(request, "recover") => text(&format!("I could not: {}", result.is_error)),
        _ => calls("", &[(&tool(request, "get_order"), json!({ "order_id": "7" }))]),
    });
    let server = TestServer::with(model, |config| config.functions.push(gone)).await;
    let client = server.client();
    let groups = json!([group(json!({ "lambda": FUNCTION }))]);
    let answer = ask(&client, "session-5", &inline("recover", groups.clone())).await;
    assert_eq!(said(&answer), "I could not: true");
    let answer = ask(&client, "session-6", &inline("insist", groups)).await;
    assert_eq!(last(&answer).0, "dependencyFailedException");
}

#[tokio::test]
async fn an_answer_streams_token_by_token_without_its_thoughts() {
    let server =
        TestServer::with(Scripted::saying("<thinking>Easy one.</thinking> It is on its way to you."), |_| {})
            .await;
    let mut body = inline("Where is it?", json!([]));
    body["streamingConfigurations"] = json!({ "streamFinalResponse": true });
    let answer = ask(&server.client(), "session-7", &body).await;
    let chunks = answer.frames().iter().filter(|frame| kind(frame) == "chunk").count();
    assert_eq!((said(&answer).as_str(), chunks), ("It is on its way to you.", 7), "{}", answer.snapshot());
    let rationale = &traces(&answer, "orchestrationTrace")[2]["rationale"]["text"];
    assert_eq!(rationale, "Easy one.");
}

#[tokio::test]
async fn a_caller_that_goes_away_frees_model_and_session() {
    let model = Scripted::deciding(|request| match asked(request) {
        "hang" => vec![text("x")[0].clone(), Step::Hang],
        _ => text("Free."),
    });
    let server = TestServer::with(model, |_| {}).await;
    let client = server.client();
    let mut open =
        client.open(Method::POST, "/agents/session-8", inline("hang", json!([])).to_string()).await;
    assert_eq!(kind(&open.frame().await.unwrap()), "trace");
    while server.model.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The model has begun: what it says is read now, and never ends.
    let more = tokio::time::timeout(Duration::from_millis(100), open.frame()).await;
    assert!(more.is_err(), "nothing follows before the model has answered");
    drop(open);
    let answer = ask(&client, "session-8", &inline("hello", json!([]))).await;
    assert_eq!(said(&answer), "Free.");
    assert_eq!(server.model.cancelled(), 1);
}

#[tokio::test]
async fn two_hundred_sessions_at_once_keep_their_own() {
    let model = Scripted::deciding(|request| match results(request).first() {
        None => calls("", &[(&tool(request, "get_order"), json!({ "order_id": asked(request) }))]),
        Some(result) => text(&format!("{} for {} questions", result_text(result), questions(request))),
    });
    let (mapped, _) = function(|event| replied(event, &event["parameters"][0]["value"])).await;
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let groups = json!([group(json!({ "lambda": FUNCTION }))]);
    let mut asking = Vec::new();
    for number in 0..200 {
        let (client, groups) = (client.clone(), groups.clone());
        asking.push(tokio::spawn(async move {
            for turn in 1..=2 {
                let question = format!("order {number} turn {turn}");
                let answer =
                    ask(&client, &format!("session-{number}"), &inline(&question, groups.clone())).await;
                assert_eq!(said(&answer), format!("\"{question}\" for {turn} questions"));
            }
        }));
    }
    for asked in asking {
        asked.await.expect("nothing lost or crossed");
    }
}

fn questions(request: &ChatRequest) -> usize {
    let is_question = |block: &Block| matches!(block, Block::Text(text) if text.starts_with("order "));
    let user = request.messages.iter().filter(|message| message.role == Role::User);
    user.filter(|message| message.content.iter().any(is_question)).count()
}

#[tokio::test]
async fn no_script_of_tools_hangs() {
    // A linear congruential generator: the same scripts every time.
    let state = Arc::new(parking_lot::Mutex::new(42_u64));
    let model = Scripted::deciding(move |request| {
        let mut state = state.lock();
        let mut next = |below: u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*state >> 33) % below
        };
        let names: Vec<String> =
            request.tools.iter().map(|tool| tool.name.clone()).chain(["none_such".to_owned()]).collect();
        let inputs = [
            json!({ "order_id": "1" }),
            json!({ "order_id": 1 }),
            json!({}),
            json!({ "question": "which?" }),
            json!({ "recipient": "helper", "content": "do it" }),
            json!({ "recipient": "nobody", "content": "do it" }),
        ];
        if next(8) == 0 {
            return text("<thinking>done</thinking>Done.");
        }
        let picked: Vec<(String, Value)> = (0..=next(3))
            .map(|_| {
                let name = &names[usize::try_from(next(names.len() as u64)).unwrap()];
                (name.clone(), inputs[usize::try_from(next(6)).unwrap()].clone())
            })
            .collect();
        let picked: Vec<(&str, Value)> =
            picked.iter().map(|(name, input)| (name.as_str(), input.clone())).collect();
        calls(if next(2) == 0 { "Let me see." } else { "" }, &picked)
    });
    let (mapped, _) = function(|event| match event["parameters"][0]["value"].as_str() {
        Some("1") => replied(event, &json!("ok")),
        _ => json!("nonsense"),
    })
    .await;
    let server = TestServer::with(model, |config| {
        config.functions.push(mapped);
        config.agents.max_steps = 8;
    })
    .await;
    let client = server.client();
    let mut ends = std::collections::BTreeMap::new();
    for number in 0..150 {
        let executor = if number % 3 == 0 {
            json!({ "customControl": "RETURN_CONTROL" })
        } else {
            json!({ "lambda": FUNCTION })
        };
        let ask_user = json!({ "actionGroupName": "user", "parentActionGroupSignature": "AMAZON.UserInput" });
        let mut body = inline("Do something", json!([group(executor), ask_user]));
        body["agentCollaboration"] = "SUPERVISOR".into();
        body["collaborators"] = json!([{ "agentName": "helper", "foundationModel": MODEL,
            "instruction": "You help another agent with whatever it asks for, quickly.",
            "actionGroups": [group(json!({ "customControl": "RETURN_CONTROL" }))] }]);
        body["collaboratorConfigurations"] =
            json!([{ "collaboratorName": "helper", "collaboratorInstruction": "for everything" }]);
        let session = format!("session-{}", number % 20);
        let asked = tokio::time::timeout(Duration::from_secs(30), ask(&client, &session, &body)).await;
        let answer = asked.expect("the run ends");
        assert_eq!(answer.status, 200, "{}", answer.snapshot());
        *ends.entry(last(&answer).0).or_insert(0) += 1;
    }
    let known = ["chunk", "returnControl", "dependencyFailedException"];
    assert!(ends.keys().all(|end| known.contains(&end.as_str())) && ends.len() == 3, "{ends:?}");
}
