//! Users, roles and temporary credentials through the front door: who gets in, who doesn't, and with which words.

use craton_testkit::{Answer, Client, TestServer};
use http::{HeaderValue, Method};
use serde_json::json;

const MODEL: &str = "anthropic.claude-3-5-sonnet-20241022-v2:0";
pub(super) const CONVERSE: &str = "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse";
pub(super) const ACCOUNT: &str = "123456789012";

pub(super) fn hello() -> serde_json::Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]})
}

/// What stands in the first element of this name.
pub(super) fn element(answer: &Answer, name: &str) -> String {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let start =
        text.find(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {text}")) + name.len() + 2;
    text[start..].split("</").next().unwrap().replace("&quot;", "\"")
}

pub(super) async fn call(
    client: &Client,
    service: &str,
    action: &str,
    parameters: &[(&str, &str)],
) -> Answer {
    let version = if service == "iam" { "2010-05-08" } else { "2011-06-15" };
    let mut all = vec![("Action", action), ("Version", version)];
    all.extend_from_slice(parameters);
    client.for_service(service).query(&all).await
}

pub(super) async fn iam(client: &Client, action: &str, parameters: &[(&str, &str)]) -> Answer {
    let answer = call(client, "iam", action, parameters).await;
    assert_eq!(answer.status, 200, "{action}: {}", answer.snapshot());
    answer
}

/// The client with the keys in an answer.
pub(super) fn with_keys(client: &Client, answer: &Answer) -> Client {
    let mut client = client.clone();
    client.access_key_id = element(answer, "AccessKeyId");
    client.secret = element(answer, "SecretAccessKey");
    let temporary = String::from_utf8_lossy(&answer.body).contains("<SessionToken>");
    client.session_token = temporary.then(|| element(answer, "SessionToken"));
    client
}

pub(super) fn allow(actions: &[&str], resource: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resource}]})
        .to_string()
}

/// A user that may invoke one model, as the root made it.
pub(super) async fn user(root: &Client, name: &str) -> Client {
    iam(root, "CreateUser", &[("UserName", name)]).await;
    let resource = format!("arn:aws:bedrock:us-east-1::foundation-model/{MODEL}");
    let policy = allow(&["bedrock:InvokeModel"], &resource);
    iam(root, "PutUserPolicy", &[("UserName", name), ("PolicyName", "p"), ("PolicyDocument", &policy)]).await;
    with_keys(root, &iam(root, "CreateAccessKey", &[("UserName", name)]).await)
}

pub(super) async fn role(root: &Client, name: &str, trust: serde_json::Value, policy: &str) -> String {
    let trust = json!({"Version": "2012-10-17", "Statement": [trust]}).to_string();
    let made = iam(root, "CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", &trust)]).await;
    iam(root, "PutRolePolicy", &[("RoleName", name), ("PolicyName", "p"), ("PolicyDocument", policy)]).await;
    element(&made, "Arn")
}

#[tokio::test]
async fn a_users_key_does_what_its_policy_says() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    assert_eq!(ada.post(CONVERSE, &hello()).await.status, 200);
    let refused = ada.post("/model/amazon.titan-text-express-v1/converse", &hello()).await;
    assert_eq!(refused.error(), (403, "AccessDeniedException"), "{}", refused.snapshot());
    assert_eq!(ada.get("/guardrails").await.error(), (403, "AccessDeniedException"));
    let refused = call(&ada, "iam", "ListUsers", &[]).await;
    assert_eq!((refused.status.as_u16(), element(&refused, "Code").as_str()), (403, "AccessDenied"));
    let who = call(&ada, "sts", "GetCallerIdentity", &[]).await;
    assert_eq!(element(&who, "Arn"), format!("arn:aws:iam::{ACCOUNT}:user/ada"));
    assert!(element(&who, "UserId").starts_with("AIDA"));
    // Inactive is inactive at once.
    let key = ada.access_key_id.clone();
    let status = [("UserName", "ada"), ("AccessKeyId", key.as_str()), ("Status", "Inactive")];
    iam(&root, "UpdateAccessKey", &status).await;
    assert_eq!(ada.post(CONVERSE, &hello()).await.error(), (403, "UnrecognizedClientException"));
    let refused = call(&ada, "sts", "GetCallerIdentity", &[]).await;
    assert_eq!(element(&refused, "Code"), "InvalidClientTokenId");
}

