//! Prompts: their drafts and versions, and a prompt's ARN as a model id.

use craton_backend::{Block, Role};
use craton_testkit::{Client, TestServer};
use http::Method;
use serde_json::{Value, json};

const CLAUDE: &str = "anthropic.claude-3-haiku-20240307-v1:0";

fn variant(text: &str) -> Value {
    json!({
        "name": "default", "templateType": "TEXT", "modelId": CLAUDE,
        "templateConfiguration": {"text": {"text": text}},
        "inferenceConfiguration": {"text": {"temperature": 0.5, "maxTokens": 24}}
    })
}

async fn create(client: &Client, name: &str, text: &str) -> Value {
    let body = json!({"name": name, "defaultVariant": "default", "variants": [variant(text)]});
    let answer = client.post("/prompts/", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.snapshot());
    answer.json()
}

fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// `/model/ARN/converse` with the ARN as one segment.
fn converse(arn: &str) -> String {
    format!("/model/{}/converse", arn.replace(':', "%3A").replace('/', "%2F"))
}

fn ask(variables: &Value) -> Value {
    json!({ "promptVariables": variables })
}

#[tokio::test]
async fn versions_stay_while_the_draft_moves() {
    let server = TestServer::start().await;
    let client = server.client();
    let prompt = create(&client, "support", "Hello {{name}}").await;
    let id = field(&prompt, "id");
    assert_eq!(field(&prompt, "version"), "DRAFT");
    let version =
        client.post(&format!("/prompts/{id}/versions"), &json!({"clientToken": "t".repeat(33)})).await;
    assert_eq!((version.status.as_u16(), field(&version.json(), "version")), (201, "1"));
    let again =
        client.post(&format!("/prompts/{id}/versions"), &json!({"clientToken": "t".repeat(33)})).await;
    assert_eq!(field(&again.json(), "version"), "1", "a repeated request publishes nothing");

    let other = json!({"clientToken": "t".repeat(33), "description": "another"});
    let other = client.post(&format!("/prompts/{id}/versions"), &other).await;
    assert_eq!(other.error(), (409, "ConflictException"), "the token was another request's");
    let tags: serde_json::Map<String, Value> = (0..250).map(|n| (format!("k{n}"), json!("v"))).collect();
    let tagged = client.post(&format!("/prompts/{id}/versions"), &json!({ "tags": tags })).await;
    assert_eq!(tagged.error(), (400, "ValidationException"), "{}", tagged.snapshot());

    let changed =
        json!({"name": "support", "defaultVariant": "default", "variants": [variant("Bye {{name}}")]});
    let updated = client.json(Method::PUT, &format!("/prompts/{id}/"), &changed).await;
    assert_eq!(updated.status, 200, "{}", updated.snapshot());
    let text = |prompt: &Value| prompt["variants"][0]["templateConfiguration"]["text"]["text"].clone();
    let draft = client.get(&format!("/prompts/{id}/")).await.json();
    let first = client.get(&format!("/prompts/{id}/?promptVersion=1")).await.json();
    assert_eq!((text(&draft), text(&first)), (json!("Bye {{name}}"), json!("Hello {{name}}")));

    let listed = client.get(&format!("/prompts/?promptIdentifier={id}")).await.json();
    let versions: Vec<&str> =
        listed["promptSummaries"].as_array().unwrap().iter().map(|prompt| field(prompt, "version")).collect();
    assert_eq!(versions, ["DRAFT", "1"]);

    let gone = client.json(Method::DELETE, &format!("/prompts/{id}/?promptVersion=1"), &Value::Null).await;
    assert_eq!(gone.json(), json!({"id": id, "version": "1"}));
    assert_eq!(client.get(&format!("/prompts/{id}/?promptVersion=1")).await.status, 404);
    let next = client.post(&format!("/prompts/{id}/versions"), &json!({})).await;
    assert_eq!(field(&next.json(), "version"), "2", "a number is never given twice");
    assert_eq!(client.json(Method::DELETE, &format!("/prompts/{id}/"), &Value::Null).await.status, 200);
    assert_eq!(client.get(&format!("/prompts/{id}/")).await.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn a_prompt_is_a_model_id() {
    let server = TestServer::start().await;
    let client = server.client();
    let prompt = create(&client, "greeter", "You serve {{company}}. Greet {{name}}.").await;
    let path = converse(field(&prompt, "arn"));
    let mut request = ask(&json!({"company": {"text": "{{name}} & Co"}, "name": {"text": "Ada"}}));
    request["messages"] = json!([{"role": "user", "content": [{"text": "Be brief."}]}]);
    let answer = client.post(&path, &request).await;
    assert_eq!(answer.status, 200, "{}", answer.snapshot());
    let asked = server.model.requests().pop().unwrap();
    assert_eq!(asked.sampling.max_tokens, Some(24));
    assert_eq!(asked.messages.len(), 1);
    assert_eq!(asked.messages[0].role, Role::User);
    let texts = ["You serve {{name}} & Co. Greet Ada.", "Be brief."];
    assert_eq!(asked.messages[0].content, texts.map(|text| Block::Text(text.into())));
}

#[tokio::test]
async fn wrong_variables_and_fields_are_named() {
    let server = TestServer::start().await;
    let client = server.client();
    let prompt = create(&client, "strict", "{{a}} {{b}}").await;
    let path = converse(field(&prompt, "arn"));
    let text = |text: &str| json!({ "text": text });
    let mut overridden = ask(&json!({"a": text("1"), "b": text("2")}));
    overridden["inferenceConfig"] = json!({"maxTokens": 3});
    let refused = [
        (ask(&json!({"b": text("1")})), "variable a has no value"),
        (ask(&json!({"a": text("1"), "b": text("2"), "c": text("3")})), "no variable c"),
        (overridden, "inferenceConfig"),
    ];
    for (request, reason) in refused {
        let answer = client.post(&path, &request).await;
        assert_eq!(answer.error(), (400, "ValidationException"), "{}", answer.snapshot());
        assert!(field(&answer.json(), "message").contains(reason), "{}", answer.snapshot());
    }
    let missing = converse(&field(&prompt, "arn").replace(field(&prompt, "id"), "ABCDEFGHIJ"));
    assert_eq!(client.post(&missing, &json!({})).await.error(), (404, "ResourceNotFoundException"));
    assert!(server.model.requests().is_empty());
}

#[tokio::test]
async fn a_token_publishes_once_however_often_it_is_sent_at_once() {
    let server = TestServer::start().await;
    let client = server.client();
    let prompt = create(&client, "once", "x").await;
    let (id, body) = (field(&prompt, "id"), json!({"clientToken": "t".repeat(33)}));
    let path = format!("/prompts/{id}/versions");
    let repeats = futures::future::join_all((0..8).map(|_| client.post(&path, &body))).await;
    for answer in repeats {
        let answer = answer.json();
        assert_eq!(answer["version"], "1", "{answer}");
    }
    let listed = client.get(&format!("/prompts/?promptIdentifier={id}")).await.json();
    assert_eq!(listed["promptSummaries"].as_array().unwrap().len(), 2, "{listed}");
}

#[tokio::test]
async fn all_missing_variables_of_a_chat_are_named() {
    let server = TestServer::start().await;
    let client = server.client();
    let chat = json!({
        "name": "default", "templateType": "CHAT", "modelId": CLAUDE,
        "templateConfiguration": {"chat": {
            "system": [{"text": "{{a}}"}],
            "messages": [
                {"role": "user", "content": [{"text": "{{b}} {{d}}"}]},
                {"role": "assistant", "content": [{"text": "ok"}]},
                {"role": "user", "content": [{"text": "{{c}}"}]},
            ],
        }},
    });
    let body = json!({"name": "chat", "defaultVariant": "default", "variants": [chat]});
    let prompt = client.post("/prompts/", &body).await;
    let path = converse(field(&prompt.json(), "arn"));
    let answer = client.post(&path, &ask(&json!({"d": {"text": "1"}, "z": {"text": "2"}}))).await;
    assert_eq!(answer.error(), (400, "ValidationException"), "{}", answer.snapshot());
    assert!(
        field(&answer.json(), "message").contains("variables a, b, c have no value"),
        "{}",
        answer.snapshot()
    );
}

#[tokio::test]
async fn what_could_never_be_asked_is_refused_when_it_is_made() {
    let server = TestServer::start().await;
    let client = server.client();
    create(&client, "taken", "x").await;
    let body = |name: &str, default: &str, variant: Value| json!({"name": name, "defaultVariant": default, "variants": [variant]});
    let mut declared = variant("{{a}}");
    declared["templateConfiguration"]["text"]["inputVariables"] = json!([{"name": "a"}, {"name": "z"}]);
    let mut mismatched = variant("x");
    mismatched["templateType"] = json!("CHAT");
    let refused = [
        (body("taken", "default", variant("x")), (409, "ConflictException"), "taken"),
        (body("other", "missing", variant("x")), (400, "ValidationException"), "missing"),
        (body("other", "default", declared), (400, "ValidationException"), "variable z"),
        (body("other", "default", mismatched), (400, "ValidationException"), "templateType"),
    ];
    for (request, error, reason) in refused {
        let answer = client.post("/prompts/", &request).await;
        assert_eq!(answer.error(), error, "{}", answer.snapshot());
        assert!(field(&answer.json(), "message").contains(reason), "{}", answer.snapshot());
    }
}

#[tokio::test]
async fn a_prompt_made_better_keeps_its_variables() {
    let server = TestServer::start().await;
    let client = server.client();
    let request =
        json!({"input": {"textPrompt": {"text": "tell {{who}} about {{what}}"}}, "targetModelId": CLAUDE});
    let answer = client.post("/optimize-prompt", &request).await;
    let frames = answer.frames();
    let kinds: Vec<&str> = frames.iter().filter_map(|frame| frame.header(":event-type")).collect();
    assert_eq!(kinds, ["analyzePromptEvent", "optimizedPromptEvent"], "{}", answer.snapshot());
    // The script says "Hello there." to everything, and so drops both variables twice.
    let text = String::from_utf8_lossy(&frames[1].payload).into_owned();
    assert!(text.contains("Hello there.") && text.contains("{{who}}") && text.contains("{{what}}"), "{text}");
    assert_eq!(server.model.requests().len(), 3, "one analysis, two attempts");
}

/// The target model runs: whoever has it run may do that.
#[tokio::test]
async fn making_a_prompt_better_needs_leave_for_the_model() {
    let server = TestServer::start().await;
    let root = server.client();
    let user = crate::identity::user(&root, "writer").await;
    let give = async |actions: &[&str]| {
        let policy = crate::identity::allow(actions, "*");
        let parameters = [("UserName", "writer"), ("PolicyName", "own"), ("PolicyDocument", policy.as_str())];
        crate::identity::iam(&root, "PutUserPolicy", &parameters).await;
    };
    let request = json!({"input": {"textPrompt": {"text": "tell me"}}, "targetModelId": "amazon.titan-text-express-v1"});
    give(&["bedrock:OptimizePrompt"]).await;
    let denied = user.post("/optimize-prompt", &request).await;
    assert_eq!(denied.error(), (403, "AccessDeniedException"), "{}", denied.snapshot());
    assert!(denied.snapshot().contains("bedrock:InvokeModel") && server.model.requests().is_empty());
    give(&["bedrock:OptimizePrompt", "bedrock:InvokeModel"]).await;
    assert_eq!(user.post("/optimize-prompt", &request).await.status, 200);
}

#[tokio::test]
async fn prompts_and_their_versions_carry_tags() {
    let server = TestServer::start().await;
    let client = server.client();
    let prompt = create(&client, "tagged", "x").await;
    let id = field(&prompt, "id");
    let made = json!({"tags": {"stage": "test"}});
    let version = client.post(&format!("/prompts/{id}/versions"), &made).await.json();
    let path = |arn: &str| format!("/tags/{}", arn.replace(':', "%3A").replace('/', "%2F"));
    let (draft, first) = (path(field(&prompt, "arn")), path(field(&version, "arn")));
    assert_eq!(client.get(&first).await.json()["tags"], json!({"stage": "test"}));
    let tags = json!({"tags": {"team": "blue", "cost": "7"}});
    assert_eq!(client.post(&draft, &tags).await.status, 200);
    let untagged = client.json(Method::DELETE, &format!("{draft}?tagKeys=cost"), &Value::Null).await;
    assert_eq!(untagged.status, 200, "{}", untagged.snapshot());
    assert_eq!(client.get(&draft).await.json()["tags"], json!({"team": "blue"}));
    let gone = draft.replace(id, "ABCDEFGHIJ");
    assert_eq!(client.get(&gone).await.error(), (404, "ResourceNotFoundException"));
    let reserved = client.post(&draft, &json!({"tags": {"aws:x": "1"}})).await;
    assert_eq!(reserved.error(), (400, "ValidationException"));
}
