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
    assert_eq!(
        text(&made["agent"], "agentArn"),
        format!("arn:aws:bedrock:us-east-1:123456789012:agent/{id}")
    );
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
    let names: Vec<_> =
        listed["agentAliasSummaries"].as_array().unwrap().iter().map(|it| text(it, "agentAliasId")).collect();
    assert_eq!(names, ["TSTALIASID", alias.as_str()]);
    let of_version = expect(&client.post(&groups.replace("DRAFT", "1"), &json!({})).await, 200);
    assert_eq!(text(&of_version["actionGroupSummaries"][0], "actionGroupName"), "order-operations");

    let update = json!({"agentName": "orders", "agentResourceRoleArn": ROLE, "foundationModel": CLAUDE,
                        "instruction": format!("{INSTRUCTION} Be brief.")});
    assert_eq!(
        text(&expect(&put(&client, &format!("/agents/{id}/"), &update).await, 202)["agent"], "agentStatus"),
        "UPDATING"
    );
    assert_eq!(status(&client, &id).await, "NOT_PREPARED");
    let listed = expect(&client.post("/agents/", &json!({})).await, 200);
    assert_eq!(text(&listed["agentSummaries"][0], "latestAgentVersion"), "1");
    assert_eq!(delete(&client, &format!("/agents/{id}/")).await.error(), (409, "ConflictException"));
    expect(&delete(&client, &format!("{aliases}{alias}/")).await, 202);
    expect(&delete(&client, &format!("/agents/{id}/")).await, 202);
    assert_eq!(client.get(&format!("/agents/{id}/")).await.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn a_name_and_a_token_are_used_once() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut body = agent("orders");
    body["clientToken"] = json!("t".repeat(33));
    let first = expect(&put(&client, "/agents/", &body).await, 202);
    let again = expect(&put(&client, "/agents/", &body).await, 202);
    assert_eq!(first["agent"]["agentId"], again["agent"]["agentId"]);
    body["description"] = json!("another");
    assert_eq!(put(&client, "/agents/", &body).await.error(), (409, "ConflictException"));
    let taken = put(&client, "/agents/", &agent("orders")).await;
    assert_eq!(taken.error(), (409, "ConflictException"));

    let id = text(&first["agent"], "agentId").to_owned();
    prepare(&client, &id).await;
    let aliases = format!("/agents/{id}/agentaliases/");
    let body = json!({"agentAliasName": "live", "clientToken": "a".repeat(33)});
    let first = expect(&put(&client, &aliases, &body).await, 202);
    let again = expect(&put(&client, &aliases, &body).await, 202);
    assert_eq!(first["agentAlias"]["agentAliasId"], again["agentAlias"]["agentAliasId"]);
    let versions = expect(&client.post(&format!("/agents/{id}/agentversions/"), &json!({})).await, 200);
    assert_eq!(versions["agentVersionSummaries"].as_array().unwrap().len(), 2, "DRAFT and 1");

    let groups = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
    let mut body = group("ops");
    body["clientToken"] = json!("g".repeat(33));
    let first = expect(&put(&client, &groups, &body).await, 200);
    prepare(&client, &id).await;
    let again = expect(&put(&client, &groups, &body).await, 200);
    assert_eq!(first["agentActionGroup"]["actionGroupId"], again["agentActionGroup"]["actionGroupId"]);
    assert_eq!(status(&client, &id).await, "PREPARED", "a repeated request changes nothing");
    assert_eq!(put(&client, &groups, &group("ops")).await.error(), (409, "ConflictException"));
}

#[tokio::test]
async fn a_draft_that_lacks_something_is_not_prepared() {
    let server = TestServer::start().await;
    let client = server.client();
    for (missing, part) in [
        ("instruction", "has no instruction"),
        ("foundationModel", "has no foundationModel"),
        ("agentResourceRoleArn", "has no agentResourceRoleArn"),
    ] {
        let mut body = agent(&format!("without-{missing}"));
        body.as_object_mut().unwrap().remove(missing);
        let made = expect(&put(&client, "/agents/", &body).await, 202);
        let id = text(&made["agent"], "agentId");
        let refused = client.post(&format!("/agents/{id}/"), &Value::Null).await;
        assert_eq!(refused.error(), (400, "ValidationException"));
        assert!(text(&refused.json(), "message").contains(part), "{}", refused.snapshot());
        assert_eq!(status(&client, id).await, "NOT_PREPARED");
        let refused =
            put(&client, &format!("/agents/{id}/agentaliases/"), &json!({"agentAliasName": "a"})).await;
        let message =
            "Create operation can't be performed on AgentAlias when Agent is in Not Prepared state.";
        assert!(text(&refused.json(), "message").starts_with(message), "{}", refused.snapshot());
    }
    let short = put(&client, "/agents/", &json!({"agentName": "short", "instruction": "Be nice."})).await;
    assert!(
        text(&short.json(), "message").contains("length greater than or equal to 40"),
        "{}",
        short.snapshot()
    );
}

