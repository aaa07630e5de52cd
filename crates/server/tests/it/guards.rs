//! What administrators guard with: conditions on IAM's own keys, principals in policies, scopes of signatures, and the
//! log of who did what.

use craton_core::Clock as _;
use craton_testkit::{Answer, Client, Scripted, TestServer};
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use super::identity::{ACCOUNT, CONVERSE, call, element, hello, iam, put_policy, user};

const BOUNDARY: &str = "arn:aws:iam::aws:policy/AmazonBedrockReadOnly";

fn code_of(answer: &Answer) -> String {
    if answer.status == 200 { "allowed".to_owned() } else { element(answer, "Code") }
}

#[tokio::test]
async fn denials_on_iams_own_keys_hold() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    let denied = |action: &str, operator: &str, key: &str, value: &str| json!({"Effect": "Deny", "Action": action, "Resource": "*", "Condition": {operator: {key: value}}});
    let admin = "arn:aws:iam::aws:policy/AdministratorAccess";
    put_policy(
        &root,
        "ada",
        json!([
            {"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
            denied("iam:AttachUserPolicy", "ArnEquals", "iam:PolicyARN", admin),
            denied("iam:CreateServiceSpecificCredential", "NumericGreaterThan",
                   "iam:ServiceSpecificCredentialAgeDays", "90"),
            denied("iam:CreateUser", "StringNotEquals", "iam:PermissionsBoundary", BOUNDARY),
            denied("iam:DeleteUserPolicy", "StringNotEquals", "iam:PermissionsBoundary", BOUNDARY),
        ]),
    )
    .await;
    let attach = |arn: &'static str| [("UserName", "ada"), ("PolicyArn", arn)];
    assert_eq!(code_of(&call(&ada, "iam", "AttachUserPolicy", &attach(admin)).await), "AccessDenied");
    assert_eq!(code_of(&call(&ada, "iam", "AttachUserPolicy", &attach(BOUNDARY)).await), "allowed");
    let key = |days: &'static str| {
        [("UserName", "ada"), ("ServiceName", "bedrock.amazonaws.com"), ("CredentialAgeDays", days)]
    };
    let made = call(&ada, "iam", "CreateServiceSpecificCredential", &key("365")).await;
    assert_eq!(code_of(&made), "AccessDenied");
    let made = call(&ada, "iam", "CreateServiceSpecificCredential", &key("30")).await;
    assert_eq!(code_of(&made), "allowed");
    // Delegation: only users with the boundary may be made, and only theirs may be changed.
    let bounded = [("UserName", "bob"), ("PermissionsBoundary", BOUNDARY)];
    let drop_policy = [("UserName", "bob"), ("PolicyName", "p")];
    assert_eq!(code_of(&call(&ada, "iam", "CreateUser", &bounded[..1]).await), "AccessDenied");
    assert_eq!(code_of(&call(&ada, "iam", "CreateUser", &bounded).await), "allowed");
    assert_eq!(code_of(&call(&ada, "iam", "DeleteUserPolicy", &drop_policy).await), "NoSuchEntity");
    let own = [("UserName", "ada"), ("PolicyName", "p")];
    assert_eq!(code_of(&call(&ada, "iam", "DeleteUserPolicy", &own).await), "AccessDenied");
    let only =
        denied("iam:*", "StringEquals", "iam:ServiceSpecificCredentialServiceName", "bedrock.amazonaws.com");
    put_policy(&root, "ada", json!([{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}, only])).await;
    let made = call(&ada, "iam", "CreateServiceSpecificCredential", &key("30")).await;
    assert_eq!(code_of(&made), "AccessDenied");
}

#[tokio::test]
async fn functions_are_opened_to_nobody_that_a_condition_excludes() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    put_policy(
        &root,
        "ada",
        json!([{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"},
               {"Effect": "Deny", "Action": "lambda:AddPermission", "Resource": "*",
                "Condition": {"StringEquals": {"lambda:Principal": "*"}}}]),
    )
    .await;
    let add = async |principal: &str| {
        let body = json!({"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": principal});
        let path = "/2015-03-31/functions/f/policy";
        ada.for_service("lambda").post(path, &body).await.error().1.to_owned()
    };
    assert_eq!(add("*").await, "AccessDeniedException");
    assert_eq!(add(ACCOUNT).await, "ResourceNotFoundException");
    assert_eq!(add(&format!("arn:aws:iam::{ACCOUNT}:user/ghost")).await, "InvalidParameterValueException");
}

