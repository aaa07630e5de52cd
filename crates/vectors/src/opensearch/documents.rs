//! Chunks as documents of the mapped index.

use craton_wire::sigv4::sha256;
use serde_json::{Value, json};

use super::conditions::{self, OURS};
use crate::chunk::Details;
use crate::words::words;
use crate::{Chunk, DocumentKey, OpenSearchIndex, VectorError};

/// Longest name of an index or a field.
const MAX_NAME_BYTES: usize = 255;

/// An index and its fields, checked.
pub(super) struct Names {
    pub index: String,
    pub vector: String,
    text: String,
    metadata: String,
}

impl Names {
    pub(super) fn new(of: &OpenSearchIndex) -> Result<Self, VectorError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fine = |name: &str| !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(plain);
        let index = &of.index;
        if !fine(index)
            || index.starts_with(['-', '_', '.'])
            || index.contains(|c: char| c.is_ascii_uppercase())
        {
            return Err(VectorError::Invalid(format!("'{index}' is not a name of an OpenSearch index.")));
        }
        for field in [&of.vector_field, &of.text_field, &of.metadata_field] {
            if !fine(field) || field.contains('.') || field == OURS {
                return Err(VectorError::Invalid(format!("'{field}' can't be the name of a field.")));
            }
        }
        Ok(Self {
            index: index.clone(),
            vector: of.vector_field.clone(),
            text: of.text_field.clone(),
            metadata: of.metadata_field.clone(),
        })
    }

    /// An index for vectors of this length.
    pub(super) fn definition(&self, dimensions: usize) -> Value {
        let method = json!({"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil",
            "parameters": {"m": 16, "ef_construction": 128}});
        let mut properties = Self::mapping()["properties"].clone();
        properties[&self.vector] = json!({"type": "knn_vector", "dimension": dimensions, "method": method});
        properties[&self.text] = json!({"type": "text"});
        properties[&self.metadata] = json!({"type": "text", "index": false});
        json!({
            "settings": {"index": {"knn": true, "refresh_interval": "-1"}},
            "mappings": {"dynamic": false, "properties": properties},
        })
    }

    /// Our fields, of which an index that is there has none yet.
    pub(super) fn mapping() -> Value {
        let keyword = json!({"type": "keyword"});
        json!({"properties": {OURS: {"properties": {
            "owner": keyword, "source": keyword, "document": keyword, "number": {"type": "long"},
            "words": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
            "length": {"type": "integer"}, "attributes": conditions::mapping(),
        }}}})
    }

    /// What of a document is returned where its vector is not needed.
    pub(super) fn without_vector(&self) -> Value {
        json!([self.text, self.metadata])
    }

    /// A line that puts a chunk, and the chunk's own.
    pub(super) fn indexing(&self, chunk: &Chunk, number: i64) -> Result<String, VectorError> {
        let details = serde_json::to_string(&Details::of(chunk, number));
        let details = details.map_err(|error| VectorError::Internal(error.to_string()))?;
        let words = words(&chunk.text);
        let DocumentKey { owner, data_source, .. } = &chunk.document;
        let action = json!({"index": {"_id": id_of(chunk)}});
        let document = json!({
            &self.vector: chunk.vector, &self.text: chunk.text, &self.metadata: details,
            OURS: {
                "owner": owner, "source": source_hash(owner, data_source), "document": document_hash(&chunk.document),
                "number": number, "length": words.len(), "words": words.join(" "),
                "attributes": conditions::terms(&chunk.attributes()),
            },
        });
        Ok(format!("{action}\n{document}\n"))
    }

    /// A document's chunk, with its vector where the answer has it, and its number.
    pub(super) fn read(&self, source: &Value) -> Result<(Chunk, i64), VectorError> {
        let details = source[&self.metadata].as_str().unwrap_or_default();
        let details: Details =
            serde_json::from_str(details).map_err(|error| VectorError::Corrupt(error.to_string()))?;
        let number = details.number;
        let mut chunk = details.into_chunk(source[&self.text].as_str().unwrap_or_default().to_owned());
        if let Some(values) = source[&self.vector].as_array() {
            #[expect(clippy::cast_possible_truncation, reason = "it was written from 32 bits")]
            let values = values.iter().map(|value| value.as_f64().unwrap_or_default() as f32);
            chunk.vector = values.collect();
        }
        Ok((chunk, number))
    }
}

pub(super) fn deletion(id: &str) -> String {
    format!("{}\n", json!({"delete": {"_id": id}}))
}

/// A document's id in the cluster, of at most 512 bytes.
pub(super) fn id_of(chunk: &Chunk) -> String {
    hash(&["chunk", &chunk.id])
}

pub(super) fn document_hash(DocumentKey { owner, data_source, document }: &DocumentKey) -> String {
    hash(&["document", owner, data_source, document])
}

pub(super) fn source_hash(owner: &str, data_source: &str) -> String {
    hash(&["source", owner, data_source])
}

/// Of parts that are told apart wherever one ends.
fn hash(parts: &[&str]) -> String {
    let text = parts.iter().map(|part| format!("{}:{part}", part.len())).collect::<String>();
    hex::encode(sha256(text.as_bytes()))
}