#[tokio::test]
async fn what_an_agent_leans_on_may_fail_its_preparation() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut body = agent("orders");
    body["foundationModel"] = json!("nobody.no-such-model-v1:0");
    body["guardrailConfiguration"] = json!({"guardrailIdentifier": "gone1234", "guardrailVersion": "1"});
    let refused = put(&client, "/agents/", &body).await;
    assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());
    let guardrail = json!({
        "name": "gone", "wordPolicyConfig": {"wordsConfig": [{"text": "moonshine"}]},
        "blockedInputMessaging": "a", "blockedOutputsMessaging": "b",
    });
    let gone = text(&client.post("/guardrails", &guardrail).await.json(), "guardrailId").to_owned();
    body["guardrailConfiguration"] = json!({"guardrailIdentifier": gone, "guardrailVersion": "DRAFT"});
    let made = expect(&put(&client, "/agents/", &body).await, 202);
    let id = text(&made["agent"], "agentId").to_owned();
    delete(&client, &format!("/guardrails/{gone}")).await;
    let refused = put(&client, &format!("/agents/{id}/"), &body).await;
    assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());
    prepare(&client, &id).await;
    let got = expect(&client.get(&format!("/agents/{id}/")).await, 200);
    assert_eq!(text(&got["agent"], "agentStatus"), "FAILED");
    let reasons = got["agent"]["failureReasons"].to_string();
    assert!(reasons.contains("nobody.no-such-model-v1:0") && reasons.contains(&gone), "{reasons}");
    assert_eq!(got["agent"]["recommendedActions"].as_array().unwrap().len(), 2);
    assert_eq!(got["agent"].get("preparedAt"), None);
    let mut body = agent("orders");
    body.as_object_mut().unwrap().remove("guardrailConfiguration");
    expect(&put(&client, &format!("/agents/{id}/"), &body).await, 202);
    prepare(&client, &id).await;
    let got = expect(&client.get(&format!("/agents/{id}/")).await, 200);
    assert_eq!(text(&got["agent"], "agentStatus"), "PREPARED");
    assert_eq!(got["agent"].get("failureReasons"), None);
}

#[tokio::test]
async fn a_wrong_schema_is_told_by_its_place() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = create(&client, "orders").await;
    let groups = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
    let mut wrong = schema();
    wrong["paths"]["/orders/{orderId}"]["get"]["parameters"][0]["schema"] =
        json!({"$ref": "#/components/schemas/Id"});
    let mut body = group("ops");
    body["apiSchema"] = json!({"payload": wrong.to_string()});
    let refused = put(&client, &groups, &body).await;
    assert_eq!(refused.error(), (400, "ValidationException"));
    let message = text(&refused.json(), "message").to_owned();
    assert!(
        message.starts_with(
            "Failed to create OpenAPI 3 model from the JSON/YAML object that you provided for action: ops."
        ),
        "{message}"
    );
    assert!(message.contains("paths./orders/{orderId}.get.parameters.0.schema.$ref"), "{message}");

    let functions = json!([{"name": "a"}, {"name": "a"}]);
    let executor = json!({"customControl": "RETURN_CONTROL"});
    let both = json!({"actionGroupName": "ops", "actionGroupExecutor": executor,
                      "functionSchema": {"functions": functions}});
    let refused = put(&client, &groups, &both).await;
    assert!(
        text(&refused.json(), "message").contains("functions.1: the name a is given more than once"),
        "{}",
        refused.snapshot()
    );
    for (body, part) in [
        (json!({"actionGroupName": "ops"}), "needs an apiSchema"),
        (
            json!({"actionGroupName": "ask", "parentActionGroupSignature": "AMAZON.UserInput", "description": "x"}),
            "must leave description",
        ),
        (json!({"actionGroupName": "ops", "parentActionGroupSignature": "ANTHROPIC.Bash"}), "is not served"),
        (
            json!({"actionGroupName": "ops", "apiSchema": {"s3": {"s3BucketName": "nowhere", "s3ObjectKey": "a.json"}}}),
            "s3://nowhere/a.json can't be read",
        ),
    ] {
        let refused = put(&client, &groups, &body).await;
        assert_eq!(refused.error(), (400, "ValidationException"));
        assert!(text(&refused.json(), "message").contains(part), "{}", refused.snapshot());
    }
    let ask = json!({"actionGroupName": "ask", "parentActionGroupSignature": "AMAZON.UserInput"});
    let made = expect(&put(&client, &groups, &ask).await, 200);
    assert_eq!(text(&made["agentActionGroup"], "parentActionSignature"), "AMAZON.UserInput");
    let twice = json!({"actionGroupName": "again", "parentActionGroupSignature": "AMAZON.UserInput"});
    assert_eq!(put(&client, &groups, &twice).await.error(), (409, "ConflictException"));
}

