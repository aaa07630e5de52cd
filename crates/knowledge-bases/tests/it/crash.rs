//! A server that is killed in the middle of a sync finishes it on restart: the same index as without, and truthful
//! counters.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use craton_api_bedrock_agent::IngestionJobStatus;
use craton_store::Store;
use craton_vectors::Chunk;

use serde_json::json;

use crate::direct;
use crate::support::{Ids, World, context, counters, input};

const PLACE: &str = "CRATON_KB_CRASH_DIRECTORY";
const DOCUMENTS: usize = 500;

/// Not a test of its own: what the killed process runs.
#[tokio::test]
async fn works_until_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let _world = World::open(Path::new(&place)).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
}

/// Documents that were synced, then changed: 20 are gone, 30 are new, 50 are changed.
async fn library(directory: &Path) -> Ids {
    let world = World::open(directory).await;
    let ids = world.library().await;
    let text = |n: usize, version: &str| {
        format!("Document {n} in its {version} version. {}", format!("It speaks of {n}. ").repeat(n % 40))
    };
    let before = DOCUMENTS - 30;
    for n in 0..before + 20 {
        world.put(&format!("{n:04}.txt"), text(n, "first")).await;
    }
    assert_eq!(counters(&world.sync(&ids).await)[..3], [490, 0, 490]);
    for n in 0..20 {
        world.delete(&format!("{n:04}.txt")).await;
    }
    for n in 100..150 {
        world.put(&format!("{n:04}.txt"), text(n, "second")).await;
    }
    for n in before + 20..before + 50 {
        world.put(&format!("{n:04}.txt"), text(n, "first")).await;
    }
    world.close().await;
    ids
}

/// A text put in directly, and one deleted, by a server that dies at a point: the next one finishes both.
#[tokio::test]
async fn direct_documents_survive_a_kill() {
    for point in ["kb.direct-before-index", "kb.direct-indexed", "kb.direct-removed"] {
        let directory = tempfile::tempdir().unwrap();
        let world = World::open(directory.path()).await;
        let base = world.create_base("b").await.unwrap();
        let custom = json!({ "dataSourceConfiguration": { "type": "CUSTOM" } });
        let ids = Ids { source: world.create_source(&base, custom).await.unwrap(), base };
        direct::put(&world, &ids, vec![direct::text("old", "Old.")]).await;
        direct::statuses(&world, &ids, &["old"]).await;
        world.close().await;

        let world = World::idle(Store::open(directory.path()).await.unwrap(), directory.path());
        direct::put(&world, &ids, vec![direct::text("new", "New."), direct::text("empty", "")]).await;
        let mut request = ids.json();
        request["documentIdentifiers"] = json!([{ "dataSourceType": "CUSTOM", "custom": { "id": "old" } }]);
        world.service.delete_knowledge_base_documents(&context(), input(request)).await.unwrap();
        world.close().await;
        killed_at(directory.path(), point);
        let world = World::open(directory.path()).await;
        let found = direct::statuses(&world, &ids, &["old", "new", "empty"]).await;
        assert_eq!(found, ["NOT_FOUND ", "INDEXED ", "IGNORED it has no text"], "{point}");
        assert_eq!(world.texts().await.into_keys().collect::<Vec<_>>(), ["new"], "{point}");
        world.close().await;
    }
}

/// Runs a server on a directory until it dies at a point.
fn killed_at(directory: &Path, point: &str) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::works_until_killed", "--nocapture", "--test-threads=1"])
        .env(PLACE, directory)
        .env("CRATON_CRASH_AT", point)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9), "{point}: {status}");
}

const EXPECTED: [i64; 8] = [500, 0, 30, 50, 0, 20, 0, 0];

async fn undisturbed(directory: &Path, ids: &Ids) -> Vec<Chunk> {
    let world = World::open(directory).await;
    assert_eq!(world.counters(ids).await, EXPECTED);
    let chunks = world.chunks().await;
    world.close().await;
    chunks
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[tokio::test]
async fn a_killed_sync_is_finished_as_if_nothing_had_happened() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let ids = library(&at("library")).await;
    copy(&at("library"), &at("undisturbed"));
    let expected = undisturbed(&at("undisturbed"), &ids).await;
    let points = [
        "kb.listed",
        "kb.before-index",
        "kb.indexed",
        "kb.indexed:2",
        "kb.recorded",
        "kb.before-removal",
        "kb.removed",
        "kb.done",
    ];
    for point in points {
        let place = at(&point.replace([':', '.'], "-"));
        copy(&at("library"), &place);
        let world = World::idle(Store::open(&place).await.unwrap(), &place);
        let job = world.start(&ids).await.unwrap();
        world.close().await;
        killed_at(&place, point);
        let world = World::open(&place).await;
        let ended = world.ended(&ids, &job).await;
        assert_eq!(ended.status, IngestionJobStatus::Complete, "{point}: {ended:?}");
        assert_eq!(counters(&ended), EXPECTED, "{point}");
        assert!(world.chunks().await == expected, "{point}: another index");
        assert_eq!(world.counters(&ids).await, [500, 0, 0, 0, 0, 0, 0, 0], "{point}");
        world.close().await;
    }
}
