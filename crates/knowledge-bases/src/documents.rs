//! IngestKnowledgeBaseDocuments, GetKnowledgeBaseDocuments, ListKnowledgeBaseDocuments, DeleteKnowledgeBaseDocuments.

use std::collections::BTreeMap;

use bytes::Bytes;
use craton_api_bedrock_agent as api;
use craton_core::RequestContext;
use craton_store::jobs::NewJob;
use craton_store::{Idempotency, Transaction};
use craton_vectors::MetadataValue;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde_json::{Value, json};

use crate::KnowledgeBases;
use crate::error::{from_store, internal};
use crate::ingestion::parse::content_hash;
use crate::ingestion::source::split_uri;
use crate::ingestion::table::{Document, Table};
use crate::ingestion::{DIRECT, DirectJob, Request, RequestMetadata, RequestSource};
use crate::records::{DOCUMENTS, DataSourceRecord, Place, data_source_id};

/// Documents in one answer when the client names no number.
const PAGE: usize = 100;
/// How long a request with a token is known, in milliseconds.
const TOKENS_MS: i64 = 24 * 60 * 60 * 1000;

/// A document as it is kept until its turn.
struct Put {
    document: String,
    request: Request,
    content: Option<Bytes>,
}

impl Put {
    /// What tells it from another.
    fn asked(&self) -> Value {
        json!([self.document, self.request, self.content.as_deref().map(content_hash)])
    }
}

