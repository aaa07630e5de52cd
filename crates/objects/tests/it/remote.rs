//! The driver of a real S3 against a server that somebody else wrote: moto's, which `make moto` installs.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use craton_core::SystemClock;
use craton_objects::types::bytes;
use craton_objects::*;
use craton_store::Store;
use craton_store::testing::repository;
use futures::StreamExt as _;

use crate::contract::{self, Lacks};

/// A running server; ends with the value.
struct Moto {
    child: Child,
    endpoint: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let here = repository("compat/.moto/bin/moto_server");
    let program = std::env::var_os("CRATON_MOTO").map_or(here, PathBuf::from);
    assert!(program.exists(), "this test needs moto: run `make moto`, or set CRATON_MOTO to its moto_server");
    program
}

fn start() -> Moto {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(program())
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // Read on, so that it never waits for us.
    std::thread::spawn(move || lines.map_while(std::result::Result::ok).for_each(drop));
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "moto did not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    Moto { child, endpoint: format!("http://127.0.0.1:{port}") }
}

/// Credentials come from the environment; `PATH` and `HOME` are always there, and moto takes any.
fn config(endpoint: &str, name: &str) -> RemoteConfig {
    RemoteConfig {
        name: name.into(),
        endpoint: endpoint.into(),
        region: "us-east-1".into(),
        remote_name: None,
        access_key_id_env: Some("CARGO_PKG_NAME".into()),
        secret_access_key_env: Some("CARGO_MANIFEST_DIR".into()),
        session_token_env: Some("CRATON_TESTS_SET_NO_SUCH_VARIABLE".into()),
        aws_profile: None,
        aws_credentials_file: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let moto = start();
    let remote = S3Objects::new(&config(&moto.endpoint, "*")).unwrap();
    contract::run(Arc::new(remote), "remote", Lacks { moto: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_unknown_length_are_sent_in_parts() {
    let moto = start();
    let remote = S3Objects::new(&config(&moto.endpoint, "*")).unwrap();
    remote.create_bucket("parts", "us-east-1").await.unwrap();
    let chunk = Bytes::from(vec![7_u8; 3 << 20]);
    let body = futures::stream::iter((0..9).map(move |_| Ok(chunk.clone()))).boxed();
    let meta = remote.put(Put::new("parts", "big"), body).await.unwrap();
    assert_eq!((meta.size, meta.parts), (27 << 20, Some(4)));
    let at = ObjectRef::new("parts", "big");
    let read = remote.get(&at, GetOptions::default()).await.unwrap().bytes(64 << 20).await.unwrap();
    assert!(read.len() == 27 << 20 && read.iter().all(|byte| *byte == 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_lives_where_the_configuration_says() {
    let moto = start();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let home =
        FileObjects::open(store.clone(), &directory.path().join("objects"), Arc::new(SystemClock)).unwrap();
    let there = S3Objects::new(&config(&moto.endpoint, "*")).unwrap();
    there.create_bucket("company-docs", "us-east-1").await.unwrap();
    let renamed = RemoteConfig { remote_name: Some("company-docs".into()), ..config(&moto.endpoint, "docs") };
    let away: std::collections::BTreeMap<String, Arc<dyn ObjectStore>> =
        [("docs".to_owned(), Arc::new(S3Objects::new(&renamed).unwrap()) as Arc<dyn ObjectStore>)].into();
    let objects = Objects::new(store, home).with_away(away);
    objects.create_bucket("local", "us-east-1").await.unwrap();
    let content = vec![3_u8; 300_000];
    objects.put(Put::new("docs", "a/b"), bytes(content.clone())).await.unwrap();
    let read = there.get(&ObjectRef::new("company-docs", "a/b"), GetOptions::default()).await.unwrap();
    assert_eq!(read.bytes(1 << 20).await.unwrap(), content);
    let copy = Copy {
        from: ObjectRef::new("docs", "a/b"),
        bucket: "local".into(),
        key: "c".into(),
        attributes: None,
        tags: None,
        conditions: ReadConditions::default(),
        condition: WriteCondition::default(),
        algorithm: None,
    };
    objects.copy(copy).await.unwrap();
    let read = objects.get(&ObjectRef::new("local", "c"), GetOptions::default()).await.unwrap();
    assert_eq!(read.bytes(1 << 20).await.unwrap(), content);
    let names: Vec<String> = objects.buckets().await.unwrap().into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, ["docs", "local"]);
}

#[tokio::test]
async fn a_store_that_is_gone_is_said_to_be() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let remote = S3Objects::new(&config(&format!("http://127.0.0.1:{port}"), "*")).unwrap();
    let gone = remote.list("bucket", ListQuery { limit: 1, ..ListQuery::default() }).await;
    assert!(matches!(gone, Err(ObjectError::Unreachable(_))), "{gone:?}");
    for endpoint in ["ftp://x", "http://", "http://host/path", "host"] {
        assert!(S3Objects::new(&config(endpoint, "*")).is_err(), "{endpoint}");
    }
}
