//! From a chat request to tokens.
//!
//! The model's own template lays out the conversation. What the caller wrote must stay content: a message that
//! spells `<|im_start|>system` must not open a turn. So before rendering, every special token's text inside the
//! caller's content is broken by a mark that no caller can know (a random number a process); after rendering the
//! text is cut at the marks and the pieces are tokenised on their own, so the tokeniser never sees the special
//! text whole. Ordinary content is untouched and tokenises as it would with any other implementation. A second mark
//! carries the position of the last cache point through the template.

mod template;

use std::sync::OnceLock;

use craton_backend::{BackendError, Block, ChatRequest, Message, Role, ToolChoice, ToolResult};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;
use regex::Regex;
use serde_json::{Value, json};

pub(crate) use template::{ChatTemplate, TemplateInput};

use crate::dialect::Dialect;
use crate::tool_text;

/// A prompt ready for the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prompt {
    pub(crate) tokens: Vec<LlamaToken>,
    /// Tokens before the last cache point; 0 when there is none.
    pub(crate) cache_tokens: usize,
    /// The template has already opened the model's reasoning.
    pub(crate) inside_reasoning: bool,
}

/// Finds the text of control tokens in content.
pub(crate) struct SpecialTexts {
    pattern: Option<Regex>,
}

impl SpecialTexts {
    pub(crate) fn new(weights: &LlamaModel) -> Self {
        let vocabulary = weights.vocab();
        let mut texts: Vec<String> = (0..vocabulary.n_tokens())
            .map(LlamaToken)
            .filter(|token| {
                let attributes = vocabulary.attr(*token).0;
                attributes.contains(LlamaTokenAttr::Control) || attributes.contains(LlamaTokenAttr::Unknown)
            })
            .filter_map(|token| vocabulary.text(token).and_then(|text| text.to_str().ok()).map(str::to_owned))
            .filter(|text| text.len() > 1)
            .collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self::of(&texts)
    }

    fn of(texts: &[String]) -> Self {
        let pattern = texts.iter().map(|text| regex::escape(text)).collect::<Vec<_>>().join("|");
        Self { pattern: if texts.is_empty() { None } else { Regex::new(&pattern).ok() } }
    }

    /// Content in which no special text is whole.
    fn guard(&self, content: &str) -> String {
        let Some(pattern) = &self.pattern else { return content.to_owned() };
        let mut out = String::with_capacity(content.len());
        let mut from = 0;
        // Searched again from inside each find, for texts that overlap.
        while let Some(found) = pattern.find_at(content, from) {
            let first = content[found.start()..].chars().next().map_or(1, char::len_utf8);
            let cut = found.start() + first;
            out.push_str(&content[from..cut]);
            out.push_str(&marks().cut);
            from = cut;
        }
        out.push_str(&content[from..]);
        out
    }
}

struct Marks {
    cut: String,
    cache: String,
}

fn marks() -> &'static Marks {
    static MARKS: OnceLock<Marks> = OnceLock::new();
    MARKS.get_or_init(|| {
        use std::hash::{BuildHasher, RandomState};
        // Randomly keyed a process: unknown to callers, and nothing secret depends on it.
        let nonce = RandomState::new().hash_one(0_u8);
        Marks {
            cut: format!("\u{e0fe}{nonce:016x}c\u{e0fe}"),
            cache: format!("\u{e0fe}{nonce:016x}p\u{e0fe}"),
        }
    })
}

/// What turns requests into prompts for one model.
pub(crate) struct PromptBuilder<'a> {
    pub(crate) weights: &'a LlamaModel,
    pub(crate) template: &'a ChatTemplate,
    pub(crate) special: &'a SpecialTexts,
}

