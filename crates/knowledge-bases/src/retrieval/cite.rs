//! Citations for an answer that somebody else made from passages of this service: an agent.

use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_wire::ApiError;

use super::Retrieval;
use super::attribution::{Cleaner, attribute};

impl Retrieval {
    /// The parts of `answer` that rest on passages, each with those passages; parts that rest on none are left out.
    /// Sentences are compared with the embedding model of the knowledge base `id`.
    pub async fn cite(
        &self,
        context: &RequestContext,
        id: &str,
        answer: &str,
        references: Vec<api::RetrievedReference>,
    ) -> Result<Vec<api::Citation>, ApiError> {
        let embedder = self.parts.searchables.searchable(context, id).await?.embedder;
        let mut cleaner = Cleaner::verbatim();
        cleaner.push(answer);
        cleaner.finish();
        let text = |reference: &api::RetrievedReference| {
            reference.content.as_ref().and_then(|content| content.text.clone()).unwrap_or_default()
        };
        let texts: Vec<String> = references.iter().map(text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let parts = attribute(&cleaner, &texts, Some(&*embedder)).await?;
        let cited = parts.iter().filter(|part| !part.passages.is_empty()).map(|part| api::Citation {
            generated_response_part: Some(part.to_api(cleaner.text())),
            retrieved_references: Some(
                part.passages.iter().filter_map(|n| references.get(*n).cloned()).collect(),
            ),
        });
        Ok(cited.collect())
    }
}
