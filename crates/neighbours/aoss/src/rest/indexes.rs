//! Indexes of a collection: records with a mapping, each over an index of the embedded driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_store::{Range, Record, StoreError};
use craton_vectors::{IndexSpec, VectorIndex, is_index_name};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::grants::Right;
use super::named::{FieldNames, names_in};
use super::{Endpoint, RestError, RestReply, strict};
use crate::collections::arn;
use crate::error::{from_store, from_vectors};
use crate::{Collections, scope};
use craton_core::RequestContext;

pub(super) const INDEX: &str = "aoss-index";
/// Widest vector, as OpenSearch has it.
const MOST_DIMENSIONS: u64 = 16_000;

/// An index of a collection.
pub(super) struct Index {
    pub name: String,
    pub mapping: Value,
    settings: Value,
    /// The field that is searched by meaning.
    pub vector_field: Option<String>,
    pub vectors: Arc<dyn VectorIndex>,
    /// What the knowledge bases that fill it call their fields, by their ids.
    pub names: BTreeMap<String, FieldNames>,
    record: Record,
}

impl Endpoint<'_> {
    pub(super) async fn create_index(&self, name: &str, body: &Value) -> Result<RestReply, RestError> {
        self.grants.check(Right::CreateIndex, name)?;
        if !is_index_name(name) {
            return Err(RestError {
                status: 400,
                kind: "invalid_index_name_exception",
                reason: format!("Invalid index name [{name}]"),
            });
        }
        strict::keys("create index", body, &["mappings", "settings"])?;
        let mapping = body.get("mappings").cloned().unwrap_or_else(|| json!({}));
        strict::mapping(&mapping)?;
        vector_field(&mapping)?;
        let settings = body.get("settings").cloned().unwrap_or_else(|| json!({}));
        let new = self.service.new_index(&self.record_id(name), mapping, settings);
        let created = self.service.parts.store.create(&scope(self.context, INDEX), new).await;
        match created {
            Ok(_) => {}
            Err(StoreError::NameTaken { .. }) => {
                return Err(RestError {
                    status: 400,
                    kind: "resource_already_exists_exception",
                    reason: format!("index [{name}] already exists"),
                });
            }
            Err(error) => return Err(from_store(error).into()),
        }
        self.opened(name).await?;
        Ok(RestReply::ok(json!({"acknowledged": true, "shards_acknowledged": true, "index": name})))
    }

    /// The index of this name, opened, if the caller may do with it what is asked.
    pub(super) async fn index(&self, name: &str, right: Right) -> Result<Index, RestError> {
        self.grants.check(right, name)?;
        self.opened(name).await
    }

    async fn opened(&self, name: &str) -> Result<Index, RestError> {
        let found = self.service.parts.store.get(&scope(self.context, INDEX), &self.record_id(name)).await;
        let record = found.map_err(from_store)?.ok_or_else(|| RestError::no_index(name))?;
        let mapping = record.body.get("mappings").cloned().unwrap_or_default();
        let (vector_field, dimensions) = vector_field(&mapping)?.map_or((None, 1), |(f, d)| (Some(f), d));
        let spec = IndexSpec::of_collection(&self.collection, name, dimensions);
        let vectors = self.service.parts.drivers.open(&spec).await.map_err(from_vectors)?;
        // Where the collection was deleted meanwhile, nobody would come by what opening made.
        if !self.service.has_collection(self.context, &arn(self.context, &self.collection)).await? {
            self.service.remove_index(self.context, &self.collection, &record).await?;
            return Err(RestError::no_index(name));
        }
        let settings = record.body.get("settings").cloned().unwrap_or_default();
        let names = names_in(&record);
        Ok(Index { name: name.to_owned(), mapping, settings, vector_field, vectors, names, record })
    }

    pub(super) async fn get_index(&self, name: &str) -> Result<RestReply, RestError> {
        let index = self.index(name, Right::DescribeIndex).await?;
        let mut described = Map::new();
        described.insert(
            name.to_owned(),
            json!({"aliases": {}, "mappings": index.mapping, "settings": index.all_settings()}),
        );
        Ok(RestReply::ok(described.into()))
    }

    pub(super) async fn get_mapping(&self, name: &str) -> Result<RestReply, RestError> {
        let index = self.index(name, Right::DescribeIndex).await?;
        Ok(RestReply::ok(Map::from_iter([(name.to_owned(), json!({"mappings": index.mapping}))]).into()))
    }

    pub(super) async fn get_settings(&self, name: &str) -> Result<RestReply, RestError> {
        let index = self.index(name, Right::DescribeIndex).await?;
        let settings = json!({"settings": index.all_settings()});
        Ok(RestReply::ok(Map::from_iter([(name.to_owned(), settings)]).into()))
    }

    /// Adds fields to a mapping. Fields that are there keep their type.
    pub(super) async fn put_mapping(&self, name: &str, body: &Value) -> Result<RestReply, RestError> {
        let index = self.index(name, Right::UpdateIndex).await?;
        strict::keys("mapping", body, &["properties"])?;
        let mut mapping = index.mapping.clone();
        let mut properties =
            mapping.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        for (field, definition) in body.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let known = properties.get(field).and_then(|known| known.get("type"));
            if known.is_some() && known != definition.get("type") {
                return Err(RestError {
                    status: 400,
                    kind: "illegal_argument_exception",
                    reason: format!("mapper [{field}] cannot be changed to another type"),
                });
            }
            properties.insert(field.clone(), definition.clone());
        }
        if let Some(mapping) = mapping.as_object_mut() {
            mapping.insert("properties".to_owned(), properties.into());
        }
        strict::mapping(&mapping)?;
        if vector_field(&mapping)? != vector_field(&index.mapping)? {
            return Err(RestError::unsupported("adding a knn_vector field to an index that is there"));
        }
        let mut changed = index.record.clone();
        changed.body["mappings"] = mapping;
        let (store, now_ms) = (&self.service.parts.store, self.service.now_ms());
        let updated =
            store.update(&scope(self.context, INDEX), &changed, Some(changed.version), now_ms).await;
        updated.map_err(from_store)?;
        Ok(RestReply::ok(json!({"acknowledged": true})))
    }

    pub(super) async fn delete_index(&self, name: &str) -> Result<RestReply, RestError> {
        let index = self.index(name, Right::DeleteIndex).await?;
        self.service.remove_index(self.context, &self.collection, &index.record).await?;
        Ok(RestReply::ok(json!({"acknowledged": true})))
    }

    pub(super) async fn list_indexes(&self, name: Option<&str>) -> Result<RestReply, RestError> {
        let mut rows = Vec::new();
        for record in self.service.indexes(self.context, &self.collection).await? {
            let found = record.id.split_once('/').map_or("", |(_, name)| name);
            let matches = |wanted: &str| match wanted.strip_suffix('*') {
                Some(prefix) => found.starts_with(prefix),
                None => found == wanted,
            };
            if name.is_none_or(matches) && self.grants.allow(Right::DescribeIndex, found) {
                let index = self.opened(found).await?;
                let counts = index.vectors.counts().await?;
                rows.push(json!({
                    "health": "green", "status": "open", "index": found, "uuid": index.uuid(),
                    "pri": "1", "rep": "0", "docs.count": counts.chunks.to_string(), "docs.deleted": "0",
                }));
            }
        }
        match name {
            Some(name) if rows.is_empty() && !name.contains('*') => Err(RestError::no_index(name)),
            _ => Ok(RestReply::ok(rows.into())),
        }
    }

    fn record_id(&self, name: &str) -> String {
        record_id(&self.collection, name)
    }
}

