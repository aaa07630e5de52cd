//! Documents put in or deleted one by one, without a sync.

use std::collections::BTreeMap;

use craton_api_bedrock_agent::DocumentStatus;
use craton_store::jobs::{Ended, Handler, Job, JobContext, JobError};
use craton_store::{StoreError, Transaction, crash};
use craton_vectors::{MetadataValue, SourceLocation};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, from_api, from_store};
use super::parse::{Content, MetadataContent};
use super::pipeline::{Cut, Pipeline};
use super::source::{Listed, S3Source, Source as _, read_object};
use super::table::{Document, Table, Waiting};
use crate::KnowledgeBases;
use crate::records::{DataSourceRecord, KnowledgeBaseRecord, Place};

/// Documents worked off together.
const BATCH: i64 = 16;

/// Work on the waiting documents of a data source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DirectJob {
    pub(crate) place: Place,
    pub(crate) knowledge_base: String,
    pub(crate) data_source: String,
}

/// What was sent of a document; bytes are kept beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) source: RequestSource,
    pub(crate) metadata: RequestMetadata,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RequestSource {
    Inline {
        media_type: String,
    },
    /// A custom document's bytes are in an object.
    Object {
        uri: String,
    },
    /// A document of an S3 data source, with its metadata file beside it.
    Own,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RequestMetadata {
    None,
    Given(BTreeMap<String, MetadataValue>),
    File { uri: String },
}

pub(crate) struct DirectHandler(pub(crate) KnowledgeBases);

#[async_trait::async_trait]
impl Handler for DirectHandler {
    async fn run(&self, job: &JobContext) -> Result<(), JobError> {
        let of: DirectJob = job.payload()?;
        let service = &self.0;
        // A knowledge base that is gone has no documents that wait.
        let base = service.knowledge_base(&of.place, &of.knowledge_base).await;
        let Some(base) = unless_gone(base)? else { return Ok(()) };
        let source = service.data_source(&of.place, &of.knowledge_base, &of.data_source).await;
        let Some(source) = unless_gone(source)? else { return Ok(()) };
        let mut pipeline = Pipeline::open(service, &of.place, (&base, &source)).await?;
        pipeline.embedder.operation = "IngestKnowledgeBaseDocuments";
        let direct = Direct { service, job, of: &of, pipeline, base, source };
        while direct.put_some().await? {}
        while direct.remove_some().await? {}
        Ok(())
    }

    /// Documents whose job failed for good say why. Those that came later have a job of their own.
    async fn ended(&self, transaction: &mut Transaction, job: &Job, ended: &Ended) -> Result<(), StoreError> {
        let Ended::Failed(reason) = ended else { return Ok(()) };
        let of: DirectJob = serde_json::from_value(job.payload.clone())?;
        transaction
            .execute(
                "UPDATE kb_documents SET status = 'FAILED', status_reason = $3, request = NULL, content = NULL \
                 WHERE knowledge_base = $1 AND data_source = $2 AND status IN ('STARTING', 'DELETING') \
                 AND updated_ms <= $4",
                &craton_store::values![&of.knowledge_base, &of.data_source, reason, job.created_ms],
            )
            .await
            .map(drop)
    }
}

/// None for what is not there any more. Where that can't be told, the job is tried again.
fn unless_gone<T>(found: Result<T, ApiError>) -> Result<Option<T>, JobError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code == "ResourceNotFoundException" => Ok(None),
        Err(error) => Err(from_api(error)),
    }
}

struct Direct<'a> {
    service: &'a KnowledgeBases,
    job: &'a JobContext,
    of: &'a DirectJob,
    pipeline: Pipeline,
    base: KnowledgeBaseRecord,
    source: DataSourceRecord,
}

