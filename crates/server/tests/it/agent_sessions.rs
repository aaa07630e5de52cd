//! What sessions hold and whose it is: files, results that come back, teams of agents.

use craton_testkit::{Answer, Client, Scripted, TestServer, calls, text};
use http::Method;
use serde_json::{Value, json};

use crate::agent_requests::{interpreter, stored, turn};
use crate::agent_runs::{
    FUNCTION, ask, asked, function, group, inline, kind, last, payload, replied, result_text, results, said,
    tool,
};

/// Runs what it is asked as code, and says what came of it.
fn runs_code() -> Scripted {
    Scripted::deciding(|request| match results(request).last() {
        Some(result) => text(result_text(result)),
        None => calls("", &[("get__codeinterpreteraction__execute", json!({ "code": asked(request) }))]),
    })
}

/// How many messages with results there are.
fn given(request: &craton_backend::ChatRequest) -> usize {
    let result = |block: &craton_backend::Block| matches!(block, craton_backend::Block::ToolResult(_));
    request.messages.iter().filter(|message| message.content.iter().any(result)).count()
}

async fn run(client: &Client, session: &str, code: &str) -> Answer {
    ask(client, session, &inline(code, json!([interpreter()]))).await
}

/// A folder that became a file, and files that code removed, leave the session as they left the folder.
#[tokio::test]
async fn what_code_does_with_its_files_holds_for_the_next() {
    let server = TestServer::with(runs_code(), |_| {}).await;
    let client = server.client();
    let list = "import os\nprint(sorted(os.listdir('.')))";
    run(
        &client,
        "box",
        "import os\nos.makedirs('x')\nopen('x/y', 'w').write('1')\nopen('gone', 'w').write('1')",
    )
    .await;
    let seen = said(&run(&client, "box", list).await);
    assert!(seen.starts_with("['gone', 'x']"), "{seen}");
    let swapped = "import os, shutil\nshutil.rmtree('x')\nopen('x', 'w').write('2')\nos.remove('gone')";
    run(&client, "box", swapped).await;
    let seen = said(&run(&client, "box", &format!("{list}\nprint(open('x').read())")).await);
    assert!(seen.starts_with("['x']\n2"), "{seen}");
}

#[tokio::test]
async fn files_that_are_too_large_are_told_of_and_none_tears_the_stream() {
    let server = TestServer::with(runs_code(), |_| {}).await;
    let client = server.client();
    let seen = said(&run(&client, "box", "open('big', 'w').write('x' * 20_000_000)").await);
    assert!(seen.contains("are lost: big"), "{seen}");
    let code = "for n in 'ab':\n    open(n, 'wb').write(b'x' * 7_500_000)";
    let answer = run(&client, "box", code).await;
    let seen = said(&answer);
    assert!(seen.contains("the user gets: a, b") && seen.contains("for later code: a"), "{seen}");
    let code = "for n in 'cd':\n    open(n, 'wb').write(b'x' * 8_500_000)";
    let twice = Scripted::deciding(move |request| match given(request) {
        0 => {
            calls("", &[("get__codeinterpreteraction__execute", json!({ "code": code.replace("cd", "c") }))])
        }
        1 => {
            calls("", &[("get__codeinterpreteraction__execute", json!({ "code": code.replace("cd", "d") }))])
        }
        _ => text("done"),
    });
    let server = TestServer::with(twice, |_| {}).await;
    let answer = run(&server.client(), "box", "go").await;
    assert_eq!(said(&answer), "done");
    let frames = answer.frames();
    let files: Vec<Value> = frames
        .iter()
        .filter(|frame| kind(frame) == "files")
        .map(|frame| payload(frame)["files"].clone())
        .collect();
    let names: Vec<&Value> =
        files.iter().flat_map(|it| it.as_array().unwrap()).map(|it| &it["name"]).collect();
    assert_eq!((files.len(), names), (2, vec![&json!("c"), &json!("d")]), "an event each");
}

