use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Metadata key of a chunk's source, as AWS names it.
pub const SOURCE_URI: &str = "x-amz-bedrock-kb-source-uri";
/// Metadata key of a chunk's id.
pub const CHUNK_ID: &str = "x-amz-bedrock-kb-chunk-id";
/// Metadata key of a chunk's data source.
pub const DATA_SOURCE_ID: &str = "x-amz-bedrock-kb-data-source-id";
/// Metadata key of the page a chunk begins on, counted from 1; ingestion sets it where documents have pages.
pub const PAGE_NUMBER: &str = "x-amz-bedrock-kb-document-page-number";

/// Which document chunks belong to. All three parts together are unique in an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DocumentKey {
    /// The knowledge base's id; empty for what was written straight into a collection.
    pub owner: String,
    pub data_source: String,
    /// Unique in its data source: an object's URI, a page's URL, a custom document's id.
    pub document: String,
}

impl DocumentKey {
    pub fn new(
        owner: impl Into<String>,
        data_source: impl Into<String>,
        document: impl Into<String>,
    ) -> Self {
        Self { owner: owner.into(), data_source: data_source.into(), document: document.into() }
    }
}

/// A piece of a document, as it is searched and returned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// Unique in its index.
    pub id: String,
    pub document: DocumentKey,
    /// What was embedded and is searched by keywords.
    pub text: String,
    /// The passage to return in place of `text` (hierarchical chunking). Chunks of one parent share its id.
    pub parent: Option<Parent>,
    /// Attributes that filters see and results carry. System attributes are added by [`Chunk::attributes`].
    pub metadata: BTreeMap<String, MetadataValue>,
    /// Any length but zero; compared by cosine.
    pub vector: Vec<f32>,
    pub location: SourceLocation,
    /// Opaque JSON text kept with the chunk for whoever wrote it, such as an OpenSearch document's source.
    pub payload: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub id: String,
    pub text: String,
}

/// An attribute's value, typed as in a `.metadata.json` file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetadataValue {
    Boolean(bool),
    Number(f64),
    Text(String),
    List(Vec<String>),
}

impl From<&str> for MetadataValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl MetadataValue {
    /// The value as JSON; whole numbers without a fraction.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Boolean(value) => (*value).into(),
            Self::Number(value) => number_to_json(*value),
            Self::Text(value) => value.as_str().into(),
            Self::List(values) => values.as_slice().into(),
        }
    }

    /// Reads a JSON value that metadata can hold: a boolean, a number, a string or a list of strings.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        use serde_json::Value;
        match value {
            Value::Bool(value) => Some(Self::Boolean(*value)),
            Value::Number(value) => value.as_f64().map(Self::Number),
            Value::String(value) => Some(Self::Text(value.clone())),
            Value::Array(values) => {
                let texts: Option<Vec<String>> =
                    values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
                texts.map(Self::List)
            }
            Value::Null | Value::Object(_) => None,
        }
    }
}

/// Above this a 64-bit float no longer tells neighbouring whole numbers apart.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

fn number_to_json(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 && value.abs() < LARGEST_EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and small enough, checked above")]
        return (value as i64).into();
    }
    value.into()
}

/// Where a chunk's document came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "at", rename_all = "lowercase")]
pub enum SourceLocation {
    /// `s3://bucket/key`
    S3(String),
    /// A page's URL.
    Web(String),
    /// The id its owner gave a custom document.
    Custom(String),
}

impl SourceLocation {
    /// The URI, URL or id.
    pub fn uri(&self) -> &str {
        let (Self::S3(uri) | Self::Web(uri) | Self::Custom(uri)) = self;
        uri
    }
}

impl Chunk {
    /// Every attribute that filters see: the metadata and the system's own. The system's win, so that a document
    /// can't claim another source.
    pub fn attributes(&self) -> BTreeMap<String, MetadataValue> {
        let mut attributes = self.metadata.clone();
        attributes.insert(SOURCE_URI.to_owned(), self.location.uri().into());
        attributes.insert(CHUNK_ID.to_owned(), self.id.as_str().into());
        attributes.insert(DATA_SOURCE_ID.to_owned(), self.document.data_source.as_str().into());
        attributes
    }
}

/// A chunk without its text and vector, as stores with columns of somebody else's naming keep it: as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Details {
    /// Order in which chunks were written.
    pub number: i64,
    chunk: String,
    owner: String,
    data_source: String,
    document: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    #[serde(default)]
    metadata: BTreeMap<String, MetadataValue>,
    /// All that filters see.
    #[serde(default)]
    attributes: BTreeMap<String, MetadataValue>,
    location: SourceLocation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

impl Details {
    pub(crate) fn of(chunk: &Chunk, number: i64) -> Self {
        Self {
            number,
            chunk: chunk.id.clone(),
            owner: chunk.document.owner.clone(),
            data_source: chunk.document.data_source.clone(),
            document: chunk.document.document.clone(),
            parent: chunk.parent.clone(),
            metadata: chunk.metadata.clone(),
            attributes: chunk.attributes(),
            location: chunk.location.clone(),
            payload: chunk.payload.clone(),
        }
    }

    /// The chunk, without its vector.
    pub(crate) fn into_chunk(self, text: String) -> Chunk {
        Chunk {
            id: self.chunk,
            document: DocumentKey {
                owner: self.owner,
                data_source: self.data_source,
                document: self.document,
            },
            text,
            parent: self.parent,
            metadata: self.metadata,
            vector: Vec::new(),
            location: self.location,
            payload: self.payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_its_types_through_json() {
        let json: serde_json::Value =
            serde_json::json!({"y": 2025, "p": 2.5, "b": true, "t": "x", "l": ["a", "b"]});
        for (_, value) in json.as_object().unwrap() {
            assert_eq!(MetadataValue::from_json(value).unwrap().to_json(), *value);
            let read: MetadataValue = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(read.to_json(), *value);
        }
        assert_eq!(MetadataValue::from_json(&serde_json::json!([1])), None);
        assert_eq!(MetadataValue::from_json(&serde_json::json!(null)), None);
    }
}
