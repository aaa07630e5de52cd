//! What a very simple model says: enough of a model to hold a driver to the shared contract.

use serde_json::{Value, json};

/// The parts of a request that matter to the speaker, whatever API it came by.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// All text of the prompt.
    pub(crate) prompt: String,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stops: Vec<String>,
    pub(crate) forced_tool: Option<String>,
    pub(crate) wants_json: bool,
}

/// An answer in tokens.
#[derive(Debug, PartialEq)]
pub(crate) struct Speech {
    pub(crate) pieces: Vec<String>,
    /// `pieces` are the input of a call to this tool.
    pub(crate) tool: Option<String>,
    pub(crate) end: End,
    pub(crate) prompt_tokens: usize,
    pub(crate) output_tokens: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) enum End {
    Stop,
    Length,
    Sequence(String),
    Tool,
}

const TALE: &str = "The sea is wide and deep, and the wind goes over it day and night. Gulls cry; ships pass — \
                    slowly — and nobody on the shore can tell where the water ends and the sky begins.";

/// Deterministic; a token is a word with the space before it.
pub(crate) fn speak(asked: &Asked) -> Speech {
    let prompt_tokens = count(&asked.prompt);
    let text = match (&asked.forced_tool, asked.wants_json) {
        (Some(_), _) => json!({"city": "Paris"}).to_string(),
        (None, true) => json!({"verdict": true}).to_string(),
        (None, false) => TALE.to_owned(),
    };
    let stop = asked.stops.iter().filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min();
    let (text, mut end) = match stop {
        Some((at, stop)) => (text[..at].to_owned(), End::Sequence(stop.clone())),
        None => (text, End::Stop),
    };
    if asked.forced_tool.is_some() {
        end = End::Tool;
    }
    let mut pieces: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
    if let Some(max) = asked.max_tokens
        && pieces.len() >= max
    {
        pieces.truncate(max);
        end = End::Length;
    }
    Speech { tool: asked.forced_tool.clone(), end, prompt_tokens, output_tokens: pieces.len(), pieces }
}

pub(crate) fn count(prompt: &str) -> usize {
    prompt.split_whitespace().count() + 3
}

/// Every string below `value`, joined by spaces.
pub(crate) fn all_text(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text} "),
        Value::Array(list) => list.iter().map(all_text).collect(),
        Value::Object(map) => map.values().map(all_text).collect(),
        _ => String::new(),
    }
}
