//! What was said and done in a session, as it is kept and as a model reads it.

use craton_backend::{Block, Message, Reasoning, Role, ToolResult, ToolUse};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Exchanges kept of a session, the latest.
const MOST_EXCHANGES: usize = 50;
/// Bytes of text kept of a session; the oldest exchanges go first.
const MOST_BYTES: usize = 512 * 1024;

/// One question, what was done about it, and its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Exchange {
    pub question: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Turn>,
    pub answer: String,
}

/// The agent's turn with its calls, or the results that came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Turn {
    pub by_agent: bool,
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    Text(String),
    Reasoning { text: String, signature: Option<String> },
    Call { id: String, name: String, input: Value },
    Result { id: String, text: String, failed: bool },
}

impl Turn {
    pub(super) fn results(parts: Vec<Part>) -> Self {
        Self { by_agent: false, parts }
    }

    /// What a model said, with the calls that were decided on: those it made, or a parser's.
    pub(super) fn deciding(content: &[Block], calls: &[ToolUse]) -> Self {
        let mut turn = Self::of_agent(content);
        turn.parts.retain(|part| !matches!(part, Part::Call { .. }));
        turn.parts.extend(calls.iter().cloned().map(|ToolUse { id, name, input }| Part::Call {
            id,
            name,
            input,
        }));
        turn
    }

    /// What a model said, without what can't be kept.
    pub(super) fn of_agent(content: &[Block]) -> Self {
        let parts = content.iter().filter_map(|block| match block {
            Block::Text(text) if text.trim().is_empty() => None,
            Block::Text(text) => Some(Part::Text(text.clone())),
            Block::Reasoning(Reasoning::Text { text, signature }) => {
                Some(Part::Reasoning { text: text.clone(), signature: signature.clone() })
            }
            Block::ToolUse(call) => {
                Some(Part::Call { id: call.id.clone(), name: call.name.clone(), input: call.input.clone() })
            }
            _ => None,
        });
        Self { by_agent: true, parts: parts.collect() }
    }

    fn bytes(&self) -> usize {
        let of = |part: &Part| match part {
            Part::Text(text) | Part::Reasoning { text, .. } | Part::Result { text, .. } => text.len(),
            Part::Call { input, .. } => input.to_string().len(),
        };
        self.parts.iter().map(of).sum()
    }

    fn message(&self) -> Message {
        let block = |part: &Part| match part.clone() {
            Part::Text(text) => Block::Text(text),
            Part::Reasoning { text, signature } => Block::Reasoning(Reasoning::Text { text, signature }),
            Part::Call { id, name, input } => Block::ToolUse(ToolUse { id, name, input }),
            Part::Result { id, text, failed } => Block::ToolResult(ToolResult {
                tool_use_id: id,
                content: vec![Block::Text(text)],
                is_error: failed,
            }),
        };
        let role = if self.by_agent { Role::Assistant } else { Role::User };
        Message { role, content: self.parts.iter().map(block).collect() }
    }
}

impl Exchange {
    fn bytes(&self) -> usize {
        self.question.len() + self.answer.len() + bytes(&self.steps)
    }
}

/// Bytes of text in turns.
pub(super) fn bytes(turns: &[Turn]) -> usize {
    turns.iter().map(Turn::bytes).sum()
}

/// Drops what is too old or too much to keep.
pub(super) fn shorten(exchanges: &mut Vec<Exchange>) {
    let surplus = exchanges.len().saturating_sub(MOST_EXCHANGES);
    exchanges.drain(..surplus);
    let mut bytes: usize = exchanges.iter().map(Exchange::bytes).sum();
    while bytes > MOST_BYTES && exchanges.len() > 1 {
        bytes -= exchanges.remove(0).bytes();
    }
    if let [only] = &mut exchanges[..]
        && bytes > MOST_BYTES
    {
        only.steps.clear();
        for text in [&mut only.question, &mut only.answer] {
            text.truncate(text.floor_char_boundary(MOST_BYTES / 2));
        }
    }
}

/// Earlier exchanges as messages; `thinking` keeps the steps between question and answer.
pub(super) fn messages(exchanges: &[Exchange], thinking: bool) -> Vec<Message> {
    let mut messages = Vec::new();
    for exchange in exchanges {
        push_text(&mut messages, Role::User, &exchange.question);
        if thinking {
            messages.extend(exchange.steps.iter().map(Turn::message));
        }
        push_text(&mut messages, Role::Assistant, &exchange.answer);
    }
    messages
}

pub(super) fn turns(turns: &[Turn]) -> Vec<Message> {
    turns.iter().filter(|turn| !turn.parts.is_empty()).map(Turn::message).collect()
}

fn push_text(messages: &mut Vec<Message>, role: Role, text: &str) {
    if !text.trim().is_empty() {
        messages.push(Message { role, content: vec![Block::Text(text.to_owned())] });
    }
}

/// Earlier exchanges as text, for prompts that have a place for it.
pub(super) fn transcript(exchanges: &[Exchange]) -> String {
    let mut text = String::new();
    for exchange in exchanges {
        for (who, said) in [("User", &exchange.question), ("Agent", &exchange.answer)] {
            if !said.trim().is_empty() {
                text.push_str(who);
                text.push_str(": ");
                text.push_str(said.trim());
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(question: &str, answer: &str) -> Exchange {
        Exchange { question: question.into(), steps: Vec::new(), answer: answer.into() }
    }

    #[test]
    fn the_oldest_goes_first_and_the_latest_stays() {
        let mut exchanges: Vec<Exchange> = (0..60).map(|n| exchange(&n.to_string(), "x")).collect();
        shorten(&mut exchanges);
        assert_eq!((exchanges.len(), exchanges[0].question.as_str()), (MOST_EXCHANGES, "10"));
        let mut exchanges = vec![exchange("a", "b"), exchange(&"x".repeat(MOST_BYTES + 1), "y")];
        shorten(&mut exchanges);
        assert_eq!(exchanges.len(), 1);
        let result = Part::Result { id: "1".into(), text: "x".repeat(MOST_BYTES + 1), failed: false };
        let mut exchanges = vec![Exchange { steps: vec![Turn::results(vec![result])], ..exchange("a", "b") }];
        shorten(&mut exchanges);
        assert_eq!(exchanges, [exchange("a", "b")], "the answer stays, what led to it does not");
        let mut exchanges = vec![exchange("a", &"ä".repeat(MOST_BYTES))];
        shorten(&mut exchanges);
        assert!(bytes(&[]) == 0 && exchanges[0].bytes() <= MOST_BYTES, "as much of it as can be kept");
    }

    #[test]
    fn thinking_can_be_left_out() {
        let call = Part::Call { id: "1".into(), name: "t".into(), input: serde_json::json!({}) };
        let result = Part::Result { id: "1".into(), text: "r".into(), failed: false };
        let steps = vec![Turn { by_agent: true, parts: vec![call] }, Turn::results(vec![result])];
        let exchanges = [Exchange { steps, ..exchange("q", "a") }];
        assert_eq!(messages(&exchanges, true).len(), 4);
        assert_eq!(messages(&exchanges, false).len(), 2);
        assert_eq!(transcript(&exchanges), "User: q\nAgent: a\n");
    }
}
