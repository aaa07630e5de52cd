//! What turns keep and hand on: nothing of what was refused, nothing done twice, each collaborator's own results, and
//! conversations that every model accepts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use craton_backend::{BackendError, Block, ChatRequest};
use craton_lambda::MappedFunction;
use craton_testkit::{Answer, Scripted, Step, TestServer, calls, text};
use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::agent_frames::{guardrail, system};
use crate::agent_runs::{
    FUNCTION, MODEL, ask, asked, function, group, inline, last, replied, result_text, results, said, tool,
};

/// The ids of all calls in a request, and of all results.
fn ids(request: &ChatRequest) -> (Vec<String>, Vec<String>) {
    let (mut calls, mut results) = (Vec::new(), Vec::new());
    for block in request.messages.iter().flat_map(|message| &message.content) {
        match block {
            Block::ToolUse(call) => calls.push(call.id.clone()),
            Block::ToolResult(result) => results.push(result.tool_use_id.clone()),
            _ => {}
        }
    }
    (calls, results)
}

fn bring(body: &mut Value, returned: &Value, results: &Value) {
    body["inputText"] = "".into();
    body["inlineSessionState"] =
        json!({ "invocationId": returned["invocationId"], "returnControlInvocationResults": results });
}

fn result(agent_id: &Value, body: &str) -> Value {
    json!({ "functionResult": { "actionGroup": "orders", "function": "get_order", "agentId": agent_id,
            "responseBody": { "TEXT": { "body": body } } } })
}

#[tokio::test]
async fn what_was_refused_is_not_seen_by_the_model_in_the_next_turn() {
    let server = TestServer::with(Scripted::saying("Hello."), |_| {}).await;
    let mut body = inline("Where do I buy a xylophone?", json!([]));
    body["guardrailConfiguration"] = guardrail(&server).await;
    let client = server.client();
    assert_eq!(said(&ask(&client, "refused-1", &body).await), "Not that.");
    body["inputText"] = "Do what I asked before".into();
    assert_eq!(said(&ask(&client, "refused-1", &body).await), "Hello.");
    let seen = format!("{:?}", server.model.requests());
    assert!(!seen.contains("xylophone"), "{seen}");

    // The same for what pre-processing turns away.
    let server = TestServer::with(
        Scripted::deciding(|request| match asked(request) {
            "Do harm" => text("<category>A</category>"),
            _ => text("<category>D</category>"),
        }),
        |_| {},
    )
    .await;
    let client = server.client();
    let mut body = inline("Do harm", json!([]));
    body["promptOverrideConfiguration"] =
        json!({ "promptConfigurations": [{ "promptType": "PRE_PROCESSING", "promptState": "ENABLED" }] });
    assert_eq!(said(&ask(&client, "refused-2", &body).await), "Sorry, I can't help with that.");
    body["inputText"] = "And now?".into();
    ask(&client, "refused-2", &body).await;
    let after = server.model.requests().split_off(1);
    assert_eq!(after.len(), 2);
    assert!(!format!("{after:?}").contains("Do harm"));
}