#[tokio::test]
async fn a_role_is_assumed_by_whom_it_trusts_and_lasts_as_long_as_it_says() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    let trust = json!({
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ada")},
        "Condition": {"StringEquals": {"sts:ExternalId": "sesame"}},
    });
    let arn = role(&root, "Reader", trust, &allow(&["bedrock:*"], "*")).await;
    let ask = |extra: Vec<(&'static str, String)>| {
        let (ada, arn) = (ada.clone(), arn.clone());
        async move {
            let mut parameters = vec![("RoleArn", arn), ("RoleSessionName", "s1".to_owned())];
            parameters.extend(extra);
            let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
            call(&ada, "sts", "AssumeRole", &parameters).await
        }
    };
    let refused = ask(vec![]).await;
    assert_eq!((refused.status.as_u16(), element(&refused, "Code").as_str()), (403, "AccessDenied"));
    assert!(
        element(&refused, "Message").contains("is not authorized to perform: sts:AssumeRole on resource: ")
    );
    let too_long = ask(vec![("ExternalId", "sesame".into()), ("DurationSeconds", "7200".into())]).await;
    assert_eq!(element(&too_long, "Code"), "ValidationError");
    let granted = ask(vec![("ExternalId", "sesame".into()), ("DurationSeconds", "900".into())]).await;
    assert_eq!(granted.status, 200, "{}", granted.snapshot());
    let session = with_keys(&root, &granted);
    assert!(session.access_key_id.starts_with("ASIA"));
    assert_eq!(session.post(CONVERSE, &hello()).await.status, 200);
    assert_eq!(call(&session, "iam", "ListUsers", &[]).await.status, 403);
    let who = call(&session, "sts", "GetCallerIdentity", &[]).await;
    assert_eq!(element(&who, "Arn"), format!("arn:aws:sts::{ACCOUNT}:assumed-role/Reader/s1"));
    // A session policy takes away.
    let policy = allow(&["bedrock:ListGuardrails"], "*");
    let narrow = with_keys(&root, &ask(vec![("ExternalId", "sesame".into()), ("Policy", policy)]).await);
    assert_eq!(narrow.post(CONVERSE, &hello()).await.error(), (403, "AccessDeniedException"));
    // The root assumes no roles.
    let by_root = call(&root, "sts", "AssumeRole", &[("RoleArn", &arn), ("RoleSessionName", "s1")]).await;
    assert_eq!(element(&by_root, "Message"), "Roles may not be assumed by root accounts.");
    server.clock.advance_ms(901 * 1000);
    assert_eq!(session.post(CONVERSE, &hello()).await.error(), (403, "ExpiredTokenException"));
    let expired = call(&session, "sts", "GetCallerIdentity", &[]).await;
    assert_eq!(element(&expired, "Code"), "ExpiredToken");
    assert_eq!(narrow.get("/guardrails").await.status, 200, "an hour is not over");
}

#[tokio::test]
async fn policies_speak_of_the_arn_with_its_path_whatever_the_request_says() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "bedrock.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    for (name, path) in [("Boss", "/admin/"), ("Helper", "/")] {
        let made = [("RoleName", name), ("Path", path), ("AssumeRolePolicyDocument", &trust.to_string())];
        iam(&root, "CreateRole", &made).await;
    }
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "iam:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:*", "Resource": format!("arn:aws:iam::{ACCOUNT}:role/admin/*")}]});
    let policy = [("UserName", "ada"), ("PolicyName", "i"), ("PolicyDocument", &policy.to_string())];
    iam(&root, "PutUserPolicy", &policy).await;
    assert_eq!(call(&ada, "iam", "GetRole", &[("RoleName", "Helper")]).await.status, 200);
    for name in ["Boss", "boss"] {
        let refused = call(&ada, "iam", "DeleteRole", &[("RoleName", name)]).await;
        assert_eq!(element(&refused, "Code"), "AccessDenied", "{name}");
    }
}

