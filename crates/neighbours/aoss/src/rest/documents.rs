//! Documents of an index: chunks of a knowledge base's index, without an owner.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use craton_vectors::{
    CHUNK_ID, Chunk, DocumentChunks, DocumentKey, Filter, MetadataValue, Query, SourceLocation, Want,
};
use serde_json::{Map, Value, json};

use super::grants::Right;
use super::indexes::Index;
use super::named::{FieldNames, document_of};
use super::{Endpoint, RestError, RestReply, RestRequest, json_body, parameter, strict};

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
        let index = self.index(index, Right::WriteDocument).await?;
        let create = match parameter(request, "op_type") {
            None | Some("index") => create,
            Some("create") => true,
            Some(other) => return Err(RestError::unsupported(&format!("op_type {other}"))),
        };
        let id = id.map_or_else(|| self.service.parts.ids.short(20), str::to_owned);
        strict::id(&id)?;
        let writers = self.service.writers_of(&self.collection, &index.name);
        let _alone = writers.lock().await;
        let found = find(&index, &id).await?;
        let known = found.is_some();
        if create && known {
            return Err(exists(&id));
        }
        check_own(found.as_ref())?;
        let source = json_body(&request.body)?;
        index.vectors.put(vec![index.document(&id, &source)?]).await?;
        let (status, result) = if known { (200, "updated") } else { (201, "created") };
        Ok(RestReply { status, body: written(&index.name, &id, result) })
    }

    pub(super) async fn get_document(&self, index: &str, id: &str) -> Result<RestReply, RestError> {
        let index = self.index(index, Right::ReadDocument).await?;
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
        let index = self.index(index, Right::WriteDocument).await?;
        let writers = self.service.writers_of(&self.collection, &index.name);
        let _alone = writers.lock().await;
        check_own(find(&index, id).await?.as_ref())?;
        let gone = index.vectors.delete_documents(&[key(id)]).await? > 0;
        let (status, result) = if gone { (200, "deleted") } else { (404, "not_found") };
        Ok(RestReply { status, body: written(&index.name, id, result) })
    }

    /// Runs a bulk request's actions in their order. All lines are read before the first is run; what follows each other
    /// in one index and is of one kind, puts or deletions, is done together.
    pub(super) async fn bulk(&self, index: Option<&str>, body: &[u8]) -> Result<RestReply, RestError> {
        let actions = self.actions(index, body)?;
        // In the order of their names, so that two requests never wait for each other.
        let names: BTreeSet<&str> = actions.iter().map(|action| action.index.as_str()).collect();
        let mut indexes: BTreeMap<String, Filling> = BTreeMap::new();
        for name in names {
            let index = self.index(name, Right::WriteDocument).await?;
            // Nobody writes between looking and writing.
            let alone = self.service.writers_of(&self.collection, name).lock_owned().await;
            indexes.insert(name.to_owned(), Filling::of(index, &actions, alone).await?);
        }
        let mut items = Vec::with_capacity(actions.len());
        let mut errors = false;
        for action in actions {
            let Some(filling) = indexes.get_mut(&action.index) else { continue };
            let (verb, name, id) = (action.verb.name(), action.index.clone(), action.id.clone());
            let item = match filling.run(action).await? {
                Ok((status, result)) => {
                    let mut item = written(&name, &id, result);
                    item["status"] = status.into();
                    item
                }
                Err(error) => {
                    errors = true;
                    let cause = json!({"type": error.kind, "reason": error.reason});
                    json!({"_index": name, "_id": id, "status": error.status, "error": cause})
                }
            };
            items.push(Value::Object(Map::from_iter([(verb.to_owned(), item)])));
        }
        for filling in indexes.values_mut() {
            filling.flush().await?;
        }
        Ok(RestReply::ok(json!({"took": 0, "errors": errors, "items": items})))
    }

    /// A bulk request's lines as actions.
    fn actions(&self, index: Option<&str>, body: &[u8]) -> Result<Vec<Action>, RestError> {
        let lines =
            body.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
        let mut lines = lines.map(json_body);
        let mut actions = Vec::new();
        while let Some(line) = lines.next() {
            let mut action = self.action(&line?, index)?;
            if actions.len() >= MOST_ACTIONS {
                return Err(RestError::malformed(format!("a bulk request can have {MOST_ACTIONS} actions")));
            }
            if action.verb != Verb::Delete {
                let missing = || RestError::malformed("an action without a document");
                action.source = lines.next().ok_or_else(missing)??;
            }
            actions.push(action);
        }
        Ok(actions)
    }

    /// An action line: what to do, in which index, to which document.
    fn action(&self, line: &Value, index: Option<&str>) -> Result<Action, RestError> {
        let (verb, meta) = line
            .as_object()
            .and_then(|line| line.iter().next())
            .and_then(|(verb, meta)| Some((Verb::parse(verb)?, meta)))
            .ok_or_else(|| RestError::malformed("an action must be index, create or delete"))?;
        strict::keys(verb.name(), meta, &["_index", "_id"])?;
        let field = |name: &str| meta.get(name).and_then(Value::as_str);
        let name =
            field("_index").or(index).ok_or_else(|| RestError::malformed("an action without an index"))?;
        let named = field("_id");
        let id = named.map_or_else(|| self.service.parts.ids.short(20), str::to_owned);
        strict::id(&id)?;
        Ok(Action { verb, index: name.to_owned(), id, is_named: named.is_some(), source: Value::Null })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Index,
    Create,
    Delete,
}