/// S3's signatures are checked by the machine's clock.
pub(super) fn set_to_real_time(server: &TestServer) {
    server.clock.advance_ms(craton_core::SystemClock.now_ms() - server.clock.now_ms());
}

pub(super) async fn put(client: &Client, path: &str, body: &str) -> Answer {
    client.open(Method::PUT, path, body.to_owned()).await.answer().await
}

#[tokio::test]
async fn a_bucket_that_names_a_user_is_not_open_to_the_next_of_that_name() {
    let server = TestServer::start().await;
    let root = server.client();
    set_to_real_time(&server);
    let at_s3 = root.for_service("s3");
    assert_eq!(put(&at_s3, "/papers", "").await.status, 200);
    assert_eq!(put(&at_s3, "/papers/a", "secret").await.status, 200);
    let policy = |user: &str| {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject",
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/{user}")},
            "Resource": "arn:aws:s3:::papers/*"}]})
        .to_string()
    };
    let ghost = put(&at_s3, "/papers?policy=", &policy("vic")).await;
    assert_eq!(
        (element(&ghost, "Code").as_str(), element(&ghost, "Message").as_str()),
        ("MalformedPolicy", "Invalid principal in policy")
    );
    let vic = user(&root, "vic").await;
    assert!(put(&at_s3, "/papers?policy=", &policy("vic")).await.status.is_success());
    assert_eq!(vic.for_service("s3").get("/papers/a").await.status, 200);
    let shown = at_s3.get("/papers?policy=").await;
    assert_eq!(shown.json(), serde_json::from_str::<Value>(&policy("vic")).unwrap());
    let key = [("UserName", "vic"), ("AccessKeyId", vic.access_key_id.as_str())];
    iam(&root, "DeleteAccessKey", &key).await;
    iam(&root, "DeleteUserPolicy", &[("UserName", "vic"), ("PolicyName", "p")]).await;
    iam(&root, "DeleteUser", &key[..1]).await;
    let second = user(&root, "vic").await.for_service("s3");
    let refused = second.get("/papers/a").await;
    assert_eq!((refused.status.as_u16(), element(&refused, "Code").as_str()), (403, "AccessDenied"));
    let shown = at_s3.get("/papers?policy=").await.json();
    assert!(shown["Statement"][0]["Principal"]["AWS"].as_str().unwrap().starts_with("AIDA"), "{shown}");
}

#[tokio::test]
async fn s3_weighs_tags_and_tells_of_missing_keys_only_who_may_list() {
    let server = TestServer::start().await;
    let root = server.client();
    set_to_real_time(&server);
    let at_s3 = root.for_service("s3");
    assert_eq!(put(&at_s3, "/papers", "").await.status, 200);
    for (key, class) in [("open", "public"), ("closed", "secret")] {
        assert_eq!(put(&at_s3, &format!("/papers/{key}"), "text").await.status, 200);
        let tags =
            format!("<Tagging><TagSet><Tag><Key>class</Key><Value>{class}</Value></Tag></TagSet></Tagging>");
        assert_eq!(put(&at_s3, &format!("/papers/{key}?tagging="), &tags).await.status, 200);
    }
    let ada = user(&root, "ada").await.for_service("s3");
    let allow = |action: &str| json!({"Effect": "Allow", "Action": action, "Resource": "*"});
    let deny = json!({"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*",
                      "Condition": {"StringEquals": {"s3:ExistingObjectTag/class": "secret"}}});
    put_policy(&root, "ada", json!([allow("s3:*"), deny])).await;
    assert_eq!(ada.get("/papers/open").await.status, 200);
    assert_eq!(element(&ada.get("/papers/closed").await, "Code"), "AccessDenied");
    assert_eq!(element(&ada.get("/papers/none").await, "Code"), "NoSuchKey");
    put_policy(&root, "ada", json!([allow("s3:GetObject")])).await;
    assert_eq!(element(&ada.get("/papers/none").await, "Code"), "AccessDenied");
    let head = ada.open(Method::HEAD, "/papers/none", "").await.answer().await;
    assert_eq!(head.status, 403);
    assert_eq!(element(&root.for_service("s3").get("/papers/none").await, "Code"), "NoSuchKey");
    let mut wrong = at_s3.clone();
    wrong.secret = "wrong".into();
    let refused = wrong.get("/papers/open").await;
    assert_eq!(element(&refused, "Code"), "SignatureDoesNotMatch");
    assert!(
        element(&refused, "Message").contains("does not match") && !element(&refused, "RequestId").is_empty()
    );
}

