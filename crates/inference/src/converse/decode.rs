//! From Converse's types to the internal request. Content is moved, never copied.

use bytes::Bytes;
use craton_api_bedrock_runtime as api;
use craton_backend as backend;
use craton_backend::{Block, ChatRequest, Effort, Priority, ResponseSchema, Role, Sampling};
use craton_guardrails::Qualifier;
use craton_wire::ApiError;
use serde_json::Value;

use super::fields;
use super::rules::{self, unsupported_block};
use crate::guarded::{Marked, Place};
use crate::{schema, tool_turns};

/// What the operations that take a conversation have in common.
#[derive(Default)]
pub(super) struct Conversation {
    pub messages: Option<Vec<api::Message>>,
    pub system: Option<Vec<api::SystemContentBlock>>,
    pub inference_config: Option<api::InferenceConfiguration>,
    pub tool_config: Option<api::ToolConfiguration>,
    pub additional_fields: Option<Value>,
    pub service_tier: Option<api::ServiceTierType>,
    pub output_config: Option<api::OutputConfig>,
    pub stream: bool,
}

/// A conversation, read.
pub(super) struct Decoded {
    pub request: ChatRequest,
    /// Cache points as they were sent: several at one place count several times.
    pub cache_points: usize,
    /// What is marked for a guardrail.
    pub marked: Vec<Marked>,
}

/// What can be said of a conversation before anything that it names is fetched.
pub(super) fn check(conversation: &Conversation) -> Result<(), ApiError> {
    if let Some(config) = &conversation.tool_config {
        rules::check_tools(config)?;
    }
    let messages = conversation.messages.as_deref().unwrap_or_default();
    rules::check_messages(messages, conversation.tool_config.is_some())
}

/// Reads a conversation that was [checked](check).
pub(super) fn request(conversation: Conversation) -> Result<Decoded, ApiError> {
    let cache_points = cache_points(&conversation);
    let messages = conversation.messages.unwrap_or_default();
    let mut request = ChatRequest {
        sampling: conversation.inference_config.map(sampling).transpose()?.unwrap_or_default(),
        priority: conversation.service_tier.map(priority).unwrap_or_default(),
        stream: conversation.stream,
        ..ChatRequest::default()
    };
    if let Some(config) = conversation.tool_config {
        add_tools(config, &mut request);
    }
    let mut marked = Vec::new();
    for block in conversation.system.unwrap_or_default() {
        if let api::SystemContentBlock::GuardContent(content) = &block {
            marked.extend(mark(content, Place::System(request.system.len())));
        }
        request.system.push(system_block(block)?);
    }
    for message in messages {
        let role = match message.role {
            api::ConversationRole::Assistant => Role::Assistant,
            api::ConversationRole::User | api::ConversationRole::System => Role::User,
        };
        let mut content = Vec::with_capacity(message.content.len());
        for block in message.content {
            if let api::ContentBlock::GuardContent(guarded) = &block {
                marked.extend(mark(guarded, Place::Message(request.messages.len(), content.len())));
            }
            add_block(block, &mut content)?;
        }
        request.messages.push(backend::Message { role, content });
    }
    tool_turns::check(&request.messages, tool_turns::Words::Converse)?;
    if let Some(fields) = conversation.additional_fields {
        fields::read_additional_fields(fields, &mut request)?;
    }
    if let Some(config) = conversation.output_config {
        add_output_config(config, &mut request)?;
    }
    Ok(Decoded { request, cache_points, marked })
}

/// A block that the client marked for its guardrail. Images are none that a guardrail here looks at.
fn mark(content: &api::GuardrailConverseContentBlock, place: Place) -> Option<Marked> {
    let api::GuardrailConverseContentBlock::Text(block) = content else { return None };
    let qualifiers = block.qualifiers.iter().flatten().map(|qualifier| match qualifier {
        api::GuardrailConverseContentQualifier::GroundingSource => Qualifier::GroundingSource,
        api::GuardrailConverseContentQualifier::Query => Qualifier::Query,
        api::GuardrailConverseContentQualifier::GuardContent => Qualifier::GuardContent,
    });
    Some(Marked { place, range: None, qualifiers: qualifiers.collect() })
}

fn cache_points(conversation: &Conversation) -> usize {
    let tools = conversation.tool_config.iter().flat_map(|config| &config.tools);
    let system = conversation.system.iter().flatten();
    let blocks = conversation.messages.iter().flatten().flat_map(|message| &message.content);
    tools.filter(|tool| matches!(tool, api::Tool::CachePoint(_))).count()
        + system.filter(|block| matches!(block, api::SystemContentBlock::CachePoint(_))).count()
        + blocks.filter(|block| matches!(block, api::ContentBlock::CachePoint(_))).count()
}

