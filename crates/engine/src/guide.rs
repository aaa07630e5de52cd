//! Holding an answer to a JSON schema or to the form of a tool call while it is generated.
//!
//! A guide knows, after every token, which tokens may come next; the sampler chooses among those only, so the answer
//! satisfies its schema by construction. The matching is `llguidance`'s: written in Rust, made for schemas from
//! strangers, with limits on grammar size and on work a token, where llama.cpp's own converter and grammar are C++
//! that recurses without bounds.
//!
//! A tool's schema sits in a grammar that also fixes what stands around it (see [`crate::tool_text`]). When the
//! model is free to answer in text, no grammar applies until it has written the opening marker.

use std::sync::Arc;

use craton_backend::{BackendError, Tool};
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::vocab::VocabType;
use llguidance::api::TopLevelGrammar;
use llguidance::{CancellationHandle, Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::tool_text::{self, CALL_CLOSE, CALL_OPEN};

const MAX_SCHEMA_BYTES: usize = 256 << 10;
const MAX_SCHEMA_DEPTH: usize = 64;
/// Largest number a schema may bound with: integers beyond it are not exact in JSON.
const MAX_SCHEMA_NUMBER: f64 = 9_007_199_254_740_992.0;
/// Calls in one answer.
const MAX_PARALLEL_CALLS: usize = 8;
/// Symbols of a compiled grammar.
const MAX_GRAMMAR_SIZE: usize = 100_000;
/// Work to compile patterns, at about 50,000 a millisecond for plain ones and a hundred times less for the worst.
const COMPILE_FUEL: u64 = 250_000;
/// Work to follow patterns for one token's mask, at about 14,000 a millisecond.
const MASK_FUEL: u64 = 100_000;
/// Parser items of one token's mask, at about 20,000 a millisecond, and those alive at once.
const MASK_ITEMS: usize = 25_000;
const MAX_ITEMS_IN_ROW: usize = 1_000;
/// States that an answer's patterns may unfold to, at one to two kilobytes each.
const MAX_PATTERN_STATES: usize = 30_000;

/// Which calls an answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallForm {
    /// One call or more, from the first token.
    FromStart,
    /// Exactly one call, from the first token.
    Single,
    /// What follows an opening marker that the model wrote of its own accord.
    AfterMarker,
}

/// How many calls an answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MostCalls {
    One,
    Several,
}

impl MostCalls {
    /// The grammar of what may follow the first.
    fn further(self) -> String {
        match self {
            Self::One => String::new(),
            Self::Several => format!("(\"\\n{CALL_OPEN}\\n\" body){{0,{}}}", MAX_PARALLEL_CALLS - 1),
        }
    }
}

/// Compiles guides for one vocabulary.
pub(crate) struct GuideFactory {
    parsers: ParserFactory,
    environment: TokEnv,
}

impl GuideFactory {
    /// Walks the whole vocabulary: tens to hundreds of milliseconds.
    pub(crate) fn new(weights: Arc<LlamaModel>) -> Result<Self, BackendError> {
        let environment: TokEnv = Arc::new(VocabularyEnvironment::new(weights));
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut parsers = ParserFactory::new(&environment, capabilities, &slices).map_err(|error| {
            BackendError::Internal(format!("the vocabulary can't be constrained: {error}"))
        })?;
        parsers.quiet();
        let limits = parsers.limits_mut();
        limits.max_grammar_size = MAX_GRAMMAR_SIZE;
        limits.initial_lexer_fuel = COMPILE_FUEL;
        limits.step_lexer_fuel = MASK_FUEL;
        limits.step_max_items = MASK_ITEMS;
        limits.max_items_in_row = MAX_ITEMS_IN_ROW;
        limits.max_lexer_states = MAX_PATTERN_STATES;
        limits.verbose_errors = false;
        Ok(Self { parsers, environment })
    }

    /// A guide that holds the whole answer to `schema`.
    pub(crate) fn json(&self, schema: &Value, what: &str) -> Result<Guide, BackendError> {
        let schema = prepared(schema, what)?;
        self.compile(TopLevelGrammar::from_json_schema(schema), what)
    }

    /// A guide that holds the answer to calls of `tools`.
    pub(crate) fn calls(
        &self,
        tools: &[Tool],
        form: CallForm,
        most: MostCalls,
    ) -> Result<Guide, BackendError> {
        let more = most.further();
        let start = match form {
            CallForm::Single => format!("start: \"{CALL_OPEN}\\n\" body\n"),
            CallForm::FromStart => format!("start: \"{CALL_OPEN}\\n\" body {more}\n"),
            CallForm::AfterMarker => format!("start: /[ \\n]{{0,2}}/ body {more}\n"),
        };
        let what = match tools {
            [tool] => schema_of(tool),
            _ => "the tools' schemas".to_owned(),
        };
        self.compile(TopLevelGrammar::from_lark(start + &self.call_rules(tools)?), &what)
    }