#[tokio::test]
async fn forged_borrowed_and_damaged_tokens_open_nothing() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    let eve = user(&root, "eve").await;
    let begin = |client: Client| async move { call(&client, "sts", "GetSessionToken", &[]).await };
    let (adas, eves) = (with_keys(&root, &begin(ada.clone()).await), with_keys(&root, &begin(eve).await));
    assert_eq!(adas.post(CONVERSE, &hello()).await.status, 200);
    let invalid = (403, "UnrecognizedClientException");
    let mut borrowed = adas.clone();
    borrowed.session_token = eves.session_token.clone();
    assert_eq!(borrowed.post(CONVERSE, &hello()).await.error(), invalid, "another key's token");
    let mut without = adas.clone();
    without.session_token = None;
    assert_eq!(without.post(CONVERSE, &hello()).await.error(), invalid, "no token");
    let mut long_term = ada.clone();
    long_term.session_token = adas.session_token.clone();
    assert_eq!(long_term.post(CONVERSE, &hello()).await.error(), invalid, "a token with a long-term key");
    let token = adas.session_token.clone().unwrap();
    for place in [0, 1, token.len() / 2, token.len() - 2] {
        let mut damaged = adas.clone();
        let other = if token.as_bytes()[place] == b'A' { "B" } else { "A" };
        let mut text = token.clone();
        text.replace_range(place..=place, other);
        damaged.session_token = Some(text);
        assert_eq!(damaged.post(CONVERSE, &hello()).await.error(), invalid, "byte {place}");
    }
    for made_up in ["", "x", &"A".repeat(300), &"A".repeat(30_000)] {
        let mut forged = adas.clone();
        forged.session_token = Some(made_up.to_owned());
        assert_eq!(forged.post(CONVERSE, &hello()).await.status, 403, "{} bytes", made_up.len());
    }
    let mut wrong_secret = adas.clone();
    wrong_secret.secret = ada.secret.clone();
    assert_eq!(wrong_secret.post(CONVERSE, &hello()).await.error(), (403, "InvalidSignatureException"));
    // IAM is closed to such sessions, and no session begins another of its kind.
    let refused = call(&adas, "iam", "ListUsers", &[]).await;
    assert_eq!(element(&refused, "Code"), "InvalidClientTokenId");
    assert_eq!(element(&begin(adas.clone()).await, "Code"), "AccessDenied");
    // With its user a session ends.
    let key = ada.access_key_id.as_str();
    iam(&root, "DeleteAccessKey", &[("UserName", "ada"), ("AccessKeyId", key)]).await;
    iam(&root, "DeleteUserPolicy", &[("UserName", "ada"), ("PolicyName", "p")]).await;
    iam(&root, "DeleteUser", &[("UserName", "ada")]).await;
    assert_eq!(adas.post(CONVERSE, &hello()).await.error(), invalid);
}

#[tokio::test]
async fn api_keys_act_as_their_principal() {
    let server = TestServer::start().await;
    let root = server.client();
    user(&root, "ada").await;
    let made = [("UserName", "ada"), ("ServiceName", "bedrock.amazonaws.com"), ("CredentialAgeDays", "1")];
    let made = iam(&root, "CreateServiceSpecificCredential", &made).await;
    let key = element(&made, "ServiceCredentialSecret");
    assert!(key.starts_with("ABSK"), "{key}");
    let bearer = |key: String, path: &'static str| {
        let (mut parts, body) = root.unsigned(Method::POST, path, hello().to_string().into());
        parts.headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {key}")).unwrap());
        let root = root.clone();
        async move { root.send(parts, body).await.answer().await }
    };
    let refused = bearer(key.clone(), CONVERSE).await;
    assert_eq!(refused.error(), (403, "AccessDeniedException"), "without bedrock:CallWithBearerToken");
    let policy = allow(&["bedrock:CallWithBearerToken"], "*");
    let put = [("UserName", "ada"), ("PolicyName", "b"), ("PolicyDocument", policy.as_str())];
    iam(&root, "PutUserPolicy", &put).await;
    assert_eq!(bearer(key.clone(), CONVERSE).await.status, 200);
    let elsewhere = bearer(key.clone(), "/model/amazon.titan-text-express-v1/converse").await;
    assert_eq!(elsewhere.error(), (403, "AccessDeniedException"));
    let mut forged = key.clone();
    forged.replace_range(key.len() - 12..key.len() - 8, "AAAA");
    assert_eq!(bearer(forged, CONVERSE).await.error(), (403, "AccessDeniedException"));
    server.clock.advance_ms(86_400_000);
    assert_eq!(bearer(key, CONVERSE).await.json()["message"], "Bearer Token has expired");
}

