//! OpenSearch: an index of somebody's cluster, as knowledge bases of type OPENSEARCH_MANAGED_CLUSTER have it, and those
//! of type OPENSEARCH_SERVERLESS where the configuration names a cluster for their collection.
//!
//! The index has the fields that the knowledge base's field mapping names: a `knn_vector`, the text, and the metadata,
//! which holds what this crate needs to know of a chunk besides, as JSON. What is searched by stands in an object
//! `craton`: owner, document, words and attributes (`conditions`). An index that is missing is made; to one that is there
//! the object is added. Vectors are compared as the index was made to compare them: with `cosinesimil` scores are ours,
//! `(1 + cosine) / 2`.
//!
//! Hybrid search is the cluster's where it can (`hybrid`): one query with a search pipeline. Elsewhere it is two searches,
//! by meaning and by words, fused here as everywhere. Words are cut here in both; where they are searched for alone, the
//! cluster finds candidates by them and tells how common they are, and BM25 is computed from that.
//!
//! What is written is shown by a refresh when all of it is there, and not by time in an index made here, so searches of
//! what one server writes see a document before or after, not between. A refresh shows everything, though: where two
//! servers write to an index at the same time, one shows what the other has written so far. A cluster has no
//! transactions: a server that dies in a write can leave chunks of both, until a document is written again or removed:
//! whoever does that looks at what is not shown, too.

mod client;
mod conditions;
mod documents;
mod hybrid;

use async_trait::async_trait;
use craton_core::{Clock as _, SystemClock};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use self::client::{Client, refused};
use self::conditions::{OURS, clauses};
use self::documents::{Names, document_hash, source_hash};
use self::hybrid::Pipeline;
use crate::bm25::{self, Statistics, sort};
use crate::elsewhere::{self, Numbered, Parts};
use crate::query::check_documents;
use crate::{
    Chunk, Counts, DocumentChunks, DocumentKey, Hit, OpenSearchIndex, Query, VectorError, VectorIndex,
};

/// Bytes of one bulk request, about.
const BULK_BYTES: usize = 8 << 20;
/// Documents of one page of an answer.
const PAGE: usize = 5_000;

pub(crate) struct ClusterIndex {
    client: Client,
    names: Names,
    dimensions: usize,
    pipeline: Pipeline,
    /// Held by whoever writes; the number that the next chunk has at least.
    writing: tokio::sync::Mutex<i64>,
}

impl ClusterIndex {
    pub(crate) async fn open(of: &OpenSearchIndex, dimensions: usize) -> Result<Self, VectorError> {
        let (client, names) = (Client::new(of)?, Names::new(of)?);
        let (pipeline, writing) = (Pipeline::default(), tokio::sync::Mutex::default());
        let index = Self { client, names, dimensions, pipeline, writing };
        index.prepare().await?;
        Ok(index)
    }

    fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.names.index)
    }

    /// Makes the index when it is missing, checks that its vectors have the right length, and adds our fields.
    async fn prepare(&self) -> Result<(), VectorError> {
        let (status, found) = self.client.send(Method::GET, &self.path("_mapping"), String::new()).await?;
        if status == StatusCode::NOT_FOUND {
            let made = self.names.definition(self.dimensions);
            let (status, answer) = self.client.send(Method::PUT, &self.names.index, made.to_string()).await?;
            let there = answer["error"]["type"] == "resource_already_exists_exception";
            if !status.is_success() && !there {
                return Err(refused(status, &answer));
            }
        } else if !status.is_success() {
            return Err(refused(status, &found));
        } else {
            self.check_vectors(&found)?;
            self.client.call(Method::PUT, &self.path("_mapping"), &Names::mapping()).await?;
        }
        Ok(())
    }

    /// `found` has the mapping under the index's own name, which an alias may stand for.
    fn check_vectors(&self, found: &Value) -> Result<(), VectorError> {
        let mappings = found.as_object().and_then(|indexes| indexes.values().next());
        let field = mappings.map(|index| &index["mappings"]["properties"][&self.names.vector]);
        let length = field.and_then(|field| field["dimension"].as_u64());
        match length.and_then(|length| usize::try_from(length).ok()) {
            Some(found) if found == self.dimensions => Ok(()),
            Some(found) => Err(VectorError::Dimensions { expected: found, found: self.dimensions }),
            None => Err(VectorError::Refused(format!(
                "the index {} has no knn_vector field {}",
                self.names.index, self.names.vector
            ))),
        }
    }

    async fn ask(&self, body: &Value) -> Result<Value, VectorError> {
        self.client.call(Method::POST, &self.path("_search"), body).await
    }

    fn chunks(&self, answer: &Value) -> Result<Vec<(Chunk, i64)>, VectorError> {
        let hits = answer["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
        hits.iter().map(|hit| self.names.read(&hit["_source"])).collect()
    }

    /// What the cluster's own hybrid search finds, best first; none where it has none.
    async fn piped(
        &self,
        query: &Query,
        vector: &[f32],
        words: &[String],
    ) -> Result<Option<Vec<Numbered>>, VectorError> {
        if words.is_empty() || !self.pipeline.may_be_there() {
            return Ok(None);
        }
        let body = hybrid::request(query, (&self.names.vector, vector), words, query.limit);
        let Some(answer) = self.pipeline.judge(self.ask(&body).await)? else { return Ok(None) };
        let scores = hybrid::best(&answer, query.limit);
        let ids: Vec<&String> = scores.keys().collect();
        let body = json!({"size": ids.len(), "_source": self.names.without_vector(),
            "query": {"ids": {"values": ids}}});
        let answer = self.ask(&body).await?;
        let hits = answer["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
        let read = |hit: &Value| {
            let (chunk, number) = self.names.read(&hit["_source"])?;
            let score = hit["_id"].as_str().and_then(|id| scores.get(id)).copied().unwrap_or_default();
            Ok((Hit { chunk, score }, number))
        };
        hits.iter().map(read).collect::<Result<_, VectorError>>().map(Some)
    }

    /// Everything that passes, in the order it was written, up to a limit, as the fields of each that `wanted` says.
    async fn in_order(
        &self,
        filter: Vec<Value>,
        limit: usize,
        wanted: Value,
    ) -> Result<Vec<Value>, VectorError> {
        let mut found: Vec<Value> = Vec::new();
        while found.len() < limit {
            let size = (limit - found.len()).min(PAGE);
            // Two servers may give a number at the same time, but not within a document.
            let mut body = json!({"size": size, "query": {"bool": {"filter": filter}}, "_source": wanted,
                "sort": [{format!("{OURS}.number"): "asc"}, {format!("{OURS}.document"): "asc"}]});
            if let Some(last) = found.last() {
                body["search_after"] = last["sort"].clone();
            }
            let mut answer = self.ask(&body).await?;
            let Value::Array(page) = answer["hits"]["hits"].take() else { break };
            let whole = page.len() == size;
            found.extend(page);
            if !whole {
                break;
            }
        }
        Ok(found)
    }

    /// The chunks that pass, with their vectors.
    async fn chunks_in_order(&self, filter: Value) -> Result<Vec<Chunk>, VectorError> {
        let found = self.in_order(vec![filter], usize::MAX, json!(true)).await?;
        found.iter().map(|hit| self.names.read(&hit["_source"]).map(|(chunk, _)| chunk)).collect()
    }

    /// The ids that a query finds, and the documents they are of.
    async fn ids(&self, filter: Value) -> Result<Vec<(String, String)>, VectorError> {
        // What a server left that died in a write, or whose write failed, is there and not shown.
        self.refresh().await?;
        let found = self.in_order(vec![filter], usize::MAX, json!([format!("{OURS}.document")])).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(found.iter().map(|hit| (text(&hit["_id"]), text(&hit["_source"][OURS]["document"]))).collect())
    }

    /// Shows what was written.
    async fn refresh(&self) -> Result<(), VectorError> {
        self.client.call(Method::POST, &self.path("_refresh"), &Value::Null).await.map(drop)
    }

    /// Sends lines in requests of bounded size, and shows what they did.
    async fn bulk(&self, actions: impl Iterator<Item = String>) -> Result<(), VectorError> {
        let mut lines = String::new();
        for action in actions {
            lines.push_str(&action);
            if lines.len() > BULK_BYTES {
                self.bulk_once(std::mem::take(&mut lines)).await?;
            }
        }
        if !lines.is_empty() {
            self.bulk_once(lines).await?;
        }
        self.refresh().await
    }

    async fn bulk_once(&self, lines: String) -> Result<(), VectorError> {
        let (status, answer) = self.client.send(Method::POST, &self.path("_bulk"), lines).await?;
        if !status.is_success() {
            return Err(refused(status, &answer));
        }
        let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
        let failed =
            items.iter().flat_map(|item| item.as_object().into_iter().flat_map(|kinds| kinds.values()));
        match failed.into_iter().find(|item| !item["error"].is_null()) {
            Some(item) => {
                let status = item["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                let status = status.and_then(|status| StatusCode::from_u16(status).ok());
                Err(refused(status.unwrap_or(StatusCode::BAD_REQUEST), item))
            }
            None => Ok(()),
        }
    }

    /// Removes what a condition finds; answers how many documents it was of.
    async fn remove(&self, filter: Value) -> Result<u64, VectorError> {
        let found = self.ids(filter).await?;
        let documents: std::collections::HashSet<&String> =
            found.iter().map(|(_, document)| document).collect();
        let count = documents.len() as u64;
        self.bulk(found.iter().map(|(id, _)| documents::deletion(id))).await?;
        Ok(count)
    }
}

#[async_trait]
impl Parts for ClusterIndex {
    async fn nearest(
        &self,
        query: &Query,
        vector: &[f32],
        limit: usize,
    ) -> Result<Vec<Numbered>, VectorError> {
        let mut knn = json!({"vector": vector, "k": limit});
        let clauses = clauses(query);
        if !clauses.is_empty() {
            knn["filter"] = json!({"bool": {"filter": clauses}});
        }
        let body = json!({"size": limit, "_source": self.names.without_vector(),
            "query": {"knn": {&self.names.vector: knn}}});
        let answer = self.ask(&body).await?;
        let hits = answer["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
        let read = |hit: &Value| {
            let (chunk, number) = self.names.read(&hit["_source"])?;
            Ok((Hit { chunk, score: hit["_score"].as_f64().unwrap_or(0.5).clamp(0.0, 1.0) }, number))
        };
        hits.iter().map(read).collect()
    }

    async fn by_words(&self, query: &Query, text: &str, limit: usize) -> Result<Vec<Numbered>, VectorError> {
        let asked = bm25::distinct(text);
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let counted: serde_json::Map<String, Value> =
            asked.iter().enumerate().map(|(n, word)| (n.to_string(), hybrid::having(word))).collect();
        let length = json!({"avg": {"field": format!("{OURS}.length")}});
        let body = json!({
            "size": limit.max(bm25::CANDIDATES), "_source": self.names.without_vector(),
            "query": hybrid::having_any(&asked, &clauses(query)),
            "aggs": {"all": {"global": {}, "aggs": {"having": {"filters": {"filters": counted}}, "length": length}}},
        });
        let answer = self.ask(&body).await?;
        let all = &answer["aggregations"]["all"];
        let statistics = Statistics {
            chunks: all["doc_count"].as_f64().unwrap_or_default(),
            mean_length: all["length"]["value"].as_f64().unwrap_or(1.0),
            having: (0..asked.len())
                .map(|n| all["having"]["buckets"][n.to_string()]["doc_count"].as_f64().unwrap_or_default())
                .collect(),
        };
        let found = self.chunks(&answer)?;
        let mut hits = bm25::score(found, &asked, Some(statistics));
        sort(&mut hits);
        hits.truncate(limit);
        Ok(hits)
    }

    async fn both(&self, query: &Query, vector: &[f32], text: &str) -> Result<Vec<Numbered>, VectorError> {
        match self.piped(query, vector, &bm25::distinct(text)).await? {
            Some(hits) => Ok(hits),
            None => elsewhere::fused(self, query, vector, text).await,
        }
    }

    async fn everything(&self, query: &Query) -> Result<Vec<Numbered>, VectorError> {
        let found = self.in_order(clauses(query), query.limit, self.names.without_vector()).await?;
        let hit = |hit: &Value| {
            let (chunk, number) = self.names.read(&hit["_source"])?;
            Ok((Hit { chunk, score: 1.0 }, number))
        };
        found.iter().map(hit).collect()
    }
}

#[async_trait]
impl VectorIndex for ClusterIndex {
    fn dimensions(&self) -> usize {
        self.dimensions
    }

    async fn put(&self, documents: Vec<DocumentChunks>) -> Result<(), VectorError> {
        check_documents(&documents, self.dimensions)?;
        let mut next = self.writing.lock().await;
        let hashes: Vec<String> = documents.iter().map(|document| document_hash(&document.key)).collect();
        let before = self.ids(json!({"terms": {format!("{OURS}.document"): hashes}})).await?;
        let chunks: Vec<&Chunk> = documents.iter().flat_map(|document| &document.chunks).collect();
        let kept: std::collections::HashSet<String> =
            chunks.iter().map(|chunk| documents::id_of(chunk)).collect();
        let gone = before.iter().filter(|(id, _)| !kept.contains(id)).map(|(id, _)| documents::deletion(id));
        // Microseconds, so that another server's and those from before a restart are lower.
        let first = (*next).max(SystemClock.now_ms() * 1000);
        *next = first + i64::try_from(chunks.len()).unwrap_or_default();
        let put = (first..).zip(&chunks).map(|(number, chunk)| self.names.indexing(chunk, number));
        let actions: Vec<String> = put.chain(gone.map(Ok)).collect::<Result<_, VectorError>>()?;
        self.bulk(actions.into_iter()).await
    }

    async fn delete_documents(&self, keys: &[DocumentKey]) -> Result<u64, VectorError> {
        let _writing = self.writing.lock().await;
        let hashes: Vec<String> = keys.iter().map(document_hash).collect();
        self.remove(json!({"terms": {format!("{OURS}.document"): hashes}})).await
    }

    async fn delete_data_source(&self, owner: &str, data_source: &str) -> Result<u64, VectorError> {
        let _writing = self.writing.lock().await;
        self.remove(json!({"term": {format!("{OURS}.source"): source_hash(owner, data_source)}})).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Vec<Chunk>, VectorError> {
        let filter = json!({"term": {format!("{OURS}.document"): document_hash(key)}});
        self.chunks_in_order(filter).await
    }

    async fn search(&self, query: &Query) -> Result<Vec<Hit>, VectorError> {
        query.check(self.dimensions)?;
        elsewhere::search(self, query).await
    }

    async fn counts(&self) -> Result<Counts, VectorError> {
        let field = format!("{OURS}.document");
        // Ours only: an index that was there may hold what others put in.
        let body = json!({"size": 0, "track_total_hits": true, "query": {"exists": {"field": field}},
            "aggs": {"documents": {"cardinality": {"field": field, "precision_threshold": 40_000}}}});
        let answer = self.ask(&body).await?;
        Ok(Counts {
            documents: answer["aggregations"]["documents"]["value"].as_u64().unwrap_or_default(),
            chunks: answer["hits"]["total"]["value"].as_u64().unwrap_or_default(),
        })
    }

    async fn export(&self) -> Result<Vec<Chunk>, VectorError> {
        let filter = json!({"exists": {"field": format!("{OURS}.document")}});
        let mut chunks = self.chunks_in_order(filter).await?;
        chunks.sort_by(|a, b| a.document.cmp(&b.document));
        Ok(chunks)
    }
}
