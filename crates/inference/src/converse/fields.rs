//! The fields that Converse doesn't model: those of the provider in the request, those asked back in the response.

use craton_backend::{ChatRequest, Finished, ToolChoice};
use craton_wire::ApiError;
use serde_json::{Map, Value};

/// Reads `additionalModelRequestFields`: what the internal request has a place for goes there, whichever provider's
/// name it comes under; the rest is handed to the backend as it is.
pub(super) fn read_additional_fields(fields: Value, request: &mut ChatRequest) -> Result<(), ApiError> {
    let Value::Object(fields) = fields else {
        return match fields {
            Value::Null => Ok(()),
            _ => Err(ApiError::validation("The additionalModelRequestFields field must be a JSON object.")),
        };
    };
    for (name, value) in fields {
        read_field(name, value, request)?;
    }
    Ok(())
}

/// The request's own fields, which can't be set through these.
const OWN: [&str; 8] =
    ["messages", "system", "tools", "toolConfig", "model", "stream", "stream_options", "n"];

/// The fields without the request's own, which [`read_additional_fields`] refuses in its way.
pub(super) fn without_own(fields: &Value) -> Option<Value> {
    let mut fields = fields.as_object()?.clone();
    fields.retain(|name, _| !OWN.contains(&name.as_str()));
    Some(Value::Object(fields))
}

fn read_field(name: String, value: Value, request: &mut ChatRequest) -> Result<(), ApiError> {
    let sampling = &mut request.sampling;
    match name.as_str() {
        own if OWN.contains(&own) => return Err(conflict(&name)),
        "max_tokens" | "maxTokens" | "max_new_tokens" | "max_gen_len" | "max_tokens_to_sample" => {
            set(&mut sampling.max_tokens, &name, positive(&name, &value)?)?;
        }
        "temperature" => set(&mut sampling.temperature, &name, number(&name, &value)?)?,
        "top_p" | "topP" | "p" => set(&mut sampling.top_p, &name, number(&name, &value)?)?,
        "top_k" | "topK" | "k" => set(&mut sampling.top_k, &name, count(&name, &value)?)?,
        "seed" | "random_seed" => {
            set(&mut sampling.seed, &name, value.as_u64().ok_or_else(|| wrong(&name, "a positive integer"))?)?
        }
        "presence_penalty" => set(&mut sampling.presence_penalty, &name, number(&name, &value)?)?,
        "frequency_penalty" => set(&mut sampling.frequency_penalty, &name, number(&name, &value)?)?,
        "stop_sequences" | "stopSequences" | "stop" => {
            if !sampling.stop_sequences.is_empty() {
                return Err(conflict(&name));
            }
            sampling.stop_sequences = strings(&name, value)?;
        }
        "parallel_tool_calls" => {
            request.one_tool_call = !value.as_bool().ok_or_else(|| wrong(&name, "true or false"))?;
        }
        "tool_choice" => return read_tool_choice(&name, &value, request),
        "thinking" | "reasoning_config" => return read_thinking(name, value, request),
        "inferenceConfig" => return read_nested(name, value, request),
        _ => {
            request.extra.insert(name, value);
        }
    }
    Ok(())
}

/// What Nova's `inferenceConfig` may hold, by its present names and its first ones.
const NOVA_SAMPLING: [&str; 8] =
    ["topK", "maxTokens", "temperature", "topP", "stopSequences", "max_new_tokens", "top_k", "top_p"];

/// Nova's `inferenceConfig`: known fields are taken out of it, the rest stays nested.
fn read_nested(name: String, value: Value, request: &mut ChatRequest) -> Result<(), ApiError> {
    let Value::Object(mut fields) = value else { return Err(wrong(&name, "an object")) };
    for key in NOVA_SAMPLING {
        if let Some(value) = fields.shift_remove(key) {
            read_field(key.to_owned(), value, request)?;
        }
    }
    if !fields.is_empty() {
        request.extra.insert(name, Value::Object(fields));
    }
    Ok(())
}

