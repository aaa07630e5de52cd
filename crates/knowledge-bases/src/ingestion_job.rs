//! StartIngestionJob, GetIngestionJob, ListIngestionJobs, StopIngestionJob.

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::jobs::NewJob;
use craton_store::{Created, Idempotency, NewRecord, StoreError};
use craton_wire::ApiError;
use serde_json::json;

use crate::KnowledgeBases;
use crate::error::{from_store, internal, missing};
use crate::ingestion::{SYNC, SyncJob};
use crate::records::{
    ID_LENGTH, INGESTION_JOB, IngestionJobRecord, Place, Statistics, StoredIngestionJob, bad_page,
    data_source_id, ingestion_job_id, reasons,
};

/// Times a sync may begin: each crash of the server costs one.
const ATTEMPTS: u32 = 10;

impl KnowledgeBases {
    pub async fn start_ingestion_job(
        &self,
        context: &RequestContext,
        input: api::StartIngestionJobRequest,
    ) -> Result<api::StartIngestionJobResponse, ApiError> {
        let (place, base, source) = (Place::of(context), input.knowledge_base_id, input.data_source_id);
        self.active_knowledge_base(&place, &base).await?;
        let found = self.data_source(&place, &base, &source).await?;
        if found.body.status != api::DataSourceStatus::Available {
            return Err(ApiError::conflict(format!("DataSource {source} is being deleted.")));
        }
        if found.body.configuration.r#type == api::DataSourceType::Custom {
            return Err(ApiError::validation(format!(
                "DataSource {source} is of type CUSTOM: put documents into it with IngestKnowledgeBaseDocuments."
            )));
        }
        let id = self.parts.ids.short(ID_LENGTH);
        let now_ms = self.parts.clock.now_ms();
        let body = StoredIngestionJob {
            description: input.description.clone(),
            status: api::IngestionJobStatus::Starting,
            statistics: Statistics::default(),
            failure_reasons: Vec::new(),
        };
        let record = NewRecord {
            id: ingestion_job_id(&base, &source, &id),
            name: None,
            body: serde_json::to_value(&body).map_err(|error| internal(&error))?,
            now_ms,
            idempotency: Idempotency::answering(
                input.client_token,
                &json!([base, source, input.description]),
                &id,
            ),
            tags: None,
        };
        let job = SyncJob {
            place: place.clone(),
            knowledge_base: base.clone(),
            data_source: source.clone(),
            ingestion_job: id.clone(),
        };
        let payload = serde_json::to_value(&job).map_err(|error| internal(&error))?;
        let key = format!("{}/{}/{}", place.account, place.region, data_source_id(&base, &source));
        let work = NewJob::new(job.store_id(), SYNC, payload, now_ms).exclusive(key);
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let scope = place.scope(INGESTION_JOB);
        let id = match transaction.create(&scope, record).await.map_err(from_store)? {
            Created::New(_) => {
                let enqueued = transaction.enqueue(NewJob { max_attempts: ATTEMPTS, ..work }).await;
                enqueued.map_err(|error| match error {
                    StoreError::JobActive { .. } => ApiError::conflict(format!(
                        "An ingestion job of DataSource {source} is in progress. Wait for it to finish, or stop it."
                    )),
                    other => from_store(other),
                })?;
                transaction.commit().await.map_err(from_store)?;
                id
            }
            Created::Repeated(first) => {
                drop(transaction);
                first.as_str().unwrap_or_default().to_owned()
            }
        };
        let started = self.ingestion_job(&place, &base, &source, &id).await?;
        Ok(api::StartIngestionJobResponse { ingestion_job: view(&base, &source, &started) })
    }

    pub(crate) async fn ingestion_job(
        &self,
        place: &Place,
        base: &str,
        source: &str,
        id: &str,
    ) -> Result<IngestionJobRecord, ApiError> {
        self.find(&place.scope(INGESTION_JOB), &ingestion_job_id(base, source, id)).await
    }

    pub async fn get_ingestion_job(
        &self,
        context: &RequestContext,
        input: api::GetIngestionJobRequest,
    ) -> Result<api::GetIngestionJobResponse, ApiError> {
        let (place, base, source) = (Place::of(context), input.knowledge_base_id, input.data_source_id);
        self.data_source(&place, &base, &source).await?;
        let found = self.ingestion_job(&place, &base, &source, &input.ingestion_job_id).await?;
        Ok(api::GetIngestionJobResponse { ingestion_job: view(&base, &source, &found) })
    }

    pub async fn list_ingestion_jobs(
        &self,
        context: &RequestContext,
        input: api::ListIngestionJobsRequest,
    ) -> Result<api::ListIngestionJobsResponse, ApiError> {
        let (place, base, source) = (Place::of(context), input.knowledge_base_id, input.data_source_id);
        self.data_source(&place, &base, &source).await?;
        let prefix = ingestion_job_id(&base, &source, "");
        let mut all: Vec<IngestionJobRecord> = self.all(&place.scope(INGESTION_JOB), &prefix).await?;
        for filter in input.filters.unwrap_or_default() {
            all.retain(|found| filter.values.iter().any(|value| value == found.body.status.as_str()));
        }
        let by_status = |found: &IngestionJobRecord| match &input.sort_by {
            Some(by) if by.attribute == api::IngestionJobSortByAttribute::Status => {
                found.body.status.as_str().to_owned()
            }
            _ => String::new(),
        };
        // The newest first, unless asked otherwise; the key is unique, for pages.
        let ascending = input.sort_by.as_ref().is_some_and(|by| by.order == api::SortOrder::Ascending);
        let key = |found: &IngestionJobRecord| {
            let text = format!("{} {:020} {}", by_status(found), found.record.created_ms, found.id);
            if ascending { text } else { text.chars().map(descending).collect() }
        };
        all.sort_by_cached_key(key);
        let page = PageRequest::of(input.next_token, input.max_results).cut(all, key).map_err(bad_page)?;
        let summary = |found: IngestionJobRecord| api::IngestionJobSummary {
            knowledge_base_id: base.clone(),
            data_source_id: source.clone(),
            ingestion_job_id: found.id.clone(),
            description: found.body.description.clone(),
            status: found.body.status,
            started_at: found.created(),
            updated_at: found.updated(),
            text_ready_at: None,
            statistics: Some(found.body.statistics.to_api()),
        };
        Ok(api::ListIngestionJobsResponse {
            ingestion_job_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    pub async fn stop_ingestion_job(
        &self,
        context: &RequestContext,
        input: api::StopIngestionJobRequest,
    ) -> Result<api::StopIngestionJobResponse, ApiError> {
        let (place, base, source) = (Place::of(context), input.knowledge_base_id, input.data_source_id);
        self.data_source(&place, &base, &source).await?;
        let id = input.ingestion_job_id;
        let scope = place.scope(INGESTION_JOB);
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let mut found: IngestionJobRecord =
            self.hold(&mut transaction, &scope, &ingestion_job_id(&base, &source, &id)).await?;
        let job = SyncJob {
            place: place.clone(),
            knowledge_base: base.clone(),
            data_source: source.clone(),
            ingestion_job: id.clone(),
        };
        if !transaction.request_stop(&job.store_id()).await.map_err(from_store)? {
            return Err(ApiError::conflict(format!(
                "Ingestion Job {id} can't be stopped: its status is {}.",
                found.body.status.as_str()
            )));
        }
        found.body.status = api::IngestionJobStatus::Stopping;
        let now_ms = self.parts.clock.now_ms();
        transaction.update(&scope, &found.changed()?, None, now_ms).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)?;
        let stopping = self.ingestion_job(&place, &base, &source, &id).await;
        let stopping = stopping.map_err(|_| missing(INGESTION_JOB, &id))?;
        Ok(api::StopIngestionJobResponse { ingestion_job: view(&base, &source, &stopping) })
    }
}

/// Turns the order of the printable ASCII characters around.
fn descending(letter: char) -> char {
    match letter {
        ' '..='~' => char::from(b' ' + b'~' - letter as u8),
        other => other,
    }
}

fn view(knowledge_base: &str, data_source: &str, found: &IngestionJobRecord) -> api::IngestionJob {
    api::IngestionJob {
        knowledge_base_id: knowledge_base.to_owned(),
        data_source_id: data_source.to_owned(),
        ingestion_job_id: found.id.clone(),
        description: found.body.description.clone(),
        status: found.body.status,
        statistics: Some(found.body.statistics.to_api()),
        failure_reasons: reasons(&found.body.failure_reasons),
        started_at: found.created(),
        updated_at: found.updated(),
        text_ready_at: None,
    }
}
