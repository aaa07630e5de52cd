use craton_api_bedrock_agent as api;
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError};
use craton_store::{StoreError, Transaction};
use serde::{Deserialize, Serialize};

use super::sync;
use crate::KnowledgeBases;
use crate::records::{INGESTION_JOB, IngestionJobRecord, Place, ingestion_job_id};

/// One sync of a data source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SyncJob {
    pub(crate) place: Place,
    pub(crate) knowledge_base: String,
    pub(crate) data_source: String,
    pub(crate) ingestion_job: String,
}

impl SyncJob {
    /// The id of the durable job behind the ingestion job.
    pub(crate) fn store_id(&self) -> String {
        let Self { place, knowledge_base, data_source, ingestion_job } = self;
        format!("sync/{}/{}/{knowledge_base}/{data_source}/{ingestion_job}", place.account, place.region)
    }

    /// The id of the ingestion job's record.
    pub(crate) fn record_id(&self) -> String {
        ingestion_job_id(&self.knowledge_base, &self.data_source, &self.ingestion_job)
    }
}

pub(crate) struct SyncHandler(pub(crate) KnowledgeBases);

#[async_trait::async_trait]
impl Handler for SyncHandler {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        sync::run(&self.0, job).await
    }

    async fn ended(&self, transaction: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError> {
        let sync: SyncJob = serde_json::from_value(job.payload.clone())?;
        let scope = sync.place.scope(INGESTION_JOB);
        let Some(record) = transaction.get(&scope, &sync.record_id()).await? else { return Ok(()) };
        let Ok(mut found) = IngestionJobRecord::read(record) else { return Ok(()) };
        found.body.status = match ended {
            Ended::Succeeded => api::IngestionJobStatus::Complete,
            Ended::Stopped => api::IngestionJobStatus::Stopped,
            Ended::Failed(reason) => {
                found.body.failure_reasons.insert(0, reason.clone());
                api::IngestionJobStatus::Failed
            }
        };
        let Ok(record) = found.changed() else { return Ok(()) };
        transaction.update(&scope, &record, None, self.0.parts.clock.now_ms()).await.map(drop)
    }
}
