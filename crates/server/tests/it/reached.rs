//! Objects that are reached through another service: whoever reads or writes one for a principal gets the answer that S3
//! itself would give the principal. And functions that are opened to a service by their own policy.

use std::time::Duration;

use craton_lambda::MappedFunction;
use craton_testkit::{Client, Scripted, TestServer, calls, text};
use craton_wire::types::Blob;
use http::Method;
use serde_json::{Value, json};

use super::agent_runs::{self, FUNCTION, MODEL, function, group, inline, replied, results, tool};
use super::guards::{put, set_to_real_time};
use super::identity::{ACCOUNT, allow, iam, put_policy, role, user};

const ROLE: &str = "arn:aws:iam::123456789012:role/work";
const HERONS: &[u8] = b"Herons fish at dawn.";
/// An archive with a file `m.py`, in base64.
const ARCHIVE: &str = "UEsDBBQAAAAAAAAAIQAAz/SFBAAAAAQAAAAEAAAAbS5weXg9MQpQSwECFAMUAAAAAAAAACEAAM/0hQQAAAAEAAAABAAAAAAAAAAAAAAAgAEAAAAAbS5weVBLBQYAAAAAAQABADIAAAAmAAAAAAA=";

/// Every way to an object that does not lead through S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As the caller.
    CreateFunction,
    UpdateFunctionCode,
    ExternalSource,
    InlineAgentFile,
    ConverseDocument,
    ConverseStreamImage,
    ToolResultDocument,
    CountedDocument,
    /// With a role.
    AgentSchema,
    RetrievalNode,
    StorageNode,
    Sync,
    Document,
}

const WAYS: [Way; 13] = [
    Way::CreateFunction,
    Way::UpdateFunctionCode,
    Way::ExternalSource,
    Way::InlineAgentFile,
    Way::ConverseDocument,
    Way::ConverseStreamImage,
    Way::ToolResultDocument,
    Way::CountedDocument,
    Way::AgentSchema,
    Way::RetrievalNode,
    Way::StorageNode,
    Way::Sync,
    Way::Document,
];

struct World {
    _server: TestServer,
    root: Client,
    ada: Client,
    /// A knowledge base and its source, a flow that reads, and one that writes.
    base: String,
    source: String,
    flows: [String; 2],
}

fn statements(list: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": list}).to_string()
}

fn trusting(service: &str) -> Value {
    json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}})
}

fn field(answer: &craton_testkit::Answer, path: &str) -> String {
    let found = answer.json().pointer(path).and_then(Value::as_str).map(str::to_owned);
    found.unwrap_or_else(|| panic!("no {path} in {}", answer.snapshot()))
}

/// In → Node → Out, where the node has to do with an object of the bucket.
fn flow(kind: &str, inputs: &[&str], output: &str) -> Value {
    let configuration =
        json!({kind.to_lowercase(): {"serviceConfiguration": {"s3": {"bucketName": "papers"}}}});
    let inputs: Vec<Value> =
        inputs.iter().map(|name| json!({"name": name, "type": "String", "expression": "$.data"})).collect();
    let data = |name: &str, (source, output): (&str, &str), (target, input): (&str, &str)| {
        json!({"name": name, "type": "Data", "source": source, "target": target,
               "configuration": {"data": {"sourceOutput": output, "targetInput": input}}})
    };
    let mut connections: Vec<Value> = inputs
        .iter()
        .map(|input| {
            let name = input["name"].as_str().unwrap();
            data(&format!("to{name}"), ("In", "document"), ("Node", name))
        })
        .collect();
    connections.push(data("out", ("Node", output), ("Out", "document")));
    json!({"connections": connections, "nodes": [
        {"name": "In", "type": "Input", "configuration": {"input": {}},
         "outputs": [{"name": "document", "type": "String"}]},
        {"name": "Node", "type": kind, "configuration": configuration, "inputs": inputs,
         "outputs": [{"name": output, "type": "String"}]},
        {"name": "Out", "type": "Output", "configuration": {"output": {}},
         "inputs": [{"name": "document", "type": "String", "expression": "$.data"}]},
    ]})
}