pub(super) fn record_id(collection: &str, name: &str) -> String {
    format!("{collection}/{name}")
}

impl Index {
    fn uuid(&self) -> &str {
        self.record.body.get("uuid").and_then(Value::as_str).unwrap_or_default()
    }

    fn all_settings(&self) -> Value {
        let mut index = self.settings.get("index").and_then(Value::as_object).cloned().unwrap_or_default();
        for (key, value) in self.settings.as_object().into_iter().flatten().filter(|(key, _)| *key != "index")
        {
            index.insert(key.trim_start_matches("index.").to_owned(), value.clone());
        }
        index.insert("uuid".to_owned(), self.uuid().into());
        index.insert("provided_name".to_owned(), self.name.as_str().into());
        index.insert("creation_date".to_owned(), self.record.created_ms.to_string().into());
        json!({"index": index})
    }
}

impl Collections {
    async fn indexes(&self, context: &RequestContext, collection: &str) -> Result<Vec<Record>, ApiError> {
        let range = Range { prefix: format!("{collection}/"), ..Range::default() };
        self.parts.store.list(&scope(context, INDEX), &range).await.map_err(from_store)
    }

    /// Removes all indexes of a collection.
    pub(crate) async fn remove_indexes(
        &self,
        context: &RequestContext,
        collection: &str,
    ) -> Result<(), ApiError> {
        for record in self.indexes(context, collection).await? {
            self.remove_index(context, collection, &record).await?;
        }
        Ok(())
    }

    async fn remove_index(
        &self,
        context: &RequestContext,
        collection: &str,
        record: &Record,
    ) -> Result<(), ApiError> {
        let name = record.id.split_once('/').map_or("", |(_, name)| name);
        let mapping = record.body.get("mappings").cloned().unwrap_or_default();
        let dimensions = vector_field(&mapping).ok().flatten().map_or(1, |(_, dimensions)| dimensions);
        let spec = IndexSpec::of_collection(collection, name, dimensions);
        self.parts.drivers.remove(&spec).await.map_err(from_vectors)?;
        self.parts.store.delete(&scope(context, INDEX), &record.id, None).await.map_err(from_store)?;
        Ok(())
    }
}

/// The `knn_vector` field of a mapping and its dimension.
pub(super) fn vector_field(mapping: &Value) -> Result<Option<(String, usize)>, RestError> {
    let properties = mapping.get("properties").and_then(Value::as_object);
    let mut found = properties
        .into_iter()
        .flatten()
        .filter(|(_, field)| field.get("type").and_then(Value::as_str) == Some("knn_vector"));
    let Some((name, field)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(RestError::unsupported("more than one knn_vector field"));
    }
    let dimension = field.get("dimension").and_then(Value::as_u64);
    let dimension = dimension.filter(|dimension| (1..=MOST_DIMENSIONS).contains(dimension));
    let dimension =
        dimension.and_then(|dimension| usize::try_from(dimension).ok()).ok_or_else(|| RestError {
            status: 400,
            kind: "mapper_parsing_exception",
            reason: format!("Dimension value must be between 1 and {MOST_DIMENSIONS} for vector: {name}"),
        })?;
    Ok(Some((name.clone(), dimension)))
}