#[tokio::test]
async fn a_scope_that_disagrees_with_the_request_is_refused_in_the_services_own_form() {
    let server = TestServer::start().await;
    let root = server.client();
    let identity = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
    assert_eq!(root.for_service("sts").query(&identity).await.status, 200);
    for scope in ["bedrock", "iam", "s3", "lambda", "aoss", "mars"] {
        let refused = root.for_service(scope).query(&identity).await;
        assert_eq!(refused.status, 403, "{}", refused.snapshot());
        assert_eq!(element(&refused, "Code"), "SignatureDoesNotMatch");
        let message = element(&refused, "Message");
        let told = "Credential should be scoped to correct service: 'sts";
        assert!(message.starts_with(told), "{scope}: {message}");
    }
    let asked = root.unsigned(Method::GET, "/?Action=ListUsers&Version=2010-05-08", "".into());
    let refused = root.send(asked.0, asked.1).await.answer().await;
    assert_eq!(element(&refused, "Code"), "MissingAuthenticationToken");
    let (mut parts, body) =
        root.unsigned(Method::POST, "/", "Action=GetCallerIdentity&Version=2011-06-15".into());
    let form = HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8");
    parts.headers.insert("content-type", form);
    let refused = root.send(parts, body).await.answer().await;
    assert_eq!(
        (refused.status.as_u16(), element(&refused, "Code").as_str()),
        (403, "MissingAuthenticationToken")
    );
}

#[tokio::test]
async fn a_signature_for_a_region_that_is_not_allowed_is_refused() {
    let server = TestServer::with(Scripted::saying("Hello."), |config| {
        config.allow_regions = "us-east-1, eu-west-1".into();
    })
    .await;
    let mut client = server.client();
    set_to_real_time(&server);
    let identity = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
    for (region, allowed) in
        [("us-east-1", true), ("eu-west-1", true), ("eu-west-2", false), ("mars-1", false)]
    {
        client.region = region.into();
        let told = client.for_service("sts").query(&identity).await;
        let scope = "Credential should be scoped to a valid region. ";
        assert_eq!(told.status == 200, allowed, "{region}: {}", told.snapshot());
        assert!(allowed || element(&told, "Message") == scope, "{region}: {}", told.snapshot());
        let listed = client.get("/guardrails").await;
        let refused = (403, "InvalidSignatureException");
        assert_eq!(listed.error() == refused, !allowed, "{region}: {}", listed.snapshot());
        let buckets = client.for_service("s3").get("/").await;
        assert_eq!(buckets.status == 200, allowed, "{region}: {}", buckets.snapshot());
        assert!(allowed || element(&buckets, "Code") == "AuthorizationHeaderMalformed", "{region}");
    }
}

#[tokio::test]
async fn iam_is_signed_for_its_one_region_wherever_home_is() {
    let server = TestServer::with(Scripted::saying("Hello."), |config| {
        config.region = "eu-west-1".into();
        config.allow_regions = "eu-west-1".into();
    })
    .await;
    let mut client = server.client();
    let users = [("Action", "ListUsers"), ("Version", "2010-05-08")];
    for (region, allowed) in [("us-east-1", true), ("eu-west-1", true), ("eu-west-2", false)] {
        client.region = region.into();
        let told = client.for_service("iam").query(&users).await;
        assert_eq!(told.status == 200, allowed, "{region}: {}", told.snapshot());
    }
    client.region = "us-east-1".into();
    assert_eq!(client.get("/guardrails").await.error(), (403, "InvalidSignatureException"));
}

