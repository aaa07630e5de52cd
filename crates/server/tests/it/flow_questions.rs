//! Agents in flows that ask their user, and runs that wait for the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use craton_backend::BackendError;
use craton_store::{Range, Scope, Store};
use craton_testkit::{Client, Scripted, Step, TestServer, calls, text};
use http::Method;
use serde_json::{Value, json};

use crate::agent_runs::{FUNCTION, function};
use crate::flows::{ROLE, data, field, input, output, prepared, prompt, request, told};

const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";

/// Asks when it is asked to book, and confirms what it is answered.
fn booking() -> Scripted {
    Scripted::deciding(|request| {
        let asked = crate::agent_runs::asked(request).to_owned();
        match asked.as_str() {
            it if it.contains("Shout") => text("DONE!"),
            it if it.contains("Book") => {
                let ask = crate::agent_runs::tool(request, "askuser");
                calls("I must know more.", &[(&ask, json!({"question": "Which city?"}))])
            }
            _ => text(&format!("Booked: {asked}")),
        }
    })
}

/// An agent with the action group `AMAZON.UserInput`, prepared; the ARN of its draft's alias.
async fn agent(client: &Client) -> String {
    let made = json!({"agentName": "booker", "agentResourceRoleArn": ROLE, "foundationModel": CLAUDE,
        "instruction": "You book trips for the people who ask you to, and ask back where you must."});
    let made = client.json(Method::PUT, "/agents/", &made).await;
    let id = field(&made.json()["agent"], "agentId").to_owned();
    let group = json!({"actionGroupName": "user", "parentActionGroupSignature": "AMAZON.UserInput"});
    let added =
        client.json(Method::PUT, &format!("/agents/{id}/agentversions/DRAFT/actiongroups/"), &group).await;
    assert_eq!(added.status, 200, "{}", added.snapshot());
    let prepared = client.post(&format!("/agents/{id}/"), &Value::Null).await;
    assert_eq!(prepared.status, 202, "{}", prepared.snapshot());
    format!("arn:aws:bedrock:us-east-1:123456789012:agent-alias/{id}/TSTALIASID")
}

/// A flow that hands what it is given to the agent, and answers as the agent does.
fn booking_flow(arn: &str) -> Value {
    json!({
        "nodes": [input("String"), booker(arn), output("Out", "$.data")],
        "connections": [
            data("c1", ("In", "document"), ("Booker", "agentInputText")),
            data("c2", ("Booker", "agentResponse"), ("Out", "document"))
        ]
    })
}

pub(crate) fn booker(arn: &str) -> Value {
    json!({"name": "Booker", "type": "Agent", "configuration": {"agent": {"agentAliasArn": arn}},
        "inputs": [{"name": "agentInputText", "type": "String", "expression": "$.data"}],
        "outputs": [{"name": "agentResponse", "type": "String"}]})
}

/// In an execution nobody can answer: what the agent asks is what it has to say.
#[tokio::test]
async fn an_agents_question_is_its_answer_in_an_execution() {
    let server = TestServer::with(booking(), |_| {}).await;
    let client = server.client();
    let arn = agent(&client).await;
    let definition = booking_flow(&arn);
    let id = prepared(&client, "booking", definition).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID/executions");
    let mut start = request(json!("Book me a trip"));
    start["flowExecutionName"] = json!("asks");
    assert_eq!(client.post(&path, &start).await.status, 200);
    let ended = crate::flow_executions::ended(&client, &id, "asks").await;
    assert_eq!(field(&ended, "status"), "Succeeded", "{ended}");
    let events = client.get(&format!("{path}/asks/events?eventType=Flow")).await;
    assert!(events.snapshot().contains("Which city?"), "{}", events.snapshot());
}

