//! Flows: drafts, versions and aliases, and invocations with their events.

use std::time::Duration;

use craton_testkit::{Answer, Client, Scripted, Step, TestServer};
use http::Method;
use serde_json::{Value, json};

const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/flows";

pub(crate) fn data(name: &str, (source, output): (&str, &str), (target, input): (&str, &str)) -> Value {
    let configuration = json!({"data": {"sourceOutput": output, "targetInput": input}});
    json!({"name": name, "type": "Data", "source": source, "target": target, "configuration": configuration})
}

fn conditional(name: &str, source: &str, condition: &str, target: &str) -> Value {
    let configuration = json!({"conditional": {"condition": condition}});
    json!({"name": name, "type": "Conditional", "source": source, "target": target, "configuration": configuration})
}

pub(crate) fn prompt(name: &str, template: &str, expression: &str) -> Value {
    let inline = json!({
        "modelId": CLAUDE, "templateType": "TEXT", "templateConfiguration": {"text": {"text": template}},
        "inferenceConfiguration": {"text": {"maxTokens": 16, "temperature": 0.5}}
    });
    json!({"name": name, "type": "Prompt", "configuration": {"prompt": {"sourceConfiguration": {"inline": inline}}},
        "inputs": [{"name": "text", "type": "String", "expression": expression}],
        "outputs": [{"name": "modelCompletion", "type": "String"}]})
}

pub(crate) fn output(name: &str, expression: &str) -> Value {
    json!({"name": name, "type": "Output", "configuration": {"output": {}},
        "inputs": [{"name": "document", "type": "String", "expression": expression}]})
}

pub(crate) fn input(kind: &str) -> Value {
    json!({"name": "In", "type": "Input", "configuration": {"input": {}}, "outputs": [{"name": "document", "type": kind}]})
}

/// In → Route → Ask → Loud, or → Calm.
fn routed() -> Value {
    json!({
        "nodes": [
            input("Object"),
            {"name": "Route", "type": "Condition", "inputs": [{"name": "level", "type": "Number", "expression": "$.data.level"}],
             "configuration": {"condition": {"conditions": [{"name": "urgent", "expression": "level > 5"}, {"name": "default"}]}}},
            prompt("Ask", "Reply briefly to: {{text}}", "$.data.text"),
            output("Loud", "$.data"),
            output("Calm", "$.data.text")
        ],
        "connections": [
            data("toRoute", ("In", "document"), ("Route", "level")),
            data("toAsk", ("In", "document"), ("Ask", "text")),
            data("toLoud", ("Ask", "modelCompletion"), ("Loud", "document")),
            data("toCalm", ("In", "document"), ("Calm", "document")),
            conditional("ifUrgent", "Route", "urgent", "Ask"),
            conditional("ifNot", "Route", "default", "Calm")
        ]
    })
}

/// In → Ask1 → Ask2 → Ask3 → Out.
pub(crate) fn chained() -> Value {
    json!({
        "nodes": [input("String"), prompt("Ask1", "1 {{text}}", "$.data"), prompt("Ask2", "2 {{text}}", "$.data"),
            prompt("Ask3", "3 {{text}}", "$.data"), output("Out", "$.data")],
        "connections": [
            data("c1", ("In", "document"), ("Ask1", "text")),
            data("c2", ("Ask1", "modelCompletion"), ("Ask2", "text")),
            data("c3", ("Ask2", "modelCompletion"), ("Ask3", "text")),
            data("c4", ("Ask3", "modelCompletion"), ("Out", "document"))
        ]
    })
}

pub(crate) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

pub(crate) async fn create(client: &Client, name: &str, definition: Value) -> String {
    let body = json!({"name": name, "executionRoleArn": ROLE, "definition": definition});
    let answer = client.post("/flows/", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.snapshot());
    field(&answer.json(), "id").to_owned()
}