#[tokio::test]
async fn api_keys_open_bedrock_and_its_runtime_only() {
    let server = TestServer::start().await;
    let root = server.client();
    let bearer = async |method: Method, path: &str, body: Value| {
        let (mut parts, body) = root.unsigned(method, path, body.to_string().into());
        let key = format!("Bearer {}", server.api_key(600));
        parts.headers.insert("authorization", HeaderValue::from_str(&key).unwrap());
        root.send(parts, body).await.answer().await
    };
    assert_eq!(bearer(Method::POST, CONVERSE, hello()).await.status, 200);
    assert_eq!(bearer(Method::GET, "/guardrails", Value::Null).await.status, 200);
    for path in ["/agents/", "/knowledgebases/", "/flows/", "/sessions/"] {
        let refused = bearer(Method::POST, path, json!({})).await;
        assert_eq!(refused.error(), (403, "AccessDeniedException"), "{path}: {}", refused.snapshot());
        assert!(refused.snapshot().contains("API keys are for"), "{path}");
    }
    // Other services' operations, buckets, and nobody's.
    for path in ["/2015-03-31/functions", "/papers/a", "/nowhere"] {
        let refused = bearer(Method::GET, path, Value::Null).await;
        assert_eq!(refused.error(), (403, "AccessDeniedException"), "{path}: {}", refused.snapshot());
        assert!(refused.snapshot().contains("API keys are for"), "{path}");
    }
    let listed = bearer(Method::GET, "/?Action=ListUsers&Version=2010-05-08", Value::Null).await;
    assert_eq!((listed.status.as_u16(), element(&listed, "Code").as_str()), (403, "AccessDenied"));
}

#[tokio::test]
async fn a_function_is_given_only_roles_that_lambda_may_assume() {
    let server =
        TestServer::with(Scripted::saying("Hello."), |config| config.enforce_service_roles = true).await;
    let root = server.client();
    let trust = |service: &str| {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"Service": service}}]})
        .to_string()
    };
    for (name, service) in [("good", "lambda.amazonaws.com"), ("other", "bedrock.amazonaws.com")] {
        let made = [("RoleName", name), ("AssumeRolePolicyDocument", &trust(service))];
        iam(&root, "CreateRole", &made).await;
    }
    let create = async |role: &str| {
        let body = json!({"FunctionName": "f", "Runtime": "python3.11", "Handler": "m.h", "Role": role,
                          "Code": {"ZipFile": "bm8gYXJjaGl2ZQ=="}});
        root.for_service("lambda").post("/2015-03-31/functions", &body).await.snapshot()
    };
    let refused = "The role defined for the function cannot be assumed by Lambda.";
    for role in ["role/other", "role/none", "role/x/good", "role/GOOD"] {
        let told = create(&format!("arn:aws:iam::{ACCOUNT}:{role}")).await;
        assert!(told.contains(refused) && told.contains("InvalidParameterValueException"), "{role}: {told}");
    }
    assert!(create("arn:aws:iam::999999999999:role/good").await.contains(refused));
    let told = create(&format!("arn:aws:iam::{ACCOUNT}:role/good")).await;
    assert!(!told.contains(refused) && told.contains("zip"), "only the archive is wrong: {told}");
}

/// The audit log's lines, once there is one for which `wanted` holds.
async fn audited(server: &TestServer, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    for _ in 0..200 {
        let text = std::fs::read_to_string(server.folder().join("data/audit.jsonl")).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.iter().any(&wanted) {
            return lines;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("no such line in the audit log");
}

#[tokio::test]
async fn the_log_says_which_key_was_tried_and_errors_by_the_names_that_clients_are_told() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    set_to_real_time(&server);
    for service in ["bedrock", "s3", "iam"] {
        let mut wrong = ada.for_service(service);
        wrong.secret = "wrong".into();
        let path = if service == "bedrock" { "/guardrails" } else { "/" };
        wrong.get(path).await;
    }
    let head = ada.for_service("s3").open(Method::HEAD, "/papers", "").await.answer().await;
    assert_eq!(head.status, 403);
    assert_eq!(code_of(&call(&ada, "iam", "ListUsers", &[]).await), "AccessDenied");
    let lines = audited(&server, |line| line["eventName"] == "ListUsers").await;
    let tried = |line: &&Value| {
        line["additionalEventData"]["decision"] == "notAuthenticated"
            && line["userIdentity"]["accessKeyId"] == ada.access_key_id.as_str()
    };
    assert_eq!(lines.iter().filter(tried).count(), 3, "{lines:#?}");
    for (event, code) in [("ListUsers", "AccessDenied"), ("HeadBucket", "AccessDenied")] {
        let line = lines.iter().find(|line| line["eventName"] == event).unwrap();
        assert_eq!(line["errorCode"], code, "{line:#?}");
    }
}

#[tokio::test]
async fn what_a_service_does_with_a_role_is_in_the_log() {
    let server =
        TestServer::with(Scripted::saying("Hello."), |config| config.enforce_service_roles = true).await;
    let root = server.client();
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "bedrock.amazonaws.com"}}]})
    .to_string();
    iam(&root, "CreateRole", &[("RoleName", "flows"), ("AssumeRolePolicyDocument", &trust)]).await;
    let id = super::flows::prepared(&root, "roled", super::flows::chained()).await;
    super::flows::invoke(&root, &id, json!("x")).await;
    let of_role = |line: &Value| line["userIdentity"]["invokedBy"] == "bedrock.amazonaws.com";
    let lines = audited(&server, of_role).await;
    let line = lines.iter().find(|line| of_role(line)).unwrap();
    assert_eq!(line["eventName"], "InvokeModel", "{line:#?}");
    assert_eq!(line["additionalEventData"]["decision"], "denied");
    assert_eq!(
        (&line["errorCode"], &line["userIdentity"]["type"]),
        (&json!("AccessDenied"), &json!("AssumedRole"))
    );
    assert_eq!(line["userIdentity"]["arn"], format!("arn:aws:sts::{ACCOUNT}:assumed-role/flows/bedrock"));
    assert!(line["additionalEventData"]["sourceArn"].as_str().unwrap().contains(":flow/"), "{line:#?}");
    assert_eq!(line["sourceIPAddress"], "bedrock.amazonaws.com");
}

