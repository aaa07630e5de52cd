//! What Converse demands once it knows the model: fields that its provider has, and the provider's limits.
//!
//! AWS hands `additionalModelRequestFields` to the model, whose provider refuses what it doesn't know, as InvokeModel
//! does. An upstream gets the fields too and judges them itself. A model that runs here has no provider, so here they
//! are held to what the family's body may have: nothing that would change an answer is dropped without a word.

use craton_backend::{Block, ChatRequest, Document};
use craton_models::{Family, Resolved, Target};
use craton_wire::ApiError;
use serde_json::Value;

use super::decode::Decoded;
use crate::chat::as_of_model;
use crate::codec::reader::{Dialect, Node};
use crate::codec::{anthropic, openai_chat};

/// 4.5 MB of a document as it is sent.
const MAX_DOCUMENT_BYTES: usize = 4_718_592;
/// Of a request, wherever they are.
const MAX_CACHE_POINTS: usize = 4;

/// Checks the request, and gives fields of the family that the request has a place for that place.
pub(super) fn check(resolved: &Resolved, decoded: &mut Decoded) -> Result<(), ApiError> {
    let family = resolved.model.family;
    check_documents(family, &decoded.request)?;
    let of_model = |error| as_of_model("Converse", error);
    check_cache_points(family, decoded.cache_points).map_err(of_model)?;
    let request = &mut decoded.request;
    if family == Family::AnthropicMessages {
        anthropic::read_converse_fields(request).map_err(of_model)?;
    }
    if matches!(resolved.target, Target::Local { .. }) {
        let thinks = matches!(family, Family::AnthropicMessages | Family::OpenAiChat);
        // It has found its place in the request; where the family has none for it, it is a field like any other.
        if let Some(name) = decoded.thinking.filter(|_| !thinks) {
            request.extra.insert(name.to_owned(), Value::Null);
        }
        check_fields(family, request).map_err(of_model)?;
    }
    Ok(())
}

/// Newer models read PDFs, and Nova Word documents, of any size themselves.
fn check_documents(family: Family, request: &ChatRequest) -> Result<(), ApiError> {
    let is_bounded = |document: &Document| match document.format.as_str() {
        "pdf" => !matches!(family, Family::AnthropicMessages | Family::Nova),
        "docx" => family != Family::Nova,
        _ => true,
    };
    let too_large = |document: &Document| document.bytes.len() > MAX_DOCUMENT_BYTES && is_bounded(document);
    let mut blocks = request.messages.iter().flat_map(|message| &message.content);
    let refused = blocks.any(|block| match block {
        Block::Document(document) => too_large(document),
        Block::ToolResult(result) => {
            result.content.iter().any(|part| matches!(part, Block::Document(document) if too_large(document)))
        }
        _ => false,
    });
    match refused {
        true => Err(ApiError::validation(
            "The maximum document size is 4.5 MB. Reduce the size of your document and retry your request.",
        )),
        false => Ok(()),
    }
}

fn check_cache_points(family: Family, found: usize) -> Result<(), ApiError> {
    if found <= MAX_CACHE_POINTS {
        return Ok(());
    }
    Err(match family {
        Family::AnthropicMessages => anthropic::too_many_markers(found),
        _ => ApiError::validation(format!(
            "A request can have at most {MAX_CACHE_POINTS} cache points. Found {found}."
        )),
    })
}

/// What is left of the additional fields must be among those that the family's own body has.
fn check_fields(family: Family, request: &mut ChatRequest) -> Result<(), ApiError> {
    if request.extra.is_empty() {
        return Ok(());
    }
    if let Some(format) = request.extra.shift_remove("response_format") {
        read_response_format(family, format, request)?;
    }
    let (dialect, known) = match family {
        Family::AnthropicMessages => (Dialect::Anthropic, anthropic::FIELDS),
        Family::AnthropicText => (Dialect::JsonSchema, &["anthropic_version", "anthropic_beta"][..]),
        Family::Nova => (Dialect::JsonSchema, &["inferenceConfig", "reasoningConfig", "schemaVersion"][..]),
        Family::MistralChat => (Dialect::JsonSchema, &["safe_prompt"][..]),
        Family::CohereCommand => (Dialect::JsonSchema, &["logit_bias", "truncate"][..]),
        Family::CohereCommandR => {
            (Dialect::JsonSchema, &["citation_quality", "force_single_step", "prompt_truncation"][..])
        }
        Family::TitanText | Family::Llama | Family::MistralText | Family::Jamba => {
            (Dialect::JsonSchema, &[][..])
        }
        // The bodies of these take any field; see `openai_chat`.
        _ => return Ok(()),
    };
    let extra = Value::Object(request.extra.clone());
    let fields = Node::root(&extra, dialect).object(&[], known)?;
    // All that it may hold has been taken out of it.
    fields.get("inferenceConfig").map(|nested| nested.object(&[], &[])).transpose()?;
    Ok(())
}

