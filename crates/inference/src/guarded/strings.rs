//! The strings within a JSON value as one text: what tools are called with is judged as what it says.

use std::ops::Range;

use serde_json::Value;

/// Deepest value that is looked into; requests are bounded before.
const DEEPEST: usize = 128;

/// The strings of a value, and the names of its fields, a line each.
pub(super) fn joined(value: &Value) -> String {
    let mut text = String::new();
    walk(value, DEEPEST, &mut |string| {
        text.push_str(string);
        text.push('\n');
    });
    text
}

fn walk(value: &Value, depth: usize, each: &mut impl FnMut(&str)) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(string) => each(string),
        // Digits may be somebody's number.
        Value::Number(number) => each(&number.to_string()),
        Value::Array(values) => values.iter().for_each(|it| walk(it, depth, each)),
        Value::Object(fields) => {
            for (name, it) in fields {
                each(name);
                walk(it, depth, each);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Puts placeholders into the strings, at ranges of [`joined`]'s text. Names of fields stay: what finds something there and
/// must not let it pass blocks.
pub(super) fn replace(value: &mut Value, masks: &[(Range<usize>, String)]) {
    let mut at = 0;
    replace_in(value, DEEPEST, &mut at, masks);
}

fn replace_in(value: &mut Value, depth: usize, at: &mut usize, masks: &[(Range<usize>, String)]) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::String(string) => {
            let length = string.len();
            masked(string, *at, masks);
            *at += length + 1;
        }
        Value::Number(number) => {
            let before = number.to_string();
            let mut text = before.clone();
            masked(&mut text, *at, masks);
            *at += before.len() + 1;
            if text != before {
                *value = Value::String(text);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|it| replace_in(it, depth, at, masks)),
        Value::Object(fields) => {
            for (name, it) in fields {
                *at += name.len() + 1;
                replace_in(it, depth, at, masks);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The parts of `masks` that lie in a string that begins at `at`, replaced. What reaches over its end goes as far as that.
fn masked(string: &mut String, at: usize, masks: &[(Range<usize>, String)]) {
    let end = at + string.len();
    for (range, placeholder) in masks.iter().rev().filter(|(range, _)| range.start < end && at < range.end) {
        let here = range.start.max(at) - at..range.end.min(end) - at;
        if string.get(here.clone()).is_some() {
            string.replace_range(here, placeholder);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_go_where_the_strings_are() {
        let mut value = json!({"to": "ann@example.com", "card": 4111, "lines": ["x", "ann@example.com too"]});
        let text = joined(&value);
        let mail = "ann@example.com";
        let masks: Vec<_> =
            text.match_indices(mail).map(|(at, it)| (at..at + it.len(), "{EMAIL}".to_owned())).collect();
        let card = text.find("4111").unwrap();
        let mut masks = [masks, vec![(card..card + 4, "{CARD}".to_owned())]].concat();
        masks.sort_by_key(|(range, _)| range.start);
        replace(&mut value, &masks);
        assert_eq!(value, json!({"to": "{EMAIL}", "card": "{CARD}", "lines": ["x", "{EMAIL} too"]}));
    }
}
