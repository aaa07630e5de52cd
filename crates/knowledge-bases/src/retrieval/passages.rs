//! A passage that was found, on its way to a client or into a prompt.

use craton_api_bedrock_agent_runtime as api;
use craton_vectors::{Hit, SourceLocation};
use craton_wire::types::Map;

/// What a search found, as text to read.
#[derive(Debug, Clone)]
pub(super) struct Passage {
    /// The chunk's text, or its parent's.
    pub text: String,
    pub score: f64,
    /// None for documents that came with the request.
    pub hit: Option<Hit>,
    pub location: Option<api::RetrievalResultLocation>,
}

impl Passage {
    pub(super) fn of_hit(hit: Hit) -> Self {
        let parent = hit.chunk.parent.as_ref().map(|parent| parent.text.clone());
        Self {
            text: parent.unwrap_or_else(|| hit.chunk.text.clone()),
            score: hit.score,
            location: Some(location(&hit.chunk.location)),
            hit: Some(hit),
        }
    }

    /// Chunks of one passage have the same identity.
    pub(super) fn identity(&self) -> &str {
        self.hit.as_ref().map_or("", |hit| {
            hit.chunk.parent.as_ref().map_or(hit.chunk.id.as_str(), |parent| parent.id.as_str())
        })
    }

    pub(super) fn into_result(self) -> api::KnowledgeBaseRetrievalResult {
        api::KnowledgeBaseRetrievalResult {
            metadata: self.metadata(),
            content: content(self.text),
            document_id: None,
            location: self.location,
            score: Some(self.score),
        }
    }

    pub(super) fn reference(&self) -> api::RetrievedReference {
        api::RetrievedReference {
            content: Some(content(self.text.clone())),
            location: self.location.clone(),
            metadata: self.metadata(),
        }
    }

    fn metadata(&self) -> Option<Map<serde_json::Value>> {
        let attributes = self.hit.as_ref()?.chunk.attributes();
        Some(attributes.into_iter().map(|(key, value)| (key, value.to_json())).collect())
    }
}

fn content(text: String) -> api::RetrievalResultContent {
    api::RetrievalResultContent {
        text: Some(text),
        r#type: Some(api::RetrievalResultContentType::Text),
        ..Default::default()
    }
}

pub(super) fn location(source: &SourceLocation) -> api::RetrievalResultLocation {
    let mut location = api::RetrievalResultLocation {
        confluence_location: None,
        custom_document_location: None,
        google_drive_location: None,
        kendra_document_location: None,
        one_drive_location: None,
        s3_location: None,
        salesforce_location: None,
        share_point_location: None,
        sql_location: None,
        r#type: api::RetrievalResultLocationType::S3,
        web_location: None,
    };
    match source {
        SourceLocation::S3(uri) => {
            location.s3_location = Some(api::RetrievalResultS3Location { uri: Some(uri.clone()) });
        }
        SourceLocation::Web(url) => {
            location.r#type = api::RetrievalResultLocationType::Web;
            location.web_location = Some(api::RetrievalResultWebLocation { url: Some(url.clone()) });
        }
        SourceLocation::Custom(id) => {
            location.r#type = api::RetrievalResultLocationType::Custom;
            location.custom_document_location =
                Some(api::RetrievalResultCustomDocumentLocation { id: Some(id.clone()) });
        }
    }
    location
}