#[tokio::test]
async fn an_agent_asks_its_user_and_goes_on_with_the_answer() {
    let server = TestServer::with(booking(), |_| {}).await;
    let client = server.client();
    let arn = agent(&client).await;
    let booker = booker(&arn);
    let definition = json!({
        "nodes": [input("String"), booker, prompt("Shout", "Shout {{text}}", "$.data"), output("Out", "$.data"),
            output("Aside", "$.data")],
        "connections": [
            data("c1", ("In", "document"), ("Booker", "agentInputText")),
            data("c2", ("Booker", "agentResponse"), ("Out", "document")),
            data("c3", ("In", "document"), ("Shout", "text")),
            data("c4", ("Shout", "modelCompletion"), ("Aside", "document"))
        ]
    });
    let id = prepared(&client, "booking", definition).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID");
    let first = client.post(&path, &request(json!("Book me a trip"))).await;
    let question = first
        .frames()
        .into_iter()
        .find(|it| it.header(":event-type") == Some("flowMultiTurnInputRequestEvent"));
    let question: Value = serde_json::from_slice(&question.expect("a question").payload).unwrap();
    assert_eq!(
        (field(&question, "nodeName"), &question["content"]["document"]),
        ("Booker", &json!("Which city?"))
    );
    let mut events = told(&first);
    assert_eq!(events.pop().as_deref(), Some("INPUT_REQUIRED"), "{events:?}");
    assert!(
        events.contains(&"output Aside \"DONE!\"".to_owned()),
        "what needs no answer is done: {events:?}"
    );

    let execution = first.header("x-amz-bedrock-flow-execution-id").to_owned();
    let asked = server.model.requests().len();
    let reply = json!({"executionId": execution, "inputs": [{"nodeName": "Booker", "nodeInputName": "agentInputText",
        "content": {"document": "Lisbon"}}]});
    let second = client.post(&path, &reply).await;
    assert_eq!(told(&second), ["output Out \"Booked: Lisbon\"", "SUCCESS"], "{}", second.snapshot());
    let later = &server.model.requests()[asked..];
    assert!(
        later.iter().all(|request| !format!("{:?}", request.messages).contains("Shout")),
        "nothing runs twice"
    );
    let again = client.post(&path, &reply).await;
    assert_eq!(
        again.error(),
        (400, "ValidationException"),
        "a question is answered once: {}",
        again.snapshot()
    );
}

/// Runs of two flows, or of two aliases, that have the same execution id are two conversations with the agent, and none
/// that its clients can come into.
#[tokio::test]
async fn an_agent_knows_each_run_by_itself() {
    let heard = |request: &craton_backend::ChatRequest| {
        let said: Vec<String> = request.messages.iter().map(|it| format!("{:?}", it.content)).collect();
        text(&said.join(" "))
    };
    let server = TestServer::with(Scripted::deciding(heard), |_| {}).await;
    let client = server.client();
    let arn = agent(&client).await;
    let definition = booking_flow(&arn);
    let (one, two) =
        (prepared(&client, "one", definition.clone()).await, prepared(&client, "two", definition).await);
    let said = async |flow: &str, alias: &str, words: &str| {
        let mut body = request(json!(words));
        body["executionId"] = json!("same");
        client.post(&format!("/flows/{flow}/aliases/{alias}"), &body).await.snapshot()
    };
    assert!(said(&one, "TSTALIASID", "secret of one").await.contains("secret of one"));
    let other = said(&two, "TSTALIASID", "tell me").await;
    assert!(other.contains("tell me") && !other.contains("secret"), "{other}");
    client.post(&format!("/flows/{one}/versions"), &json!({})).await;
    let alias = json!({"name": "live", "routingConfiguration": [{"flowVersion": "1"}]});
    let alias = client.post(&format!("/flows/{one}/aliases"), &alias).await;
    let alias = field(&alias.json(), "id").to_owned();
    let other = said(&one, &alias, "tell me").await;
    assert!(other.contains("tell me") && !other.contains("secret"), "{other}");
    let agent = arn.split('/').nth(1).unwrap();
    for session in ["same-Booker", "same_Booker"] {
        let path = format!("/agents/{agent}/agentAliases/TSTALIASID/sessions/{session}/text");
        let other = client.post(&path, &json!({"inputText": "tell me"})).await;
        assert!(!crate::agent_runs::said(&other).contains("secret"));
    }
}

