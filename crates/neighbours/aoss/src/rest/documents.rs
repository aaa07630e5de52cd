//! Documents of an index: chunks of a knowledge base's index, without an owner.

use std::collections::{BTreeMap, HashMap};

use craton_vectors::{
    CHUNK_ID, Chunk, DocumentChunks, DocumentKey, Filter, MetadataValue, Query, SourceLocation, Want,
};
use serde_json::{Map, Value, json};

use super::indexes::Index;
use super::{Endpoint, RestError, RestReply, RestRequest, json_body, parameter};

/// Fields that Bedrock writes into an index when the knowledge base's mapping has its usual names.
const TEXT_CHUNK: &str = "AMAZON_BEDROCK_TEXT_CHUNK";
const METADATA: &str = "AMAZON_BEDROCK_METADATA";
/// Attributes of one document.
const MOST_ATTRIBUTES: usize = 1_000;
/// Actions of one bulk request.
const MOST_ACTIONS: usize = 10_000;

impl Endpoint<'_> {
    pub(super) async fn put_document(
        &self,
        index: &str,
        id: Option<&str>,
        request: &RestRequest,
        create: bool,
    ) -> Result<RestReply, RestError> {
        let index = self.index(index).await?;
        let create = create || parameter(request, "op_type") == Some("create");
        let id = id.map_or_else(|| self.service.parts.ids.short(20), str::to_owned);
        let known = find(&index, &id).await?.is_some();
        if create && known {
            return Err(RestError {
                status: 409,
                kind: "version_conflict_engine_exception",
                reason: format!("[{id}]: version conflict, document already exists"),
            });
        }
        let source = json_body(&request.body)?;
        index.vectors.put(vec![index.document(&id, &source)?]).await?;
        let (status, result) = if known { (200, "updated") } else { (201, "created") };
        Ok(RestReply { status, body: written(&index.name, &id, result) })
    }

    pub(super) async fn get_document(&self, index: &str, id: &str) -> Result<RestReply, RestError> {
        let index = self.index(index).await?;
        match find(&index, id).await? {
            Some(chunk) => {
                let body = json!({
                    "_index": index.name, "_id": id, "_version": 1, "found": true, "_source": index.source(&chunk),
                });
                Ok(RestReply::ok(body))
            }
            None => {
                Ok(RestReply { status: 404, body: json!({"_index": index.name, "_id": id, "found": false}) })
            }
        }
    }

    pub(super) async fn delete_document(&self, index: &str, id: &str) -> Result<RestReply, RestError> {
        let index = self.index(index).await?;
        let gone = index.vectors.delete_documents(&[key(id)]).await? > 0;
        let (status, result) = if gone { (200, "deleted") } else { (404, "not_found") };
        Ok(RestReply { status, body: written(&index.name, id, result) })
    }

    /// Runs a bulk request's actions. Those that put into one index are written together.
    pub(super) async fn bulk(&self, index: Option<&str>, body: &[u8]) -> Result<RestReply, RestError> {
        let lines =
            body.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
        let mut lines = lines.map(json_body);
        let mut indexes: HashMap<String, Index> = HashMap::new();
        let mut puts: Vec<(String, Vec<DocumentChunks>)> = Vec::new();
        let mut items = Vec::new();
        let mut errors = false;
        while let Some(action) = lines.next() {
            let (verb, name, id) = self.action(&action?, index)?;
            if items.len() >= MOST_ACTIONS {
                return Err(RestError::malformed(format!("a bulk request can have {MOST_ACTIONS} actions")));
            }
            if !indexes.contains_key(&name) {
                indexes.insert(name.clone(), self.index(&name).await?);
            }
            let Some(index) = indexes.get(&name) else { continue };
            let outcome = if verb == "delete" {
                index
                    .vectors
                    .delete_documents(&[key(&id)])
                    .await
                    .map(|gone| if gone > 0 { (200, "deleted") } else { (404, "not_found") })?
            } else {
                let missing = || RestError::malformed("an action without a document");
                let source = lines.next().ok_or_else(missing)??;
                match index.document(&id, &source) {
                    Ok(document) => {
                        match puts.iter_mut().find(|(known, _)| *known == name) {
                            Some((_, documents)) => documents.push(document),
                            None => puts.push((name.clone(), vec![document])),
                        }
                        (201, "created")
                    }
                    Err(error) => {
                        errors = true;
                        let cause = json!({"type": error.kind, "reason": error.reason});
                        let item = json!({"_index": name, "_id": id, "status": error.status, "error": cause});
                        items.push(Value::Object(Map::from_iter([(verb, item)])));
                        continue;
                    }
                }
            };
            let mut item = written(&name, &id, outcome.1);
            item["status"] = outcome.0.into();
            items.push(Value::Object(Map::from_iter([(verb, item)])));
        }
        for (name, documents) in puts {
            if let Some(index) = indexes.get(&name) {
                index.vectors.put(last_of_each(documents)).await?;
            }
        }
        Ok(RestReply::ok(json!({"took": 0, "errors": errors, "items": items})))
    }

    /// An action line: what to do, in which index, to which document.
    fn action(&self, line: &Value, index: Option<&str>) -> Result<(String, String, String), RestError> {
        let (verb, meta) = line
            .as_object()
            .and_then(|line| line.iter().next())
            .filter(|(verb, _)| matches!(verb.as_str(), "index" | "create" | "delete"))
            .ok_or_else(|| RestError::malformed("an action must be index, create or delete"))?;
        let field = |name: &str| meta.get(name).and_then(Value::as_str);
        let name =
            field("_index").or(index).ok_or_else(|| RestError::malformed("an action without an index"))?;
        let id = field("_id").map_or_else(|| self.service.parts.ids.short(20), str::to_owned);
        Ok((verb.clone(), name.to_owned(), id))
    }
}

