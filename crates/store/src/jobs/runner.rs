use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use craton_core::Clock;
use futures::FutureExt as _;
use rand::RngExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Ended, Handler, Job, JobContext, JobError};
use crate::{Store, StoreError, Transaction};

/// How long a worker may be silent before its job is someone else's.
const LEASE: Duration = Duration::from_secs(15);

/// How long a due job may wait when its enqueuing was another process's, or its time came.
const POLL: Duration = Duration::from_millis(500);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_mins(5);
/// How long jobs that ended are kept to look at, and how often those that were are looked for.
const KEEP_ENDED: Duration = Duration::from_hours(7 * 24);
const FORGET_EVERY: Duration = Duration::from_hours(1);
/// How often it is seen to that there is room for ends of jobs.
const KEEP_ROOM_EVERY: Duration = Duration::from_secs(5);

struct Kind {
    name: &'static str,
    concurrency: usize,
    handler: Arc<dyn Handler>,
}

/// Takes jobs and has them done. Built once, with a handler for each kind.
pub struct Runner {
    store: Store,
    clock: Arc<dyn Clock>,
    lease: Duration,
    first_retry: Duration,
    keep_ended: Duration,
    forget_every: Duration,
    kinds: Vec<Kind>,
}

/// A runner at work. Dropping it ends its work as a crash would, but for the leases, which end by themselves.
pub struct Running {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    /// Ends: jobs that run are dropped at their next await and given back to the queue.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Runner {
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            lease: LEASE,
            first_retry: FIRST_RETRY,
            keep_ended: KEEP_ENDED,
            forget_every: FORGET_EVERY,
            kinds: Vec::new(),
        }
    }

    /// Has `handler` do the jobs of a kind, at most `concurrency` at a time in this process.
    pub fn handle(mut self, kind: &'static str, concurrency: usize, handler: Arc<dyn Handler>) -> Self {
        self.kinds.push(Kind { name: kind, concurrency, handler });
        self
    }

    /// Other times than the default ones: until a silent worker's lease ends, and until the first retry.
    pub fn times(self, lease: Duration, first_retry: Duration) -> Self {
        Self { lease, first_retry, ..self }
    }

    /// How long jobs that ended are kept, and how often those that were are looked for.
    pub fn forgetting(self, keep_ended: Duration, forget_every: Duration) -> Self {
        Self { keep_ended, forget_every, ..self }
    }

    /// Takes back what a dead server left, and begins to work.
    pub async fn start(self) -> Result<Running, StoreError> {
        if self.store.takes_over() {
            self.store.end_leases().await?;
        }
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let forgetting = Forgetting {
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            keep_ended: self.keep_ended,
        };
        forgetting.forget().await?;
        tasks.spawn(forgetting.keep_forgetting(self.forget_every, stop.clone()));
        tasks.spawn(keep_room(self.store.clone(), stop.clone()));
        for kind in self.kinds {
            let worker = Arc::new(Worker {
                store: self.store.clone(),
                clock: Arc::clone(&self.clock),
                lease: self.lease,
                first_retry: self.first_retry,
                kind,
                at_work: Mutex::default(),
                stop: stop.clone(),
            });
            tasks.spawn(worker.work());
        }
        Ok(Running { stop, tasks })
    }
}

/// Removes jobs that ended long ago.
struct Forgetting {
    store: Store,
    clock: Arc<dyn Clock>,
    keep_ended: Duration,
}

impl Forgetting {
    async fn forget(&self) -> Result<u64, StoreError> {
        self.store.forget_ended(self.clock.now_ms() - millis(self.keep_ended)).await
    }

    async fn keep_forgetting(self, every: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            if let Err(error) = self.forget().await {
                tracing::warn!(%error, "jobs that ended are not forgotten yet");
            }
        }
    }
}

/// Takes the room back that ends of jobs are written on when the disk is full, once it is not full any more.
async fn keep_room(store: Store, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(KEEP_ROOM_EVERY)).await.is_some() {
        store.fill_reserve().await;
    }
}

/// Does one kind's jobs.
struct Worker {
    store: Store,
    clock: Arc<dyn Clock>,
    lease: Duration,
    first_retry: Duration,
    kind: Kind,
    /// The jobs that this worker is at. Where the machine is so busy that a lease is renewed too late, the worker would
    /// otherwise take its own job from itself, and again, until the job has no attempts left.
    at_work: Mutex<BTreeSet<String>>,
    stop: CancellationToken,
}