pub(crate) async fn prepared(client: &Client, name: &str, definition: Value) -> String {
    let id = create(client, name, definition).await;
    let answer = client.post(&format!("/flows/{id}/"), &Value::Null).await;
    assert_eq!((answer.status.as_u16(), field(&answer.json(), "status")), (202, "Prepared"));
    id
}

pub(crate) fn request(document: Value) -> Value {
    json!({"inputs": [{"nodeName": "In", "nodeOutputName": "document", "content": {"document": document}}]})
}

pub(crate) async fn invoke(client: &Client, id: &str, document: Value) -> Answer {
    let mut body = request(document);
    body["enableTrace"] = json!(true);
    client.post(&format!("/flows/{id}/aliases/TSTALIASID"), &body).await
}

/// An answer's events: kinds of traces, and what else there is, in order.
pub(crate) fn told(answer: &Answer) -> Vec<String> {
    let event = |frame: craton_wire::eventstream::Frame| {
        let payload: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        let kind =
            frame.header(":event-type").or_else(|| frame.header(":exception-type")).unwrap_or_default();
        match kind {
            "flowTraceEvent" => {
                let (kind, trace) = payload["trace"].as_object().unwrap().iter().next().unwrap();
                format!("{kind} {}", field(trace, "nodeName"))
            }
            "flowOutputEvent" => {
                format!("output {} {}", field(&payload, "nodeName"), payload["content"]["document"])
            }
            "flowCompletionEvent" => field(&payload, "completionReason").to_owned(),
            other => format!("{other} {}", payload["message"].as_str().unwrap_or_default()),
        }
    };
    answer.frames().into_iter().map(event).collect()
}

fn tags(arn: &str) -> String {
    format!("/tags/{}", arn.replace(':', "%3A").replace('/', "%2F"))
}

fn delete(path: String, client: &Client) -> impl Future<Output = Answer> {
    let client = client.clone();
    async move { client.json(Method::DELETE, &path, &Value::Null).await }
}

