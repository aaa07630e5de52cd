//! IngestKnowledgeBaseDocuments, GetKnowledgeBaseDocuments, ListKnowledgeBaseDocuments, DeleteKnowledgeBaseDocuments.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use craton_api_bedrock_agent as api;
use craton_core::RequestContext;
use craton_objects::split_uri;
use craton_store::jobs::NewJob;
use craton_store::{Idempotency, Transaction};
use craton_vectors::MetadataValue;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde_json::{Value, json};

use crate::error::{from_store, internal};
use crate::ingestion::metadata::is_reserved;
use crate::ingestion::parse::content_hash;
use crate::ingestion::table::{Document, Table};
use crate::ingestion::{DIRECT, DirectJob, Request, RequestMetadata, RequestSource};
use crate::records::{DOCUMENTS, DataSourceRecord, Place, data_source_id};
use crate::{KnowledgeBases, members};

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
        check_once(documents.iter().map(|document| &document.document))?;
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
            Some(token) => {
                let text = hex::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                text.filter(|text| !text.contains('\0'))
            }
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
        check_once(&names)?;
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

/// Refuses parts of another kind than is said.
fn check_parts(kind: api::ContentDataSourceType, [custom, s3]: [bool; 2]) -> Result<(), ApiError> {
    let wanted = if kind == api::ContentDataSourceType::S3 { "s3" } else { "custom" };
    let because = format!("the dataSourceType is {}", kind.as_str());
    members::only(&because, wanted, &[("custom", custom), ("s3", s3)])
}

/// Refuses a document that a request names twice: one of the two would be passed over.
fn check_once<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        Some(twice) => Err(ApiError::validation(format!("The request names the document {twice} twice."))),
        None => Ok(()),
    }
}

/// The id of a custom document. PostgreSQL's text can't hold the character zero.
fn custom_id(id: &str) -> Result<String, ApiError> {
    if id.contains('\0') {
        return Err(ApiError::validation("The id of a document can't have the character zero in it."));
    }
    Ok(id.to_owned())
}

fn object_uri(uri: &str) -> Result<String, ApiError> {
    match split_uri(uri) {
        Some(_) if !uri.contains('\0') => Ok(uri.to_owned()),
        _ => Err(ApiError::validation(format!("{uri} is not an object's URI (s3://bucket/key)."))),
    }
}

fn identified(source: &DataSourceRecord, identifier: &api::DocumentIdentifier) -> Result<String, ApiError> {
    check_kind(source, identifier.data_source_type)?;
    check_parts(identifier.data_source_type, [identifier.custom.is_some(), identifier.s3.is_some()])?;
    match (&identifier.custom, &identifier.s3) {
        (Some(custom), None) => custom_id(&custom.id),
        (None, Some(s3)) => object_uri(&s3.uri),
        _ => Err(ApiError::validation("A document identifier needs the field of its dataSourceType.")),
    }
}

