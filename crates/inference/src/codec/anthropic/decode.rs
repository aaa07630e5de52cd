//! The envelope of a Messages request: limits, sampling, tools, thinking.

use std::collections::HashSet;

use craton_backend::{Block, ChatRequest, Effort, Message, ResponseSchema, Role, Sampling, Tool, ToolChoice};
use craton_wire::ApiError;
use serde_json::{Map, Value};

use super::super::Decoded;
use super::super::reader::{Dialect, Node, Object};
use super::limits::{self, THINKING_BUDGET_FLOOR};
use super::{Door, content};
use crate::tool_turns;

/// What a body may have besides the conversation and what the doors differ in.
const SHARED: &[&str] = &[
    "anthropic_beta",
    "cache_control",
    "context_management",
    "metadata",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];
/// Fields with no place in the internal request, kept for upstreams that know them.
const PASSED_THROUGH: &[&str] = &["anthropic_beta", "context_management", "metadata", "speed"];
const TOOL_NAME_PATTERN: &str = "^[a-zA-Z0-9_-]{1,128}$";

pub(super) fn read(body: &Node<'_>, door: Door) -> Result<Decoded, ApiError> {
    let body = envelope(body, door)?;
    limits::check_markers(body.node().value())?;
    let max_tokens = body.count("max_tokens", 1..=u32::MAX)?;
    // There is one tier on these routes, so both come to the same.
    body.get("service_tier").map(|node| node.word(&["auto", "standard_only"])).transpose()?;
    let mut request = ChatRequest {
        system: system(&body)?,
        messages: messages(&body)?,
        sampling: sampling(&body, max_tokens)?,
        ..ChatRequest::default()
    };
    read_tools(&body, &mut request)?;
    read_tool_choice(&body, &mut request)?;
    read_thinking(&body, &mut request)?;
    limits::check_thinking(&request)?;
    read_output(&body, &mut request)?;
    if body.get("cache_control").map(|node| content::cache_control(&node)).transpose()?.is_some()
        && let Some(last) = request.messages.last_mut()
    {
        last.content.push(Block::CachePoint);
    }
    for key in PASSED_THROUGH {
        if let Some(node) = body.get(key) {
            request.extra.insert((*key).to_owned(), node.value().clone());
        }
    }
    let mut decoded = Decoded::new(request);
    decoded.stream = body.boolean("stream")?.unwrap_or(false);
    if let Some(model) = body.string("model")? {
        decoded.model_id = model.to_owned();
    }
    Ok(decoded)
}

/// What Converse's additional fields say in the words of a Messages body; `reasoning_config` is `thinking` by Converse's
/// first name for it.
pub(in super::super) fn check_additional(fields: &Value) -> Result<(), ApiError> {
    let known = [SHARED, &["max_tokens", "reasoning_config"]].concat();
    let fields = Node::root(fields, Dialect::Anthropic).object(&[], &known)?;
    sampling(&fields, fields.count("max_tokens", 1..=u32::MAX)?).map(drop)
}

fn envelope<'a>(body: &Node<'a>, door: Door) -> Result<Object<'a>, ApiError> {
    match door {
        Door::Bedrock => {
            let body = body.object(&["anthropic_version", "max_tokens", "messages"], SHARED)?;
            let version = body.require("anthropic_version")?;
            if !is_version(version.string()?) {
                return Err(version.refuse("Input should be 'bedrock-2023-05-31'"));
            }
            Ok(body)
        }
        Door::Direct => {
            let optional: Vec<&str> =
                SHARED.iter().chain(&["stream", "inference_geo", "user_profile_id"]).copied().collect();
            body.object(&["max_tokens", "messages", "model"], &optional)
        }
        Door::DirectCount => {
            // Sampling fields are of no use to a count, but some clients send the whole request.
            let optional: Vec<&str> = SHARED.iter().chain(&["stream", "max_tokens"]).copied().collect();
            body.object(&["messages", "model"], &optional)
        }
    }
}