#[tokio::test]
async fn drafts_versions_and_aliases() {
    let server = TestServer::start().await;
    let client = server.client();
    let body = json!({"name": "routed", "executionRoleArn": ROLE, "definition": routed(),
        "clientToken": "c".repeat(33), "tags": {"team": "blue"}});
    let made = client.post("/flows/", &body).await.json();
    assert_eq!((field(&made, "status"), field(&made, "version")), ("NotPrepared", "DRAFT"));
    assert_eq!(
        client.post("/flows/", &body).await.json()["id"],
        made["id"],
        "a repeated request makes no other"
    );
    let other = json!({"name": "routed", "executionRoleArn": ROLE});
    assert_eq!(client.post("/flows/", &other).await.error(), (409, "ConflictException"));
    let id = field(&made, "id");
    let arn = field(&made, "arn");

    let early = client.post(&format!("/flows/{id}/versions"), &json!({})).await;
    assert_eq!(early.error(), (400, "ValidationException"), "not prepared: {}", early.snapshot());
    assert_eq!(client.post(&format!("/flows/{id}/"), &Value::Null).await.status, 202);
    let token = json!({"clientToken": "v".repeat(33)});
    let version = client.post(&format!("/flows/{id}/versions"), &token).await;
    assert_eq!((version.status.as_u16(), field(&version.json(), "version")), (201, "1"));
    assert_eq!(field(&version.json(), "arn"), format!("{arn}:1"));
    let again = client.post(&format!("/flows/{id}/versions"), &token).await;
    assert_eq!(field(&again.json(), "version"), "1", "a repeated request publishes nothing");

    let alias = json!({"name": "live", "routingConfiguration": [{"flowVersion": "1"}], "clientToken": "a".repeat(33)});
    let live = client.post(&format!("/flows/{id}/aliases"), &alias).await;
    assert_eq!(live.status, 201, "{}", live.snapshot());
    let live = live.json();
    let alias_id = field(&live, "id");
    assert_eq!(field(&live, "arn"), format!("{arn}/alias/{alias_id}"));
    let repeated = client.post(&format!("/flows/{id}/aliases"), &alias).await.json();
    assert_eq!(repeated["id"], live["id"]);
    let nowhere = json!({"name": "lost", "routingConfiguration": [{"flowVersion": "9"}]});
    assert_eq!(
        client.post(&format!("/flows/{id}/aliases"), &nowhere).await.error(),
        (404, "ResourceNotFoundException")
    );
    let test = client.get(&format!("/flows/{id}/aliases/TSTALIASID")).await.json();
    assert_eq!(test["routingConfiguration"], json!([{"flowVersion": "DRAFT"}]));
    let listed = client.get(&format!("/flows/{id}/aliases")).await.json();
    assert_eq!(listed["flowAliasSummaries"].as_array().unwrap().len(), 2);

    // The draft moves on; the version stays.
    let update =
        json!({"name": "routed", "executionRoleArn": ROLE, "definition": {"nodes": [input("String")]}});
    let updated = client.json(Method::PUT, &format!("/flows/{id}/"), &update).await.json();
    assert_eq!(field(&updated, "status"), "NotPrepared");
    let prepared = client.post(&format!("/flows/{id}/"), &Value::Null).await.json();
    assert_eq!(field(&prepared, "status"), "Failed");
    let draft = client.get(&format!("/flows/{id}/")).await.json();
    assert_eq!(field(&draft["validations"][0], "type"), "MissingEndingNodes", "{draft}");
    let first = client.get(&format!("/flows/{id}/versions/1/")).await.json();
    assert_eq!(first["definition"]["nodes"].as_array().unwrap().len(), 5);

    let in_use = delete(format!("/flows/{id}/versions/1/"), &client).await;
    assert_eq!(in_use.error(), (409, "ConflictException"));
    let in_use = delete(format!("/flows/{id}/"), &client).await;
    assert_eq!(in_use.error(), (409, "ConflictException"));
    let change = json!({"name": "live", "routingConfiguration": [{"flowVersion": "DRAFT"}]});
    let changed = client.json(Method::PUT, &format!("/flows/{id}/aliases/{alias_id}"), &change).await;
    assert_eq!(changed.json()["routingConfiguration"], json!([{"flowVersion": "DRAFT"}]));
    let fixed = client.json(Method::PUT, &format!("/flows/{id}/aliases/TSTALIASID"), &change).await;
    assert_eq!(fixed.error(), (400, "ValidationException"));
    assert_eq!(delete(format!("/flows/{id}/versions/1/"), &client).await.status, 200);

    let tags = tags(arn);
    assert_eq!(client.get(&tags).await.json(), json!({"tags": {"team": "blue"}}));
    assert_eq!(delete(format!("/flows/{id}/aliases/{alias_id}"), &client).await.status, 200);
    assert_eq!(delete(format!("/flows/{id}/"), &client).await.status, 200);
    assert_eq!(client.get(&tags).await.error(), (404, "ResourceNotFoundException"));
    assert_eq!(client.get(&format!("/flows/{id}/")).await.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn definitions_are_checked_on_request() {
    let server = TestServer::start().await;
    let client = server.client();
    let good = client.post("/flows/validate-definition", &json!({"definition": routed()})).await.json();
    assert_eq!(good, json!({"validations": []}));
    let mut bad = routed();
    bad["nodes"][1]["configuration"]["condition"]["conditions"][0]["expression"] = json!("level >");
    let found = client.post("/flows/validate-definition", &json!({"definition": bad})).await.json();
    let first = &found["validations"][0];
    assert_eq!((field(first, "type"), field(first, "severity")), ("MalformedConditionExpression", "Error"));
    let cause = field(&first["details"]["malformedConditionExpression"], "cause");
    assert!(cause.ends_with("at character 8"), "{cause}");
}

#[tokio::test]
async fn an_invocation_tells_what_happens_as_it_happens() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = prepared(&client, "routed", routed()).await;
    let calm = invoke(&client, &id, json!({"level": 2, "text": "calm"})).await;
    assert_eq!(calm.status, 200, "{}", calm.snapshot());
    assert!(!calm.header("x-amz-bedrock-flow-execution-id").is_empty(), "{:?}", calm.headers);
    let expected = [
        "nodeOutputTrace In",
        "nodeInputTrace Route",
        "conditionNodeResultTrace Route",
        "nodeInputTrace Calm",
        "output Calm \"calm\"",
        "SUCCESS",
    ];
    assert_eq!(told(&calm), expected);
    assert!(server.model.requests().is_empty());

    let loud = invoke(&client, &id, json!({"level": 9, "text": "down"})).await;
    let expected = [
        "nodeOutputTrace In",
        "nodeInputTrace Route",
        "conditionNodeResultTrace Route",
        "nodeInputTrace Ask",
        "nodeActionTrace Ask",
        "nodeOutputTrace Ask",
        "nodeInputTrace Loud",
        "output Loud \"Hello there.\"",
        "SUCCESS",
    ];
    assert_eq!(told(&loud), expected);
    let asked = server.model.requests().pop().unwrap();
    assert_eq!((asked.sampling.max_tokens, asked.sampling.temperature), (Some(16), Some(0.5)));
    assert!(format!("{:?}", asked.messages).contains("Reply briefly to: down"));
}

#[tokio::test]
async fn what_can_not_run_is_refused_and_what_fails_says_where() {
    let server = TestServer::start().await;
    let client = server.client();
    let id = create(&client, "routed", routed()).await;
    let document = || json!({"level": 9, "text": "x"});
    let unprepared = invoke(&client, &id, document()).await;
    assert_eq!(unprepared.error(), (400, "ValidationException"), "{}", unprepared.snapshot());
    client.post(&format!("/flows/{id}/"), &Value::Null).await;
    let mistyped = invoke(&client, &id, json!("text")).await;
    assert!(
        field(&mistyped.json(), "message").contains("must be of the type Object"),
        "{}",
        mistyped.snapshot()
    );
    let elsewhere = json!({"inputs": [{"nodeName": "Ask", "content": {"document": "x"}}]});
    let elsewhere = client.post(&format!("/flows/{id}/aliases/TSTALIASID"), &elsewhere).await;
    assert_eq!(elsewhere.error(), (400, "ValidationException"));
    let nobody = client.post("/flows/ABCDEFGHIJ/aliases/TSTALIASID", &request(document())).await;
    assert_eq!(nobody.error(), (404, "ResourceNotFoundException"));

    let missing = invoke(&client, &id, json!({"text": "x"})).await;
    let expected = "validationException The node Route failed: the expression $.data.level of its input level finds nothing";
    assert_eq!(told(&missing).last().unwrap(), expected);

    let busy = Step::Fail(craton_backend::BackendError::Unreachable("nobody is there".into()));
    let server = TestServer::with(Scripted::playing(vec![busy]), |_| {}).await;
    let client = server.client();
    let id = prepared(&client, "routed", routed()).await;
    let failed = told(&invoke(&client, &id, document()).await);
    assert!(failed.last().unwrap().contains("The node Ask failed:"), "{failed:?}");
}

#[tokio::test]
async fn a_stored_prompt_runs_in_a_flow_under_its_arn() {
    let server = TestServer::start().await;
    let client = server.client();
    let variant = json!({"name": "default", "templateType": "TEXT", "modelId": CLAUDE,
        "templateConfiguration": {"text": {"text": "Translate {{text}}"}}});
    let made = json!({"name": "translate", "defaultVariant": "default", "variants": [variant]});
    let arn = client.post("/prompts/", &made).await.json()["arn"].clone();
    let mut definition = chained();
    definition["nodes"][1]["configuration"] =
        json!({"prompt": {"sourceConfiguration": {"resource": {"promptArn": arn}}}});
    let id = prepared(&client, "translated", definition).await;
    let told = told(&invoke(&client, &id, json!("hello")).await);
    assert_eq!(told.last().unwrap(), "SUCCESS", "{told:?}");
    assert!(format!("{:?}", server.model.requests()[0].messages).contains("Translate hello"));
}

#[tokio::test]
async fn a_client_that_leaves_frees_what_its_flow_was_waiting_for() {
    let server = TestServer::with(Scripted::playing(vec![Step::Hang]), |_| {}).await;
    let client = server.client();
    let id = prepared(&client, "chained", chained()).await;
    let mut body = request(json!("x"));
    body["enableTrace"] = json!(true);
    let path = format!("/flows/{id}/aliases/TSTALIASID");
    let mut open = client.open(Method::POST, &path, body.to_string()).await;
    assert!(open.frame().await.is_some(), "the run has begun");
    until("the model is asked", || !server.model.requests().is_empty()).await;
    drop(open);
    until("the model is let go", || server.model.cancelled() == 1).await;
}

pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn what_nodes_name_is_looked_up() {
    let server = TestServer::start().await;
    let client = server.client();
    let function = json!({"name": "Work", "type": "LambdaFunction",
        "configuration": {"lambdaFunction": {"lambdaArn": "arn:aws:lambda:us-east-1:123456789012:function:none"}},
        "inputs": [{"name": "it", "type": "String", "expression": "$.data"}],
        "outputs": [{"name": "functionResponse", "type": "String"}]});
    let stored = json!({"name": "Ask", "type": "Prompt", "configuration": {"prompt": {"sourceConfiguration":
        {"resource": {"promptArn": "arn:aws:bedrock:us-east-1:123456789012:prompt/NONE567890"}}}},
        "inputs": [{"name": "text", "type": "String", "expression": "$.data"}],
        "outputs": [{"name": "modelCompletion", "type": "String"}]});
    let mut unknown = prompt("Model", "Say {{text}}", "$.data");
    unknown["configuration"]["prompt"]["sourceConfiguration"]["inline"]["modelId"] = "no.such-model".into();
    let base = json!({"name": "Base", "type": "KnowledgeBase", "configuration": {"knowledgeBase": {"knowledgeBaseId": "NONE567890"}},
        "inputs": [{"name": "retrievalQuery", "type": "String", "expression": "$.data"}],
        "outputs": [{"name": "retrievalResults", "type": "Array"}]});
    let booker = crate::flow_questions::booker(
        "arn:aws:bedrock:us-east-1:123456789012:agent-alias/NONE567890/TSTALIASID",
    );
    let cases = [
        (function, ("it", "functionResponse"), "Warning", "function:none"),
        (stored, ("text", "modelCompletion"), "Error", "prompt/NONE567890"),
        (unknown, ("text", "modelCompletion"), "Error", "no.such-model"),
        (base, ("retrievalQuery", "retrievalResults"), "Error", "NONE567890"),
        (booker, ("agentInputText", "agentResponse"), "Error", "NONE567890/TSTALIASID"),
    ];
    for (node, (takes, gives), severity, named) in cases {
        let name = field(&node, "name").to_owned();
        let mut out = output("Out", "$.data");
        if gives == "retrievalResults" {
            out["inputs"][0]["type"] = "Array".into();
        }
        let definition = json!({"nodes": [input("String"), node, out], "connections": [
            data("c1", ("In", "document"), (&name, takes)), data("c2", (&name, gives), ("Out", "document"))]});
        let body = json!({"definition": definition});
        let found = client.post("/flows/validate-definition", &body).await.json();
        let found = found["validations"].as_array().unwrap();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(field(&found[0], "severity"), severity, "{found:?}");
        assert!(field(&found[0], "message").contains(named), "{found:?}");
        let id = create(&client, &name, definition).await;
        let prepared = client.post(&format!("/flows/{id}/"), &Value::Null).await.json();
        let expected = if severity == "Error" { "Failed" } else { "Prepared" };
        assert_eq!(field(&prepared, "status"), expected, "{name}");
    }
}

#[tokio::test]
async fn a_flow_has_no_more_of_each_than_it_can_have() {
    let server = TestServer::start().await;
    let client = server.client();
    let condition = |n: usize| json!({"name": format!("If{n}"), "type": "Condition", "configuration": {"condition": {"conditions": [{"name": "default"}]}}});
    let nodes: Vec<Value> = (0..6).map(condition).collect();
    let body = json!({"name": "many", "executionRoleArn": ROLE, "definition": {"nodes": nodes}});
    let refused = client.post("/flows/", &body).await;
    assert_eq!(refused.error(), (402, "ServiceQuotaExceededException"), "{}", refused.snapshot());
    let id = prepared(&client, "versions", chained()).await;
    for _ in 0..10 {
        let made = client.post(&format!("/flows/{id}/versions"), &json!({})).await;
        assert_eq!(made.status, 201, "{}", made.snapshot());
    }
    let refused = client.post(&format!("/flows/{id}/versions"), &json!({})).await;
    assert_eq!(refused.error(), (402, "ServiceQuotaExceededException"), "{}", refused.snapshot());
}

#[tokio::test]
async fn with_roles_enforced_nodes_do_what_the_flows_role_allows() {
    let server =
        TestServer::with(Scripted::saying("Hello there."), |config| config.enforce_service_roles = true)
            .await;
    let client = server.client();
    let body = json!({"name": "roled", "executionRoleArn": ROLE, "definition": chained()});
    let refused = client.post("/flows/", &body).await;
    assert_eq!(refused.error(), (400, "ValidationException"), "{}", refused.snapshot());

    let iam = client.for_service("iam");
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "bedrock.amazonaws.com"}}]});
    let made = [
        ("Action", "CreateRole"),
        ("Version", "2010-05-08"),
        ("RoleName", "flows"),
        ("AssumeRolePolicyDocument", &trust.to_string()),
    ];
    let made = iam.query(&made).await;
    assert_eq!(made.status, 200, "{}", made.snapshot());
    let id = prepared(&client, "roled", chained()).await;
    let denied = told(&invoke(&client, &id, json!("x")).await);
    assert!(denied.last().unwrap().starts_with("accessDeniedException The node Ask1 failed:"), "{denied:?}");
    assert!(server.model.requests().is_empty());

    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "bedrock:InvokeModel",
        "Resource": format!("arn:aws:bedrock:*::foundation-model/{CLAUDE}")}]});
    let allowed = [
        ("Action", "PutRolePolicy"),
        ("Version", "2010-05-08"),
        ("RoleName", "flows"),
        ("PolicyName", "p"),
        ("PolicyDocument", &policy.to_string()),
    ];
    assert_eq!(iam.query(&allowed).await.status, 200);
    assert_eq!(told(&invoke(&client, &id, json!("x")).await).last().unwrap(), "SUCCESS");

    // What nodes name besides is asked about too: a guardrail, and the models of a search.
    let mut guarded = chained();
    guarded["nodes"][1]["configuration"]["prompt"]["guardrailConfiguration"] =
        crate::agent_frames::guardrail(&server).await;
    let id = prepared(&client, "guarded", guarded).await;
    let denied = told(&invoke(&client, &id, json!("x")).await);
    assert!(denied.last().unwrap().contains("bedrock:ApplyGuardrail"), "{denied:?}");
    let rerank = json!({"type": "BEDROCK_RERANKING_MODEL", "bedrockRerankingConfiguration": {"modelConfiguration":
        {"modelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.rerank-v1:0"}}});
    let base = crate::agents::knowledge_base(&client, "searched", ROLE).await;
    let searching = json!({
        "nodes": [input("String"), {"name": "Search", "type": "KnowledgeBase",
            "configuration": {"knowledgeBase": {"knowledgeBaseId": base, "rerankingConfiguration": rerank}},
            "inputs": [{"name": "retrievalQuery", "type": "String", "expression": "$.data"}],
            "outputs": [{"name": "retrievalResults", "type": "Array"}]}, output("Out", "$.data")],
        "connections": [data("c1", ("In", "document"), ("Search", "retrievalQuery")),
            data("c2", ("Search", "retrievalResults"), ("Out", "document"))]
    });
    let mut searching = searching;
    searching["nodes"][2]["inputs"][0]["type"] = json!("Array");
    let id = prepared(&client, "searching", searching).await;
    let denied = told(&invoke(&client, &id, json!("x")).await);
    assert!(denied.last().unwrap().contains("amazon.rerank-v1:0"), "{denied:?}");
}