impl World {
    async fn new() -> Self {
        let server =
            TestServer::with(Scripted::saying("Hello."), |config| config.enforce_service_roles = true).await;
        let root = server.client();
        set_to_real_time(&server);
        let at_s3 = root.for_service("s3");
        assert_eq!(put(&at_s3, "/papers", "").await.status, 200);
        let archive = serde_json::from_value::<Blob>(json!(ARCHIVE)).unwrap().0;
        for (key, body) in [("code.zip", &archive[..]), ("a.txt", HERONS), ("kb/a.txt", HERONS)] {
            let stored =
                at_s3.open(Method::PUT, &format!("/papers/{key}"), body.to_vec()).await.answer().await;
            assert_eq!(stored.status, 200, "{}", stored.snapshot());
            let tags = "<Tagging><TagSet><Tag><Key>class</Key><Value>secret</Value></Tag></TagSet></Tagging>";
            assert_eq!(put(&at_s3, &format!("/papers/{key}?tagging="), tags).await.status, 200);
        }
        let ada = user(&root, "ada").await;
        user(&root, "bob").await;
        role(&root, "work", trusting("bedrock.amazonaws.com"), &allow(&["*"], "*")).await;
        role(&root, "functions", trusting("lambda.amazonaws.com"), &allow(&["*"], "*")).await;
        let mut world = Self {
            _server: server,
            root,
            ada,
            base: String::new(),
            source: String::new(),
            flows: Default::default(),
        };
        world.function("existing").await;
        world.knowledge_base().await;
        world.flows = [
            world.flow("reads", flow("Retrieval", &["objectKey"], "s3Content")).await,
            world.flow("writes", flow("Storage", &["content", "objectKey"], "s3Uri")).await,
        ];
        world
    }

    async fn function(&self, name: &str) {
        let body = json!({"FunctionName": name, "Runtime": "python3.11", "Handler": "m.h",
            "Role": format!("arn:aws:iam::{ACCOUNT}:role/functions"), "Code": {"ZipFile": ARCHIVE}});
        let made = self.root.for_service("lambda").post("/2015-03-31/functions", &body).await;
        assert_eq!(made.status, 201, "{}", made.snapshot());
    }

    async fn flow(&self, name: &str, definition: Value) -> String {
        let body = json!({"name": name, "executionRoleArn": ROLE, "definition": definition});
        let made = self.root.post("/flows/", &body).await;
        assert_eq!(made.status, 201, "{}", made.snapshot());
        let id = field(&made, "/id");
        let prepared = self.root.post(&format!("/flows/{id}/"), &Value::Null).await;
        assert_eq!(prepared.status, 202, "{}", prepared.snapshot());
        id
    }

    async fn knowledge_base(&mut self) {
        let root = &self.root;
        let collection =
            json!({"name": "papers", "type": "VECTORSEARCH", "encryptionConfig": {"aWSOwnedKey": true}});
        let made =
            root.for_service("aoss").target("OpenSearchServerless.CreateCollection", &collection).await;
        let body = json!({
            "name": "papers", "roleArn": ROLE,
            "knowledgeBaseConfiguration": {"type": "VECTOR", "vectorKnowledgeBaseConfiguration": {
                "embeddingModelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"}},
            "storageConfiguration": {"type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": {
                "collectionArn": field(&made, "/createCollectionDetail/arn"), "vectorIndexName": "papers",
                "fieldMapping": {"vectorField": "v", "textField": "t", "metadataField": "m"}}}
        });
        let made = root.json(Method::PUT, "/knowledgebases/", &body).await;
        let base = field(&made, "/knowledgeBase/knowledgeBaseId");
        let path = format!("/knowledgebases/{base}");
        self.until(&path, "/knowledgeBase/status", &["ACTIVE"]).await;
        let source = json!({"name": "papers", "dataSourceConfiguration": {"type": "S3", "s3Configuration": {
            "bucketArn": "arn:aws:s3:::papers", "inclusionPrefixes": ["kb/"]}}});
        let made = root.json(Method::PUT, &format!("{path}/datasources/"), &source).await;
        (self.base, self.source) = (base, field(&made, "/dataSource/dataSourceId"));
    }

