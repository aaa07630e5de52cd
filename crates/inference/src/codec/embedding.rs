//! Embedding bodies of InvokeModel: Titan, Cohere Embed and Nova, over one [`EmbedRequest`].
//!
//! Vectors are brought to the width that the caller asked for, or that the model has, by
//! [`fit_dimensions`](craton_backend::fit_dimensions). They are of unit length, unless Titan V2 is asked not to
//! normalise: then each has the length that the serving model gave it before, whatever its width.

mod cohere;
mod quantize;

use bytes::Bytes;
use craton_backend::{EmbedRequest, Embeddings, fit_dimensions, length};
use craton_models::Family;
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::reader::{self, Dialect, Node};

/// Characters of a Titan input.
const TITAN_MOST_CHARACTERS: usize = 50_000;

/// An embedding body, read.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedDecoded {
    pub request: EmbedRequest,
    /// The width asked for; when `None` the caller sets the model's own.
    pub dimensions: Option<u32>,
    /// Vectors at the length that the model gives them, to be had from
    /// [`embed_raw`](craton_backend::EmbeddingModel::embed_raw).
    pub raw: bool,
    form: Form,
}

/// What the answer looks like.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    TitanV1,
    TitanV2 { types: Vec<String> },
    TitanImage,
    Cohere { id: String, types: Option<Vec<String>> },
    Nova,
}

/// Reads the body of an embedding family. `model_id` tells Cohere's generations apart.
///
/// # Errors
/// `ValidationException` in the family's wording; also for image and other inputs that are not served, and for a
/// family that does not embed.
pub fn decode(family: Family, model_id: &str, body: &[u8]) -> Result<EmbedDecoded, ApiError> {
    let body = reader::parse(body)?;
    let body = Node::root(&body, Dialect::JsonSchema);
    match family {
        Family::TitanEmbedV1 => titan_v1(&body),
        Family::TitanEmbedV2 => titan_v2(&body),
        Family::TitanEmbedImage => titan_image(&body),
        Family::CohereEmbed => cohere::read(&body, model_id),
        Family::NovaEmbed => nova(&body),
        _ => Err(ApiError::validation("This model does not make embeddings.")),
    }
}

impl EmbedDecoded {
    /// The answer's body.
    ///
    /// # Errors
    /// `InternalServerException` when the vectors are not one a text.
    pub fn encode(&self, embeddings: &Embeddings) -> Result<Bytes, ApiError> {
        if embeddings.vectors.len() != self.request.texts.len() {
            return Err(ApiError::internal("the model returned another number of vectors than of texts"));
        }
        let vectors: Vec<Vec<f32>> = embeddings
            .vectors
            .iter()
            .map(|vector| match self.dimensions {
                Some(width) if self.raw => scaled(fit_dimensions(vector, width as usize), length(vector)),
                Some(width) => fit_dimensions(vector, width as usize),
                None => vector.clone(),
            })
            .collect();
        let first = vectors.first().map(Vec::as_slice).unwrap_or_default();
        let tokens: u32 = embeddings.input_tokens.iter().fold(0, |sum, count| sum.saturating_add(*count));
        let body = match &self.form {
            Form::TitanV1 => json!({"embedding": first, "inputTextTokenCount": tokens}),
            Form::TitanV2 { types } => titan_v2_answer(first, types, tokens),
            Form::TitanImage => json!({"embedding": first, "inputTextTokenCount": tokens, "message": null}),
            Form::Cohere { id, types } => cohere::answer(id, types.as_deref(), &self.request.texts, &vectors),
            Form::Nova => json!({"embeddings": [{"embeddingType": "TEXT", "embedding": first}]}),
        };
        serde_json::to_vec(&body)
            .map(Bytes::from)
            .map_err(|error| ApiError::internal(format!("the answer could not be written: {error}")))
    }
}

fn scaled(mut vector: Vec<f32>, by: f32) -> Vec<f32> {
    vector.iter_mut().for_each(|value| *value *= by);
    vector
}

fn one_text(text: &str, truncate: bool, dimensions: Option<u32>, form: Form) -> EmbedDecoded {
    let request = EmbedRequest { model: String::new(), texts: vec![text.to_owned()], truncate };
    EmbedDecoded { request, dimensions, raw: false, form }
}

fn titan_text<'a>(node: &Node<'a>) -> Result<&'a str, ApiError> {
    let text = node.filled_string()?;
    let characters = text.chars().count();
    if characters > TITAN_MOST_CHARACTERS {
        return Err(
            node.refuse(&format!("expected maxLength: {TITAN_MOST_CHARACTERS}, actual: {characters}"))
        );
    }
    Ok(text)
}

fn titan_v1(body: &Node<'_>) -> Result<EmbedDecoded, ApiError> {
    let body = body.object(&["inputText"], &[])?;
    Ok(one_text(titan_text(&body.require("inputText")?)?, false, None, Form::TitanV1))
}

