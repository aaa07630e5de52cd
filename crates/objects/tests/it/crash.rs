//! Acknowledged objects survive a process that is killed without warning, whole.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use craton_objects::types::bytes;
use craton_objects::*;

const DIRECTORY: &str = "CRATON_OBJECTS_CRASH_DIRECTORY";

/// What is put under a key the nth time; sizes on both sides of what goes into the records.
fn content(n: usize) -> Vec<u8> {
    let length = [50, 9_000, 700_000][n % 3] + n;
    vec![u8::try_from(n % 251).unwrap_or_default(); length]
}

/// Not a test of its own: what the killed process runs. It overwrites a few keys until it dies, from two tasks, and
/// says what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn overwrites_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let objects = crate::files::open(Path::new(&directory), INLINE_BYTES).await;
    let _ = objects.create_bucket("crash", "us-east-1").await;
    let tasks = (0..2).map(|task| {
        let objects = objects.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let key = format!("{task}-{}", n % 4);
                let meta = objects.put(Put::new("crash", &key), bytes(content(n))).await.unwrap();
                println!("\nacknowledged {key} {n} {}", meta.etag);
            }
        })
    });
    futures::future::join_all(tasks).await;
}

#[tokio::test]
async fn acknowledged_objects_survive_kill_9() {
    for round in 1..=3 {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::overwrites_until_killed", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let read = |line: String| {
            let mut words = line.strip_prefix("acknowledged ")?.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?.parse::<usize>().ok()?, words.next()?))
        };
        let mut seen: Vec<_> =
            lines.by_ref().map_while(Result::ok).filter_map(read).take(25 * round).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        seen.extend(lines.map_while(Result::ok).filter_map(read));
        assert!(seen.len() >= 25 * round);
        let newest: BTreeMap<String, (usize, String)> =
            seen.into_iter().map(|(key, n, etag)| (key, (n, etag))).collect();

        let objects = crate::files::open(directory.path(), INLINE_BYTES).await;
        objects.sweep().await.unwrap();
        for (key, (n, etag)) in newest {
            let object = objects.get(&ObjectRef::new("crash", &key), GetOptions::default()).await.unwrap();
            // The acknowledged one, or the next that was written but not yet acknowledged.
            let put = if object.meta.etag == etag { n } else { n + 4 };
            let found = object.meta.etag.clone();
            let read = object.bytes(1 << 20).await.unwrap();
            assert!(read == content(put), "{key} is neither the {n}th nor the {}th", n + 4);
            let mut hasher = craton_objects::checksum::Hasher::new(None);
            hasher.update(&read);
            let md5 = hex::encode(hasher.finish().md5);
            assert_eq!(md5, found);
        }
        assert_eq!(objects.sweep().await.unwrap(), 0, "one sweep is enough");
    }
}
