//! A tool's input, checked against its schema and brought into the shape that functions and callers are given.

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::tools::{Action, ActionShape, body_of, fields, type_name};

/// Violations named to the model.
const MOST_VIOLATIONS: usize = 5;

/// One call of an action, ready for whoever carries it out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Invocation {
    pub group: String,
    /// The function's name or the operation's id.
    pub function: String,
    /// Path and verb of an operation.
    pub operation: Option<(String, String)>,
    pub parameters: Vec<Argument>,
    /// The body's content type and its properties.
    pub body: Option<(String, Vec<Argument>)>,
}

impl Invocation {
    /// The parameters, and the properties of the body that no parameter is named like.
    pub(super) fn all_parameters(&self) -> Vec<&Argument> {
        let properties = self.body.iter().flat_map(|(_, properties)| properties);
        let free = properties.filter(|it| !self.parameters.iter().any(|own| own.name == it.name));
        self.parameters.iter().chain(free).collect()
    }
}

/// Values travel as text: strings as they are, everything else as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub name: String,
    pub kind: String,
    pub value: String,
}

/// How a tool's input is checked, which is put together when it is first needed.
#[derive(Debug, Default)]
pub(super) struct InputCheck(OnceLock<Option<Validator>>);

impl InputCheck {
    /// The input with numbers and booleans that came as text made what the schema says, or what is wrong with it, in
    /// words for the model.
    pub(super) fn check(&self, schema: &Value, input: &Value) -> Result<Map<String, Value>, String> {
        let Value::Object(mut input) = input.clone() else {
            return Err("The input is not a JSON object. Send all parameters as one JSON object.".to_owned());
        };
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                if let Some(value) = input.get_mut(name) {
                    coerce(property, value);
                }
            }
            // An optional parameter that is null was not given.
            let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice);
            let required = required.unwrap_or_default();
            input.retain(|name, value| !value.is_null() || required.iter().any(|it| it == name.as_str()));
        }
        let validator = self.0.get_or_init(|| jsonschema::validator_for(schema).ok());
        let whole = Value::Object(input);
        let errors = validator.iter().flat_map(|validator| validator.iter_errors(&whole)).map(|error| {
            let place = error.instance_path().to_string();
            if place.is_empty() { error.to_string() } else { format!("{place}: {error}") }
        });
        let mut violations: Vec<String> = errors.take(MOST_VIOLATIONS).collect();
        if violations.is_empty() {
            inexact(schema, &whole, "", &mut violations);
        }
        match whole {
            Value::Object(input) if violations.is_empty() => Ok(input),
            _ => Err(format!(
                "The input does not fit the tool's schema, and nothing was done. {}. Correct it and call the tool \
                 again, or ask the user for what is missing.",
                violations.join("; ")
            )),
        }
    }
}

