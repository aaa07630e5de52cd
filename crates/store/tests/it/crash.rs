//! Acknowledged writes survive a process that is killed without warning.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use craton_store::{NewRecord, Range, Scope, Store};
use serde_json::json;

const DIRECTORY: &str = "CRATON_STORE_CRASH_DIRECTORY";

fn scope() -> Scope {
    Scope::new("thing", "123456789012", "us-east-1")
}

/// Not a test of its own: what the killed process runs. It writes until it dies and says what was acknowledged.
#[tokio::test]
async fn writes_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = Store::open(Path::new(&directory)).await.unwrap();
    for n in 0.. {
        let id = format!("{n:08}");
        let record = NewRecord {
            id: id.clone(),
            name: Some(id.clone()),
            body: json!({ "n": n }),
            now_ms: n,
            idempotency: None,
            tags: None,
        };
        store.create(&scope(), record).await.unwrap();
        println!("\nacknowledged {id}");
    }
}

#[tokio::test]
async fn acknowledged_records_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let path = directory.path().join(round.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::writes_until_killed", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = |line: String| line.strip_prefix("acknowledged ").map(str::to_owned);
        let mut ids: Vec<String> =
            lines.by_ref().map_while(Result::ok).filter_map(acknowledged).take(20 * round).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        ids.extend(lines.map_while(Result::ok).filter_map(acknowledged));
        assert!(ids.len() >= 20 * round);

        let store = Store::open(&path).await.unwrap();
        let found = store.list(&scope(), &Range::default()).await.unwrap();
        let found: Vec<String> = found.into_iter().map(|record| record.id).collect();
        assert!(found.len() == ids.len() || found.len() == ids.len() + 1, "at most one unacknowledged");
        assert_eq!(found[..ids.len()], ids[..]);
        store.close().await;
    }
}
