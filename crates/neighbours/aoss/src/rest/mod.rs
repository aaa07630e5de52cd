//! A collection's endpoint: the part of OpenSearch's REST API with which an index is made, filled, looked at, searched
//! and deleted.
//!
//! * `indexes`: an index is a record with its mapping, over an index of the embedded driver. The one `knn_vector` field
//!   of the mapping is what is searched by meaning; cosine similarity is used whatever the mapping's `space_type` says.
//! * `documents`: a document is a chunk: its text fields together are searched by words, its other fields are
//!   attributes, its source is kept as it came. Chunks of knowledge bases appear as documents too.
//! * `named`: indexes that knowledge bases fill, and what they call their fields.
//! * `grants`: what of that the caller may do.
//! * `search`: queries in OpenSearch's language that come down to meaning, words, attributes, or both with a filter.
//! * `strict`: what a request may say.
//!
//! What is not understood is refused by name, in OpenSearch's form of errors.

mod documents;
mod grants;
mod indexes;
mod named;
mod search;
mod strict;

use std::borrow::Cow;

use craton_core::RequestContext;
use craton_wire::ApiError;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use self::grants::{Grants, Right};
pub use self::named::{FieldNames, NamedIndex};
use crate::Collections;

/// One call of a collection's endpoint.
#[derive(Debug, Clone)]
pub struct RestRequest {
    /// `GET`, `PUT`…
    pub method: String,
    /// Below the collection: `my-index/_search`, percent-encoded.
    pub path: String,
    pub query: Option<String>,
    pub body: bytes::Bytes,
}

/// Its answer. HEAD has no body.
#[derive(Debug, Clone, PartialEq)]
pub struct RestReply {
    pub status: u16,
    pub body: Value,
}

impl RestReply {
    fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }
}

/// An error in OpenSearch's words.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}: {reason}")]
struct RestError {
    status: u16,
    kind: &'static str,
    reason: String,
}

impl RestError {
    fn unsupported(what: &str) -> Self {
        Self { status: 400, kind: "parsing_exception", reason: format!("{what} is not served here") }
    }

    fn malformed(reason: impl Into<String>) -> Self {
        Self { status: 400, kind: "parsing_exception", reason: reason.into() }
    }

    fn no_index(name: &str) -> Self {
        Self { status: 404, kind: "index_not_found_exception", reason: format!("no such index [{name}]") }
    }

    fn to_json(&self) -> Value {
        let cause = json!({"type": self.kind, "reason": self.reason});
        json!({"error": {"root_cause": [cause], "type": self.kind, "reason": self.reason}, "status": self.status})
    }
}

impl From<ApiError> for RestError {
    fn from(error: ApiError) -> Self {
        let (status, kind) = match error.code.as_ref() {
            "ValidationException" => (400, "illegal_argument_exception"),
            "ResourceNotFoundException" => (404, "resource_not_found_exception"),
            "ServiceUnavailableException" => (503, "service_unavailable_exception"),
            _ => (500, "internal_server_error"),
        };
        Self { status, kind, reason: error.message }
    }
}

impl From<craton_vectors::VectorError> for RestError {
    fn from(error: craton_vectors::VectorError) -> Self {
        crate::error::from_vectors(error).into()
    }
}

/// A collection being spoken to.
struct Endpoint<'a> {
    service: &'a Collections,
    context: &'a RequestContext,
    collection: String,
    grants: Grants,
}

impl Collections {
    /// Answers one call of a collection's endpoint.
    pub async fn rest(&self, context: &RequestContext, collection: &str, request: RestRequest) -> RestReply {
        let answered = match self.endpoint(context, collection).await {
            Ok(endpoint) => endpoint.answer(&request).await,
            Err(error) => Err(error.into()),
        };
        answered.unwrap_or_else(|error| RestReply { status: error.status, body: error.to_json() })
    }

    async fn endpoint<'a>(&'a self, context: &'a RequestContext, id: &str) -> Result<Endpoint<'a>, ApiError> {
        let found = self.collection(context, id).await?;
        let grants = self.grants(context, found.name.as_deref().unwrap_or_default()).await?;
        Ok(Endpoint { service: self, context, collection: id.to_owned(), grants })
    }
}

