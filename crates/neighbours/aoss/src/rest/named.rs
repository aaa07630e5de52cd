//! Indexes that knowledge bases fill: whether a field mapping fits an index, and what it names the fields of chunks
//! that are read from it.

use std::collections::BTreeMap;

use craton_core::RequestContext;
use craton_store::{NewRecord, Record, StoreError};
use craton_vectors::Chunk;
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::indexes::{INDEX, record_id, vector_field};
use super::strict::properties;
use crate::collections::arn;
use crate::error::from_store;
use crate::{Collections, scope};

/// Where an index's record keeps the names, by the knowledge base's id.
const NAMES: &str = "knowledge_bases";
/// Tries at a record that others change at the same time.
const TRIES: usize = 8;

/// What a knowledge base calls the fields of its chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldNames {
    pub vector: String,
    pub text: String,
    pub metadata: String,
}

impl Default for FieldNames {
    /// Those that Bedrock gives an index that it makes itself.
    fn default() -> Self {
        Self {
            vector: "bedrock-knowledge-base-default-vector".into(),
            text: "AMAZON_BEDROCK_TEXT_CHUNK".into(),
            metadata: "AMAZON_BEDROCK_METADATA".into(),
        }
    }
}

/// An index as a knowledge base asks for it.
#[derive(Debug, Clone, Copy)]
pub struct NamedIndex<'a> {
    pub collection_id: &'a str,
    pub name: &'a str,
    pub fields: &'a FieldNames,
    /// Length of the vectors.
    pub dimensions: usize,
}

impl Collections {
    /// Refuses field names that the index's mapping has no such fields for, or vectors of another length. An index that
    /// is not there takes all.
    ///
    /// # Errors
    /// `ValidationException` with OpenSearch's reason.
    pub async fn check_index(&self, context: &RequestContext, index: NamedIndex<'_>) -> Result<(), ApiError> {
        let id = record_id(index.collection_id, index.name);
        let found = self.parts.store.get(&scope(context, INDEX), &id).await.map_err(from_store)?;
        let Some(record) = found else { return Ok(()) };
        let refused = |reason: String| Err(ApiError::validation(reason));
        let mapping = record.body.get("mappings").cloned().unwrap_or_default();
        let FieldNames { vector, text, metadata } = index.fields;
        match vector_field(&mapping).ok().flatten() {
            Some((name, dimensions)) if name == *vector => {
                if dimensions != index.dimensions {
                    return refused(format!(
                        "failed to create query: Query vector has invalid dimension: {}. Dimension should be: \
                         {dimensions}",
                        index.dimensions
                    ));
                }
            }
            _ => return refused(format!("failed to create query: Field '{vector}' is not knn_vector type.")),
        }
        for name in [text, metadata] {
            let mapped = properties(&mapping).find(|(known, _)| *known == name);
            let kind = mapped.and_then(|(_, field)| field.get("type")).and_then(Value::as_str);
            if let Some(kind) = kind.filter(|kind| !["text", "keyword"].contains(kind)) {
                return refused(format!("failed to parse field [{name}] of type [{kind}]"));
            }
        }
        Ok(())
    }

    /// Notes what a knowledge base calls its fields in an index, which is made if it is not there.
    pub async fn name_fields(
        &self,
        context: &RequestContext,
        index: NamedIndex<'_>,
        knowledge_base: &str,
    ) -> Result<(), ApiError> {
        let (scope, id) = (scope(context, INDEX), record_id(index.collection_id, index.name));
        let names = serde_json::to_value(index.fields).map_err(|error| crate::error::internal(&error))?;
        for _ in 0..TRIES {
            let found = self.parts.store.get(&scope, &id).await.map_err(from_store)?;
            let written = match found {
                Some(record) if record.body[NAMES][knowledge_base] == names => return Ok(()),
                Some(mut record) => {
                    record.body[NAMES][knowledge_base] = names.clone();
                    let version = Some(record.version);
                    self.parts.store.update(&scope, &record, version, self.now_ms()).await.map(drop)
                }
                None => {
                    let mut new = self.new_index(&id, mapping_of(index), json!({"index": {"knn": true}}));
                    new.body[NAMES][knowledge_base] = names.clone();
                    let created = self.parts.store.create(&scope, new).await.map(drop);
                    // Where the collection was deleted meanwhile, nobody would come by it.
                    if !self.has_collection(context, &arn(context, index.collection_id)).await? {
                        self.parts.store.delete(&scope, &id, None).await.map_err(from_store)?;
                        return Ok(());
                    }
                    created
                }
            };
            match written {
                Ok(()) => return Ok(()),
                Err(
                    StoreError::NameTaken { .. }
                    | StoreError::VersionMismatch { .. }
                    | StoreError::NotFound { .. },
                ) => {}
                Err(error) => return Err(from_store(error)),
            }
        }
        Err(ApiError::conflict(format!("The index {} is being changed by others.", index.name)))
    }

    /// The record of a new index.
    pub(super) fn new_index(&self, id: &str, mapping: Value, settings: Value) -> NewRecord {
        NewRecord {
            id: id.to_owned(),
            name: None,
            body: json!({"mappings": mapping, "settings": settings, "uuid": self.parts.ids.uuid()}),
            now_ms: self.now_ms(),
            idempotency: None,
            tags: None,
        }
    }
}

/// The mapping of an index that a knowledge base makes.
fn mapping_of(index: NamedIndex<'_>) -> Value {
    let FieldNames { vector, text, metadata } = index.fields;
    let method = json!({"name": "hnsw", "engine": "faiss", "space_type": "l2"});
    let fields = [
        (vector, json!({"type": "knn_vector", "dimension": index.dimensions, "method": method})),
        (text, json!({"type": "text"})),
        (metadata, json!({"type": "text", "index": false})),
    ];
    let fields: Map<String, Value> = fields.into_iter().map(|(name, field)| (name.clone(), field)).collect();
    json!({"properties": fields})
}

/// What the knowledge bases that fill an index call their fields.
pub(super) fn names_in(record: &Record) -> BTreeMap<String, FieldNames> {
    record.body.get(NAMES).and_then(|names| BTreeMap::deserialize(names).ok()).unwrap_or_default()
}

/// A chunk of a knowledge base as the document that Bedrock would have written.
pub(super) fn document_of(chunk: &Chunk, names: &FieldNames) -> Value {
    let attributes = chunk.attributes().into_iter().map(|(key, value)| (key, value.to_json()));
    let mut source: Map<String, Value> = attributes.collect();
    let metadata = json!({"source": chunk.location.uri()});
    source.insert(names.text.clone(), chunk.text.as_str().into());
    source.insert(names.metadata.clone(), metadata.to_string().into());
    if !chunk.vector.is_empty() {
        source.insert(names.vector.clone(), chunk.vector.as_slice().into());
    }
    source.into()
}
