//! A disk without a byte left: writes fail, ends of jobs do not, and nothing is lost.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use craton_core::SystemClock;
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError, JobStatus, NewJob, Runner};
use craton_store::{NewRecord, Range, Scope, Store, StoreError, Transaction, testing, values};
use serde_json::json;

fn scope() -> Scope {
    Scope::new("thing", "123456789012", "us-east-1")
}

async fn create(store: &Store, id: String, bytes: usize) -> Result<(), StoreError> {
    let body = json!({ "text": "x".repeat(bytes) });
    let record = NewRecord { id, name: None, body, now_ms: 0, idempotency: None, tags: None };
    store.create(&scope(), record).await.map(drop)
}

async fn there(store: &Store) -> usize {
    store.list(&scope(), &Range::default()).await.unwrap().len()
}

/// Writes records until there is no room for one; how many there are.
async fn write_until_full(store: &Store, bytes: usize) -> usize {
    for n in 0.. {
        if let Err(error) = create(store, format!("{bytes}-{n:06}"), bytes).await {
            assert!(error.is_full(), "{error}");
            return n;
        }
    }
    unreachable!("the disk is small")
}

/// Long enough to be renewed in time on a busy machine.
const LEASE: Duration = Duration::from_secs(1);

/// Writes more than the log has left behind, and fails where there is no room for it.
struct Writes;

#[async_trait::async_trait]
impl Handler for Writes {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        // Longer than the lease, which is renewed meanwhile.
        tokio::time::sleep(LEASE + LEASE / 4).await;
        match create(job.store(), job.id().to_owned(), 6 << 20).await {
            Err(error) if error.is_full() => Err(JobError::Fail("there is no room".into())),
            other => Ok(other?),
        }
    }

    async fn ended(&self, transaction: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError> {
        let insert = "INSERT INTO tags (resource, tag_key, value) VALUES ('ended', $1, $2)";
        transaction.execute(insert, &values![&job.id, format!("{ended:?}")]).await.map(drop)
    }
}