impl PromptBuilder<'_> {
    pub(crate) fn build(&self, request: &ChatRequest) -> Result<Prompt, BackendError> {
        let text = self.render(request)?;
        let marks = marks();
        let (before, after) = match text.rsplit_once(&marks.cache) {
            Some((before, after)) => (Some(before.replace(&marks.cache, "")), after.to_owned()),
            None => (None, text),
        };
        let vocabulary = self.weights.vocab();
        let mut tokens = Vec::new();
        let append = |tokens: &mut Vec<LlamaToken>, text: &str| {
            for piece in text.split(&marks.cut).filter(|piece| !piece.is_empty()) {
                tokens.append(&mut vocabulary.tokenize(piece.as_bytes(), false, true));
            }
        };
        if let Some(before) = &before {
            append(&mut tokens, before);
        }
        let begins_with_bos = |tokens: &[LlamaToken]| tokens.first() == Some(&vocabulary.bos());
        let mut cache_tokens = tokens.len();
        append(&mut tokens, &after);
        if vocabulary.should_add_bos() && !begins_with_bos(&tokens) {
            tokens.insert(0, vocabulary.bos());
            cache_tokens += usize::from(before.is_some());
        }
        let inside_reasoning = after.trim_end().ends_with("<think>");
        Ok(Prompt { tokens, cache_tokens, inside_reasoning })
    }

    /// The prompt's text, with marks.
    fn render(&self, request: &ChatRequest) -> Result<String, BackendError> {
        let declares_tools = !request.tools.is_empty() && request.tool_choice != ToolChoice::None;
        let native = self.template.native_tools();
        let conversation = Conversation {
            special: self.special,
            native_tools: native,
            dialect: self.template.dialect(),
            cache_at: last_cache_point(request),
        };
        let mut system = conversation.system(request, declares_tools && !native)?;
        let (mut messages, prefill) = conversation.messages(request)?;
        let tools: Vec<Value> = if declares_tools && native {
            request.tools.iter().map(|tool| conversation.guarded(tool_text::declaration(tool))).collect()
        } else {
            Vec::new()
        };
        let render = |messages: &[Value]| {
            let enable_reasoning = request.reasoning_budget_tokens.is_some();
            self.template.render(&TemplateInput { messages, tools: &tools, enable_reasoning })
        };
        let mut text = match system.take() {
            None => render(&messages),
            Some(system) => {
                messages.insert(0, json!({"role": "system", "content": system}));
                // Some templates refuse a system turn; its text then leads the first user turn.
                render(&messages).or_else(|refusal| {
                    messages.remove(0);
                    match messages.first_mut().and_then(|first| first.get_mut("content")) {
                        Some(Value::String(content)) => *content = format!("{system}\n\n{content}"),
                        _ => return Err(refusal),
                    }
                    render(&messages)
                })
            }
        }
        .map_err(|error| {
            BackendError::Invalid(format!("the model's chat template refused the messages: {error}"))
        })?;
        text.push_str(&prefill);
        Ok(text)
    }
}

/// (message index, block index) of the last cache point; `None` in the first place stands for the system prompt.
type CachePlace = Option<(Option<usize>, usize)>;

fn last_cache_point(request: &ChatRequest) -> CachePlace {
    let last = |blocks: &[Block]| blocks.iter().rposition(|block| matches!(block, Block::CachePoint));
    request
        .messages
        .iter()
        .enumerate()
        .rev()
        .find_map(|(index, message)| last(&message.content).map(|at| (Some(index), at)))
        .or_else(|| last(&request.system).map(|at| (None, at)))
}

struct Conversation<'a> {
    special: &'a SpecialTexts,
    native_tools: bool,
    dialect: Dialect,
    cache_at: CachePlace,
}

/// A turn being put together.
struct Turn {
    role: Role,
    text: String,
    calls: Vec<Value>,
    /// Native tool results: (id, text).
    results: Vec<(String, String)>,
}

impl Turn {
    fn add(&mut self, text: &str) {
        if !self.text.is_empty() && !text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
    }
}

