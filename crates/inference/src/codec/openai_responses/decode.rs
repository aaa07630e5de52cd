//! The request: instructions, items, tools, options.

use bytes::Bytes;
use craton_backend::{
    Block, ChatRequest, Document, Image, Message, Reasoning, ResponseSchema, Role, Sampling, Tool,
    ToolChoice, ToolResult, ToolUse,
};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::super::media;
use super::super::openai_chat;
use super::super::reader::{Node, Object};
use super::ResponsesCall;
use crate::tool_turns;

type Result<T> = std::result::Result<T, ApiError>;

const ROLES: &[&str] = &["system", "developer", "user", "assistant"];

/// Fields that are read here or have no effect on an answer; all others are passed through.
const KNOWN: &[&str] = &[
    "background",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];

pub(super) fn read(node: &Node<'_>) -> Result<ResponsesCall> {
    let body = node.open_object(&["model", "input"])?;
    refuse_unserved(&body)?;
    let mut request = ChatRequest::default();
    if let Some(instructions) = body.string("instructions")?.filter(|text| !text.is_empty()) {
        request.system.push(Block::Text(instructions.to_owned()));
    }
    input(&body.require("input")?, &mut request)?;
    request.sampling = Sampling {
        max_tokens: body.count("max_output_tokens", 1..=u32::MAX)?,
        temperature: body.number("temperature", 0.0..=2.0)?,
        top_p: body.number("top_p", 0.0..=1.0)?,
        ..Sampling::default()
    };
    request.tools = tools(&body)?;
    request.tool_choice = match openai_chat::tools::allowed_tools(&body) {
        Some(allowed) => openai_chat::tools::keep_allowed(&allowed, named, &mut request.tools)?,
        None => tool_choice(&body, &request.tools)?,
    };
    request.response_schema = text_format(&body)?;
    request.priority = openai_chat::priority(&body)?;
    request.extra = body.rest(KNOWN);
    if let Some(word) = effort(&body)? {
        openai_chat::reason_as(&mut request, word);
    }
    request.one_tool_call = body.boolean("parallel_tool_calls")? == Some(false);
    let mut call = ResponsesCall::new(request, body.require("model")?.filled_string()?.to_owned());
    call.stream = body.boolean("stream")?.unwrap_or(false);
    call.metadata = metadata(&body)?;
    call.echo = echo(&body);
    Ok(call)
}

/// What would change the answer and cannot be had is refused, not ignored.
fn refuse_unserved(body: &Object<'_>) -> Result<()> {
    let stateful = "responses are not stored; send the whole conversation as 'input'.";
    for (field, why) in [
        ("previous_response_id", stateful),
        ("conversation", stateful),
        ("prompt", "stored prompts are not served."),
    ] {
        if let Some(node) = body.get(field) {
            return Err(node.refuse(why));
        }
    }
    if let Some(node) = body.get("background")
        && node.boolean()?
    {
        return Err(node.refuse("background responses are not served."));
    }
    if let Some(node) = body.get("top_logprobs")
        && node.count(0..=20)? > 0
    {
        return Err(node.refuse("log probabilities are not served."));
    }
    Ok(())
}

fn input(node: &Node<'_>, request: &mut ChatRequest) -> Result<()> {
    if node.value().is_string() {
        push(&mut request.messages, Role::User, vec![Block::Text(node.filled_string()?.to_owned())]);
        return Ok(());
    }
    for item in node.sized_list(1..=usize::MAX)? {
        let fields = item.open_object(&[])?;
        match fields.string("type")?.unwrap_or("message") {
            "message" => message(&fields, request)?,
            "function_call" => push(&mut request.messages, Role::Assistant, vec![function_call(&fields)?]),
            "function_call_output" => push(&mut request.messages, Role::User, vec![call_output(&fields)?]),
            "reasoning" => push(&mut request.messages, Role::Assistant, reasoning(&fields)?),
            "item_reference" => return Err(item.refuse("items are not stored; send the item itself.")),
            other => {
                let known = ["message", "function_call", "function_call_output", "reasoning"];
                return Err(fields.require("type")?.not_one_of(other, &known));
            }
        }
    }
    tool_turns::check(&request.messages, tool_turns::Words::OpenAiResponses)
}

/// Items of one side that follow each other are one message, as the internal form has it: an assistant's reasoning,
/// text and calls; a user's results of several calls.
fn push(messages: &mut Vec<Message>, role: Role, content: Vec<Block>) {
    if content.is_empty() {
        return;
    }
    match messages.last_mut() {
        Some(last) if last.role == role => last.content.extend(content),
        _ => messages.push(Message { role, content }),
    }
}