    /// A guide that holds the answer to calls of `tools` or to JSON that satisfies `schema`.
    pub(crate) fn calls_or_json(
        &self,
        tools: &[Tool],
        schema: &Value,
        most: MostCalls,
    ) -> Result<Guide, BackendError> {
        let schema = prepared(schema, "the response schema")?;
        self.compile(TopLevelGrammar::from_json_schema(schema.clone()), "the response schema")?;
        let rules = self.call_rules(tools)?;
        let more = most.further();
        let start =
            format!("start: answer | calls\ncalls: \"{CALL_OPEN}\\n\" body {more}\nanswer: %json {schema}\n");
        self.compile(
            TopLevelGrammar::from_lark(start + &rules),
            "the response schema with the tools' schemas",
        )
    }

    /// The rule `body`: one call of any of the tools, without its opening marker.
    fn call_rules(&self, tools: &[Tool]) -> Result<String, BackendError> {
        let mut rules = String::new();
        let mut names = Vec::with_capacity(tools.len());
        for (index, tool) in tools.iter().enumerate() {
            let what = schema_of(tool);
            let schema = prepared(&object_schema(&tool.input_schema, &what)?, &what)?;
            // Compiled alone first, so that an error names the tool it belongs to.
            if tools.len() > 1 {
                self.compile(TopLevelGrammar::from_json_schema(schema.clone()), &what)?;
            }
            let head = Value::from(tool_text::call_head(&tool.name));
            rules.push_str(&format!(
                "call_{index}: {head} input_{index} \"}}\"\ninput_{index}: %json {schema}\n"
            ));
            names.push(format!("call_{index}"));
        }
        Ok(format!("body: ({}) \"\\n{CALL_CLOSE}\"\n{rules}", names.join(" | ")))
    }

    fn compile(&self, grammar: TopLevelGrammar, what: &str) -> Result<Guide, BackendError> {
        let matcher = Matcher::new(self.parsers.create_parser(grammar)).into_cancellable();
        match matcher.get_error() {
            Some(error) => {
                let reason: String = error.lines().next().unwrap_or_default().chars().take(300).collect();
                Err(BackendError::Invalid(format!("{what} can't be used: {reason}")))
            }
            None => Ok(Guide {
                matcher: Box::new(matcher),
                #[cfg(test)]
                gate: Some(what.to_owned()),
            }),
        }
    }

    /// Any tokens that spell these bytes.
    pub(crate) fn spell(&self, bytes: &[u8]) -> Vec<u32> {
        self.environment.tok_trie().greedy_tokenize(bytes)
    }
}

/// The state of one constrained answer.
#[derive(Clone)]
pub(crate) struct Guide {
    matcher: Box<Matcher>,
    /// Name of the gate that its work stops at.
    #[cfg(test)]
    pub(crate) gate: Option<String>,
}

impl std::fmt::Debug for Guide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guide").field("stopped", &self.matcher.is_stopped()).finish_non_exhaustive()
    }
}

impl Guide {
    /// The tokens that may come next; end-of-answer tokens among them once the answer is complete.
    pub(crate) fn allowed(&mut self) -> Result<SimpleVob, String> {
        self.matcher.compute_mask_or_eos().map_err(|error| error.to_string())
    }

    /// Goes on with these tokens. After an error the guide is of no more use.
    pub(crate) fn accept_all(&mut self, tokens: &[u32]) -> Result<(), String> {
        #[cfg(test)]
        crate::guided::tests::pass(self.gate.as_deref());
        self.matcher.consume_tokens(tokens).map_err(|error| error.to_string())
    }

    /// Stops what another thread has this guide do.
    pub(crate) fn cancellation(&self) -> Option<CancellationHandle> {
        self.matcher.cancellation_handle()
    }

    /// Takes the tokens that the grammar leaves no choice about.
    pub(crate) fn take_forced(&mut self) -> Vec<LlamaToken> {
        if self.matcher.is_stopped() {
            return Vec::new();
        }
        self.matcher
            .consume_ff_tokens()
            .into_iter()
            .filter_map(|id| i32::try_from(id).ok())
            .map(LlamaToken)
            .collect()
    }

    /// Nothing can follow: the answer is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }
}

fn schema_of(tool: &Tool) -> String {
    format!("the input schema of tool {:?}", tool.name)
}

