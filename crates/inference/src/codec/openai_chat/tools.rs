//! Tools in OpenAI's shape, which Mistral and Jamba share.

use craton_backend::{Tool, ToolChoice};
use craton_wire::ApiError;
use serde_json::json;

use super::super::reader::{Node, Object};

pub(in super::super) fn read(body: &Object<'_>) -> Result<Vec<Tool>, ApiError> {
    let Some(node) = body.get("tools").filter(|node| !node.value().is_null()) else { return Ok(Vec::new()) };
    node.list()?.iter().map(tool).collect()
}

fn tool(node: &Node<'_>) -> Result<Tool, ApiError> {
    let tool = node.open_object(&["function"])?;
    if let Some(kind) = tool.get("type") {
        kind.word(&["function"])?;
    }
    let function = tool.require("function")?.open_object(&["name"])?;
    let input_schema = match function.get("parameters").filter(|node| !node.value().is_null()) {
        Some(schema) => {
            schema.open_object(&[])?;
            schema.value().clone()
        }
        None => json!({"type": "object", "properties": {}}),
    };
    Ok(Tool {
        name: function.require("name")?.filled_string()?.to_owned(),
        description: function.string("description")?.map(str::to_owned),
        input_schema,
        strict: function.boolean("strict")?.unwrap_or(false),
    })
}

pub(in super::super) fn read_choice(body: &Object<'_>, tools: &[Tool]) -> Result<ToolChoice, ApiError> {
    let Some(node) = body.get("tool_choice").filter(|node| !node.value().is_null()) else {
        return Ok(ToolChoice::Auto);
    };
    let choice = if node.value().is_string() {
        // `any` is Mistral's name for `required`.
        match node.word(&["none", "auto", "required", "any"])? {
            "none" => ToolChoice::None,
            "auto" => ToolChoice::Auto,
            _ => ToolChoice::Any,
        }
    } else {
        let name =
            node.open_object(&["function"])?.require("function")?.open_object(&["name"])?.require("name")?;
        let name = name.string()?;
        if !tools.iter().any(|tool| tool.name == name) {
            return Err(node.refuse(&format!("tool '{name}' is not in 'tools'.")));
        }
        ToolChoice::Tool(name.to_owned())
    };
    if tools.is_empty() && matches!(choice, ToolChoice::Any | ToolChoice::Tool(_)) {
        return Err(node.refuse("'tool_choice' is only allowed when 'tools' are specified."));
    }
    Ok(choice)
}