impl KnowledgeBases {
    pub async fn ingest_knowledge_base_documents(
        &self,
        context: &RequestContext,
        input: api::IngestKnowledgeBaseDocumentsRequest,
    ) -> Result<api::IngestKnowledgeBaseDocumentsResponse, ApiError> {
        let (place, base) = (Place::of(context), input.knowledge_base_id);
        self.active_knowledge_base(&place, &base).await?;
        let source = self.data_source(&place, &base, &input.data_source_id).await?;
        let documents: Vec<Put> =
            input.documents.into_iter().map(|document| put(&source, document)).collect::<Result<_, _>>()?;
        let table = Table { knowledge_base: &base, data_source: &source.id };
        let now_ms = self.parts.clock.now_ms();
        let detail = |document: &Put, at_ms: i64| {
            let status = api::DocumentStatus::Starting;
            detail(&base, &source, &document.document, (status, None, Some(at_ms)))
        };
        let details = |at_ms: i64| api::IngestKnowledgeBaseDocumentsResponse {
            document_details: Some(documents.iter().map(|document| detail(document, at_ms)).collect()),
        };
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let asked: Vec<Value> = documents.iter().map(Put::asked).collect();
        let request = json!(["put", base, source.id, asked]);
        let token = Idempotency::with(input.client_token, &request, json!(now_ms));
        if let Some(first) = self.repeated(&mut transaction, &place, (&base, &source.id), token).await? {
            return Ok(details(first.as_i64().unwrap_or(now_ms)));
        }
        for document in &documents {
            let request = serde_json::to_string(&document.request).map_err(|error| internal(&error))?;
            let waits = table.wait(
                &mut transaction,
                &document.document,
                (&request, document.content.as_deref()),
                now_ms,
            );
            waits.await.map_err(from_store)?;
        }
        transaction.enqueue(self.direct_job(&place, &base, &source.id)?).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)?;
        Ok(details(now_ms))
    }

    /// What a request was answered that was made before, with the same token. One that was not is on record now.
    async fn repeated(
        &self,
        transaction: &mut Transaction,
        place: &Place,
        (base, source): (&str, &str),
        token: Option<Idempotency>,
    ) -> Result<Option<Value>, ApiError> {
        let Some(token) = token else { return Ok(None) };
        let (scope, id, now_ms) =
            (place.scope(DOCUMENTS), data_source_id(base, source), self.parts.clock.now_ms());
        transaction.forget_tokens(&scope, &id, now_ms - TOKENS_MS).await.map_err(from_store)?;
        transaction.claim(&scope, &id, &token, now_ms).await.map_err(from_store)
    }

    fn direct_job(&self, place: &Place, base: &str, source: &str) -> Result<NewJob, ApiError> {
        let job = DirectJob {
            place: place.clone(),
            knowledge_base: base.to_owned(),
            data_source: source.to_owned(),
        };
        let payload = serde_json::to_value(&job).map_err(|error| internal(&error))?;
        Ok(NewJob::new(self.parts.ids.uuid(), DIRECT, payload, self.parts.clock.now_ms()))
    }

    pub async fn get_knowledge_base_documents(
        &self,
        context: &RequestContext,
        input: api::GetKnowledgeBaseDocumentsRequest,
    ) -> Result<api::GetKnowledgeBaseDocumentsResponse, ApiError> {
        let (place, base) = (Place::of(context), input.knowledge_base_id);
        let source = self.data_source(&place, &base, &input.data_source_id).await?;
        let table = Table { knowledge_base: &base, data_source: &source.id };
        let mut details = Vec::new();
        for identifier in input.document_identifiers {
            let name = identified(&source, &identifier)?;
            let found = table.get(&self.parts.store, &name).await.map_err(from_store)?;
            details.push(match found {
                Some(found) => row_detail(&base, &source, found),
                None => detail(&base, &source, &name, (api::DocumentStatus::NotFound, None, None)),
            });
        }
        Ok(api::GetKnowledgeBaseDocumentsResponse { document_details: Some(details) })
    }

    pub async fn list_knowledge_base_documents(
        &self,
        context: &RequestContext,
        input: api::ListKnowledgeBaseDocumentsRequest,
    ) -> Result<api::ListKnowledgeBaseDocumentsResponse, ApiError> {
        let (place, base) = (Place::of(context), input.knowledge_base_id);
        let source = self.data_source(&place, &base, &input.data_source_id).await?;
        let table = Table { knowledge_base: &base, data_source: &source.id };
        let size = input.max_results.and_then(|count| usize::try_from(count).ok()).unwrap_or(PAGE).max(1);
        let after = match &input.next_token {
            Some(token) => hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
            None => Some(String::new()),
        };
        let after = after.ok_or_else(|| ApiError::validation("The pagination token is not valid"))?;
        let limit = i64::try_from(size + 1).unwrap_or(i64::MAX);
        let mut rows = table.page(&self.parts.store, &after, limit).await.map_err(from_store)?;
        let more = rows.len() > size;
        rows.truncate(size);
        let next_token = rows.last().filter(|_| more).map(|last| hex::encode(&last.document));
        Ok(api::ListKnowledgeBaseDocumentsResponse {
            document_details: rows.into_iter().map(|row| row_detail(&base, &source, row)).collect(),
            next_token,
        })
    }

    pub async fn delete_knowledge_base_documents(
        &self,
        context: &RequestContext,
        input: api::DeleteKnowledgeBaseDocumentsRequest,
    ) -> Result<api::DeleteKnowledgeBaseDocumentsResponse, ApiError> {
        let (place, base) = (Place::of(context), input.knowledge_base_id);
        self.active_knowledge_base(&place, &base).await?;
        let source = self.data_source(&place, &base, &input.data_source_id).await?;
        let table = Table { knowledge_base: &base, data_source: &source.id };
        let now_ms = self.parts.clock.now_ms();
        let names: Vec<String> = input
            .document_identifiers
            .iter()
            .map(|identifier| identified(&source, identifier))
            .collect::<Result<_, _>>()?;
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let mut found = Vec::with_capacity(names.len());
        for name in &names {
            let deleting = api::DocumentStatus::Deleting;
            let there = table.set_status(&mut transaction, name, deleting, now_ms).await;
            found.push(there.map_err(from_store)?);
        }
        let request = json!(["delete", base, source.id, names]);
        let token = Idempotency::with(input.client_token, &request, json!([now_ms, found]));
        let repeated = self.repeated(&mut transaction, &place, (&base, &source.id), token).await?;
        let (at_ms, found) = match repeated.map(serde_json::from_value) {
            Some(first) => first.map_err(|error| internal(&error))?,
            None => {
                transaction.enqueue(self.direct_job(&place, &base, &source.id)?).await.map_err(from_store)?;
                transaction.commit().await.map_err(from_store)?;
                (now_ms, found)
            }
        };
        let details = names.iter().zip(found).map(|(name, found): (&String, bool)| {
            let status = if found { api::DocumentStatus::Deleting } else { api::DocumentStatus::NotFound };
            detail(&base, &source, name, (status, None, found.then_some(at_ms)))
        });
        Ok(api::DeleteKnowledgeBaseDocumentsResponse { document_details: Some(details.collect()) })
    }
}

/// Refuses documents of another kind than their data source.
fn check_kind(source: &DataSourceRecord, kind: api::ContentDataSourceType) -> Result<(), ApiError> {
    if kind.as_str() == source.body.configuration.r#type.as_str() {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "The documents are of type {}, but DataSource {} is of type {}.",
        kind.as_str(),
        source.id,
        source.body.configuration.r#type.as_str()
    )))
}

fn object_uri(uri: &str) -> Result<String, ApiError> {
    match split_uri(uri) {
        Some(_) => Ok(uri.to_owned()),
        None => Err(ApiError::validation(format!("{uri} is not an object's URI (s3://bucket/key)."))),
    }
}

fn identified(source: &DataSourceRecord, identifier: &api::DocumentIdentifier) -> Result<String, ApiError> {
    check_kind(source, identifier.data_source_type)?;
    match (&identifier.custom, &identifier.s3) {
        (Some(custom), None) => Ok(custom.id.clone()),
        (None, Some(s3)) => object_uri(&s3.uri),
        _ => Err(ApiError::validation("A document identifier needs the field of its dataSourceType.")),
    }
}