/// Of several documents with one id, the last.
fn last_of_each(documents: Vec<DocumentChunks>) -> Vec<DocumentChunks> {
    let mut last: BTreeMap<DocumentKey, DocumentChunks> = BTreeMap::new();
    for document in documents {
        last.insert(document.key.clone(), document);
    }
    last.into_values().collect()
}

fn written(index: &str, id: &str, result: &str) -> Value {
    json!({"_index": index, "_id": id, "_version": 1, "result": result, "_shards": super::shards()})
}

fn key(id: &str) -> DocumentKey {
    DocumentKey::new("", "", id)
}

async fn find(index: &Index, id: &str) -> Result<Option<Chunk>, RestError> {
    let by_id = Filter::Equals(CHUNK_ID.to_owned(), id.into());
    let hits = index.vectors.search(&Query::new(Want::Everything, 1).with_filter(by_id)).await?;
    Ok(hits.into_iter().next().map(|hit| hit.chunk))
}

impl Index {
    /// A document as the chunk that keeps it.
    fn document(&self, id: &str, source: &Value) -> Result<DocumentChunks, RestError> {
        let Value::Object(fields) = source else {
            return Err(RestError::malformed("a document must be an object"));
        };
        let dimensions = self.vectors.dimensions();
        let vector = match self.vector_field.as_ref().and_then(|field| fields.get(field)) {
            Some(value) => vector(value, dimensions)?,
            None => vec![0.0; dimensions],
        };
        let mut metadata = BTreeMap::new();
        let mut text = String::new();
        for (name, value) in fields {
            if self.vector_field.as_ref() != Some(name) {
                flatten(name, value, &mut metadata, &mut text);
            }
        }
        let key = key(id);
        let chunk = Chunk {
            id: id.to_owned(),
            document: key.clone(),
            text,
            parent: None,
            metadata,
            vector,
            location: SourceLocation::Custom(id.to_owned()),
            payload: Some(source.to_string()),
        };
        Ok(DocumentChunks { key, chunks: vec![chunk] })
    }

    /// The document as it came, or what a knowledge base's chunk looks like as one.
    pub(super) fn source(&self, chunk: &Chunk) -> Value {
        if let Some(source) = chunk.payload.as_deref().and_then(|payload| serde_json::from_str(payload).ok())
        {
            return source;
        }
        let attributes = chunk.attributes().into_iter().map(|(key, value)| (key, value.to_json()));
        let mut source: Map<String, Value> = attributes.collect();
        let metadata = json!({"source": chunk.location.uri()});
        source.insert(TEXT_CHUNK.to_owned(), chunk.text.as_str().into());
        source.insert(METADATA.to_owned(), metadata.to_string().into());
        source.into()
    }
}

/// Reads a vector of the index's length.
pub(super) fn vector(value: &Value, dimensions: usize) -> Result<Vec<f32>, RestError> {
    #[expect(clippy::cast_possible_truncation, reason = "vectors are single precision")]
    let numbers = value.as_array().and_then(|numbers| {
        numbers.iter().map(|number| number.as_f64().map(|n| n as f32)).collect::<Option<Vec<f32>>>()
    });
    match numbers {
        Some(numbers) if numbers.len() == dimensions => Ok(numbers),
        Some(numbers) => Err(RestError {
            status: 400,
            kind: "mapper_parsing_exception",
            reason: format!("Vector dimension mismatch. Expected: {dimensions}, Given: {}", numbers.len()),
        }),
        None => Err(RestError::malformed("a vector must be a list of numbers")),
    }
}

/// Takes a field's values into the attributes, under dotted names, and its text into what words search.
fn flatten(name: &str, value: &Value, metadata: &mut BTreeMap<String, MetadataValue>, text: &mut String) {
    if metadata.len() >= MOST_ATTRIBUTES {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(&format!("{name}.{key}"), value, metadata, text);
            }
        }
        value => {
            for line in std::iter::once(value).chain(value.as_array().into_iter().flatten()) {
                if let Value::String(line) = line {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            if let Some(value) = MetadataValue::from_json(value) {
                metadata.insert(name.to_owned(), value);
            }
        }
    }
}
