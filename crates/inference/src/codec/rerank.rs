//! Rerank bodies of InvokeModel: Cohere Rerank and Amazon Rerank, over one [`RerankRequest`].

use bytes::Bytes;
use craton_backend::RerankRequest;
use craton_models::Family;
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::reader::{self, Dialect, Node};

const MOST_DOCUMENTS: usize = 1000;

/// A rerank body, read.
#[derive(Debug, Clone, PartialEq)]
pub struct RerankDecoded {
    pub request: RerankRequest,
    /// How many of the best to answer with; all when `None`.
    pub top_n: Option<u32>,
}

/// Reads the body of a rerank family.
///
/// # Errors
/// `ValidationException` in the family's wording; also for a family that does not rerank.
pub fn decode(family: Family, body: &[u8]) -> Result<RerankDecoded, ApiError> {
    let body = reader::parse(body)?;
    let body = Node::root(&body, Dialect::JsonSchema);
    let body = match family {
        Family::CohereRerank => {
            let body = body.object(
                &["api_version", "documents", "query"],
                &["max_tokens_per_doc", "return_documents", "top_n"],
            )?;
            body.require("api_version")?.integer(1..=2)?;
            body.count("max_tokens_per_doc", 1..=u32::MAX)?;
            if body.boolean("return_documents")? == Some(true) {
                let node = body.require("return_documents")?;
                return Err(node.refuse("documents are not returned by this model"));
            }
            body
        }
        Family::AmazonRerank => body.object(&["documents", "query"], &["top_n"])?,
        _ => return Err(ApiError::validation("This model does not rerank.")),
    };
    let documents: Result<Vec<String>, ApiError> =
        body.require("documents")?.sized_list(1..=MOST_DOCUMENTS)?.iter().map(document).collect();
    Ok(RerankDecoded {
        request: RerankRequest {
            model: String::new(),
            query: body.require("query")?.filled_string()?.to_owned(),
            documents: documents?,
        },
        top_n: body.count("top_n", 1..=u32::MAX)?,
    })
}

/// A text, or an object: `{"text": …}` is its text, any other is ranked by its JSON.
fn document(node: &Node<'_>) -> Result<String, ApiError> {
    match node.value() {
        Value::Object(fields) => Ok(match fields.get("text") {
            Some(Value::String(text)) if fields.len() == 1 => text.clone(),
            _ => node.value().to_string(),
        }),
        _ => Ok(node.string()?.to_owned()),
    }
}

impl RerankDecoded {
    /// The answer's body: the documents' indices by falling score, those of equal score in their order.
    ///
    /// # Errors
    /// `InternalServerException` when the scores are not one a document.
    pub fn encode(&self, scores: &[f32]) -> Result<Bytes, ApiError> {
        if scores.len() != self.request.documents.len() {
            return Err(ApiError::internal("the model returned another number of scores than of documents"));
        }
        let mut ranked: Vec<(usize, f32)> = scores.iter().copied().enumerate().collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        ranked.truncate(self.top_n.map_or(usize::MAX, |most| most as usize));
        let results: Vec<Value> = ranked
            .into_iter()
            .map(|(index, score)| json!({"index": index, "relevance_score": score}))
            .collect();
        serde_json::to_vec(&json!({ "results": results }))
            .map(Bytes::from)
            .map_err(|error| ApiError::internal(format!("the answer could not be written: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(family: Family, body: &Value) -> Result<RerankDecoded, ApiError> {
        decode(family, &serde_json::to_vec(body).unwrap())
    }

    #[test]
    fn best_first_and_only_as_many_as_asked_for() {
        let body =
            json!({"api_version": 2, "query": "q", "documents": ["a", {"text": "b"}, {"x": 1}], "top_n": 2});
        let decoded = read(Family::CohereRerank, &body).unwrap();
        assert_eq!(decoded.request.documents, ["a", "b", "{\"x\":1}"]);
        let answer: Value = serde_json::from_slice(&decoded.encode(&[0.25, 0.5, 0.25]).unwrap()).unwrap();
        assert_eq!(
            answer,
            json!({"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]})
        );
        assert!(decoded.encode(&[0.5]).is_err());
    }

    #[test]
    fn wrong_fields_are_named() {
        for (body, part) in [
            (json!({"query": "q", "documents": ["a"]}), "#: required key [api_version] not found"),
            (
                json!({"api_version": "2", "query": "q", "documents": ["a"]}),
                "#/api_version: expected type: Integer, found: String",
            ),
            (
                json!({"api_version": 2, "query": "q", "documents": []}),
                "#/documents: expected minimum item count: 1, found: 0",
            ),
            (
                json!({"api_version": 2, "query": "q", "documents": ["a"], "top_n": 0}),
                "#/top_n: 0 is not greater or equal to 1",
            ),
        ] {
            let error = read(Family::CohereRerank, &body).unwrap_err();
            assert!(error.message.contains(part), "{}", error.message);
        }
        assert!(read(Family::AmazonRerank, &json!({"query": "q", "documents": ["a"]})).is_ok());
        assert!(read(Family::Llama, &json!({})).is_err());
    }
}
