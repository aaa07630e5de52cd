//! Prompt templates: ours, and those that an agent's owner puts in their place.
//!
//! A template is a JSON object with `system` and `messages`, as AWS's base templates have it; line breaks inside its
//! strings are let through, because the documented templates have them. Placeholders (`$instruction$`, `$question$`…)
//! are filled in after the JSON is read and in one pass, so that nothing a user says can add to the template or stand
//! for a placeholder. A message that holds `$agent_scratchpad$` is where the calls and results of this turn go, one
//! that holds `$conversation_history$` where earlier turns go; without one they come before the question. Text that is
//! no such object is a system prompt.

use std::collections::BTreeMap;

use craton_backend::{Block, Message, Reasoning, Role};
use serde_json::{Value, json};

/// Longest template, in bytes.
const MOST_BYTES: usize = 256 * 1024;
const HISTORY: &str = "$conversation_history$";
const SCRATCHPAD: &str = "$agent_scratchpad$";
const QUESTION: &str = "$question$";

/// The steps that have a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptKind {
    PreProcessing,
    Orchestration,
    KnowledgeBaseResponseGeneration,
    PostProcessing,
    RoutingClassifier,
    MemorySummarization,
}

impl PromptKind {
    pub const ALL: [Self; 6] = [
        Self::PreProcessing,
        Self::Orchestration,
        Self::KnowledgeBaseResponseGeneration,
        Self::PostProcessing,
        Self::RoutingClassifier,
        Self::MemorySummarization,
    ];

    /// The API's `promptType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreProcessing => "PRE_PROCESSING",
            Self::Orchestration => "ORCHESTRATION",
            Self::KnowledgeBaseResponseGeneration => "KNOWLEDGE_BASE_RESPONSE_GENERATION",
            Self::PostProcessing => "POST_PROCESSING",
            Self::RoutingClassifier => "ROUTING_CLASSIFIER",
            Self::MemorySummarization => "MEMORY_SUMMARIZATION",
        }
    }

    /// The template that is used where the agent's owner gave none.
    pub fn template(self) -> &'static str {
        match self {
            Self::PreProcessing => include_str!("templates/pre_processing.json"),
            Self::Orchestration => include_str!("templates/orchestration.json"),
            Self::KnowledgeBaseResponseGeneration => include_str!("templates/knowledge_base.json"),
            Self::PostProcessing => include_str!("templates/post_processing.json"),
            Self::RoutingClassifier => include_str!("templates/routing_classifier.json"),
            Self::MemorySummarization => include_str!("templates/memory_summarization.json"),
        }
    }
}

/// What stands in place of `$name$`, by name.
pub(super) type Values = BTreeMap<&'static str, String>;

/// The messages that a template has places for.
#[derive(Debug, Default)]
pub(super) struct Thread {
    pub history: Vec<Message>,
    pub question: String,
    /// Documents and images that came with the question.
    pub attachments: Vec<Block>,
    pub scratchpad: Vec<Message>,
}

/// A prompt as it goes to a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prompt {
    pub system: String,
    pub messages: Vec<Message>,
}

pub(super) fn render(template: &str, values: &Values, thread: Thread) -> Prompt {
    let parsed = (template.len() <= MOST_BYTES).then(|| read(template)).flatten();
    let Some(template) = parsed else {
        let system = fill(template, values);
        let mut messages = thread.history;
        messages.push(asked(thread.question, thread.attachments));
        messages.extend(thread.scratchpad);
        return Prompt { system, messages };
    };
    let system = fill(&template.system, values);
    let places_history = template.messages.iter().any(|(_, text)| text.trim() == HISTORY);
    let places_scratchpad = template.messages.iter().any(|(_, text)| text.contains(SCRATCHPAD));
    let Thread { history, question, attachments, scratchpad } = thread;
    let (mut history, mut scratchpad) = (Some(history), Some(scratchpad));
    let mut attachments = Some(attachments);
    let mut values = values.clone();
    values.insert("question", question);
    let mut messages = Vec::new();
    for (role, text) in &template.messages {
        if text.trim() == HISTORY {
            messages.extend(history.take().unwrap_or_default());
        } else if text.contains(SCRATCHPAD) {
            messages.extend(scratchpad.take().unwrap_or_default());
        } else {
            let asks = text.contains(QUESTION);
            if asks && !places_history {
                messages.extend(history.take().unwrap_or_default());
            }
            let mut content = vec![Block::Text(fill(text, &values))];
            if asks {
                content.extend(attachments.take().unwrap_or_default());
            }
            messages.push(Message { role: *role, content });
        }
    }
    if !places_scratchpad {
        messages.extend(scratchpad.take().unwrap_or_default());
    }
    Prompt { system, messages }
}

