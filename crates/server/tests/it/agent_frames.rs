//! What stands around an agent's steps: guardrail, its own prompts and parser, collaborators, memory, code.

use craton_backend::{Block, ChatRequest, Role};
use craton_store::{Range, Scope, Store};
use craton_testkit::{Scripted, TestServer, calls, text};
use http::Method;
use serde_json::{Value, json};

use crate::agent_runs::{
    FUNCTION, MODEL, ask, asked, function, group, inline, kind, last, payload, result_text, results, said,
    tool, traces,
};

pub(crate) fn system(request: &ChatRequest) -> String {
    match &request.system[..] {
        [Block::Text(text)] => text.clone(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn guardrail(server: &TestServer) -> Value {
    let body = json!({
        "name": "words", "blockedInputMessaging": "Not that.", "blockedOutputsMessaging": "I won't say.",
        "wordPolicyConfig": { "wordsConfig": [{ "text": "xylophone" }] },
    });
    let made = server.client().post("/guardrails", &body).await;
    assert_eq!(made.status, 202, "{}", made.snapshot());
    json!({ "guardrailIdentifier": made.json()["guardrailId"], "guardrailVersion": "DRAFT" })
}

#[tokio::test]
async fn a_guardrail_stands_on_both_sides() {
    let server = TestServer::with(Scripted::saying("Buy a xylophone today."), |_| {}).await;
    let guardrail = guardrail(&server).await;
    let client = server.client();
    let mut body = inline("I want a xylophone", json!([]));
    body["guardrailConfiguration"] = guardrail;
    let answer = ask(&client, "guarded-1", &body).await;
    assert_eq!(said(&answer), "Not that.");
    assert_eq!(server.model.requests().len(), 0, "the model never sees it");
    let told = &traces(&answer, "guardrailTrace")[0];
    assert_eq!(told["action"], "INTERVENED");
    assert!(told["traceId"].as_str().unwrap().ends_with("-guardrail-pre-0"));
    assert_eq!(told["inputAssessments"][0]["wordPolicy"]["customWords"][0]["match"], "xylophone");

    body["inputText"] = "What shall I buy?".into();
    let answer = ask(&client, "guarded-2", &body).await;
    assert_eq!(said(&answer), "I won't say.");
    let told = traces(&answer, "guardrailTrace");
    assert_eq!((&told[0]["action"], &told[1]["action"]), (&json!("NONE"), &json!("INTERVENED")));

    body["streamingConfigurations"] = json!({ "streamFinalResponse": true });
    let answer = ask(&client, "guarded-3", &body).await;
    assert_eq!(said(&answer), "I won't say.");
}

#[tokio::test]
async fn an_owners_prompts_and_parser_are_used() {
    let model = Scripted::deciding(|request| {
        let system = system(request);
        if system.starts_with("PRE") {
            return text("<category>D</category>");
        }
        if system.starts_with("POST") {
            let Block::Text(asked) = &request.messages[0].content[0] else { panic!() };
            return text(&format!("<final_response>{asked}</final_response>"));
        }
        assert!(system.starts_with("Own: You help the customers"), "{system}");
        text("FINISH seven")
    });
    let (mapped, events) = function(|event| {
        json!({ "messageVersion": "1.0", "promptType": event["promptType"], "orchestrationParsedResponse": {
            "rationale": "Because.", "responseDetails": { "invocationType": "FINISH",
                "agentFinalResponse": { "responseText": "parsed" } } } })
    })
    .await;
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let template = |system: &str, question: &str| {
        format!(
            "{{\"anthropic_version\": \"bedrock-2023-05-31\", \"system\": \"{system}\n\", \"messages\": [{{\"role\": \
             \"user\", \"content\": \"{question}\"}}]}}"
        )
    };
    let step = |kind: &str, system: &str, question: &str, parser: &str| {
        json!({ "promptType": kind, "promptState": "ENABLED", "promptCreationMode": "OVERRIDDEN", "parserMode": parser,
                "basePromptTemplate": template(system, question),
                "inferenceConfiguration": { "temperature": 0.5, "maximumLength": 99 } })
    };
    let mut body = inline("How many?", json!([]));
    body["promptOverrideConfiguration"] = json!({ "overrideLambda": FUNCTION, "promptConfigurations": [
        step("PRE_PROCESSING", "PRE", "$question$", "DEFAULT"),
        step("ORCHESTRATION", "Own: $instruction$", "$question$", "OVERRIDDEN"),
        step("POST_PROCESSING", "POST", "$question$ $latest_response$", "DEFAULT"),
    ] });
    let answer = ask(&server.client(), "own-1", &body).await;
    assert_eq!(said(&answer), "How many? parsed", "{}", answer.snapshot());
    let event = events.lock()[0].clone();
    assert_eq!(
        (&event["promptType"], &event["overrideType"]),
        (&json!("ORCHESTRATION"), &json!("OUTPUT_PARSER"))
    );
    let raw: Value = serde_json::from_str(event["invokeModelRawResponse"].as_str().unwrap()).unwrap();
    assert_eq!(raw["content"][0]["text"], "FINISH seven");
    let pre = traces(&answer, "preProcessingTrace");
    assert_eq!(pre[0]["modelInvocationInput"]["promptCreationMode"], "OVERRIDDEN");
    assert_eq!(pre[1]["modelInvocationOutput"]["parsedResponse"]["isValid"], true);
    let post = traces(&answer, "postProcessingTrace");
    assert_eq!(post[1]["modelInvocationOutput"]["parsedResponse"]["text"], "How many? parsed");
    let steps = traces(&answer, "orchestrationTrace");
    assert_eq!(steps[0]["modelInvocationInput"]["inferenceConfiguration"]["maximumLength"], 99);
    assert_eq!(steps[2]["rationale"]["text"], "Because.");
}

#[tokio::test]
async fn pre_processing_keeps_messages_away() {
    let server =
        TestServer::with(Scripted::saying("<thinking>Bad.</thinking><category>A</category>"), |_| {}).await;
    let mut body = inline("Do harm", json!([]));
    body["promptOverrideConfiguration"] =
        json!({ "promptConfigurations": [{ "promptType": "PRE_PROCESSING", "promptState": "ENABLED" }] });
    let answer = ask(&server.client(), "own-2", &body).await;
    assert_eq!(said(&answer), "Sorry, I can't help with that.");
    let pre = traces(&answer, "preProcessingTrace");
    assert_eq!(
        pre[1]["modelInvocationOutput"]["parsedResponse"],
        json!({ "isValid": false, "rationale": "Bad." })
    );
    assert_eq!(server.model.requests().len(), 1);
}

fn team(collaboration: &str) -> Value {
    let mut body = inline("Where is order 7?", json!([]));
    body["agentCollaboration"] = collaboration.into();
    body["collaborators"] = json!([{ "agentName": "orders", "foundationModel": MODEL,
        "instruction": "You are the clerk who looks orders up in the books.",
        "actionGroups": [group(json!({ "customControl": "RETURN_CONTROL" }))] }]);
    body["collaboratorConfigurations"] = json!([{ "collaboratorName": "orders",
        "collaboratorInstruction": "for everything about orders", "relayConversationHistory": "TO_COLLABORATOR" }]);
    body
}

fn team_model() -> Scripted {
    Scripted::deciding(|request| {
        if system(request).contains("decide which agent") {
            return text("<agent>orders</agent>");
        }
        let clerk = system(request).contains("You are the clerk");
        match (clerk, results(request).first()) {
            (false, None) => {
                let input = json!({ "recipient": "orders", "content": "Find order 7" });
                calls("I ask the clerk.", &[("AgentCommunication__sendMessage", input)])
            }
            (true, None) => calls("", &[(&tool(request, "get_order"), json!({ "order_id": "7" }))]),
            (_, Some(result)) => {
                text(&format!("{} {}", if clerk { "Clerk:" } else { "Lead:" }, result_text(result)))
            }
        }
    })
}

#[tokio::test]
async fn a_supervisor_hands_work_down_and_its_collaborators_actions_up() {
    let server = TestServer::with(team_model(), |_| {}).await;
    let client = server.client();
    let answer = ask(&client, "team-1", &team("SUPERVISOR")).await;
    let (event, returned) = last(&answer);
    assert_eq!(event, "returnControl", "{}", answer.snapshot());
    let input = &returned["invocationInputs"][0]["functionInvocationInput"];
    assert_eq!((&input["collaboratorName"], &input["function"]), (&json!("orders"), &json!("get_order")));
    // The clerk was told what its supervisor was asked.
    let clerk =
        server.model.requests().into_iter().find(|request| system(request).contains("the clerk")).unwrap();
    assert_eq!(clerk.messages[0].role, Role::User);
    assert!(format!("{:?}", clerk.messages).contains("Where is order 7?"));

    let mut body = team("SUPERVISOR");
    body["inputText"] = "".into();
    let result = json!({ "functionResult": { "actionGroup": "orders", "function": "get_order",
                         "responseBody": { "TEXT": { "body": "shipped" } } } });
    body["inlineSessionState"] =
        json!({ "invocationId": returned["invocationId"], "returnControlInvocationResults": [result] });
    let answer = ask(&client, "team-1", &body).await;
    assert_eq!(said(&answer), "Lead: Clerk: shipped", "{}", answer.snapshot());
    let frames = answer.frames();
    let below: Vec<Value> = frames
        .iter()
        .filter(|frame| kind(frame) == "trace")
        .map(payload)
        .filter(|part| part["collaboratorName"] == "orders")
        .collect();
    assert!(!below.is_empty());
    assert!(
        below[0]["callerChain"][0]["agentAliasArn"].as_str().unwrap().contains(":agent-alias/INLINE_AGENT/")
    );
}

#[tokio::test]
async fn a_router_hands_the_question_on() {
    let server = TestServer::with(team_model(), |_| {}).await;
    let answer = ask(&server.client(), "team-2", &team("SUPERVISOR_ROUTER")).await;
    assert_eq!(last(&answer).0, "returnControl", "{}", answer.snapshot());
    let routed = traces(&answer, "routingClassifierTrace");
    assert_eq!(routed[0]["modelInvocationInput"]["type"], "ROUTING_CLASSIFIER");
    let input = &routed[2]["invocationInput"]["agentCollaboratorInvocationInput"];
    assert_eq!(input["agentCollaboratorName"], "orders");
    assert_eq!(server.model.requests().len(), 2, "the supervisor itself is not asked");
}

#[tokio::test]
async fn the_user_is_asked_and_confirms() {
    let (mapped, events) = function(|event| {
        json!({ "response": { "actionGroup": event["actionGroup"], "functionResponse": {
            "responseBody": { "TEXT": { "body": "done" } } } } })
    })
    .await;
    let model = Scripted::deciding(|request| match results(request).first() {
        Some(result) => text(result_text(result)),
        None if asked(request) == "Order something" => {
            calls("", &[("user__askuser", json!({ "question": "What?" }))])
        }
        None => calls("", &[(&tool(request, "get_order"), json!({ "order_id": "7" }))]),
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let mut careful = group(json!({ "lambda": FUNCTION }));
    careful["functionSchema"]["functions"][0]["requireConfirmation"] = "ENABLED".into();
    let groups =
        json!([careful, { "actionGroupName": "user", "parentActionGroupSignature": "AMAZON.UserInput" }]);
    let answer = ask(&client, "user-1", &inline("Order something", groups.clone())).await;
    assert_eq!(said(&answer), "What?");
    assert_eq!(traces(&answer, "orchestrationTrace")[2]["observation"]["type"], "ASK_USER");

    for (state, expected, called) in [
        ("DENY", "The user did not agree to this action. It was not carried out.", 0),
        ("CONFIRM", "done", 1),
    ] {
        let answer = ask(&client, "user-1", &inline("Number 7", groups.clone())).await;
        let (_, returned) = last(&answer);
        let input = &returned["invocationInputs"][0]["functionInvocationInput"];
        assert_eq!(input["actionInvocationType"], "USER_CONFIRMATION", "{}", answer.snapshot());
        let mut body = inline("", groups.clone());
        let result = json!({ "functionResult": { "actionGroup": "orders", "function": "get_order",
            "confirmationState": state, "responseBody": { "TEXT": { "body": "" } } } });
        body["inlineSessionState"] =
            json!({ "invocationId": returned["invocationId"], "returnControlInvocationResults": [result] });
        let answer = ask(&client, "user-1", &body).await;
        assert_eq!(
            (said(&answer).as_str(), events.lock().len()),
            (expected, called),
            "{}",
            answer.snapshot()
        );
    }
}

#[tokio::test]
async fn code_runs_and_its_files_come_back() {
    let code = "import csv\nrows = list(csv.reader(open('in.csv')))\nopen('out.txt', 'w').write(str(len(rows)))\nprint('rows', len(rows))";
    let model = Scripted::deciding(move |request| match results(request).first() {
        None => calls("", &[("get__codeinterpreteraction__execute", json!({ "code": code }))]),
        Some(result) => text(result_text(result)),
    });
    let server = TestServer::with(model, |_| {}).await;
    let groups =
        json!([{ "actionGroupName": "code", "parentActionGroupSignature": "AMAZON.CodeInterpreter" }]);
    let mut body = inline("Count the rows", groups);
    // a,b / 1,2 / 3,4
    body["inlineSessionState"] = json!({ "files": [{ "name": "in.csv", "useCase": "CODE_INTERPRETER",
        "source": { "sourceType": "BYTE_CONTENT", "byteContent": { "mediaType": "text/csv", "data": "YSxiCjEsMgozLDQK" } } }] });
    let answer = ask(&server.client(), "code-1", &body).await;
    assert!(said(&answer).starts_with("rows 3"), "{}", answer.snapshot());
    let (event, files) = last(&answer);
    assert_eq!(event, "files");
    assert_eq!(files["files"], json!([{ "bytes": "Mw==", "name": "out.txt", "type": "text/plain" }]));
    let steps = traces(&answer, "orchestrationTrace");
    assert_eq!(steps[2]["invocationInput"]["invocationType"], "ACTION_GROUP_CODE_INTERPRETER");
    assert_eq!(
        steps[3]["observation"]["codeInterpreterInvocationOutput"]["executionOutput"],
        "rows 3\n",
        "{}",
        answer.snapshot()
    );
}

/// A session that nobody ends is summed up all the same, when its idle time has passed.
#[tokio::test]
async fn a_session_that_is_left_alone_is_remembered() {
    let model = Scripted::deciding(|request| match system(request).contains("should remember") {
        true => text("<summary>The user likes tea.</summary>"),
        false => text("Noted."),
    });
    let server = TestServer::with(model, |_| {}).await;
    let client = server.client();
    let body = json!({ "agentName": "host", "foundationModel": MODEL, "idleSessionTTLInSeconds": 60,
        "instruction": "You remember what your guests like to drink.",
        "agentResourceRoleArn": "arn:aws:iam::123456789012:role/A",
        "memoryConfiguration": { "enabledMemoryTypes": ["SESSION_SUMMARY"], "storageDays": 3 } });
    let made = client.json(Method::PUT, "/agents/", &body).await;
    let id = made.json()["agent"]["agentId"].as_str().unwrap().to_owned();
    client.post(&format!("/agents/{id}/"), &json!({})).await;
    let path = format!("/agents/{id}/agentAliases/TSTALIASID/sessions/left/text");
    for question in ["I like tea", "Green tea"] {
        let body = json!({ "inputText": question, "memoryId": "guest" });
        assert_eq!(said(&client.json(Method::POST, &path, &body).await), "Noted.");
    }
    let list =
        format!("/agents/{id}/agentAliases/TSTALIASID/memories?memoryId=guest&memoryType=SESSION_SUMMARY");
    assert_eq!(client.get(&list).await.json()["memoryContents"], json!([]));
    server.clock.advance_ms(61_000);
    let kept = crate::agent_requests::remembered(&client, (server.folder(), &list)).await;
    assert_eq!(kept.as_array().map(Vec::len), Some(1), "once, of the two turns' one session: {kept}");
    assert_eq!(kept[0]["sessionSummary"]["summaryText"], "The user likes tea.");

    // What is left of a user goes with the agent.
    let body = json!({ "inputText": "Hello", "memoryId": "other" });
    client.json(Method::POST, &path.replace("/left/", "/new/"), &body).await;
    let store = Store::open(&server.folder().join("data")).await.expect("the records");
    let rows = || async {
        let mut rows = 0;
        for kind in ["agent-memory", "agent-session"] {
            let scope = Scope::new(kind, "123456789012", "us-east-1");
            rows += store.list(&scope, &Range::default()).await.expect("a list").len();
        }
        rows
    };
    assert_eq!(rows().await, 2, "the summary, and the new session");
    let deleted = client.json(Method::DELETE, &format!("/agents/{id}/"), &json!({})).await;
    assert_eq!(deleted.status, 202, "{}", deleted.snapshot());
    assert_eq!(rows().await, 0);
}

#[tokio::test]
async fn memory_outlives_its_session() {
    let model = Scripted::deciding(|request| {
        if system(request).contains("should remember") {
            return text("<summary>The user likes tea.</summary>");
        }
        text(if system(request).contains("The user likes tea.") { "Tea?" } else { "Noted." })
    });
    let server = TestServer::with(model, |_| {}).await;
    let client = server.client();
    let body = json!({ "agentName": "host", "foundationModel": MODEL, "instruction": "You remember what your guests like to drink.",
        "agentResourceRoleArn": "arn:aws:iam::123456789012:role/A",
        "memoryConfiguration": { "enabledMemoryTypes": ["SESSION_SUMMARY"], "storageDays": 3 } });
    let made = client.json(Method::PUT, "/agents/", &body).await;
    let id = made.json()["agent"]["agentId"].as_str().unwrap().to_owned();
    let prepared = client.post(&format!("/agents/{id}/"), &json!({})).await;
    assert_eq!(prepared.status, 202, "{}", prepared.snapshot());
    let say = |session: &'static str, body: Value| {
        let (client, id) = (client.clone(), id.clone());
        async move {
            let path = format!("/agents/{id}/agentAliases/TSTALIASID/sessions/{session}/text");
            said(&client.json(Method::POST, &path, &body).await)
        }
    };
    assert_eq!(say("first", json!({ "inputText": "I like tea", "memoryId": "guest" })).await, "Noted.");
    assert!(say("first", json!({ "endSession": true, "memoryId": "guest" })).await.contains("endSession"));
    assert_eq!(say("second", json!({ "inputText": "Hello", "memoryId": "guest" })).await, "Tea?");
    assert_eq!(say("third", json!({ "inputText": "Hello", "memoryId": "other" })).await, "Noted.");

    let path = format!("/agents/{id}/agentAliases/TSTALIASID/memories");
    let list = format!("{path}?memoryId=guest&memoryType=SESSION_SUMMARY");
    let kept = client.get(&list).await.json();
    let summary = &kept["memoryContents"][0]["sessionSummary"];
    assert_eq!(
        (&summary["summaryText"], &summary["sessionId"]),
        (&json!("The user likes tea."), &json!("first"))
    );
    server.clock.advance_ms(4 * 24 * 3600 * 1000);
    let left = client.get(&list).await.json();
    assert!(!left.to_string().contains("\"first\""), "it is kept for three days: {left}");
    let gone = client.json(Method::DELETE, &format!("{path}?memoryId=guest"), &json!({})).await;
    assert_eq!(gone.status, 202, "{}", gone.snapshot());
}
