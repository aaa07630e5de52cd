//! A whole answer, collected from the stream of its events.

use bytes::{Bytes, BytesMut};
use craton_backend::{Block, BlockStart, ChatEvent, Delta, Finished, Reasoning, StopReason, ToolUse};
use serde_json::{Map, Value};

/// Everything a model said in one turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Text, tool uses and reasoning, in the order they came.
    pub content: Vec<Block>,
    pub finished: Finished,
}

impl Answer {
    /// The answer's text, without reasoning and tool uses.
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }
}

/// The events do not follow the order that [`ChatEvent`] promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Disorder(&'static str);

/// Builds an [`Answer`] event by event, and checks their order on the way.
#[derive(Debug, Default)]
pub struct AnswerBuilder {
    content: Vec<Block>,
    open: Option<Open>,
    finished: Option<Finished>,
}

#[derive(Debug)]
enum Open {
    Text(String),
    Reasoning { text: String, signature: Option<String>, redacted: BytesMut },
    ToolUse { id: String, name: String, json: String },
}

impl AnswerBuilder {
    pub fn push(&mut self, event: ChatEvent) -> Result<(), Disorder> {
        if self.finished.is_some() {
            return Err(Disorder("an event followed the end of the answer"));
        }
        match event {
            ChatEvent::Started { .. } => Ok(()),
            ChatEvent::BlockStart { block, .. } => self.start(block),
            ChatEvent::BlockDelta { delta, .. } => self.extend(delta),
            ChatEvent::BlockStop { .. } => self.stop(),
            ChatEvent::Finished(finished) if self.open.is_none() => {
                self.finished = Some(finished);
                Ok(())
            }
            ChatEvent::Finished(_) => Err(Disorder("the answer ended inside a block")),
        }
    }

    /// The answer; none while it has not finished.
    pub fn build(self) -> Option<Answer> {
        let content = self.content;
        self.finished.map(|finished| Answer { content, finished })
    }

    fn start(&mut self, block: BlockStart) -> Result<(), Disorder> {
        let open = match block {
            BlockStart::Text => Open::Text(String::new()),
            BlockStart::Reasoning => {
                Open::Reasoning { text: String::new(), signature: None, redacted: BytesMut::new() }
            }
            BlockStart::ToolUse { id, name } => Open::ToolUse { id, name, json: String::new() },
        };
        match self.open.replace(open) {
            None => Ok(()),
            Some(_) => Err(Disorder("a block started inside another")),
        }
    }

    fn extend(&mut self, delta: Delta) -> Result<(), Disorder> {
        match (&mut self.open, delta) {
            (Some(Open::Text(text)), Delta::Text(more)) => append(text, more),
            (Some(Open::ToolUse { json, .. }), Delta::ToolInput(more)) => append(json, more),
            (Some(Open::Reasoning { text, .. }), Delta::Reasoning(more)) => append(text, more),
            (Some(Open::Reasoning { signature, .. }), Delta::ReasoningSignature(more)) => {
                append(signature.get_or_insert_default(), more);
            }
            (Some(Open::Reasoning { redacted, .. }), Delta::ReasoningRedacted(more)) => {
                redacted.extend_from_slice(&more)
            }
            _ => return Err(Disorder("an increment did not fit the block it came in")),
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Disorder> {
        let block = match self.open.take().ok_or(Disorder("a block stopped that had not started"))? {
            Open::Text(text) => Block::Text(text),
            Open::Reasoning { redacted, .. } if !redacted.is_empty() => {
                Block::Reasoning(Reasoning::Redacted(Bytes::from(redacted)))
            }
            Open::Reasoning { text, signature, .. } => Block::Reasoning(Reasoning::Text { text, signature }),
            Open::ToolUse { id, name, json } => Block::ToolUse(ToolUse { id, name, input: tool_input(json) }),
        };
        self.content.push(block);
        Ok(())
    }
}

/// Moves the first increment instead of copying it: most non-streaming answers come in one piece.
fn append(text: &mut String, more: String) {
    if text.is_empty() {
        *text = more;
    } else {
        text.push_str(&more);
    }
}

/// A tool's input from its JSON text; text that is no JSON object is kept as a string, for formats whose inputs are
/// text. The others leave such a tool use out ([`is_usable`]) or show what is whole of it ([`whole_members`]).
fn tool_input(json: String) -> Value {
    if json.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(&json) {
        Ok(value @ Value::Object(_)) => value,
        _ => Value::String(json),
    }
}

/// Whether a block can be acted on: a tool use whose input broke off must not reach a client as if it were whole.
pub(crate) fn is_usable(block: &Block) -> bool {
    !matches!(block, Block::ToolUse(ToolUse { input: Value::String(_), .. }))
}

/// The members of a tool's input that were whole when the answer was cut off, as Anthropic's API gives them; of input
/// that is whole, all of it.
pub(crate) fn whole_members(input: &Value) -> Value {
    let Value::String(json) = input else { return input.clone() };
    let json = json.trim_end();
    let last_comma = last_comma_between_members(json);
    // A number that ends the text may have had more digits; whatever else ends in one of these is whole.
    let ends_whole = json.ends_with(['"', '}', ']']);
    let candidates = [ends_whole.then_some(json), last_comma.map(|at| &json[..at])];
    let whole =
        candidates.into_iter().flatten().find_map(|text| serde_json::from_str(&format!("{text}}}")).ok());
    Value::Object(whole.unwrap_or_default())
}

/// Where the last comma is that parts members of the outermost object.
fn last_comma_between_members(json: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped, mut last) = (0_u32, false, false, None);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => last = Some(at),
            _ => {}
        }
    }
    last
}

