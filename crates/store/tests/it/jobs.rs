use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use craton_core::SystemClock;
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError, JobStatus, NewJob, Runner};
use craton_store::testing::stores;
use craton_store::{Store, StoreError, Transaction, values};
use parking_lot::Mutex;
use serde_json::json;

/// Does as the payload says, and keeps a diary.
#[derive(Default)]
struct Diarist {
    begun: Mutex<Vec<String>>,
    ended: Mutex<Vec<(String, Ended)>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[async_trait::async_trait]
impl Handler for Diarist {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        self.begun.lock().push(job.id().to_owned());
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let todo: String = job.payload()?;
        let result = match todo.as_str() {
            "nap" => {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Ok(())
            }
            "fail twice" if job.job().attempts < 3 => Err(JobError::Retry("not yet".into())),
            "later" if self.begun.lock().len() < 8 => {
                Err(JobError::Later { reason: "no place".into(), wait: Duration::from_millis(10) })
            }
            "never works" => Err(JobError::Retry("still not".into())),
            "hopeless" => Err(JobError::Fail("no".into())),
            "panic" => panic!("a bug"),
            "until stopped" => {
                job.progress(&json!({ "waiting": true })).await?;
                while !job.stop_requested() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                job.check()
            }
            _ => Ok(()),
        };
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn ended(&self, transaction: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError> {
        transaction
            .execute(
                "INSERT INTO tags (resource, tag_key, value) VALUES ('ended', $1, '')",
                &values![&job.id],
            )
            .await?;
        self.ended.lock().push((job.id.clone(), ended.clone()));
        Ok(())
    }
}

fn job(id: &str, todo: &str) -> NewJob {
    NewJob::new(id, "diary", json!(todo), 0)
}

fn runner(store: &Store, diarist: &Arc<Diarist>) -> Runner {
    Runner::new(store.clone(), Arc::new(SystemClock))
        .handle("diary", 3, Arc::clone(diarist) as Arc<dyn Handler>)
        .times(Duration::from_millis(900), Duration::from_millis(20))
}

async fn wait_for(store: &Store, id: &str, status: JobStatus) -> Job {
    for _ in 0..1000 {
        let job = store.job(id).await.unwrap().unwrap();
        if job.status == status {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{id} is {:?}", store.job(id).await.unwrap());
}

#[tokio::test]
async fn jobs_are_done_once_and_a_few_at_a_time() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        let ids: Vec<String> = (0..20).map(|n| format!("job-{n:02}")).collect();
        for id in &ids[..10] {
            store.enqueue(job(id, "nap")).await.unwrap();
        }
        // Two runners, as two servers would have.
        let running = [
            runner(&store, &diarist).start().await.unwrap(),
            runner(&store, &diarist).start().await.unwrap(),
        ];
        for id in &ids[10..] {
            store.enqueue(job(id, "nap")).await.unwrap();
        }
        for id in &ids {
            assert_eq!(wait_for(&store, id, JobStatus::Succeeded).await.attempts, 1);
        }
        for running in running {
            running.stop().await;
        }
        let mut begun = diarist.begun.lock().clone();
        begun.sort();
        assert_eq!(begun, ids);
        assert_eq!(store.tags("ended").await.unwrap().len(), 20);
        assert!((2..=6).contains(&diarist.most_at_once.load(Ordering::SeqCst)));
    }
}

#[tokio::test]
async fn failures_are_tried_again_and_end() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        for (id, todo) in [("a", "fail twice"), ("b", "hopeless"), ("c", "panic")] {
            store.enqueue(job(id, todo)).await.unwrap();
        }
        store.enqueue(NewJob { max_attempts: 2, ..job("d", "never works") }).await.unwrap();
        let running = runner(&store, &diarist).start().await.unwrap();
        assert_eq!(wait_for(&store, "a", JobStatus::Succeeded).await.attempts, 3);
        let hopeless = wait_for(&store, "b", JobStatus::Failed).await;
        assert_eq!((hopeless.attempts, hopeless.error.as_deref()), (1, Some("no")));
        let panicked = wait_for(&store, "c", JobStatus::Failed).await;
        assert_eq!((panicked.attempts, panicked.error.as_deref()), (5, Some("the worker panicked")));
        let given_up = wait_for(&store, "d", JobStatus::Failed).await;
        assert_eq!((given_up.attempts, given_up.error.as_deref()), (2, Some("still not")));
        running.stop().await;
        let ended = diarist.ended.lock();
        assert!(ended.contains(&("b".into(), Ended::Failed("no".into()))));
        assert_eq!(ended.len(), 4, "{ended:?}");
    }
}