/// Bedrock's own version, or a version of Anthropic's API: newer Anthropic clients send theirs here too.
fn is_version(text: &str) -> bool {
    let date = text.strip_prefix("bedrock-").unwrap_or(text).as_bytes();
    date.len() == 10
        && date.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn sampling(body: &Object<'_>, max_tokens: Option<u32>) -> Result<Sampling, ApiError> {
    let stop_sequences = body.strings("stop_sequences", 0..=8191)?;
    if let Some(index) = stop_sequences.iter().position(|text| text.trim().is_empty()) {
        let node = body.node();
        return Err(
            node.refuse(&format!("stop_sequences.{index}: each stop sequence must contain non-whitespace"))
        );
    }
    Ok(Sampling {
        max_tokens,
        temperature: body.number("temperature", 0.0..=1.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        top_k: body.count("top_k", 0..=u32::MAX)?,
        stop_sequences,
        ..Sampling::default()
    })
}

/// Tools come before the system prompt in what the model reads, so a tool's cache marker opens the system blocks.
fn system(body: &Object<'_>) -> Result<Vec<Block>, ApiError> {
    let mut blocks = Vec::new();
    if let Some(tools) = body.get("tools") {
        let cached =
            tools.list()?.iter().any(|tool| tool.value().get("cache_control").is_some_and(Value::is_object));
        if cached {
            blocks.push(Block::CachePoint);
        }
    }
    let Some(node) = body.get("system") else { return Ok(blocks) };
    if node.value().is_string() {
        let text = node.string()?;
        if !text.is_empty() {
            blocks.push(Block::Text(text.to_owned()));
        }
        return Ok(blocks);
    }
    for item in node.list()? {
        let block = item.object(&["text", "type"], &["cache_control", "citations"])?;
        block.require("type")?.word(&["text"])?;
        let text = block.require("text")?.string()?;
        if text.is_empty() {
            return Err(node.refuse("text content blocks must be non-empty"));
        }
        blocks.push(Block::Text(text.to_owned()));
        if block.get("cache_control").map(|node| content::cache_control(&node)).transpose()?.is_some() {
            blocks.push(Block::CachePoint);
        }
    }
    Ok(blocks)
}

fn messages(body: &Object<'_>) -> Result<Vec<Message>, ApiError> {
    let node = body.require("messages")?;
    let items = node.list()?;
    if items.is_empty() {
        return Err(node.refuse("at least one message is required"));
    }
    let mut messages = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let message = item.object(&["content", "role"], &[])?;
        let role = match message.require("role")?.word(&["user", "assistant"])? {
            "user" => Role::User,
            _ => Role::Assistant,
        };
        let content = content::blocks(&message.require("content")?, &node)?;
        if content.iter().any(|block| matches!(block, Block::Text(text) if text.trim().is_empty())) {
            return Err(node.refuse("text content blocks must contain non-whitespace text"));
        }
        let last = index + 1 == items.len();
        if content.is_empty() && !(last && role == Role::Assistant) {
            return Err(item.refuse(
                "all messages must have non-empty content except for the optional final assistant message",
            ));
        }
        messages.push(Message { role, content });
    }
    if messages.first().is_some_and(|message| message.role == Role::Assistant) {
        return Err(node.refuse("first message must use the \"user\" role"));
    }
    if let Some(Message { role: Role::Assistant, content }) = messages.last()
        && matches!(content.last(), Some(Block::Text(text)) if text.ends_with(char::is_whitespace))
    {
        return Err(node.refuse("final assistant content cannot end with trailing whitespace"));
    }
    tool_turns::check(&messages, tool_turns::Words::Anthropic)?;
    Ok(messages)
}

fn read_tools(body: &Object<'_>, request: &mut ChatRequest) -> Result<(), ApiError> {
    let Some(node) = body.get("tools") else { return Ok(()) };
    for item in node.list()? {
        let kind = item.open_object(&[])?.string("type")?.unwrap_or("custom");
        if kind != "custom" {
            return Err(item.refuse(&format!(
                "Input tag '{kind}' found using 'type' does not match any of the expected tags: 'custom'"
            )));
        }
        let item = item.branch("custom");
        let tool = item.object(
            &["input_schema", "name"],
            &[
                "allowed_callers",
                "cache_control",
                "defer_loading",
                "description",
                "eager_input_streaming",
                "input_examples",
                "strict",
                "type",
            ],
        )?;
        let name = tool.require("name")?;
        if !is_tool_name(name.string()?) {
            return Err(name.refuse(&format!("String should match pattern '{TOOL_NAME_PATTERN}'")));
        }
        if let Some(node) = tool.get("cache_control") {
            content::cache_control(&node)?;
        }
        let schema = tool.require("input_schema")?;
        let kind = schema.open_object(&["type"])?.require("type")?;
        kind.word(&["object"])?;
        request.tools.push(Tool {
            name: name.string()?.to_owned(),
            description: tool.string("description")?.map(str::to_owned),
            input_schema: schema.value().clone(),
            strict: tool.boolean("strict")?.unwrap_or(false),
        });
    }
    let names: HashSet<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
    if names.len() < request.tools.len() {
        return Err(node.refuse("Tool names must be unique."));
    }
    Ok(())
}

fn is_tool_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn read_tool_choice(body: &Object<'_>, request: &mut ChatRequest) -> Result<(), ApiError> {
    let Some(node) = body.get("tool_choice") else { return Ok(()) };
    let kind = node.open_object(&["type"])?.require("type")?;
    let kind = match kind.string()? {
        kind @ ("auto" | "any" | "tool" | "none") => kind,
        other => {
            return Err(node.refuse(&format!(
                "Input tag '{other}' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'"
            )));
        }
    };
    let branch = node.branch(kind);
    let choice = match kind {
        "tool" => branch.object(&["name", "type"], &["disable_parallel_tool_use"])?,
        "none" => branch.object(&["type"], &[])?,
        _ => branch.object(&["type"], &["disable_parallel_tool_use"])?,
    };
    request.tool_choice = match kind {
        "any" => ToolChoice::Any,
        "none" => ToolChoice::None,
        "tool" => {
            let name = choice.require("name")?.string()?;
            if !request.tools.iter().any(|tool| tool.name == name) {
                return Err(node.refuse(&format!("Tool '{name}' not found in provided tools")));
            }
            ToolChoice::Tool(name.to_owned())
        }
        _ => ToolChoice::Auto,
    };
    if request.tools.is_empty() && request.tool_choice != ToolChoice::None {
        return Err(node.refuse("tool_choice may only be specified while providing tools"));
    }
    request.one_tool_call = choice.boolean("disable_parallel_tool_use")?.unwrap_or(false);
    Ok(())
}

fn read_thinking(body: &Object<'_>, request: &mut ChatRequest) -> Result<(), ApiError> {
    let Some(node) = body.get("thinking") else { return Ok(()) };
    let kind = node.open_object(&["type"])?.require("type")?;
    match kind.string()? {
        "disabled" => {
            node.branch("disabled").object(&["type"], &[])?;
        }
        "adaptive" => {
            node.branch("adaptive").object(&["type"], &["display"])?;
            request.extra.insert("thinking".to_owned(), node.value().clone());
        }
        "enabled" => {
            let thinking = node.branch("enabled").object(&["budget_tokens", "type"], &["display"])?;
            let budget = thinking.require("budget_tokens")?.count(THINKING_BUDGET_FLOOR..=u32::MAX)?;
            request.reasoning_budget_tokens = Some(budget);
        }
        other => {
            return Err(node.refuse(&format!(
                "Input tag '{other}' found using 'type' does not match any of the expected tags: 'adaptive', 'disabled', 'enabled'"
            )));
        }
    }
    Ok(())
}

/// Structured output, by its first name (`output_format`) and its present one (`output_config.format`).
pub(super) fn read_output(body: &Object<'_>, request: &mut ChatRequest) -> Result<(), ApiError> {
    let mut format = body.get("output_format");
    if let Some(node) = body.get("output_config") {
        let config = node.object(&[], &["effort", "format", "task_budget"])?;
        format = config.get("format").or(format);
        if let Some(effort) = config.get("effort") {
            request.effort = Effort::of(effort.word(&Effort::ALL.map(Effort::as_str))?);
        }
        let rest: Map<String, Value> = config.rest(&["format", "effort"]);
        if !rest.is_empty() {
            request.extra.insert("output_config".to_owned(), Value::Object(rest));
        }
    }
    let Some(node) = format else { return Ok(()) };
    let format = node.object(&["schema", "type"], &["name"])?;
    format.require("type")?.word(&["json_schema"])?;
    let schema = format.require("schema")?;
    schema.open_object(&[])?;
    request.response_schema = Some(ResponseSchema {
        name: format.string("name")?.map(str::to_owned),
        schema: schema.value().clone(),
    });
    Ok(())
}