/// Names integers that are too large to be passed on as they were written: reading them rounded them.
fn inexact(schema: &Value, value: &Value, place: &str, violations: &mut Vec<String>) {
    match value {
        Value::Number(number) if number.is_f64() && type_name(schema) == "integer" => {
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if number.as_f64().is_some_and(|it| it.abs() > EXACT) && violations.len() < MOST_VIOLATIONS {
                violations
                    .push(format!("{place}: the integer has more digits than can be passed on exactly"));
            }
        }
        Value::Object(members) => {
            let properties = schema.get("properties");
            for (name, member) in members {
                if let Some(schema) = properties.and_then(|it| it.get(name)) {
                    inexact(schema, member, &format!("{place}/{name}"), violations);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (at, item) in items.iter().enumerate() {
                inexact(schema, item, &format!("{place}/{at}"), violations);
            }
        }
        _ => {}
    }
}

fn coerce(schema: &Value, value: &mut Value) {
    let Value::String(text) = &*value else { return };
    let text = text.trim();
    let better = match schema.get("type").and_then(Value::as_str) {
        Some("integer") => text.parse::<i64>().ok().map(Value::from),
        Some("number") => text.parse::<f64>().ok().filter(|it| it.is_finite()).map(Value::from),
        Some("boolean") => text.to_ascii_lowercase().parse::<bool>().ok().map(Value::from),
        Some("array") => serde_json::from_str(text).ok().filter(Value::is_array),
        Some("object") => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => None,
    };
    if let Some(better) = better {
        *value = better;
    }
}

/// What an action is called with.
pub(super) fn invocation(action: &Action, input: &Map<String, Value>) -> Invocation {
    let mut invocation = Invocation {
        group: action.group.clone(),
        function: action.function().to_owned(),
        operation: None,
        parameters: Vec::new(),
        body: None,
    };
    match &action.shape {
        ActionShape::Function(function) => {
            let given = input.iter().filter_map(|(name, value)| {
                Some(argument(name, &function.parameters.get(name)?.kind, value))
            });
            invocation.parameters = given.collect();
        }
        ActionShape::Api(api) => {
            invocation.operation = Some((api.path.clone(), api.method.clone()));
            let given = api.parameters.iter().filter_map(|parameter| {
                let value = input.get(&parameter.name)?;
                Some(argument(&parameter.name, &type_name(&parameter.schema), value))
            });
            invocation.parameters = given.collect();
            if let Some((content_type, body)) = body_of(api) {
                let taken: Vec<String> = api.parameters.iter().map(|it| it.name.clone()).collect();
                let properties: Vec<Argument> = fields(body, &taken)
                    .into_iter()
                    .filter_map(|(name, field)| {
                        let value = input.get(&name)?;
                        let kind = type_name(&field.schema);
                        Some(argument(field.property.as_deref().unwrap_or(&name), &kind, value))
                    })
                    .collect();
                if !properties.is_empty() {
                    invocation.body = Some((content_type.to_owned(), properties));
                }
            }
        }
    }
    invocation
}

fn argument(name: &str, kind: &str, value: &Value) -> Argument {
    let value = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Argument { name: name.to_owned(), kind: kind.to_owned(), value }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_passes_and_text_becomes_what_was_meant() {
        let schema = json!({ "type": "object", "properties": {
            "n": { "type": "integer" }, "on": { "type": "boolean" }, "list": { "type": "array", "items": {} },
            "note": { "type": "string" } }, "required": ["n"] });
        let input = json!({ "n": "5", "on": "True", "list": "[1]", "note": null });
        let input = InputCheck::default().check(&schema, &input).unwrap();
        assert_eq!(Value::Object(input), json!({ "n": 5, "on": true, "list": [1] }));
    }

    #[test]
    fn violations_are_named() {
        let schema =
            json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
        let check = InputCheck::default();
        let missing = check.check(&schema, &json!({})).unwrap_err();
        assert!(missing.contains("\"n\" is a required property"), "{missing}");
        let wrong = check.check(&schema, &json!({ "n": "many" })).unwrap_err();
        assert!(wrong.contains("/n: "), "{wrong}");
        assert!(check.check(&schema, &json!("text")).unwrap_err().contains("JSON object"));
    }

    #[test]
    fn integers_are_passed_exactly_or_not_at_all() {
        let schema = json!({ "type": "object", "properties": { "id": { "type": "integer" },
            "all": { "type": "array", "items": { "type": "integer" } }, "mass": { "type": "number" } } });
        let check = |text: &str| {
            InputCheck::default().check(&schema, &serde_json::from_str(text).unwrap()).map(Value::Object)
        };
        let largest = check(r#"{"id": 18446744073709551615}"#).unwrap();
        assert_eq!(largest["id"].to_string(), "18446744073709551615");
        let wrong = check(r#"{"id": 18446744073709551616}"#).unwrap_err();
        assert!(wrong.contains("/id: the integer has more digits"), "{wrong}");
        assert!(check(r#"{"all": [1, 12345678901234567890123]}"#).unwrap_err().contains("/all/1: "));
        check(r#"{"id": 1.0, "mass": 5.9e24}"#).unwrap();
    }
}