#[tokio::test]
async fn an_enabled_action_group_is_disabled_before_it_goes() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = create(&client, "orders").await;
    let groups = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
    let made = expect(&put(&client, &groups, &group("ops")).await, 200);
    let one = format!("{groups}{}/", text(&made["agentActionGroup"], "actionGroupId"));
    assert_eq!(delete(&client, &one).await.error(), (409, "ConflictException"));
    let mut disabled = group("renamed");
    disabled["actionGroupState"] = json!("DISABLED");
    let updated = expect(&put(&client, &one, &disabled).await, 200);
    assert_eq!(text(&updated["agentActionGroup"], "actionGroupName"), "renamed");
    expect(&delete(&client, &one).await, 204);
    assert_eq!(client.get(&one).await.error(), (404, "ResourceNotFoundException"));
    let made = expect(&put(&client, &groups, &group("ops")).await, 200);
    let one =
        format!("{groups}{}/?skipResourceInUseCheck=true", text(&made["agentActionGroup"], "actionGroupId"));
    expect(&delete(&client, &one).await, 204);
}

#[tokio::test]
async fn aliases_follow_versions() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = create(&client, "orders").await;
    prepare(&client, &id).await;
    let aliases = format!("/agents/{id}/agentaliases/");
    let made = expect(&put(&client, &aliases, &json!({"agentAliasName": "live"})).await, 202);
    let live = format!("{aliases}{}/", text(&made["agentAlias"], "agentAliasId"));
    let version = |alias: &Value| alias["agentAlias"]["routingConfiguration"][0]["agentVersion"].clone();
    let name = json!({"agentAliasName": "live"});
    let updated = expect(&put(&client, &live, &name).await, 202);
    assert_eq!(version(&updated), "1", "nothing was prepared since");

    let mut changed = agent("orders");
    changed["description"] = json!("second");
    expect(&put(&client, &format!("/agents/{id}/"), &changed).await, 202);
    assert_eq!(version(&expect(&put(&client, &live, &name).await, 202)), "1", "it is not prepared yet");
    prepare(&client, &id).await;
    assert_eq!(version(&expect(&put(&client, &live, &name).await, 202)), "2");
    let back = json!({"agentAliasName": "live", "routingConfiguration": [{"agentVersion": "1"}],
                      "aliasInvocationState": "REJECT_INVOCATIONS"});
    expect(&put(&client, &live, &back).await, 202);
    let got = expect(&client.get(&live).await, 200);
    assert_eq!(version(&got), "1");
    assert_eq!(text(&got["agentAlias"], "aliasInvocationState"), "REJECT_INVOCATIONS");
    let events = got["agentAlias"]["agentAliasHistoryEvents"].as_array().unwrap();
    let versions: Vec<_> =
        events.iter().map(|it| it["routingConfiguration"][0]["agentVersion"].clone()).collect();
    assert_eq!(versions, ["1", "2", "1"], "the newest first");

    let first = expect(&client.get(&format!("/agents/{id}/agentversions/1/")).await, 200);
    assert_eq!(first["agentVersion"].get("description"), None);
    assert_eq!(
        delete(&client, &format!("/agents/{id}/agentversions/1/")).await.error(),
        (409, "ConflictException")
    );
    expect(
        &delete(&client, &format!("/agents/{id}/agentversions/1/?skipResourceInUseCheck=true")).await,
        202,
    );
    let got = expect(&client.get(&live).await, 200);
    assert_eq!(text(&got["agentAlias"], "agentAliasStatus"), "DISSOCIATED");

    for (body, code) in [
        (json!({"agentAliasName": "x", "routingConfiguration": [{"agentVersion": "7"}]}), 404),
        (json!({"agentAliasName": "x", "routingConfiguration": [{"agentVersion": "DRAFT"}]}), 400),
        (json!({"agentAliasName": "live"}), 409),
    ] {
        assert_eq!(put(&client, &aliases, &body).await.error().0, code, "{body}");
    }
    let test = expect(&client.get(&format!("{aliases}TSTALIASID/")).await, 200);
    assert_eq!(text(&test["agentAlias"], "agentAliasName"), "AgentTestAlias");
    assert_eq!(version(&test), "DRAFT");
    assert_eq!(delete(&client, &format!("{aliases}TSTALIASID/")).await.error(), (400, "ValidationException"));
}

