//! What Converse demands of a conversation beyond its model's constraints, in AWS's own words.
//!
//! That calls of tools and their results fit is checked once the messages are decoded, by [`crate::tool_turns`].
//! The wording is what Bedrock answers with today, as its users report it; clients match on it.

use std::collections::HashSet;

use craton_api_bedrock_runtime::{
    ContentBlock, ConversationRole, DocumentBlock, Message, Tool, ToolChoice, ToolConfiguration,
    ToolInputSchema, ToolResultBlock, ToolResultContentBlock, ToolResultStatus,
};
use craton_wire::ApiError;
use serde_json::Value;

/// Documents a request may have, tool results included.
const MAX_DOCUMENTS: usize = 5;

pub(super) fn check_messages(messages: &[Message], has_tools: bool) -> Result<(), ApiError> {
    if messages.first().is_none_or(|first| first.role == ConversationRole::Assistant) {
        return refuse(
            "A conversation must start with a user message. Try again with a conversation that starts with a user \
             message.",
        );
    }
    let mut documents = Documents::default();
    for (index, message) in messages.iter().enumerate() {
        let previous = index.checked_sub(1).map(|previous| &messages[previous]);
        check_turn(index, message, previous)?;
        for (position, block) in message.content.iter().enumerate() {
            check_block(&Place { message: index, block: position }, block, message.role, has_tools)?;
        }
        documents.check(message)?;
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T, ApiError> {
    Err(ApiError::validation(message))
}

fn check_turn(index: usize, message: &Message, previous: Option<&Message>) -> Result<(), ApiError> {
    if message.role == ConversationRole::System {
        return refuse(format!(
            "This model doesn't support the system role at messages.{index}. Put the text in the system field and try \
             again."
        ));
    }
    if previous.is_some_and(|previous| previous.role == message.role) {
        return refuse(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates \
             between user and assistant roles and try again.",
        );
    }
    if message.content.is_empty() {
        return refuse(format!(
            "The content field in the Message object at messages.{index} is empty. Add a ContentBlock object to the \
             content field and try again."
        ));
    }
    check_cache_points(index, message)
}

/// A cache point marks the end of something: it can't be all that a message has, nor follow reasoning.
fn check_cache_points(index: usize, message: &Message) -> Result<(), ApiError> {
    let is_point = |block: &ContentBlock| matches!(block, ContentBlock::CachePoint(_));
    if message.content.iter().all(is_point) {
        return refuse(format!(
            "The content field in the Message object at messages.{index} has nothing but cache points. Add a \
             ContentBlock object with content to the content field and try again."
        ));
    }
    let after_reasoning = message
        .content
        .windows(2)
        .any(|pair| matches!(pair[0], ContentBlock::ReasoningContent(_)) && is_point(&pair[1]));
    match after_reasoning {
        true => refuse(
            "Cache point cannot be inserted after reasoning block. Please remove the invalid cache point and try \
             again.",
        ),
        false => Ok(()),
    }
}

/// Where a block is, as messages name it.
struct Place {
    message: usize,
    block: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "messages.{}.content.{}", self.message, self.block)
    }
}

fn check_block(
    place: &Place,
    block: &ContentBlock,
    role: ConversationRole,
    has_tools: bool,
) -> Result<(), ApiError> {
    let (kind, belongs_to) = match block {
        ContentBlock::Text(text) if text.trim().is_empty() => {
            return refuse(format!(
                "The text field in the ContentBlock object at {place} is blank. Add text to the text field, and try \
                 again."
            ));
        }
        ContentBlock::Video(_) => return refuse(unsupported_block("video")),
        ContentBlock::Audio(_) => return refuse(unsupported_block("audio")),
        ContentBlock::ToolAddition(_) => return refuse(unsupported_block("toolAddition")),
        ContentBlock::ToolRemoval(_) => return refuse(unsupported_block("toolRemoval")),
        ContentBlock::ToolUse(_) | ContentBlock::ToolResult(_) if !has_tools => {
            return refuse(
                "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
            );
        }
        ContentBlock::ToolResult(result) => {
            check_tool_result(place, result)?;
            ("toolResult", ConversationRole::User)
        }
        ContentBlock::ToolUse(tool_use) => {
            check_json_object(&tool_use.input, &format!("{place}.toolUse.input"))?;
            ("toolUse", ConversationRole::Assistant)
        }
        ContentBlock::ReasoningContent(_) => ("reasoningContent", ConversationRole::Assistant),
        ContentBlock::Image(_) => ("image", ConversationRole::User),
        ContentBlock::Document(_) => ("document", ConversationRole::User),
        _ => return Ok(()),
    };
    if role == belongs_to {
        return Ok(());
    }
    refuse(format!(
        "The {kind} block at {place} is in a message with the {} role. It must be in a message with the {} role.",
        role.as_str(),
        belongs_to.as_str()
    ))
}