#[tokio::test]
async fn too_many_failures_are_not_looked_at_and_the_root_gets_in_all_the_same() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    let mut guessing = ada.clone();
    let mut last = String::new();
    for guess in 0..25 {
        guessing.secret = format!("guess-{guess}");
        last = guessing.post(CONVERSE, &hello()).await.error().1.to_owned();
    }
    assert_eq!(last, "ThrottlingException");
    let mut wrong_root = root.clone();
    for guess in 0..25 {
        wrong_root.secret = format!("guess-{guess}");
        assert_eq!(wrong_root.post(CONVERSE, &hello()).await.error().1, "InvalidSignatureException");
    }
    assert_eq!(root.post(CONVERSE, &hello()).await.status, 200);
}

#[tokio::test]
async fn iam_answers_in_its_own_words() {
    let server = TestServer::start().await;
    let root = server.client();
    let errors = [
        call(&root, "iam", "GetUser", &[("UserName", "nobody")]).await,
        call(&root, "iam", "CreateRole", &[("RoleName", "r"), ("AssumeRolePolicyDocument", "{}")]).await,
        call(
            &root,
            "iam",
            "AttachRolePolicy",
            &[("RoleName", "r"), ("PolicyArn", "arn:aws:iam::aws:policy/No")],
        )
        .await,
        call(&root, "iam", "CreateUser", &[("UserName", "a b")]).await,
        call(&root, "iam", "NoSuchAction", &[]).await,
        call(&root, "iam", "CreateInstanceProfile", &[]).await,
        call(&root, "sts", "GetAccessKeyInfo", &[("AccessKeyId", "AKIAIOSFODNN7EXAMPLE")]).await,
    ];
    let mut text = errors.map(|answer| answer.snapshot()).join("\n----\n");
    for (start, end) in [("<RequestId>", "</RequestId>"), ("x-amzn-requestid: ", "\n")] {
        let mut from = 0;
        while let Some(at) = text[from..].find(start).map(|at| from + at + start.len()) {
            let length = text[at..].find(end).unwrap();
            text.replace_range(at..at + length, "[id]");
            from = at;
        }
    }
    insta::assert_snapshot!(text);
}

pub(super) async fn put_policy(root: &Client, user: &str, statements: serde_json::Value) {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    iam(root, "PutUserPolicy", &[("UserName", user), ("PolicyName", "own"), ("PolicyDocument", &text)]).await;
}

pub(super) async fn api_key_of(root: &Client, user: &str) -> Answer {
    let asked = [("UserName", user), ("ServiceName", "bedrock.amazonaws.com")];
    iam(root, "CreateServiceSpecificCredential", &asked).await
}

#[tokio::test]
async fn nobody_reaches_anothers_api_key_by_leaving_the_name_out() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    user(&root, "bob").await;
    let own = format!("arn:aws:iam::{ACCOUNT}:user/${{aws:username}}");
    let statement = json!({"Effect": "Allow", "Action": "iam:*ServiceSpecificCredential*", "Resource": own});
    put_policy(&root, "ada", statement).await;
    let bobs = element(&api_key_of(&root, "bob").await, "ServiceSpecificCredentialId");
    let adas = element(&api_key_of(&root, "ada").await, "ServiceSpecificCredentialId");
    for (action, more) in [
        ("ResetServiceSpecificCredential", None),
        ("UpdateServiceSpecificCredential", Some(("Status", "Inactive"))),
        ("DeleteServiceSpecificCredential", None),
    ] {
        let mut asked = vec![("ServiceSpecificCredentialId", bobs.as_str())];
        asked.extend(more);
        let refused = call(&ada, "iam", action, &asked).await;
        assert_eq!(element(&refused, "Code"), "NoSuchEntity", "{action}: {}", refused.snapshot());
        asked[0].1 = &adas;
        assert_eq!(call(&ada, "iam", action, &asked).await.status, 200, "{action} of her own");
    }
    assert_eq!(call(&ada, "iam", "ListServiceSpecificCredentials", &[]).await.status, 200);
    for name in [None, Some(("UserName", "ada"))] {
        let mut asked = vec![("AllUsers", "true")];
        asked.extend(name);
        let refused = call(&ada, "iam", "ListServiceSpecificCredentials", &asked).await;
        assert_eq!(element(&refused, "Code"), "AccessDenied", "{}", refused.snapshot());
    }
    // The root needs no name.
    iam(&root, "DeleteServiceSpecificCredential", &[("ServiceSpecificCredentialId", &bobs)]).await;
}