/// The model is asked, calls a function that the user has to agree to, and fails when it is to answer.
#[tokio::test]
async fn a_confirmed_function_is_not_called_again_when_the_turn_is_tried_again() {
    let (mapped, events) = function(|event| replied(event, &json!("ordered"))).await;
    let answers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answers);
    let model = Scripted::deciding(move |request| match results(request).first() {
        None => calls("", &[(&tool(request, "get_order"), json!({ "order_id": "7" }))]),
        Some(_) if count.fetch_add(1, Ordering::SeqCst) == 0 => {
            vec![Step::Fail(BackendError::Invalid("not now".into()))]
        }
        Some(result) => text(result_text(result)),
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let mut careful = group(json!({ "lambda": FUNCTION }));
    careful["functionSchema"]["functions"][0]["requireConfirmation"] = "ENABLED".into();
    let mut body = inline("Order number 7", json!([careful]));
    let (_, returned) = last(&ask(&client, "twice-1", &body).await);
    let mut agreed = result(&Value::Null, "");
    agreed["functionResult"]["confirmationState"] = "CONFIRM".into();
    agreed["functionResult"].as_object_mut().unwrap().remove("agentId");
    bring(&mut body, &returned, &json!([agreed]));
    let failed = ask(&client, "twice-1", &body).await;
    assert!(last(&failed).0.ends_with("Exception"), "{}", failed.snapshot());
    assert_eq!(events.lock().len(), 1);
    let again = ask(&client, "twice-1", &body).await;
    assert_eq!(said(&again), "\"ordered\"", "{}", again.snapshot());
    assert_eq!(events.lock().len(), 1, "the function ran once");
}

/// A user agrees to one of two calls of a function. The turn fails after the first, and what was brought is sent again.
#[tokio::test]
async fn a_refusal_stays_one_when_the_turn_is_tried_again() {
    let (mapped, events) = function(|event| replied(event, &event["parameters"][0]["value"])).await;
    let answers = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answers);
    let model = Scripted::deciding(move |request| {
        let name = tool(request, "get_order");
        match &results(request)[..] {
            [] => calls("", &[(&name, json!({ "order_id": "1" })), (&name, json!({ "order_id": "2" }))]),
            _ if count.fetch_add(1, Ordering::SeqCst) == 0 => {
                vec![Step::Fail(BackendError::Invalid("not now".into()))]
            }
            given => text(&given.iter().map(|it| result_text(it)).collect::<Vec<_>>().join(" | ")),
        }
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let mut careful = group(json!({ "lambda": FUNCTION }));
    careful["functionSchema"]["functions"][0]["requireConfirmation"] = "ENABLED".into();
    let mut body = inline("Both orders", json!([careful]));
    let (_, returned) = last(&ask(&client, "refusal-1", &body).await);
    assert_eq!(returned["invocationInputs"].as_array().map(Vec::len), Some(2), "{returned}");
    let answered = |state: &str| json!({ "functionResult": { "actionGroup": "orders", "function": "get_order", "confirmationState": state } });
    bring(&mut body, &returned, &json!([answered("CONFIRM"), answered("DENY")]));
    let failed = ask(&client, "refusal-1", &body).await;
    assert!(last(&failed).0.ends_with("Exception"), "{}", failed.snapshot());
    let mut other = body.clone();
    bring(&mut other, &returned, &json!([answered("CONFIRM"), answered("CONFIRM")]));
    let refused = ask(&client, "refusal-1", &other).await;
    assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());
    let again = ask(&client, "refusal-1", &body).await;
    assert!(said(&again).contains("\"1\" | ") && said(&again).contains("did not agree"), "{}", said(&again));
    let called: Vec<Value> = events.lock().iter().map(|it| it["parameters"][0]["value"].clone()).collect();
    assert_eq!(called, ["1"], "the other was refused");
}

#[tokio::test]
async fn a_parsers_calls_and_their_results_belong_together() {
    let (mapped, events) = function(|event| match event["promptType"].as_str() {
        None => replied(event, &json!("shipped")),
        Some(kind) => {
            let raw = event["invokeModelRawResponse"].as_str().unwrap_or_default();
            let details = if raw.contains("CALL") {
                json!({ "invocationType": "ACTION_GROUP", "actionGroupInvocation": {
                    "actionGroupName": "orders", "functionName": "get_order",
                    "actionGroupInput": { "order_id": { "value": "7" } } } })
            } else {
                json!({ "invocationType": "FINISH", "agentFinalResponse": { "responseText": "There." } })
            };
            json!({ "messageVersion": "1.0", "promptType": kind,
                    "orchestrationParsedResponse": { "responseDetails": details } })
        }
    })
    .await;
    // Once the model says its call as text, once it makes two calls of which the parser takes one.
    let model = Scripted::deciding(|request| {
        let name = tool(request, "get_order");
        match results(request).len() {
            0 if asked(request) == "as text" => text("CALL get_order 7"),
            0 => calls("CALL", &[(&name, json!({ "order_id": "1" })), (&name, json!({ "order_id": "2" }))]),
            _ => text("done"),
        }
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    for (session, question) in [("parsed-1", "as text"), ("parsed-2", "as calls")] {
        let mut body = inline(question, json!([group(json!({ "lambda": FUNCTION }))]));
        body["promptOverrideConfiguration"] = json!({ "overrideLambda": FUNCTION, "promptConfigurations": [
            { "promptType": "ORCHESTRATION", "promptState": "ENABLED", "parserMode": "OVERRIDDEN" }] });
        let answer = ask(&client, session, &body).await;
        assert_eq!(said(&answer), "There.", "{}", answer.snapshot());
        let (made, given) = ids(&server.model.requests().pop().unwrap());
        assert_eq!((made.len(), &made), (1, &given), "{question}");
    }
    let called = events.lock().iter().filter(|event| event["promptType"].is_null()).count();
    assert_eq!(called, 2);
}

fn pair() -> Value {
    let mut body = inline("Where are orders 1 and 2?", json!([]));
    let clerk = |name: &str| {
        json!({ "agentName": name, "foundationModel": MODEL,
                "instruction": format!("You are the clerk {name} who looks orders up in the books."),
                "actionGroups": [group(json!({ "customControl": "RETURN_CONTROL" }))] })
    };
    let role = |name: &str| json!({ "collaboratorName": name, "collaboratorInstruction": "for orders" });
    body["agentCollaboration"] = "SUPERVISOR".into();
    body["collaborators"] = json!([clerk("ada"), clerk("bob")]);
    body["collaboratorConfigurations"] = json!([role("ada"), role("bob")]);
    body
}

/// The lead sends `messages`, clerks look one order up each, and the lead says what it was told.
fn lead(messages: &'static [(&'static str, &'static str)]) -> Scripted {
    Scripted::deciding(move |request| {
        let clerk = system(request).contains("You are the clerk");
        let given = results(request);
        if clerk && given.is_empty() {
            return calls("", &[(&tool(request, "get_order"), json!({ "order_id": asked(request) }))]);
        }
        if given.is_empty() {
            let message = |(to, what): &(&str, &str)| {
                ("AgentCommunication__sendMessage", json!({ "recipient": to, "content": what }))
            };
            return calls("", &messages.iter().map(message).collect::<Vec<_>>());
        }
        text(&given.iter().map(|result| result_text(result)).collect::<Vec<_>>().join(" | "))
    })
}

#[tokio::test]
async fn two_collaborators_that_wait_get_each_their_own_results() {
    let server = TestServer::with(lead(&[("ada", "1"), ("bob", "2")]), |_| {}).await;
    let client = server.client();
    let mut body = pair();
    let (event, returned) = last(&ask(&client, "pair-1", &body).await);
    assert_eq!(event, "returnControl");
    let inputs = returned["invocationInputs"].as_array().unwrap();
    let agents: Vec<&Value> = inputs.iter().map(|it| &it["functionInvocationInput"]["agentId"]).collect();
    assert_eq!(agents.len(), 2, "{returned}");
    assert_ne!(agents[0], agents[1]);
    // The second one's result comes first.
    bring(&mut body, &returned, &json!([result(agents[1], "for bob"), result(agents[0], "for ada")]));
    let answer = ask(&client, "pair-1", &body).await;
    assert_eq!(said(&answer), "for ada | for bob", "{}", answer.snapshot());
}

/// One collaborator asks for more, the other fails: what the first was told is not told it again.
#[tokio::test]
async fn a_collaborator_that_waits_again_keeps_its_place_when_another_fails() {
    let failed = Arc::new(AtomicUsize::new(0));
    let model = Scripted::deciding(move |request| {
        let given = results(request);
        let name = |text: &str| system(request).contains(text);
        let order = |id: &str| calls("", &[(&tool(request, "get_order"), json!({ "order_id": id }))]);
        let said = || text(&given.iter().map(|it| result_text(it)).collect::<Vec<_>>().join(" | "));
        if name("the clerk ada") {
            return match given.first().map(|it| result_text(it)) {
                None => order("1"),
                Some("first") => order("2"),
                Some(_) => said(),
            };
        }
        if name("the clerk bob") {
            return match given.len() {
                0 => order("3"),
                _ if failed.fetch_add(1, Ordering::SeqCst) == 0 => {
                    vec![Step::Fail(BackendError::UpstreamDenied("no".into()))]
                }
                _ => said(),
            };
        }
        if given.is_empty() {
            let to = |name: &str| json!({ "recipient": name, "content": "look" });
            let send = "AgentCommunication__sendMessage";
            return calls("", &[(send, to("ada")), (send, to("bob"))]);
        }
        said()
    });
    let server = TestServer::with(model, |_| {}).await;
    let client = server.client();
    let mut body = pair();
    let (_, returned) = last(&ask(&client, "again-1", &body).await);
    let agent = |at: usize| returned["invocationInputs"][at]["functionInvocationInput"]["agentId"].clone();
    bring(&mut body, &returned, &json!([result(&agent(0), "first"), result(&agent(1), "third")]));
    let broke = ask(&client, "again-1", &body).await;
    // Bob's failure may be told the supervisor's model, or end the turn: then the same results are sent again.
    let (event, next) = match last(&broke) {
        (event, _) if event.ends_with("Exception") => last(&ask(&client, "again-1", &body).await),
        other => other,
    };
    assert_eq!(event, "returnControl", "{next}");
    let inputs = next["invocationInputs"].as_array().unwrap();
    assert_eq!(inputs.len(), 1, "{next}");
    let input = &inputs[0]["functionInvocationInput"];
    assert_eq!(input["parameters"][0]["value"], "2", "{next}");
    assert_eq!((&input["agentId"], &input["collaboratorName"]), (&agent(0), &json!("ada")));
    bring(&mut body, &next, &json!([result(&agent(0), "second")]));
    let answer = ask(&client, "again-1", &body).await;
    assert_eq!(said(&answer), "third | second", "{}", answer.snapshot());
}

#[tokio::test]
async fn a_second_message_to_a_collaborator_that_waits_is_not_delivered() {
    let server = TestServer::with(lead(&[("ada", "1"), ("ada", "2")]), |_| {}).await;
    let client = server.client();
    let mut body = pair();
    let answer = ask(&client, "pair-2", &body).await;
    let (event, returned) = last(&answer);
    assert_eq!(event, "returnControl", "{}", answer.snapshot());
    let inputs = returned["invocationInputs"].as_array().unwrap();
    assert_eq!(inputs.len(), 1, "{returned}");
    bring(&mut body, &returned, &json!([result(&inputs[0]["functionInvocationInput"]["agentId"], "found")]));
    let answer = ask(&client, "pair-2", &body).await;
    assert!(
        said(&answer).contains("found") && said(&answer).contains("was not delivered"),
        "{}",
        said(&answer)
    );
}

#[tokio::test]
async fn calls_of_one_answer_keep_each_others_attributes() {
    let (mapped, events) = function(|event| {
        let mut reply = replied(event, &json!("ok"));
        let mut attributes = event["sessionAttributes"].clone();
        let order = event["parameters"][0]["value"].as_str().unwrap_or_default().to_owned();
        attributes[format!("seen-{order}")] = "yes".into();
        reply["sessionAttributes"] = attributes;
        reply
    })
    .await;
    let model = Scripted::deciding(|request| {
        let name = tool(request, "get_order");
        match results(request).len() {
            given if given > 0 => text("done"),
            _ if asked(request) == "both" => {
                calls("", &[(&name, json!({ "order_id": "1" })), (&name, json!({ "order_id": "2" }))])
            }
            _ => calls("", &[(&name, json!({ "order_id": "3", "nobody": "asked for this" }))]),
        }
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let groups = json!([group(json!({ "lambda": FUNCTION }))]);
    let mut body = inline("both", groups.clone());
    body["inlineSessionState"] = json!({ "sessionAttributes": { "tier": "gold" } });
    assert_eq!(said(&ask(&client, "attributes-1", &body).await), "done");
    assert_eq!(said(&ask(&client, "attributes-1", &inline("one", groups)).await), "done");
    let third = events.lock()[2].clone();
    assert_eq!(third["sessionAttributes"], json!({ "tier": "gold", "seen-1": "yes", "seen-2": "yes" }));
    let names: Vec<&Value> = third["parameters"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, [&json!("order_id")], "only what the function takes");
}

#[tokio::test]
async fn a_question_among_other_calls_is_asked_after_their_results() {
    let (mapped, events) = function(|event| replied(event, &json!("ok"))).await;
    let model = Scripted::deciding(|request| match results(request).len() {
        0 => calls(
            "",
            &[
                (&tool(request, "get_order"), json!({ "order_id": "1" })),
                ("user__askuser", json!({ "question": "Which?" })),
            ],
        ),
        2 => calls("", &[("user__askuser", json!({ "question": "Which one then?" }))]),
        _ => text("never"),
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let ask_user = json!({ "actionGroupName": "user", "parentActionGroupSignature": "AMAZON.UserInput" });
    let body = inline("Hm", json!([group(json!({ "lambda": FUNCTION })), ask_user]));
    let answer = ask(&server.client(), "asks-1", &body).await;
    assert_eq!(said(&answer), "Which one then?", "{}", answer.snapshot());
    assert_eq!(events.lock().len(), 1);
}

#[tokio::test]
async fn every_call_of_a_model_counts() {
    let server = TestServer::with(
        Scripted::deciding(|request| match system(request).contains("category") {
            true => text("<category>D</category>"),
            false => text("Hello."),
        }),
        |config| config.agents.max_steps = 1,
    )
    .await;
    let client = server.client();
    let mut body = inline("Hi", json!([]));
    assert_eq!(said(&ask(&client, "counted-1", &body).await), "Hello.");
    body["promptOverrideConfiguration"] =
        json!({ "promptConfigurations": [{ "promptType": "PRE_PROCESSING", "promptState": "ENABLED" }] });
    assert_eq!(last(&ask(&client, "counted-2", &body).await).0, "dependencyFailedException");
}

/// Documents of a question are there again after control was returned.
#[tokio::test]
async fn documents_come_back_with_control() {
    let model = Scripted::deciding(|request| match results(request).first() {
        None => calls("", &[(&tool(request, "get_order"), json!({ "order_id": "7" }))]),
        Some(_) => {
            text(if format!("{:?}", request.messages).contains("a,b") { "it is there" } else { "lost" })
        }
    });
    let server = TestServer::with(model, |_| {}).await;
    let client = server.client();
    let groups = json!([group(json!({ "customControl": "RETURN_CONTROL" }))]);
    let mut body = inline("Read this", groups.clone());
    body["inlineSessionState"] = json!({ "files": [{ "name": "in", "useCase": "CHAT",
        "source": { "sourceType": "BYTE_CONTENT", "byteContent": { "mediaType": "text/plain", "data": "YSxi" } } }] });
    let (_, returned) = last(&ask(&client, "documents-1", &body).await);
    let mut body = inline("", groups);
    let mut brought = result(&Value::Null, "ok");
    brought["functionResult"].as_object_mut().unwrap().remove("agentId");
    bring(&mut body, &returned, &json!([brought]));
    let answer: Answer = ask(&client, "documents-1", &body).await;
    assert_eq!(said(&answer), "it is there", "{}", answer.snapshot());
}

/// A caller who goes away takes along what the turn waits for, however deep: a function's call, and a collaborator's
/// model with both sessions.
#[tokio::test]
async fn a_caller_that_goes_away_frees_functions_and_collaborators() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (began, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&began), Arc::clone(&ended));
    // A function that never answers, and sees when nobody waits for it.
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (began, ended) = (Arc::clone(&counted.0), Arc::clone(&counted.1));
            tokio::spawn(async move {
                began.fetch_add(1, Ordering::SeqCst);
                let mut all = Vec::new();
                let _ = socket.read_to_end(&mut all).await;
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    let mapped = MappedFunction { name: "orders".into(), url: Some(url), ..MappedFunction::default() };
    let model = Scripted::deciding(|request| {
        let clerk = system(request).contains("You are the clerk");
        match (clerk, request.tools.iter().any(|tool| tool.name.contains("get_order"))) {
            (true, _) => vec![Step::Hang],
            (false, true) => calls("", &[(&tool(request, "get_order"), json!({ "order_id": "7" }))]),
            (false, false) => calls(
                "",
                &[("AgentCommunication__sendMessage", json!({ "recipient": "ada", "content": "1" }))],
            ),
        }
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let wait = async |what: &str, done: &dyn Fn() -> bool| {
        for _ in 0..500 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    };
    let body = inline("Where is it?", json!([group(json!({ "lambda": FUNCTION }))]));
    let mut open = client.open(Method::POST, "/agents/gone-1", body.to_string()).await;
    while began.load(Ordering::SeqCst) == 0 {
        let _ = tokio::time::timeout(Duration::from_millis(20), open.frame()).await;
    }
    assert_eq!(ended.load(Ordering::SeqCst), 0);
    drop(open);
    wait("the function is let go", &|| ended.load(Ordering::SeqCst) == 1).await;

    let mut open = client.open(Method::POST, "/agents/gone-2", pair().to_string()).await;
    while server.model.requests().len() < 3 {
        let _ = tokio::time::timeout(Duration::from_millis(20), open.frame()).await;
    }
    drop(open);
    wait("the clerk's model is let go", &|| server.model.cancelled() == 1).await;
    // Both sessions are free: the same turn comes as far again at once.
    let mut open = client.open(Method::POST, "/agents/gone-2", pair().to_string()).await;
    let begun = std::time::Instant::now();
    while server.model.requests().len() < 5 {
        assert!(begun.elapsed() < Duration::from_secs(5), "a session is still held");
        let _ = tokio::time::timeout(Duration::from_millis(20), open.frame()).await;
    }
}
