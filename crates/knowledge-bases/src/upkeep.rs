//! Jobs that make and unmake knowledge bases and data sources.

use craton_api_bedrock_agent as api;
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError};
use craton_store::{Store, StoreError, Transaction, values};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};

use crate::KnowledgeBases;
use crate::records::{
    DATA_SOURCE, DOCUMENTS, DataSourceRecord, INGESTION_JOB, IngestionJobRecord, KNOWLEDGE_BASE,
    KnowledgeBaseRecord, Place, arn, data_source_id, ingestion_job_id,
};

pub(crate) const KIND: &str = "knowledge-base-upkeep";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Task {
    Create { place: Place, knowledge_base: String },
    Delete { place: Place, knowledge_base: String },
    DeleteDataSource { place: Place, knowledge_base: String, data_source: String },
}

pub(crate) struct Upkeep(pub(crate) KnowledgeBases);

fn failed(error: ApiError) -> JobError {
    JobError::Retry(error.message)
}

#[async_trait::async_trait]
impl Handler for Upkeep {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        match job.payload::<Task>()? {
            Task::Create { place, knowledge_base } => {
                let base = self.0.knowledge_base(&place, &knowledge_base).await.map_err(failed)?;
                self.0.index_of_job(&place, &base.body).await?;
                self.0.name_fields(&place, &base).await.map_err(failed)
            }
            Task::Delete { place, knowledge_base } => self.delete(job, &place, &knowledge_base).await,
            Task::DeleteDataSource { place, knowledge_base, data_source } => {
                self.delete_data_source(job, &place, &knowledge_base, &data_source).await
            }
        }
    }

    async fn ended(&self, transaction: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError> {
        let task: Task = serde_json::from_value(job.payload.clone())?;
        let now_ms = self.0.parts.clock.now_ms();
        let reason = match ended {
            Ended::Failed(reason) => Some(reason.clone()),
            Ended::Succeeded | Ended::Stopped => None,
        };
        match task {
            Task::Create { place, knowledge_base } => {
                let status = if reason.is_some() {
                    api::KnowledgeBaseStatus::Failed
                } else {
                    api::KnowledgeBaseStatus::Active
                };
                set_status(transaction, &place, &knowledge_base, (status, reason), now_ms).await
            }
            Task::Delete { place, knowledge_base } if reason.is_some() => {
                let status = api::KnowledgeBaseStatus::DeleteUnsuccessful;
                set_status(transaction, &place, &knowledge_base, (status, reason), now_ms).await
            }
            Task::DeleteDataSource { place, knowledge_base, data_source } if reason.is_some() => {
                let (scope, id) = (place.scope(DATA_SOURCE), data_source_id(&knowledge_base, &data_source));
                let Some(record) = transaction.get(&scope, &id).await? else { return Ok(()) };
                let Ok(mut found) = DataSourceRecord::read(record) else { return Ok(()) };
                found.body.status = api::DataSourceStatus::DeleteUnsuccessful;
                found.body.failure_reasons = reason.into_iter().collect();
                let Ok(record) = found.changed() else { return Ok(()) };
                transaction.update(&scope, &record, None, now_ms).await.map(drop)
            }
            Task::Delete { .. } | Task::DeleteDataSource { .. } => Ok(()),
        }
    }
}

async fn set_status(
    transaction: &mut Transaction,
    place: &Place,
    id: &str,
    (status, reason): (api::KnowledgeBaseStatus, Option<String>),
    now_ms: i64,
) -> Result<(), StoreError> {
    let scope = place.scope(KNOWLEDGE_BASE);
    let Some(record) = transaction.get(&scope, id).await? else { return Ok(()) };
    let Ok(mut found) = KnowledgeBaseRecord::read(record) else { return Ok(()) };
    // Deletion may have been asked for meanwhile, and goes on.
    if status == api::KnowledgeBaseStatus::Active && found.body.status != api::KnowledgeBaseStatus::Creating {
        return Ok(());
    }
    found.body.status = status;
    found.body.failure_reasons = reason.into_iter().collect();
    let Ok(record) = found.changed() else { return Ok(()) };
    transaction.update(&scope, &record, None, now_ms).await.map(drop)
}

impl Upkeep {
    fn store(&self) -> &Store {
        &self.0.parts.store
    }

    async fn delete(&self, job: &JobContext, place: &Place, id: &str) -> Result<(), JobError> {
        let scope = place.scope(DATA_SOURCE);
        let sources: Vec<DataSourceRecord> =
            self.0.all(&scope, &data_source_id(id, "")).await.map_err(failed)?;
        for source in sources {
            self.delete_data_source(job, place, id, &source.id).await?;
        }
        let mut transaction = self.store().begin().await?;
        job.fence(&mut transaction).await?;
        transaction.delete(&place.scope(KNOWLEDGE_BASE), id, Some(&arn(place, id))).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Its jobs are stopped, then its chunks go (unless they are to be kept), then the records of it.
    async fn delete_data_source(
        &self,
        job: &JobContext,
        place: &Place,
        base: &str,
        id: &str,
    ) -> Result<(), JobError> {
        let scope = place.scope(DATA_SOURCE);
        let Some(record) = self.store().get(&scope, &data_source_id(base, id)).await? else { return Ok(()) };
        let source = DataSourceRecord::read(record).map_err(failed)?;
        let jobs: Vec<IngestionJobRecord> =
            self.0.all(&place.scope(INGESTION_JOB), &ingestion_job_id(base, id, "")).await.map_err(failed)?;
        self.stop(place, base, id, &jobs).await?;
        if source.body.deletion == api::DataDeletionPolicy::Delete {
            self.empty(place, base, id).await?;
        }
        let mut transaction = self.store().begin().await?;
        job.fence(&mut transaction).await?;
        let documents = "DELETE FROM kb_documents WHERE knowledge_base = $1 AND data_source = $2";
        transaction.execute(documents, &values![base, id]).await?;
        for done in &jobs {
            transaction.delete(&place.scope(INGESTION_JOB), &done.record.id, None).await?;
        }
        transaction.delete(&scope, &data_source_id(base, id), None).await?;
        transaction.delete(&place.scope(DOCUMENTS), &data_source_id(base, id), None).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Takes a data source's chunks out of the index, unless that went with its collection.
    async fn empty(&self, place: &Place, base: &str, id: &str) -> Result<(), JobError> {
        let knowledge_base = self.0.knowledge_base(place, base).await.map_err(failed)?;
        let context = self.0.background(place, "knowledge-base");
        let storage = &knowledge_base.body.storage;
        if self.0.missing_collection(&context, storage).await.map_err(failed)?.is_some() {
            return Ok(());
        }
        let index = self.0.index_of_job(place, &knowledge_base.body).await?;
        let emptied = index.delete_data_source(base, id).await;
        emptied.map(drop).map_err(|error| JobError::Retry(format!("the index can't be emptied: {error}")))
    }

    async fn stop(
        &self,
        place: &Place,
        base: &str,
        id: &str,
        jobs: &[IngestionJobRecord],
    ) -> Result<(), JobError> {
        for running in jobs {
            let work = crate::ingestion::SyncJob {
                place: place.clone(),
                knowledge_base: base.to_owned(),
                data_source: id.to_owned(),
                ingestion_job: running.id.clone(),
            };
            if self.store().request_stop(&work.store_id()).await? {
                while self.store().job(&work.store_id()).await?.is_some_and(|job| !job.status.is_final()) {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
        Ok(())
    }
}
