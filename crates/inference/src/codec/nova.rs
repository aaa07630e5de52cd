//! Amazon Nova: Converse's own shape as an InvokeModel body, with bytes in base64.

mod answer;

use craton_backend::{
    Block, ChatRequest, Document, Image, Message, Reasoning, Role, Sampling, Tool, ToolChoice, ToolResult,
    ToolUse,
};
use craton_wire::ApiError;
use serde_json::Value;

use super::format::BodyFormat;
use super::reader::{Dialect, Node, Object};
use super::{Decoded, StreamEncoder, media};
use crate::answer::Answer;
use crate::tool_turns;

type Result<T> = std::result::Result<T, ApiError>;

const MOST_TOKENS: u32 = 65_535;

#[derive(Debug, Clone, Copy)]
pub(super) struct Nova;

impl BodyFormat for Nova {
    fn read(&self, body: &Value) -> Result<Decoded> {
        let body = Node::root(body, Dialect::JsonSchema).object(
            &["messages"],
            &[
                "inferenceConfig",
                "schemaVersion",
                "system",
                "toolConfig",
                "reasoningConfig",
                "additionalModelRequestFields",
            ],
        )?;
        if let Some(version) = body.get("schemaVersion") {
            version.word(&["messages-v1"])?;
        }
        let mut request =
            ChatRequest { messages: messages(&body.require("messages")?)?, ..ChatRequest::default() };
        tool_turns::check(&request.messages, tool_turns::Words::Converse)?;
        if let Some(system) = body.get("system") {
            for item in system.list()? {
                request.system.push(system_block(&item)?);
            }
        }
        if let Some(config) = body.get("inferenceConfig") {
            request.sampling = sampling(&config)?;
        }
        if let Some(config) = body.get("toolConfig") {
            read_tools(&config, &mut request)?;
        }
        if let Some(config) = body.get("reasoningConfig") {
            config.open_object(&["type"])?.require("type")?.word(&["enabled", "disabled"])?;
            request.extra.insert("reasoningConfig".to_owned(), config.value().clone());
        }
        Ok(Decoded::new(request))
    }

    fn whole(&self, _decoded: &Decoded, answer: &Answer) -> Value {
        answer::whole(answer)
    }

    fn stream(&self, _decoded: &Decoded) -> Box<dyn StreamEncoder> {
        Box::new(answer::Stream)
    }
}

pub(super) fn sampling(node: &Node<'_>) -> Result<Sampling> {
    // `max_new_tokens`, `top_p` and `top_k` are the first release's names, still accepted.
    let config = node.object(
        &[],
        &["maxTokens", "max_new_tokens", "stopSequences", "temperature", "topK", "topP", "top_k", "top_p"],
    )?;
    let max_tokens = config.count("maxTokens", 1..=MOST_TOKENS)?;
    Ok(Sampling {
        max_tokens: max_tokens.or(config.count("max_new_tokens", 1..=MOST_TOKENS)?),
        temperature: config.number("temperature", 0.0..=1.0)?,
        top_p: config.number("topP", 0.0..=1.0)?.or(config.number("top_p", 0.0..=1.0)?),
        top_k: config.count("topK", 0..=128)?.or(config.count("top_k", 0..=128)?),
        stop_sequences: config.strings("stopSequences", 0..=usize::MAX)?,
        ..Sampling::default()
    })
}

fn system_block(item: &Node<'_>) -> Result<Block> {
    let block = item.object(&[], &["cachePoint", "text"])?;
    match block.get("text") {
        Some(text) => Ok(Block::Text(text.string()?.to_owned())),
        None if block.has("cachePoint") => Ok(Block::CachePoint),
        None => Err(item.refuse("required key [text] not found")),
    }
}

fn messages(node: &Node<'_>) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    for item in node.sized_list(1..=usize::MAX)? {
        let message = item.object(&["content", "role"], &[])?;
        let role = match message.require("role")?.word(&["user", "assistant"])? {
            "user" => Role::User,
            _ => Role::Assistant,
        };
        let content: Result<Vec<Block>> =
            message.require("content")?.sized_list(1..=usize::MAX)?.iter().map(block).collect();
        messages.push(Message { role, content: content? });
    }
    Ok(messages)
}

const BLOCKS: &[&str] =
    &["cachePoint", "document", "image", "reasoningContent", "text", "toolResult", "toolUse", "video"];

/// The one key of a block says what it is.
fn block(item: &Node<'_>) -> Result<Block> {
    let block = item.object(&[], BLOCKS)?;
    let mut kinds = BLOCKS.iter().filter(|kind| block.has(kind));
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err(item.refuse("exactly one content block type is expected"));
    };
    let node = block.require(kind)?;
    match *kind {
        "text" => Ok(Block::Text(node.string()?.to_owned())),
        "image" => image(&node),
        "document" => document(&node),
        "toolUse" => tool_use(&node),
        "toolResult" => tool_result(&node),
        "reasoningContent" => reasoning(&node),
        "cachePoint" => {
            node.object(&["type"], &["ttl"])?.require("type")?.word(&["default"])?;
            Ok(Block::CachePoint)
        }
        _ => Err(node.refuse("video input is not served")),
    }
}