#[tokio::test]
async fn what_could_not_begin_was_no_attempt() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        store.enqueue(NewJob { max_attempts: 1, ..job("waits", "later") }).await.unwrap();
        let running = runner(&store, &diarist).start().await.unwrap();
        assert_eq!(wait_for(&store, "waits", JobStatus::Succeeded).await.attempts, 1);
        running.stop().await;
        assert_eq!(diarist.begun.lock().len(), 8);
    }
}

#[tokio::test]
async fn a_job_stops_when_asked_whether_it_runs_or_waits() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        store.enqueue(job("waits", "nap")).await.unwrap();
        assert!(store.request_stop("waits").await.unwrap());
        store.enqueue(job("runs", "until stopped")).await.unwrap();
        let running = runner(&store, &diarist).start().await.unwrap();
        let job = wait_for(&store, "runs", JobStatus::Running).await;
        assert!(!job.stop_requested);
        assert!(store.request_stop("runs").await.unwrap());
        let stopped = wait_for(&store, "runs", JobStatus::Stopped).await;
        assert_eq!(stopped.progress, Some(json!({ "waiting": true })));
        wait_for(&store, "waits", JobStatus::Stopped).await;
        assert!(!store.request_stop("waits").await.unwrap(), "it has ended");
        running.stop().await;
        assert_eq!(*diarist.begun.lock(), ["runs"]);
        assert_eq!(diarist.ended.lock().len(), 2);
    }
}

#[tokio::test]
async fn a_job_that_waits_for_its_next_attempt_stops_at_once() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        store.enqueue(job("again", "never works")).await.unwrap();
        let runner = runner(&store, &diarist).times(Duration::from_millis(900), Duration::from_mins(4));
        let running = runner.start().await.unwrap();
        for _ in 0..1000 {
            if store.job("again").await.unwrap().unwrap().error.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(store.request_stop("again").await.unwrap());
        assert_eq!(wait_for(&store, "again", JobStatus::Stopped).await.attempts, 1);
        running.stop().await;
        assert_eq!(*diarist.begun.lock(), ["again"]);
    }
}

#[tokio::test]
async fn jobs_that_ended_are_forgotten_while_the_server_runs() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        let runner =
            runner(&store, &diarist).forgetting(Duration::from_millis(300), Duration::from_millis(50));
        let running = runner.start().await.unwrap();
        store.enqueue(job("old", "nap")).await.unwrap();
        wait_for(&store, "old", JobStatus::Succeeded).await;
        let mut left = 1000;
        while store.job("old").await.unwrap().is_some() {
            left -= 1;
            assert!(left > 0, "it is kept for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn one_unfinished_job_has_an_exclusive_key() {
    let (_directory, stores) = stores().await;
    for store in stores {
        store.enqueue(job("a", "nap").exclusive("k")).await.unwrap();
        let taken = store.enqueue(job("b", "nap").exclusive("k")).await.unwrap_err();
        assert!(matches!(&taken, StoreError::JobActive { key, .. } if key == "k"), "{taken}");
        store.enqueue(job("c", "nap").exclusive("l")).await.unwrap();
        let diarist = Arc::new(Diarist::default());
        let running = runner(&store, &diarist).start().await.unwrap();
        wait_for(&store, "a", JobStatus::Succeeded).await;
        store.enqueue(job("b", "nap").exclusive("k")).await.unwrap();
        wait_for(&store, "b", JobStatus::Succeeded).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_long_job_keeps_its_lease_and_a_stopping_server_gives_it_back() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        store.enqueue(job("long", "until stopped")).await.unwrap();
        let running = runner(&store, &diarist).start().await.unwrap();
        let other = runner(&store, &diarist).start().await.unwrap();
        wait_for(&store, "long", JobStatus::Running).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(store.job("long").await.unwrap().unwrap().attempts, 1, "its lease is renewed");
        running.stop().await;
        other.stop().await;
        let waiting = store.job("long").await.unwrap().unwrap();
        assert_eq!((waiting.status, waiting.attempts), (JobStatus::Queued, 0), "not counted");
        let running = runner(&store, &diarist).start().await.unwrap();
        wait_for(&store, "long", JobStatus::Running).await;
        store.request_stop("long").await.unwrap();
        wait_for(&store, "long", JobStatus::Stopped).await;
        running.stop().await;
    }
}

/// Loses its lease while it works, and writes then.
struct Late {
    refused: AtomicUsize,
}

#[async_trait::async_trait]
impl Handler for Late {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        if job.job().attempts > 1 {
            return Ok(());
        }
        let store: &Store = job.store();
        store.execute("UPDATE jobs SET due_ms = 0 WHERE id = $1", &values![job.id()]).await?;
        while store.job(job.id()).await?.is_some_and(|job| job.attempts == 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut transaction = store.begin().await?;
        let refused = job.fence(&mut transaction).await.unwrap_err();
        self.refused.fetch_add(1, Ordering::SeqCst);
        Err(refused.into())
    }

    async fn ended(&self, _: &mut Transaction, _: &Job, _: &Ended) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let late = Arc::new(Late { refused: AtomicUsize::new(0) });
        store.enqueue(NewJob::new("a", "late", json!(null), 0)).await.unwrap();
        let runner = || Runner::new(store.clone(), Arc::new(SystemClock)).handle("late", 2, late.clone());
        let running = [runner().start().await.unwrap(), runner().start().await.unwrap()];
        assert_eq!(wait_for(&store, "a", JobStatus::Succeeded).await.attempts, 2);
        tokio::time::sleep(Duration::from_millis(50)).await;
        for running in running {
            running.stop().await;
        }
        assert_eq!(late.refused.load(Ordering::SeqCst), 1);
    }
}

