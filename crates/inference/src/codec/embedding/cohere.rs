//! Cohere Embed, v3 and v4.

use craton_backend::EmbedRequest;
use craton_core::{IdSource as _, RandomIds};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::super::reader::{Node, Object};
use super::{EmbedDecoded, Form, quantize, width, words};

const MOST_TEXTS: usize = 96;
/// Characters of one text, v3 only.
const V3_MOST_CHARACTERS: usize = 2048;
const TYPES: &[&str] = &["float", "int8", "uint8", "binary", "ubinary"];

pub(super) fn read(body: &Node<'_>, model_id: &str) -> Result<EmbedDecoded, ApiError> {
    let v4 = model_id.contains("embed-v4");
    let mut optional = vec!["embedding_types", "images", "texts", "truncate"];
    if v4 {
        optional.extend(["inputs", "max_tokens", "output_dimension"]);
    }
    let body = body.object(&["input_type"], &optional)?;
    body.require("input_type")?.word(&[
        "search_document",
        "search_query",
        "classification",
        "clustering",
        "image",
    ])?;
    let texts = texts(&body, v4)?;
    let truncate = match body.get("truncate") {
        // Only a text's head can be embedded: where its tail is wanted an overlong text is an error.
        Some(node) => matches!(node.word(&["NONE", "START", "END", "LEFT", "RIGHT"])?, "END" | "RIGHT"),
        // v4 cuts by default, v3 refuses.
        None => v4,
    };
    let dimensions =
        body.get("output_dimension").map(|node| width(&node, &[256, 512, 1024, 1536])).transpose()?;
    let types = body.get("embedding_types").map(|node| words(&node, TYPES)).transpose()?;
    Ok(EmbedDecoded {
        raw: false,
        request: EmbedRequest { model: String::new(), texts, truncate },
        dimensions,
        form: Form::Cohere { id: RandomIds.uuid(), types },
    })
}

fn texts(body: &Object<'_>, v4: bool) -> Result<Vec<String>, ApiError> {
    if let Some(images) = body.get("images") {
        return Err(images.refuse("image input is not served by this model"));
    }
    if let Some(inputs) = body.get("inputs") {
        return inputs.sized_list(1..=MOST_TEXTS)?.iter().map(mixed_input).collect();
    }
    let mut texts = Vec::new();
    for node in body.require("texts")?.sized_list(1..=MOST_TEXTS)? {
        let text = node.filled_string()?;
        let characters = text.chars().count();
        if !v4 && characters > V3_MOST_CHARACTERS {
            return Err(
                node.refuse(&format!("expected maxLength: {V3_MOST_CHARACTERS}, actual: {characters}"))
            );
        }
        texts.push(text.to_owned());
    }
    Ok(texts)
}

/// An input of several parts, all of them text here.
fn mixed_input(node: &Node<'_>) -> Result<String, ApiError> {
    let mut parts = Vec::new();
    for item in node.object(&["content"], &[])?.require("content")?.sized_list(1..=usize::MAX)? {
        let part = item.open_object(&["type"])?;
        if part.require("type")?.word(&["text", "image_url"])? == "image_url" {
            return Err(item.refuse("image input is not served by this model"));
        }
        parts.push(part.require("text")?.filled_string()?);
    }
    Ok(parts.join("\n"))
}

pub(super) fn answer(id: &str, types: Option<&[String]>, texts: &[String], vectors: &[Vec<f32>]) -> Value {
    let (kind, embeddings) = match types {
        None => ("embeddings_floats", json!(vectors)),
        Some(types) => {
            let by_type: Map<String, Value> =
                types.iter().map(|kind| (kind.clone(), all_as(kind, vectors))).collect();
            ("embeddings_by_type", Value::Object(by_type))
        }
    };
    json!({"id": id, "texts": texts, "embeddings": embeddings, "response_type": kind})
}

fn all_as(kind: &str, vectors: &[Vec<f32>]) -> Value {
    let one = |vector: &Vec<f32>| match kind {
        "int8" => json!(quantize::int8(vector)),
        "uint8" => json!(quantize::uint8(vector)),
        "binary" => json!(quantize::binary(vector)),
        "ubinary" => json!(quantize::ubinary(vector)),
        _ => json!(vector),
    };
    vectors.iter().map(one).collect()
}
