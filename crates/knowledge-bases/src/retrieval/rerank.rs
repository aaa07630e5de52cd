//! Rerank, and reranking of what was found.

use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::types::Map;
use serde_json::Value;

use super::Retrieval;
use super::passages::Passage;
use crate::members;

impl Retrieval {
    pub async fn rerank(
        &self,
        context: &RequestContext,
        input: api::RerankRequest,
    ) -> Result<api::RerankResponse, ApiError> {
        if input.next_token.is_some() {
            return Err(ApiError::validation("The pagination token is not valid for this request."));
        }
        let query = input.queries.into_iter().next().and_then(|query| query.text_query.text);
        let query = query.ok_or_else(|| ApiError::validation("A query with text is required."))?;
        let documents = input.sources.into_iter().map(document).collect::<Result<Vec<_>, _>>()?;
        let configuration = input.reranking_configuration.bedrock_reranking_configuration;
        check_fields(configuration.model_configuration.additional_model_request_fields.as_ref())?;
        let model = &configuration.model_configuration.model_arn;
        let order = self.order(context, model, query, documents).await?;
        let most = configuration.number_of_results.and_then(|count| usize::try_from(count).ok());
        let results = order.into_iter().take(most.unwrap_or(usize::MAX)).map(|(index, score)| {
            let index = i32::try_from(index).unwrap_or(i32::MAX);
            api::RerankResult { document: None, index, relevance_score: score }
        });
        Ok(api::RerankResponse { next_token: None, results: results.collect() })
    }

    /// What was found, in the order of a rerank model, with its scores.
    pub(super) async fn rerank_passages(
        &self,
        context: &RequestContext,
        question: &str,
        passages: Vec<Passage>,
        configuration: &api::VectorSearchBedrockRerankingConfiguration,
    ) -> Result<Vec<Passage>, ApiError> {
        if passages.is_empty() {
            return Ok(passages);
        }
        let fields = configuration.metadata_configuration.as_ref();
        let documents = passages.iter().map(|passage| with_metadata(passage, fields)).collect();
        let model = &configuration.model_configuration.model_arn;
        let order = self.order(context, model, question.to_owned(), documents).await?;
        let most = configuration.number_of_reranked_results.and_then(|count| usize::try_from(count).ok());
        let mut places: Vec<Option<Passage>> = passages.into_iter().map(Some).collect();
        let reranked = order.into_iter().filter_map(|(index, score)| {
            let passage = places.get_mut(index)?.take()?;
            Some(Passage { score: f64::from(score), ..passage })
        });
        Ok(reranked.take(most.unwrap_or(usize::MAX)).collect())
    }

    /// Documents by their index, most relevant first.
    async fn order(
        &self,
        context: &RequestContext,
        model: &str,
        query: String,
        documents: Vec<String>,
    ) -> Result<Vec<(usize, f32)>, ApiError> {
        let scores = self.parts.inference.rerank(context, model, query, documents).await?;
        let mut order: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(order)
    }
}

/// What a search says of reranking, as far as it can be done.
pub(super) fn configured(
    asked: api::VectorSearchRerankingConfiguration,
) -> Result<api::VectorSearchBedrockRerankingConfiguration, ApiError> {
    let configuration = asked.bedrock_reranking_configuration.ok_or_else(|| {
        ApiError::validation(format!(
            "bedrockRerankingConfiguration is required when the type of rerankingConfiguration is {}.",
            asked.r#type.as_str()
        ))
    })?;
    check_fields(configuration.model_configuration.additional_model_request_fields.as_ref())?;
    if let Some(metadata) = &configuration.metadata_configuration {
        let wanted = match metadata.selection_mode {
            api::RerankingMetadataSelectionMode::Selective => "selectiveModeConfiguration",
            api::RerankingMetadataSelectionMode::All => "",
        };
        let because = format!("the selectionMode is {}", metadata.selection_mode.as_str());
        let given = metadata.selective_mode_configuration.is_some();
        members::only(&because, wanted, &[("selectiveModeConfiguration", given)])?;
    }
    Ok(configuration)
}

/// The models that rerank here take nothing but a question and texts.
fn check_fields(fields: Option<&Map<Value>>) -> Result<(), ApiError> {
    match fields.and_then(|fields| fields.keys().next()) {
        Some(field) => Err(ApiError::validation(format!(
            "additionalModelRequestFields has the field {field}, which no rerank model of this server takes."
        ))),
        None => Ok(()),
    }
}

fn document(source: api::RerankSource) -> Result<String, ApiError> {
    let document = source.inline_document_source;
    let wanted = match document.r#type {
        api::RerankDocumentType::Text => "textDocument",
        api::RerankDocumentType::Json => "jsonDocument",
    };
    let given = [
        ("textDocument", document.text_document.is_some()),
        ("jsonDocument", document.json_document.is_some()),
    ];
    members::only(&format!("the type of a document is {}", document.r#type.as_str()), wanted, &given)?;
    let text = match (document.text_document, document.json_document) {
        (Some(text), _) => text.text,
        (None, Some(json)) => Some(flat(&json)),
        (None, None) => None,
    };
    text.ok_or_else(|| ApiError::validation("Every source needs a textDocument or a jsonDocument."))
}

/// A JSON document as lines of `key: value`, the form rerankers are trained on.
fn flat(json: &Value) -> String {
    match json {
        Value::Object(fields) => {
            let lines = fields.iter().map(|(key, value)| match value {
                Value::String(text) => format!("{key}: {text}"),
                other => format!("{key}: {other}"),
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A passage's text after those of its attributes that the client wants the model to see.
fn with_metadata(passage: &Passage, fields: Option<&api::MetadataConfigurationForReranking>) -> String {
    let (Some(fields), Some(hit)) = (fields, &passage.hit) else { return passage.text.clone() };
    let named =
        |fields: &[api::FieldForReranking], key: &str| fields.iter().any(|field| field.field_name == key);
    use api::RerankingMetadataSelectiveModeConfiguration as Mode;
    let shown = |key: &str| match &fields.selective_mode_configuration {
        Some(Mode::FieldsToInclude(fields)) => named(fields, key),
        Some(Mode::FieldsToExclude(fields)) => !named(fields, key),
        None => true,
    };
    let attributes = hit.chunk.metadata.iter().filter(|(key, _)| shown(key));
    let mut text: String = attributes.map(|(key, value)| format!("{key}: {}\n", value.to_json())).collect();
    text.push_str(&passage.text);
    text
}