/// `response_format`, in the families whose bodies have it in OpenAI's form. A model here is held to it like to an
/// `outputConfig`.
fn read_response_format(family: Family, format: Value, request: &mut ChatRequest) -> Result<(), ApiError> {
    let dialect = match family {
        Family::MistralChat | Family::Jamba => Dialect::JsonSchema,
        Family::OpenAiChat => Dialect::OpenAi,
        _ => {
            request.extra.insert("response_format".to_owned(), format);
            return Ok(());
        }
    };
    let body = serde_json::json!({ "response_format": format });
    let body = Node::root(&body, dialect).open_object(&[])?;
    let Some(node) = body.get("response_format") else { return Ok(()) };
    match openai_chat::response_format(&node)? {
        Some(_) if request.response_schema.is_some() => {
            Err(node.refuse("the request's outputConfig says already what the answer has to be"))
        }
        Some(schema) => {
            request.response_schema = Some(schema);
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(family: Family, fields: Value) -> Result<ChatRequest, String> {
        let Value::Object(extra) = fields else { panic!("{fields}") };
        let mut request = ChatRequest { extra, ..ChatRequest::default() };
        check_fields(family, &mut request).map(|()| request).map_err(|error| error.message)
    }

    #[test]
    fn unknown_fields_are_refused_as_the_family_does() {
        let schema = "Malformed input request: #: extraneous key [banana] is not permitted, please reformat your \
                      input and try again.";
        for (family, message) in [
            (Family::AnthropicMessages, "banana: Extra inputs are not permitted"),
            (Family::AnthropicText, schema),
            (Family::TitanText, schema),
            (Family::Nova, schema),
            (Family::Llama, schema),
            (Family::MistralText, schema),
            (Family::MistralChat, schema),
            (Family::CohereCommand, schema),
            (Family::CohereCommandR, schema),
            (Family::Jamba, schema),
        ] {
            assert_eq!(fields(family, json!({"banana": 1})).unwrap_err(), message, "{family:?}");
            assert!(fields(family, json!({})).is_ok());
        }
        let nested = fields(Family::Nova, json!({"inferenceConfig": {"banana": 1}})).unwrap_err();
        assert!(nested.contains("#/inferenceConfig: extraneous key [banana]"), "{nested}");
        assert!(fields(Family::OpenAiChat, json!({"banana": 1})).is_ok());
    }

    #[test]
    fn fields_that_families_have_are_taken() {
        for (family, extra) in [
            (Family::AnthropicMessages, json!({"anthropic_beta": ["x"], "metadata": {"user_id": "u"}})),
            (Family::AnthropicMessages, json!({"thinking": {"type": "adaptive"}})),
            (Family::Nova, json!({"reasoningConfig": {"type": "disabled"}})),
            (Family::MistralChat, json!({"safe_prompt": true})),
            (Family::CohereCommandR, json!({"prompt_truncation": "AUTO"})),
        ] {
            assert!(fields(family, extra.clone()).is_ok(), "{family:?}: {extra}");
        }
    }

    #[test]
    fn a_response_format_binds_the_answer() {
        let json = json!({"response_format": {"type": "json_object"}});
        for family in [Family::MistralChat, Family::Jamba, Family::OpenAiChat] {
            let request = fields(family, json.clone()).unwrap();
            assert_eq!(request.response_schema.unwrap().schema, json!({"type": "object"}), "{family:?}");
            assert!(request.extra.is_empty());
        }
        assert!(fields(Family::Llama, json.clone()).unwrap_err().contains("[response_format]"));
        assert!(fields(Family::Jamba, json!({"response_format": {"type": "xml"}})).is_err());
    }
}
