use std::sync::Arc;

use craton_core::Clock;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;

use super::queue::Lease;
use super::{Job, JobError};
use crate::{Store, StoreError, Transaction};

/// What a handler is told about its job, and how it answers while it runs.
#[derive(Clone)]
pub struct JobContext {
    pub(super) job: Job,
    pub(super) store: Store,
    pub(super) owner: Arc<str>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: CancellationToken,
}

impl JobContext {
    /// The job as it was when this attempt began; `progress` is what the attempt before last said.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The records the job is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn id(&self) -> &str {
        &self.job.id
    }

    /// The payload as the handler's own type. A payload it can't read fails the job for good.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        T::deserialize(&self.job.payload)
            .map_err(|error| JobError::Fail(format!("the job is not readable: {error}")))
    }

    /// Says how far the work is, durably. A write: say it a few times a second, not for each item.
    pub async fn progress(&self, progress: &Json) -> Result<(), StoreError> {
        self.lease().progress(progress, self.clock.now_ms()).await
    }

    /// Whether the job was asked to stop, as far as the last heartbeat knows.
    pub fn stop_requested(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns when the job is asked to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Stopped when the job was asked to stop: `job.check()?` between steps.
    pub fn check(&self) -> Result<(), JobError> {
        if self.stop_requested() { Err(JobError::Stopped) } else { Ok(()) }
    }

    /// Fails unless the job is still this worker's, and keeps it so until the transaction ends: what the transaction
    /// writes is written by one worker only.
    pub async fn fence(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        transaction.hold(&self.job.id, &self.owner).await
    }

    pub(super) fn lease(&self) -> Lease<'_> {
        Lease { store: &self.store, id: &self.job.id, owner: &self.owner }
    }
}
