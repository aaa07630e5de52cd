//! YAML to JSON values, bounded: what aliases unfold to counts, so that a small text can't become a large document.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

use super::{MAX_DEPTH, MAX_VALUES, SchemaError};

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Value, SchemaError> {
    let mut reader =
        Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), left: MAX_VALUES * 2 };
    loop {
        match reader.next()? {
            (Event::StreamEnd, span) => return Err(at(&span, "there is no document")),
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (event, span) => return reader.value(event, &span, 0),
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// What an alias stands for, and how many values that is.
    anchors: HashMap<usize, (Value, usize)>,
    /// Values that may still come.
    left: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SchemaError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(SchemaError::new("", format!("not YAML: {error}"))),
            None => Err(SchemaError::new("", "the YAML ends too early")),
        }
    }

    fn value(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Value, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(at(span, &format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let before = self.left;
        self.spend(1, span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                (if quoted { Value::String(text.into_owned()) } else { plain(&text) }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some((value, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(at(span, "an alias stands for nothing that came before it"));
                };
                self.spend(size, span)?;
                return Ok(value);
            }
            _ => return Err(at(span, "the YAML ends too early")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), before - self.left));
        }
        Ok(value)
    }

    fn spend(&mut self, values: usize, span: &Span) -> Result<(), SchemaError> {
        let left = self.left.checked_sub(values);
        self.left = left.ok_or_else(|| at(span, "the document has too many values"))?;
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, SchemaError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                (event, span) => items.push(self.value(event, &span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, SchemaError> {
        let mut members = Map::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(at(&span, "a key must be a text")),
            };
            let (event, value_span) = self.next()?;
            let value = self.value(event, &value_span, depth + 1)?;
            if members.insert(key.clone(), value).is_some() {
                return Err(at(&span, &format!("the key {key} is given more than once")));
            }
        }
    }
}

/// A scalar without quotes, by YAML 1.2's core schema.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let number = text.strip_prefix('+').unwrap_or(text);
    if !number.starts_with(|first: char| first.is_ascii_digit() || first == '-' || first == '.') {
        return Value::String(text.to_owned());
    }
    if let Ok(whole) = number.parse::<i64>() {
        return Value::Number(whole.into());
    }
    match number.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_owned()),
    }
}

fn at(span: &Span, message: &str) -> SchemaError {
    let start = &span.start;
    SchemaError::new(
        "",
        format!("not usable YAML: {message} (line {}, column {})", start.line(), start.col() + 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_what_json_reads() {
        let text = "openapi: '3.0.0'\nversion: 1.5\npaths:\n  /a:\n    get: &op\n      responses:\n        200: {description: \"ok: yes\"}\n      list: [1, two, -3, true, null]\n  /b:\n    get: *op\n";
        let get =
            json!({"responses": {"200": {"description": "ok: yes"}}, "list": [1, "two", -3, true, null]});
        let read = read(text).unwrap();
        assert_eq!(
            read,
            json!({"openapi": "3.0.0", "version": 1.5, "paths": {"/a": {"get": get}, "/b": {"get": get}}})
        );
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        assert!(read(&text).unwrap_err().message.contains("too many values"));
    }

    #[test]
    fn faults_are_told_with_their_line() {
        for (text, part) in [
            ("a: 1\na: 2\n", "given more than once (line 2, column 1)"),
            ("a: [1, 2\n", "not YAML"),
            ("", "there is no document"),
            ("a: *nothing\n", "not YAML"),
        ] {
            let message = read(text).unwrap_err().message;
            assert!(message.contains(part), "{text:?}: {message}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(read(&deep).unwrap_err().message.contains("nested deeper"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ \\n:\\-\\[\\]{}&*a-z0-9\"'|>?#!%,]{0,200}") {
            let _ = read(&text);
        }
    }
}
