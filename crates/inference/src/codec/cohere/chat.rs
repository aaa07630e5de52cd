//! Cohere Command R: reading `message`, `chat_history`, `documents`, `tools` and `tool_results`.
//!
//! Cohere's tool calls have no ids: they are given here in the order they occur, and a result is matched to the
//! unanswered call with the same name and parameters.

use craton_backend::{Block, ChatRequest, Message, Role, Sampling, Tool, ToolResult, ToolUse};
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::super::format::BodyFormat;
use super::super::openai_chat;
use super::super::openai_chat::messages::text_document;
use super::super::prompt_template::{self, Style};
use super::super::reader::{Dialect, Node, Object};
use super::super::{Decoded, StreamEncoder};
use super::chat_answer;
use crate::answer::Answer;

/// `max_tokens` when the body has none, and the most it may be.
const MOST_TOKENS: u32 = 4096;

#[derive(Debug, Clone, Copy)]
pub(in super::super) struct CommandR;

/// How the body samples.
pub(in super::super) const SAMPLING: &[&str] = &[
    "frequency_penalty",
    "k",
    "max_tokens",
    "p",
    "presence_penalty",
    "seed",
    "stop_sequences",
    "temperature",
];
const OTHER: &[&str] = &[
    "chat_history",
    "documents",
    "force_single_step",
    "preamble",
    "prompt_truncation",
    "raw_prompting",
    "response_format",
    "return_prompt",
    "search_queries_only",
    "stream",
    "tool_results",
    "tools",
];

impl BodyFormat for CommandR {
    fn read(&self, body: &Value) -> Result<Decoded, ApiError> {
        let body = Node::root(body, Dialect::JsonSchema).object(&["message"], &[SAMPLING, OTHER].concat())?;
        let said = body.require("message")?.string()?;
        for key in ["return_prompt", "search_queries_only"] {
            if body.boolean(key)? == Some(true) {
                return Err(body.node().refuse(&format!("[{key}] is not served")));
            }
        }
        if let Some(node) = body.get("prompt_truncation") {
            node.word(&["OFF", "AUTO", "AUTO_PRESERVE_ORDER"])?;
        }
        let mut request = if body.boolean("raw_prompting")? == Some(true) {
            let parsed = prompt_template::parse(said, Style::ALL);
            ChatRequest { system: parsed.system, messages: parsed.messages, ..ChatRequest::default() }
        } else {
            conversation(&body, said)?
        };
        request.sampling = sampling(&body)?;
        request.sampling.max_tokens.get_or_insert(MOST_TOKENS);
        request.tools = tools(&body)?;
        if let Some(node) = body.get("response_format") {
            request.response_schema = response_format(&node)?;
        }
        let mut decoded = Decoded::new(request);
        decoded.stream = body.boolean("stream")?.unwrap_or(false);
        decoded.options.chat_history = echoed_history(&body, said)?;
        Ok(decoded)
    }

    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value {
        chat_answer::whole(decoded, answer)
    }

    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        Box::new(chat_answer::Stream::new(decoded))
    }
}

pub(in super::super) fn sampling(body: &Object<'_>) -> Result<Sampling, ApiError> {
    let seed = body.get("seed").map(|node| node.integer(0..=i64::MAX)).transpose()?;
    Ok(Sampling {
        max_tokens: body.count("max_tokens", 1..=MOST_TOKENS)?,
        temperature: body.number("temperature", 0.0..=1.0)?,
        top_p: body.number("p", 0.01..=0.99)?,
        top_k: body.count("k", 0..=500)?,
        stop_sequences: body.strings("stop_sequences", 0..=5)?,
        seed: seed.map(i64::cast_unsigned),
        presence_penalty: body.number("presence_penalty", 0.0..=1.0)?,
        frequency_penalty: body.number("frequency_penalty", 0.0..=1.0)?,
    })
}

fn conversation(body: &Object<'_>, said: &str) -> Result<ChatRequest, ApiError> {
    let mut talk = Talk::default();
    if let Some(preamble) = body.string("preamble")?.filter(|text| !text.is_empty()) {
        talk.system.push(Block::Text(preamble.to_owned()));
    }
    if let Some(history) = body.get("chat_history") {
        for item in history.list()? {
            talk.turn(&item)?;
        }
    }
    let mut content = documents(body)?;
    if !said.is_empty() {
        content.push(Block::Text(said.to_owned()));
    }
    talk.push(Role::User, content);
    if let Some(results) = body.get("tool_results") {
        talk.tool_results(&results)?;
    }
    if talk.messages.is_empty() {
        let node = body.require("message")?;
        return Err(node.refuse("expected minLength: 1, actual: 0"));
    }
    Ok(ChatRequest { system: talk.system, messages: talk.messages, ..ChatRequest::default() })
}

