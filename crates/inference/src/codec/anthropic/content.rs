//! Content blocks of a Messages request.

use bytes::Bytes;
use craton_backend::{Block, Document, Image, Reasoning, ToolResult, ToolUse};
use craton_wire::ApiError;

use super::super::media;
use super::super::reader::{Node, Object};

type Result<T> = std::result::Result<T, ApiError>;

const TAGS: &[&str] = &[
    "document",
    "image",
    "redacted_thinking",
    "search_result",
    "text",
    "thinking",
    "tool_result",
    "tool_use",
];

/// A message's or tool result's `content`: a string, or blocks. `messages` is where empty text is reported.
pub(super) fn blocks(content: &Node<'_>, messages: &Node<'_>) -> Result<Vec<Block>> {
    if content.value().is_string() {
        let text = content.string()?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Block::Text(text.to_owned())] });
    }
    let mut blocks = Vec::new();
    for item in content.list()? {
        push_block(&item, messages, &mut blocks)?;
    }
    Ok(blocks)
}

/// Checks a cache marker. Its lifetime is the server's affair: prefixes are kept while there is room.
pub(super) fn cache_control(node: &Node<'_>) -> Result<()> {
    let marker = node.object(&["type"], &["scope", "ttl"])?;
    marker.require("type")?.word(&["ephemeral"])?;
    if let Some(ttl) = marker.get("ttl") {
        ttl.word(&["5m", "1h"])?;
    }
    Ok(())
}

fn push_block(item: &Node<'_>, messages: &Node<'_>, blocks: &mut Vec<Block>) -> Result<()> {
    let open = item.open_object(&["type"])?;
    let tag = open.require("type")?.string()?;
    let node = item.branch(tag);
    let (block, cacheable) = match tag {
        "text" => {
            let block = node.object(&["text", "type"], &["cache_control", "citations"])?;
            let text = block.require("text")?.string()?;
            if text.is_empty() {
                return Err(messages.refuse("text content blocks must be non-empty"));
            }
            (Block::Text(text.to_owned()), block)
        }
        "image" => {
            let block = node.object(&["source", "type"], &["cache_control"])?;
            (image(&block.require("source")?)?, block)
        }
        "document" => {
            let block =
                node.object(&["source", "type"], &["cache_control", "citations", "context", "title"])?;
            if let Some(context) = block.string("context")?.filter(|text| !text.is_empty()) {
                blocks.push(Block::Text(context.to_owned()));
            }
            (document(&block)?, block)
        }
        "search_result" => {
            let block =
                node.object(&["content", "source", "title", "type"], &["cache_control", "citations"])?;
            (search_result(&block, messages)?, block)
        }
        "tool_use" => {
            let block = node.object(&["id", "input", "name", "type"], &["cache_control", "caller"])?;
            (tool_use(&block)?, block)
        }
        "tool_result" => {
            let block = node.object(&["tool_use_id", "type"], &["cache_control", "content", "is_error"])?;
            (tool_result(&block, messages)?, block)
        }
        "thinking" => {
            let block = node.object(&["signature", "thinking", "type"], &[])?;
            let text = block.require("thinking")?.string()?.to_owned();
            let signature = block.require("signature")?.string()?;
            let signature = (!signature.is_empty()).then(|| signature.to_owned());
            (Block::Reasoning(Reasoning::Text { text, signature }), block)
        }
        "redacted_thinking" => {
            let block = node.object(&["data", "type"], &[])?;
            // The data is opaque to everyone but the provider: its characters are kept as they are.
            let data = block.require("data")?.string()?.to_owned();
            (Block::Reasoning(Reasoning::Redacted(Bytes::from(data))), block)
        }
        other => {
            let tags: Vec<String> = TAGS.iter().map(|tag| format!("'{tag}'")).collect();
            return Err(item.refuse(&format!(
                "Input tag '{other}' found using 'type' does not match any of the expected tags: {}",
                tags.join(", ")
            )));
        }
    };
    blocks.push(block);
    if cacheable.get("cache_control").map(|node| cache_control(&node)).transpose()?.is_some() {
        blocks.push(Block::CachePoint);
    }
    Ok(())
}