    /// The answer of a path, once what is in it is one of these.
    async fn until(&self, path: &str, pointer: &str, wanted: &[&str]) -> String {
        for _ in 0..400 {
            let answer = self.root.get(path).await;
            if wanted.contains(&field(&answer, pointer).as_str()) {
                return answer.snapshot();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{path} never came to {wanted:?}");
    }

    /// What the policies of the user and of the role say of S3.
    async fn identity(&self, on_s3: &Value) {
        let mut all = json!([{"Effect": "Allow", "Resource": "*",
            "Action": ["bedrock:*", "lambda:*", "aoss:*", "iam:PassRole"]}]);
        all.as_array_mut().unwrap().extend(on_s3.as_array().unwrap().iter().cloned());
        let document = statements(&all);
        put_policy(&self.root, "ada", all).await;
        let of_role = [("RoleName", "work"), ("PolicyName", "p"), ("PolicyDocument", document.as_str())];
        iam(&self.root, "PutRolePolicy", &of_role).await;
    }

    async fn bucket(&self, policy: Option<Value>) {
        let at_s3 = self.root.for_service("s3");
        let answer = match policy {
            Some(list) => put(&at_s3, "/papers?policy=", &statements(&list)).await,
            None => at_s3.open(Method::DELETE, "/papers?policy=", "").await.answer().await,
        };
        assert!(answer.status.is_success(), "{}", answer.snapshot());
    }

    /// What came of going a way to an object.
    async fn go(&self, way: Way, number: usize) -> String {
        let lambda = self.ada.for_service("lambda");
        let code = json!({"S3Bucket": "papers", "S3Key": "code.zip"});
        match way {
            Way::CreateFunction => {
                let body = json!({"FunctionName": format!("f{number}"), "Runtime": "python3.11", "Handler": "m.h",
                    "Role": format!("arn:aws:iam::{ACCOUNT}:role/functions"), "Code": code});
                lambda.post("/2015-03-31/functions", &body).await.snapshot()
            }
            Way::UpdateFunctionCode => {
                let path = "/2015-03-31/functions/existing/code";
                lambda.json(Method::PUT, path, &code).await.snapshot()
            }
            Way::ExternalSource => {
                let external = json!({"input": {"text": "When?"}, "retrieveAndGenerateConfiguration": {
                    "type": "EXTERNAL_SOURCES", "externalSourcesConfiguration": {"modelArn": MODEL,
                        "sources": [{"sourceType": "S3", "s3Location": {"uri": "s3://papers/a.txt"}}]}}});
                self.ada.post("/retrieveAndGenerate", &external).await.snapshot()
            }
            Way::InlineAgentFile => {
                let mut body = inline("When do herons fish?", json!([]));
                body["inlineSessionState"] = json!({"files": [{"name": "a.txt", "useCase": "CHAT",
                    "source": {"sourceType": "S3", "s3Location": {"uri": "s3://papers/a.txt"}}}]});
                agent_runs::ask(&self.ada, &format!("session{number}"), &body).await.snapshot()
            }
            Way::ConverseDocument => {
                self.converse("converse", &conversation(&said(&block("document")))).await
            }
            Way::ConverseStreamImage => {
                self.converse("converse-stream", &conversation(&said(&block("image")))).await
            }
            Way::ToolResultDocument => {
                let called = json!([{"toolUse": {"toolUseId": "t", "name": "look", "input": {}}}]);
                let answered = json!([{"toolResult": {"toolUseId": "t", "content": [block("document")]}}]);
                let mut talk = conversation(&json!([{"role": "user", "content": [{"text": "Look."}]},
                    {"role": "assistant", "content": called}, {"role": "user", "content": answered}]));
                talk["toolConfig"] = json!({"tools": [{"toolSpec": {"name": "look",
                    "inputSchema": {"json": {"type": "object"}}}}]});
                self.converse("converse", &talk).await
            }
            Way::CountedDocument => {
                let talk = conversation(&said(&block("document")));
                self.converse("count-tokens", &json!({"input": {"converse": talk}})).await
            }
            Way::AgentSchema => self.agent_schema(number).await,
            Way::RetrievalNode => self.invoke(0).await,
            Way::StorageNode => self.invoke(1).await,
            Way::Sync => self.sync().await,
            Way::Document => self.document().await,
        }
    }

    async fn converse(&self, operation: &str, body: &Value) -> String {
        let path = format!("/model/{MODEL}/{operation}");
        self.ada.post(&path, body).await.snapshot()
    }

    async fn invoke(&self, flow: usize) -> String {
        let path = format!("/flows/{}/aliases/TSTALIASID", self.flows[flow]);
        let key = ["a.txt", "written.txt"][flow];
        let body = json!({"inputs": [{"nodeName": "In", "nodeOutputName": "document",
            "content": {"document": key}}]});
        self.root.post(&path, &body).await.snapshot()
    }

    async fn agent_schema(&self, number: usize) -> String {
        let made = json!({"agentName": format!("a{number}"), "agentResourceRoleArn": ROLE, "foundationModel": MODEL,
            "instruction": "You help the customers of a shop, politely and in few words."});
        let made = self.root.json(Method::PUT, "/agents/", &made).await;
        let id = field(&made, "/agent/agentId");
        let group = json!({"actionGroupName": "orders", "actionGroupExecutor": {"customControl": "RETURN_CONTROL"},
            "apiSchema": {"s3": {"s3BucketName": "papers", "s3ObjectKey": "a.txt"}}});
        let path = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
        let added = self.root.json(Method::PUT, &path, &group).await;
        let prepared = self.root.post(&format!("/agents/{id}/"), &Value::Null).await;
        let got = self.root.get(&format!("/agents/{id}/")).await;
        [added, prepared, got].map(|answer| answer.snapshot()).join("\n")
    }

    async fn sync(&self) -> String {
        let path = format!("/knowledgebases/{}/datasources/{}/ingestionjobs/", self.base, self.source);
        let started = self.root.json(Method::PUT, &path, &json!({})).await;
        let job = format!("{path}{}", field(&started, "/ingestionJob/ingestionJobId"));
        self.until(&job, "/ingestionJob/status", &["COMPLETE", "FAILED"]).await
    }

    async fn document(&self) -> String {
        let path = format!("/knowledgebases/{}/datasources/{}/documents", self.base, self.source);
        let uri = "s3://papers/kb/a.txt";
        let put =
            json!({"documents": [{"content": {"dataSourceType": "S3", "s3": {"s3Location": {"uri": uri}}}}]});
        let put = self.root.json(Method::PUT, &path, &put).await;
        assert_eq!(put.status, 202, "{}", put.snapshot());
        let which = json!({"documentIdentifiers": [{"dataSourceType": "S3", "s3": {"uri": uri}}]});
        for _ in 0..400 {
            let got = self.root.post(&format!("{path}/getDocuments"), &which).await;
            let status = field(&got, "/documentDetails/0/status");
            if !matches!(status.as_str(), "STARTING" | "PENDING" | "IN_PROGRESS") {
                return got.snapshot();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the document was never done");
    }
}

/// A block whose content is the object of the bucket.
fn block(kind: &str) -> Value {
    let source = json!({"s3Location": {"uri": "s3://papers/a.txt"}});
    match kind {
        "image" => json!({"image": {"format": "png", "source": source}}),
        _ => json!({"document": {"name": "a", "format": "txt", "source": source}}),
    }
}

fn said(block: &Value) -> Value {
    json!([{"role": "user", "content": [{"text": "When do herons fish?"}, block]}])
}

fn conversation(messages: &Value) -> Value {
    json!({ "messages": messages })
}

fn is_refused(told: &str) -> bool {
    told.contains("is not authorized to perform: s3:")
}

#[tokio::test]
async fn buckets_and_tags_count_whoever_reads_or_writes_for_somebody() {
    let world = World::new().await;
    let everything = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
    let principals = json!({"AWS": [format!("arn:aws:iam::{ACCOUNT}:user/ada"), ROLE]});
    let on = json!(["arn:aws:s3:::papers/*", "arn:aws:s3:::papers"]);
    let tagged = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*",
         "Condition": {"StringEquals": {"s3:ExistingObjectTag/class": "secret"}}}]);
    let account = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*",
         "Condition": {"StringEquals": {"aws:ResourceAccount": ACCOUNT, "s3:ResourceAccount": ACCOUNT}}}]);
    let denied = json!([{"Effect": "Deny", "Principal": principals, "Resource": "arn:aws:s3:::papers/*",
         "Action": ["s3:GetObject", "s3:PutObject"]}]);
    let others = json!([{"Effect": "Deny", "Resource": "arn:aws:s3:::papers/*",
         "NotPrincipal": {"AWS": [format!("arn:aws:iam::{ACCOUNT}:user/bob"), format!("arn:aws:iam::{ACCOUNT}:root")]},
         "Action": ["s3:GetObject", "s3:PutObject"]}]);
    let granted = json!([{"Effect": "Allow", "Principal": principals, "Resource": on, "Action": "s3:*"}]);
    let only_reads = |way: &Way| *way != Way::StorageNode;
    let cases: [(&str, &Value, Option<&Value>, Option<&str>); 6] = [
        ("the identity allows", &everything, None, None),
        ("the identity allows in the account", &account, None, None),
        ("the bucket alone allows", &json!([]), Some(&granted), None),
        ("the bucket denies", &everything, Some(&denied), Some("explicit deny in a resource-based policy")),
        (
            "the bucket denies all but another",
            &everything,
            Some(&others),
            Some("explicit deny in a resource-based policy"),
        ),
        ("a tag of the object denies", &tagged, None, Some("explicit deny in an identity-based policy")),
    ];
    let mut number = 0;
    for (what, identity, bucket, refusal) in cases {
        world.identity(identity).await;
        world.bucket(bucket.cloned()).await;
        for way in WAYS.iter().filter(|way| !what.contains("tag") || only_reads(way)) {
            number += 1;
            let told = world.go(*way, number).await;
            assert_eq!(is_refused(&told), refusal.is_some(), "{what}, {way:?}: {told}");
            let reason = refusal.unwrap_or_default();
            assert!(told.contains(reason), "{what}, {way:?}: {told}");
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_is_told_of_to_who_may_list() {
    let world = World::new().await;
    let read = json!([{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]);
    let list = json!([{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::papers"}]);
    let at_s3 = world.root.for_service("s3");
    for key in ["a.txt", "code.zip"] {
        at_s3.open(Method::DELETE, &format!("/papers/{key}"), "").await.answer().await;
    }
    let both = json!([read[0], list[0]]);
    for (identity, hidden) in [(&read, true), (&both, false)] {
        world.identity(identity).await;
        for way in [Way::UpdateFunctionCode, Way::ExternalSource, Way::ConverseDocument, Way::RetrievalNode] {
            let told = world.go(way, 0).await;
            let text = "is not authorized to perform: s3:ListBucket on resource: arn:aws:s3:::papers";
            assert_eq!(told.contains(text), hidden, "{way:?}: {told}");
        }
    }
}

#[tokio::test]
async fn a_sync_lists_what_it_may_list() {
    let world = World::new().await;
    let listing = |prefix: &str| {
        json!([{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::papers/kb/*"},
               {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::papers",
                "Condition": {"StringLike": {"s3:prefix": prefix}}}])
    };
    world.identity(&listing("other/*")).await;
    let told = world.sync().await;
    assert!(told.contains("FAILED") && told.contains("s3:ListBucket"), "{told}");
    world.identity(&listing("kb/*")).await;
    let told = world.sync().await;
    assert!(told.contains("COMPLETE") && !is_refused(&told), "{told}");
}

/// Asks for an order once, and says what came of it.
fn orders() -> Scripted {
    Scripted::deciding(|request| match results(request).first() {
        None => calls("", &[(&tool(request, "order"), json!({"order_id": "7"}))]),
        Some(result) => text(&format!("It says: {}", agent_runs::result_text(result))),
    })
}

#[tokio::test]
async fn an_agent_calls_functions_that_let_bedrock_in() {
    let (mapped, events) = function(|event| replied(event, &json!({"status": "SHIPPED"}))).await;
    let directory = tempfile::tempdir().unwrap();
    let serve = async |functions: Vec<MappedFunction>| {
        TestServer::with(orders(), |config| {
            config.data_dir = directory.path().join("data");
            config.enforce_service_roles = true;
            config.functions = functions;
        })
        .await
    };
    // Made before its name is mapped: what it lets in stays with it.
    let before = serve(Vec::new()).await;
    let root = before.client();
    role(&root, "functions", trusting("lambda.amazonaws.com"), &allow(&["*"], "*")).await;
    role(&root, "work", trusting("bedrock.amazonaws.com"), &allow(&["bedrock:InvokeModel"], "*")).await;
    let lambda = root.for_service("lambda");
    let body = json!({"FunctionName": "orders", "Runtime": "python3.11", "Handler": "m.h",
        "Role": format!("arn:aws:iam::{ACCOUNT}:role/functions"), "Code": {"ZipFile": ARCHIVE}});
    let made = lambda.post("/2015-03-31/functions", &body).await;
    assert_eq!(made.status, 201, "{}", made.snapshot());
    before.server.stop().await;
    let server = serve(vec![mapped]).await;
    let root = server.client();
    let lambda = root.for_service("lambda");
    let again = lambda.post("/2015-03-31/functions", &body).await;
    assert_eq!(again.error(), (409, "ResourceConflictException"), "{}", again.snapshot());

    let agent = json!({"agentName": "shop", "agentResourceRoleArn": ROLE, "foundationModel": MODEL,
        "instruction": "You help the customers of a shop, politely and in few words."});
    let id = field(&root.json(Method::PUT, "/agents/", &agent).await, "/agent/agentId");
    let groups = format!("/agents/{id}/agentversions/DRAFT/actiongroups/");
    let added = root.json(Method::PUT, &groups, &group(json!({"lambda": FUNCTION}))).await;
    assert_eq!(added.status, 200, "{}", added.snapshot());
    assert_eq!(root.post(&format!("/agents/{id}/"), &Value::Null).await.status, 202);

    let invoke = async |session: &str| {
        let path = format!("/agents/{id}/agentAliases/TSTALIASID/sessions/{session}/text");
        root.post(&path, &json!({"inputText": "Where is order 7?"})).await.snapshot()
    };
    let permit = async |statement: &str, source: &str| {
        let body = json!({"StatementId": statement, "Action": "lambda:InvokeFunction",
            "Principal": "bedrock.amazonaws.com", "SourceAccount": ACCOUNT, "SourceArn": source});
        let added = lambda.post("/2015-03-31/functions/orders/policy", &body).await;
        assert_eq!(added.status, 201, "{}", added.snapshot());
    };
    let refused = invoke("one").await;
    assert!(refused.contains("is not authorized to perform: lambda:InvokeFunction"), "{refused}");
    permit("another", &format!("arn:aws:bedrock:us-east-1:{ACCOUNT}:agent/OTHER")).await;
    permit("flows", &format!("arn:aws:bedrock:us-east-1:{ACCOUNT}:flow/*")).await;
    let refused = invoke("two").await;
    assert!(refused.contains("is not authorized to perform: lambda:InvokeFunction"), "{refused}");
    assert!(events.lock().is_empty());
    permit("ours", &format!("arn:aws:bedrock:us-east-1:{ACCOUNT}:agent/{id}")).await;
    let answered = invoke("three").await;
    assert!(!answered.contains("not authorized") && events.lock().len() == 1, "{answered}");

    // A flow acts with its role, which the function's policy for the service does not replace.
    let node = json!({"name": "Node", "type": "LambdaFunction", "configuration": {"lambdaFunction": {"lambdaArn": FUNCTION}},
        "inputs": [{"name": "order", "type": "String", "expression": "$.data"}],
        "outputs": [{"name": "functionResponse", "type": "Object"}]});
    let mut definition = flow("Retrieval", &["order"], "functionResponse");
    definition["nodes"][1] = node;
    definition["nodes"][2]["inputs"][0]["type"] = json!("Object");
    let body = json!({"name": "calls", "executionRoleArn": ROLE, "definition": definition});
    let made = root.post("/flows/", &body).await;
    assert_eq!(made.status, 201, "{}", made.snapshot());
    let flow = field(&made, "/id");
    assert_eq!(root.post(&format!("/flows/{flow}/"), &Value::Null).await.status, 202);
    let input =
        json!({"inputs": [{"nodeName": "In", "nodeOutputName": "document", "content": {"document": "7"}}]});
    let path = format!("/flows/{flow}/aliases/TSTALIASID");
    let refused = root.post(&path, &input).await.snapshot();
    assert!(refused.contains("is not authorized to perform: lambda:InvokeFunction"), "{refused}");
    let document = allow(&["lambda:InvokeFunction", "bedrock:InvokeModel"], "*");
    let of_role = [("RoleName", "work"), ("PolicyName", "p"), ("PolicyDocument", document.as_str())];
    iam(&root, "PutRolePolicy", &of_role).await;
    let answered = root.post(&path, &input).await.snapshot();
    assert!(!answered.contains("not authorized") && events.lock().len() == 2, "{answered}");
}