#[tokio::test]
async fn a_move_needs_permission_for_where_it_leads() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    iam(&root, "CreateGroup", &[("GroupName", "crew")]).await;
    let admins = [format!("arn:aws:iam::{ACCOUNT}:user/admins/*"), format!("arn:aws:iam::{ACCOUNT}:*/boss")];
    let statements = json!([{"Effect": "Allow", "Action": "iam:Update*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:*", "Resource": admins}]);
    put_policy(&root, "ada", statements).await;
    for (action, asked) in [
        ("UpdateUser", [("UserName", "ada"), ("NewPath", "/admins/")]),
        ("UpdateUser", [("UserName", "ada"), ("NewUserName", "boss")]),
        ("UpdateGroup", [("GroupName", "crew"), ("NewGroupName", "boss")]),
    ] {
        let refused = call(&ada, "iam", action, &asked).await;
        assert_eq!(element(&refused, "Code"), "AccessDenied", "{asked:?}: {}", refused.snapshot());
    }
    let moved = call(&ada, "iam", "UpdateUser", &[("UserName", "ada"), ("NewPath", "/clerks/")]).await;
    assert_eq!(moved.status, 200, "{}", moved.snapshot());
}

#[tokio::test]
async fn tags_of_users_roles_and_policies_decide_too() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    user(&root, "bob").await;
    let trust = json!({"Effect": "Allow", "Principal": {"Service": "bedrock.amazonaws.com"}, "Action": "sts:AssumeRole"});
    role(&root, "Plain", trust.clone(), &allow(&["bedrock:*"], "*")).await;
    role(&root, "Guarded", trust, &allow(&["bedrock:*"], "*")).await;
    let mark = ("Tags.member.1.Key", "protected");
    iam(&root, "TagRole", &[("RoleName", "Guarded"), mark, ("Tags.member.1.Value", "true")]).await;
    iam(&root, "TagUser", &[("UserName", "bob"), mark, ("Tags.member.1.Value", "true")]).await;
    let when = json!({"StringEquals": {"aws:ResourceTag/protected": "true"}});
    let statements = json!([{"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:*", "Resource": "*", "Condition": when}]);
    put_policy(&root, "ada", statements).await;
    let refused = call(&ada, "iam", "DeleteUser", &[("UserName", "bob")]).await;
    assert_eq!(element(&refused, "Code"), "AccessDenied", "{}", refused.snapshot());
    for (name, refused) in [("Guarded", true), ("Plain", false)] {
        let agent =
            json!({"agentName": "a", "agentResourceRoleArn": format!("arn:aws:iam::{ACCOUNT}:role/{name}")});
        let answer = ada.json(Method::PUT, "/agents/", &agent).await;
        let text = answer.snapshot();
        assert_eq!(text.contains("not authorized to perform: iam:PassRole"), refused, "{name}: {text}");
    }
}

