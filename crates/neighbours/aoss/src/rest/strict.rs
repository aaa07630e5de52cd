//! What a request may say: everything else is refused by name, so that nothing is taken for done that is not.

use serde_json::{Map, Value};

use super::indexes::Index;
use super::{RestError, RestRequest};

/// Parameters that change nothing of what is answered here: every write is seen by the next search, and there is one shard.
const HARMLESS: [&str; 15] = [
    "pretty",
    "human",
    "error_trace",
    "timeout",
    "master_timeout",
    "cluster_manager_timeout",
    "local",
    "refresh",
    "wait_for_active_shards",
    "preference",
    "request_cache",
    "allow_partial_search_results",
    "batched_reduce_size",
    "typed_keys",
    "track_total_hits",
];
/// Longest id of a document, in bytes.
const MOST_ID_BYTES: usize = 512;

/// Refuses parameters of the query string that are not known.
pub(super) fn parameters(request: &RestRequest, known: &[&str]) -> Result<(), RestError> {
    for pair in request.query.as_deref().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if !HARMLESS.contains(&name) && !known.contains(&name) {
            return Err(RestError::unsupported(&format!("the parameter [{name}]")));
        }
    }
    Ok(())
}

/// Refuses fields of a part of a request that are not known, but for those that say what is done anyway.
pub(super) fn keys(part: &str, value: &Value, known: &[&str]) -> Result<(), RestError> {
    for (name, value) in value.as_object().into_iter().flatten() {
        let is_default = match name.as_str() {
            "boost" => value.as_f64() == Some(1.0),
            "operator" => value.as_str().is_some_and(|operator| operator.eq_ignore_ascii_case("or")),
            "case_insensitive" | "explain" | "version" | "profile" => *value == Value::Bool(false),
            _ => false,
        };
        if !is_default && !known.contains(&name.as_str()) {
            return Err(RestError::unsupported(&format!("[{part}] {name}")));
        }
    }
    Ok(())
}

/// A document's id.
pub(super) fn id(id: &str) -> Result<(), RestError> {
    if id.is_empty() || id.len() > MOST_ID_BYTES {
        let reason = format!("id must be between 1 and {MOST_ID_BYTES} bytes long, but was: {}", id.len());
        return Err(RestError { status: 400, kind: "illegal_argument_exception", reason });
    }
    Ok(())
}

/// A mapping that is to be kept.
pub(super) fn mapping(mapping: &Value) -> Result<(), RestError> {
    match mapping.get("dynamic") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::String(how)) if how == "true" || how == "strict" => {}
        Some(other) => return Err(RestError::unsupported(&format!("a mapping with dynamic: {other}"))),
    }
    for (name, field) in properties(mapping) {
        let space = field.get("space_type").or_else(|| field.get("method").and_then(|m| m.get("space_type")));
        // Distances order vectors of one length as cosines do; inner products order none as cosines do.
        if let Some(space) = space.and_then(Value::as_str)
            && !["cosinesimil", "l2"].contains(&space)
        {
            return Err(RestError::unsupported(&format!("the space_type {space} of the field [{name}]")));
        }
    }
    Ok(())
}

pub(super) fn properties(mapping: &Value) -> impl Iterator<Item = (&String, &Value)> {
    mapping.get("properties").and_then(Value::as_object).into_iter().flatten()
}

impl Index {
    /// Refuses a document that the mapping does not allow.
    pub(super) fn check(&self, fields: &Map<String, Value>) -> Result<(), RestError> {
        check(&self.mapping, fields, self.mapping.get("dynamic") == Some(&Value::String("strict".into())))
    }

    /// Whether a field's text is cut into words.
    pub(super) fn is_text(&self, field: &str) -> bool {
        properties(&self.mapping).any(|(name, mapped)| name == field && mapped["type"] == "text")
    }
}

fn check(mapping: &Value, fields: &Map<String, Value>, strict: bool) -> Result<(), RestError> {
    for (name, value) in fields {
        let Some((_, field)) = properties(mapping).find(|(known, _)| *known == name) else {
            if strict {
                let reason = format!(
                    "mapping set to strict, dynamic introduction of [{name}] within [_doc] is not allowed"
                );
                return Err(RestError { status: 400, kind: "strict_dynamic_mapping_exception", reason });
            }
            continue;
        };
        if let (Some(_), Value::Object(inner)) = (field.get("properties"), value) {
            check(field, inner, strict)?;
            continue;
        }
        let kind = field.get("type").and_then(Value::as_str).unwrap_or_default();
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if !values.iter().all(|value| fits(kind, value)) {
            let reason = format!("failed to parse field [{name}] of type [{kind}]");
            return Err(RestError { status: 400, kind: "mapper_parsing_exception", reason });
        }
    }
    Ok(())
}

/// Whether a value can be of a mapped type. Types of which nothing is known take everything.
fn fits(kind: &str, value: &Value) -> bool {
    let number = || match value {
        Value::Number(_) => true,
        Value::String(text) => text.trim().parse::<f64>().is_ok_and(f64::is_finite),
        _ => false,
    };
    match kind {
        _ if value.is_null() => true,
        "byte" | "short" | "integer" | "long" | "unsigned_long" | "float" | "half_float" | "double"
        | "scaled_float" => number(),
        "boolean" => value.is_boolean() || value.as_str().is_some_and(|v| ["true", "false", ""].contains(&v)),
        "keyword" | "text" | "date" => !value.is_object(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_of_their_fields_types() {
        for (kind, good, bad) in [
            ("long", json!("12"), json!("notnumber")),
            ("boolean", json!("true"), json!("yes")),
            ("keyword", json!(3), json!({"a": 1})),
            ("double", json!(null), json!(true)),
        ] {
            assert!(fits(kind, &good) && !fits(kind, &bad), "{kind}");
        }
        let mapping =
            json!({"properties": {"n": {"type": "long"}, "o": {"properties": {"n": {"type": "long"}}}}});
        let check = |document: Value, strict| check(&mapping, document.as_object().unwrap(), strict);
        assert!(check(json!({"n": [1, 2], "other": 1, "o": {"n": 1}}), false).is_ok());
        assert_eq!(check(json!({"other": 1}), true).unwrap_err().kind, "strict_dynamic_mapping_exception");
        assert_eq!(check(json!({"o": {"n": "x"}}), true).unwrap_err().kind, "mapper_parsing_exception");
    }
}