fn put(source: &DataSourceRecord, document: api::KnowledgeBaseDocument) -> Result<Put, ApiError> {
    let api::KnowledgeBaseDocument { metadata, content } = document;
    check_kind(source, content.data_source_type)?;
    check_parts(content.data_source_type, [content.custom.is_some(), content.s3.is_some()])?;
    let metadata = metadata.map_or(Ok(RequestMetadata::None), request_metadata)?;
    match (content.custom, content.s3) {
        (Some(custom), None) => {
            let (source, content) = custom_content(&custom)?;
            let document = custom_id(&custom.custom_document_identifier.id)?;
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
    let wanted = match custom.source_type {
        api::CustomSourceType::InLine => "inlineContent",
        api::CustomSourceType::S3Location => "s3Location",
    };
    let given =
        [("inlineContent", custom.inline_content.is_some()), ("s3Location", custom.s3_location.is_some())];
    members::only(&format!("the sourceType is {}", custom.source_type.as_str()), wanted, &given)?;
    match (&custom.inline_content, &custom.s3_location) {
        (Some(inline), _) => inline_content(inline),
        (_, Some(location)) => Ok((RequestSource::Object { uri: object_uri(&location.uri)? }, None)),
        (None, None) => Err(ApiError::validation("A document needs the content of its sourceType.")),
    }
}

fn inline_content(inline: &api::InlineContent) -> Result<(RequestSource, Option<Bytes>), ApiError> {
    let wanted = match inline.r#type {
        api::InlineContentType::Text => "textContent",
        api::InlineContentType::Byte => "byteContent",
    };
    let given =
        [("textContent", inline.text_content.is_some()), ("byteContent", inline.byte_content.is_some())];
    members::only(&format!("the type of inlineContent is {}", inline.r#type.as_str()), wanted, &given)?;
    let source = |media_type: &str| RequestSource::Inline { media_type: media_type.to_owned() };
    match (&inline.text_content, &inline.byte_content) {
        (Some(text), _) => Ok((source("text/plain"), Some(Bytes::from(text.data.clone())))),
        (_, Some(bytes)) => Ok((source(&bytes.mime_type), Some(bytes.data.0.clone()))),
        (None, None) => Err(ApiError::validation("inlineContent needs the content of its type.")),
    }
}

fn request_metadata(metadata: api::DocumentMetadata) -> Result<RequestMetadata, ApiError> {
    if metadata.access_control_list.is_some() {
        return Err(ApiError::validation("accessControlList is not served by this release of Craton."));
    }
    let wanted = match metadata.r#type {
        api::MetadataSourceType::S3Location => "s3Location",
        // None is fine too.
        api::MetadataSourceType::InLineAttribute if metadata.inline_attributes.is_none() => "",
        api::MetadataSourceType::InLineAttribute => "inlineAttributes",
    };
    let given = [
        ("inlineAttributes", metadata.inline_attributes.is_some()),
        ("s3Location", metadata.s3_location.is_some()),
    ];
    let because = format!("the type of metadata is {}", metadata.r#type.as_str());
    members::only(&because, wanted, &given)?;
    if let Some(location) = metadata.s3_location {
        return Ok(RequestMetadata::File { uri: object_uri(&location.uri)? });
    }
    let mut attributes = BTreeMap::new();
    for api::MetadataAttribute { key, value } in metadata.inline_attributes.unwrap_or_default() {
        if is_reserved(&key) {
            return Err(ApiError::validation(format!("The metadata attribute {key} is the system's own.")));
        }
        let value = attribute_value(&key, value)?;
        if attributes.insert(key.clone(), value).is_some() {
            return Err(ApiError::validation(format!("The metadata attribute {key} is given twice.")));
        }
    }
    Ok(RequestMetadata::Given(attributes))
}

fn attribute_value(key: &str, value: api::MetadataAttributeValue) -> Result<MetadataValue, ApiError> {
    let wanted = match value.r#type {
        api::MetadataValueType::Boolean => "booleanValue",
        api::MetadataValueType::Number => "numberValue",
        api::MetadataValueType::String => "stringValue",
        api::MetadataValueType::StringList => "stringListValue",
    };
    let given = [
        ("booleanValue", value.boolean_value.is_some()),
        ("numberValue", value.number_value.is_some()),
        ("stringValue", value.string_value.is_some()),
        ("stringListValue", value.string_list_value.is_some()),
    ];
    let because = format!("the type of the metadata attribute {key} is {}", value.r#type.as_str());
    members::only(&because, wanted, &given)?;
    let read = value
        .boolean_value
        .map(MetadataValue::Boolean)
        .or(value.number_value.map(MetadataValue::Number))
        .or(value.string_value.map(MetadataValue::Text))
        .or(value.string_list_value.map(MetadataValue::List));
    read.ok_or_else(|| ApiError::validation(format!("The metadata attribute {key} has no value.")))
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