#[tokio::test]
async fn a_supervisor_has_collaborators_that_are_there() {
    let server = TestServer::start().await;
    let client = server.client();
    let worker = create(&client, "worker").await;
    prepare(&client, &worker).await;
    let made = expect(
        &put(&client, &format!("/agents/{worker}/agentaliases/"), &json!({"agentAliasName": "v"})).await,
        202,
    );
    let (alias, arn) =
        (text(&made["agentAlias"], "agentAliasId"), text(&made["agentAlias"], "agentAliasArn"));
    let mut body = agent("supervisor");
    let plain = expect(&put(&client, "/agents/", &body).await, 202);
    let id = text(&plain["agent"], "agentId").to_owned();
    let collaborators = format!("/agents/{id}/agentversions/DRAFT/agentcollaborators/");
    let association = json!({"agentDescriptor": {"aliasArn": arn}, "collaboratorName": "worker",
                             "collaborationInstruction": "Give it the work.", "relayConversationHistory": "TO_COLLABORATOR"});
    assert_eq!(put(&client, &collaborators, &association).await.error(), (400, "ValidationException"));
    body["agentCollaboration"] = json!("SUPERVISOR");
    expect(&put(&client, &format!("/agents/{id}/"), &body).await, 202);
    let refused = client.post(&format!("/agents/{id}/"), &Value::Null).await;
    assert!(text(&refused.json(), "message").starts_with("This agent cannot be prepared. The AgentCollaboration attribute is set to SUPERVISOR but no agent collaborators are added."), "{}", refused.snapshot());
    let nobody = json!({"agentDescriptor": {"aliasArn": arn.replace(alias, "NOBODYNOBO")}, "collaboratorName": "worker",
                        "collaborationInstruction": "Give it the work."});
    assert_eq!(put(&client, &collaborators, &nobody).await.error(), (404, "ResourceNotFoundException"));
    let made = expect(&put(&client, &collaborators, &association).await, 200);
    let one = format!("{collaborators}{}/", text(&made["agentCollaborator"], "collaboratorId"));
    assert_eq!(put(&client, &collaborators, &association).await.error(), (409, "ConflictException"));
    prepare(&client, &id).await;
    assert_eq!(status(&client, &id).await, "PREPARED");
    let listed = expect(&client.post(&collaborators, &json!({})).await, 200);
    assert_eq!(text(&listed["agentCollaboratorSummaries"][0], "relayConversationHistory"), "TO_COLLABORATOR");

    let own = format!("/agents/{worker}/agentaliases/{alias}/");
    expect(&delete(&client, &own).await, 202);
    assert_eq!(delete(&client, &format!("/agents/{worker}/")).await.error(), (409, "ConflictException"));
    prepare(&client, &id).await;
    assert_eq!(status(&client, &id).await, "FAILED");
    expect(&delete(&client, &one).await, 204);
    expect(&delete(&client, &format!("/agents/{worker}/")).await, 202);
}