/// `{"type": "enabled", "budget_tokens": N}` and `{"type": "disabled"}`; other types (`adaptive`) go to the backend.
fn read_thinking(name: String, value: Value, request: &mut ChatRequest) -> Result<(), ApiError> {
    match value.get("type").and_then(Value::as_str) {
        Some("enabled") => {
            let budget =
                value.get("budget_tokens").map(|budget| positive("budget_tokens", budget)).transpose()?;
            let Some(budget) = budget else { return Err(wrong(&name, "an object with budget_tokens")) };
            request.reasoning_budget_tokens = Some(budget);
        }
        Some("disabled") => request.reasoning_budget_tokens = None,
        Some(_) => {
            request.extra.insert(name, value);
        }
        None => return Err(wrong(&name, "an object with a type")),
    }
    Ok(())
}

/// Anthropic's `tool_choice`, which can say what `toolConfig` can't: no tool, or one at a time.
fn read_tool_choice(name: &str, value: &Value, request: &mut ChatRequest) -> Result<(), ApiError> {
    let field = |key| value.get(key).and_then(Value::as_str);
    let choice = match (field("type"), field("name")) {
        (Some("auto"), _) => ToolChoice::Auto,
        (Some("any"), _) => ToolChoice::Any,
        (Some("none"), _) => ToolChoice::None,
        (Some("tool"), Some(tool)) if request.tools.iter().any(|known| known.name == tool) => {
            ToolChoice::Tool(tool.to_owned())
        }
        _ => return Err(wrong(name, "an object with a type, and the name of a tool where that is `tool`")),
    };
    if request.tool_choice != ToolChoice::Auto && request.tool_choice != choice {
        return Err(conflict(name));
    }
    request.tool_choice = choice;
    request.one_tool_call |= value.get("disable_parallel_tool_use") == Some(&Value::Bool(true));
    Ok(())
}

fn set<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), ApiError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(conflict(name)),
    }
}

fn conflict(name: &str) -> ApiError {
    ApiError::validation(format!(
        "The additional field {name} conflicts with an existing field. Remove {name} and try again."
    ))
}

fn wrong(name: &str, expected: &str) -> ApiError {
    ApiError::validation(format!("The value at additionalModelRequestFields.{name} must be {expected}."))
}

fn count(name: &str, value: &Value) -> Result<u32, ApiError> {
    let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| wrong(name, "a positive integer"))
}

fn positive(name: &str, value: &Value) -> Result<u32, ApiError> {
    match count(name, value)? {
        0 => Err(wrong(name, "a positive integer")),
        count => Ok(count),
    }
}

fn strings(name: &str, value: Value) -> Result<Vec<String>, ApiError> {
    let Value::Array(items) = value else { return Err(wrong(name, "a list of strings")) };
    let strings = items.into_iter().map(|item| match item {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(wrong(name, "a list of strings")),
    });
    strings.collect()
}

fn number(name: &str, value: &Value) -> Result<f32, ApiError> {
    // Sampling parameters have no use for more than f32's digits.
    #[allow(clippy::cast_possible_truncation)]
    value.as_f64().map(|number| number as f32).ok_or_else(|| wrong(name, "a number"))
}

/// `additionalModelResponseFieldPaths`, parsed: JSON Pointers into what the provider answers with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ResponsePaths(Vec<Vec<String>>);

