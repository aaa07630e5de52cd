//! Whether what a model said satisfies the schemas it was given.
//!
//! A local model is held to its schemas while it generates, but only by the keywords that can be checked token by token
//! (docs/structured-output.md lists them). What is finished is checked here against the whole schema, so that an answer
//! that breaks one of the others is not passed off as good.

use craton_backend::ChatRequest;
use serde_json::Value;

/// The schemas of one request that its answer has to satisfy.
#[derive(Debug, Default)]
pub(crate) struct SchemaChecks {
    tools: Vec<(String, Value)>,
    response: Option<Value>,
}

impl SchemaChecks {
    /// Of a local model every tool's schema counts; of an upstream those that the caller declared strict, since Bedrock
    /// itself hands on what a model makes of the others.
    pub(crate) fn of(request: &ChatRequest, is_local: bool) -> Self {
        let tools = request.tools.iter().filter(|tool| is_local || tool.strict);
        Self {
            tools: tools.map(|tool| (tool.name.clone(), tool.input_schema.clone())).collect(),
            response: request.response_schema.as_ref().map(|response| response.schema.clone()),
        }
    }

    /// Whether the answer's text is to be kept for [`Self::is_response`].
    pub(crate) fn wants_text(&self) -> bool {
        self.response.is_some()
    }

    /// Whether the input of a call fits its tool.
    pub(crate) fn is_input(&self, tool: &str, json: &str) -> bool {
        let json = if json.trim().is_empty() { "{}" } else { json };
        self.tools.iter().find(|(name, _)| name == tool).is_none_or(|(_, schema)| satisfies(json, schema))
    }

    /// Whether the answer's text is what was asked for.
    pub(crate) fn is_response(&self, text: &str) -> bool {
        self.response.as_ref().is_none_or(|schema| satisfies(text, schema))
    }
}

/// A schema that can't be compiled was refused, or is the upstream's to judge; it holds nothing up here.
fn satisfies(json: &str, schema: &Value) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(json) else { return false };
    jsonschema::validator_for(schema).map_or(true, |validator| validator.is_valid(&value))
}

#[cfg(test)]
mod tests {
    use craton_backend::{ResponseSchema, Tool};
    use serde_json::json;

    use super::*;

    fn request(strict: bool) -> ChatRequest {
        let schema =
            json!({"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": true}}});
        let tool = Tool { name: "tag".into(), description: None, input_schema: schema.clone(), strict };
        ChatRequest {
            tools: vec![tool],
            response_schema: Some(ResponseSchema { name: None, schema }),
            ..ChatRequest::default()
        }
    }

    #[test]
    fn keywords_that_no_decoder_enforces_are_checked() {
        let checks = SchemaChecks::of(&request(false), true);
        assert!(checks.is_input("tag", r#"{"tags": [1, 2]}"#) && checks.is_input("tag", ""));
        assert!(!checks.is_input("tag", r#"{"tags": [1, 1]}"#));
        assert!(checks.is_input("other", r#"{"tags": [1, 1]}"#));
        assert!(checks.is_response(r#"{"tags": []}"#) && !checks.is_response(r#"{"tags": [1, 1]}"#));
        assert!(!checks.is_response("no JSON"));
    }

    #[test]
    fn an_upstreams_tools_are_checked_where_they_are_strict() {
        let twice = r#"{"tags": [1, 1]}"#;
        assert!(SchemaChecks::of(&request(false), false).is_input("tag", twice));
        assert!(!SchemaChecks::of(&request(true), false).is_input("tag", twice));
    }
}