fn asked(question: String, attachments: Vec<Block>) -> Message {
    let mut content = vec![Block::Text(question)];
    content.extend(attachments);
    Message { role: Role::User, content }
}

struct Template {
    system: String,
    messages: Vec<(Role, String)>,
}

fn read(template: &str) -> Option<Template> {
    let value: Value = serde_json::from_str(&escape_breaks(template)).ok()?;
    let system = value.get("system").map(text_of).unwrap_or_default();
    let messages = value.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let message = |message: &Value| match message {
        Value::String(text) => Some((Role::User, text.clone())),
        message => {
            let role = match message.get("role")?.as_str()? {
                "assistant" => Role::Assistant,
                _ => Role::User,
            };
            Some((role, text_of(message.get("content")?)))
        }
    };
    let messages: Vec<(Role, String)> = messages.iter().filter_map(message).collect();
    (!messages.is_empty()).then_some(Template { system, messages })
}

/// The text of a string, of a block, or of a list of either.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join("\n"),
        Value::Object(block) => {
            block.get("text").and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// Whether a template is one: an object that can be read, or any other text.
pub(crate) fn is_readable(template: &str) -> bool {
    !template.trim_start().starts_with('{') || serde_json::from_str::<Value>(&escape_breaks(template)).is_ok()
}

/// Line breaks and tabs within strings, which JSON wants escaped and templates have as they are.
fn escape_breaks(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 64);
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            '\n' if in_string => out.push_str("\\n"),
            '\r' if in_string => {}
            '\t' if in_string => out.push_str("\\t"),
            c => out.push(c),
        }
        in_string ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped && in_string;
    }
    out
}

/// Puts values in place of `$names$`, in one pass. A line that held nothing but placeholders without a value goes.
fn fill(text: &str, values: &Values) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let filled = fill_line(line, values);
        if filled.trim().is_empty() && !line.trim().is_empty() {
            continue;
        }
        lines.push(filled);
    }
    lines.join("\n").trim().to_owned()
}

