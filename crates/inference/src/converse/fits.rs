//! What Converse demands once it knows the model: fields that its provider has, and the provider's limits.
//!
//! AWS hands `additionalModelRequestFields` to the model, whose provider refuses what it doesn't know, as InvokeModel
//! does. An upstream gets the fields too and judges them itself. A model that runs here has no provider, so here they
//! are held to what the family's body may have: nothing that would change an answer is dropped without a word.

use craton_backend::{Block, ChatRequest, Document};
use craton_core::RequestContext;
use craton_models::{Family, Resolved, Target};
use craton_wire::ApiError;
use serde_json::Value;

use super::decode::Decoded;
use super::fields;
use crate::chat::{Inference, ModelChoice, as_of_model};
use crate::codec::reader::{Dialect, Node};
use crate::codec::{additional, anthropic, openai_chat};

/// 4.5 MB of a document as it is sent.
const MAX_DOCUMENT_BYTES: usize = 4_718_592;
/// Of a request, wherever they are.
const MAX_CACHE_POINTS: usize = 4;

/// Checks the request, and gives fields of the family that the request has a place for that place.
pub(super) fn check(resolved: &Resolved, decoded: &mut Decoded) -> Result<(), ApiError> {
    let family = resolved.model.family;
    check_documents(family, &decoded.request)?;
    check_cache_points(family, decoded.cache_points).map_err(|error| as_of_model("Converse", error))?;
    place_fields(resolved, &mut decoded.request)
}

/// Gives what the additional fields left in a request, and it has a place for, that place.
fn place_fields(resolved: &Resolved, request: &mut ChatRequest) -> Result<(), ApiError> {
    let family = resolved.model.family;
    let of_model = |error| as_of_model("Converse", error);
    if family == Family::AnthropicMessages {
        anthropic::read_converse_fields(request).map_err(of_model)?;
    }
    if matches!(resolved.target, Target::Local { .. }) {
        take_response_format(family, request).map_err(of_model)?;
    }
    Ok(())
}

impl Inference {
    /// Reads `additionalModelRequestFields` into a request as Converse does, for operations that say their conversation
    /// otherwise.
    ///
    /// # Errors
    /// What Converse answers: fields that the model's body does not have, or that are outside of their range there.
    pub async fn read_fields(
        &self,
        context: &RequestContext,
        model_id: String,
        fields: Option<Value>,
        request: &mut ChatRequest,
    ) -> Result<ModelChoice, ApiError> {
        let resolved = self.resolve(context, ModelChoice::Id(model_id)).await?;
        check_additional(&resolved, fields.as_ref())?;
        fields::read_additional_fields(fields.unwrap_or_default(), request)?;
        place_fields(&resolved, request)?;
        Ok(ModelChoice::Resolved(Box::new(resolved)))
    }
}

/// Holds the additional fields of a model that runs here to those of its family's own body.
pub(super) fn check_additional(resolved: &Resolved, fields: Option<&Value>) -> Result<(), ApiError> {
    match (&resolved.target, fields.and_then(fields::without_own)) {
        (Target::Local { .. }, Some(fields)) => {
            additional::check(resolved.model.family, &fields).map_err(|error| as_of_model("Converse", error))
        }
        _ => Ok(()),
    }
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

/// `response_format`, in the families whose bodies have it in OpenAI's form. A model here is held to it like to an
/// `outputConfig`.
fn take_response_format(family: Family, request: &mut ChatRequest) -> Result<(), ApiError> {
    let dialect = match family {
        Family::MistralChat | Family::Jamba => Dialect::JsonSchema,
        Family::OpenAiChat => Dialect::OpenAi,
        _ => return Ok(()),
    };
    let Some(format) = request.extra.shift_remove("response_format") else { return Ok(()) };
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

    #[test]
    fn a_response_format_binds_the_answer() {
        let taken = |family, extra: Value| {
            let Value::Object(extra) = extra else { panic!("{extra}") };
            let mut request = ChatRequest { extra, ..ChatRequest::default() };
            take_response_format(family, &mut request).map(|()| request)
        };
        for family in [Family::MistralChat, Family::Jamba, Family::OpenAiChat] {
            let request = taken(family, json!({"response_format": {"type": "json_object"}})).unwrap();
            assert_eq!(request.response_schema.unwrap().schema, json!({"type": "object"}), "{family:?}");
            assert!(request.extra.is_empty());
        }
        assert!(taken(Family::Jamba, json!({"response_format": {"type": "xml"}})).is_err());
    }
}