/// A role that may ask models only under a guardrail asks them from the nodes that have it.
#[tokio::test]
async fn a_role_may_be_bound_to_a_guardrail() {
    let server =
        TestServer::with(Scripted::saying("Hello there."), |config| config.enforce_service_roles = true)
            .await;
    let client = server.client();
    let guardrail = crate::agent_frames::guardrail(&server).await;
    let id = field(&guardrail, "guardrailIdentifier");
    let arn = format!("arn:aws:bedrock:us-east-1:123456789012:guardrail/{id}");
    let arn = match field(&guardrail, "guardrailVersion") {
        "DRAFT" => arn,
        version => format!("{arn}:{version}"),
    };
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "bedrock:InvokeModel", "Resource": "*",
         "Condition": {"StringNotEquals": {"bedrock:GuardrailIdentifier": arn}}}]});
    let trust = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "bedrock.amazonaws.com"}});
    crate::identity::role(&client, "flows", trust, &policy.to_string()).await;
    let mut guarded = chained();
    guarded["nodes"][1]["configuration"]["prompt"]["guardrailConfiguration"] = guardrail.clone();
    let flow = prepared(&client, "half", guarded.clone()).await;
    let denied = told(&invoke(&client, &flow, json!("x")).await);
    assert!(denied.last().unwrap().contains("The node Ask2 failed:"), "{denied:?}");
    for node in [2, 3] {
        guarded["nodes"][node]["configuration"]["prompt"]["guardrailConfiguration"] = guardrail.clone();
    }
    let flow = prepared(&client, "whole", guarded).await;
    assert_eq!(told(&invoke(&client, &flow, json!("x")).await).last().unwrap(), "SUCCESS");
}

