//! Calls of tools and their results must fit each other: what a turn calls, the next one answers, once each.
//!
//! Converse checks this in its own words (`converse::rules`); the families whose bodies hold both do so here, in theirs.

use std::collections::HashSet;

use craton_backend::{Block, Message, Role};
use craton_wire::ApiError;

/// The family whose words a complaint uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    Anthropic,
    OpenAi,
    OpenAiResponses,
    /// Jamba's too.
    Mistral,
    Nova,
}

/// What does not fit. Messages are counted from 0, a turn of several by its first.
#[derive(Debug, PartialEq, Eq)]
enum Misfit<'a> {
    CalledTwice {
        message: usize,
        id: &'a str,
    },
    AnsweredTwice {
        message: usize,
        id: &'a str,
    },
    NeverCalled {
        message: usize,
        id: &'a str,
    },
    /// By the turn after `message`, the one that calls.
    Unanswered {
        message: usize,
        ids: Vec<&'a str>,
    },
}

/// # Errors
/// `ValidationException` in the family's words for the first call or result that does not fit.
pub(super) fn check(messages: &[Message], words: Words) -> Result<(), ApiError> {
    match misfit(messages) {
        Some(misfit) => Err(words.refuse(&misfit)),
        None => Ok(()),
    }
}

/// Consecutive messages of one role are one turn, as the model reads them.
fn misfit(messages: &[Message]) -> Option<Misfit<'_>> {
    let mut called: (usize, Vec<&str>) = (0, Vec::new());
    let mut first = 0;
    for turn in messages.chunk_by(|one, next| one.role == next.role) {
        let blocks = || turn.iter().flat_map(|message| &message.content);
        let message = first;
        first += turn.len();
        if turn[0].role == Role::Assistant {
            let ids = blocks().filter_map(called_id).collect::<Vec<_>>();
            if let Some(id) = repeated(&ids) {
                return Some(Misfit::CalledTwice { message, id });
            }
            called = (message, ids);
            continue;
        }
        let answered = blocks().filter_map(answered_id).collect::<Vec<_>>();
        let (caller, ids) = std::mem::take(&mut called);
        if let Some(id) = answered.iter().find(|id| !ids.contains(id)) {
            return Some(Misfit::NeverCalled { message, id });
        }
        if let Some(id) = repeated(&answered) {
            return Some(Misfit::AnsweredTwice { message, id });
        }
        let open: Vec<&str> = ids.into_iter().filter(|id| !answered.contains(id)).collect();
        if !open.is_empty() {
            return Some(Misfit::Unanswered { message: caller, ids: open });
        }
    }
    let (message, ids) = called;
    (!ids.is_empty()).then_some(Misfit::Unanswered { message, ids })
}

fn called_id(block: &Block) -> Option<&str> {
    match block {
        Block::ToolUse(tool_use) => Some(&tool_use.id),
        _ => None,
    }
}

fn answered_id(block: &Block) -> Option<&str> {
    match block {
        Block::ToolResult(result) => Some(&result.tool_use_id),
        _ => None,
    }
}

fn repeated<'a>(ids: &[&'a str]) -> Option<&'a str> {
    let mut seen = HashSet::new();
    ids.iter().find(|id| !seen.insert(**id)).copied()
}

impl Words {
    fn refuse(self, misfit: &Misfit<'_>) -> ApiError {
        let text = match self {
            Self::Anthropic => anthropic(misfit),
            Self::OpenAi => openai(misfit),
            Self::OpenAiResponses => openai_responses(misfit),
            Self::Mistral => mistral(misfit),
            Self::Nova => nova(misfit),
        };
        let error = ApiError::validation(text);
        match self {
            Self::OpenAi => error.with_field("param", "messages"),
            Self::OpenAiResponses => error.with_field("param", "input"),
            _ => error,
        }
    }
}

fn anthropic(misfit: &Misfit<'_>) -> String {
    match misfit {
        Misfit::CalledTwice { message, .. } => format!("messages.{message}: `tool_use` ids must be unique"),
        Misfit::AnsweredTwice { message, id } => format!(
            "messages.{message}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: \
             {id}"
        ),
        Misfit::NeverCalled { message, id } => format!(
            "messages.{message}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` \
             block must have a corresponding `tool_use` block in the previous message."
        ),
        Misfit::Unanswered { message, ids } => format!(
            "messages.{message}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message.",
            ids.join(", ")
        ),
    }
}

fn openai(misfit: &Misfit<'_>) -> String {
    match misfit {
        Misfit::CalledTwice { message, id } | Misfit::AnsweredTwice { message, id } => {
            format!("Duplicate value for 'tool_call_id' of '{id}' in message[{message}].")
        }
        Misfit::NeverCalled { id, .. } => format!(
            "Invalid parameter: messages with role 'tool' must be a response to a preceding message with \
             'tool_calls'; '{id}' answers none."
        ),
        Misfit::Unanswered { ids, .. } => format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
             'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            ids.join(", ")
        ),
    }
}

