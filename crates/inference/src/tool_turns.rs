//! Calls of tools and their results must fit each other: what a turn calls, the next one answers, once each.
//!
//! Every format that holds both is checked here once it is decoded; each complains in the words of its own API.

use std::collections::HashSet;

use craton_backend::{Block, Message, Role};
use craton_wire::ApiError;

/// The API whose words a complaint uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    Anthropic,
    /// Nova's too, whose messages are Converse's.
    Converse,
    /// Jamba's too.
    Mistral,
    OpenAi,
    OpenAiResponses,
}

/// A turn's calls and the next turn's results, which do not fit. Messages are counted from 0, a turn of several by its
/// first.
#[derive(Debug, PartialEq, Eq)]
struct Misfit<'a> {
    why: Why<'a>,
    /// The turn that calls.
    caller: usize,
    /// The turn that answers, or should.
    message: usize,
    called: Vec<&'a str>,
    answered: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why<'a> {
    CalledTwice(&'a str),
    NeverCalled(&'a str),
    AnsweredTwice(&'a str),
    Unanswered,
}

/// # Errors
/// `ValidationException` in the API's words for the first call or result that does not fit.
pub(crate) fn check(messages: &[Message], words: Words) -> Result<(), ApiError> {
    match misfit(messages) {
        Some(misfit) => Err(words.refuse(&misfit)),
        None => Ok(()),
    }
}

/// Consecutive messages of one role are one turn, as the model reads them.
fn misfit(messages: &[Message]) -> Option<Misfit<'_>> {
    let mut called = (0, Vec::new());
    let mut first = 0;
    for turn in messages.chunk_by(|one, next| one.role == next.role) {
        let blocks = turn.iter().flat_map(|message| &message.content);
        let message = first;
        first += turn.len();
        if turn[0].role == Role::Assistant {
            called = (message, blocks.filter_map(called_id).collect());
            continue;
        }
        let (caller, called) = std::mem::take(&mut called);
        let answered = blocks.filter_map(answered_id).collect::<Vec<_>>();
        if let Some(why) = why(&called, &answered) {
            return Some(Misfit { why, caller, message, called, answered });
        }
    }
    let (caller, called) = called;
    let why = why(&called, &[])?;
    Some(Misfit { why, caller, message: first, called, answered: Vec::new() })
}

fn why<'a>(called: &[&'a str], answered: &[&'a str]) -> Option<Why<'a>> {
    if let Some(id) = repeated(called) {
        return Some(Why::CalledTwice(id));
    }
    if let Some(id) = answered.iter().find(|id| !called.contains(id)) {
        return Some(Why::NeverCalled(id));
    }
    match repeated(answered) {
        Some(id) => Some(Why::AnsweredTwice(id)),
        None => (answered.len() < called.len()).then_some(Why::Unanswered),
    }
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

impl Misfit<'_> {
    /// The calls without a result, as errors list them.
    fn open(&self) -> String {
        let open = self.called.iter().filter(|id| !self.answered.contains(id)).copied();
        open.collect::<Vec<_>>().join(", ")
    }
}

impl Words {
    fn refuse(self, misfit: &Misfit<'_>) -> ApiError {
        let text = match self {
            Self::Anthropic => anthropic(misfit),
            Self::Converse => converse(misfit),
            Self::Mistral => mistral(misfit),
            Self::OpenAi => openai(misfit),
            Self::OpenAiResponses => openai_responses(misfit),
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
    let Misfit { caller, message, .. } = misfit;
    match misfit.why {
        Why::CalledTwice(_) => format!("messages.{caller}: `tool_use` ids must be unique"),
        Why::AnsweredTwice(id) => format!(
            "messages.{message}: each tool_use must have a single result. Found multiple `tool_result` blocks with id: \
             {id}"
        ),
        Why::NeverCalled(id) => format!(
            "messages.{message}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` \
             block must have a corresponding `tool_use` block in the previous message."
        ),
        Why::Unanswered => format!(
            "messages.{caller}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message.",
            misfit.open()
        ),
    }
}

fn openai(misfit: &Misfit<'_>) -> String {
    let duplicate =
        |id, message| format!("Duplicate value for 'tool_call_id' of '{id}' in message[{message}].");
    match misfit.why {
        Why::CalledTwice(id) => duplicate(id, misfit.caller),
        Why::AnsweredTwice(id) => duplicate(id, misfit.message),
        Why::NeverCalled(id) => format!(
            "Invalid parameter: messages with role 'tool' must be a response to a preceding message with \
             'tool_calls'; '{id}' answers none."
        ),
        Why::Unanswered => format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
             'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            misfit.open()
        ),
    }
}

fn openai_responses(misfit: &Misfit<'_>) -> String {
    match misfit.why {
        Why::CalledTwice(id) | Why::AnsweredTwice(id) => format!("Duplicate item found with call_id {id}."),
        Why::NeverCalled(id) => format!("No tool call found for function call output with call_id {id}."),
        Why::Unanswered => format!("No tool output found for function call {}.", misfit.open()),
    }
}

fn mistral(misfit: &Misfit<'_>) -> String {
    match misfit.why {
        Why::CalledTwice(id) | Why::AnsweredTwice(id) => format!("Duplicate tool call id: {id}"),
        Why::NeverCalled(id) => format!("Unexpected tool call id {id} in tool results"),
        Why::Unanswered => {
            format!("Not the same number of function calls and responses: {} has none", misfit.open())
        }
    }
}

/// AWS counts first, and then looks for the calls that have no result.
fn converse(misfit: &Misfit<'_>) -> String {
    let Misfit { caller, message, called, answered, .. } = misfit;
    if answered.len() > called.len() {
        return format!(
            "The number of toolResult blocks at messages.{message}.content exceeds the number of toolUse blocks of \
             previous turn."
        );
    }
    match misfit.why {
        Why::CalledTwice(id) => {
            format!("The toolUse blocks at messages.{caller}.content contain duplicate Ids: {id}")
        }
        Why::AnsweredTwice(_) | Why::NeverCalled(_) | Why::Unanswered => format!(
            "Expected toolResult blocks at messages.{message}.content for the following Ids: {}",
            misfit.open()
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
        let of = |messages: &[Message]| {
            let misfit = misfit(messages).unwrap();
            (format!("{:?}", misfit.why), misfit.caller, misfit.message)
        };
        let expect = |messages: &[Message], why: &str, caller, message| {
            assert_eq!(of(messages), (why.to_owned(), caller, message));
        };
        expect(&[says("hi"), answers(&["x"])], r#"NeverCalled("x")"#, 0, 0);
        expect(&[says("hi"), calls(&["a"]), says("well")], "Unanswered", 1, 2);
        expect(&[says("hi"), calls(&["a"])], "Unanswered", 1, 2);
        expect(&[says("hi"), calls(&["a", "a"])], r#"CalledTwice("a")"#, 1, 2);
        expect(&[says("hi"), calls(&["a"]), answers(&["a", "a"])], r#"AnsweredTwice("a")"#, 1, 2);
        let late = [says("hi"), calls(&["a"]), answers(&["a"]), answers(&["b"])];
        expect(&late, r#"NeverCalled("b")"#, 1, 2);
    }

    #[test]
    fn converse_counts_first() {
        let said = |called: &[&str], answered: &[&str]| {
            let messages = [says("hi"), calls(called), answers(answered)];
            check(&messages, Words::Converse).unwrap_err().message
        };
        let too_many = "The number of toolResult blocks at messages.2.content exceeds the number of toolUse blocks of \
                        previous turn.";
        let expected =
            |ids| format!("Expected toolResult blocks at messages.2.content for the following Ids: {ids}");
        assert_eq!(said(&["a"], &["a", "x"]), too_many);
        assert_eq!(said(&["a"], &["x", "y"]), too_many);
        assert_eq!(said(&[], &["x"]), too_many);
        assert_eq!(said(&["a"], &["x"]), expected("a"));
        assert_eq!(said(&["a", "b", "c"], &["a", "a"]), expected("b, c"));
        assert_eq!(
            said(&["a", "a"], &["a", "a"]),
            "The toolUse blocks at messages.1.content contain duplicate Ids: a"
        );
    }

    #[test]
    fn each_api_says_which() {
        let all = [Words::Anthropic, Words::Converse, Words::Mistral, Words::OpenAi, Words::OpenAiResponses];
        for words in all {
            let error = check(&[says("hi"), calls(&["call-7"])], words).unwrap_err();
            assert!(error.message.contains("call-7"), "{words:?}: {}", error.message);
        }
    }
}