impl Verb {
    fn parse(name: &str) -> Option<Self> {
        [Self::Index, Self::Create, Self::Delete].into_iter().find(|verb| verb.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Delete => "delete",
        }
    }
}

/// One action of a bulk request.
struct Action {
    verb: Verb,
    index: String,
    id: String,
    /// Whether the client named the document; other ids are new.
    is_named: bool,
    source: Value,
}

/// An index that a bulk request changes.
struct Filling {
    index: Index,
    /// Documents that are there, of those that the request names; whether they were put in here, and not by a knowledge
    /// base.
    known: HashMap<String, bool>,
    /// What is still to be written, or to be deleted: one of them is empty.
    puts: BTreeMap<DocumentKey, DocumentChunks>,
    deletions: Vec<DocumentKey>,
    _alone: tokio::sync::OwnedMutexGuard<()>,
}

impl Filling {
    async fn of(
        index: Index,
        actions: &[Action],
        alone: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<Self, RestError> {
        let named = actions.iter().filter(|action| action.is_named && action.index == index.name);
        let named: Vec<MetadataValue> = named.map(|action| action.id.as_str().into()).collect();
        let mut known = HashMap::new();
        for ids in named.chunks(craton_vectors::MAX_LEAVES) {
            let among = Filter::In(CHUNK_ID.to_owned(), ids.to_vec());
            let query = Query::new(Want::Everything, craton_vectors::MAX_LIMIT).with_filter(among);
            let hits = index.vectors.search(&query).await?.into_iter();
            known.extend(hits.map(|hit| (hit.chunk.id, hit.chunk.document.owner.is_empty())));
        }
        Ok(Self { index, known, puts: BTreeMap::new(), deletions: Vec::new(), _alone: alone })
    }

    /// The outer error is the store's; the inner one is the action's alone.
    async fn run(&mut self, action: Action) -> Result<Result<(u16, &'static str), RestError>, RestError> {
        let Action { verb, id, source, .. } = action;
        if verb != Verb::Create && self.known.get(&id) == Some(&false) {
            return Ok(Err(of_knowledge_base(&id)));
        }
        if verb == Verb::Delete {
            if !self.puts.is_empty() {
                self.flush().await?;
            }
            if !self.known.contains_key(&id) {
                return Ok(Ok((404, "not_found")));
            }
            self.deletions.push(key(&id));
            self.known.remove(&id);
            return Ok(Ok((200, "deleted")));
        }
        if verb == Verb::Create && self.known.contains_key(&id) {
            return Ok(Err(exists(&id)));
        }
        let document = match self.index.document(&id, &source) {
            Ok(document) => document,
            Err(error) => return Ok(Err(error)),
        };
        if !self.deletions.is_empty() {
            self.flush().await?;
        }
        self.puts.insert(document.key.clone(), document);
        let known = self.known.insert(id, true);
        Ok(Ok(if known.is_none() { (201, "created") } else { (200, "updated") }))
    }

    async fn flush(&mut self) -> Result<(), RestError> {
        if !self.puts.is_empty() {
            let documents = std::mem::take(&mut self.puts).into_values().collect();
            self.index.vectors.put(documents).await?;
        }
        if !self.deletions.is_empty() {
            self.index.vectors.delete_documents(&std::mem::take(&mut self.deletions)).await?;
        }
        Ok(())
    }
}

/// Refuses a document that a knowledge base put in: its next sync would not know of a change.
fn check_own(found: Option<&Chunk>) -> Result<(), RestError> {
    match found.filter(|chunk| !chunk.document.owner.is_empty()) {
        Some(chunk) => Err(of_knowledge_base(&chunk.id)),
        None => Ok(()),
    }
}

fn of_knowledge_base(id: &str) -> RestError {
    RestError {
        status: 400,
        kind: "illegal_argument_exception",
        reason: format!("[{id}] is a chunk of a knowledge base: change its document at the data source"),
    }
}

fn exists(id: &str) -> RestError {
    RestError {
        status: 409,
        kind: "version_conflict_engine_exception",
        reason: format!("[{id}]: version conflict, document already exists"),
    }
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
        self.check(fields)?;
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
        match self.names.get(&chunk.document.owner) {
            Some(names) => document_of(chunk, names),
            None => document_of(chunk, &FieldNames::default()),
        }
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
