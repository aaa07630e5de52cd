//! What a request may ask of an agent, what a prepared agent is missing, and what outlives turns and the server.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use craton_store::{Range, Scope, Store};
use craton_testkit::{Answer, Client, Scripted, TestServer, calls, text};
use http::Method;
use serde_json::{Value, json};

use crate::agent_frames::system;
use crate::agent_runs::{
    FUNCTION, MODEL, ask, function, inline, replied, result_text, results, said, tool, traces,
};

const ROLE: &str = "arn:aws:iam::123456789012:role/A";

/// A prepared agent's id.
pub(crate) async fn stored(client: &Client, more: Value, groups: &[Value]) -> String {
    let made = client.json(Method::PUT, "/agents/", &body(more)).await;
    let id = made.json()["agent"]["agentId"].as_str().unwrap().to_owned();
    for group in groups {
        let path = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
        let added = client.json(Method::PUT, &path, group).await;
        assert_eq!(added.status, 200, "{}", added.snapshot());
    }
    prepare(client, &id).await;
    id
}

/// What creates an agent.
pub(crate) fn body(more: Value) -> Value {
    let mut body = json!({ "agentName": "host", "foundationModel": MODEL, "agentResourceRoleArn": ROLE,
        "instruction": "You remember what your guests like to drink, and bring it." });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn prepare(client: &Client, id: &str) -> Value {
    let prepared = client.post(&format!("/agents/{id}/"), &json!({})).await;
    assert_eq!(prepared.status, 202, "{}", prepared.snapshot());
    client.get(&format!("/agents/{id}/")).await.json()["agent"].clone()
}

pub(crate) async fn turn(client: &Client, (id, session): (&str, &str), body: &Value) -> Answer {
    let path = format!("/agents/{id}/agentAliases/TSTALIASID/sessions/{session}/text");
    client.json(Method::POST, &path, body).await
}

fn file(name: &str) -> Value {
    // a,b / 1,2 / 3,4
    json!({ "name": name, "useCase": "CODE_INTERPRETER", "source": { "sourceType": "BYTE_CONTENT",
            "byteContent": { "mediaType": "text/csv", "data": "YSxiCjEsMgozLDQK" } } })
}

pub(crate) fn interpreter() -> Value {
    json!({ "actionGroupName": "code", "parentActionGroupSignature": "AMAZON.CodeInterpreter" })
}

#[tokio::test]
async fn what_an_agent_has_no_use_for_is_refused_before_the_model_is_asked() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = stored(&client, json!({}), &[]).await;
    let cases = [
        (json!({ "memoryId": "guest" }), "memoryConfiguration"),
        (json!({ "sessionState": { "invocationId": "abc" } }), "returnControlInvocationResults"),
        (json!({ "sessionState": { "files": [file("a.csv")] } }), "AMAZON.CodeInterpreter"),
        (
            json!({ "sessionState": { "knowledgeBaseConfigurations": [{ "knowledgeBaseId": "ABCDEFGHIJ",
                "retrievalConfiguration": { "vectorSearchConfiguration": { "numberOfResults": 3 } } }] } }),
            "ABCDEFGHIJ",
        ),
    ];
    for (more, named) in cases {
        let mut body = json!({ "inputText": "Tea, please" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = turn(&client, (&id, "s-1"), &body).await;
        assert_eq!(answer.error(), (400, "ValidationException"), "{}", answer.snapshot());
        assert!(answer.snapshot().contains(named), "{}", answer.snapshot());
    }
    let mut body = inline("Tea, please", json!([interpreter()]));
    for name in ["../a.csv", "/etc/passwd", "a/./../b"] {
        body["inlineSessionState"] = json!({ "files": [file(name)] });
        let answer = ask(&client, "names", &body).await;
        assert_eq!(answer.error(), (400, "ValidationException"), "{name}: {}", answer.snapshot());
    }
    assert_eq!(server.model.requests().len(), 0);
    let refused = json!({ "agentName": "own", "foundationModel": MODEL, "agentResourceRoleArn": ROLE,
        "orchestrationType": "CUSTOM_ORCHESTRATION", "customOrchestration": { "executor": { "lambda": FUNCTION } } });
    let answer = client.json(Method::PUT, "/agents/", &refused).await;
    assert_eq!(answer.error(), (400, "ValidationException"), "{}", answer.snapshot());
}

/// An agent that comes with its call may be as large as a stored one, and no larger.
#[tokio::test]
async fn an_inline_agent_has_the_limits_of_a_stored_one() {
    let server = TestServer::start().await;
    let client = server.client();
    let named = |count: usize| -> Value {
        let one = |number: usize| {
            json!({ "actionGroupName": format!("g{number}"), "actionGroupExecutor": { "customControl": "RETURN_CONTROL" },
                "functionSchema": { "functions": [{ "name": "bring", "description": "Brings it" }] } })
        };
        (0..count).map(one).collect()
    };
    let bases = |count: usize| -> Value {
        let one =
            |number: usize| json!({ "knowledgeBaseId": format!("BASE{number:06}"), "description": "x" });
        (0..count).map(one).collect()
    };
    let mut long = inline("Tea, please", json!([]));
    long["instruction"] = "Be nice. ".repeat(500).into();
    let mut learned = inline("Tea, please", json!([]));
    learned["knowledgeBases"] = bases(3);
    let mut below = inline("Tea, please", json!([]));
    below["agentCollaboration"] = "SUPERVISOR".into();
    below["collaborators"] = json!([{ "agentName": "clerk", "foundationModel": MODEL,
        "instruction": "You are the clerk who looks orders up in the books.", "actionGroups": named(16) }]);
    below["collaboratorConfigurations"] =
        json!([{ "collaboratorName": "clerk", "collaboratorInstruction": "for all" }]);
    for (body, limit) in [
        (inline("Tea, please", named(16)), "15 action groups"),
        (inline("Tea, please", json!([interpreter(), interpreter()])), "twice"),
        (long, "4000 characters"),
        (learned, "2 knowledge bases"),
        (below, "15 action groups"),
    ] {
        let refused = ask(&client, "limits", &body).await;
        assert_eq!(refused.error(), (400, "ValidationException"), "{limit}: {}", refused.snapshot());
        assert!(refused.snapshot().contains(limit), "{limit}: {}", refused.snapshot());
    }
    assert_eq!(server.model.requests().len(), 0);
    assert_eq!(said(&ask(&client, "limits", &inline("Tea, please", named(15))).await), "Hello there.");
}

/// Functions are often made after the agent: the prepared agent says which are missing.
#[tokio::test]
async fn a_prepared_agent_says_which_of_its_functions_are_missing() {
    let (mapped, _) = function(|event| replied(event, &json!("ok"))).await;
    let server = TestServer::with(Scripted::saying("Hello."), |config| config.functions.push(mapped)).await;
    let client = server.client();
    let group = |name: &str, arn: &str| {
        json!({ "actionGroupName": name, "actionGroupExecutor": { "lambda": arn },
            "functionSchema": { "functions": [{ "name": "bring", "description": "Brings it" }] } })
    };
    let missing = "arn:aws:lambda:us-east-1:123456789012:function:missing";
    let id = stored(&client, json!({}), &[group("there", FUNCTION), group("gone", missing)]).await;
    let agent = client.get(&format!("/agents/{id}/")).await.json()["agent"].clone();
    assert_eq!(agent["agentStatus"], "PREPARED");
    let advice = agent["recommendedActions"].as_array().expect("advice").clone();
    assert!(advice.len() == 1 && advice[0].as_str().unwrap().contains(missing), "{advice:?}");
}

/// The handler reads the values of a POST operation where it reads those of a GET operation.
#[tokio::test]
async fn an_operations_body_is_among_its_parameters_too() {
    let (mapped, events) = function(|event| {
        let given = event["parameters"].as_array().unwrap();
        let of = |name: &str| given.iter().find(|it| it["name"] == name).map(|it| it["value"].clone());
        replied(event, &json!(format!("{:?} {:?}", of("order_id"), of("reason"))))
    })
    .await;
    let schema = json!({ "openapi": "3.0.0", "info": { "title": "Orders", "version": "1" }, "paths": {
        "/initiate_cancellation": { "post": {
            "operationId": "initiate_cancellation", "description": "Cancels an order",
            "requestBody": { "required": true, "content": { "application/json": { "schema": {
                "type": "object", "required": ["order_id", "reason"],
                "properties": { "order_id": { "type": "string" }, "reason": { "type": "string" } } } } } },
            "responses": { "200": { "description": "Cancelled" } } } } } });
    let model = Scripted::deciding(|request| match results(request).first() {
        None => {
            let name = tool(request, "initiate_cancellation");
            calls("", &[(&name, json!({ "order_id": "ORD-1", "reason": "late" }))])
        }
        Some(result) => text(result_text(result)),
    });
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let groups = json!([{ "actionGroupName": "orders", "actionGroupExecutor": { "lambda": FUNCTION },
        "apiSchema": { "payload": schema.to_string() } }]);
    let answer = ask(&server.client(), "body", &inline("Cancel ORD-1, it is late", groups)).await;
    assert!(said(&answer).contains("ORD-1") && said(&answer).contains("late"), "{}", answer.snapshot());
    let event = events.lock()[0].clone();
    let properties = &event["requestBody"]["content"]["application/json"]["properties"];
    assert_eq!(properties.as_array().map(Vec::len), Some(2), "AWS's own place keeps them: {event}");
    // Traces are as AWS has them.
    let input = traces(&answer, "orchestrationTrace")
        .into_iter()
        .find_map(|it| it["invocationInput"].get("actionGroupInvocationInput").cloned());
    assert_eq!(input.expect("an input")["parameters"], json!([]));
}

/// Has jobs of sessions look again now: they go by the machine's clock, and the sessions by the server's.
pub(crate) async fn hurry(folder: &Path) {
    let store = Store::open(&folder.join("data")).await.expect("the records");
    let now = "UPDATE jobs SET due_ms = 0 WHERE kind = 'agent-memory' AND status = 'queued'";
    store.execute(now, &[]).await.expect("jobs");
}

async fn rows(folder: &Path, kind: &'static str) -> Vec<craton_store::Record> {
    let store = Store::open(&folder.join("data")).await.expect("the records");
    let scope = Scope::new(kind, "123456789012", "us-east-1");
    store.list(&scope, &Range::default()).await.expect("a list")
}

#[tokio::test]
async fn files_lie_beside_their_session_and_go_with_it() {
    let code = "import os\nprint(sorted(os.listdir('.')), open('in.csv').read().count(','))";
    let model = Scripted::deciding(move |request| match results(request).first() {
        None if crate::agent_runs::asked(request) == "look" => {
            calls("", &[("get__codeinterpreteraction__execute", json!({ "code": code }))])
        }
        None => text("Fine."),
        Some(result) => text(result_text(result)),
    });
    let server = TestServer::with(model, |_| {}).await;
    let client = server.client();
    let id = stored(&client, json!({ "idleSessionTTLInSeconds": 5_400 }), &[interpreter()]).await;
    let place = (id.as_str(), "files");
    let sent =
        json!({ "inputText": "keep this", "sessionState": { "files": [file("in.csv"), file("b.csv")] } });
    assert_eq!(said(&turn(&client, place, &sent).await), "Fine.");
    let kept = rows(server.folder(), "agent-session-file").await;
    assert_eq!(kept.len(), 2);
    let session = rows(server.folder(), "agent-session").await.remove(0);
    assert!(!session.body.to_string().contains("YSxiCjEsMgozLDQK"), "{}", session.body);

    let seen = said(&turn(&client, place, &json!({ "inputText": "look" })).await);
    assert!(seen.starts_with("['b.csv', 'in.csv'] 3"), "{seen}");
    let again = rows(server.folder(), "agent-session-file").await;
    let versions = |rows: &[craton_store::Record]| rows.iter().map(|it| it.version).collect::<Vec<_>>();
    assert_eq!(versions(&again), versions(&kept), "they are not written again");

    // One of the same name takes the place of the first.
    let sent = json!({ "inputText": "and this", "sessionState": { "files": [file("in.csv")] } });
    turn(&client, place, &sent).await;
    assert_eq!(rows(server.folder(), "agent-session-file").await.len(), 2);
    // A session that lives long keeps its files.
    let before = rows(server.folder(), "agent-session-file").await;
    for _ in 0..20 {
        server.clock.advance_ms(5_000_000);
        turn(&client, place, &json!({ "inputText": "still here" })).await;
        server.server.forget_old().await;
    }
    assert_eq!(rows(server.folder(), "agent-session-file").await, before);
    turn(&client, place, &json!({ "inputText": "still here", "endSession": true })).await;
    assert!(rows(server.folder(), "agent-session-file").await.is_empty());

    // Those of a session that nobody ends go with it, when nobody can come back to it.
    turn(&client, place, &sent).await;
    server.clock.advance_ms(86_000_000);
    server.server.forget_old().await;
    assert_eq!(rows(server.folder(), "agent-session-file").await.len(), 1);
    server.clock.advance_ms(500_000);
    server.server.forget_old().await;
    for kind in ["agent-session", "agent-session-file"] {
        assert!(rows(server.folder(), kind).await.is_empty(), "{kind}");
    }
}

/// What a list of memories has, once it has something.
pub(crate) async fn remembered(client: &Client, (folder, list): (&Path, &str)) -> Value {
    let mut kept = json!([]);
    for _ in 0..300 {
        kept = client.get(list).await.json()["memoryContents"].clone();
        if kept != json!([]) {
            break;
        }
        hurry(folder).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kept
}

fn host() -> Scripted {
    Scripted::deciding(|request| match system(request).contains("should remember") {
        true => text("<summary>The user likes tea.</summary>"),
        false => text("Noted."),
    })
}

const PLACE: &str = "CRATON_AGENTS_CRASH_DIRECTORY";

async fn serve(directory: &Path) -> TestServer {
    TestServer::with(host(), |config| config.data_dir = directory.join("data")).await
}

/// Not a test of its own: what the process runs that dies.
#[tokio::test]
async fn dies_with_a_session_open() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let server = serve(Path::new(&place)).await;
    let client = server.client();
    let memory = json!({ "idleSessionTTLInSeconds": 60, "memoryConfiguration": {
        "enabledMemoryTypes": ["SESSION_SUMMARY"], "storageDays": 3 } });
    let id = stored(&client, memory, &[]).await;
    let answer =
        turn(&client, (&id, "left"), &json!({ "inputText": "I like tea", "memoryId": "guest" })).await;
    assert_eq!(said(&answer), "Noted.");
    std::process::abort();
}

/// A session that was open when the server died is summed up by the next one, once its idle time has passed.
#[tokio::test]
async fn memory_is_made_though_the_server_died() {
    let directory = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "agent_requests::dies_with_a_session_open", "--nocapture", "--test-threads=1"])
        .env(PLACE, directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");

    let server = serve(directory.path()).await;
    let client = server.client();
    let agents = client.post("/agents/", &json!({})).await.json();
    let id = agents["agentSummaries"][0]["agentId"].as_str().unwrap().to_owned();
    let list =
        format!("/agents/{id}/agentAliases/TSTALIASID/memories?memoryId=guest&memoryType=SESSION_SUMMARY");
    assert_eq!(client.get(&list).await.json()["memoryContents"], json!([]));
    server.clock.advance_ms(61_000);
    let kept = remembered(&client, (directory.path(), &list)).await;
    assert_eq!(kept.as_array().map(Vec::len), Some(1), "{kept}");
    assert_eq!(kept[0]["sessionSummary"]["summaryText"], "The user likes tea.");
    assert!(rows(directory.path(), "agent-session").await.is_empty(), "and it is over");

    // It is kept for its agent's three days.
    for (days, left) in [(2, 1), (2, 0)] {
        server.clock.advance_ms(days * 24 * 3600 * 1000);
        server.server.forget_old().await;
        assert_eq!(rows(directory.path(), "agent-memory").await.len(), left);
    }
}

/// What was read of an agent is not what runs once another is prepared, or a version is deleted.
#[tokio::test]
async fn a_change_is_seen_by_the_next_turn() {
    let server = TestServer::with(Scripted::deciding(|request| text(&system(request)[..24])), |_| {}).await;
    let client = server.client();
    let id = stored(&client, json!({}), &[]).await;
    let hello = json!({ "inputText": "Hello" });
    assert_eq!(said(&turn(&client, (&id, "s-1"), &hello).await), "You remember what your g");
    let alias = json!({ "agentAliasName": "live" });
    let alias = client.json(Method::PUT, &format!("/agents/{id}/agentaliases/"), &alias).await.json();
    let alias = alias["agentAlias"]["agentAliasId"].as_str().unwrap().to_owned();
    let live = format!("/agents/{id}/agentAliases/{alias}/sessions/s-1/text");
    assert_eq!(said(&client.json(Method::POST, &live, &hello).await), "You remember what your g");
    let changed = json!({ "agentName": "host", "foundationModel": MODEL, "agentResourceRoleArn": ROLE,
        "instruction": "You forget what your guests like to drink, and ask them again." });
    client.json(Method::PUT, &format!("/agents/{id}/"), &changed).await;
    assert_eq!(
        said(&turn(&client, (&id, "s-1"), &hello).await),
        "You remember what your g",
        "not prepared yet"
    );
    prepare(&client, &id).await;
    assert_eq!(said(&turn(&client, (&id, "s-1"), &hello).await), "You forget what your gue");
    assert_eq!(said(&client.json(Method::POST, &live, &hello).await), "You remember what your g");
    let path = format!("/agents/{id}/agentversions/1/?skipResourceInUseCheck=true");
    let deleted = client.json(Method::DELETE, &path, &json!({})).await;
    assert_eq!(deleted.status, 202, "{}", deleted.snapshot());
    let refused = client.json(Method::POST, &live, &hello).await;
    assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());
}