/// Works on although its lease has ended, as on a machine that is too busy to renew it in time.
struct Busy;

#[async_trait::async_trait]
impl Handler for Busy {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        job.store().execute("UPDATE jobs SET due_ms = 0 WHERE id = $1", &values![job.id()]).await?;
        // Longer than a worker waits before it looks for jobs again.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let mut transaction = job.store().begin().await?;
        job.fence(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn ended(&self, _: &mut Transaction, _: &Job, _: &Ended) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_worker_does_not_take_its_own_job_from_itself() {
    let (_directory, stores) = stores().await;
    for store in stores {
        // One's name is part of another's.
        for id in ["job", "a job", "a job more"] {
            store.enqueue(NewJob::new(id, "busy", json!(null), 0)).await.unwrap();
        }
        let runner = Runner::new(store.clone(), Arc::new(SystemClock)).handle("busy", 2, Arc::new(Busy));
        let running = runner.start().await.unwrap();
        for id in ["job", "a job", "a job more"] {
            assert_eq!(wait_for(&store, id, JobStatus::Succeeded).await.attempts, 1);
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn a_job_whose_workers_fall_silent_says_that() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        for (id, todo) in [("silent", "nap"), ("taken over", "nap")] {
            store.enqueue(NewJob { max_attempts: 2, ..job(id, todo) }).await.unwrap();
        }
        // As workers leave them that are killed, or sleep for longer than their lease: after an attempt that failed.
        let left = "UPDATE jobs SET status = 'running', owner = 'gone', due_ms = 0, attempts = $2, \
                    error = 'the bucket was away' WHERE id = $1";
        store.execute(left, &values!["silent", 2_i64]).await.unwrap();
        store.execute(left, &values!["taken over", 1_i64]).await.unwrap();
        let running = runner(&store, &diarist).start().await.unwrap();
        let given_up = wait_for(&store, "silent", JobStatus::Failed).await.error.unwrap();
        assert!(given_up.starts_with("given up after 2 attempts: its worker fell silent"), "{given_up}");
        assert!(given_up.contains("the server ended, or was too busy"), "{given_up}");
        assert_eq!(wait_for(&store, "taken over", JobStatus::Succeeded).await.error, None);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_job_that_waits_for_a_place_stops_without_one() {
    let (_directory, stores) = stores().await;
    for store in stores {
        let diarist = Arc::new(Diarist::default());
        let running = runner(&store, &diarist).start().await.unwrap();
        // As many as are done at a time.
        for id in ["a", "b", "c"] {
            store.enqueue(job(id, "until stopped")).await.unwrap();
            wait_for(&store, id, JobStatus::Running).await;
        }
        store.enqueue(job("waits", "nap")).await.unwrap();
        assert!(store.request_stop("waits").await.unwrap());
        wait_for(&store, "waits", JobStatus::Stopped).await;
        assert!(!diarist.begun.lock().contains(&"waits".to_owned()));
        assert_eq!(*diarist.ended.lock(), [("waits".to_owned(), Ended::Stopped)]);
        for id in ["a", "b", "c"] {
            assert_eq!(store.job(id).await.unwrap().unwrap().status, JobStatus::Running);
            store.request_stop(id).await.unwrap();
            wait_for(&store, id, JobStatus::Stopped).await;
        }
        running.stop().await;
    }
}