/// A prompt node's guardrail judges what goes to its model, and needs the role's leave.
#[tokio::test]
async fn a_prompt_nodes_guardrail_is_applied() {
    let server = TestServer::start().await;
    let client = server.client();
    let mut guarded = chained();
    guarded["nodes"][1]["configuration"]["prompt"]["guardrailConfiguration"] =
        crate::agent_frames::guardrail(&server).await;
    let id = prepared(&client, "guarded", guarded).await;
    assert_eq!(told(&invoke(&client, &id, json!("a xylophone")).await).last().unwrap(), "SUCCESS");
    let asked = format!("{:?}", server.model.requests());
    assert_eq!(server.model.requests().len(), 2, "{asked}");
    assert!(!asked.contains("xylophone") && asked.contains("2 Not that."), "{asked}");
}

/// Code that ends its process gives its node nothing, and the run says why.
#[tokio::test]
async fn code_that_exits_says_so() {
    let server = TestServer::start().await;
    let client = server.client();
    for (at, code) in ["import os\nos._exit(0)\n1", "raise SystemExit\n1", "import sys\nsys.exit(3)\n1"]
        .into_iter()
        .enumerate()
    {
        let node = json!({"name": "Code", "type": "InlineCode",
            "configuration": {"inlineCode": {"code": code, "language": "Python_3"}},
            "inputs": [{"name": "text", "type": "String", "expression": "$.data"}],
            "outputs": [{"name": "response", "type": "String"}]});
        let definition = json!({"nodes": [input("String"), node, output("Out", "$.data")],
            "connections": [data("c1", ("In", "document"), ("Code", "text")),
                data("c2", ("Code", "response"), ("Out", "document"))]});
        let id = prepared(&client, &format!("exits-{at}"), definition).await;
        let told = told(&invoke(&client, &id, json!("x")).await);
        let last = told.last().unwrap();
        assert!(last.contains("The node Code failed") && last.contains("exit status"), "{last}");
    }
}
