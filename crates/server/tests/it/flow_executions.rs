//! Executions of flows.

use std::time::Duration;

use craton_testkit::{Client, Scripted, Step, TestServer};
use http::Method;
use serde_json::{Value, json};

use super::flows::{chained, field, prepared, request, until};

async fn execution(client: &Client, id: &str, name: &str) -> Value {
    client.get(&format!("/flows/{id}/aliases/TSTALIASID/executions/{name}")).await.json()
}

async fn ended(client: &Client, id: &str, name: &str) -> Value {
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

    // One that fails: the draft moves on, and the execution runs what it began with.
    let mut broken = chained();
    broken["nodes"][2]["inputs"][0]["type"] = json!("Number");
    broken["nodes"][2]["inputs"][0]["expression"] = json!("$.data");
    broken["nodes"][1]["outputs"][0]["type"] = json!("String");
    let checked = client.post("/flows/validate-definition", &json!({"definition": broken})).await.json();
    assert_eq!(field(&checked["validations"][0], "type"), "IncompatibleConnectionDataType");
    let listed = client.get(&format!("/flows/{id}/executions")).await.json();
    assert_eq!(field(&listed["flowExecutionSummaries"][0], "executionArn"), arn);
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