/// Whether a tool's input text is what it should be: nothing, or one JSON object.
pub(crate) fn is_tool_input(json: &str) -> bool {
    json.trim().is_empty() || serde_json::from_str::<Map<String, Value>>(json).is_ok()
}

/// The stop reason once the tool inputs of the answer are known: one that is broken or does not fit its tool is reported,
/// unless the answer was cut off, which explains it.
pub(crate) fn stop_reason(reported: StopReason, tool_inputs_ok: bool) -> StopReason {
    match reported {
        StopReason::ToolUse | StopReason::EndTurn if !tool_inputs_ok => StopReason::MalformedToolUse,
        other => other,
    }
}

/// An answer as the events it would have been streamed as.
pub fn events(answer: Answer) -> Vec<ChatEvent> {
    let usage = craton_backend::Usage { output_tokens: 0, ..answer.finished.usage };
    let mut events = vec![ChatEvent::Started { usage }];
    for (index, block) in (0..).zip(answer.content) {
        let (start, deltas) = match block {
            Block::Text(text) => (BlockStart::Text, vec![Delta::Text(text)]),
            Block::ToolUse(ToolUse { id, name, input }) => {
                let json = match input {
                    Value::String(raw) => raw,
                    other => other.to_string(),
                };
                (BlockStart::ToolUse { id, name }, vec![Delta::ToolInput(json)])
            }
            Block::Reasoning(Reasoning::Text { text, signature }) => {
                let signature = signature.map(Delta::ReasoningSignature);
                (BlockStart::Reasoning, [Delta::Reasoning(text)].into_iter().chain(signature).collect())
            }
            Block::Reasoning(Reasoning::Redacted(bytes)) => {
                (BlockStart::Reasoning, vec![Delta::ReasoningRedacted(bytes)])
            }
            Block::Image(_) | Block::Document(_) | Block::ToolResult(_) | Block::CachePoint => continue,
        };
        events.push(ChatEvent::BlockStart { index, block: start });
        events.extend(deltas.into_iter().map(|delta| ChatEvent::BlockDelta { index, delta }));
        events.push(ChatEvent::BlockStop { index });
    }
    events.push(ChatEvent::Finished(answer.finished));
    events
}

#[cfg(test)]
mod tests {
    use craton_backend::Usage;
    use proptest::prelude::*;

    use super::*;

    fn finished() -> Finished {
        Finished {
            reason: StopReason::EndTurn,
            stop_sequence: None,
            usage: Usage { input_tokens: 3, output_tokens: 4, ..Usage::default() },
            extra: Value::Null,
        }
    }