#[tokio::test]
async fn assuming_a_role_is_asked_with_the_same_keys_as_everything_else() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    let trusting = |condition: serde_json::Value| {
        json!({"Effect": "Allow", "Action": "sts:AssumeRole",
               "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")}, "Condition": condition})
    };
    for (name, condition, assumed) in [
        ("Open", json!({}), true),
        ("Plaintext", json!({"Bool": {"aws:SecureTransport": "false"}}), true),
        ("Secure", json!({"Bool": {"aws:SecureTransport": "true"}}), false),
        ("Near", json!({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}), true),
        ("Far", json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), false),
        // No service is calling on anybody's behalf, so there is no account it would be calling for.
        ("Deputy", json!({"StringEquals": {"aws:SourceAccount": ACCOUNT}}), false),
        ("DeputyFor", json!({"ArnLike": {"aws:SourceArn": "arn:aws:bedrock:*:*:agent/*"}}), false),
        ("Named", json!({"StringEquals": {"sts:RoleSessionName": "s1"}}), true),
        ("OtherName", json!({"StringEquals": {"sts:RoleSessionName": "s2"}}), false),
        ("Browser", json!({"StringLike": {"aws:UserAgent": "Mozilla/*"}}), false),
    ] {
        let arn = role(&root, name, trusting(condition), &allow(&["bedrock:*"], "*")).await;
        put_policy(&root, "ada", json!({"Effect": "Allow", "Action": "sts:*", "Resource": "*"})).await;
        let asked = [("RoleArn", arn.as_str()), ("RoleSessionName", "s1")];
        let answer = call(&ada, "sts", "AssumeRole", &asked).await;
        assert_eq!(answer.status == 200, assumed, "{name}: {}", answer.snapshot());
        // The usual guard against connections in the clear holds here too.
        put_policy(&root, "ada", json!([{"Effect": "Allow", "Action": "sts:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]))
        .await;
        assert_eq!(element(&call(&ada, "sts", "AssumeRole", &asked).await, "Code"), "AccessDenied", "{name}");
    }
}

#[tokio::test]
async fn tags_and_source_identities_need_permission_of_the_role_as_well() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    put_policy(&root, "ada", json!({"Effect": "Allow", "Action": "sts:*", "Resource": "*"})).await;
    let ada_arn = format!("arn:aws:iam::{ACCOUNT}:user/ada");
    let trusting = |actions: &[&str], condition: serde_json::Value| json!({"Effect": "Allow", "Action": actions, "Principal": {"AWS": ada_arn}, "Condition": condition});
    let plain = role(&root, "Plain", trusting(&["sts:AssumeRole"], json!({})), &allow(&["s3:*"], "*")).await;
    let when = json!({"StringEquals": {"aws:RequestTag/team": "blue", "sts:SourceIdentity": "ada"},
                      "ForAllValues:StringEquals": {"sts:TransitiveTagKeys": ["team"], "aws:TagKeys": ["team"]}});
    let all = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"];
    let tagged = role(&root, "Tagged", trusting(&all, when), &allow(&["s3:*"], "*")).await;
    let tag = |value| [("Tags.member.1.Key", "team"), ("Tags.member.1.Value", value)];
    let mut asked = vec![("RoleArn", plain.as_str()), ("RoleSessionName", "s1")];
    asked.extend(tag("blue"));
    let refused = call(&ada, "sts", "AssumeRole", &asked).await;
    assert!(element(&refused, "Message").contains("sts:TagSession"), "{}", refused.snapshot());
    let refused = [("RoleArn", plain.as_str()), ("RoleSessionName", "s1"), ("SourceIdentity", "ada")];
    let refused = call(&ada, "sts", "AssumeRole", &refused).await;
    assert!(element(&refused, "Message").contains("sts:SetSourceIdentity"), "{}", refused.snapshot());
    let transitive = ("TransitiveTagKeys.member.1", "team");
    for (team, source, assumed) in [("blue", "ada", true), ("red", "ada", false), ("blue", "eve", false)] {
        let mut asked =
            vec![("RoleArn", tagged.as_str()), ("RoleSessionName", "s1"), ("SourceIdentity", source)];
        asked.extend(tag(team));
        asked.push(transitive);
        let answer = call(&ada, "sts", "AssumeRole", &asked).await;
        assert_eq!(answer.status == 200, assumed, "{team} {source}: {}", answer.snapshot());
    }
}

#[tokio::test]
async fn what_is_not_weighed_is_not_passed_over() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    let policy = allow(&["s3:GetObject"], "*");
    let asked = [("ActionNames.member.1", "s3:GetObject"), ("PolicyInputList.member.1", policy.as_str())];
    assert_eq!(element(&iam(&root, "SimulateCustomPolicy", &asked).await, "EvalDecision"), "allowed");
    let bare = [("ActionNames.member.1", "GetObject"), asked[1]];
    let refused = call(&root, "iam", "SimulateCustomPolicy", &bare).await;
    assert_eq!(element(&refused, "Code"), "InvalidInput", "{}", refused.snapshot());
    let deny = policy.replace("Allow", "Deny");
    let organization =
        ("OrderedOrganizationPolicyInputList.member.1.ServiceControlPolicyInputList.member.1", deny.as_str());
    for more in [organization, ("ResourceHandlingOption", "EC2-VPC-InstanceStore")] {
        let asked = [asked[0], asked[1], more];
        let refused = call(&root, "iam", "SimulateCustomPolicy", &asked).await;
        assert_eq!(element(&refused, "Code"), "InvalidInput", "{more:?}: {}", refused.snapshot());
    }
    let trust = json!({"Effect": "Allow", "Action": "sts:*", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ada")}});
    let arn = role(&root, "Reader", trust, &policy).await;
    let asked = [
        ("RoleArn", arn.as_str()),
        ("RoleSessionName", "s1"),
        ("ProvidedContexts.member.1.ProviderArn", "arn:aws:iam::aws:contextProvider/IdentityCenter"),
        ("ProvidedContexts.member.1.ContextAssertion", "eyJhbGciOi"),
    ];
    let refused = call(&ada, "sts", "AssumeRole", &asked).await;
    assert_eq!(element(&refused, "Code"), "ValidationError", "{}", refused.snapshot());
}

#[tokio::test]
async fn a_resources_own_policy_is_weighed_with_everybody_elses() {
    let server = TestServer::start().await;
    let root = server.client();
    let (ada, bob) = (user(&root, "ada").await, user(&root, "bob").await);
    put_policy(&root, "ada", json!({"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"})).await;
    let guardrail = json!({"name": "g", "blockedInputMessaging": "no", "blockedOutputsMessaging": "no",
        "wordPolicyConfig": {"wordsConfig": [{"text": "abracadabra"}]}, "tags": [{"key": "team", "value": "blue"}]});
    let arn = root.post("/guardrails", &guardrail).await.json()["guardrailArn"].as_str().unwrap().to_owned();
    let path = arn.replace(':', "%3A").replace('/', "%2F");
    let (resource, read) = (format!("/resource-policy/{path}"), format!("/guardrails/{path}"));
    assert_eq!(root.get(&resource).await.error(), (404, "ResourceNotFoundException"));
    assert_eq!((ada.get(&read).await.status.as_u16(), bob.get(&read).await.status.as_u16()), (200, 403));
    let user_arn = |name: &str| json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:user/{name}")});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": user_arn("ada"), "Action": "bedrock:GetGuardrail", "Resource": "*"},
        {"Effect": "Allow", "Principal": user_arn("bob"), "Action": "bedrock:GetGuardrail", "Resource": arn,
         "Condition": {"StringEquals": {"aws:ResourceTag/team": "blue"}}}]})
    .to_string();
    let put = root.post("/resource-policy", &json!({"resourceArn": arn, "resourcePolicy": policy})).await;
    assert_eq!((put.status.as_u16(), put.json()["resourceArn"].as_str()), (201, Some(arn.as_str())));
    assert_eq!(root.get(&resource).await.json()["resourcePolicy"], policy);
    assert_eq!((ada.get(&read).await.status.as_u16(), bob.get(&read).await.status.as_u16()), (403, 200));
    assert!(ada.get(&read).await.snapshot().contains("with an explicit deny in a resource-based policy"));
    assert_eq!(bob.json(Method::DELETE, &read, &json!({})).await.status, 403);
    // By its id it is the same guardrail.
    let id = arn.rsplit('/').next().unwrap();
    assert_eq!(ada.get(&format!("/guardrails/{id}")).await.status, 403);
    for (body, status) in [
        (json!({"resourceArn": arn, "resourcePolicy": "{}"}), 400),
        (json!({"resourceArn": format!("{arn}x"), "resourcePolicy": policy}), 404),
    ] {
        let answer = root.post("/resource-policy", &body).await;
        assert_eq!(answer.status, status, "{}", answer.snapshot());
    }
    assert_eq!(bob.json(Method::DELETE, &resource, &json!({})).await.status, 403);
    assert_eq!(root.json(Method::DELETE, &resource, &json!({})).await.status, 200);
    assert_eq!((ada.get(&read).await.status.as_u16(), bob.get(&read).await.status.as_u16()), (200, 403));
}
