//! Durable work: enqueued with the rows it belongs to, leased by a worker, resumed after a crash.
//!
//! A job is a row. [`Transaction::enqueue`] writes it together with whatever it is about, so that neither exists
//! without the other. A [`Runner`] takes due jobs (`SKIP LOCKED` on PostgreSQL, the one writer on SQLite), renews
//! their leases while their [`Handler`] runs, and writes the end: the job's row and what the handler's
//! [`Handler::ended`] writes are one transaction.
//!
//! A worker that dies leaves a lease that ends; whoever finds it then runs the job again. Handlers must therefore be
//! idempotent, and guard what they write with [`JobContext::fence`], which fails once the job is someone else's. On
//! SQLite, where one server owns the directory, leases of dead servers are taken back at once on start.
//!
//! On a full disk jobs are still taken, kept and ended, on room that is kept for it (`reserve.rs`); what their handlers
//! write fails, and why is in their end.

mod context;
mod queue;
mod runner;

use std::time::Duration;

use serde_json::Value as Json;

use crate::{StoreError, Transaction};

pub use context::JobContext;
pub use runner::{Runner, Running};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    Queued,
    Running,
    Succeeded,
    Failed,
    Stopped,
}

impl JobStatus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Stopped]
            .into_iter()
            .find(|status| status.name() == name)
    }

    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A job as it stands in the records.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: String,
    pub kind: String,
    pub exclusive_key: Option<String>,
    pub payload: Json,
    pub status: JobStatus,
    /// Times it was begun.
    pub attempts: u32,
    pub max_attempts: u32,
    pub stop_requested: bool,
    /// What the handler last said of how far it is.
    pub progress: Option<Json>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// A job to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    pub id: String,
    pub kind: &'static str,
    /// At most one unfinished job of the kind may have this key.
    pub exclusive_key: Option<String>,
    /// What the handler needs to know.
    pub payload: Json,
    /// Times it may be begun, those that a crash ended included.
    pub max_attempts: u32,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// Begin no sooner than this.
    pub due_ms: i64,
}

impl NewJob {
    /// A job to begin now, five times at most.
    pub fn new(id: impl Into<String>, kind: &'static str, payload: Json, now_ms: i64) -> Self {
        Self { id: id.into(), kind, exclusive_key: None, payload, max_attempts: 5, now_ms, due_ms: now_ms }
    }

    /// Refused while another unfinished job of the kind has the same key.
    pub fn exclusive(self, key: impl Into<String>) -> Self {
        Self { exclusive_key: Some(key.into()), ..self }
    }
}

/// How a job ended for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Succeeded,
    Failed(String),
    Stopped,
}

/// Why an attempt did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It may work later: the next attempt waits, longer each time.
    #[error("{0}")]
    Retry(String),
    /// It could not begin: the attempt is not counted. The handler says when to look again, and when to give up.
    #[error("{reason}")]
    Later { reason: String, wait: Duration },
    /// It will not work.
    #[error("{0}")]
    Fail(String),
    /// It was asked to stop, and did.
    #[error("stopped on request")]
    Stopped,
    /// Someone else has the job now; nothing is to be written.
    #[error("the lease was lost")]
    Lost,
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { .. } => Self::Lost,
            other => Self::Retry(other.to_string()),
        }
    }
}

/// Does one kind of job.
#[async_trait::async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Does the work, from where an earlier attempt may have left it. It ends early, dropped at any await, when the
    /// server stops or the lease is lost.
    async fn run(&self, job: &JobContext) -> Result<(), JobError>;

    /// Writes what the end means, in the transaction that ends the job.
    async fn ended(&self, transaction: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError>;
}