#[tokio::test]
async fn files_that_cannot_be_side_by_side_are_refused() {
    let server = TestServer::start().await;
    let file = |name: &str| {
        json!({ "name": name, "useCase": "CODE_INTERPRETER", "source": { "sourceType": "BYTE_CONTENT",
                "byteContent": { "mediaType": "text/csv", "data": "YSxi" } } })
    };
    for files in
        [json!([file("a"), file("a/b")]), json!([file(&"x".repeat(256))]), json!([file("a"), file("a")])]
    {
        let mut body = inline("Look", json!([interpreter()]));
        body["inlineSessionState"] = json!({ "files": files });
        let answer = ask(&server.client(), "box", &body).await;
        assert_eq!(answer.error(), (400, "ValidationException"), "{}", answer.snapshot());
    }
}

fn returning() -> Scripted {
    Scripted::deciding(|request| match results(request).as_slice() {
        [] => calls(
            "",
            &[
                (&tool(request, "get_order"), json!({ "order_id": "1" })),
                (&tool(request, "get_order"), json!({ "order_id": "2" })),
            ],
        ),
        given => text(&given.iter().map(|it| result_text(it)).collect::<Vec<_>>().join(" | ")),
    })
}

/// What was done must not be told to the model as not done: results and calls fit one to one, or nothing happens.
#[tokio::test]
async fn results_fit_the_calls_or_are_refused() {
    let server = TestServer::with(returning(), |_| {}).await;
    let client = server.client();
    let mut body = inline("Orders?", json!([group(json!({ "customControl": "RETURN_CONTROL" }))]));
    let (event, returned) = last(&ask(&client, "fit", &body).await);
    assert_eq!(event, "returnControl");
    let result = |function: &str, text: &str| {
        json!({ "functionResult": { "actionGroup": "orders", "function": function,
                "responseBody": { "TEXT": { "body": text } } } })
    };
    let other = json!({ "apiResult": { "actionGroup": "orders", "apiPath": "/order", "httpMethod": "GET" } });
    let good = [result("get_order", "first"), result("get_order", "second")];
    let large = result("get_order", &"x".repeat(2 << 20));
    let asked = server.model.requests().len();
    body["inputText"] = "".into();
    for (results, named) in [
        (json!([result("Get_Order", "done"), good[1]]), "orders/Get_Order"),
        (json!([good[0], other]), "orders/GET /order"),
        (json!([good[0]]), "no result of the action orders/get_order"),
        (json!([good[0], good[1], good[1]]), "orders/get_order"),
        (json!([good[0], large]), "bytes"),
    ] {
        body["inlineSessionState"] =
            json!({ "invocationId": returned["invocationId"], "returnControlInvocationResults": results });
        let refused = ask(&client, "fit", &body).await;
        assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());
        assert!(refused.snapshot().contains(named), "{}", refused.snapshot());
    }
    assert_eq!(server.model.requests().len(), asked, "nothing began");
    body["inlineSessionState"]["returnControlInvocationResults"] = json!(good);
    assert_eq!(said(&ask(&client, "fit", &body).await), "first | second");
}

