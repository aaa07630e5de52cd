//! Whether what a model said satisfies the schemas it was given.
//!
//! A local model is held to its schemas while it generates, but only by the keywords that can be checked token by token
//! (docs/structured-output.md lists them). What is finished is checked here against the whole schema, so that an answer
//! that breaks one of the others is not passed off as good.

use craton_backend::{ChatRequest, ToolChoice};
use serde_json::Value;

/// The schemas of one request that its answer has to satisfy.
#[derive(Debug, Default)]
pub(crate) struct SchemaChecks {
    /// Every tool that may be called, with the schema that its input has to satisfy.
    tools: Vec<(String, Option<Value>)>,
    /// The answer has to call a tool.
    must_call: bool,
    response: Option<Value>,
}

impl SchemaChecks {
    /// Of a local model every tool's schema counts; of an upstream those that the caller declared strict, since Bedrock
    /// itself hands on what a model makes of the others.
    pub(crate) fn of(request: &ChatRequest, is_local: bool) -> Self {
        let tools = request.tools.iter().map(|tool| {
            let schema = (is_local || tool.strict).then(|| tool.input_schema.clone());
            (tool.name.clone(), schema)
        });
        Self {
            tools: tools.collect(),
            must_call: matches!(request.tool_choice, ToolChoice::Any | ToolChoice::Tool(_)),
            response: request.response_schema.as_ref().map(|response| response.schema.clone()),
        }
    }

    /// Whether the answer's text is to be kept for [`Self::is_response`].
    pub(crate) fn wants_text(&self) -> bool {
        self.response.is_some()
    }

    /// Whether the request has the tool that is called, and the input fits it.
    pub(crate) fn is_call(&self, tool: &str, json: &str) -> bool {
        let json = if json.trim().is_empty() { "{}" } else { json };
        let declared = self.tools.iter().find(|(name, _)| name == tool);
        declared.is_some_and(|(_, schema)| schema.as_ref().is_none_or(|schema| satisfies(json, schema)))
    }

    pub(crate) fn must_call(&self) -> bool {
        self.must_call
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
        assert!(checks.is_call("tag", r#"{"tags": [1, 2]}"#) && checks.is_call("tag", ""));
        assert!(!checks.is_call("tag", r#"{"tags": [1, 1]}"#));
        assert!(!checks.is_call("other", "{}"), "a tool that the request lacks");
        assert!(checks.is_response(r#"{"tags": []}"#) && !checks.is_response(r#"{"tags": [1, 1]}"#));
        assert!(!checks.is_response("no JSON"));
    }

    #[test]
    fn an_upstreams_tools_are_checked_where_they_are_strict() {
        let twice = r#"{"tags": [1, 1]}"#;
        assert!(SchemaChecks::of(&request(false), false).is_call("tag", twice));
        assert!(!SchemaChecks::of(&request(false), false).is_call("other", "{}"));
        assert!(!SchemaChecks::of(&request(true), false).is_call("tag", twice));
    }
}
