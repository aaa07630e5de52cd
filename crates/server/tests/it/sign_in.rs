//! Failed sign-ins and ended sessions: who is held up, and who is not.

use craton_core::Clock as _;
use craton_testkit::TestServer;
use http::{HeaderValue, Method};
use serde_json::json;

use super::identity::{
    ACCOUNT, CONVERSE, allow, api_key_of, call, element, hello, iam, put_policy, role, user, with_keys,
};

#[tokio::test]
async fn strangers_do_not_lock_good_api_keys_out() {
    let server = TestServer::start().await;
    let root = server.client();
    user(&root, "ada").await;
    put_policy(&root, "ada", json!({"Effect": "Allow", "Action": "bedrock:*", "Resource": "*"})).await;
    let good = element(&api_key_of(&root, "ada").await, "ServiceCredentialSecret");
    let bearer = async |key: &str| {
        let (mut parts, body) = root.unsigned(Method::POST, CONVERSE, hello().to_string().into());
        parts.headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {key}")).unwrap());
        root.send(parts, body).await.answer().await
    };
    let mut last = String::new();
    for guess in 0..105 {
        last = bearer(&format!("ABSKguess{guess}")).await.error().1.to_owned();
    }
    assert_eq!(last, "ThrottlingException");
    assert_eq!(bearer(&good).await.status, 200);
}

/// S3's signatures are checked by the machine's clock.
fn set_to_real_time(server: &TestServer, behind_ms: i64) {
    server.clock.advance_ms(craton_core::SystemClock.now_ms() - behind_ms - server.clock.now_ms());
}

#[tokio::test]
async fn a_session_at_s3_ends_when_it_says() {
    let server = TestServer::start().await;
    let root = server.client();
    set_to_real_time(&server, 800_000);
    let ada = user(&root, "ada").await;
    put_policy(&root, "ada", json!({"Effect": "Allow", "Action": "sts:*", "Resource": "*"})).await;
    let trust = json!({"Effect": "Allow", "Action": "sts:AssumeRole",
                       "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ada")}});
    let arn = role(&root, "Reader", trust, &allow(&["s3:*"], "*")).await;
    let asked = [("RoleArn", arn.as_str()), ("RoleSessionName", "s1"), ("DurationSeconds", "900")];
    let session = with_keys(&root, &call(&ada, "sts", "AssumeRole", &asked).await).for_service("s3");
    let answer = session.get("/").await;
    assert_eq!(answer.status, 200, "{}", answer.snapshot());
    server.clock.advance_ms(900_000);
    let answer = session.get("/").await;
    let code = element(&answer, "Code");
    assert_eq!((answer.status.as_u16(), code.as_str()), (400, "ExpiredToken"), "{}", answer.snapshot());
}

#[tokio::test]
async fn sign_ins_at_s3_are_counted_and_noted_like_all_others() {
    let server = TestServer::start().await;
    let root = server.client();
    let ada = user(&root, "ada").await;
    put_policy(&root, "ada", json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})).await;
    set_to_real_time(&server, 0);
    let at_s3 = ada.for_service("s3");
    let answer = at_s3.get("/").await;
    assert_eq!(answer.status, 200, "{}", answer.snapshot());
    let mut used = String::new();
    for _ in 0..100 {
        used = element(
            &iam(&root, "GetAccessKeyLastUsed", &[("AccessKeyId", &ada.access_key_id)]).await,
            "ServiceName",
        );
        if used == "s3" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(used, "s3");
    let mut guessing = at_s3.clone();
    let mut codes = Vec::new();
    for guess in 0..25 {
        guessing.secret = format!("guess-{guess}");
        codes.push(element(&guessing.get("/").await, "Code"));
    }
    assert_eq!((codes[0].as_str(), codes[24].as_str()), ("SignatureDoesNotMatch", "SlowDown"), "{codes:?}");
    assert_eq!(
        ada.post(CONVERSE, &hello()).await.error().1,
        "ThrottlingException",
        "one count for all services"
    );
    let mut stranger = root.for_service("s3");
    for guess in 0..105 {
        stranger.access_key_id = format!("AKIANOBODY{guess:010}");
        codes.push(element(&stranger.get("/").await, "Code"));
    }
    assert_eq!((codes[25].as_str(), codes[129].as_str()), ("InvalidAccessKeyId", "SlowDown"));
    assert_eq!(root.for_service("s3").get("/").await.status, 200, "the root gets in");
}