#[tokio::test]
async fn lists_come_in_pages_and_tags_stay_with_what_they_are_on() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut ids = Vec::new();
    for at in 0..5 {
        let mut body = agent(&format!("agent-{at}"));
        body["tags"] = json!({"at": at.to_string()});
        ids.push(text(&expect(&put(&client, "/agents/", &body).await, 202)["agent"], "agentId").to_owned());
    }
    let mut seen = Vec::new();
    let mut body = json!({"maxResults": 2});
    loop {
        let page = expect(&client.post("/agents/", &body).await, 200);
        seen.extend(
            page["agentSummaries"].as_array().unwrap().iter().map(|it| text(it, "agentId").to_owned()),
        );
        match page.get("nextToken") {
            Some(token) => body["nextToken"] = token.clone(),
            None => break,
        }
    }
    ids.sort();
    assert_eq!(seen, ids);
    let tags = |arn: &str| format!("/tags/{}", arn.replace(':', "%3A").replace('/', "%2F"));
    let listed = expect(&client.post("/agents/", &json!({"maxResults": 1})).await, 200);
    let id = text(&listed["agentSummaries"][0], "agentId").to_owned();
    let arn = format!("arn:aws:bedrock:us-east-1:123456789012:agent/{id}");
    expect(&client.post(&tags(&arn), &json!({"tags": {"more": "yes"}})).await, 200);
    let got = expect(&client.get(&tags(&arn)).await, 200);
    assert_eq!(got["tags"]["more"], "yes");
    assert!(got["tags"].get("at").is_some());
    prepare(&client, &id).await;
    let alias = json!({"agentAliasName": "live", "tags": {"stage": "live"}});
    let made = expect(&put(&client, &format!("/agents/{id}/agentaliases/"), &alias).await, 202);
    let alias_arn = text(&made["agentAlias"], "agentAliasArn").to_owned();
    assert_eq!(expect(&client.get(&tags(&alias_arn)).await, 200)["tags"], json!({"stage": "live"}));
    expect(&delete(&client, &format!("/agents/{id}/?skipResourceInUseCheck=true")).await, 202);
    for arn in [arn, alias_arn] {
        assert_eq!(client.get(&tags(&arn)).await.error(), (404, "ResourceNotFoundException"));
    }
}

#[tokio::test]
async fn prompt_overrides_are_checked_and_kept() {
    let server = TestServer::start().await;
    let client = server.client();
    let with = |overrides: Value| {
        let mut body = agent("orders");
        body["promptOverrideConfiguration"] = overrides;
        body
    };
    let step = |kind: &str, more: Value| {
        let mut step = json!({"promptType": kind});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    let overridden = json!({"promptCreationMode": "OVERRIDDEN"});
    let text_only = json!({"basePromptTemplate": "Be $instruction$"});
    let broken = json!({"promptCreationMode": "OVERRIDDEN", "basePromptTemplate": "{\"system\": \"a\""});
    let parser = json!({"parserMode": "OVERRIDDEN"});
    for (wrong, part) in [
        (json!({"promptConfigurations": [step("ORCHESTRATION", overridden)]}), "needs a basePromptTemplate"),
        (
            json!({"promptConfigurations": [step("ORCHESTRATION", text_only)]}),
            "needs the promptCreationMode OVERRIDDEN",
        ),
        (
            json!({"promptConfigurations": [step("ORCHESTRATION", broken)]}),
            "Invalid JSON in the prompt. Check the BasePromptTemplate",
        ),
        (json!({"promptConfigurations": [step("ORCHESTRATION", parser)]}), "needs an overrideLambda"),
        (
            json!({"promptConfigurations": [], "overrideLambda": FUNCTION}),
            "needs a prompt configuration with the parserMode",
        ),
        (json!({"promptConfigurations": [{}]}), "needs a promptType"),
        (
            json!({"promptConfigurations": [step("PRE_PROCESSING", json!({})), step("PRE_PROCESSING", json!({}))]}),
            "more than one",
        ),
    ] {
        let refused = put(&client, "/agents/", &with(wrong)).await;
        assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());
        assert!(text(&refused.json(), "message").contains(part), "{}", refused.snapshot());
    }
    let good = json!({"promptCreationMode": "OVERRIDDEN", "promptState": "ENABLED", "parserMode": "OVERRIDDEN",
                      "basePromptTemplate": "{\"system\": \"$instruction$\"}",
                      "inferenceConfiguration": {"temperature": 0.5, "topP": 1.0, "topK": 250, "maximumLength": 2048,
                                                 "stopSequences": ["\n\nHuman:"]}});
    let overrides =
        json!({"promptConfigurations": [step("ORCHESTRATION", good)], "overrideLambda": FUNCTION});
    let made = expect(&put(&client, "/agents/", &with(overrides.clone())).await, 202);
    let id = text(&made["agent"], "agentId").to_owned();
    prepare(&client, &id).await;
    let got = expect(&client.get(&format!("/agents/{id}/")).await, 200);
    assert_eq!(got["agent"]["agentStatus"], "PREPARED");
    let shown = &got["agent"]["promptOverrideConfiguration"];
    assert_eq!(shown["overrideLambda"], FUNCTION);
    let prompts = shown["promptConfigurations"].as_array().unwrap();
    let kinds: Vec<_> = prompts.iter().map(|it| text(it, "promptType")).collect();
    let all = ["PRE_PROCESSING", "ORCHESTRATION", "KNOWLEDGE_BASE_RESPONSE_GENERATION", "POST_PROCESSING"];
    assert_eq!(kinds, all, "the steps that were left alone too");
    assert_eq!(text(&prompts[1], "basePromptTemplate"), "{\"system\": \"$instruction$\"}");
    assert_eq!(text(&prompts[0], "promptCreationMode"), "DEFAULT");
    assert_eq!(text(&prompts[0], "promptState"), "DISABLED");
    assert!(text(&prompts[2], "basePromptTemplate").contains("$search_results$"));

    // What programs do to change one step: keep what is overridden, leave the rest out.
    let overridden: Vec<_> = prompts.iter().filter(|it| it["promptCreationMode"] == "OVERRIDDEN").collect();
    let again = with(json!({"promptConfigurations": overridden, "overrideLambda": FUNCTION}));
    expect(&put(&client, &format!("/agents/{id}/"), &again).await, 202);
    let router = json!({"promptConfigurations": [step("ROUTING_CLASSIFIER", json!({
        "promptCreationMode": "DEFAULT", "parserMode": "DEFAULT", "promptState": "ENABLED", "foundationModel": CLAUDE}))]});
    expect(&put(&client, &format!("/agents/{id}/"), &with(router)).await, 202);
}

