//! The words of each dialect.

use std::fmt::Write as _;

use craton_wire::ApiError;
use serde_json::Value;

use super::{Dialect, Kind, Node, Step};

impl Node<'_> {
    pub(super) fn wrong_keys(&self, missing: &[&str], extra: &[&str]) -> ApiError {
        match self.dialect {
            // All of them in one message, as the schema validator does.
            Dialect::JsonSchema => {
                let place = pointer(&self.path);
                let mut text = String::from("Malformed input request: ");
                for key in missing {
                    let _ = write!(text, "{place}: required key [{key}] not found");
                }
                for key in extra {
                    let _ = write!(text, "{place}: extraneous key [{key}] is not permitted");
                }
                text.push_str(", please reformat your input and try again.");
                ApiError::validation(text)
            }
            Dialect::Anthropic => {
                let (key, message) = match (missing.first(), extra.first()) {
                    (Some(key), _) => (*key, "Field required"),
                    (None, Some(key)) => (*key, "Extra inputs are not permitted"),
                    (None, None) => ("", "Invalid input"),
                };
                ApiError::validation(format!("{}: {message}", dotted(&self.path, key)))
            }
            Dialect::OpenAi => {
                let (key, message) = match (missing.first(), extra.first()) {
                    (Some(key), _) => (*key, "Missing required parameter"),
                    (None, Some(key)) => (*key, "Unknown parameter"),
                    (None, None) => ("", "Invalid input"),
                };
                let place = bracketed(&self.path, key);
                ApiError::validation(format!("{message}: '{place}'.")).with_field("param", place)
            }
        }
    }

    pub(super) fn wrong_type(&self, kind: Kind) -> ApiError {
        let message = match self.dialect {
            Dialect::JsonSchema => {
                let expected = match kind {
                    Kind::Integer => "Integer",
                    Kind::Number => "Number",
                    Kind::String => "String",
                    Kind::Boolean => "Boolean",
                    Kind::List => "JSONArray",
                    Kind::Object => "JSONObject",
                };
                format!("expected type: {expected}, found: {}", schema_type(self.value))
            }
            Dialect::Anthropic => format!(
                "Input should be a valid {}",
                match kind {
                    Kind::Integer => "integer",
                    Kind::Number => "number",
                    Kind::String => "string",
                    Kind::Boolean => "boolean",
                    Kind::List => "list",
                    Kind::Object => "dictionary",
                }
            ),
            Dialect::OpenAi => {
                let expected = match kind {
                    Kind::Integer => "an integer",
                    Kind::Number => "a decimal",
                    Kind::String => "a string",
                    Kind::Boolean => "a boolean",
                    Kind::List => "an array",
                    Kind::Object => "an object",
                };
                let place = bracketed(&self.path, "");
                let found = openai_type(self.value);
                return ApiError::validation(format!(
                    "Invalid type for '{place}': expected {expected}, but got {found} instead."
                ))
                .with_field("param", place);
            }
        };
        self.refuse(&message)
    }

    pub(super) fn out_of_range(&self, too_small: bool, bound: &str) -> ApiError {
        let found = self.value;
        self.refuse(&match (self.dialect, too_small) {
            (Dialect::JsonSchema, true) => format!("{found} is not greater or equal to {bound}"),
            (Dialect::JsonSchema, false) => format!("{found} is not less or equal to {bound}"),
            (Dialect::Anthropic, true) => format!("Input should be greater than or equal to {bound}"),
            (Dialect::Anthropic, false) => format!("Input should be less than or equal to {bound}"),
            (Dialect::OpenAi, true) => {
                format!("value below minimum. Expected a value >= {bound}, but got {found} instead.")
            }
            (Dialect::OpenAi, false) => {
                format!("value above maximum. Expected a value <= {bound}, but got {found} instead.")
            }
        })
    }

    pub(crate) fn not_one_of(&self, found: &str, words: &[&str]) -> ApiError {
        self.refuse(&match self.dialect {
            Dialect::JsonSchema => format!("{found} is not a valid enum value"),
            Dialect::Anthropic => format!("Input should be {}", listed(words)),
            Dialect::OpenAi => format!("'{found}'. Supported values are: {}.", listed(words)),
        })
    }

    pub(super) fn empty_string(&self) -> ApiError {
        self.refuse(match self.dialect {
            Dialect::JsonSchema => "expected minLength: 1, actual: 0",
            Dialect::Anthropic => "String should have at least 1 character",
            Dialect::OpenAi => "empty string. Expected a string with minimum length 1.",
        })
    }

    pub(super) fn too_few(&self, least: usize, found: usize) -> ApiError {
        self.refuse(&match self.dialect {
            Dialect::JsonSchema => format!("expected minimum item count: {least}, found: {found}"),
            Dialect::Anthropic => {
                format!(
                    "List should have at least {least} item{} after validation, not {found}",
                    plural(least)
                )
            }
            Dialect::OpenAi => {
                format!(
                    "array too short. Expected an array with minimum length {least}, but got length {found}."
                )
            }
        })
    }

    pub(super) fn too_many(&self, most: usize, found: usize) -> ApiError {
        self.refuse(&match self.dialect {
            Dialect::JsonSchema => format!("expected maximum item count: {most}, found: {found}"),
            Dialect::Anthropic => {
                format!("List should have at most {most} item{} after validation, not {found}", plural(most))
            }
            Dialect::OpenAi => {
                format!(
                    "array too long. Expected an array with maximum length {most}, but got length {found}."
                )
            }
        })
    }
}

pub(super) fn refusal(dialect: Dialect, path: &[Step<'_>], message: &str) -> ApiError {
    match dialect {
        Dialect::JsonSchema => ApiError::validation(format!(
            "Malformed input request: {}: {message}, please reformat your input and try again.",
            pointer(path)
        )),
        Dialect::Anthropic if path.is_empty() => ApiError::validation(message),
        Dialect::Anthropic => ApiError::validation(format!("{}: {message}", dotted(path, ""))),
        Dialect::OpenAi => {
            let place = bracketed(path, "");
            ApiError::validation(format!("Invalid '{place}': {message}")).with_field("param", place)
        }
    }
}

fn pointer(path: &[Step<'_>]) -> String {
    let mut text = String::from("#");
    for step in path {
        let _ = match step {
            Step::Key(key) => write!(text, "/{key}"),
            Step::Index(index) => write!(text, "/{index}"),
        };
    }
    text
}

fn dotted(path: &[Step<'_>], last: &str) -> String {
    let mut parts: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Key(key) => (*key).to_owned(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    if !last.is_empty() {
        parts.push(last.to_owned());
    }
    parts.join(".")
}

fn bracketed(path: &[Step<'_>], last: &str) -> String {
    let mut text = String::new();
    let last = (!last.is_empty()).then_some(Step::Key(last));
    for step in path.iter().copied().chain(last) {
        let _ = match step {
            Step::Key(key) if text.is_empty() => write!(text, "{key}"),
            Step::Key(key) => write!(text, ".{key}"),
            Step::Index(index) => write!(text, "[{index}]"),
        };
    }
    text
}

fn schema_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "BigDecimal",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "JSONArray",
        Value::Object(_) => "JSONObject",
    }
}

fn openai_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// `'a', 'b' or 'c'`
fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, head)) => format!("{} or {last}", head.join(", ")),
        None => String::new(),
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// `1` rather than `1.0`, as the validators print bounds.
pub(super) fn plain(number: f64) -> String {
    number.to_string()
}
