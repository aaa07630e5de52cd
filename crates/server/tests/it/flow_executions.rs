//! Executions of flows: jobs that survive a kill.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use craton_testkit::{Client, Scripted, Step, TestServer, text};
use http::Method;
use serde_json::{Value, json};

use super::flows::{ROLE, chained, field, prepared, request, until};

async fn execution(client: &Client, id: &str, name: &str) -> Value {
    client.get(&format!("/flows/{id}/aliases/TSTALIASID/executions/{name}")).await.json()
}

pub(crate) async fn ended(client: &Client, id: &str, name: &str) -> Value {
    for _ in 0..500 {
        let found = execution(client, id, name).await;
        if found["status"] != "Running" {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the execution {name} never ended");
}

/// Kinds and nodes of an execution's events, page after page.
async fn events(client: &Client, id: &str, name: &str, kind: &str) -> Vec<String> {
    let base =
        format!("/flows/{id}/aliases/TSTALIASID/executions/{name}/events?eventType={kind}&maxResults=3");
    let (mut told, mut path) = (Vec::new(), base.clone());
    loop {
        let page = client.get(&path).await.json();
        for event in page["flowExecutionEvents"].as_array().unwrap() {
            let (kind, event) = event.as_object().unwrap().iter().next().unwrap();
            told.push(format!("{kind} {}", event["nodeName"].as_str().unwrap_or_default()).trim().to_owned());
        }
        let Some(token) = page["nextToken"].as_str() else { return told };
        path = format!("{base}&nextToken={token}");
    }
}

#[tokio::test]
async fn executions_run_by_themselves_and_keep_what_happened() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = prepared(&client, "chained", chained()).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID/executions");
    let mut start = request(json!("x"));
    start["flowExecutionName"] = json!("first");
    let started = client.post(&path, &start).await;
    assert_eq!(started.status, 200, "{}", started.snapshot());
    let arn = format!("arn:aws:bedrock:us-east-1:123456789012:flow/{id}/alias/TSTALIASID/execution/first");
    assert_eq!(started.json(), json!({"executionArn": arn}));
    assert_eq!(client.post(&path, &start).await.error(), (409, "ConflictException"));

    let found = ended(&client, &id, "first").await;
    assert_eq!((field(&found, "status"), field(&found, "flowVersion")), ("Succeeded", "DRAFT"), "{found}");
    assert!(found["endedAt"].is_string());
    assert_eq!(events(&client, &id, "first", "Flow").await, ["flowInputEvent In", "flowOutputEvent Out"]);
    let of_nodes = events(&client, &id, "first", "Node").await;
    let expected = [
        "nodeOutputEvent In",
        "nodeInputEvent Ask1",
        "nodeActionEvent Ask1",
        "nodeOutputEvent Ask1",
        "nodeInputEvent Ask2",
        "nodeActionEvent Ask2",
        "nodeOutputEvent Ask2",
        "nodeInputEvent Ask3",
        "nodeActionEvent Ask3",
        "nodeOutputEvent Ask3",
        "nodeInputEvent Out",
    ];
    assert_eq!(of_nodes, expected);
    let snapshot = client.get(&format!("{path}/first/flowsnapshot")).await.json();
    let definition: Value = serde_json::from_str(field(&snapshot, "definition")).unwrap();
    assert_eq!(definition["nodes"].as_array().unwrap().len(), 5);
    let again = client.json(Method::POST, &format!("{path}/first/stop"), &Value::Null).await;
    assert_eq!(again.error(), (409, "ConflictException"));
    let listed = client.get(&format!("/flows/{id}/executions")).await.json();
    assert_eq!(field(&listed["flowExecutionSummaries"][0], "executionArn"), arn);
}

/// The draft moves on while an execution waits for its turn, and the execution runs what it began with. Its time begins
/// when it does.
#[tokio::test]
async fn an_execution_runs_what_it_was_started_with() {
    let model = Scripted::deciding(|request| match format!("{:?}", request.messages).contains("1 block") {
        true => vec![Step::Hang],
        false => text("Hello."),
    });
    let server = TestServer::with(model, |config| config.flows.concurrent_executions = 1).await;
    let client = server.client();
    let id = prepared(&client, "chained", chained()).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID/executions");
    for (name, input) in [("first", "block"), ("steady", "x")] {
        let mut start = request(json!(input));
        start["flowExecutionName"] = json!(name);
        let started = client.post(&path, &start).await;
        assert_eq!(started.status, 200, "{}", started.snapshot());
        if name == "first" {
            until("the model is asked", || !server.model.requests().is_empty()).await;
        }
    }
    let mut other = chained();
    other["nodes"][1]["name"] = json!("Other1");
    other["connections"][0]["target"] = json!("Other1");
    other["connections"][1]["source"] = json!("Other1");
    let update = json!({"name": "chained", "executionRoleArn": ROLE, "definition": other});
    let updated = client.json(Method::PUT, &format!("/flows/{id}/"), &update).await;
    assert_eq!(updated.status, 200, "{}", updated.snapshot());
    server.clock.advance_ms(25 * 3600 * 1000);
    client.json(Method::POST, &format!("{path}/first/stop"), &Value::Null).await;
    let found = ended(&client, &id, "steady").await;
    assert_eq!(field(&found, "status"), "Succeeded", "{found}");
    let snapshot = client.get(&format!("{path}/steady/flowsnapshot")).await.json();
    let definition: Value = serde_json::from_str(field(&snapshot, "definition")).unwrap();
    assert_eq!(definition["nodes"][1]["name"], "Ask1");
    let of_nodes = events(&client, &id, "steady", "Node").await;
    assert!(of_nodes.iter().any(|event| event.ends_with("Ask1")), "{of_nodes:?}");
    assert!(!of_nodes.iter().any(|event| event.ends_with("Other1")), "{of_nodes:?}");
}

#[tokio::test]
async fn what_runs_under_a_flow_or_an_alias_ends_with_it() {
    let server = TestServer::with(Scripted::deciding(|_| vec![Step::Hang]), |_| {}).await;
    let client = server.client();
    let id = prepared(&client, "chained", chained()).await;
    let version = client.post(&format!("/flows/{id}/versions"), &json!({})).await.json();
    let route = json!([{"flowVersion": version["version"]}]);
    let alias = client
        .post(&format!("/flows/{id}/aliases"), &json!({"name": "live", "routingConfiguration": route}))
        .await
        .json();
    let alias = field(&alias, "id").to_owned();
    let path = format!("/flows/{id}/aliases/{alias}/executions");
    let mut start = request(json!("x"));
    start["flowExecutionName"] = json!("of-alias");
    assert_eq!(client.post(&path, &start).await.status, 200);
    until("the model is asked", || server.model.requests().len() == 1).await;
    let gone = client.json(Method::DELETE, &format!("/flows/{id}/aliases/{alias}"), &Value::Null).await;
    assert_eq!(gone.status, 200, "{}", gone.snapshot());
    until("the model is let go", || server.model.cancelled() == 1).await;
    let found = client.get(&format!("{path}/of-alias")).await.json();
    assert_eq!(field(&found, "status"), "Aborted", "{found}");

    let path = format!("/flows/{id}/aliases/TSTALIASID/executions");
    start["flowExecutionName"] = json!("of-flow");
    assert_eq!(client.post(&path, &start).await.status, 200);
    until("the model is asked again", || server.model.requests().len() == 2).await;
    let gone = client.json(Method::DELETE, &format!("/flows/{id}/"), &Value::Null).await;
    assert_eq!(gone.status, 200, "{}", gone.snapshot());
    until("the model is let go again", || server.model.cancelled() == 2).await;
}

#[tokio::test]
async fn an_execution_is_stopped_and_one_that_fails_says_why() {
    let server = TestServer::with(Scripted::playing(vec![Step::Hang]), |_| {}).await;
    let client = server.client();
    let id = prepared(&client, "chained", chained()).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID/executions");
    let mut start = request(json!("x"));
    start["flowExecutionName"] = json!("endless");
    assert_eq!(client.post(&path, &start).await.status, 200);
    until("the model is asked", || !server.model.requests().is_empty()).await;
    assert_eq!(field(&execution(&client, &id, "endless").await, "status"), "Running");
    let stopped = client.json(Method::POST, &format!("{path}/endless/stop"), &Value::Null).await.json();
    assert_eq!(field(&stopped, "status"), "Aborted");
    assert_eq!(field(&execution(&client, &id, "endless").await, "status"), "Aborted");
    until("the model is let go", || server.model.cancelled() == 1).await;

    let broken = Step::Fail(craton_backend::BackendError::Invalid("it can't be".into()));
    let server = TestServer::with(Scripted::playing(vec![broken]), |_| {}).await;
    let client = server.client();
    let id = prepared(&client, "chained", chained()).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID/executions");
    let arn = client.post(&path, &request(json!("x"))).await.json()["executionArn"].clone();
    let name = arn.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(field(&ended(&client, &id, &name).await, "status"), "Failed");
    assert_eq!(events(&client, &id, &name, "Flow").await, ["flowInputEvent In", "flowFailureEvent"]);
    let of_nodes = events(&client, &id, &name, "Node").await;
    assert_eq!(of_nodes, ["nodeOutputEvent In", "nodeInputEvent Ask1", "nodeFailureEvent Ask1"]);
}

const PLACE: &str = "CRATON_FLOWS_CRASH_DIRECTORY";

async fn serve(directory: &Path) -> TestServer {
    TestServer::with(Scripted::saying("Hello there."), |config| config.data_dir = directory.to_owned()).await
}

/// Not a test of its own: what the killed process runs.
#[tokio::test]
async fn serves_until_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let server = serve(Path::new(&place)).await;
    let client = server.client();
    let id = prepared(&client, "chained", chained()).await;
    let mut start = request(json!("x"));
    start["flowExecutionName"] = json!("killed");
    client.post(&format!("/flows/{id}/aliases/TSTALIASID/executions"), &start).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Nodes that had ended when the server was killed are not run again; the others are.
#[tokio::test]
async fn an_execution_survives_a_kill() {
    // Kept are, in order: In, Ask1, Ask2, Ask3, Out.
    let points = [
        ("flows.ended:1", 3),
        ("flows.kept:1", 3),
        ("flows.begins:1", 3),
        ("flows.ended:3", 2),
        ("flows.kept:3", 1),
        ("flows.kept:4", 0),
        ("flows.kept:5", 0),
    ];
    for (point, asked) in points {
        let directory = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "flow_executions::serves_until_killed", "--nocapture", "--test-threads=1"])
            .env(PLACE, directory.path())
            .env("CRATON_CRASH_AT", point)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(9), "{point}: {status}");

        let server = serve(directory.path()).await;
        let client = server.client();
        let flows = client.get("/flows/").await.json();
        let id = field(&flows["flowSummaries"][0], "id");
        assert_eq!(field(&ended(&client, id, "killed").await, "status"), "Succeeded", "{point}");
        assert_eq!(server.model.requests().len(), asked, "{point}");
        let of_nodes = events(&client, id, "killed", "Node").await;
        assert_eq!(of_nodes.len(), 11, "{point}: each event once: {of_nodes:?}");
        let of_flow = events(&client, id, "killed", "Flow").await;
        assert_eq!(of_flow, ["flowInputEvent In", "flowOutputEvent Out"], "{point}");
    }
}