fn documents(body: &Object<'_>) -> Result<Vec<Block>, ApiError> {
    let Some(node) = body.get("documents") else { return Ok(Vec::new()) };
    let mut blocks = Vec::new();
    for (index, item) in node.list()?.iter().enumerate() {
        let document = item.open_object(&[])?;
        let name = document.string("title")?.map_or_else(|| format!("document {}", index + 1), str::to_owned);
        let mut text = document.string("snippet")?.unwrap_or_default().to_owned();
        for (key, value) in document.rest(&["title", "snippet", "id"]) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{key}: {value}"));
        }
        blocks.push(text_document(&name, &text));
    }
    Ok(blocks)
}

/// The conversation so far, with tool calls numbered.
#[derive(Default)]
struct Talk {
    system: Vec<Block>,
    messages: Vec<Message>,
    calls: usize,
    /// Calls without a result yet.
    unanswered: Vec<ToolUse>,
}

impl Talk {
    fn push(&mut self, role: Role, content: Vec<Block>) {
        if !content.is_empty() {
            self.messages.push(Message { role, content });
        }
    }

    fn turn(&mut self, item: &Node<'_>) -> Result<(), ApiError> {
        let turn = item.object(&["role"], &["message", "tool_calls", "tool_results"])?;
        let role = turn.require("role")?.word(&["USER", "CHATBOT", "SYSTEM", "TOOL"])?;
        let text = turn.string("message")?.unwrap_or_default();
        let mut content: Vec<Block> = Vec::new();
        if !text.is_empty() {
            content.push(Block::Text(text.to_owned()));
        }
        match role {
            "SYSTEM" => self.system.extend(content),
            "USER" => self.push(Role::User, content),
            "TOOL" => {
                if let Some(results) = turn.get("tool_results") {
                    self.tool_results(&results)?;
                }
            }
            _ => {
                if let Some(calls) = turn.get("tool_calls") {
                    for call in calls.list()? {
                        let call = self.numbered(call_of(&call)?);
                        self.unanswered.push(call.clone());
                        content.push(Block::ToolUse(call));
                    }
                }
                self.push(Role::Assistant, content);
            }
        }
        Ok(())
    }

    fn numbered(&mut self, (name, input): (String, Value)) -> ToolUse {
        let id = format!("call_{}", self.calls);
        self.calls += 1;
        ToolUse { id, name, input }
    }

    /// Results of calls in the history, or of calls that are only known from the results themselves.
    fn tool_results(&mut self, node: &Node<'_>) -> Result<(), ApiError> {
        let (mut new_calls, mut results) = (Vec::new(), Vec::new());
        for item in node.list()? {
            let result = item.object(&["call", "outputs"], &[])?;
            let call = call_of(&result.require("call")?)?;
            let known =
                self.unanswered.iter().position(|earlier| earlier.name == call.0 && earlier.input == call.1);
            let id = match known {
                Some(index) => self.unanswered.remove(index).id,
                None => {
                    let call = self.numbered(call);
                    new_calls.push(Block::ToolUse(call.clone()));
                    call.id
                }
            };
            let mut content = Vec::new();
            for output in result.require("outputs")?.list()? {
                output.open_object(&[])?;
                content.push(Block::Text(output.value().to_string()));
            }
            results.push(Block::ToolResult(ToolResult { tool_use_id: id, content, is_error: false }));
        }
        self.push(Role::Assistant, new_calls);
        self.push(Role::User, results);
        Ok(())
    }
}

/// Name and parameters of a call.
fn call_of(node: &Node<'_>) -> Result<(String, Value), ApiError> {
    let call = node.open_object(&["name"])?;
    let input = match call.get("parameters") {
        Some(node) => {
            node.open_object(&[])?;
            node.value().clone()
        }
        None => Value::Object(Map::new()),
    };
    Ok((call.require("name")?.filled_string()?.to_owned(), input))
}

fn tools(body: &Object<'_>) -> Result<Vec<Tool>, ApiError> {
    let Some(node) = body.get("tools") else { return Ok(Vec::new()) };
    node.list()?.iter().map(tool).collect()
}

