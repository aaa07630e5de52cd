//! Metadata filters as clients write them.

use craton_api_bedrock_agent_runtime as api;
use craton_vectors::{Filter, MetadataValue};
use craton_wire::ApiError;
use serde_json::Value;

/// Reads a filter; values must be of the type that their operator compares.
pub(super) fn filter(asked: api::RetrievalFilter) -> Result<Filter, ApiError> {
    use api::RetrievalFilter as Asked;
    Ok(match asked {
        Asked::AndAll(parts) => Filter::AndAll(group(parts)?),
        Asked::OrAll(parts) => Filter::OrAll(group(parts)?),
        Asked::Equals(leaf) => Filter::Equals(leaf.key.clone(), scalar(&leaf)?),
        Asked::NotEquals(leaf) => Filter::NotEquals(leaf.key.clone(), scalar(&leaf)?),
        Asked::GreaterThan(leaf) => Filter::GreaterThan(leaf.key.clone(), number(&leaf)?),
        Asked::GreaterThanOrEquals(leaf) => Filter::GreaterThanOrEquals(leaf.key.clone(), number(&leaf)?),
        Asked::LessThan(leaf) => Filter::LessThan(leaf.key.clone(), number(&leaf)?),
        Asked::LessThanOrEquals(leaf) => Filter::LessThanOrEquals(leaf.key.clone(), number(&leaf)?),
        Asked::In(leaf) => Filter::In(leaf.key.clone(), list(&leaf)?),
        Asked::NotIn(leaf) => Filter::NotIn(leaf.key.clone(), list(&leaf)?),
        Asked::StartsWith(leaf) => Filter::StartsWith(leaf.key.clone(), part(&leaf)?),
        Asked::ListContains(leaf) => Filter::ListContains(leaf.key.clone(), text(&leaf)?),
        Asked::StringContains(leaf) => Filter::StringContains(leaf.key.clone(), part(&leaf)?),
    })
}

fn group(parts: Vec<api::RetrievalFilter>) -> Result<Vec<Filter>, ApiError> {
    parts.into_iter().map(filter).collect()
}

fn scalar(leaf: &api::FilterAttribute) -> Result<MetadataValue, ApiError> {
    match MetadataValue::from_json(&leaf.value) {
        Some(MetadataValue::List(_)) | None => Err(wrong(leaf, "a string, a number or a boolean")),
        Some(value) => Ok(value),
    }
}

fn number(leaf: &api::FilterAttribute) -> Result<f64, ApiError> {
    leaf.value.as_f64().ok_or_else(|| wrong(leaf, "a number"))
}

fn text(leaf: &api::FilterAttribute) -> Result<String, ApiError> {
    leaf.value.as_str().map(str::to_owned).ok_or_else(|| wrong(leaf, "a string"))
}

/// A part of a text. Every text has the empty one, which is never what was meant.
fn part(leaf: &api::FilterAttribute) -> Result<String, ApiError> {
    text(leaf).ok().filter(|text| !text.is_empty()).ok_or_else(|| wrong(leaf, "a string that is not empty"))
}

fn list(leaf: &api::FilterAttribute) -> Result<Vec<MetadataValue>, ApiError> {
    let values = match &leaf.value {
        Value::Array(values) => values.iter().map(MetadataValue::from_json).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let scalars = values.filter(|values| !values.iter().any(|value| matches!(value, MetadataValue::List(_))));
    scalars.ok_or_else(|| wrong(leaf, "a list of strings, numbers or booleans"))
}

fn wrong(leaf: &api::FilterAttribute, expected: &str) -> ApiError {
    ApiError::validation(format!(
        "The value for the filter on the metadata attribute '{}' must be {expected}.",
        leaf.key
    ))
}