impl Conversation<'_> {
    fn guard(&self, text: &str) -> String {
        self.special.guard(text)
    }

    fn guarded(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.guard(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.guarded(item)).collect(),
            Value::Object(members) => {
                members.into_iter().map(|(key, item)| (self.guard(&key), self.guarded(item))).collect()
            }
            scalar => scalar,
        }
    }

    fn system(&self, request: &ChatRequest, instruct: bool) -> Result<Option<String>, BackendError> {
        let mut parts = Vec::new();
        for block in &request.system {
            match block {
                Block::Text(text) => parts.push(self.guard(text)),
                Block::CachePoint => {}
                other => return Err(misplaced(other, "a system prompt")),
            }
        }
        if instruct {
            let must_call = matches!(request.tool_choice, ToolChoice::Any | ToolChoice::Tool(_));
            let tools = match &request.tool_choice {
                ToolChoice::Tool(name) => {
                    request.tools.iter().filter(|tool| tool.name == *name).cloned().collect()
                }
                _ => request.tools.clone(),
            };
            parts.push(self.guard(&tool_text::instructions(&tools, must_call)));
        }
        if let Some(response) = &request.response_schema {
            let schema = tool_text::spaced(&response.schema);
            parts.push(
                self.guard(&format!(
                    "Answer with JSON that satisfies this schema, and nothing else:\n{schema}"
                )),
            );
        }
        if parts.is_empty() {
            return Ok(None);
        }
        let mut text = parts.join("\n\n");
        if matches!(self.cache_at, Some((None, _))) {
            text.push_str(&marks().cache);
        }
        Ok(Some(text))
    }

    /// The turns, and the beginning of the answer when the caller gave one.
    fn messages(&self, request: &ChatRequest) -> Result<(Vec<Value>, String), BackendError> {
        let mut turns: Vec<Turn> = Vec::new();
        for (index, message) in request.messages.iter().enumerate() {
            if turns.last().is_none_or(|turn| turn.role != message.role) {
                turns.push(Turn {
                    role: message.role,
                    text: String::new(),
                    calls: Vec::new(),
                    results: Vec::new(),
                });
            }
            if let Some(turn) = turns.last_mut() {
                self.add_message(turn, index, message)?;
            }
        }
        let begun = |turn: &Turn| turn.role == Role::Assistant && turn.calls.is_empty();
        let prefill = if turns.last().is_some_and(begun) { turns.pop().map(|turn| turn.text) } else { None };
        if turns.is_empty() {
            return Err(BackendError::Invalid("a conversation needs a user message".to_owned()));
        }
        let mut messages = Vec::new();
        for turn in turns {
            // Results come before what the user says about them.
            for (id, text) in turn.results {
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
            }
            let role = if turn.role == Role::User { "user" } else { "assistant" };
            if !turn.calls.is_empty() {
                messages.push(json!({"role": role, "content": turn.text, "tool_calls": turn.calls}));
            } else if !turn.text.is_empty() || messages.last().is_none_or(|last| last["role"] != "tool") {
                messages.push(json!({"role": role, "content": turn.text}));
            }
        }
        Ok((messages, prefill.unwrap_or_default()))
    }

    fn add_message(&self, turn: &mut Turn, index: usize, message: &Message) -> Result<(), BackendError> {
        for (at, block) in message.content.iter().enumerate() {
            match block {
                Block::Text(text) => turn.add(&self.guard(text)),
                Block::CachePoint if self.cache_at == Some((Some(index), at)) => self.mark_cache(turn),
                // Past reasoning is not shown to the model again.
                Block::CachePoint | Block::Reasoning(_) => {}
                Block::ToolUse(tool_use) if self.native_tools => turn.calls.push(json!({
                    "type": "function",
                    "id": self.guard(&self.dialect.call_id(&tool_use.id)),
                    "function": {
                        "name": self.guard(&tool_use.name),
                        "arguments": self.past_input(&tool_use.input),
                    },
                })),
                Block::ToolUse(tool_use) => turn.add(&self.guard(&tool_text::call(tool_use))),
                Block::ToolResult(result) => self.add_result(turn, result)?,
                other => return Err(misplaced(other, "a message to this model")),
            }
        }
        Ok(())
    }

    fn past_input(&self, input: &Value) -> Value {
        if self.dialect.input_as_text() {
            Value::String(self.guard(&tool_text::spaced(input)))
        } else {
            self.guarded(input.clone())
        }
    }

    fn mark_cache(&self, turn: &mut Turn) {
        match turn.results.last_mut() {
            Some((_, text)) if turn.text.is_empty() => text.push_str(&marks().cache),
            _ => turn.text.push_str(&marks().cache),
        }
    }

    fn add_result(&self, turn: &mut Turn, result: &ToolResult) -> Result<(), BackendError> {
        let mut text = String::new();
        for block in &result.content {
            match block {
                Block::Text(part) => {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(part);
                }
                other => return Err(misplaced(other, "a tool result for this model")),
            }
        }
        if self.native_tools {
            let status = if result.is_error { "error: " } else { "" };
            let id = self.dialect.call_id(&result.tool_use_id);
            turn.results.push((self.guard(&id), self.guard(&format!("{status}{text}"))));
        } else {
            turn.add(&self.guard(&tool_text::result(result, &text)));
        }
        Ok(())
    }
}

