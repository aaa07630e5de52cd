//! What is stored of a knowledge base, a data source and an ingestion job.

use craton_api_bedrock_agent as api;
pub(crate) use craton_store::Place;
use craton_store::{Range, Record, Scope, Transaction};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::KnowledgeBases;
use crate::error::{from_store, internal, missing};

pub(crate) const KNOWLEDGE_BASE: &str = "knowledge-base";
pub(crate) const DATA_SOURCE: &str = "data-source";
pub(crate) const INGESTION_JOB: &str = "ingestion-job";
/// Tokens of requests that put documents into a data source or take them out are kept under this.
pub(crate) const DOCUMENTS: &str = "data-source-documents";

/// Length of all ids here.
pub(crate) const ID_LENGTH: usize = 10;

/// A knowledge base's ARN.
pub(crate) fn arn(place: &Place, id: &str) -> String {
    place.bedrock_arn(format!("knowledge-base/{id}"))
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredKnowledgeBase {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) role_arn: String,
    pub(crate) configuration: api::KnowledgeBaseConfiguration,
    pub(crate) storage: api::StorageConfiguration,
    pub(crate) status: api::KnowledgeBaseStatus,
    #[serde(default)]
    pub(crate) failure_reasons: Vec<String>,
    /// Length of its vectors, settled when it was created.
    pub(crate) dimensions: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredDataSource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) configuration: api::DataSourceConfiguration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ingestion: Option<api::VectorIngestionConfiguration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<api::ServerSideEncryptionConfiguration>,
    pub(crate) deletion: api::DataDeletionPolicy,
    pub(crate) status: api::DataSourceStatus,
    #[serde(default)]
    pub(crate) failure_reasons: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredIngestionJob {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    pub(crate) status: api::IngestionJobStatus,
    pub(crate) statistics: Statistics,
    #[serde(default)]
    pub(crate) failure_reasons: Vec<String>,
}

/// The eight counters of an ingestion job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Statistics {
    /// Documents the source has, changed or not.
    pub scanned: i64,
    /// Metadata files the source has.
    pub metadata_scanned: i64,
    pub new: i64,
    pub modified: i64,
    /// Metadata files that were changed, added to or removed from documents that were there before.
    pub metadata_modified: i64,
    pub deleted: i64,
    pub failed: i64,
    /// Documents without any text.
    pub skipped: i64,
}

impl Statistics {
    pub(crate) fn to_api(self) -> api::IngestionJobStatistics {
        api::IngestionJobStatistics {
            number_of_documents_scanned: Some(self.scanned),
            number_of_metadata_documents_scanned: Some(self.metadata_scanned),
            number_of_new_documents_indexed: Some(self.new),
            number_of_modified_documents_indexed: Some(self.modified),
            number_of_metadata_documents_modified: Some(self.metadata_modified),
            number_of_documents_deleted: Some(self.deleted),
            number_of_documents_failed: Some(self.failed),
            number_of_documents_skipped: Some(self.skipped),
        }
    }
}

/// A record with its body read.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    /// The last part of the record's id.
    pub(crate) id: String,
    pub(crate) record: Record,
    pub(crate) body: T,
}

impl<T: DeserializeOwned + Serialize> Kept<T> {
    pub(crate) fn read(record: Record) -> Result<Self, ApiError> {
        let body = T::deserialize(&record.body).map_err(|error| internal(&error))?;
        let id = record.id.rsplit_once('/').map_or(record.id.as_str(), |(_, id)| id).to_owned();
        Ok(Self { id, record, body })
    }

    /// The record with this body, to be written back.
    pub(crate) fn changed(&self) -> Result<Record, ApiError> {
        let body = serde_json::to_value(&self.body).map_err(|error| internal(&error))?;
        Ok(Record { body, ..self.record.clone() })
    }

    /// The name without the id of what it is in.
    pub(crate) fn name(&self) -> String {
        let name = self.record.name.as_deref().unwrap_or_default();
        name.split_once('/').map_or(name, |(_, name)| name).to_owned()
    }

    pub(crate) fn created(&self) -> Timestamp {
        Timestamp::from_ms(self.record.created_ms)
    }

    pub(crate) fn updated(&self) -> Timestamp {
        Timestamp::from_ms(self.record.updated_ms)
    }
}

pub(crate) type KnowledgeBaseRecord = Kept<StoredKnowledgeBase>;
pub(crate) type DataSourceRecord = Kept<StoredDataSource>;
pub(crate) type IngestionJobRecord = Kept<StoredIngestionJob>;

pub(crate) fn data_source_id(knowledge_base: &str, id: &str) -> String {
    format!("{knowledge_base}/{id}")
}

pub(crate) fn ingestion_job_id(knowledge_base: &str, data_source: &str, id: &str) -> String {
    format!("{knowledge_base}/{data_source}/{id}")
}

/// Whether two values are the same on the wire.
pub(crate) fn same<T: Serialize>(a: &T, b: &T) -> bool {
    serde_json::to_value(a).ok() == serde_json::to_value(b).ok()
}

/// Text or nothing, for optional lists of AWS.
pub(crate) fn reasons(reasons: &[String]) -> Option<Vec<String>> {
    (!reasons.is_empty()).then(|| reasons.to_vec())
}

pub(crate) fn bad_page(error: craton_core::PageError) -> ApiError {
    ApiError::validation(error.to_string())
}

impl KnowledgeBases {
    pub(crate) async fn knowledge_base(
        &self,
        place: &Place,
        id: &str,
    ) -> Result<KnowledgeBaseRecord, ApiError> {
        self.find(&place.scope(KNOWLEDGE_BASE), id).await
    }

    pub(crate) async fn data_source(
        &self,
        place: &Place,
        knowledge_base: &str,
        id: &str,
    ) -> Result<DataSourceRecord, ApiError> {
        self.knowledge_base(place, knowledge_base).await?;
        self.find(&place.scope(DATA_SOURCE), &data_source_id(knowledge_base, id)).await
    }

    pub(crate) async fn find<T: DeserializeOwned + Serialize>(
        &self,
        scope: &Scope,
        id: &str,
    ) -> Result<Kept<T>, ApiError> {
        let record = self.parts.store.get(scope, id).await.map_err(from_store)?;
        Kept::read(record.ok_or_else(|| missing(scope.kind, id))?)
    }

    pub(crate) async fn all<T: DeserializeOwned + Serialize>(
        &self,
        scope: &Scope,
        prefix: &str,
    ) -> Result<Vec<Kept<T>>, ApiError> {
        let range = Range { prefix: prefix.to_owned(), ..Range::default() };
        let records = self.parts.store.list(scope, &range).await.map_err(from_store)?;
        records.into_iter().map(Kept::read).collect()
    }

    /// The record, kept from changing until the transaction ends.
    pub(crate) async fn hold<T: DeserializeOwned + Serialize>(
        &self,
        transaction: &mut Transaction,
        scope: &Scope,
        id: &str,
    ) -> Result<Kept<T>, ApiError> {
        let record = transaction.get(scope, id).await.map_err(from_store)?;
        Kept::read(record.ok_or_else(|| missing(scope.kind, id))?)
    }
}