/// A job on a full disk ends after several writes that SQLite gave up: seconds where nothing else is at work, many where
/// much is.
async fn ended(store: &Store, id: &str) -> Job {
    for _ in 0..2400 {
        let job = store.job(id).await.unwrap().unwrap();
        if job.status.is_final() {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", store.job(id).await);
}

fn runner(store: &Store) -> Runner {
    Runner::new(store.clone(), Arc::new(SystemClock)).times(LEASE, Duration::from_millis(20)).handle(
        "writes",
        2,
        Arc::new(Writes),
    )
}

/// Something else on the disk, that can be deleted later.
fn ballast(folder: &Path, mebibytes: usize) -> PathBuf {
    let path = folder.join("something");
    std::fs::write(&path, vec![0; mebibytes << 20]).unwrap();
    path
}

/// Larger than half of the disk that is left: its log is there, and can't be copied into the database.
async fn write_long_log(store: &Store) {
    let mut transaction = store.begin().await.unwrap();
    for n in 0..40 {
        let insert = "INSERT INTO tags (resource, tag_key, value) VALUES ('long', $1, $2)";
        transaction.execute(insert, &values![n.to_string(), "x".repeat(1 << 20)]).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

fn reserve(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("records.reserve")).unwrap().len()
}

/// The disk is full of records, of large ones and then of small ones, so that the log can't grow and the database can't.
#[tokio::test]
async fn jobs_end_on_a_full_disk() {
    let Some(disk) = testing::on_small_disk("full::jobs_end_on_a_full_disk", 56) else { return };
    let store = Store::open(&disk).await.unwrap();
    for n in 0..20 {
        store.enqueue(NewJob::new(format!("job-{n:02}"), "writes", json!({}), 0)).await.unwrap();
    }
    // Room for the job after, in the log and then in the database, beside what is kept.
    let ballast = ballast(&disk, 32);
    let large = write_until_full(&store, 300_000).await;
    let small = write_until_full(&store, 10).await;
    let running = runner(&store).start().await.unwrap();
    for n in 0..20 {
        let job = ended(&store, &format!("job-{n:02}")).await;
        assert_eq!((job.status, job.attempts), (JobStatus::Failed, 1), "{job:?}");
        assert_eq!(job.error.as_deref(), Some("there is no room"));
    }
    let told = store.tags("ended").await.unwrap();
    assert_eq!(told.len(), 20);
    assert!(told.values().all(|ended| ended == "Failed(\"there is no room\")"), "{told:?}");
    let refused = create(&store, "refused".into(), 8 << 20).await.unwrap_err();
    assert!(refused.is_full(), "the room is not for everybody: {refused}");
    assert_eq!(there(&store).await, large + small);

    running.stop().await;
    std::fs::remove_file(ballast).unwrap();
    store.enqueue(NewJob::new("after", "writes", json!({}), 0)).await.unwrap();
    let running = runner(&store).start().await.unwrap();
    let after = ended(&store, "after").await;
    assert_eq!(after.status, JobStatus::Succeeded, "{after:?}");
    running.stop().await;
    store.close().await;
}

/// A job that is begun when there is room, a log far longer than what is kept, and the end of the room meanwhile.
#[tokio::test]
async fn a_job_ends_behind_a_long_log() {
    let Some(disk) = testing::on_small_disk("full::a_job_ends_behind_a_long_log", 96) else { return };
    let store = Store::open(&disk).await.unwrap();
    let (whole, ballast) = (reserve(&disk), ballast(&disk, 16));
    let running = runner(&store).start().await.unwrap();
    store.enqueue(NewJob::new("first", "writes", json!({}), 0)).await.unwrap();
    write_long_log(&store).await;
    testing::fill_disk(&disk);
    assert_eq!(ended(&store, "first").await.status, JobStatus::Failed);
    for n in 0..8 {
        let id = format!("later-{n}");
        let enqueued = store.must_write(|mut transaction| {
            let job = NewJob::new(id.clone(), "writes", json!({}), 0);
            async move {
                transaction.enqueue(job).await?;
                transaction.commit().await
            }
        });
        enqueued.await.unwrap();
        assert_eq!(ended(&store, &id).await.status, JobStatus::Failed);
    }
    assert!(reserve(&disk) > whole / 2, "most of the room is there still: {}", reserve(&disk));
    std::fs::remove_file(ballast).unwrap();
    running.stop().await;
    create(&store, "again".into(), 1_000).await.unwrap();
    store.close().await;
}

const PLACE: &str = "CRATON_STORE_FULL_CRASH";

/// Not a test of its own: what the killed process runs.
#[tokio::test]
async fn works_until_killed() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let store = Store::open(Path::new(&place)).await.unwrap();
    let _running = runner(&store).start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Killed again and again while the disk is full and the room that is kept is let go or just written on: the next
/// process opens the records, takes the jobs over and ends them.
#[tokio::test]
async fn a_kill_on_a_full_disk_loses_nothing() {
    let Some(disk) = testing::on_small_disk("full::a_kill_on_a_full_disk_loses_nothing", 80) else { return };
    let store = Store::open(&disk).await.unwrap();
    let jobs = ["a", "b", "c"];
    for job in jobs {
        let job = NewJob { max_attempts: 100, ..NewJob::new(job, "writes", json!({}), 0) };
        store.enqueue(job).await.unwrap();
    }
    write_long_log(&store).await;
    let whole = reserve(&disk);
    store.close().await;
    testing::fill_disk(&disk);
    for point in ["reserve let go", "reserve let go:3", "reserve written on:2", "reserve let go:7"] {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "full::works_until_killed", "--nocapture", "--test-threads=1"])
            .env(PLACE, &disk)
            .env("CRATON_CRASH_AT", point)
            .output()
            .unwrap();
        assert_eq!(status.status.signal(), Some(9), "{point}: {status:?}");
    }
    let store = Store::open(&disk).await.unwrap();
    assert_eq!(store.tags("long").await.unwrap().len(), 40);
    let running = runner(&store).start().await.unwrap();
    for job in jobs {
        assert_eq!(ended(&store, job).await.status, JobStatus::Failed);
    }
    assert_eq!(store.tags("ended").await.unwrap().len(), jobs.len());
    running.stop().await;
    assert!(reserve(&disk) > whole / 2, "{}", reserve(&disk));
    store.close().await;
}