#[tokio::test]
async fn what_an_inline_agent_does_as_its_caller_is_in_the_log() {
    let server = TestServer::start().await;
    let root = server.client();
    let mut ada = user(&root, "ada").await;
    ada.region = "eu-west-1".into();
    put_policy(&root, "ada", json!([{"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"}])).await;
    let mut inline = super::agent_runs::inline("Hello?", json!([]));
    inline["inlineSessionState"] = json!({"files": [{"name": "a.txt", "useCase": "CHAT",
        "source": {"sourceType": "S3", "s3Location": {"uri": "s3://papers/a.txt"}}}]});
    let refused = super::agent_runs::ask(&ada, "one", &inline).await;
    assert!(refused.snapshot().contains("s3:GetObject"), "{}", refused.snapshot());
    let read = |line: &Value| {
        line["eventName"] == "GetObject" && line["userIdentity"]["invokedBy"] == "bedrock.amazonaws.com"
    };
    let lines = audited(&server, read).await;
    let line = lines.iter().find(|line| read(line)).unwrap();
    let own = lines.iter().find(|line| line["eventName"] == "InvokeInlineAgent").unwrap();
    assert_eq!(line["requestID"], own["requestID"], "{line:#?}");
    assert_eq!(
        (&line["awsRegion"], &own["awsRegion"]),
        (&json!("eu-west-1"), &json!("eu-west-1")),
        "{line:#?}"
    );
    assert_eq!(line["userIdentity"]["arn"], format!("arn:aws:iam::{ACCOUNT}:user/ada"), "{line:#?}");
    assert_eq!(
        (&line["errorCode"], &line["additionalEventData"]["decision"]),
        (&json!("AccessDenied"), &json!("denied"))
    );
    assert_eq!(line["resources"][0]["ARN"], "arn:aws:s3:::papers/a.txt", "{line:#?}");
}

#[tokio::test]
async fn what_is_taken_away_at_one_server_is_gone_at_the_other() {
    let url = craton_store::testing::postgres_url();
    let first =
        TestServer::with(Scripted::saying("Hello."), |config| config.database_url = Some(url.clone())).await;
    // Servers of one database have one secrets key.
    let key = first.folder().join("data/secrets.key");
    let second = TestServer::with(Scripted::saying("Hello."), |config| {
        std::fs::create_dir_all(&config.data_dir).unwrap();
        std::fs::copy(key, config.data_dir.join("secrets.key")).unwrap();
        config.database_url = Some(url);
    })
    .await;
    let (root, other) = (first.client(), second.client());
    let ada = user(&root, "ada").await;
    let mut there = other;
    (there.access_key_id, there.secret) = (ada.access_key_id, ada.secret);
    let status = async |wanted: u16| {
        let began = std::time::Instant::now();
        let mut last = 0;
        while last != wanted && began.elapsed() < std::time::Duration::from_secs(5) {
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            last = there.post(CONVERSE, &hello()).await.status.as_u16();
        }
        last
    };
    assert_eq!(status(200).await, 200, "made at the first, known to the second");
    iam(&root, "DeleteUserPolicy", &[("UserName", "ada"), ("PolicyName", "p")]).await;
    assert_eq!(status(403).await, 403, "nothing is allowed any more");
}