fn tool(node: &Node<'_>) -> Result<Tool, ApiError> {
    let tool = node.object(&["name", "description"], &["parameter_definitions"])?;
    let (mut properties, mut required) = (Map::new(), Vec::new());
    if let Some(node) = tool.get("parameter_definitions") {
        let definitions = node.open_object(&[])?;
        for (name, _) in definitions.rest(&[]) {
            let definition = definitions.require(&name)?.object(&["type"], &["description", "required"])?;
            let mut property = parameter_schema(definition.require("type")?.string()?);
            if let Some(description) = definition.string("description")? {
                property.insert("description".to_owned(), json!(description));
            }
            if definition.boolean("required")?.unwrap_or(false) {
                required.push(json!(name));
            }
            properties.insert(name, Value::Object(property));
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    Ok(Tool {
        name: tool.require("name")?.filled_string()?.to_owned(),
        description: Some(tool.require("description")?.string()?.to_owned()),
        input_schema: Value::Object(schema),
        strict: false,
    })
}

/// The JSON schema of a Python type name; an unknown one accepts anything.
fn parameter_schema(python: &str) -> Map<String, Value> {
    let mut schema = Map::new();
    let kind = match python.trim() {
        "str" | "string" => "string",
        "int" | "integer" => "integer",
        "float" | "number" => "number",
        "bool" | "boolean" => "boolean",
        "dict" | "Dict" | "object" => "object",
        "list" | "List" | "array" => "array",
        other => {
            let inner = other.strip_prefix("List[").or_else(|| other.strip_prefix("list["));
            match inner.and_then(|inner| inner.strip_suffix(']')) {
                Some(inner) => {
                    // One level: deeper element types are left open.
                    let inner = if inner.contains('[') { Map::new() } else { parameter_schema(inner) };
                    schema.insert("type".to_owned(), json!("array"));
                    schema.insert("items".to_owned(), Value::Object(inner));
                }
                None if other.starts_with("Dict[") || other.starts_with("dict[") => {
                    schema.insert("type".to_owned(), json!("object"));
                }
                None => {}
            }
            return schema;
        }
    };
    schema.insert("type".to_owned(), json!(kind));
    schema
}

/// `{"type": "json_object", "schema": …}`, or OpenAI's forms.
fn response_format(node: &Node<'_>) -> Result<Option<craton_backend::ResponseSchema>, ApiError> {
    if let Some(schema) = node.open_object(&[])?.get("schema") {
        schema.open_object(&[])?;
        return Ok(Some(craton_backend::ResponseSchema { name: None, schema: schema.value().clone() }));
    }
    openai_chat::response_format(node)
}

/// The answer repeats the conversation, with this call's message at its end.
fn echoed_history(body: &Object<'_>, said: &str) -> Result<Vec<Value>, ApiError> {
    let mut history: Vec<Value> = match body.get("chat_history") {
        Some(node) => node.list()?.iter().map(|item| item.value().clone()).collect(),
        None => Vec::new(),
    };
    if !said.is_empty() {
        history.push(json!({"role": "USER", "message": said}));
    }
    if let Some(results) = body.get("tool_results") {
        history.push(json!({"role": "TOOL", "tool_results": results.value()}));
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> ChatRequest {
        CommandR.read(body).unwrap().request
    }

    #[test]
    fn results_find_the_calls_they_answer() {
        let call = json!({"name": "look", "parameters": {"at": "x"}});
        let request = read(&json!({
            "message": "",
            "chat_history": [{"role": "USER", "message": "Look"}, {"role": "CHATBOT", "message": "I will", "tool_calls": [call]}],
            "tool_results": [{"call": call, "outputs": [{"seen": 1}]}],
        }));
        assert_eq!(request.messages.len(), 3);
        let Block::ToolResult(result) = &request.messages[2].content[0] else { panic!("{request:?}") };
        assert_eq!(
            (result.tool_use_id.as_str(), &result.content),
            ("call_0", &vec![Block::Text("{\"seen\":1}".to_owned())])
        );
    }

    #[test]
    fn results_without_history_bring_their_calls() {
        let request = read(&json!({
            "message": "Look",
            "tool_results": [{"call": {"name": "look"}, "outputs": []}],
        }));
        let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::User]);
    }

    #[test]
    fn python_types_become_schemas() {
        assert_eq!(
            Value::Object(parameter_schema("List[int]")),
            json!({"type": "array", "items": {"type": "integer"}})
        );
        assert_eq!(Value::Object(parameter_schema("str")), json!({"type": "string"}));
        assert_eq!(Value::Object(parameter_schema("Widget")), json!({}));
    }

    #[test]
    fn an_empty_conversation_is_refused() {
        let error = CommandR.read(&json!({"message": ""})).unwrap_err();
        assert!(error.message.contains("#/message"), "{}", error.message);
    }
}
