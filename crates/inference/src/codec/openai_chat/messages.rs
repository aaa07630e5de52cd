//! Messages in OpenAI's shape, which Mistral and Jamba share.

use bytes::Bytes;
use craton_backend::{Block, ChatRequest, Document, Image, Message, Reasoning, Role, ToolResult, ToolUse};
use craton_wire::ApiError;
use serde_json::{Map, Value};

use super::super::media;
use super::super::reader::{Node, Object};

type Result<T> = std::result::Result<T, ApiError>;

const ROLES: &[&str] = &["system", "developer", "user", "assistant", "tool"];

/// Reads `messages` into a request's system blocks and messages. Tool results that follow each other make one user
/// message, as the internal form has it; messages that say nothing are left out.
pub(in super::super) fn read(node: &Node<'_>) -> Result<ChatRequest> {
    let mut request = ChatRequest::default();
    for item in node.sized_list(1..=usize::MAX)? {
        let message = item.open_object(&["role"])?;
        match message.require("role")?.word(ROLES)? {
            "system" | "developer" => request.system.extend(content(&message, false)?),
            "user" => push(&mut request.messages, Role::User, content(&message, false)?),
            "assistant" => push(&mut request.messages, Role::Assistant, assistant(&message)?),
            _ => push_tool_result(&mut request.messages, tool_result(&message)?),
        }
    }
    Ok(request)
}

fn push(messages: &mut Vec<Message>, role: Role, content: Vec<Block>) {
    if !content.is_empty() {
        messages.push(Message { role, content });
    }
}

fn push_tool_result(messages: &mut Vec<Message>, result: Block) {
    match messages.last_mut() {
        Some(Message { role: Role::User, content })
            if content.iter().all(|block| matches!(block, Block::ToolResult(_))) =>
        {
            content.push(result);
        }
        _ => messages.push(Message { role: Role::User, content: vec![result] }),
    }
}

/// `content`: a string or parts. Only an assistant's may be absent.
fn content(message: &Object<'_>, optional: bool) -> Result<Vec<Block>> {
    let Some(node) = message.get("content").filter(|node| !node.value().is_null()) else {
        if optional {
            return Ok(Vec::new());
        }
        // Absent, or a null where a string must be.
        return message.require("content")?.string().map(|_| Vec::new());
    };
    if node.value().is_string() {
        let text = node.string()?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Block::Text(text.to_owned())] });
    }
    let mut blocks = Vec::new();
    for item in node.list()? {
        let part = item.open_object(&["type"])?;
        match part.require("type")?.string()? {
            "text" => {
                let text = part.require("text")?.string()?;
                if !text.is_empty() {
                    blocks.push(Block::Text(text.to_owned()));
                }
            }
            "refusal" => blocks.push(Block::Text(part.require("refusal")?.string()?.to_owned())),
            "image_url" => blocks.push(image(&part.require("image_url")?)?),
            "file" => blocks.push(file(&part.require("file")?)?),
            other => return Err(part.require("type")?.not_one_of(other, &["text", "image_url", "file"])),
        }
    }
    Ok(blocks)
}

/// `{"url": "data:…"}`, or the URL itself as Mistral writes it.
fn image(node: &Node<'_>) -> Result<Block> {
    let url =
        if node.value().is_string() { node.clone() } else { node.open_object(&["url"])?.require("url")? };
    let (media_type, bytes) = media::data_url(url.string()?)
        .ok_or_else(|| url.refuse("only data: URLs with base64 data are served."))?;
    let format = media::image_format(media_type)
        .ok_or_else(|| url.refuse("unsupported image. Use PNG, JPEG, GIF or WebP."))?;
    Ok(Block::Image(Image { format: format.to_owned(), bytes }))
}

fn file(node: &Node<'_>) -> Result<Block> {
    let file = node.open_object(&["file_data"])?;
    let data = file.require("file_data")?;
    let (media_type, bytes) = media::data_url(data.string()?)
        .ok_or_else(|| data.refuse("expected a data: URL with base64 data."))?;
    let format = media::file_format(media_type)
        .ok_or_else(|| data.refuse("unsupported file. Use PDF, plain text, Markdown, HTML or CSV."))?;
    let name = file.string("filename")?.unwrap_or("document").to_owned();
    Ok(Block::Document(Document { name, format: format.to_owned(), bytes }))
}

fn assistant(message: &Object<'_>) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for key in ["reasoning_content", "reasoning"] {
        if let Some(text) = message.string(key)?.filter(|text| !text.is_empty() && blocks.is_empty()) {
            blocks.push(Block::Reasoning(Reasoning::Text { text: text.to_owned(), signature: None }));
        }
    }
    blocks.extend(content(message, true)?);
    if let Some(calls) = message.get("tool_calls").filter(|node| !node.value().is_null()) {
        for call in calls.list()? {
            blocks.push(tool_call(&call)?);
        }
    }
    Ok(blocks)
}

fn tool_call(call: &Node<'_>) -> Result<Block> {
    let call = call.open_object(&["id", "function"])?;
    let function = call.require("function")?.open_object(&["name", "arguments"])?;
    let arguments = function.require("arguments")?;
    // A string of JSON; some clients of Mistral's send the object itself.
    let input = match arguments.value() {
        Value::Object(_) => arguments.value().clone(),
        _ => {
            let text = arguments.string()?;
            let text = if text.trim().is_empty() { "{}" } else { text };
            let object: Map<String, Value> = serde_json::from_str(text)
                .map_err(|_| arguments.refuse("expected the JSON text of an object"))?;
            Value::Object(object)
        }
    };
    Ok(Block::ToolUse(ToolUse {
        id: call.require("id")?.filled_string()?.to_owned(),
        name: function.require("name")?.filled_string()?.to_owned(),
        input,
    }))
}

fn tool_result(message: &Object<'_>) -> Result<Block> {
    Ok(Block::ToolResult(ToolResult {
        tool_use_id: message.require("tool_call_id")?.filled_string()?.to_owned(),
        content: content(message, false)?,
        is_error: false,
    }))
}

/// A document given as a bare string in a `documents` field.
pub(in super::super) fn text_document(name: &str, text: &str) -> Block {
    Block::Document(Document {
        name: name.to_owned(),
        format: "txt".to_owned(),
        bytes: Bytes::from(text.to_owned()),
    })
}