impl ResponsePaths {
    pub(super) fn parse(paths: &[String]) -> Result<Self, ApiError> {
        let parsed = paths.iter().enumerate().map(|(index, path)| {
            parse_pointer(path).ok_or_else(|| {
                ApiError::validation(format!(
                    "The value at additionalModelResponseFieldPaths.{index} is not a valid JSON Pointer: {path}"
                ))
            })
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// The fields asked for, nested as they were; none if nothing was asked for. What the answer lacks is left out.
    pub(super) fn select(&self, finished: &Finished) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        let stop_sequence = finished.stop_sequence.clone().map_or(Value::Null, Value::String);
        let mut whole = match &finished.extra {
            Value::Object(fields) => fields.clone(),
            _ => Map::new(),
        };
        whole.entry("stop_sequence").or_insert_with(|| stop_sequence.clone());
        // Where Anthropic's stream says it, and so what clients of ConverseStream ask for.
        whole.entry("delta").or_insert_with(|| serde_json::json!({ "stop_sequence": stop_sequence }));
        let whole = Value::Object(whole);
        let mut selected = Map::new();
        for path in &self.0 {
            let found = path.iter().try_fold(&whole, |value, key| match value {
                Value::Object(fields) => fields.get(key),
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                _ => None,
            });
            if let Some(value) = found {
                insert(&mut selected, path, value.clone());
            }
        }
        Some(Value::Object(selected))
    }
}

/// Puts `value` at `path`, making objects on the way.
fn insert(fields: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            fields.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = fields.entry(first.as_str()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// The keys of a JSON Pointer (RFC 6901); none if it isn't one, or points at the whole document.
fn parse_pointer(pointer: &str) -> Option<Vec<String>> {
    pointer.strip_prefix('/')?.split('/').map(unescape).collect()
}

fn unescape(key: &str) -> Option<String> {
    let mut unescaped = String::with_capacity(key.len());
    let mut characters = key.chars();
    while let Some(character) = characters.next() {
        unescaped.push(match character {
            '~' => match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    use craton_backend::{StopReason, Usage};
    use serde_json::json;

    use super::*;

    fn read_into(fields: Value) -> Result<ChatRequest, ApiError> {
        let mut request = ChatRequest::default();
        read_additional_fields(fields, &mut request).map(|()| request)
    }

    #[test]
    fn known_fields_find_their_place_and_the_rest_is_kept() {
        let request = read_into(json!({
            "top_k": 40, "seed": 7, "presence_penalty": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024},
            "safe_prompt": true, "stop": ["END"], "inferenceConfig": {"maxTokens": 9, "other": 1}
        }))
        .unwrap();
        assert_eq!(request.sampling.top_k, Some(40));
        assert_eq!(request.sampling.seed, Some(7));
        assert_eq!(request.sampling.stop_sequences, ["END"]);
        assert_eq!(request.sampling.max_tokens, Some(9));
        assert_eq!(request.reasoning_budget_tokens, Some(1024));
        assert_eq!(
            Value::Object(request.extra),
            json!({"safe_prompt": true, "inferenceConfig": {"other": 1}})
        );
    }

    #[test]
    fn a_tool_choice_may_forbid_parallel_calls() {
        let request =
            read_into(json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}})).unwrap();
        assert_eq!((request.tool_choice, request.one_tool_call), (ToolChoice::Any, true));
        let mut forced = ChatRequest { tool_choice: ToolChoice::Any, ..ChatRequest::default() };
        let error =
            read_additional_fields(json!({"tool_choice": {"type": "none"}}), &mut forced).unwrap_err();
        assert!(error.message.contains("conflicts"), "{}", error.message);
        assert!(read_into(json!({"tool_choice": {"type": "tool", "name": "unknown"}})).is_err());
    }

    #[test]
    fn conflicts_and_wrong_types_are_named() {
        let mut request = ChatRequest::default();
        request.sampling.temperature = Some(0.5);
        let error = read_additional_fields(json!({"temperature": 1}), &mut request).unwrap_err();
        assert_eq!(
            error.message,
            "The additional field temperature conflicts with an existing field. Remove temperature and try again."
        );
        for (fields, name) in [
            (json!({"top_k": "many"}), "top_k"),
            (json!({"thinking": {"type": "enabled"}}), "thinking"),
            (json!({"thinking": {"type": "enabled", "budget_tokens": 0}}), "budget_tokens"),
            (json!({"messages": []}), "messages"),
            (json!({"stop": ["a", ""]}), "stop"),
            (json!([1]), "must be a JSON object"),
        ] {
            let error = read_into(fields).unwrap_err();
            assert!(error.message.contains(name), "{}", error.message);
        }
        assert!(read_into(Value::Null).is_ok());
    }

    #[test]
    fn response_fields_are_selected_by_pointer() {
        let finished = Finished {
            reason: StopReason::StopSequence,
            stop_sequence: Some("END".into()),
            usage: Usage::default(),
            extra: json!({"a": {"b/c": [1, {"d": 2}]}, "e": 3}),
        };
        let select = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            ResponsePaths::parse(&paths).unwrap().select(&finished)
        };
        assert_eq!(select(&[]), None);
        assert_eq!(select(&["/stop_sequence"]), Some(json!({"stop_sequence": "END"})));
        assert_eq!(select(&["/delta/stop_sequence"]), Some(json!({"delta": {"stop_sequence": "END"}})));
        assert_eq!(
            select(&["/a/b~1c/1/d", "/e", "/none"]),
            Some(json!({"a": {"b/c": {"1": {"d": 2}}}, "e": 3}))
        );
        for bad in ["stop_sequence", "", "/a~2"] {
            assert!(ResponsePaths::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
