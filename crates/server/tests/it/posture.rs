//! Who can reach the server, and what the audit log keeps of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use craton_server::{Server, ServerConfig, StartError};
use craton_testkit::{Scripted, TestServer};
use http::Method;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONVERSE: &str = "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse";
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn listening_to_others_without_tls_needs_a_word_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig {
        listen: "0.0.0.0:0".into(),
        data_dir: folder.path().join("data"),
        ..ServerConfig::default()
    };
    let surroundings = craton_server::Surroundings::real().unwrap();
    let Err(StartError::Config(error)) = Server::start(config, surroundings).await else {
        panic!("it listens");
    };
    assert!(error.to_string().contains("--insecure-listen"), "{error}");
    let open = TestServer::with(Scripted::saying("x"), |config| {
        config.listen = "0.0.0.0:0".into();
        config.insecure_listen = true;
    })
    .await;
    assert_eq!(open.client().get("/health").await.status, 200);
}

async fn plain(server: &TestServer) -> String {
    let mut stream = TcpStream::connect(server.server.address()).await.unwrap();
    let mut seen = Vec::new();
    let _ = stream.write_all(HEALTH).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut seen)).await;
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn only_the_networks_allowed_get_an_answer() {
    for (networks, answered) in
        [("10.0.0.0/8, 2001:db8::/32", false), ("10.0.0.0/8, 127.0.0.0/8", true), ("", true)]
    {
        let server =
            TestServer::with(Scripted::saying("x"), |config| config.allow_networks = networks.into()).await;
        assert_eq!(plain(&server).await.starts_with("HTTP/1.1 200"), answered, "{networks}");
    }
}

/// An authority, with the file of its certificate.
fn authority(folder: &Path, name: &str) -> (Issuer<'static, KeyPair>, std::path::PathBuf) {
    let mut wanted = CertificateParams::new(Vec::new()).unwrap();
    wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let path = folder.join(format!("{name}.pem"));
    std::fs::write(&path, wanted.self_signed(&key).unwrap().pem()).unwrap();
    (Issuer::new(wanted, key), path)
}

/// What a client with a certificate of `issuer` gets to read.
async fn with_certificate(server: &TestServer, issuer: Option<&Issuer<'static, KeyPair>>) -> String {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.server.certificate().unwrap()).unwrap()).unwrap();
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    let config = match issuer {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let key = KeyPair::generate().unwrap();
            let wanted = CertificateParams::new(vec!["client".to_owned()]).unwrap();
            let certificate = wanted.signed_by(&key, issuer).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        }
    };
    let stream = TcpStream::connect(server.server.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let mut seen = Vec::new();
    if let Ok(mut stream) = connector.connect(name, stream).await {
        let _ = stream.write_all(HEALTH).await;
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut seen)).await;
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn mutual_tls_admits_only_certificates_of_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, path) = authority(folder.path(), "ours");
    let (theirs, _) = authority(folder.path(), "theirs");
    let server = TestServer::with(Scripted::saying("x"), |config| {
        config.tls = true;
        config.tls_client_ca = Some(path);
    })
    .await;
    assert!(with_certificate(&server, Some(&ours)).await.starts_with("HTTP/1.1 200"));
    assert_eq!(with_certificate(&server, Some(&theirs)).await, "");
    assert_eq!(with_certificate(&server, None).await, "");
}