pub(crate) fn priority(tier: api::ServiceTierType) -> Priority {
    match tier {
        api::ServiceTierType::Priority | api::ServiceTierType::Reserved => Priority::Priority,
        api::ServiceTierType::Default => Priority::Default,
        api::ServiceTierType::Flex => Priority::Flex,
    }
}

fn sampling(config: api::InferenceConfiguration) -> Result<Sampling, ApiError> {
    let max_tokens = config.max_tokens.map(u32::try_from).transpose();
    let max_tokens = max_tokens.map_err(|_| {
        ApiError::validation("The value at inferenceConfig.maxTokens must be a positive integer.")
    })?;
    Ok(Sampling {
        max_tokens,
        temperature: config.temperature,
        top_p: config.top_p,
        stop_sequences: config.stop_sequences.unwrap_or_default(),
        ..Sampling::default()
    })
}

fn add_tools(config: api::ToolConfiguration, request: &mut ChatRequest) {
    for tool in config.tools {
        match tool {
            api::Tool::ToolSpec(spec) => {
                let api::ToolInputSchema::Json(input_schema) = spec.input_schema;
                request.tools.push(backend::Tool {
                    name: spec.name,
                    description: spec.description,
                    input_schema,
                    strict: spec.strict.unwrap_or_default(),
                });
            }
            // Tools come before the system prompt in what a model reads, so a point after them is one at its start.
            api::Tool::CachePoint(_) if request.system.is_empty() => request.system.push(Block::CachePoint),
            api::Tool::CachePoint(_) | api::Tool::SystemTool(_) => {}
        }
    }
    request.tool_choice = match config.tool_choice {
        None | Some(api::ToolChoice::Auto(_)) => backend::ToolChoice::Auto,
        Some(api::ToolChoice::Any(_)) => backend::ToolChoice::Any,
        Some(api::ToolChoice::Tool(choice)) => backend::ToolChoice::Tool(choice.name),
    };
}

fn system_block(block: api::SystemContentBlock) -> Result<Block, ApiError> {
    match block {
        api::SystemContentBlock::Text(text) => Ok(Block::Text(text)),
        api::SystemContentBlock::CachePoint(_) => Ok(Block::CachePoint),
        api::SystemContentBlock::GuardContent(content) => match guard_content(content) {
            block @ Block::Text(_) => Ok(block),
            _ => Err(ApiError::validation(unsupported_block("image"))),
        },
    }
}

/// Content marked for a guardrail is content like any other to the model.
fn guard_content(content: api::GuardrailConverseContentBlock) -> Block {
    match content {
        api::GuardrailConverseContentBlock::Text(text) => Block::Text(text.text),
        api::GuardrailConverseContentBlock::Image(image) => {
            let api::GuardrailConverseImageSource::Bytes(bytes) = image.source;
            Block::Image(backend::Image { format: image.format.as_str().to_owned(), bytes: bytes.0 })
        }
    }
}

fn add_block(block: api::ContentBlock, content: &mut Vec<Block>) -> Result<(), ApiError> {
    content.push(match block {
        api::ContentBlock::Text(text) => Block::Text(text),
        api::ContentBlock::Image(block) => Block::Image(image(block)?),
        api::ContentBlock::Document(block) => return add_document(block, content),
        api::ContentBlock::ToolUse(block) => {
            Block::ToolUse(backend::ToolUse { id: block.tool_use_id, name: block.name, input: block.input })
        }
        api::ContentBlock::ToolResult(block) => Block::ToolResult(tool_result(block)?),
        api::ContentBlock::GuardContent(block) => guard_content(block),
        api::ContentBlock::CachePoint(_) => Block::CachePoint,
        api::ContentBlock::ReasoningContent(block) => Block::Reasoning(reasoning(block)),
        api::ContentBlock::CitationsContent(block) => Block::Text(cited_text(block)),
        api::ContentBlock::SearchResult(block) => Block::Text(search_result(&block)),
        api::ContentBlock::Video(_) => return Err(ApiError::validation(unsupported_block("video"))),
        api::ContentBlock::Audio(_) => return Err(ApiError::validation(unsupported_block("audio"))),
        api::ContentBlock::ToolAddition(_) | api::ContentBlock::ToolRemoval(_) => {
            return Err(ApiError::validation(unsupported_block("tool change")));
        }
    });
    Ok(())
}

fn image(block: api::ImageBlock) -> Result<backend::Image, ApiError> {
    match block.source {
        api::ImageSource::Bytes(bytes) => {
            Ok(backend::Image { format: block.format.as_str().to_owned(), bytes: bytes.0 })
        }
        api::ImageSource::S3Location(_) => Err(not_from_s3("image")),
    }
}