fn put(source: &DataSourceRecord, document: api::KnowledgeBaseDocument) -> Result<Put, ApiError> {
    let api::KnowledgeBaseDocument { metadata, content } = document;
    check_kind(source, content.data_source_type)?;
    let metadata = metadata.map_or(Ok(RequestMetadata::None), request_metadata)?;
    match (content.custom, content.s3) {
        (Some(custom), None) => {
            let (source, content) = custom_content(&custom)?;
            let document = custom.custom_document_identifier.id;
            Ok(Put { document, request: Request { source, metadata }, content })
        }
        (None, Some(s3)) => {
            if metadata != RequestMetadata::None {
                return Err(ApiError::validation(
                    "Metadata of a document in an S3 data source is in the .metadata.json file beside it.",
                ));
            }
            let document = object_uri(&s3.s3_location.uri)?;
            Ok(Put { document, request: Request { source: RequestSource::Own, metadata }, content: None })
        }
        _ => Err(ApiError::validation("A document needs the content of its dataSourceType.")),
    }
}

fn custom_content(custom: &api::CustomContent) -> Result<(RequestSource, Option<Bytes>), ApiError> {
    let missing = |name: &str| {
        ApiError::validation(format!(
            "{name} is required when the sourceType is {}.",
            custom.source_type.as_str()
        ))
    };
    if custom.source_type == api::CustomSourceType::S3Location {
        let location = custom.s3_location.as_ref().ok_or_else(|| missing("s3Location"))?;
        return Ok((RequestSource::Object { uri: object_uri(&location.uri)? }, None));
    }
    let inline = custom.inline_content.as_ref().ok_or_else(|| missing("inlineContent"))?;
    match (&inline.r#type, &inline.text_content, &inline.byte_content) {
        (api::InlineContentType::Text, Some(text), _) => {
            let source = RequestSource::Inline { media_type: "text/plain".into() };
            Ok((source, Some(Bytes::from(text.data.clone()))))
        }
        (api::InlineContentType::Byte, _, Some(bytes)) => {
            let source = RequestSource::Inline { media_type: bytes.mime_type.clone() };
            Ok((source, Some(bytes.data.0.clone())))
        }
        (kind, _, _) => Err(ApiError::validation(format!(
            "The inlineContent of type {} needs the field of that type.",
            kind.as_str()
        ))),
    }
}

fn request_metadata(metadata: api::DocumentMetadata) -> Result<RequestMetadata, ApiError> {
    if metadata.access_control_list.is_some() {
        return Err(ApiError::validation("accessControlList is not served by this release of Craton."));
    }
    match metadata.r#type {
        api::MetadataSourceType::S3Location => {
            let location = metadata.s3_location.ok_or_else(|| {
                ApiError::validation("s3Location is required for metadata of type S3_LOCATION.")
            })?;
            Ok(RequestMetadata::File { uri: object_uri(&location.uri)? })
        }
        api::MetadataSourceType::InLineAttribute => {
            let mut attributes = BTreeMap::new();
            for api::MetadataAttribute { key, value } in metadata.inline_attributes.unwrap_or_default() {
                let read = match value.r#type {
                    api::MetadataValueType::Boolean => value.boolean_value.map(MetadataValue::Boolean),
                    api::MetadataValueType::Number => value.number_value.map(MetadataValue::Number),
                    api::MetadataValueType::String => value.string_value.map(MetadataValue::Text),
                    api::MetadataValueType::StringList => value.string_list_value.map(MetadataValue::List),
                };
                let read = read.ok_or_else(|| {
                    ApiError::validation(format!("The metadata attribute {key} has no value of its type."))
                })?;
                attributes.insert(key, read);
            }
            Ok(RequestMetadata::Given(attributes))
        }
    }
}

fn row_detail(base: &str, source: &DataSourceRecord, row: Document) -> api::KnowledgeBaseDocumentDetail {
    let Document { document, status, status_reason, updated_ms, .. } = row;
    detail(base, source, &document, (status, status_reason, Some(updated_ms)))
}

fn detail(
    base: &str,
    source: &DataSourceRecord,
    document: &str,
    (status, status_reason, updated_ms): (api::DocumentStatus, Option<String>, Option<i64>),
) -> api::KnowledgeBaseDocumentDetail {
    let is_s3 = source.body.configuration.r#type == api::DataSourceType::S3;
    let custom = (!is_s3).then(|| api::CustomDocumentIdentifier { id: document.to_owned() });
    let s3 = is_s3.then(|| api::S3Location { uri: document.to_owned() });
    let kind = if is_s3 { api::ContentDataSourceType::S3 } else { api::ContentDataSourceType::Custom };
    api::KnowledgeBaseDocumentDetail {
        knowledge_base_id: base.to_owned(),
        data_source_id: source.id.clone(),
        status,
        identifier: api::DocumentIdentifier { data_source_type: kind, s3, custom },
        status_reason,
        updated_at: updated_ms.map(Timestamp::from_ms),
    }
}