fn openai_responses(misfit: &Misfit<'_>) -> String {
    match misfit {
        Misfit::CalledTwice { id, .. } | Misfit::AnsweredTwice { id, .. } => {
            format!("Duplicate item found with call_id {id}.")
        }
        Misfit::NeverCalled { id, .. } => {
            format!("No tool call found for function call output with call_id {id}.")
        }
        Misfit::Unanswered { ids, .. } => {
            format!("No tool output found for function call {}.", ids.join(", "))
        }
    }
}

fn mistral(misfit: &Misfit<'_>) -> String {
    match misfit {
        Misfit::CalledTwice { id, .. } | Misfit::AnsweredTwice { id, .. } => {
            format!("Duplicate tool call id: {id}")
        }
        Misfit::NeverCalled { id, .. } => format!("Unexpected tool call id {id} in tool results"),
        Misfit::Unanswered { ids, .. } => {
            format!("Not the same number of function calls and responses: {} has none", ids.join(", "))
        }
    }
}

/// As Converse says it, whose messages Nova's are.
fn nova(misfit: &Misfit<'_>) -> String {
    match misfit {
        Misfit::CalledTwice { message, id } => {
            format!("The toolUse blocks at messages.{message}.content contain duplicate Ids: {id}")
        }
        Misfit::AnsweredTwice { message, .. } | Misfit::NeverCalled { message, .. } => format!(
            "The number of toolResult blocks at messages.{message}.content exceeds the number of toolUse blocks of \
             previous turn."
        ),
        Misfit::Unanswered { message, ids } => format!(
            "Expected toolResult blocks at messages.{}.content for the following Ids: {}",
            message + 1,
            ids.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use craton_backend::{ToolResult, ToolUse};
    use serde_json::json;

    use super::*;

    fn says(text: &str) -> Message {
        Message { role: Role::User, content: vec![Block::Text(text.to_owned())] }
    }

    fn calls(ids: &[&str]) -> Message {
        let call = |id: &&str| {
            Block::ToolUse(ToolUse { id: (*id).to_owned(), name: "t".to_owned(), input: json!({}) })
        };
        Message { role: Role::Assistant, content: ids.iter().map(call).collect() }
    }

    fn answers(ids: &[&str]) -> Message {
        let result = |id: &&str| {
            Block::ToolResult(ToolResult {
                tool_use_id: (*id).to_owned(),
                content: Vec::new(),
                is_error: false,
            })
        };
        Message { role: Role::User, content: ids.iter().map(result).collect() }
    }

    #[test]
    fn calls_and_results_that_fit_pass() {
        let whole = [says("hi"), calls(&["a", "b"]), answers(&["b", "a"]), calls(&["a"]), answers(&["a"])];
        assert_eq!(misfit(&whole), None);
        // One turn of several messages.
        let parts = [says("hi"), calls(&["a"]), calls(&["b"]), answers(&["a"]), answers(&["b"]), says("so?")];
        assert_eq!(misfit(&parts), None);
        assert_eq!(misfit(&[]), None);
    }

    #[test]
    fn each_misfit_is_named() {
        let of = |messages: &[Message]| misfit(messages).map(|misfit| format!("{misfit:?}"));
        let expect = |messages: &[Message], text: &str| assert_eq!(of(messages).unwrap(), text);
        expect(&[says("hi"), answers(&["x"])], r#"NeverCalled { message: 0, id: "x" }"#);
        expect(&[says("hi"), calls(&["a"]), says("well")], r#"Unanswered { message: 1, ids: ["a"] }"#);
        expect(&[says("hi"), calls(&["a"])], r#"Unanswered { message: 1, ids: ["a"] }"#);
        expect(&[says("hi"), calls(&["a", "a"])], r#"CalledTwice { message: 1, id: "a" }"#);
        expect(
            &[says("hi"), calls(&["a"]), answers(&["a", "a"])],
            r#"AnsweredTwice { message: 2, id: "a" }"#,
        );
        expect(
            &[says("hi"), calls(&["a"]), answers(&["a"]), answers(&["b"])],
            r#"NeverCalled { message: 2, id: "b" }"#,
        );
    }

    #[test]
    fn each_family_says_which() {
        for words in [Words::Anthropic, Words::OpenAi, Words::OpenAiResponses, Words::Mistral, Words::Nova] {
            let error = check(&[says("hi"), calls(&["call-7"])], words).unwrap_err();
            assert!(error.message.contains("call-7"), "{words:?}: {}", error.message);
        }
    }
}
