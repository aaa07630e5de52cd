//! JSON schemas from strangers: what is wrong with one, said of a place in it, before a model is held to it.

use std::fmt;

use craton_backend::ChatRequest;
use craton_wire::ApiError;
use serde_json::Value;

/// Schemas in a schema, and steps from one to what it refers to.
const MAX_DEPTH: usize = 64;

/// Keywords whose value is a schema, a list of them, or a list or a schema.
const ONE: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value has a schema under every name.
const NAMED: &[&str] = &["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// What is wrong with a schema, and where: a JSON Pointer into it, empty for the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    place: String,
    what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => f.write_str(&self.what),
            place => write!(f, "at {place}, {}", self.what),
        }
    }
}

/// # Errors
/// `ValidationException` for the first schema of the request that no model can be held to.
pub(crate) fn check(request: &ChatRequest) -> Result<(), ApiError> {
    let refuse = |what: String, problem: Problem| {
        Err(ApiError::validation(format!("The JSON schema of {what} is not valid: {problem}.")))
    };
    if let Some(problem) = request.response_schema.as_ref().and_then(|response| problem(&response.schema)) {
        return refuse("the answer".to_owned(), problem);
    }
    // What else tools' authors get wrong does not keep a model from calling them.
    for tool in &request.tools {
        if let Some(problem) = references(&tool.input_schema, &tool.input_schema, &mut String::new(), 0) {
            return refuse(format!("the tool {}", tool.name), problem);
        }
    }
    Ok(())
}

/// The first thing that is wrong with a schema.
pub(crate) fn problem(schema: &Value) -> Option<Problem> {
    let mut place = String::new();
    if let Some(problem) = references(schema, schema, &mut place, 0) {
        return Some(problem);
    }
    let error = jsonschema::validator_for(schema).err()?;
    let what = match error.kind() {
        jsonschema::error::ValidationErrorKind::Format { format } if format.contains("regex") => {
            "the pattern is not a regular expression that can be read, or too large a one".to_owned()
        }
        jsonschema::error::ValidationErrorKind::Referencing(_) => {
            "it refers to something that can't be found".to_owned()
        }
        _ => format!("it is not a valid JSON schema ({error})"),
    };
    Some(Problem { place: error.instance_path().to_string(), what })
}

/// References that lead out of the schema, nowhere, or back to themselves.
fn references(root: &Value, schema: &Value, place: &mut String, depth: usize) -> Option<Problem> {
    let at = |place: &str, what: String| Some(Problem { place: place.to_owned(), what });
    if depth > MAX_DEPTH {
        return at(place, format!("it is nested more than {MAX_DEPTH} deep"));
    }
    if let Value::Array(items) = schema {
        return items.iter().enumerate().find_map(|(index, item)| {
            within(place, &index.to_string(), |place| references(root, item, place, depth + 1))
        });
    }
    let Value::Object(members) = schema else { return None };
    if let Some(what) = members.get("$ref").and_then(|reference| wrong_reference(root, reference)) {
        return within(place, "$ref", |place| at(place, what));
    }
    members.iter().find_map(|(key, value)| {
        let descend = |place: &mut String| match value {
            _ if ONE.contains(&key.as_str()) => references(root, value, place, depth + 1),
            Value::Object(named) if NAMED.contains(&key.as_str()) => {
                named.iter().find_map(|(name, schema)| {
                    within(place, name, |place| references(root, schema, place, depth + 1))
                })
            }
            _ => None,
        };
        within(place, key, descend)
    })
}

/// Goes one step further in the pointer, and back.
fn within<T>(place: &mut String, key: &str, look: impl FnOnce(&mut String) -> T) -> T {
    let length = place.len();
    place.push('/');
    place.push_str(&key.replace('~', "~0").replace('/', "~1"));
    let found = look(place);
    place.truncate(length);
    found
}