    fn block() -> impl Strategy<Value = Block> {
        let tool = ("[a-z_-]{1,8}", "[a-z]{1,8}", ".{0,12}").prop_map(|(id, name, text)| {
            Block::ToolUse(ToolUse { id, name, input: serde_json::json!({ "text": text }) })
        });
        prop_oneof![
            ".{0,40}".prop_map(Block::Text),
            tool,
            (".{0,20}", proptest::option::of("[a-z]{1,9}"))
                .prop_map(|(text, signature)| Block::Reasoning(Reasoning::Text { text, signature })),
            proptest::collection::vec(any::<u8>(), 1..9)
                .prop_map(|bytes| Block::Reasoning(Reasoning::Redacted(bytes.into()))),
        ]
    }

    /// Cuts every text increment in pieces of `size` characters.
    fn in_pieces(events: Vec<ChatEvent>, size: usize) -> Vec<ChatEvent> {
        let mut pieces = Vec::new();
        for event in events {
            let ChatEvent::BlockDelta { index, delta } = event else {
                pieces.push(event);
                continue;
            };
            let (text, make): (String, fn(String) -> Delta) = match delta {
                Delta::Text(text) => (text, Delta::Text),
                Delta::ToolInput(text) => (text, Delta::ToolInput),
                Delta::Reasoning(text) => (text, Delta::Reasoning),
                Delta::ReasoningSignature(text) => (text, Delta::ReasoningSignature),
                other => {
                    pieces.push(ChatEvent::BlockDelta { index, delta: other });
                    continue;
                }
            };
            let chars: Vec<char> = text.chars().collect();
            let cut = chars.chunks(size).map(|piece| make(piece.iter().collect()));
            pieces.extend(cut.map(|delta| ChatEvent::BlockDelta { index, delta }));
        }
        pieces
    }

    proptest! {
        #[test]
        fn collecting_the_stream_gives_the_answer(content in proptest::collection::vec(block(), 0..5), size in 1..5usize) {
            let answer = Answer { content, finished: finished() };
            let mut builder = AnswerBuilder::default();
            for event in in_pieces(events(answer.clone()), size) {
                builder.push(event).unwrap();
            }
            prop_assert_eq!(builder.build(), Some(answer));
        }
    }

    #[test]
    fn disorder_is_noticed() {
        let mut builder = AnswerBuilder::default();
        builder.push(ChatEvent::BlockStart { index: 0, block: BlockStart::Text }).unwrap();
        let tool_input = ChatEvent::BlockDelta { index: 0, delta: Delta::ToolInput("{".into()) };
        assert!(builder.push(tool_input).is_err());
        assert!(builder.push(ChatEvent::BlockStart { index: 1, block: BlockStart::Text }).is_err());
        assert!(builder.push(ChatEvent::Finished(finished())).is_err());
        assert!(builder.build().is_none());
    }

    #[test]
    fn whole_members_of_a_broken_input_are_kept() {
        for (text, kept) in [
            (r#"{"a": 1, "b": "x"#, serde_json::json!({"a": 1})),
            (r#"{"a": 1, "b": "x""#, serde_json::json!({"a": 1, "b": "x"})),
            (r#"{"a": {"b": [1, 2]"#, serde_json::json!({})),
            (r#"{"a": {"b": [1, 2]}"#, serde_json::json!({"a": {"b": [1, 2]}})),
            (r#"{"a": "x, \", y", "b": 12"#, serde_json::json!({"a": "x, \", y"})),
            (r#"{"a": "x", "b""#, serde_json::json!({"a": "x"})),
            ("{", serde_json::json!({})),
            ("[1", serde_json::json!({})),
            ("\\ü{", serde_json::json!({})),
        ] {
            assert_eq!(whole_members(&Value::String(text.into())), kept, "{text}");
        }
        assert_eq!(whole_members(&serde_json::json!({"a": 1})), serde_json::json!({"a": 1}));
    }

    #[test]
    fn a_tool_input_that_is_no_object_is_kept_as_text() {
        assert_eq!(tool_input(" ".into()), serde_json::json!({}));
        assert_eq!(tool_input("{\"a\": 1}".into()), serde_json::json!({"a": 1}));
        assert_eq!(tool_input("[1]".into()), Value::String("[1]".into()));
        assert!(is_tool_input("") && is_tool_input("{}") && !is_tool_input("{") && !is_tool_input("3"));
        assert_eq!(stop_reason(StopReason::ToolUse, false), StopReason::MalformedToolUse);
        assert_eq!(stop_reason(StopReason::MaxTokens, false), StopReason::MaxTokens);
    }
}