impl Direct<'_> {
    fn table(&self) -> Table<'_> {
        Table { knowledge_base: &self.of.knowledge_base, data_source: &self.of.data_source }
    }

    /// Puts some of the waiting documents in. False when none waited.
    async fn put_some(&self) -> Result<bool, JobError> {
        self.job.check()?;
        let waiting = self.table().in_status(self.job.store(), DocumentStatus::Starting, BATCH).await;
        let waiting = waiting.map_err(from_store)?;
        if waiting.is_empty() {
            return Ok(false);
        }
        let (mut rows, mut cuts, mut of_cut) = (Vec::new(), Vec::new(), Vec::new());
        for document in &waiting {
            let mut row = Document {
                settings: self.pipeline.settings.clone(),
                ingestion_job: None,
                updated_ms: self.service.parts.clock.now_ms(),
                ..document.before.clone()
            };
            match self.read(document).await {
                Ok((listed, content_hash, cut)) => {
                    (row.fingerprint, row.metadata_fingerprint) =
                        (listed.fingerprint, listed.metadata_fingerprint);
                    row.content_hash = content_hash;
                    row.chunks = i64::try_from(cut.len()).unwrap_or(i64::MAX);
                    set(
                        &mut row,
                        (cut.len() == 0).then_some((DocumentStatus::Ignored, "it has no text".into())),
                    );
                    of_cut.push(rows.len());
                    cuts.push(cut);
                }
                Err(Failure::Document(reason)) => set(&mut row, Some((DocumentStatus::Failed, reason))),
                Err(Failure::Job(error)) => return Err(error),
            }
            rows.push(row);
        }
        let refused = self.pipeline.embed(&mut cuts).await?;
        let mut embedded = Vec::with_capacity(cuts.len());
        for ((cut, reason), row) in cuts.into_iter().zip(refused).zip(of_cut) {
            match reason {
                Some(reason) => set(&mut rows[row], Some((DocumentStatus::Failed, reason))),
                None => embedded.push(cut),
            }
        }
        crash::point("kb.direct-before-index");
        self.pipeline.put(embedded).await?;
        crash::point("kb.direct-indexed");
        self.record(&waiting, &rows).await?;
        Ok(true)
    }

    /// Writes the rows of documents that were not put in again meanwhile.
    async fn record(&self, waiting: &[Waiting], rows: &[Document]) -> Result<(), JobError> {
        let mut transaction = self.job.store().begin().await.map_err(from_store)?;
        self.job.fence(&mut transaction).await?;
        for (waiting, row) in waiting.iter().zip(rows) {
            if self.table().still_waits(&mut transaction, waiting).await.map_err(from_store)? {
                self.table().put(&mut transaction, row).await.map_err(from_store)?;
            }
        }
        transaction.commit().await.map_err(from_store)
    }

    async fn read(&self, waiting: &Waiting) -> Result<(Listed, String, Cut), Failure> {
        let document = &waiting.before.document;
        let request: Request = serde_json::from_str(&waiting.request)
            .map_err(|_| Failure::document("its request is not readable"))?;
        let limit = self.service.parts.config.max_document_bytes;
        let mut listed = Listed {
            location: SourceLocation::Custom(document.clone()),
            fingerprint: String::new(),
            bytes: 0,
            metadata_fingerprint: String::new(),
        };
        let (bytes, hint) = match &request.source {
            RequestSource::Own => {
                let s3 = self.source.body.configuration.s3_configuration.as_ref();
                let s3 = s3.ok_or_else(|| Failure::document("its data source is not an S3 bucket"))?;
                let source = S3Source::new(self.service.parts.objects.clone(), s3, limit)
                    .map_err(|error| Failure::document(error.message))?;
                // Before it is looked for: whether it is there is told to who may read it.
                self.service.check_uri(&self.of.place, &self.base, document).await?;
                let listed = source.look_up(document).await?;
                self.service.check_metadata(&self.of.place, &self.base, &listed).await?;
                let content = source.read(&listed).await?;
                return self.cut(listed, content).await;
            }
            RequestSource::Inline { media_type } => {
                (waiting.content.clone().unwrap_or_default().into(), media_type.clone())
            }
            RequestSource::Object { uri } => (self.read_named(uri).await?, uri.clone()),
        };
        let metadata = match request.metadata {
            RequestMetadata::None => MetadataContent::None,
            RequestMetadata::Given(attributes) => MetadataContent::Given(attributes),
            RequestMetadata::File { uri } => MetadataContent::File(self.read_named(&uri).await?),
        };
        listed.bytes = bytes.len() as u64;
        self.cut(listed, Content { bytes, hint, metadata }).await
    }

    /// An object that a client named, in whatever bucket: the knowledge base's role must be let read it.
    async fn read_named(&self, uri: &str) -> Result<bytes::Bytes, Failure> {
        let parts = &self.service.parts;
        self.service.check_uri(&self.of.place, &self.base, uri).await?;
        read_object(&*parts.objects, uri, parts.config.max_document_bytes).await
    }

    async fn cut(&self, listed: Listed, content: Content) -> Result<(Listed, String, Cut), Failure> {
        let parsed = self.pipeline.parse(content).await?;
        let cut = self.pipeline.cut(&listed.location, &parsed).await?;
        Ok((listed, parsed.content_hash, cut))
    }

    /// Takes some of the deleted documents out. False when none was.
    async fn remove_some(&self) -> Result<bool, JobError> {
        self.job.check()?;
        let deleted = self.table().in_status(self.job.store(), DocumentStatus::Deleting, BATCH).await;
        let deleted = deleted.map_err(from_store)?;
        if deleted.is_empty() {
            return Ok(false);
        }
        let names: Vec<&str> = deleted.iter().map(|waiting| waiting.before.document.as_str()).collect();
        self.pipeline.remove(&names).await?;
        crash::point("kb.direct-removed");
        let mut transaction = self.job.store().begin().await.map_err(from_store)?;
        self.job.fence(&mut transaction).await?;
        for waiting in &deleted {
            if self.table().still_waits(&mut transaction, waiting).await.map_err(from_store)? {
                self.table().remove(&mut transaction, &waiting.before.document).await.map_err(from_store)?;
            }
        }
        transaction.commit().await.map_err(from_store)?;
        Ok(true)
    }
}

/// Gives a row its end: indexed, or what went wrong.
fn set(row: &mut Document, wrong: Option<(DocumentStatus, String)>) {
    (row.status, row.status_reason) = match wrong {
        None => (DocumentStatus::Indexed, None),
        Some((status, reason)) => (status, Some(reason)),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told_from_what_can_not_be_looked_up() {
        assert!(matches!(unless_gone(Ok(1)), Ok(Some(1))));
        assert!(matches!(unless_gone::<()>(Err(ApiError::not_found("gone"))), Ok(None)));
        assert!(matches!(unless_gone::<()>(Err(ApiError::no_space())), Err(JobError::Retry(_))));
    }
}