/// Objects are in the place of their locations by now, where the server keeps any.
fn not_from_s3(kind: &str) -> ApiError {
    ApiError::validation(format!("This server keeps no objects. Send the {kind} as bytes and try again."))
}

/// A document, preceded by the context its sender gave for it.
fn add_document(block: api::DocumentBlock, content: &mut Vec<Block>) -> Result<(), ApiError> {
    if let Some(context) = block.context.as_deref().filter(|context| !context.trim().is_empty()) {
        content.push(Block::Text(format!("About the document '{}': {context}", block.name)));
    }
    content.push(Block::Document(document(block)?));
    Ok(())
}

fn document(block: api::DocumentBlock) -> Result<backend::Document, ApiError> {
    let format = block.format.map_or("txt", api::DocumentFormat::as_str);
    let (format, bytes) = match block.source {
        api::DocumentSource::Bytes(bytes) => (format, bytes.0),
        // Text is text, whatever it was taken from.
        api::DocumentSource::Text(text) => ("txt", Bytes::from(text)),
        api::DocumentSource::Content(parts) => {
            let texts: Vec<String> =
                parts.into_iter().map(|api::DocumentContentBlock::Text(text)| text).collect();
            ("txt", Bytes::from(texts.join("\n")))
        }
        api::DocumentSource::S3Location(_) => return Err(not_from_s3("document")),
    };
    Ok(backend::Document { name: block.name, format: format.to_owned(), bytes })
}

fn tool_result(block: api::ToolResultBlock) -> Result<backend::ToolResult, ApiError> {
    let mut content = Vec::with_capacity(block.content.len());
    for part in block.content {
        match part {
            api::ToolResultContentBlock::Json(value) => content.push(Block::Text(value.to_string())),
            api::ToolResultContentBlock::Text(text) => content.push(Block::Text(text)),
            api::ToolResultContentBlock::Image(block) => content.push(Block::Image(image(block)?)),
            api::ToolResultContentBlock::Document(block) => add_document(block, &mut content)?,
            api::ToolResultContentBlock::SearchResult(block) => {
                content.push(Block::Text(search_result(&block)))
            }
            api::ToolResultContentBlock::Video(_) => {
                return Err(ApiError::validation(unsupported_block("video")));
            }
        }
    }
    let is_error = block.status == Some(api::ToolResultStatus::Error);
    Ok(backend::ToolResult { tool_use_id: block.tool_use_id, content, is_error })
}

fn reasoning(block: api::ReasoningContentBlock) -> backend::Reasoning {
    match block {
        api::ReasoningContentBlock::ReasoningText(block) => {
            backend::Reasoning::Text { text: block.text, signature: block.signature }
        }
        api::ReasoningContentBlock::RedactedContent(bytes) => backend::Reasoning::Redacted(bytes.0),
    }
}

/// An earlier answer with citations goes back to the model as the text it was.
fn cited_text(block: api::CitationsContentBlock) -> String {
    let parts = block.content.unwrap_or_default();
    parts.into_iter().map(|api::CitationGeneratedContent::Text(text)| text).collect()
}

fn search_result(block: &api::SearchResultBlock) -> String {
    let api::SearchResultBlock { source, title, content, .. } = block;
    let texts: Vec<&str> = content.iter().map(|part| part.text.as_str()).collect();
    format!("<search_result title=\"{title}\" source=\"{source}\">\n{}\n</search_result>", texts.join("\n"))
}

fn add_output_config(config: api::OutputConfig, request: &mut ChatRequest) -> Result<(), ApiError> {
    if let Some(effort) = config.effort.filter(|effort| !effort.is_empty()) {
        request.effort = Some(Effort::of(&effort).ok_or_else(|| {
            ApiError::validation(format!(
                "The value at outputConfig.effort must be one of the following: {}.",
                Effort::ALL.map(Effort::as_str).join(", ")
            ))
        })?);
    }
    if let Some(format) = config.text_format {
        let api::OutputFormatStructure::JsonSchema(definition) = format.structure;
        let schema: Value = serde_json::from_str(&definition.schema)
            .map_err(|error| wrong_schema(&format!("it is not valid JSON ({error})")))?;
        if !schema.is_object() {
            return Err(wrong_schema("it must be a JSON object"));
        }
        if let Some(problem) = schema::problem(&schema) {
            return Err(wrong_schema(&problem.to_string()));
        }
        request.response_schema = Some(ResponseSchema { name: definition.name, schema });
    }
    Ok(())
}

fn wrong_schema(reason: &str) -> ApiError {
    ApiError::validation(format!(
        "The value at outputConfig.textFormat.structure.jsonSchema.schema is not valid: {reason}."
    ))
}