impl Endpoint<'_> {
    async fn answer(&self, request: &RestRequest) -> Result<RestReply, RestError> {
        let method = request.method.as_str();
        let parts = request.path.split('/').filter(|part| !part.is_empty());
        // Decoded part by part: a document's id may have a slash.
        let path: Vec<Cow<'_, str>> = parts
            .map(|part| percent_decode_str(part).decode_utf8())
            .collect::<Result<_, _>>()
            .map_err(|_| RestError::malformed("the path is not UTF-8"))?;
        let path: Vec<&str> = path.iter().map(Cow::as_ref).collect();
        let known: &[&str] = match path.as_slice() {
            ["_cat", ..] => &["format", "v"],
            [_, "_search"] => &["from", "size"],
            [_, "_doc", ..] if method != "GET" => &["op_type"],
            _ => &[],
        };
        strict::parameters(request, known)?;
        match (method, path.as_slice()) {
            ("GET" | "HEAD", []) => Ok(RestReply::ok(self.about())),
            ("GET", ["_cat", "indices"]) => self.list_indexes(None).await,
            ("GET", ["_cat", "indices", name]) => self.list_indexes(Some(name)).await,
            ("POST" | "PUT", ["_bulk"]) => self.bulk(None, &request.body).await,
            ("POST" | "PUT", [index, "_bulk"]) => self.bulk(Some(index), &request.body).await,
            ("PUT", [index]) => self.create_index(index, &json_body(&request.body)?).await,
            ("GET", [index]) => self.get_index(index).await,
            ("HEAD", [index]) => {
                self.index(index, Right::DescribeIndex).await.map(|_| RestReply::ok(Value::Null))
            }
            ("DELETE", [index]) => self.delete_index(index).await,
            ("GET", [index, "_mapping" | "_mappings"]) => self.get_mapping(index).await,
            ("PUT" | "POST", [index, "_mapping" | "_mappings"]) => {
                self.put_mapping(index, &json_body(&request.body)?).await
            }
            ("GET", [index, "_settings"]) => self.get_settings(index).await,
            ("POST" | "GET", [index, "_refresh"]) => {
                self.index(index, Right::WriteDocument).await?;
                Ok(RestReply::ok(json!({"_shards": shards()})))
            }
            ("POST" | "PUT", [index, "_doc"]) => self.put_document(index, None, request, false).await,
            ("POST" | "PUT", [index, "_doc", id]) => self.put_document(index, Some(id), request, false).await,
            ("POST" | "PUT", [index, "_create", id]) => {
                self.put_document(index, Some(id), request, true).await
            }
            ("GET" | "HEAD", [index, "_doc", id]) => self.get_document(index, id).await,
            ("DELETE", [index, "_doc", id]) => self.delete_document(index, id).await,
            ("POST" | "GET", [index, "_search"]) => self.search(index, request).await,
            ("POST" | "GET", [index, "_count"]) => self.count(index, &json_body(&request.body)?).await,
            _ => Err(RestError {
                status: 404,
                kind: "illegal_argument_exception",
                reason: format!("{method} /{} is not served here", request.path),
            }),
        }
    }

    fn about(&self) -> Value {
        json!({
            "name": "craton", "cluster_name": self.collection,
            "version": {"distribution": "opensearch", "number": "2.17.0"},
            "tagline": "The OpenSearch Project: https://opensearch.org/",
        })
    }
}

fn shards() -> Value {
    json!({"total": 1, "successful": 1, "skipped": 0, "failed": 0})
}

/// A body's JSON; an empty body is an empty object.
fn json_body(body: &[u8]) -> Result<Value, RestError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    serde_json::from_slice(body)
        .map_err(|error| RestError::malformed(format!("the body is not JSON: {error}")))
}

/// A parameter of the query string, as it stands.
fn parameter<'a>(request: &'a RestRequest, name: &str) -> Option<&'a str> {
    let pairs = request.query.as_deref()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}
