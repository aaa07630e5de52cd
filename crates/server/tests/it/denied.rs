//! Nobody gets in without a policy that lets them: every operation of every service, the front doors, and what comes
//! of policies through the whole pipeline.

use std::sync::{Arc, Mutex};

use craton_core::Principal;
use craton_identity::policy::{Policy, PolicyKind};
use craton_identity::{
    Attached, AuthorizationRequest, Authorizer, Decision, NoPolicies, PolicyAuthorizer, PolicySource,
    RolePolicies,
};
use craton_server::coverage;
use craton_testkit::{Client, Scripted, TestServer};
use craton_wire::table::Protocol;
use http::Method;
use serde_json::{Value, json};

use super::coverage::call;

/// Takes everybody for a user with the policies of a source.
struct AsUser(PolicyAuthorizer);

fn user() -> Principal {
    Principal::new("arn:aws:iam::123456789012:user/eve", "AKIAEVE")
}

impl Authorizer for AsUser {
    fn decide(&self, _principal: &Principal, request: &AuthorizationRequest<'_>) -> Decision {
        self.0.decide(&user(), request)
    }

    fn asks_for(&self, _principal: &Principal, prefix: &str) -> bool {
        self.0.asks_for(&user(), prefix)
    }

    fn source(&self) -> &dyn PolicySource {
        self.0.source()
    }
}

/// One user's policies, which a test changes.
#[derive(Default)]
struct Policies(Mutex<Arc<Attached>>);

impl PolicySource for Policies {
    fn attached(&self, _principal: &Principal) -> Option<Arc<Attached>> {
        Some(self.0.lock().unwrap().clone())
    }

    fn role(&self, _role_arn: &str) -> Option<RolePolicies> {
        None
    }

    fn arn_of(&self, kind: &str, name: &str) -> Option<String> {
        Some(format!("arn:aws:iam::123456789012:{kind}/admins/{name}")).filter(|_| name == "boss")
    }
}

impl Policies {
    fn set(&self, statements: Value) {
        let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let policy = Policy::parse(&document, PolicyKind::Inline).unwrap();
        *self.0.lock().unwrap() =
            Arc::new(Attached { identity: vec![Arc::new(policy)], ..Attached::default() });
    }
}

async fn server(source: Arc<dyn PolicySource>) -> TestServer {
    let authorizer: Arc<dyn Authorizer> = Arc::new(AsUser(PolicyAuthorizer::new(source)));
    TestServer::decided(Scripted::saying("Hello there."), |_| {}, Some(authorizer)).await
}

/// What anybody with credentials may do, and what this release answers nobody.
const EXCEPTIONS: &[&str] = &["GetCallerIdentity", "GetSessionToken", "InvokeModelWithBidirectionalStream"];