fn image(source: &Node<'_>) -> Result<Block> {
    let kind = source.open_object(&["type"])?.require("type")?;
    match kind.string()? {
        "base64" => {}
        "url" => return Err(source.refuse("URL sources are not supported; send the image as base64")),
        other => return Err(unknown_source(source, other, "'base64'")),
    }
    let source = source.branch("base64").object(&["data", "media_type", "type"], &[])?;
    let media_type = source.require("media_type")?;
    media_type.word(&["image/jpeg", "image/png", "image/gif", "image/webp"])?;
    let format = media::image_format(media_type.string()?).unwrap_or("png");
    Ok(Block::Image(Image {
        format: format.to_owned(),
        bytes: media::decode_base64(&source.require("data")?)?,
    }))
}

fn document(block: &Object<'_>) -> Result<Block> {
    let name = block.string("title")?.filter(|title| !title.is_empty()).unwrap_or("document").to_owned();
    let node = block.require("source")?;
    let kind = node.open_object(&["type"])?.require("type")?.string()?;
    let (format, bytes) = match kind {
        "base64" => {
            let source = node.branch(kind).object(&["data", "media_type", "type"], &[])?;
            source.require("media_type")?.word(&["application/pdf"])?;
            ("pdf", media::decode_base64(&source.require("data")?)?)
        }
        "text" => {
            let source = node.branch(kind).object(&["data", "media_type", "type"], &[])?;
            source.require("media_type")?.word(&["text/plain"])?;
            ("txt", Bytes::from(source.require("data")?.string()?.to_owned()))
        }
        "content" => {
            let source = node.branch(kind).object(&["content", "type"], &[])?;
            ("txt", Bytes::from(plain_content(&source.require("content")?)?))
        }
        "url" => {
            return Err(node.refuse("URL sources are not supported; send the document as base64 or text"));
        }
        other => return Err(unknown_source(&node, other, "'base64', 'content', 'text'")),
    };
    Ok(Block::Document(Document { name, format: format.to_owned(), bytes }))
}

/// A document given as blocks of text.
fn plain_content(content: &Node<'_>) -> Result<String> {
    let mut text = String::new();
    for block in blocks(content, content)? {
        match block {
            Block::Text(part) if text.is_empty() => text = part,
            Block::Text(part) => {
                text.push('\n');
                text.push_str(&part);
            }
            Block::CachePoint => {}
            _ => return Err(content.refuse("only text blocks can make up a document")),
        }
    }
    Ok(text)
}

fn search_result(block: &Object<'_>, messages: &Node<'_>) -> Result<Block> {
    let title = block.require("title")?.string()?;
    let source = block.require("source")?.string()?;
    let mut text = format!("{title}\n{source}\n");
    for part in blocks(&block.require("content")?, messages)? {
        if let Block::Text(part) = part {
            text.push_str(&part);
            text.push('\n');
        }
    }
    Ok(Block::Text(text))
}

fn tool_use(block: &Object<'_>) -> Result<Block> {
    let input = block.require("input")?;
    input.open_object(&[])?;
    Ok(Block::ToolUse(ToolUse {
        id: block.require("id")?.filled_string()?.to_owned(),
        name: block.require("name")?.filled_string()?.to_owned(),
        input: input.value().clone(),
    }))
}

fn tool_result(block: &Object<'_>, messages: &Node<'_>) -> Result<Block> {
    let content = block.get("content").map(|node| blocks(&node, messages)).transpose()?.unwrap_or_default();
    if content
        .iter()
        .any(|block| matches!(block, Block::ToolUse(_) | Block::ToolResult(_) | Block::Reasoning(_)))
    {
        let node = block.node();
        return Err(node.refuse("tool results hold text, images, documents and search results only"));
    }
    Ok(Block::ToolResult(ToolResult {
        tool_use_id: block.require("tool_use_id")?.filled_string()?.to_owned(),
        content,
        is_error: block.boolean("is_error")?.unwrap_or(false),
    }))
}

fn unknown_source(node: &Node<'_>, found: &str, expected: &str) -> ApiError {
    node.refuse(&format!(
        "Input tag '{found}' found using 'type' does not match any of the expected tags: {expected}"
    ))
}