/// In → Booker → Work → Shout → Out; the ids of flow and execution, after the agent has asked.
async fn asked(client: &Client) -> (String, String) {
    let arn = agent(client).await;
    let work = json!({"name": "Work", "type": "LambdaFunction", "configuration": {"lambdaFunction": {"lambdaArn": FUNCTION}},
        "inputs": [{"name": "it", "type": "String", "expression": "$.data"}],
        "outputs": [{"name": "functionResponse", "type": "String"}]});
    let definition = json!({
        "nodes": [input("String"), booker(&arn), work, prompt("Shout", "Shout {{text}}", "$.data"), output("Out", "$.data")],
        "connections": [
            data("c1", ("In", "document"), ("Booker", "agentInputText")),
            data("c2", ("Booker", "agentResponse"), ("Work", "it")),
            data("c3", ("Work", "functionResponse"), ("Shout", "text")),
            data("c4", ("Shout", "modelCompletion"), ("Out", "document"))
        ]
    });
    let id = prepared(client, "booking", definition).await;
    let first =
        client.post(&format!("/flows/{id}/aliases/TSTALIASID"), &request(json!("Book me a trip"))).await;
    assert_eq!(told(&first).pop().as_deref(), Some("INPUT_REQUIRED"), "{}", first.snapshot());
    (id, first.header("x-amz-bedrock-flow-execution-id").to_owned())
}

fn reply(execution: &str) -> Value {
    json!({"executionId": execution, "inputs": [{"nodeName": "Booker", "nodeInputName": "agentInputText",
        "content": {"document": "Lisbon"}}]})
}

/// A model that books after a question and shouts, the first time as is said.
fn first_shout(
    shouted: &Arc<AtomicUsize>,
    first: impl Fn() -> Vec<Step> + Send + Sync + 'static,
) -> Scripted {
    let shouted = Arc::clone(shouted);
    Scripted::deciding(move |request| {
        let asked = crate::agent_runs::asked(request).to_owned();
        match asked.as_str() {
            it if it.contains("Shout") && shouted.fetch_add(1, Ordering::SeqCst) == 0 => first(),
            it if it.contains("Shout") => text("DONE!"),
            it if it.contains("Book") => {
                let ask = crate::agent_runs::tool(request, "askuser");
                calls("", &[(&ask, json!({"question": "Which city?"}))])
            }
            _ => text(&format!("Booked: {asked}")),
        }
    })
}

#[tokio::test]
async fn what_ended_before_a_failure_is_not_run_again() {
    let (mapped, events) = function(|_| json!("worked")).await;
    let model = first_shout(&Arc::default(), || vec![Step::Fail(BackendError::Invalid("not now".into()))]);
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let (id, execution) = asked(&client).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID");
    let failed = client.post(&path, &reply(&execution)).await;
    assert!(failed.snapshot().contains("Shout failed"), "{}", failed.snapshot());
    let answered = client.post(&path, &reply(&execution)).await;
    assert_eq!(told(&answered), ["output Out \"DONE!\"", "SUCCESS"], "{}", answered.snapshot());
    assert_eq!(events.lock().len(), 1, "the function ran once");
}

/// Who answers has the run for himself, on all servers of these records, and until he goes away.
#[tokio::test]
async fn a_question_is_answered_by_one_at_a_time() {
    let (mapped, events) = function(|_| json!("worked")).await;
    let shouted = Arc::new(AtomicUsize::new(0));
    let model = first_shout(&shouted, || vec![Step::Hang]);
    let server = TestServer::with(model, |config| config.functions.push(mapped)).await;
    let client = server.client();
    let (id, execution) = asked(&client).await;
    let path = format!("/flows/{id}/aliases/TSTALIASID");
    let open = client.open(Method::POST, &path, reply(&execution).to_string()).await;
    let store = Store::open(&server.folder().join("data")).await.unwrap();
    let scope = Scope::new("flow-conversation-claim", "123456789012", "us-east-1");
    let taken = async || !store.list(&scope, &Range::default()).await.unwrap().is_empty();
    let hangs = || shouted.load(Ordering::SeqCst) == 1;
    crate::flows::until("the model hangs", hangs).await;
    assert!(taken().await, "it is in the records");
    let other = client.post(&path, &reply(&execution)).await;
    assert_eq!(other.error(), (409, "ConflictException"), "{}", other.snapshot());
    drop(open);
    for _ in 0..200 {
        if !taken().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answered = client.post(&path, &reply(&execution)).await;
    assert_eq!(told(&answered), ["output Out \"DONE!\"", "SUCCESS"], "{}", answered.snapshot());
    assert_eq!(events.lock().len(), 1, "what had ended was not run again");
}