#[tokio::test]
async fn every_operation_is_denied_without_permission() {
    let server = server(Arc::new(NoPolicies)).await;
    let client = server.client();
    let (mut denied, mut wrong) = (0, Vec::new());
    for (table, operation, _) in coverage::operations() {
        if EXCEPTIONS.contains(&operation.name) {
            continue;
        }
        let answer = call(&client, table, operation).await;
        let text = answer.snapshot();
        let code = match table.protocol {
            Protocol::Query { .. } => "<Code>AccessDenied</Code>",
            Protocol::RestJson | Protocol::Json { .. } => "AccessDeniedException",
        };
        let reason = "because no identity-based policy allows the";
        // Nobody is told why they may not assume a role, or that it is not there.
        let reason = if operation.name == "AssumeRole" { "assume" } else { reason };
        if answer.status != 403
            || !text.to_lowercase().contains(&reason.to_lowercase())
            || !text.contains(code)
        {
            wrong.push(format!("{} {}: {text}", table.name, operation.name));
        }
        denied += 1;
    }
    assert!(wrong.is_empty(), "{} of {denied}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(denied > 450, "{denied}");
    assert_eq!(server.model.requests().len(), 0, "a model was asked");
}

/// An inline agent acts as its caller: what that one may not call, search or read, it may not have an agent call.
#[tokio::test]
async fn an_inline_agent_may_what_its_caller_may() {
    let policies = Arc::new(Policies::default());
    let source: Arc<dyn PolicySource> = policies.clone();
    let authorizer: Arc<dyn Authorizer> = Arc::new(AsUser(PolicyAuthorizer::new(source)));
    let model = Scripted::deciding(|request| {
        craton_testkit::calls("", &[(&request.tools[0].name, json!({"searchQuery": "x"}))])
    });
    let server = TestServer::decided(model, |_| {}, Some(authorizer)).await;
    let client = server.client();
    let allow = |actions: Value| json!([{"Effect": "Allow", "Action": actions, "Resource": "*"}]);
    let mut body = json!({
        "foundationModel": HAIKU, "inputText": "Look it up", "instruction": "You look things up for those who ask you.",
        "actionGroups": [{"actionGroupName": "g", "actionGroupExecutor": {
            "lambda": "arn:aws:lambda:us-east-1:123456789012:function:f"},
            "functionSchema": {"functions": [{"name": "f"}]}}],
    });
    policies.set(allow(json!(["bedrock:InvokeInlineAgent", "bedrock:InvokeModel"])));
    let refused = client.post("/agents/denied-1", &body).await.snapshot();
    assert!(
        refused.contains("accessDeniedException") && refused.contains("lambda:InvokeFunction"),
        "{refused}"
    );

    body["actionGroups"] = json!([]);
    body["knowledgeBases"] = json!([{"knowledgeBaseId": "KB00000001", "description": "Everything there is"}]);
    let refused = client.post("/agents/denied-2", &body).await.snapshot();
    assert!(refused.contains("accessDeniedException") && refused.contains("bedrock:Retrieve"), "{refused}");

    body["inlineSessionState"] = json!({"files": [{"name": "f", "useCase": "CHAT",
        "source": {"sourceType": "S3", "s3Location": {"uri": "s3://bucket/key"}}}]});
    let refused = client.post("/agents/denied-3", &body).await;
    assert_eq!(
        (refused.error(), refused.snapshot().contains("s3:GetObject")),
        ((403, "AccessDeniedException"), true)
    );
}

/// However a resource is spelled, and through whatever a model is reached, a caller's Deny on it holds within the agent.
#[tokio::test]
async fn an_inline_agent_does_not_get_round_its_callers_denies() {
    let policies = Arc::new(Policies::default());
    let source: Arc<dyn PolicySource> = policies.clone();
    let authorizer: Arc<dyn Authorizer> = Arc::new(AsUser(PolicyAuthorizer::new(source)));
    let model = Scripted::deciding(|request| match request.tools.first() {
        Some(tool) => craton_testkit::calls("", &[(&tool.name, json!({"searchQuery": "x"}))]),
        None => craton_testkit::text("Hello."),
    });
    let server = TestServer::decided(model, |_| {}, Some(authorizer)).await;
    let client = server.client();
    let deny = |action: &str, resource: &str| {
        json!([{"Effect": "Allow", "Action": "*", "Resource": "*"},
               {"Effect": "Deny", "Action": action, "Resource": resource}])
    };
    let inline = |model: &str| {
        json!({"foundationModel": model, "inputText": "Hi",
               "instruction": "You look things up for those who ask you."})
    };
    let mut session = 0;
    let mut refused = async |body: &Value, action: &str| {
        session += 1;
        let answer = client.post(&format!("/agents/spelled-{session}"), body).await.snapshot();
        assert!(
            answer.to_lowercase().contains("accessdeniedexception") && answer.contains(action),
            "{action}: {answer}"
        );
    };
    // A function by another partition's name for it.
    let mut body = inline(HAIKU);
    body["actionGroups"] = json!([{"actionGroupName": "g", "actionGroupExecutor": {
        "lambda": "arn:aws-cn:lambda:us-east-1:123456789012:function:f"},
        "functionSchema": {"functions": [{"name": "f"}]}}]);
    policies.set(deny("lambda:InvokeFunction", "arn:aws:lambda:us-east-1:123456789012:function:f"));
    refused(&body, "lambda:InvokeFunction").await;

    // A model through its profile, as a prompt's own model.
    policies
        .set(deny("bedrock:InvokeModel", "arn:aws:bedrock:*::foundation-model/anthropic.claude-3-haiku*"));
    let mut body = inline("amazon.nova-pro-v1:0");
    body["promptOverrideConfiguration"] = json!({"promptConfigurations": [{"promptType": "ORCHESTRATION",
        "promptState": "ENABLED", "foundationModel": "us.anthropic.claude-3-haiku-20240307-v1:0"}]});
    refused(&body, "bedrock:InvokeModel").await;

    // The models that a search asks besides.
    let rerank = "arn:aws:bedrock:us-east-1::foundation-model/amazon.rerank-v1:0";
    policies.set(deny("bedrock:InvokeModel", rerank));
    let base = crate::agents::knowledge_base(&client, "denied", "arn:aws:iam::123456789012:role/KB").await;
    let mut body = inline(HAIKU);
    body["knowledgeBases"] = json!([{"knowledgeBaseId": base, "description": "Everything there is",
        "retrievalConfiguration": {"vectorSearchConfiguration": {"rerankingConfiguration": {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": rerank}}}}}}]);
    refused(&body, "amazon.rerank-v1:0").await;

    // By where the request comes from.
    policies.set(json!([{"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "bedrock:Retrieve", "Resource": "*",
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]));
    refused(&body, "bedrock:Retrieve").await;

    policies.set(json!([{"Effect": "Allow", "Action": "*", "Resource": "*"}]));
    assert_eq!(client.post("/agents/spelled-0", &inline(HAIKU)).await.status, 200);
}

const HAIKU: &str = "anthropic.claude-3-haiku-20240307-v1:0";

async fn converse(client: &Client, model: &str, mut rest: Value) -> (u16, String) {
    rest["messages"] = json!([{"role": "user", "content": [{"text": "Hi"}]}]);
    let path = format!("/model/{}/converse", model.replace(':', "%3A").replace('/', "%2F"));
    let answer = client.post(&path, &rest).await;
    (answer.status.as_u16(), answer.snapshot())
}

#[tokio::test]
async fn a_policy_scopes_models_and_counts_from_the_next_request() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client();
    assert_eq!(converse(&client, HAIKU, json!({})).await.0, 403);
    policies.set(json!({"Effect": "Allow", "Action": "bedrock:InvokeModel",
        "Resource": format!("arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}")}));
    assert_eq!(converse(&client, HAIKU, json!({})).await.0, 200);
    let (status, text) = converse(&client, "amazon.titan-text-express-v1", json!({})).await;
    assert_eq!(status, 403);
    assert!(
        text.contains(
            "is not authorized to perform: bedrock:InvokeModel on resource: \
             arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-text-express-v1 because no identity-based \
             policy allows the bedrock:InvokeModel action"
        ),
        "{text}"
    );
    let stream = format!("/model/{}/converse-stream", HAIKU.replace(':', "%3A"));
    let messages = json!({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]});
    assert_eq!(client.post(&stream, &messages).await.error(), (403, "AccessDeniedException"));
    // The same model through its profile is another resource.
    let (status, text) = converse(&client, "us.anthropic.claude-3-haiku-20240307-v1:0", json!({})).await;
    assert!(status == 403 && text.contains("inference-profile/us.anthropic"), "{text}");
    policies.set(json!([
        {"Effect": "Allow", "Action": "bedrock:InvokeModel",
         "Resource": "arn:aws:bedrock:*:123456789012:inference-profile/us.*"},
        {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": "arn:aws:bedrock:*::foundation-model/*",
         "Condition": {"StringLike": {"bedrock:InferenceProfileArn": "arn:aws:bedrock:*:*:inference-profile/us.*"}}}]));
    let profile = "us.anthropic.claude-3-haiku-20240307-v1:0";
    assert_eq!(converse(&client, profile, json!({})).await.0, 200);
    assert_eq!(converse(&client, HAIKU, json!({})).await.0, 403);
    policies.set(json!([{"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "bedrock:InvokeModel", "Resource": "*"}]));
    let (status, text) = converse(&client, HAIKU, json!({})).await;
    assert!(status == 403 && text.contains("with an explicit deny in an identity-based policy"), "{text}");
}

#[tokio::test]
async fn guardrails_roles_and_tags_in_a_body_need_their_own_permissions() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client();
    policies.set(json!({"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": "*"}));
    let guarded =
        json!({"guardrailConfig": {"guardrailIdentifier": "abcdefghij12", "guardrailVersion": "1"}});
    let (status, text) = converse(&client, HAIKU, guarded.clone()).await;
    assert!(
        status == 403
            && text.contains(
                "bedrock:ApplyGuardrail on resource: arn:aws:bedrock:us-east-1:123456789012:guardrail/"
            ),
        "{text}"
    );
    policies.set(json!([{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "bedrock:InvokeModel", "Resource": "*", "Condition": {"StringNotEquals":
            {"bedrock:GuardrailIdentifier": "arn:aws:bedrock:us-east-1:123456789012:guardrail/abcdefghij12:1"}}}]));
    assert_eq!(converse(&client, HAIKU, json!({})).await.0, 403);
    let (_, text) = converse(&client, HAIKU, guarded).await;
    assert!(!text.contains("AccessDenied"), "{text}");

    let agent = json!({"agentName": "a", "agentResourceRoleArn": "arn:aws:iam::123456789012:role/R",
                       "tags": {"team": "blue"}});
    policies.set(json!([{"Effect": "Allow", "Action": "bedrock:CreateAgent", "Resource": "*"}]));
    let answer = client.json(Method::PUT, "/agents/", &agent).await;
    let text = answer.snapshot();
    assert!(text.contains("iam:PassRole on resource: arn:aws:iam::123456789012:role/R because"), "{text}");
    let pass = |service: &str| {
        json!([{"Effect": "Allow", "Action": "bedrock:CreateAgent", "Resource": "*",
                "Condition": {"StringEquals": {"aws:RequestTag/team": "blue"}}},
               {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::123456789012:role/*",
                "Condition": {"StringEquals": {"iam:PassedToService": service}}}])
    };
    policies.set(pass("lambda.amazonaws.com"));
    assert_eq!(client.json(Method::PUT, "/agents/", &agent).await.error(), (403, "AccessDeniedException"));
    policies.set(pass("bedrock.amazonaws.com"));
    let answer = client.json(Method::PUT, "/agents/", &agent).await;
    assert_ne!(answer.error().1, "AccessDeniedException", "{}", answer.snapshot());
    let mut red = agent;
    red["tags"]["team"] = "red".into();
    assert_eq!(client.json(Method::PUT, "/agents/", &red).await.error(), (403, "AccessDeniedException"));
}

#[tokio::test]
async fn a_function_from_a_bucket_needs_leave_to_read_it() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client().for_service("lambda");
    let code = json!({"S3Bucket": "secrets", "S3Key": "a/b.zip"});
    let made = json!({"FunctionName": "f", "Runtime": "python3.11", "Handler": "m.h", "Code": code,
                      "Role": "arn:aws:iam::123456789012:role/R"});
    let mut versioned = code.clone();
    versioned["S3ObjectVersion"] = "7".into();
    let update = ("/2015-03-31/functions/f/code", Method::PUT);
    let on_functions = json!({"Effect": "Allow", "Action": ["lambda:*", "iam:PassRole"], "Resource": "*"});
    policies.set(json!([on_functions]));
    let object = "s3:GetObject on resource: arn:aws:s3:::secrets/a/b.zip because";
    for (path, method, body) in
        [("/2015-03-31/functions", Method::POST, &made), (update.0, update.1.clone(), &code)]
    {
        let answer = client.json(method, path, body).await;
        assert_eq!(answer.error(), (403, "AccessDeniedException"), "{}", answer.snapshot());
        assert!(answer.snapshot().contains(object), "{}", answer.snapshot());
    }
    policies.set(json!([on_functions, {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]));
    let answer = client.json(update.1.clone(), update.0, &code).await;
    assert_ne!(answer.error().1, "AccessDeniedException", "{}", answer.snapshot());
    let answer = client.json(update.1, update.0, &versioned).await;
    assert!(answer.snapshot().contains("s3:GetObjectVersion on resource"), "{}", answer.snapshot());
}

#[tokio::test]
async fn what_a_search_reads_and_runs_needs_leave() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client();
    let allowed = json!({"Effect": "Allow", "Action": ["bedrock:Retrieve", "bedrock:RetrieveAndGenerate"], "Resource": "*"});
    let source = |uri: &str| json!({"sourceType": "S3", "s3Location": {"uri": uri}});
    let external = json!({"input": {"text": "q"}, "retrieveAndGenerateConfiguration": {
        "type": "EXTERNAL_SOURCES", "externalSourcesConfiguration": {
            "modelArn": HAIKU, "sources": [source("s3://open/a.txt"), source("s3://secrets/b/c.txt")]}}});
    policies.set(json!([allowed, {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": "*"},
                        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::open/*"}]));
    let answer = client.json(Method::POST, "/retrieveAndGenerate", &external).await;
    assert_eq!(answer.error(), (403, "AccessDeniedException"), "{}", answer.snapshot());
    let object = "s3:GetObject on resource: arn:aws:s3:::secrets/b/c.txt because";
    assert!(answer.snapshot().contains(object), "{}", answer.snapshot());

    policies.set(json!([allowed]));
    let implicit = json!({"implicitFilterConfiguration": {"modelArn": HAIKU, "metadataAttributes": []}});
    let rerank = json!({"rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL",
        "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": "cohere.rerank-v3-5:0"}}}});
    for (configuration, model) in [(implicit, HAIKU), (rerank, "cohere.rerank-v3-5:0")] {
        let search = json!({"retrievalQuery": {"text": "q"}, "retrievalConfiguration": {
            "vectorSearchConfiguration": configuration}});
        let answer = client.json(Method::POST, "/knowledgebases/ABCDEFGHIJ/retrieve", &search).await;
        let text = answer.snapshot();
        assert!(text.contains("bedrock:InvokeModel on resource") && text.contains(model), "{text}");
        let base = json!({"input": {"text": "q"}, "retrieveAndGenerateConfiguration": {
            "type": "KNOWLEDGE_BASE", "knowledgeBaseConfiguration": {
                "knowledgeBaseId": "ABCDEFGHIJ", "modelArn": "amazon.nova-lite-v1:0",
                "retrievalConfiguration": {"vectorSearchConfiguration": configuration}}}});
        let own = json!({"Effect": "Allow", "Action": "bedrock:InvokeModel",
                         "Resource": "arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"});
        policies.set(json!([allowed, own]));
        let answer = client.json(Method::POST, "/retrieveAndGenerate", &base).await;
        let text = answer.snapshot();
        assert!(text.contains("bedrock:InvokeModel on resource") && text.contains(model), "{text}");
        policies.set(json!([allowed]));
    }
}

#[tokio::test]
async fn the_front_doors_ask_the_same_questions() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client();
    let chat = json!({"model": HAIKU, "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]});
    let calls = [
        (Method::POST, "/v1/chat/completions"),
        (Method::POST, "/anthropic/v1/messages"),
        (Method::POST, "/anthropic/v1/messages/count_tokens"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/anthropic/v1/models"),
    ];
    for (method, path) in &calls {
        let answer = client.json(method.clone(), path, &chat).await;
        let text = answer.snapshot();
        assert!(answer.status == 403 && text.contains("no identity-based policy allows"), "{path}: {text}");
    }
    policies.set(
        json!({"Effect": "Allow", "Action": ["bedrock:InvokeModel", "bedrock:List*", "bedrock:CountTokens"],
                        "Resource": "*"}),
    );
    for (method, path) in &calls {
        let answer = client.json(method.clone(), path, &chat).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.snapshot());
    }
}

#[tokio::test]
async fn api_keys_need_a_permission_of_their_own() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let key = server.api_key(600);
    policies.set(json!({"Effect": "Allow", "Action": "bedrock:ListFoundationModels", "Resource": "*"}));
    let list = async || {
        let (mut parts, body) =
            server.client().unsigned(Method::GET, "/foundation-models", bytes::Bytes::new());
        parts.headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
        server.client().send(parts, body).await.answer().await
    };
    let text = list().await.snapshot();
    assert!(text.contains("bedrock:CallWithBearerToken"), "{text}");
    policies.set(json!([{"Effect": "Allow", "Action": "bedrock:ListFoundationModels", "Resource": "*"},
        {"Effect": "Allow", "Action": "bedrock:CallWithBearerToken", "Resource": "*",
         "Condition": {"StringEquals": {"bedrock:BearerTokenType": "SHORT_TERM"}}}]));
    assert_eq!(list().await.status, 200);
}

#[tokio::test]
async fn requests_are_seen_from_where_they_come() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client();
    let when = |operator: &str, key: &str, value: &str| {
        json!({"Effect": "Allow", "Action": "bedrock:ListFoundationModels", "Resource": "*",
               "Condition": {operator: {key: value}}})
    };
    for (operator, key, value, status) in [
        ("IpAddress", "aws:SourceIp", "127.0.0.0/8", 200),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", 403),
        ("Bool", "aws:SecureTransport", "true", 403),
        ("Bool", "aws:SecureTransport", "false", 200),
        ("StringEquals", "aws:RequestedRegion", "us-east-1", 200),
        ("StringEquals", "aws:RequestedRegion", "eu-west-1", 403),
        ("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z", 200),
        ("DateLessThan", "aws:CurrentTime", "2020-01-01T00:00:00Z", 403),
        ("StringEquals", "aws:username", "eve", 200),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:user/*", 200),
        ("StringEquals", "aws:PrincipalAccount", "999999999999", 403),
        ("StringEquals", "aws:PrincipalType", "User", 200),
    ] {
        policies.set(when(operator, key, value));
        let answer = client.get("/foundation-models").await;
        assert_eq!(answer.status, status, "{operator} {key} {value}");
    }
}

#[tokio::test]
async fn tags_of_a_resource_decide() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client();
    policies.set(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    let profile = json!({"inferenceProfileName": "team", "tags": [{"key": "Team", "value": "blue"}],
        "modelSource": {"copyFrom": format!("arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}")}});
    let made = client.post("/inference-profiles", &profile).await;
    let arn = made.json()["inferenceProfileArn"].as_str().unwrap().to_owned();
    for (team, status) in [("blue", 200), ("red", 403)] {
        policies.set(json!({"Effect": "Allow", "Action": "bedrock:GetInferenceProfile", "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/team": team}}}));
        let path = format!("/inference-profiles/{}", arn.replace(':', "%3A").replace('/', "%2F"));
        let answer = client.get(&path).await;
        assert_eq!(answer.status, status, "{team}: {}", answer.snapshot());
    }
}

#[tokio::test]
async fn users_are_asked_about_with_their_path_whatever_the_request_leaves_out() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client().for_service("iam");
    policies.set(json!([{"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:*", "Resource": "arn:aws:iam::*:user/admins/*"}]));
    let delete = async |name: &str| {
        let form = [("Action", "DeleteUser"), ("Version", "2010-05-08"), ("UserName", name)];
        client.query(&form).await.snapshot()
    };
    assert!(delete("boss").await.contains("with an explicit deny in an identity-based policy"));
    assert!(!delete("clerk").await.contains("AccessDenied"));
}

#[tokio::test]
async fn a_deny_holds_however_the_resource_is_spelled() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client();
    policies.set(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    let guardrail = json!({"name": "g", "blockedInputMessaging": "no", "blockedOutputsMessaging": "no",
        "wordPolicyConfig": {"wordsConfig": [{"text": "abracadabra"}]}});
    let made = client.post("/guardrails", &guardrail).await.json();
    let guardrail = made["guardrailArn"].as_str().unwrap().to_owned();
    let prompt = json!({"name": "p", "variants": [{"name": "v", "templateType": "TEXT", "modelId": HAIKU,
        "templateConfiguration": {"text": {"text": "Hi"}}}], "defaultVariant": "v"});
    let prompt = client.post("/prompts/", &prompt).await.json();
    let (prompt_id, prompt) =
        (prompt["id"].as_str().unwrap().to_owned(), prompt["arn"].as_str().unwrap().to_owned());
    assert_eq!(client.post(&format!("/prompts/{prompt_id}/versions"), &json!({})).await.status, 201);
    let model = format!("arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}");
    policies.set(json!([{"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": [model, guardrail, format!("{prompt}:1"),
            "arn:aws:lambda:us-east-1:123456789012:function:f"]}]));
    let encode = |text: &str| text.replace(':', "%3A").replace('/', "%2F");
    let other = |arn: &str| arn.replacen("arn:aws:", "arn:aws-x:", 1);
    let mut calls = Vec::new();
    for id in [HAIKU.to_owned(), model.clone(), other(&model), model.replace("us-east-1", "eu-west-1")] {
        let body = json!({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]});
        calls.push((Method::POST, format!("/model/{}/converse", encode(&id)), body));
    }
    for arn in [guardrail.clone(), other(&guardrail)] {
        calls.push((Method::GET, format!("/guardrails/{}", encode(&arn)), json!({})));
        let content = json!({"source": "INPUT", "content": [{"text": {"text": "hi"}}]});
        calls.push((Method::POST, format!("/guardrail/{}/version/DRAFT/apply", encode(&arn)), content));
    }
    for id in [prompt_id, prompt.clone(), other(&prompt)] {
        calls.push((Method::GET, format!("/prompts/{}/?promptVersion=1", encode(&id)), json!({})));
    }
    for arn in [format!("{prompt}:1"), format!("{}:1", other(&prompt)), format!("{prompt}:01")] {
        calls.push((Method::GET, format!("/prompts/{}/", encode(&arn)), json!({})));
    }
    for (method, path, body) in calls {
        let body = if method == Method::GET { String::new() } else { body.to_string() };
        let answer = client.open(method, &path, body).await.answer().await;
        let text = answer.snapshot();
        // What has no such spelling at AWS is not found, or no identifier; what has, is refused.
        let refused = text.contains("with an explicit deny in an identity-based policy");
        let unknown = path.contains("%3A01") && (400..=404).contains(&answer.status.as_u16());
        assert!(refused || unknown, "{path}: {text}");
    }
    let lambda = client.for_service("lambda");
    for name in [
        "f",
        "123456789012:function:f",
        "us-east-1:123456789012:function:f",
        "function:f",
        "arn:aws:lambda:us-east-1:123456789012:function:f",
        "arn:aws-x:lambda:us-east-1:123456789012:function:f",
    ] {
        let text = lambda.get(&format!("/2015-03-31/functions/{}", encode(name))).await.snapshot();
        assert!(text.contains("with an explicit deny in an identity-based policy"), "{name}: {text}");
    }
    // The doors take a guardrail's ARN too.
    let chat = json!({"model": "amazon.nova-lite-v1:0", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]});
    for arn in [other(&guardrail), guardrail.replacen(":bedrock:", ":any:", 1)] {
        let (mut parts, body) =
            client.unsigned(Method::POST, "/v1/chat/completions", chat.to_string().into());
        parts.headers.insert("x-amzn-bedrock-guardrailidentifier", arn.parse().unwrap());
        parts.headers.insert("x-amzn-bedrock-guardrailversion", "DRAFT".parse().unwrap());
        parts.headers.insert("authorization", format!("Bearer {}", server.api_key(600)).parse().unwrap());
        let answer = client.send(parts, body).await.answer().await;
        assert!(matches!(answer.status.as_u16(), 400 | 403 | 404), "{arn}: {}", answer.snapshot());
    }
    policies.set(json!({"Effect": "Allow", "Action": "*", "Resource": "*"}));
    let said = json!([{"role": "user", "content": "abracadabra"}]);
    let chat = json!({"model": "amazon.nova-lite-v1:0", "max_tokens": 5, "messages": said}).to_string();
    let (mut parts, body) = client.unsigned(Method::POST, "/v1/chat/completions", chat.into());
    parts.headers.insert("x-amzn-bedrock-guardrailidentifier", guardrail.parse().unwrap());
    parts.headers.insert("x-amzn-bedrock-guardrailversion", "DRAFT".parse().unwrap());
    parts.headers.insert("authorization", format!("Bearer {}", server.api_key(600)).parse().unwrap());
    let answer = client.send(parts, body).await.answer().await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "no", "{}", answer.snapshot());
}

#[tokio::test]
async fn a_qualified_function_is_asked_about_with_its_qualifier() {
    let policies = Arc::new(Policies::default());
    let server = server(policies.clone()).await;
    let client = server.client().for_service("lambda");
    policies.set(json!({"Effect": "Allow", "Action": "lambda:*",
        "Resource": "arn:aws:lambda:us-east-1:123456789012:function:f:live"}));
    for (path, allowed) in [
        ("/2015-03-31/functions/f?Qualifier=live", true),
        ("/2015-03-31/functions/f%3Alive", true),
        ("/2015-03-31/functions/f%3Alive?Qualifier=live", true),
        ("/2015-03-31/functions/f", false),
        ("/2015-03-31/functions/f?Qualifier=test", false),
    ] {
        let text = client.get(path).await.snapshot();
        assert_eq!(!text.contains("AccessDenied"), allowed, "{path}: {text}");
    }
}