fn message(item: &Object<'_>, request: &mut ChatRequest) -> Result<()> {
    let blocks = content(&item.require("content")?)?;
    match item.require("role")?.word(ROLES)? {
        "system" | "developer" => request.system.extend(blocks),
        "user" => push(&mut request.messages, Role::User, blocks),
        _ => push(&mut request.messages, Role::Assistant, blocks),
    }
    Ok(())
}

/// A string or a list of parts.
fn content(node: &Node<'_>) -> Result<Vec<Block>> {
    if node.value().is_string() {
        return Ok(text(node.string()?));
    }
    let mut blocks = Vec::new();
    for item in node.list()? {
        let part = item.open_object(&["type"])?;
        let kind = part.require("type")?;
        match kind.string()? {
            "input_text" | "output_text" | "text" => blocks.extend(text(part.require("text")?.string()?)),
            "refusal" => blocks.extend(text(part.require("refusal")?.string()?)),
            "input_image" => blocks.push(image(&part)?),
            "input_file" => blocks.push(file(&part)?),
            other => {
                return Err(
                    kind.not_one_of(other, &["input_text", "input_image", "input_file", "output_text"])
                );
            }
        }
    }
    Ok(blocks)
}

fn text(text: &str) -> Vec<Block> {
    if text.is_empty() { Vec::new() } else { vec![Block::Text(text.to_owned())] }
}

fn image(part: &Object<'_>) -> Result<Block> {
    let Some(url) = part.get("image_url") else {
        return Err(part
            .node()
            .refuse("files are not stored; send the image as a data: URL in 'image_url'."));
    };
    let (media_type, bytes) = media::data_url(url.string()?)
        .ok_or_else(|| url.refuse("only data: URLs with base64 data are served."))?;
    let format = media::image_format(media_type)
        .ok_or_else(|| url.refuse("unsupported image. Use PNG, JPEG, GIF or WebP."))?;
    Ok(Block::Image(Image { format: format.to_owned(), bytes }))
}

fn file(part: &Object<'_>) -> Result<Block> {
    let Some(data) = part.get("file_data") else {
        return Err(part.node().refuse("files are not stored; send the file as a data: URL in 'file_data'."));
    };
    let (media_type, bytes) = media::data_url(data.string()?)
        .ok_or_else(|| data.refuse("expected a data: URL with base64 data."))?;
    let format = media::file_format(media_type)
        .ok_or_else(|| data.refuse("unsupported file. Use PDF, plain text, Markdown, HTML or CSV."))?;
    let name = part.string("filename")?.unwrap_or("document").to_owned();
    Ok(Block::Document(Document { name, format: format.to_owned(), bytes }))
}

fn function_call(item: &Object<'_>) -> Result<Block> {
    let arguments = item.require("arguments")?;
    let written = arguments.string()?;
    let written = if written.trim().is_empty() { "{}" } else { written };
    let input: Map<String, Value> =
        serde_json::from_str(written).map_err(|_| arguments.refuse("expected the JSON text of an object"))?;
    Ok(Block::ToolUse(ToolUse {
        id: item.require("call_id")?.filled_string()?.to_owned(),
        name: item.require("name")?.filled_string()?.to_owned(),
        input: Value::Object(input),
    }))
}

fn call_output(item: &Object<'_>) -> Result<Block> {
    Ok(Block::ToolResult(ToolResult {
        tool_use_id: item.require("call_id")?.filled_string()?.to_owned(),
        content: content(&item.require("output")?)?,
        is_error: false,
    }))
}

/// Reasoning that an earlier response gave out: its text with the signature beside it, or nothing but sealed bytes.
fn reasoning(item: &Object<'_>) -> Result<Vec<Block>> {
    let mut said = String::new();
    for field in ["content", "summary"] {
        let Some(parts) = item.get(field).filter(|_| said.is_empty()) else { continue };
        for part in parts.list()? {
            said.push_str(part.open_object(&["text"])?.require("text")?.string()?);
        }
    }
    let sealed = item.string("encrypted_content")?.filter(|sealed| !sealed.is_empty());
    Ok(match (said.is_empty(), sealed) {
        (true, None) => Vec::new(),
        (true, Some(sealed)) => {
            let bytes = media::base64_bytes(sealed).unwrap_or_else(|| Bytes::from(sealed.to_owned()));
            vec![Block::Reasoning(Reasoning::Redacted(bytes))]
        }
        (false, sealed) => {
            vec![Block::Reasoning(Reasoning::Text { text: said, signature: sealed.map(str::to_owned) })]
        }
    })
}