fn misplaced(block: &Block, place: &str) -> BackendError {
    let what = match block {
        Block::Image(_) => return BackendError::Unsupported("this model does not read images".to_owned()),
        Block::Document(_) => {
            return BackendError::Unsupported("this model reads documents as text only".to_owned());
        }
        Block::Text(_) => "text",
        Block::ToolUse(_) => "a tool use",
        Block::ToolResult(_) => "a tool result",
        Block::Reasoning(_) => "reasoning",
        Block::CachePoint => "a cache point",
    };
    BackendError::Invalid(format!("{what} can't stand in {place}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use craton_backend::{Tool, ToolUse};
    use proptest::prelude::*;

    const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + \
        message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}\
        {{ '<|im_start|>assistant\n' }}{% endif %}";

    fn special() -> SpecialTexts {
        SpecialTexts::of(&["<|im_start|>".to_owned(), "<|im_end|>".to_owned(), "|>|".to_owned()])
    }

    fn render(request: &ChatRequest) -> Result<String, BackendError> {
        let special = special();
        let conversation = Conversation {
            special: &special,
            native_tools: false,
            dialect: Dialect::Hermes,
            cache_at: last_cache_point(request),
        };
        let system = conversation.system(request, !request.tools.is_empty())?;
        let (mut messages, prefill) = conversation.messages(request)?;
        if let Some(system) = system {
            messages.insert(0, json!({"role": "system", "content": system}));
        }
        let template = ChatTemplate::new(Some(CHATML), String::new(), String::new()).unwrap();
        let input = TemplateInput { messages: &messages, tools: &[], enable_reasoning: false };
        Ok(template.render(&input).unwrap() + &prefill)
    }

    fn user(text: &str) -> Message {
        Message { role: Role::User, content: vec![Block::Text(text.to_owned())] }
    }

    fn assistant(text: &str) -> Message {
        Message { role: Role::Assistant, content: vec![Block::Text(text.to_owned())] }
    }

    #[test]
    fn turns_merge_and_a_begun_answer_is_continued() {
        let request = ChatRequest {
            system: vec![Block::Text("Be brief.".to_owned())],
            messages: vec![user("a"), user("b"), assistant("c"), user("d"), assistant("The")],
            ..ChatRequest::default()
        };
        assert_eq!(
            render(&request).unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na\nb<|im_end|>\n<|im_start|>assistant\nc\
             <|im_end|>\n<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\nThe"
        );
    }

    #[test]
    fn tool_turns_become_text() {
        let call = ToolUse { id: "1".to_owned(), name: "f".to_owned(), input: json!({"x": [1, 2]}) };
        let result = ToolResult {
            tool_use_id: "1".to_owned(),
            content: vec![Block::Text("broken".to_owned())],
            is_error: true,
        };
        let request = ChatRequest {
            tools: vec![Tool {
                name: "f".to_owned(),
                description: Some("d".to_owned()),
                input_schema: json!({"type": "object"}),
                strict: false,
            }],
            messages: vec![
                user("go"),
                Message { role: Role::Assistant, content: vec![Block::ToolUse(call)] },
                Message { role: Role::User, content: vec![Block::ToolResult(result)] },
            ],
            ..ChatRequest::default()
        };
        let text = render(&request).unwrap();
        assert!(text.contains("\"description\": \"d\""));
        assert!(
            text.contains("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, 2]}}\n</tool_call>")
        );
        assert!(text.contains("user\n<tool_response>\nerror: broken\n</tool_response><|im_end|>"));
    }

    #[test]
    fn the_last_cache_point_is_carried_through() {
        let mut request = ChatRequest {
            system: vec![Block::Text("s".to_owned()), Block::CachePoint],
            messages: vec![user("a")],
            ..ChatRequest::default()
        };
        let cache = &marks().cache;
        assert!(render(&request).unwrap().contains(&format!("system\ns{cache}<|im_end|>")));
        request.messages[0].content.extend([Block::CachePoint, Block::Text("b".to_owned())]);
        let text = render(&request).unwrap();
        assert_eq!(text.matches(cache).count(), 1);
        assert!(text.contains(&format!("user\na{cache}\nb<|im_end|>")));
    }

    #[test]
    fn images_are_refused() {
        let image = craton_backend::Image { format: "png".to_owned(), bytes: bytes::Bytes::new() };
        let request = ChatRequest {
            messages: vec![Message { role: Role::User, content: vec![Block::Image(image)] }],
            ..ChatRequest::default()
        };
        assert!(matches!(render(&request), Err(BackendError::Unsupported(_))));
    }

    proptest! {
        /// No piece of guarded content holds a special text, and nothing of the content is lost.
        #[test]
        fn guarded_content_holds_no_special_text(parts in proptest::collection::vec(
            prop_oneof![Just("<|im_start|>"), Just("<|im_end|>"), Just("<|"), Just("|>|"), Just("im_end|>"), Just("\u{e9}")],
            0..12,
        )) {
            let content = parts.concat();
            let guarded = special().guard(&content);
            prop_assert_eq!(guarded.replace(&marks().cut, ""), content);
            for piece in guarded.split(&marks().cut) {
                prop_assert!(!piece.contains("<|im_start|>") && !piece.contains("<|im_end|>") && !piece.contains("|>|"));
            }
        }
    }
}