fn source(block: &Object<'_>) -> Result<bytes::Bytes> {
    let source = block.require("source")?;
    if source.value().get("s3Location").is_some() {
        return Err(source.refuse("s3Location is served in Converse only, send the bytes"));
    }
    let bytes = source.open_object(&["bytes"])?.require("bytes")?;
    media::decode_base64(&bytes)
}

fn image(node: &Node<'_>) -> Result<Block> {
    let image = node.object(&["format", "source"], &[])?;
    let format = image.require("format")?.word(&["jpeg", "png", "gif", "webp"])?;
    Ok(Block::Image(Image { format: format.to_owned(), bytes: source(&image)? }))
}

fn document(node: &Node<'_>) -> Result<Block> {
    let document = node.object(&["format", "name", "source"], &["citations", "context"])?;
    let format = document
        .require("format")?
        .word(&["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"])?
        .to_owned();
    let name = document.require("name")?.filled_string()?.to_owned();
    Ok(Block::Document(Document { name, format, bytes: source(&document)? }))
}

fn tool_use(node: &Node<'_>) -> Result<Block> {
    let tool = node.object(&["input", "name", "toolUseId"], &["type"])?;
    let input = tool.require("input")?;
    input.open_object(&[])?;
    Ok(Block::ToolUse(ToolUse {
        id: tool.require("toolUseId")?.filled_string()?.to_owned(),
        name: tool.require("name")?.filled_string()?.to_owned(),
        input: input.value().clone(),
    }))
}

fn tool_result(node: &Node<'_>) -> Result<Block> {
    let result = node.object(&["content", "toolUseId"], &["status", "type"])?;
    let mut content = Vec::new();
    for item in result.require("content")?.list()? {
        let part = item.object(&[], &["document", "image", "json", "text"])?;
        content.push(if let Some(text) = part.get("text") {
            Block::Text(text.string()?.to_owned())
        } else if let Some(json) = part.get("json") {
            Block::Text(json.value().to_string())
        } else if let Some(node) = part.get("image") {
            image(&node)?
        } else if let Some(node) = part.get("document") {
            document(&node)?
        } else {
            return Err(item.refuse("required key [text] not found"));
        });
    }
    let status = result.get("status").map(|node| node.word(&["success", "error"])).transpose()?;
    Ok(Block::ToolResult(ToolResult {
        tool_use_id: result.require("toolUseId")?.filled_string()?.to_owned(),
        content,
        is_error: status == Some("error"),
    }))
}

fn reasoning(node: &Node<'_>) -> Result<Block> {
    let reasoning = node.object(&[], &["reasoningText", "redactedContent"])?;
    if let Some(text) = reasoning.get("reasoningText") {
        let text = text.object(&["text"], &["signature"])?;
        return Ok(Block::Reasoning(Reasoning::Text {
            text: text.require("text")?.string()?.to_owned(),
            signature: text.string("signature")?.map(str::to_owned),
        }));
    }
    let data = reasoning.require("redactedContent")?;
    Ok(Block::Reasoning(Reasoning::Redacted(media::decode_base64(&data)?)))
}

fn read_tools(node: &Node<'_>, request: &mut ChatRequest) -> Result<()> {
    let config = node.object(&["tools"], &["toolChoice"])?;
    for item in config.require("tools")?.sized_list(1..=usize::MAX)? {
        let entry = item.object(&[], &["cachePoint", "systemTool", "toolSpec"])?;
        if entry.has("cachePoint") {
            // Tools come before the system prompt in what the model reads.
            request.system.insert(0, Block::CachePoint);
            continue;
        }
        let spec = entry.require("toolSpec")?.object(&["inputSchema", "name"], &["description", "strict"])?;
        let schema = spec.require("inputSchema")?.object(&["json"], &[])?.require("json")?;
        schema.open_object(&[])?;
        request.tools.push(Tool {
            name: spec.require("name")?.filled_string()?.to_owned(),
            description: spec.string("description")?.map(str::to_owned),
            input_schema: schema.value().clone(),
            strict: spec.boolean("strict")?.unwrap_or(false),
        });
    }
    let Some(choice) = config.get("toolChoice") else { return Ok(()) };
    let options = choice.object(&[], &["any", "auto", "tool"])?;
    if let Some(tool) = options.get("tool") {
        let name = tool.object(&["name"], &[])?.require("name")?;
        if !request.tools.iter().any(|tool| Some(tool.name.as_str()) == name.value().as_str()) {
            return Err(name.refuse("the tool is not among the tools"));
        }
        request.tool_choice = ToolChoice::Tool(name.string()?.to_owned());
    } else if options.has("any") {
        request.tool_choice = ToolChoice::Any;
    }
    Ok(())
}
