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
    if let Some(kind) = node.open_object(&[])?.get("type") {
        kind.word(&["function"])?;
    }
    let tool = node.open_object(&["function"])?;
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

/// `allowed_tools` as a tool choice: what it leaves out is not offered. `None` for the other choices.
pub(in super::super) fn read_allowed(
    body: &Object<'_>,
    tools: &mut Vec<Tool>,
) -> Result<Option<ToolChoice>, ApiError> {
    let Some(node) = allowed_tools(body) else { return Ok(None) };
    let allowed = node.open_object(&["allowed_tools"])?.require("allowed_tools")?;
    let function = |tool: &Node<'_>| {
        let function = tool.open_object(&["function"])?.require("function")?;
        Ok(function.open_object(&["name"])?.require("name")?.string()?.to_owned())
    };
    keep_allowed(&allowed, function, tools).map(Some)
}

/// The tool choice, if it is one of `allowed_tools`.
pub(in super::super) fn allowed_tools<'a>(body: &Object<'a>) -> Option<Node<'a>> {
    body.get("tool_choice").filter(|node| node.value()["type"] == "allowed_tools")
}

/// Keeps the tools that `allowed` names in its list, each by `name`, and says whether one must be called.
pub(in super::super) fn keep_allowed(
    allowed: &Node<'_>,
    name: impl Fn(&Node<'_>) -> Result<String, ApiError>,
    tools: &mut Vec<Tool>,
) -> Result<ToolChoice, ApiError> {
    let fields = allowed.open_object(&["mode", "tools"])?;
    let required = fields.require("mode")?.word(&["auto", "required"])? == "required";
    let list = fields.require("tools")?;
    let mut names = Vec::new();
    for node in list.sized_list(1..=usize::MAX)? {
        let name = name(&node)?;
        if !tools.iter().any(|tool| tool.name == name) {
            return Err(node.refuse(&format!("tool '{name}' is not in 'tools'.")));
        }
        names.push(name);
    }
    tools.retain(|tool| names.contains(&tool.name));
    Ok(if required { ToolChoice::Any } else { ToolChoice::Auto })
}