/// Checks a schema's size and shape and sets the layout of the JSON that it allows.
fn prepared(schema: &Value, what: &str) -> Result<Value, BackendError> {
    let mut schema = match schema {
        Value::Object(_) => schema.clone(),
        Value::Bool(true) => json!({}),
        other => {
            return Err(BackendError::Invalid(format!("{what} is not a JSON schema but {}", kind(other))));
        }
    };
    if depth(&schema) > MAX_SCHEMA_DEPTH {
        return Err(BackendError::Invalid(format!("{what} is nested more than {MAX_SCHEMA_DEPTH} deep")));
    }
    if let Some((keyword, number)) = number_out_of_range(&schema) {
        return Err(BackendError::Invalid(format!("{what} has a {keyword} of {number}, beyond 2^53")));
    }
    let bytes = schema.to_string().len();
    if bytes > MAX_SCHEMA_BYTES {
        return Err(BackendError::Invalid(format!(
            "{what} has {bytes} bytes, at most {MAX_SCHEMA_BYTES} are read"
        )));
    }
    // Fixed spacing: free whitespace lets a small model pad for ever, and costs forced tokens.
    // Lenient: keywords that can't be enforced (uniqueItems…) are left out instead of refusing the tool.
    let layout = json!({
        "whitespace_flexible": false, "item_separator": ", ", "key_separator": ": ", "lenient": true
    });
    if let Value::Object(members) = &mut schema {
        members.insert("x-guidance".to_owned(), layout);
    }
    Ok(schema)
}

/// A tool's input is an object; a schema that leaves that open is closed, one that says otherwise refused.
fn object_schema(schema: &Value, what: &str) -> Result<Value, BackendError> {
    let Value::Object(members) = schema else {
        return Err(BackendError::Invalid(format!("{what} is not a JSON schema but {}", kind(schema))));
    };
    let mut members = members.clone();
    match members.get("type") {
        None => {
            members.insert("type".to_owned(), Value::from("object"));
        }
        Some(Value::String(name)) if name == "object" => {}
        Some(other) => {
            return Err(BackendError::Invalid(format!("{what} must have the type \"object\", not {other}")));
        }
    }
    Ok(Value::Object(members))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A numeric bound too large to be exact, with its keyword.
fn number_out_of_range(schema: &Value) -> Option<(&str, &Value)> {
    const BOUNDS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
    match schema {
        Value::Array(items) => items.iter().find_map(number_out_of_range),
        Value::Object(members) => members.iter().find_map(|(keyword, value)| match value.as_f64() {
            Some(number) if BOUNDS.contains(&keyword.as_str()) => {
                (number.abs() > MAX_SCHEMA_NUMBER).then_some((keyword.as_str(), value))
            }
            _ => number_out_of_range(value),
        }),
        _ => None,
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// llama.cpp's vocabulary as the matcher wants it.
struct VocabularyEnvironment {
    trie: TokTrie,
    weights: Arc<LlamaModel>,
    canonical: bool,
}

impl VocabularyEnvironment {
    fn new(weights: Arc<LlamaModel>) -> Self {
        let vocabulary = weights.vocab();
        let count = vocabulary.n_tokens();
        let ids = || (0..count).map(LlamaToken);
        // End of turn before end of text: that is what ends a chat answer.
        let end = if vocabulary.eot().0 >= 0 { vocabulary.eot() } else { vocabulary.eos() };
        let end_id = u32::try_from(end.0).unwrap_or_default();
        let mut ends = vec![end_id];
        ends.extend(
            ids().filter(|t| *t != end && vocabulary.is_eog(*t)).filter_map(|t| u32::try_from(t.0).ok()),
        );
        let words: Vec<Vec<u8>> = ids()
            .map(|token| {
                let plain = vocabulary.token_to_piece(token, false, None);
                if !plain.is_empty() {
                    return plain;
                }
                let mut special = vocabulary.token_to_piece(token, true, None);
                if !special.is_empty() {
                    special.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
                }
                special
            })
            .collect();
        let info = TokRxInfo::new(u32::try_from(count).unwrap_or_default(), end_id);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(&ends);
        // Other kinds put a space before what they tokenise, so a forced text can't be given back to them in parts.
        let canonical = matches!(vocabulary.vocab_type(), VocabType::BPE);
        Self { trie, weights, canonical }
    }
}

impl TokenizerEnv for VocabularyEnvironment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let tokens = self.weights.vocab().tokenize(text.as_bytes(), false, false);
            tokens.into_iter().filter_map(|token| u32::try_from(token.0).ok()).collect()
        })
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_are_not_exact_are_refused() {
        let schema = |maximum: Value| json!({"properties": {"x": {"anyOf": [{"maximum": maximum}]}}});
        assert!(prepared(&schema(json!(9_007_199_254_740_992_i64)), "it").is_ok());
        for number in [json!(1e30), json!(-1e30), json!(u64::MAX)] {
            let refused = prepared(&schema(number), "it").unwrap_err().to_string();
            assert!(refused.starts_with("it has a maximum of"), "{refused}");
        }
        // A property may be called like a keyword.
        assert!(prepared(&json!({"properties": {"maximum": {"type": "integer"}}}), "it").is_ok());
    }
}