fn wrong_reference(root: &Value, reference: &Value) -> Option<String> {
    let Value::String(reference) = reference else {
        return Some("a reference must be a string".to_owned());
    };
    let mut reference = reference;
    let mut seen = Vec::new();
    loop {
        let Some(pointer) = reference.strip_prefix('#') else {
            return Some(format!(
                "{reference:?} is outside of the schema, and nothing is fetched: put what it refers to under $defs"
            ));
        };
        // Anchors are found by whoever compiles the schema.
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return None;
        }
        if seen.contains(&reference) || seen.len() > MAX_DEPTH {
            return Some(format!("{reference:?} leads back to itself without saying anything"));
        }
        seen.push(reference);
        let Some(target) = root.pointer(pointer) else {
            // Percent-encoded ones are left to the compiler too.
            return (!pointer.contains('%')).then(|| format!("there is nothing at {reference:?}"));
        };
        match target.get("$ref") {
            Some(Value::String(next)) => reference = next,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use craton_backend::{ResponseSchema, Tool};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn said(schema: Value) -> String {
        problem(&schema).map(|problem| problem.to_string()).unwrap_or_default()
    }

    #[test]
    fn problems_are_named_by_their_place() {
        for (schema, words) in [
            (json!({"$ref": "#"}), r##"at /$ref, "#" leads back to itself"##),
            (
                json!({"properties": {"a/b": {"$ref": "https://example.com/s.json"}}}),
                "at /properties/a~1b/$ref, \"https://example.com/s.json\" is outside of the schema",
            ),
            (json!({"items": {"$ref": "#/$defs/x"}}), "at /items/$ref, there is nothing at"),
            (
                json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}),
                "leads back to itself",
            ),
            (json!({"$ref": 3}), "a reference must be a string"),
            (json!({"properties": {"p": {"pattern": "(a{1000}){1000}"}}}), "too large"),
            (json!({"properties": {"p": {"pattern": "("}}}), "at /properties/p/pattern, the pattern is not"),
            (json!({"properties": {"p": {"type": "strin"}}}), "at /properties/p"),
            (json!({"minimum": "x"}), "at /minimum"),
        ] {
            let said = said(schema.clone());
            assert!(said.contains(words), "{schema}: {said}");
            for internal in ["resolve-http", "\"regex\"", "feature"] {
                assert!(!said.contains(internal), "{schema}: {said}");
            }
        }
    }

    #[test]
    fn schemas_that_say_something_pass() {
        let mut nested = json!({"type": "string"});
        for _ in 0..30 {
            nested = json!({"properties": {"p": nested}});
        }
        for schema in [
            json!({"properties": {"child": {"$ref": "#"}}}),
            json!({"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"}),
            json!({"$defs": {"a": {"$anchor": "x", "type": "string"}}, "items": {"$ref": "#x"}}),
            // A property may be called like a keyword, and an example look like a schema.
            json!({"properties": {"$ref": {"type": "string"}}, "const": {"$ref": "nowhere"}}),
            json!({"pattern": "^(?=.*a)b+$"}),
            nested,
        ] {
            assert_eq!(said(schema.clone()), "", "{schema}");
        }
    }

    #[test]
    fn a_tools_schema_may_be_loose_but_not_refer_to_nothing() {
        let tool = |input_schema| ChatRequest {
            tools: vec![Tool { name: "t".into(), description: None, input_schema, strict: false }],
            ..ChatRequest::default()
        };
        // As some tools' authors write it.
        let loose = json!({"type": "object", "properties": {"x": {"type": "string", "required": true}}});
        assert!(check(&tool(loose)).is_ok());
        let error = check(&tool(json!({"type": "object", "items": {"$ref": "https://a/b"}}))).unwrap_err();
        let start = "The JSON schema of the tool t is not valid: at /items/$ref, \"https://a/b\" is outside";
        assert!(error.message.starts_with(start), "{}", error.message);
        let mut request = tool(json!({"type": "object"}));
        request.response_schema = Some(ResponseSchema { name: None, schema: json!({"$ref": "#"}) });
        let error = check(&request).unwrap_err();
        assert!(
            error.message.starts_with("The JSON schema of the answer is not valid: at /$ref, "),
            "{error}"
        );
    }

    fn any_schema() -> impl Strategy<Value = Value> {
        let reference = "#|#/[$]defs/a|#/allOf/0|#a|x|#/%24defs/a";
        let leaf = prop_oneof![
            reference.prop_map(|to| json!({"$ref": to})),
            Just(json!({"type": "string"})),
            Just(json!(1)),
            Just(json!(true)),
        ];
        leaf.prop_recursive(5, 30, 3, |inner| {
            let key = prop_oneof![Just("allOf"), Just("properties"), Just("$defs"), Just("items"), Just("a")];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 1..3).prop_map(Value::Array),
                proptest::collection::vec((key, inner), 1..3).prop_map(|members| {
                    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_schema_hangs_or_panics(schema in any_schema()) {
            let _ = problem(&schema);
        }
    }
}