/// What the caller has done stays done when the agent has changed meanwhile: a result needs no definition of its action.
#[tokio::test]
async fn results_outlive_the_definition_of_their_action() {
    let (mapped, events) = function(|event| replied(event, &json!("done"))).await;
    let server = TestServer::with(returning(), |config| config.functions.push(mapped)).await;
    let client = server.client();
    let result = |text: &str| {
        json!({ "functionResult": { "actionGroup": "orders", "function": "get_order", "confirmationState": "CONFIRM",
                "responseBody": { "TEXT": { "body": text } } } })
    };
    let brought = |returned: &Value| {
        json!({ "invocationId": returned["invocationId"],
                "returnControlInvocationResults": [result("refunded"), result("kept")] })
    };
    let returns = group(json!({ "customControl": "RETURN_CONTROL" }));
    let (_, returned) = last(&ask(&client, "bare", &inline("Orders?", json!([returns.clone()]))).await);
    let mut body = inline("", json!([]));
    body["inlineSessionState"] = brought(&returned);
    let answer = ask(&client, "bare", &body).await;
    assert_eq!(said(&answer), "refunded | kept", "{}", answer.snapshot());
    let request = server.model.requests().pop().unwrap();
    assert_eq!(request.tools.len(), 1, "models take no calls in a conversation without tools");

    // A stored agent whose group has another name since.
    let id = stored(&client, json!({}), std::slice::from_ref(&returns)).await;
    let (_, returned) = last(&turn(&client, (&id, "renamed"), &json!({ "inputText": "Orders?" })).await);
    let groups = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
    let listed = client.post(&groups, &json!({})).await.json();
    let own = listed["actionGroupSummaries"][0]["actionGroupId"].as_str().unwrap().to_owned();
    let mut renamed = returns;
    renamed["actionGroupName"] = "purchases".into();
    let changed = client.json(Method::PUT, &format!("{groups}{own}/"), &renamed).await;
    assert_eq!(changed.status, 200, "{}", changed.snapshot());
    assert_eq!(prepared(&client, &id).await["agentStatus"], "PREPARED");
    let body = json!({ "sessionState": brought(&returned) });
    let answer = turn(&client, (&id, "renamed"), &body).await;
    assert_eq!(said(&answer), "refunded | kept", "{}", answer.snapshot());

    // A function that was only agreed to is another matter: it is not there to be called.
    let mut careful = group(json!({ "lambda": FUNCTION }));
    careful["functionSchema"]["functions"][0]["requireConfirmation"] = "ENABLED".into();
    let (_, returned) = last(&ask(&client, "agreed", &inline("Orders?", json!([careful]))).await);
    let mut body = inline("", json!([]));
    body["inlineSessionState"] = brought(&returned);
    let told = said(&ask(&client, "agreed", &body).await);
    assert!(told.contains("was not carried out") && events.lock().is_empty(), "{told}");
}

/// Attributes go into every event of a function's and stay for the session: what is too large for that is refused, and
/// what a function makes too large is left as it was.
#[tokio::test]
async fn attributes_are_bounded() {
    const MOST: usize = 128 * 1024;
    let (mapped, events) = function(|event| {
        let mut reply = replied(event, &json!("done"));
        reply["sessionAttributes"] = json!({ "kept": "k".repeat(MOST / 2), "large": "x".repeat(MOST / 2) });
        reply
    })
    .await;
    let model = Scripted::deciding(|request| match results(request).as_slice() {
        [] => calls("", &[(&tool(request, "get_order"), json!({ "order_id": "1" }))]),
        given => text(result_text(given[0])),
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let id = stored(&client, json!({}), &[group(json!({ "lambda": FUNCTION }))]).await;
    let state = |session: usize, prompt: usize| {
        json!({ "sessionAttributes": { "kept": "k".repeat(session) },
                "promptSessionAttributes": { "today": "m".repeat(prompt) } })
    };
    let mut body = inline("Orders?", json!([group(json!({ "lambda": FUNCTION }))]));
    for (session, prompt) in [(MOST, 0), (0, MOST), (MOST / 2, MOST / 2)] {
        body["inlineSessionState"] = state(session, prompt);
        let refused = ask(&client, "large", &body).await;
        assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.status);
        assert!(refused.snapshot().contains("131072 bytes"), "{}", refused.snapshot());
        let stored = json!({ "inputText": "Orders?", "sessionState": state(session, prompt) });
        let refused = turn(&client, (&id, "large"), &stored).await;
        assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.status);
    }
    assert!(server.model.requests().is_empty());
    body["inlineSessionState"] = state(MOST / 2, 0);
    body["enableTrace"] = false.into();
    let told = said(&ask(&client, "large", &body).await);
    assert!(told.starts_with("\"done\"") && told.contains("attributes"), "{told}");
    body.as_object_mut().unwrap().remove("inlineSessionState");
    ask(&client, "large", &body).await;
    let seen = events.lock().last().unwrap()["sessionAttributes"].clone();
    assert_eq!(seen, json!({ "kept": "k".repeat(MOST / 2) }), "as it was");
}

