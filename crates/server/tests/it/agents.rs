//! The control plane of agents, through the server.

use craton_testkit::{Answer, Client, TestServer};
use http::Method;
use serde_json::{Value, json};

const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";
const ROLE: &str = "arn:aws:iam::123456789012:role/AgentRole";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:orders";
const INSTRUCTION: &str = "You look up orders for customers, politely, with the tools that you are given.";

fn schema() -> Value {
    json!({
        "openapi": "3.0.0", "info": {"title": "Orders", "version": "1.0.0"},
        "paths": {"/orders/{orderId}": {"get": {
            "operationId": "getOrder", "description": "The status of an order",
            "parameters": [{"name": "orderId", "in": "path", "required": true, "description": "The order's id",
                            "schema": {"type": "string"}}],
            "responses": {"200": {"description": "Its status"}}
        }}}
    })
}

fn group(name: &str) -> Value {
    json!({"actionGroupName": name, "actionGroupExecutor": {"lambda": FUNCTION},
           "apiSchema": {"payload": schema().to_string()}, "description": "Orders"})
}

fn agent(name: &str) -> Value {
    json!({"agentName": name, "agentResourceRoleArn": ROLE, "foundationModel": CLAUDE, "instruction": INSTRUCTION})
}

async fn put(client: &Client, path: &str, body: &Value) -> Answer {
    client.json(Method::PUT, path, body).await
}

async fn delete(client: &Client, path: &str) -> Answer {
    client.json(Method::DELETE, path, &Value::Null).await
}

fn expect(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.snapshot());
    if answer.status == 204 { Value::Null } else { answer.json() }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// A new agent's id.
async fn create(client: &Client, name: &str) -> String {
    let made = expect(&put(client, "/agents/", &agent(name)).await, 202);
    text(&made["agent"], "agentId").to_owned()
}

async fn status(client: &Client, id: &str) -> String {
    let got = expect(&client.get(&format!("/agents/{id}/")).await, 200);
    text(&got["agent"], "agentStatus").to_owned()
}

async fn prepare(client: &Client, id: &str) -> Value {
    expect(&client.post(&format!("/agents/{id}/"), &Value::Null).await, 202)
}

#[tokio::test]
async fn an_agent_is_created_prepared_and_given_an_alias() {
    let server = TestServer::start().await;
    let client = server.client();
    let made = expect(&put(&client, "/agents/", &agent("orders")).await, 202);
    let id = text(&made["agent"], "agentId").to_owned();
    assert_eq!(text(&made["agent"], "agentStatus"), "CREATING");
    assert_eq!(text(&made["agent"], "agentArn"), format!("arn:aws:bedrock:us-east-1:123456789012:agent/{id}"));
    assert_eq!(status(&client, &id).await, "NOT_PREPARED");
    let groups = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
    let made = expect(&put(&client, &groups, &group("order-operations")).await, 200);
    assert_eq!(text(&made["agentActionGroup"], "actionGroupState"), "ENABLED");
    assert_eq!(text(&prepare(&client, &id).await, "agentStatus"), "PREPARING");
    assert_eq!(status(&client, &id).await, "PREPARED");

    let aliases = format!("/agents/{id}/agentaliases/");
    let made = expect(&put(&client, &aliases, &json!({"agentAliasName": "live"})).await, 202);
    let alias = text(&made["agentAlias"], "agentAliasId").to_owned();
    let got = expect(&client.get(&format!("{aliases}{alias}/")).await, 200);
    assert_eq!(text(&got["agentAlias"], "agentAliasStatus"), "PREPARED");
    assert_eq!(got["agentAlias"]["routingConfiguration"], json!([{"agentVersion": "1"}]));
    let listed = expect(&client.post(&aliases, &json!({})).await, 200);
    let names: Vec<_> = listed["agentAliasSummaries"].as_array().unwrap().iter().map(|it| text(it, "agentAliasId")).collect();
    assert_eq!(names, ["TSTALIASID", alias.as_str()]);
    let of_version = expect(&client.post(&groups.replace("DRAFT", "1"), &json!({})).await, 200);
    assert_eq!(text(&of_version["actionGroupSummaries"][0], "actionGroupName"), "order-operations");

    let update = json!({"agentName": "orders", "agentResourceRoleArn": ROLE, "foundationModel": CLAUDE,
                        "instruction": format!("{INSTRUCTION} Be brief.")});
    assert_eq!(text(&expect(&put(&client, &format!("/agents/{id}/"), &update).await, 202)["agent"], "agentStatus"), "UPDATING");
    assert_eq!(status(&client, &id).await, "NOT_PREPARED");
    let listed = expect(&client.post("/agents/", &json!({})).await, 200);
    assert_eq!(text(&listed["agentSummaries"][0], "latestAgentVersion"), "1");
    assert_eq!(delete(&client, &format!("/agents/{id}/")).await.error(), (409, "ConflictException"));
    expect(&delete(&client, &format!("{aliases}{alias}/")).await, 202);
    expect(&delete(&client, &format!("/agents/{id}/")).await, 202);
    assert_eq!(client.get(&format!("/agents/{id}/")).await.error(), (404, "ResourceNotFoundException"));
}