/// A new knowledge base's id. It has a collection of its own.
pub(crate) async fn knowledge_base(client: &Client, name: &str, role: &str) -> String {
    let collection = json!({"name": name, "type": "VECTORSEARCH", "encryptionConfig": {"aWSOwnedKey": true}});
    let aoss = client.for_service("aoss");
    let made = expect(&aoss.target("OpenSearchServerless.CreateCollection", &collection).await, 200);
    let body = json!({
        "name": name, "roleArn": role,
        "knowledgeBaseConfiguration": {"type": "VECTOR", "vectorKnowledgeBaseConfiguration": {
            "embeddingModelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"}},
        "storageConfiguration": {"type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": {
            "collectionArn": made["createCollectionDetail"]["arn"], "vectorIndexName": name,
            "fieldMapping": {"vectorField": "v", "textField": "t", "metadataField": "m"}}}
    });
    let made = expect(&put(client, "/knowledgebases/", &body).await, 202);
    text(&made["knowledgeBase"], "knowledgeBaseId").to_owned()
}

#[tokio::test]
async fn knowledge_bases_are_associated() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = create(&client, "orders").await;
    let bases = format!("/agents/{id}/agentversions/DRAFT/knowledgebases/");
    let mut ids = Vec::new();
    for name in ["first", "second", "third"] {
        ids.push(knowledge_base(&client, name, ROLE).await);
    }
    let association = |id: &str| json!({"knowledgeBaseId": id, "description": "Policies"});
    let made = expect(&put(&client, &bases, &association(&ids[0])).await, 200);
    assert_eq!(text(&made["agentKnowledgeBase"], "knowledgeBaseState"), "ENABLED");
    assert_eq!(put(&client, &bases, &association(&ids[0])).await.error(), (409, "ConflictException"));
    expect(&put(&client, &bases, &association(&ids[1])).await, 200);
    assert_eq!(
        put(&client, &bases, &association(&ids[2])).await.error(),
        (402, "ServiceQuotaExceededException")
    );
    prepare(&client, &id).await;
    expect(
        &put(&client, &format!("/agents/{id}/agentaliases/"), &json!({"agentAliasName": "live"})).await,
        202,
    );

    let one = format!("{bases}{}/", ids[0]);
    let updated = expect(&put(&client, &one, &json!({"knowledgeBaseState": "DISABLED"})).await, 200);
    assert_eq!(text(&updated["agentKnowledgeBase"], "description"), "Policies");
    expect(&delete(&client, &format!("{bases}{}/", ids[1])).await, 204);
    let listed = expect(&client.post(&bases, &json!({})).await, 200);
    let listed = listed["agentKnowledgeBaseSummaries"].as_array().unwrap().clone();
    assert_eq!((listed.len(), text(&listed[0], "knowledgeBaseState")), (1, "DISABLED"));
    let before = expect(&client.get(&one.replace("DRAFT", "1")).await, 200);
    assert_eq!(
        text(&before["agentKnowledgeBase"], "knowledgeBaseState"),
        "ENABLED",
        "a version never changes"
    );
    assert_eq!(text(&before["agentKnowledgeBase"], "agentVersion"), "1");
}