impl Worker {
    async fn work(self: Arc<Self>) {
        let places = Arc::new(Semaphore::new(self.kind.concurrency.max(1)));
        let mut jobs = JoinSet::new();
        while !self.stop.is_cancelled() {
            while jobs.try_join_next().is_some() {}
            // Asked for before looking, so that nothing enqueued in between is missed.
            let enqueued = self.store.enqueued.notified();
            if self.end_stopped().await {
                continue;
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tokio::select! {
                    // A place is free again: it is taken at the next turn.
                    _ = places.acquire() => {}
                    () = enqueued => {}
                    () = tokio::time::sleep(POLL) => {}
                    () = self.stop.cancelled() => {}
                }
                continue;
            };
            match self.take().await {
                Ok(Some(context)) => {
                    let worker = Arc::clone(&self);
                    worker.change_at_work(|jobs| jobs.insert(context.job.id.clone()));
                    jobs.spawn(async move {
                        let id = context.job.id.clone();
                        worker.attempt(context).await;
                        worker.change_at_work(|jobs| jobs.remove(&id));
                        drop(place);
                    });
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(kind = self.kind.name, %error, "jobs can't be taken");
                }
            }
            drop(place);
            tokio::select! {
                () = enqueued => {}
                () = tokio::time::sleep(POLL) => {}
                () = self.stop.cancelled() => {}
            }
        }
        while jobs.join_next().await.is_some() {}
    }

    fn change_at_work(&self, change: impl FnOnce(&mut BTreeSet<String>) -> bool) {
        change(&mut self.at_work.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn take(&self) -> Result<Option<JobContext>, StoreError> {
        let now_ms = self.clock.now_ms();
        if !self.store.has_due(self.kind.name, now_ms).await? {
            return Ok(None);
        }
        let owner = new_owner();
        let times = (now_ms, now_ms + millis(self.lease));
        let at_work: Vec<String> =
            self.at_work.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let silent = format!(
            "its worker fell silent: the server ended, or was too busy to say within {} s that it is at work",
            self.lease.as_secs()
        );
        let job = self.store.claim(self.kind.name, &owner, times, (&at_work, &silent)).await?;
        Ok(job.map(|job| self.context(job, owner)))
    }

    /// Ends a job that was asked to stop before its turn came: it needs no place. Answers whether there was one.
    async fn end_stopped(&self) -> bool {
        match self.take_stopped().await {
            Ok(Some(context)) => {
                self.end(&context, &Ended::Stopped).await;
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(kind = self.kind.name, %error, "jobs that are to stop can't be looked for");
                false
            }
        }
    }

    async fn take_stopped(&self) -> Result<Option<JobContext>, StoreError> {
        if !self.store.has_stopped(self.kind.name).await? {
            return Ok(None);
        }
        let (owner, now_ms) = (new_owner(), self.clock.now_ms());
        let times = (now_ms, now_ms + millis(self.lease));
        let job = self.store.claim_stopped(self.kind.name, &owner, times).await?;
        Ok(job.map(|job| self.context(job, owner)))
    }

    fn context(&self, job: Job, owner: Arc<str>) -> JobContext {
        let (store, clock) = (self.store.clone(), Arc::clone(&self.clock));
        JobContext { job, store, owner, clock, stop: CancellationToken::new() }
    }

    /// One attempt at a job, and what becomes of it.
    async fn attempt(&self, context: JobContext) {
        let job = &context.job;
        let result = if job.stop_requested {
            Err(JobError::Stopped)
        } else if job.attempts > job.max_attempts {
            let reason = job.error.as_deref().unwrap_or("it never came to its end");
            Err(JobError::Fail(format!("given up after {} attempts: {reason}", job.max_attempts)))
        } else {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    let now_ms = self.clock.now_ms();
                    self.report(job, context.lease().give_back((None, false), (now_ms, now_ms)).await);
                    return;
                }
                () = self.keep(&context) => Err(JobError::Lost),
                result = std::panic::AssertUnwindSafe(self.kind.handler.run(&context)).catch_unwind() => {
                    result.unwrap_or_else(|_| Err(JobError::Retry("the worker panicked".into())))
                }
            }
        };
        let ended = match result {
            Ok(()) => Ended::Succeeded,
            Err(JobError::Stopped) => Ended::Stopped,
            Err(JobError::Fail(reason)) => Ended::Failed(reason),
            Err(JobError::Lost) => {
                tracing::warn!(kind = self.kind.name, job = job.id, "the job is someone else's now");
                return;
            }
            Err(JobError::Later { reason, wait }) => {
                tracing::debug!(kind = self.kind.name, job = job.id, reason, ?wait, "can't begin yet");
                let now_ms = self.clock.now_ms();
                let times = (now_ms, now_ms + millis(wait));
                self.report(job, context.lease().give_back((Some(&reason), false), times).await);
                return;
            }
            Err(JobError::Retry(reason)) if job.attempts >= job.max_attempts => Ended::Failed(reason),
            Err(JobError::Retry(reason)) => {
                let wait = self.wait_after(job.attempts);
                tracing::warn!(kind = self.kind.name, job = job.id, reason, ?wait, "will try again");
                let now_ms = self.clock.now_ms();
                let times = (now_ms, now_ms + millis(wait));
                self.report(job, context.lease().give_back((Some(&reason), true), times).await);
                return;
            }
        };
        self.end(&context, &ended).await;
    }

