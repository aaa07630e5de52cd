//! A process that is killed in the middle of a job leaves it to the next one, which finishes it exactly once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use craton_core::SystemClock;
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError, JobStatus, NewJob, Runner};
use craton_store::{Store, StoreError, Transaction, crash, testing, values};
use serde_json::json;

const PLACE: &str = "CRATON_STORE_JOBS_CRASH";
const STEPS: i64 = 10;

/// Writes ten steps, each with its number in one transaction; the steps that are there are not done again.
struct Steps;

#[async_trait::async_trait]
impl Handler for Steps {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        let done = job.store().tags("steps").await?.len();
        for step in i64::try_from(done).unwrap()..STEPS {
            let mut transaction = job.store().begin().await?;
            job.fence(&mut transaction).await?;
            let insert = "INSERT INTO tags (resource, tag_key, value) VALUES ('steps', $1, '')";
            transaction.execute(insert, &values![format!("{step:02}")]).await?;
            crash::point("before step");
            transaction.commit().await?;
            crash::point("after step");
        }
        crash::point("before end");
        Ok(())
    }

    async fn ended(&self, transaction: &mut Transaction, _: &Job, ended: &Ended) -> Result<(), StoreError> {
        assert_eq!(*ended, Ended::Succeeded);
        let insert = "INSERT INTO tags (resource, tag_key, value) VALUES ('ended', 'once', '')";
        transaction.execute(insert, &[]).await?;
        crash::point("within end");
        Ok(())
    }
}

async fn open(place: &str) -> Store {
    if place.starts_with("postgres") {
        Store::connect(place).await.unwrap()
    } else {
        Store::open(Path::new(place)).await.unwrap()
    }
}

/// Not a test of its own: what the killed process runs.
#[tokio::test]
async fn works_until_killed() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let store = open(&place).await;
    let _running = runner(&store).start().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn runner(store: &Store) -> Runner {
    Runner::new(store.clone(), Arc::new(SystemClock))
        .handle("steps", 1, Arc::new(Steps))
        .times(Duration::from_secs(1), Duration::from_millis(20))
}

async fn killed_at(place: &str, point: &str) {
    let store = open(place).await;
    store.enqueue(NewJob::new("job", "steps", json!(null), 0)).await.unwrap();
    store.close().await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "jobs_crash::works_until_killed", "--nocapture", "--test-threads=1"])
        .env(PLACE, place)
        .env("CRATON_CRASH_AT", point)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{point}: {status}");

    let store = open(place).await;
    let left = store.job("job").await.unwrap().unwrap();
    assert_eq!((left.status, left.attempts), (JobStatus::Running, 1), "{point}");
    assert!(store.tags("ended").await.unwrap().is_empty());
    let running = runner(&store).start().await.unwrap();
    for _ in 0..1000 {
        if store.job("job").await.unwrap().unwrap().status.is_final() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.stop().await;
    let done = store.job("job").await.unwrap().unwrap();
    assert_eq!((done.status, done.attempts), (JobStatus::Succeeded, 2), "{point}");
    let steps: Vec<String> = store.tags("steps").await.unwrap().into_keys().collect();
    assert_eq!(steps, (0..STEPS).map(|step| format!("{step:02}")).collect::<Vec<_>>(), "{point}");
    assert_eq!(store.tags("ended").await.unwrap().len(), 1, "{point}");
    store.close().await;
}

#[tokio::test]
async fn a_killed_job_is_finished_once() {
    for point in ["before step", "before step:7", "after step:3", "before end", "within end"] {
        let directory = tempfile::tempdir().unwrap();
        killed_at(directory.path().to_str().unwrap(), point).await;
        killed_at(&testing::postgres_url(), point).await;
    }
}