#[tokio::test]
async fn the_audit_log_tells_who_did_what_and_nothing_of_what_they_said() {
    let server = TestServer::start().await;
    let client = server.client();
    let hello = json!({"messages": [{"role": "user", "content": [{"text": "the codeword is xyzzy"}]}]});
    assert_eq!(client.post(CONVERSE, &hello).await.status, 200);
    let wrong = json!({"messages": [{"role": "xyzzy", "content": []}]});
    assert_eq!(client.post(CONVERSE, &wrong).await.status, 400);
    let mut stranger = server.client();
    stranger.secret = "some-other-secret".into();
    assert_eq!(stranger.get("/guardrails").await.status, 403);
    let chat = json!({"model": "anthropic.claude-3-haiku-20240307-v1:0", "max_tokens": 5,
                      "messages": [{"role": "user", "content": "xyzzy"}]});
    assert_eq!(client.json(Method::POST, "/v1/chat/completions", &chat).await.status, 200);
    let path = server.folder().join("data/audit.jsonl");
    let events = written(&path, 4).await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("xyzzy") && !text.contains("secret"), "{text}");
    let named: Vec<&str> = events.iter().map(|event| event["eventName"].as_str().unwrap()).collect();
    assert_eq!(named, ["Converse", "Converse", "ListGuardrails", "CreateChatCompletion"]);
    let [converse, invalid, refused, door] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(converse["userIdentity"]["type"], "Root");
    assert_eq!(converse["userIdentity"]["arn"], "arn:aws:iam::123456789012:root");
    assert_eq!(converse["sourceIPAddress"], "127.0.0.1");
    assert_eq!(converse["errorCode"], Value::Null);
    assert_eq!(converse["additionalEventData"]["actions"][0], "bedrock:InvokeModel");
    let model = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0";
    assert_eq!(converse["resources"][0]["ARN"], model);
    assert_eq!(
        (&invalid["errorCode"], &invalid["errorMessage"]),
        (&"ValidationException".into(), &Value::Null)
    );
    assert_eq!(refused["errorCode"], "InvalidSignatureException");
    assert_eq!(refused["userIdentity"]["type"], "Unknown");
    assert_eq!(door["resources"][0]["ARN"], model);
}

/// The log's lines, once there are as many.
async fn written(path: &Path, count: usize) -> Vec<Value> {
    for _ in 0..100 {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count {
            return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the log has fewer than {count} lines");
}

#[tokio::test]
async fn the_audit_log_has_the_decision_on_every_role_that_is_asked_for() {
    let server = TestServer::start().await;
    let root = server.client();
    let iam = async |action: &str, parameters: &[(&str, &str)]| {
        let mut all = vec![("Action", action), ("Version", "2010-05-08")];
        all.extend_from_slice(parameters);
        let answer = root.for_service("iam").query(&all).await;
        assert_eq!(answer.status, 200, "{}", answer.snapshot());
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let allow =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}"#;
    let trust = |who: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole",
            "Principal":{{"AWS":"arn:aws:iam::123456789012:user/{who}"}}}}}}"#
        )
    };
    for name in ["ada", "bob"] {
        iam("CreateUser", &[("UserName", name)]).await;
        iam("CreateRole", &[("RoleName", name), ("AssumeRolePolicyDocument", &trust(name))]).await;
    }
    iam("PutUserPolicy", &[("UserName", "ada"), ("PolicyName", "p"), ("PolicyDocument", allow)]).await;
    let key = iam("CreateAccessKey", &[("UserName", "ada")]).await;
    let inside =
        |name: &str| key.split(&format!("<{name}>")).nth(1).unwrap().split("</").next().unwrap().to_owned();
    let mut ada = root.for_service("sts");
    (ada.access_key_id, ada.secret) = (inside("AccessKeyId"), inside("SecretAccessKey"));
    for role in ["ada", "bob", "nobody"] {
        let arn = format!("arn:aws:iam::123456789012:role/{role}");
        let asked = [
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", &arn),
            ("RoleSessionName", "s1"),
        ];
        assert_eq!(ada.query(&asked).await.status == 200, role == "ada");
    }
    let events = written(&server.folder().join("data/audit.jsonl"), 9).await;
    let events: Vec<_> = events.iter().filter(|event| event["eventName"] == "AssumeRole").collect();
    for (event, (role, decision)) in
        events.iter().zip([("ada", "allowed"), ("bob", "denied"), ("nobody", "denied")])
    {
        assert_eq!(event["additionalEventData"]["decision"], decision, "{event}");
        assert_eq!(event["additionalEventData"]["actions"][0], "sts:AssumeRole");
        assert_eq!(event["resources"][0]["ARN"], format!("arn:aws:iam::123456789012:role/{role}"));
    }
    assert_eq!(events.len(), 3);
}
