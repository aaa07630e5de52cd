//! Prompt nodes: stored prompts that don't fit them, and answers that are none.

use craton_testkit::{Scripted, TestServer};
use serde_json::{Value, json};

use crate::flows::{chained, create, data, field, input, invoke, output, prepared, told};

const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";

/// In → Ask → Out, where Ask asks a stored prompt.
fn asking(arn: &Value, inputs: &[&str]) -> Value {
    let takes = |name: &&str| json!({"name": name, "type": "String", "expression": "$.data"});
    let ask = json!({"name": "Ask", "type": "Prompt",
        "configuration": {"prompt": {"sourceConfiguration": {"resource": {"promptArn": arn}}}},
        "inputs": inputs.iter().map(takes).collect::<Vec<_>>(),
        "outputs": [{"name": "modelCompletion", "type": "String"}]});
    let mut connections = vec![data("out", ("Ask", "modelCompletion"), ("Out", "document"))];
    connections
        .extend(inputs.iter().map(|name| data(&format!("in{name}"), ("In", "document"), ("Ask", name))));
    json!({"nodes": [input("String"), ask, output("Out", "$.data")], "connections": connections})
}

/// A stored prompt that a node can't ask is an error of its flow, not of the run.
#[tokio::test]
async fn a_stored_prompt_that_does_not_fit_its_node_is_found() {
    let server = TestServer::start().await;
    let client = server.client();
    let template = json!({"text": {"text": "Hi {{aa}} {{bb}}"}});
    let variant = |extra: Value| {
        let mut variant = json!({"name": "one", "templateType": "TEXT", "templateConfiguration": template});
        variant.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([variant])
    };
    let agent = json!({"genAiResource": {"agent": {"agentIdentifier":
        "arn:aws:bedrock:us-east-1:123456789012:agent-alias/AGENT67890/TSTALIASID"}}});
    let of_model = |model: &str| variant(json!({"modelId": model}));
    let missing = ("MissingNodeInput", "lacks the input bb");
    let extra = ("UnknownNodeInput", "can't have an input named cc");
    let cases = [
        ("fits", of_model(CLAUDE), &["aa", "bb"][..], None),
        ("lacks", of_model(CLAUDE), &["aa"], Some(missing)),
        ("extra", of_model(CLAUDE), &["aa", "bb", "cc"], Some(extra)),
        ("modelless", variant(json!({})), &["aa", "bb"], Some(("Unspecified", "names no model"))),
        ("empty", json!([]), &["aa", "bb"], Some(("Unspecified", "has no variant yet"))),
        ("agents", variant(agent), &["aa", "bb"], Some(("Unspecified", "is for an agent"))),
        ("unknown", of_model("no.such-model"), &["aa", "bb"], Some(("Unspecified", "no.such-model"))),
    ];
    for (name, variants, inputs, expected) in cases {
        let made = client.post("/prompts/", &json!({"name": name, "variants": variants})).await;
        assert_eq!(made.status, 201, "{name}: {}", made.snapshot());
        let definition = asking(&made.json()["arn"], inputs);
        let body = json!({"definition": definition});
        let found = client.post("/flows/validate-definition", &body).await.json();
        let found = found["validations"].as_array().unwrap();
        assert_eq!(found.len(), usize::from(expected.is_some()), "{name}: {found:?}");
        if let Some((kind, message)) = expected {
            assert_eq!(
                (field(&found[0], "type"), field(&found[0], "severity")),
                (kind, "Error"),
                "{found:?}"
            );
            assert!(field(&found[0], "message").contains(message), "{found:?}");
        }
        let id = create(&client, name, definition).await;
        let prepared = client.post(&format!("/flows/{id}/"), &Value::Null).await.json();
        let status = if expected.is_some() { "Failed" } else { "Prepared" };
        assert_eq!(field(&prepared, "status"), status, "{name}");
    }
}

/// A call of a tool is no answer: the node says so instead of giving an empty text.
#[tokio::test]
async fn a_prompt_whose_model_calls_a_tool_fails_its_node() {
    let script = craton_testkit::calls("Let me look.", &[("look_up", json!({"q": "x"}))]);
    let server = TestServer::with(Scripted::playing(script), |_| {}).await;
    let client = server.client();
    let mut definition = chained();
    let tool = json!({"toolSpec": {"name": "look_up", "inputSchema": {"json": {"type": "object"}}}});
    let chat = json!({"messages": [{"role": "user", "content": [{"text": "Find {{text}}"}]}],
        "toolConfiguration": {"tools": [tool]}});
    let inline = &mut definition["nodes"][1]["configuration"]["prompt"]["sourceConfiguration"]["inline"];
    *inline = json!({"modelId": CLAUDE, "templateType": "CHAT", "templateConfiguration": {"chat": chat}});
    let id = prepared(&client, "calling", definition).await;
    let told = told(&invoke(&client, &id, json!("x")).await);
    let last = told.last().unwrap();
    assert!(last.starts_with("dependencyFailedException"), "{told:?}");
    assert!(last.contains("The node Ask1 failed") && last.contains("the tool look_up"), "{told:?}");
    assert_eq!(server.model.requests().len(), 1, "{told:?}");
}

/// Findings tell what a prompt holds, and so only those who may read it.
#[tokio::test]
async fn a_stored_prompt_is_looked_into_for_those_who_may_read_it() {
    let server = TestServer::start().await;
    let root = server.client();
    let variant = json!({"name": "one", "templateType": "TEXT", "modelId": CLAUDE,
        "templateConfiguration": {"text": {"text": "Hi {{secret}}"}}});
    let made = root.post("/prompts/", &json!({"name": "kept", "variants": [variant]})).await.json();
    let body = json!({"definition": asking(&made["arn"], &["aa"])});
    let user = crate::identity::user(&root, "drawer").await;
    let found = async |actions: &[&str]| {
        let policy = crate::identity::allow(actions, "*");
        let parameters = [("UserName", "drawer"), ("PolicyName", "own"), ("PolicyDocument", policy.as_str())];
        crate::identity::iam(&root, "PutUserPolicy", &parameters).await;
        let answer = user.post("/flows/validate-definition", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.snapshot());
        answer.json()["validations"].to_string()
    };
    assert_eq!(found(&["bedrock:ValidateFlowDefinition"]).await, "[]");
    let told = found(&["bedrock:ValidateFlowDefinition", "bedrock:GetPrompt"]).await;
    assert!(told.contains("lacks the input secret"), "{told}");
}