fn check_json_object(value: &Value, path: &str) -> Result<(), ApiError> {
    match value.is_object() {
        true => Ok(()),
        false => refuse(format!(
            "The format of the value at {path} is invalid. Provide a json object for the field and try again."
        )),
    }
}

/// AWS's words for content that the model behind an id can't take.
pub(super) fn unsupported_block(kind: &str) -> String {
    format!(
        "This model doesn't support the {kind} content block that you provided. Update the content block and try again."
    )
}

fn check_tool_result(place: &Place, result: &ToolResultBlock) -> Result<(), ApiError> {
    if result.status == Some(ToolResultStatus::Error) && result.content.is_empty() {
        return refuse(format!(
            "The content field at {place}.toolResult cannot be empty when status value is error."
        ));
    }
    match result.content.iter().any(|content| matches!(content, ToolResultContentBlock::Video(_))) {
        true => refuse(unsupported_block("video")),
        false => Ok(()),
    }
}

#[derive(Default)]
struct Documents<'a> {
    names: HashSet<&'a str>,
}

impl<'a> Documents<'a> {
    fn check(&mut self, message: &'a Message) -> Result<(), ApiError> {
        let mut alone = false;
        for block in &message.content {
            match block {
                ContentBlock::Document(document) => {
                    alone = true;
                    self.add(document)?;
                }
                ContentBlock::ToolResult(result) => {
                    for content in &result.content {
                        if let ToolResultContentBlock::Document(document) = content {
                            self.add(document)?;
                        }
                    }
                }
                _ => {}
            }
        }
        let is_text =
            |block: &ContentBlock| matches!(block, ContentBlock::Text(_) | ContentBlock::GuardContent(_));
        match alone && !message.content.iter().any(is_text) {
            true => refuse("A text block must be included when using documents."),
            false => Ok(()),
        }
    }

    fn add(&mut self, document: &'a DocumentBlock) -> Result<(), ApiError> {
        if !is_document_name(&document.name) {
            return refuse(
                "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, \
                 parentheses, and square brackets. The name can't contain more than one consecutive whitespace \
                 character. Check that the file name conforms to these restrictions and retry your request.",
            );
        }
        if !self.names.insert(&document.name) {
            return refuse(
                "Messages can't contain duplicate document names. Rename the document and retry your request.",
            );
        }
        match self.names.len() > MAX_DOCUMENTS {
            true => refuse(format!("You can't include more than {MAX_DOCUMENTS} documents in a request.")),
            false => Ok(()),
        }
    }
}

/// Underscores are taken too, as Bedrock does although it doesn't say so; of whitespace, single spaces only.
fn is_document_name(name: &str) -> bool {
    let is_allowed = |character: char| character.is_ascii_alphanumeric() || " -_()[]".contains(character);
    name.chars().all(is_allowed) && !name.contains("  ")
}

pub(super) fn check_tools(config: &ToolConfiguration) -> Result<(), ApiError> {
    let mut names = HashSet::new();
    for (index, tool) in config.tools.iter().enumerate() {
        match tool {
            Tool::ToolSpec(spec) => {
                let ToolInputSchema::Json(schema) = &spec.input_schema;
                check_json_object(schema, &format!("toolConfig.tools.{index}.toolSpec.inputSchema.json"))?;
                if schema.get("type").and_then(Value::as_str) != Some("object") {
                    return refuse(format!(
                        "The value at toolConfig.tools.{index}.toolSpec.inputSchema.json.type must be one of the \
                         following: object."
                    ));
                }
                if !names.insert(spec.name.as_str()) {
                    return refuse(format!(
                        "The tool name {} at toolConfig.tools.{index} is used more than once. Give each tool its own \
                         name and try again.",
                        spec.name
                    ));
                }
            }
            Tool::SystemTool(tool) => {
                return refuse(format!(
                    "This model doesn't support the system tool {} at toolConfig.tools.{index}.",
                    tool.name
                ));
            }
            Tool::CachePoint(_) => {}
        }
    }
    if names.is_empty() {
        return refuse("The toolConfig.tools field must define at least one tool.");
    }
    match &config.tool_choice {
        Some(ToolChoice::Tool(choice)) if !names.contains(choice.name.as_str()) => refuse(format!(
            "The tool {} at toolConfig.toolChoice.tool.name is not defined in toolConfig.tools. Choose a tool that is \
             defined there and try again.",
            choice.name
        )),
        _ => Ok(()),
    }
}
