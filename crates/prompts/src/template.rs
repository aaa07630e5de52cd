//! The template language of prompts: `{{name}}` stands for a variable's value and nothing else means anything.
//!
//! A name is letters, digits, `_` and `-`, with spaces around it or not. Braces around anything else are text, so that
//! a prompt may quote JSON or other templates. Values are put in as they are and never read as templates themselves.

use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a variable, in characters (the model's limit for `PromptInputVariableName`).
const MAX_NAME_LENGTH: usize = 100;

/// Most bytes that a template may become with its values in place.
const MAX_RENDERED_BYTES: usize = 8 << 20;

/// Why a template can't be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{}", missing(.0))]
    Missing(Vec<String>),
    #[error("The prompt with its variables' values is longer than {MAX_RENDERED_BYTES} bytes.")]
    TooLong,
}

fn missing(names: &[String]) -> String {
    let (noun, verb) = if names.len() == 1 { ("variable", "has") } else { ("variables", "have") };
    format!("The prompt {noun} {} {verb} no value. Give one in promptVariables.", names.join(", "))
}

/// A piece of a template.
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

/// The pieces of `template`, in order.
fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    let mut pending = None;
    std::iter::from_fn(move || {
        if let Some(variable) = pending.take() {
            return Some(Piece::Variable(variable));
        }
        if rest.is_empty() {
            return None;
        }
        let mut from = 0;
        while let Some(open) = rest[from..].find("{{").map(|at| from + at) {
            let Some((name, end)) = variable_at(rest, open) else {
                from = open + 1;
                continue;
            };
            let text = &rest[..open];
            rest = &rest[end..];
            if text.is_empty() {
                return Some(Piece::Variable(name));
            }
            pending = Some(name);
            return Some(Piece::Text(text));
        }
        Some(Piece::Text(std::mem::take(&mut rest)))
    })
}

/// The variable whose braces open at `open`, and where they end.
fn variable_at(text: &str, open: usize) -> Option<(&str, usize)> {
    let inside = &text[open + 2..];
    // Looking no further than a name can be keeps a text of nothing but braces linear.
    let mut reach = inside.len().min(MAX_NAME_LENGTH + 64);
    while !inside.is_char_boundary(reach) {
        reach -= 1;
    }
    let close = inside[..reach].find("}}")?;
    let name = inside[..close].trim_matches(' ');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let valid = !name.is_empty() && name.len() <= MAX_NAME_LENGTH && name.bytes().all(plain);
    valid.then_some((name, open + 2 + close + 2))
}

/// Names of the variables in `template`.
pub fn variables(template: &str) -> BTreeSet<&str> {
    pieces(template)
        .filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name),
            Piece::Text(_) => None,
        })
        .collect()
}

/// `template` with `values` in place of its variables.
pub fn render(template: &str, values: &BTreeMap<String, String>) -> Result<String, TemplateError> {
    let missing: Vec<String> = variables(template)
        .into_iter()
        .filter(|name| !values.contains_key(*name))
        .map(str::to_owned)
        .collect();
    if !missing.is_empty() {
        return Err(TemplateError::Missing(missing));
    }
    let mut rendered = String::with_capacity(template.len());
    for piece in pieces(template) {
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Variable(name) => values.get(name).map_or("", String::as_str),
        };
        if rendered.len() + text.len() > MAX_RENDERED_BYTES {
            return Err(TemplateError::TooLong);
        }
        rendered.push_str(text);
    }
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn variables_are_replaced_and_other_braces_are_text() {
        let template = r#"Dear {{name}}, {{ order-id }}: {"a": {"b": 1}} {{not a name}} {{{name}}}"#;
        let values = values(&[("name", "Ada"), ("order-id", "7")]);
        assert_eq!(
            render(template, &values).unwrap(),
            r#"Dear Ada, 7: {"a": {"b": 1}} {{not a name}} {Ada}"#
        );
    }

    #[test]
    fn values_are_never_templates() {
        let values = values(&[("a", "{{b}}"), ("b", "secret")]);
        assert_eq!(render("{{a}}", &values).unwrap(), "{{b}}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = render("{{b}} {{a}} {{c}} {{a}}", &values(&[("c", "")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The prompt variables a, b have no value. Give one in promptVariables."
        );
    }

    #[test]
    fn growth_is_bounded() {
        let template = "{{a}}".repeat(1000);
        let error = render(&template, &values(&[("a", &"x".repeat(100_000))])).unwrap_err();
        assert_eq!(error, TemplateError::TooLong);
    }

    proptest! {
        #[test]
        fn any_template_renders_once_its_variables_have_values(template in r"[{}a-c é-]{0,60}") {
            let values = variables(&template).into_iter().map(|name| (name.to_owned(), "v".to_owned())).collect();
            prop_assert!(render(&template, &values).is_ok());
        }

        #[test]
        fn text_without_braces_is_itself(text in r"[^{}]{0,60}") {
            prop_assert_eq!(render(&text, &BTreeMap::new()).unwrap(), text);
        }
    }
}