fn tools(body: &Object<'_>) -> Result<Vec<Tool>> {
    let Some(node) = body.get("tools") else { return Ok(Vec::new()) };
    node.list()?.iter().map(tool).collect()
}

fn tool(node: &Node<'_>) -> Result<Tool> {
    let tool = node.open_object(&["type"])?;
    // OpenAI's hosted tools run on OpenAI's machines.
    tool.require("type")?.word(&["function"])?;
    let input_schema = match tool.get("parameters") {
        Some(schema) => {
            schema.open_object(&[])?;
            schema.value().clone()
        }
        None => json!({"type": "object", "properties": {}}),
    };
    Ok(Tool {
        name: tool.require("name")?.filled_string()?.to_owned(),
        description: tool.string("description")?.map(str::to_owned),
        input_schema,
        strict: tool.boolean("strict")?.unwrap_or(false),
    })
}

fn tool_choice(body: &Object<'_>, tools: &[Tool]) -> Result<ToolChoice> {
    let Some(node) = body.get("tool_choice") else { return Ok(ToolChoice::Auto) };
    let choice = if node.value().is_string() {
        match node.word(&["none", "auto", "required"])? {
            "none" => ToolChoice::None,
            "auto" => ToolChoice::Auto,
            _ => ToolChoice::Any,
        }
    } else {
        let choice = node.open_object(&["type"])?;
        choice.require("type")?.word(&["function"])?;
        let name = choice.require("name")?.filled_string()?;
        if !tools.iter().any(|tool| tool.name == name) {
            return Err(node.refuse(&format!("tool '{name}' is not in 'tools'.")));
        }
        ToolChoice::Tool(name.to_owned())
    };
    if tools.is_empty() && matches!(choice, ToolChoice::Any) {
        return Err(node.refuse("'tool_choice' is only allowed when 'tools' are specified."));
    }
    Ok(choice)
}

/// The name of a tool in a list of those allowed.
fn named(tool: &Node<'_>) -> Result<String> {
    Ok(tool.open_object(&["name"])?.require("name")?.string()?.to_owned())
}

/// `text.format`: the schema that the answer must satisfy.
fn text_format(body: &Object<'_>) -> Result<Option<ResponseSchema>> {
    let Some(text) = body.get("text") else { return Ok(None) };
    let text = text.open_object(&[])?;
    let Some(format) = text.get("format") else { return Ok(None) };
    let format = format.open_object(&["type"])?;
    Ok(match format.require("type")?.word(&["text", "json_object", "json_schema"])? {
        "json_object" => Some(ResponseSchema { name: None, schema: json!({"type": "object"}) }),
        "json_schema" => {
            let schema = format.require("schema")?;
            schema.open_object(&[])?;
            let name = format.require("name")?.filled_string()?.to_owned();
            Some(ResponseSchema { name: Some(name), schema: schema.value().clone() })
        }
        _ => None,
    })
}

/// `reasoning.effort`.
fn effort<'a>(body: &Object<'a>) -> Result<Option<&'a str>> {
    let Some(reasoning) = body.get("reasoning") else { return Ok(None) };
    let reasoning = reasoning.open_object(&[])?;
    let Some(effort) = reasoning.get("effort") else { return Ok(None) };
    openai_chat::effort(&effort).map(Some)
}

fn metadata(body: &Object<'_>) -> Result<Vec<(String, String)>> {
    let Some(node) = body.get("metadata") else { return Ok(Vec::new()) };
    let pairs = node.open_object(&[])?;
    pairs
        .rest(&[])
        .into_iter()
        .map(|(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            _ => Err(node.refuse("expected only strings as values")),
        })
        .collect()
}

/// What the response repeats of the request, with OpenAI's defaults.
fn echo(body: &Object<'_>) -> Map<String, Value> {
    let defaults = [
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("safety_identifier", Value::Null),
        ("temperature", json!(1.0)),
        ("text", json!({"format": {"type": "text"}})),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_p", json!(1.0)),
        ("user", Value::Null),
    ];
    let value = |name: &str| body.get(name).map(|node| node.value().clone());
    let mut echo: Map<String, Value> = defaults
        .into_iter()
        .map(|(name, default)| (name.to_owned(), value(name).unwrap_or(default)))
        .collect();
    echo.insert("truncation".to_owned(), json!("disabled"));
    echo
}