    /// Renews the lease until it is lost, and passes on a request to stop.
    async fn keep(&self, context: &JobContext) {
        let every = self.lease / 3;
        let mut renewed = tokio::time::Instant::now();
        loop {
            self.listen(context, every).await;
            let now = tokio::time::Instant::now();
            match context.lease().renew(self.clock.now_ms() + millis(self.lease)).await {
                Ok(Some(stop)) => {
                    renewed = now;
                    if stop {
                        context.stop.cancel();
                    }
                }
                Ok(None) => return,
                Err(error) if renewed.elapsed() >= self.lease => {
                    tracing::error!(job = context.job.id, %error, "the lease can't be renewed");
                    return;
                }
                Err(error) => tracing::warn!(job = context.job.id, %error, "the lease was not renewed yet"),
            }
        }
    }

    /// Waits until the next heartbeat, and looks for a request to stop whenever this process committed one.
    async fn listen(&self, context: &JobContext, every: Duration) {
        let heartbeat = tokio::time::sleep(every);
        tokio::pin!(heartbeat);
        loop {
            let told = self.store.enqueued.notified();
            tokio::select! {
                () = &mut heartbeat => return,
                () = told => {
                    if context.lease().stop_requested().await.unwrap_or(false) {
                        context.stop.cancel();
                    }
                }
            }
        }
    }

    /// Writes the end of a job, again and again while the records can't be written and the lease lasts.
    async fn end(&self, context: &JobContext, ended: &Ended) {
        let tried_until = tokio::time::Instant::now() + self.lease;
        loop {
            match self.write_end(context, ended).await {
                Ok(()) => return,
                Err(StoreError::LeaseLost { .. }) => return,
                Err(error) if tokio::time::Instant::now() > tried_until => {
                    tracing::error!(kind = self.kind.name, job = context.job.id, %error, "its end is not written");
                    return;
                }
                Err(error) => tracing::warn!(job = context.job.id, %error, "its end is not written yet"),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn write_end(&self, context: &JobContext, ended: &Ended) -> Result<(), StoreError> {
        let write = |mut transaction: Transaction| async move {
            transaction.end(&context.job.id, &context.owner, ended, self.clock.now_ms()).await?;
            self.kind.handler.ended(&mut transaction, &context.job, ended).await?;
            transaction.commit().await
        };
        self.store.must_write(write).await
    }

    /// Twice as long after each attempt, half of it by chance.
    fn wait_after(&self, attempts: u32) -> Duration {
        let doubled = self.first_retry.saturating_mul(1_u32 << attempts.saturating_sub(1).min(16));
        let longest = doubled.min(LONGEST_RETRY);
        longest.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    fn report(&self, job: &Job, written: Result<(), StoreError>) {
        if let Err(error) = written {
            tracing::warn!(kind = self.kind.name, job = job.id, %error, "the job waits for its lease to end");
        }
    }
}

/// Another name for each attempt: an attempt that was taken over can't write even within the same process.
fn new_owner() -> Arc<str> {
    uuid::Uuid::new_v4().to_string().into()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
