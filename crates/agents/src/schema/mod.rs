//! What an agent's actions look like: OpenAPI 3 documents and function lists, read into [`definition`](crate::definition).
//!
//! A document comes from a stranger. It is bounded in bytes, in depth and in what its references unfold to, and every
//! complaint names the place in the document, so that its author finds it. Read schemas are plain JSON schemas without
//! references, as models and validators take them.

mod json_schema;
mod openapi;
mod yaml;

use std::collections::BTreeSet;

use crate::definition::{ApiAction, FunctionAction};

/// Bytes of a document.
pub const MAX_BYTES: usize = 1024 * 1024;

/// How deep a document may be nested, its references followed.
pub(crate) const MAX_DEPTH: usize = 48;

/// Values that all schemas of a document may have together, references unfolded.
pub(crate) const MAX_VALUES: usize = 50_000;

/// Operations of a document, and functions of a group.
const MAX_ACTIONS: usize = 200;

/// Parameters of a function.
const MAX_PARAMETERS: usize = 50;

/// What is wrong with a schema, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place_prefix(.place))]
pub struct SchemaError {
    /// Names and list positions from the document's root, such as `paths./orders.get.parameters.0`; empty for the root.
    pub place: String,
    pub message: String,
}

fn place_prefix(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!("at {place}: ") }
}

impl SchemaError {
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// Reads an OpenAPI 3 document, in JSON or YAML.
pub fn read_openapi(text: &str) -> Result<Vec<ApiAction>, SchemaError> {
    if text.len() > MAX_BYTES {
        return Err(SchemaError::new(
            "",
            format!("the document has {} bytes, and at most {MAX_BYTES} can be read", text.len()),
        ));
    }
    let document = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| SchemaError::new("", format!("not JSON: {error}")))?
    } else {
        yaml::read(text)?
    };
    let actions = openapi::actions(&document)?;
    if actions.len() > MAX_ACTIONS {
        return Err(SchemaError::new(
            "paths",
            format!("there are {} operations, and at most {MAX_ACTIONS} can be served", actions.len()),
        ));
    }
    Ok(actions)
}

/// Checks what the API's model can't say of a list of functions.
pub fn check_functions(functions: &[FunctionAction]) -> Result<(), SchemaError> {
    if functions.is_empty() {
        return Err(SchemaError::new("functions", "there is no function"));
    }
    if functions.len() > MAX_ACTIONS {
        return Err(SchemaError::new(
            "functions",
            format!("there are {} functions, and at most {MAX_ACTIONS} can be served", functions.len()),
        ));
    }
    let mut names = BTreeSet::new();
    for (at, function) in functions.iter().enumerate() {
        let place = format!("functions.{at}");
        if !names.insert(function.name.as_str()) {
            return Err(SchemaError::new(
                place,
                format!("the name {} is given more than once", function.name),
            ));
        }
        if function.parameters.len() > MAX_PARAMETERS {
            return Err(SchemaError::new(
                place,
                format!("a function can have at most {MAX_PARAMETERS} parameters"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