#[tokio::test]
async fn an_inline_agents_session_is_its_callers() {
    let heard = Scripted::deciding(|request| text(&format!("{:?}", request.messages)));
    let server = TestServer::with(heard, |_| {}).await;
    let root = server.client();
    let user = async |name: &str| {
        let user = crate::identity::user(&root, name).await;
        let policy = crate::identity::allow(&["bedrock:InvokeInlineAgent", "bedrock:InvokeModel*"], "*");
        let parameters = [("UserName", name), ("PolicyName", "inline"), ("PolicyDocument", policy.as_str())];
        crate::identity::iam(&root, "PutUserPolicy", &parameters).await;
        user
    };
    let (ada, bob) = (user("ada").await, user("bob").await);
    assert!(said(&ask(&ada, "same", &inline("my card 4111", json!([]))).await).contains("4111"));
    let other = said(&ask(&bob, "same", &inline("tell me", json!([]))).await);
    assert!(other.contains("tell me") && !other.contains("4111"), "{other}");
    assert!(said(&ask(&ada, "same", &inline("tell me", json!([]))).await).contains("4111"));
}

async fn collaborator(client: &Client, of: &str, (name, alias): (&str, &str)) -> Answer {
    let body = json!({ "collaboratorName": name, "collaborationInstruction": "for all",
        "agentDescriptor": { "aliasArn": alias } });
    let path = format!("/agents/{of}/agentversions/DRAFT/agentcollaborators/");
    client.json(Method::PUT, &path, &body).await
}

async fn prepared(client: &Client, id: &str) -> Value {
    client.post(&format!("/agents/{id}/"), &json!({})).await;
    client.get(&format!("/agents/{id}/")).await.json()["agent"].clone()
}

/// No agent hands work to itself by way of others; and a tree of agents is walked once, however often each is in it.
#[tokio::test]
async fn agents_in_a_circle_are_not_prepared() {
    let server = TestServer::with(Scripted::saying("Hello."), |_| {}).await;
    let client = server.client();
    let plain = stored(&client, json!({ "agentName": "plain" }), &[]).await;
    let alias = |id: &str| format!("arn:aws:bedrock:us-east-1:123456789012:agent-alias/{id}/TSTALIASID");
    let supervisor = async |name: &str| {
        let more = json!({ "agentName": name, "agentCollaboration": "SUPERVISOR" });
        let body = crate::agent_requests::body(more);
        let made = client.json(Method::PUT, "/agents/", &body).await;
        made.json()["agent"]["agentId"].as_str().unwrap().to_owned()
    };
    let (one, two) = (supervisor("one").await, supervisor("two").await);
    for (of, name, to) in [(&one, "plain", &plain), (&one, "two", &two), (&two, "plain", &plain)] {
        let added = collaborator(&client, of, (name, &alias(to))).await;
        assert_eq!(added.status, 200, "{}", added.snapshot());
    }
    assert_eq!(prepared(&client, &two).await["agentStatus"], "PREPARED");
    assert_eq!(prepared(&client, &one).await["agentStatus"], "PREPARED");
    for name in ["back", "again", "and-again"] {
        assert_eq!(collaborator(&client, &two, (name, &alias(&one))).await.status, 200);
    }
    let failed = prepared(&client, &two).await;
    assert_eq!(failed["agentStatus"], "FAILED", "{failed}");
    assert!(failed["failureReasons"].to_string().contains("works for it"), "{failed}");
    let body = json!({ "inputText": "Hello", "sessionState": { "knowledgeBaseConfigurations": [
        { "knowledgeBaseId": "ABCDEFGHIJ", "retrievalConfiguration": { "vectorSearchConfiguration": {} } }] } });
    let refused = turn(&client, (&one, "box"), &body).await;
    assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());
}