fn fill_line(line: &str, values: &Values) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('$') {
        out.push_str(&rest[..start]);
        let name_and_rest = &rest[start + 1..];
        let end = name_and_rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        match end {
            Some(end) if end > 0 && name_and_rest[end..].starts_with('$') => {
                let name = &name_and_rest[..end];
                match values.get(name) {
                    Some(value) => out.push_str(value),
                    None if KNOWN.contains(&name) => {}
                    None => out.push_str(&rest[start..start + end + 2]),
                }
                rest = &name_and_rest[end + 1..];
            }
            _ => {
                out.push('$');
                rest = name_and_rest;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Documented placeholders, which are empty where there is nothing to say.
const KNOWN: &[&str] = &[
    "action_kb_guideline",
    "agent_collaborators",
    "agent_scratchpad",
    "ask_user_confirm_missing_information",
    "ask_user_confirm_parameters",
    "ask_user_function",
    "ask_user_input_examples",
    "ask_user_input_examples_with_parameters",
    "ask_user_missing_information",
    "ask_user_missing_parameters",
    "attributes",
    "code_interpreter_files",
    "code_interpreter_guideline",
    "conversation",
    "conversation_history",
    "functions",
    "instruction",
    "knowledge_base_additional_guideline",
    "knowledge_base_guideline",
    "last_most_specialized_agent_guideline",
    "last_user_request",
    "latest_response",
    "long_term_memory",
    "memory_action_guideline",
    "memory_content",
    "memory_guideline",
    "multi_agent_collaboration",
    "multi_agent_collaboration_guideline",
    "multi_agent_payload_reference_guideline",
    "output_format_guideline",
    "output_format_instructions",
    "past_conversation_summary",
    "prompt_session_attributes",
    "query",
    "question",
    "reachable_agents",
    "respond_to_user_guideline",
    "responses",
    "search_results",
    "thought",
    "tools",
    "tools_for_routing",
    "knowledge_bases_for_routing",
];

impl Prompt {
    /// The prompt as traces show it: the JSON text of its system prompt and messages.
    pub(super) fn shown(&self) -> String {
        let messages: Vec<Value> = self
            .messages
            .iter()
            .map(|message| {
                let role = if message.role == Role::User { "user" } else { "assistant" };
                json!({ "role": role, "content": message.content.iter().map(shown_block).collect::<Vec<_>>() })
            })
            .collect();
        json!({ "system": self.system, "messages": messages }).to_string()
    }
}

pub(super) fn shown_block(block: &Block) -> Value {
    match block {
        Block::Text(text) => json!({ "text": text }),
        Block::ToolUse(call) => {
            json!({ "toolUse": { "toolUseId": call.id, "name": call.name, "input": call.input } })
        }
        Block::ToolResult(result) => json!({ "toolResult": {
            "toolUseId": result.tool_use_id,
            "content": result.content.iter().map(shown_block).collect::<Vec<_>>(),
            "status": if result.is_error { "error" } else { "success" },
        } }),
        Block::Reasoning(Reasoning::Text { text, .. }) => {
            json!({ "reasoningContent": { "reasoningText": { "text": text } } })
        }
        Block::Reasoning(Reasoning::Redacted(_)) => json!({ "reasoningContent": {} }),
        Block::Document(document) => {
            json!({ "document": { "name": document.name, "format": document.format } })
        }
        Block::Image(image) => json!({ "image": { "format": image.format } }),
        Block::CachePoint => json!({ "cachePoint": { "type": "default" } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: Role, text: &str) -> Message {
        Message { role, content: vec![Block::Text(text.into())] }
    }

    fn thread() -> Thread {
        Thread {
            history: vec![said(Role::User, "before"), said(Role::Assistant, "answer")],
            question: "Where is $instruction$?".into(),
            attachments: Vec::new(),
            scratchpad: vec![said(Role::Assistant, "call"), said(Role::User, "result")],
        }
    }

    fn texts(prompt: &Prompt) -> Vec<String> {
        let text = |message: &Message| match &message.content[0] {
            Block::Text(text) => text.clone(),
            other => format!("{other:?}"),
        };
        prompt.messages.iter().map(text).collect()
    }

    #[test]
    fn our_templates_are_well_formed() {
        for kind in PromptKind::ALL {
            let template = read(kind.template()).unwrap_or_else(|| panic!("{}", kind.name()));
            assert!(!template.system.is_empty() && template.messages[0].0 == Role::User, "{}", kind.name());
        }
    }

    #[test]
    fn history_question_and_scratchpad_have_their_places() {
        let values = Values::from([("instruction", "Be $question$ kind.".to_owned())]);
        let prompt = render(PromptKind::Orchestration.template(), &values, thread());
        assert!(prompt.system.starts_with("Be $question$ kind."), "{}", prompt.system);
        assert!(!prompt.system.contains("$memory_content$") && !prompt.system.contains("\n\n\n"));
        assert_eq!(texts(&prompt), ["before", "answer", "Where is $instruction$?", "call", "result"]);
    }

    #[test]
    fn an_owners_template_keeps_its_line_breaks_and_its_own_dollars() {
        let template = "{\"anthropic_version\": \"bedrock-2023-05-31\", \"system\": \"\n  $instruction$\n Costs $5, $TOOL_NAME, \
                        $mystery$.\n\t\\\"quoted\\\"\n$tools$\n\", \"messages\": [{\"role\": \"user\", \"content\": \"Q: \
                        $question$\"}, {\"role\": \"assistant\", \"content\": \"$agent_scratchpad$\"}]}";
        let prompt = render(template, &Values::from([("instruction", "Be kind.".to_owned())]), thread());
        assert_eq!(prompt.system, "Be kind.\n Costs $5, $TOOL_NAME, $mystery$.\n\t\"quoted\"");
        assert_eq!(texts(&prompt)[2], "Q: Where is $instruction$?");
        assert_eq!(prompt.messages.len(), 5);
    }

    #[test]
    fn text_that_is_no_template_is_a_system_prompt() {
        let prompt =
            render("Just $instruction$", &Values::from([("instruction", "answer".to_owned())]), thread());
        assert_eq!(prompt.system, "Just answer");
        assert_eq!(prompt.messages.len(), 5);
    }
}