fn titan_v2(body: &Node<'_>) -> Result<EmbedDecoded, ApiError> {
    let body = body.object(&["inputText"], &["dimensions", "embeddingTypes", "normalize"])?;
    let raw = body.boolean("normalize")? == Some(false);
    let dimensions = match body.get("dimensions") {
        Some(node) => width(&node, &[256, 512, 1024])?,
        None => 1024,
    };
    let types = match body.get("embeddingTypes") {
        Some(node) => words(&node, &["float", "binary"])?,
        None => vec!["float".to_owned()],
    };
    let text = titan_text(&body.require("inputText")?)?;
    Ok(EmbedDecoded { raw, ..one_text(text, false, Some(dimensions), Form::TitanV2 { types }) })
}

/// `embedding` is there whenever floats are wanted; `embeddingsByType` always is.
fn titan_v2_answer(vector: &[f32], types: &[String], tokens: u32) -> Value {
    let (mut body, mut by_type) = (Map::new(), Map::new());
    for kind in types {
        if kind == "float" {
            body.insert("embedding".to_owned(), json!(vector));
            by_type.insert(kind.clone(), json!(vector));
        } else {
            by_type.insert(kind.clone(), json!(quantize::signs(vector)));
        }
    }
    body.insert("embeddingsByType".to_owned(), Value::Object(by_type));
    body.insert("inputTextTokenCount".to_owned(), json!(tokens));
    Value::Object(body)
}

fn titan_image(body: &Node<'_>) -> Result<EmbedDecoded, ApiError> {
    let body = body.object(&[], &["embeddingConfig", "inputImage", "inputText"])?;
    if let Some(image) = body.get("inputImage") {
        return Err(image.refuse("image input is not served by this model"));
    }
    let mut dimensions = 1024;
    if let Some(config) = body.get("embeddingConfig") {
        let config = config.object(&[], &["outputEmbeddingLength"])?;
        if let Some(node) = config.get("outputEmbeddingLength") {
            dimensions = width(&node, &[256, 384, 1024])?;
        }
    }
    Ok(one_text(titan_text(&body.require("inputText")?)?, false, Some(dimensions), Form::TitanImage))
}

fn nova(body: &Node<'_>) -> Result<EmbedDecoded, ApiError> {
    let body =
        body.object(&["taskType"], &["schemaVersion", "segmentedEmbeddingParams", "singleEmbeddingParams"])?;
    if let Some(version) = body.get("schemaVersion") {
        version.word(&["nova-multimodal-embed-v1"])?;
    }
    let task = body.require("taskType")?;
    if task.word(&["SINGLE_EMBEDDING", "SEGMENTED_EMBEDDING"])? == "SEGMENTED_EMBEDDING" {
        return Err(task.refuse("segmented embeddings are made by StartAsyncInvoke only"));
    }
    let params = body
        .require("singleEmbeddingParams")?
        .object(&["embeddingPurpose"], &["audio", "embeddingDimension", "image", "text", "video"])?;
    params.require("embeddingPurpose")?.word(&[
        "GENERIC_INDEX",
        "GENERIC_RETRIEVAL",
        "TEXT_RETRIEVAL",
        "IMAGE_RETRIEVAL",
        "VIDEO_RETRIEVAL",
        "DOCUMENT_RETRIEVAL",
        "AUDIO_RETRIEVAL",
        "CLASSIFICATION",
        "CLUSTERING",
    ])?;
    for kind in ["audio", "image", "video"] {
        if let Some(node) = params.get(kind) {
            return Err(node.refuse("only text input is served by this model"));
        }
    }
    let dimensions = match params.get("embeddingDimension") {
        Some(node) => width(&node, &[256, 384, 1024, 3072])?,
        None => 3072,
    };
    let text = params.require("text")?.object(&["truncationMode"], &["source", "value"])?;
    let mode = text.require("truncationMode")?.word(&["START", "END", "NONE"])?;
    if let Some(source) = text.get("source") {
        return Err(source.refuse("text is served from its value only"));
    }
    // Only a text's head can be embedded: for START an overlong text is an error, not a silent END.
    Ok(one_text(text.require("value")?.filled_string()?, mode == "END", Some(dimensions), Form::Nova))
}

fn width(node: &Node<'_>, offered: &[u32]) -> Result<u32, ApiError> {
    let width = node.count(0..=u32::MAX)?;
    if offered.contains(&width) {
        Ok(width)
    } else {
        Err(node.refuse(&format!("{width} is not a valid enum value")))
    }
}

fn words(node: &Node<'_>, offered: &[&str]) -> Result<Vec<String>, ApiError> {
    node.sized_list(1..=offered.len())?.iter().map(|item| item.word(offered).map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests;
