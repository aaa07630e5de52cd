//! Schemas of an OpenAPI document as JSON schemas that stand alone: references followed, OpenAPI 3.0's own words turned
//! into JSON Schema's.

use serde_json::{Map, Value, json};

use super::{MAX_DEPTH, MAX_VALUES, SchemaError};

/// Words of OpenAPI that say nothing to a model or a validator.
const DROPPED: [&str; 6] = ["example", "xml", "discriminator", "externalDocs", "deprecated", "nullable"];

/// Follows a document's references, and counts what comes of it.
pub(super) struct References<'a> {
    document: &'a Value,
    left: usize,
}

impl<'a> References<'a> {
    pub(super) fn new(document: &'a Value) -> Self {
        Self { document, left: MAX_VALUES }
    }

    /// What `value` is, or what it refers to, with the place of that.
    pub(super) fn follow(&self, value: &'a Value, place: &str) -> Result<(&'a Value, String), SchemaError> {
        let (mut value, mut place) = (value, place.to_owned());
        for _ in 0..MAX_DEPTH {
            let Some(reference) = value.get("$ref") else { return Ok((value, place)) };
            (value, place) = self.target(reference, &place)?;
        }
        Err(SchemaError::new(place, "the references never end"))
    }

    fn target(&self, reference: &Value, place: &str) -> Result<(&'a Value, String), SchemaError> {
        let wrong = |message: String| SchemaError::new(format!("{place}.$ref"), message);
        let Some(reference) = reference.as_str() else { return Err(wrong("must be a text".into())) };
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(wrong(format!(
                "{reference} is outside of the document. Use references that start with #/"
            )));
        };
        let pointer = percent_decoded(pointer);
        match self.document.pointer(&pointer) {
            Some(target) => {
                Ok((target, pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/")))
            }
            None => Err(wrong(format!("there is nothing at {reference}"))),
        }
    }

    /// A schema without references.
    pub(super) fn schema(&mut self, value: &'a Value, place: &str) -> Result<Value, SchemaError> {
        let mut path = Vec::new();
        let schema = self.unfold(value, place, &mut path, 0)?;
        match jsonschema::validator_for(&schema) {
            Ok(_) => Ok(schema),
            Err(error) => Err(SchemaError::new(place, format!("not a JSON schema: {error}"))),
        }
    }

    fn unfold(
        &mut self,
        value: &'a Value,
        place: &str,
        path: &mut Vec<&'a str>,
        depth: usize,
    ) -> Result<Value, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(SchemaError::new(place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            SchemaError::new(place, format!("the document's schemas have more than {MAX_VALUES} values"))
        })?;
        match value {
            Value::Object(members) => match members.get("$ref") {
                Some(Value::String(reference)) => {
                    if path.contains(&reference.as_str()) {
                        return Err(SchemaError::new(
                            place,
                            format!("{reference} contains itself, and such schemas can't be served"),
                        ));
                    }
                    let (target, target_place) = self.target(&members["$ref"], place)?;
                    path.push(reference);
                    let unfolded = self.unfold(target, &target_place, path, depth + 1)?;
                    path.pop();
                    Ok(unfolded)
                }
                _ => self.object(members, place, path, depth),
            },
            Value::Array(items) => {
                let mut unfolded = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    unfolded.push(self.unfold(item, &format!("{place}.{at}"), path, depth + 1)?);
                }
                Ok(Value::Array(unfolded))
            }
            other => Ok(other.clone()),
        }
    }

    fn object(
        &mut self,
        members: &'a Map<String, Value>,
        place: &str,
        path: &mut Vec<&'a str>,
        depth: usize,
    ) -> Result<Value, SchemaError> {
        // Under `properties` the keys are names and not words of the language.
        let names = place.ends_with(".properties");
        let mut schema = Map::new();
        for (key, value) in members {
            let dropped = !names && (DROPPED.contains(&key.as_str()) || key.starts_with("x-"));
            if !dropped {
                schema.insert(key.clone(), self.unfold(value, &format!("{place}.{key}"), path, depth + 1)?);
            }
        }
        if !names {
            from_openapi_3_0(&mut schema, members);
        }
        Ok(Value::Object(schema))
    }
}

/// Names of types that documents in use have, and what JSON Schema calls them.
const TYPES: [(&str, &str); 8] = [
    ("int", "integer"),
    ("long", "integer"),
    ("float", "number"),
    ("double", "number"),
    ("bool", "boolean"),
    ("str", "string"),
    ("list", "array"),
    ("dict", "object"),
];

/// `nullable`, bounds that are exclusive by a flag, and types by other names.
fn from_openapi_3_0(schema: &mut Map<String, Value>, members: &Map<String, Value>) {
    if let Some(Value::String(kind)) = schema.get_mut("type")
        && let Some((_, name)) = TYPES.iter().find(|(other, _)| other == kind)
    {
        (*name).clone_into(kind);
    }
    if members.get("nullable") == Some(&Value::Bool(true))
        && let Some(Value::String(kind)) = schema.get("type")
    {
        let kinds = json!([kind, "null"]);
        schema.insert("type".into(), kinds);
        if let Some(Value::Array(values)) = schema.get_mut("enum")
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
    }
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(Value::Bool(exclusive)) = schema.get(flag).cloned() {
            schema.remove(flag);
            if exclusive && let Some(value) = schema.remove(bound) {
                schema.insert(flag.into(), value);
            }
        }
    }
}

/// A pointer in a reference may be written as in a URI.
fn percent_decoded(pointer: &str) -> String {
    if !pointer.contains('%') {
        return pointer.to_owned();
    }
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
