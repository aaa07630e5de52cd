//! Rendering a model's own chat template.
//!
//! Templates come inside model files and are untrusted: they run in a sandboxed interpreter with limits on steps, on
//! what they print, and on what they capture while they print. What they only compute is bounded by the steps alone.
//! They are written for Python's Jinja, so its string methods and the helpers that `transformers` defines are here.

use std::cell::Cell;
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, context};
use serde_json::Value as Json;

use crate::dialect::Dialect;
use crate::tool_text;

/// Interpreter steps of one rendering; a conversation of 10,000 turns takes about a tenth of this.
const FUEL: u64 = 10_000_000;
/// What one rendering may print, captured blocks and macros included; the longest context has a fraction of this.
const MAX_OUTPUT_BYTES: usize = 64 << 20;
const MAX_TEMPLATE_BYTES: usize = 256 << 10;
const NAME: &str = "chat";

/// A compiled template and what it is known to handle.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
    native_tools: bool,
    dialect: Dialect,
    mentions_reasoning: bool,
}

/// What a template is rendered with.
pub(crate) struct TemplateInput<'a> {
    pub(crate) messages: &'a [Json],
    pub(crate) tools: &'a [Json],
    pub(crate) enable_reasoning: bool,
}

/// Used when the model file has no template: the layout that base models have seen most.
const PLAIN: &str = "{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}\n\n\
    {% else %}{{ '### User' if message.role == 'user' else '### Assistant' }}:\n{{ message.content }}\n\n{% endif %}\
    {% endfor %}{% if add_generation_prompt %}### Assistant:\n{% endif %}";

impl ChatTemplate {
    /// Compiles `source`. The error is for the person who imported the model.
    pub(crate) fn new(source: Option<&str>, bos: String, eos: String) -> Result<Self, String> {
        let source = source.unwrap_or(PLAIN);
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(format!(
                "the chat template has {} bytes, at most {MAX_TEMPLATE_BYTES} are read",
                source.len()
            ));
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(|error| format!("the template syntax can't be set: {error}"))?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_formatter(print_bounded);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        // Marks of what a trainer learns from; they print nothing.
        let text = source.replace("{% generation %}", "").replace("{% endgeneration %}", "");
        environment
            .add_template_owned(NAME, text)
            .map_err(|error| format!("the chat template can't be compiled: {error}"))?;
        let dialect = Dialect::of(source);
        Ok(Self {
            environment,
            dialect,
            bos,
            eos,
            native_tools: source.contains("tools")
                && (dialect != Dialect::Hermes || source.contains(tool_text::CALL_OPEN)),
            mentions_reasoning: source.contains("</think>"),
        })
    }

    /// How the model writes calls and reasoning.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Whether the template declares tools itself and in a form that the engine reads calls in.
    pub(crate) fn native_tools(&self) -> bool {
        self.native_tools
    }

    /// Whether the model writes `<think>` … `</think>`.
    pub(crate) fn mentions_reasoning(&self) -> bool {
        self.mentions_reasoning
    }

    /// The prompt's text, ending where the answer begins.
    pub(crate) fn render(&self, input: &TemplateInput<'_>) -> Result<String, String> {
        let template = self.environment.get_template(NAME).map_err(|error| error.to_string())?;
        let tools = if input.tools.is_empty() { Value::from(()) } else { Value::from(Serde(input.tools)) };
        let values = context! {
            messages => Value::from(Serde(input.messages)),
            tools => tools,
            add_generation_prompt => true,
            enable_thinking => input.enable_reasoning,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        PRINTED_BYTES.set(0);
        let mut out = Bounded(Vec::new());
        template.render_captured_to(values, &mut out).map_err(|error| error.to_string())?;
        String::from_utf8(out.0).map_err(|error| error.to_string())
    }
}

thread_local! {
    /// What the rendering on this thread has printed so far, wherever it went.
    static PRINTED_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Prints a value as it is, as long as the rendering keeps to its limit.
fn print_bounded(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let bytes = value.as_str().map_or_else(|| value.to_string().len(), str::len);
    let printed = PRINTED_BYTES.get().saturating_add(bytes);
    if printed > MAX_OUTPUT_BYTES {
        return Err(too_long());
    }
    PRINTED_BYTES.set(printed);
    minijinja::escape_formatter(out, state, value)
}

fn too_long() -> Error {
    let message = format!("the chat template prints more than {MAX_OUTPUT_BYTES} bytes");
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Takes a rendering up to its limit.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other(too_long()));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// Python's `json.dumps` spacing, unlike minijinja's own filter, which writes none and escapes HTML.
fn to_json(value: Value, kwargs: Kwargs) -> Result<Value, Error> {
    let value = serde_json::to_value(value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let indent: Option<usize> = kwargs.get("indent")?;
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = kwargs.get(ignored)?;
    }
    kwargs.assert_all_used()?;
    let text = match indent {
        Some(width) => indented(&value, width.min(16))?,
        None => tool_text::spaced(&value),
    };
    Ok(Value::from_safe_string(text))
}

fn indented(value: &Json, width: usize) -> Result<String, Error> {
    use serde::Serialize;
    let spaces = " ".repeat(width);
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
    let failed = |error: String| Error::new(ErrorKind::BadSerialization, error);
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        .map_err(|error| failed(error.to_string()))?;
    String::from_utf8(out).map_err(|error| failed(error.to_string()))
}

/// The directives that chat templates use, in UTC and English.
fn strftime_now(format: String) -> String {
    let now = time::OffsetDateTime::now_utc();
    let month = now.month().to_string();
    let weekday = now.weekday().to_string();
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('Y') => out.push_str(&now.year().to_string()),
            Some('y') => out.push_str(&format!("{:02}", now.year() % 100)),
            Some('m') => out.push_str(&format!("{:02}", u8::from(now.month()))),
            Some('d') => out.push_str(&format!("{:02}", now.day())),
            Some('e') => out.push_str(&format!("{:2}", now.day())),
            Some('B') => out.push_str(&month),
            Some('b') => out.push_str(month.get(..3).unwrap_or_default()),
            Some('A') => out.push_str(&weekday),
            Some('a') => out.push_str(weekday.get(..3).unwrap_or_default()),
            Some('H') => out.push_str(&format!("{:02}", now.hour())),
            Some('M') => out.push_str(&format!("{:02}", now.minute())),
            Some('S') => out.push_str(&format!("{:02}", now.second())),
            Some('j') => out.push_str(&format!("{:03}", now.ordinal())),
            Some('%') => out.push('%'),
            Some(other) => {
                out.push('%');
                out.push(other);
            }
            None => out.push('%'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(source: &str, messages: &[Json], tools: &[Json]) -> Result<String, String> {
        ChatTemplate::new(Some(source), "<s>".to_owned(), "</s>".to_owned())?.render(&TemplateInput {
            messages,
            tools,
            enable_reasoning: false,
        })
    }

    #[test]
    fn python_idioms_render() {
        let source = "{{ bos_token }}{%- for m in messages[1:] %}\n  {{- m['content'].strip().split('|')[-1] }}\
            {%- if not loop.last %}{% continue %}{% endif %}{%- endfor %}{{ tools | tojson(indent=2) }}";
        let messages = [json!({"content": "no"}), json!({"content": " a|b "}), json!({"content": "c"})];
        assert_eq!(
            render(source, &messages, &[json!({"a": 1})]).unwrap(),
            "<s>bc[\n  {\n    \"a\": 1\n  }\n]"
        );
        assert_eq!(
            render("{{ messages[0] | tojson }}", &[json!({"a": "<&>", "b": [1, 2]})], &[]).unwrap(),
            r#"{"a": "<&>", "b": [1, 2]}"#
        );
        assert!(
            render("{{ strftime_now('%d %b %Y') }}", &[], &[])
                .unwrap()
                .ends_with(&time::OffsetDateTime::now_utc().year().to_string())
        );
    }

    #[test]
    fn a_template_can_refuse_and_cannot_run_for_ever() {
        assert!(
            render("{{ raise_exception('roles must alternate') }}", &[], &[])
                .unwrap_err()
                .contains("alternate")
        );
        let endless =
            "{% for a in range(10000) %}{% for b in range(10000) %}{% set c = a %}{% endfor %}{% endfor %}";
        assert!(render(endless, &[], &[]).unwrap_err().contains("fuel"));
        assert!(render("{% if %}", &[], &[]).unwrap_err().contains("compiled"));
    }

    #[test]
    fn a_template_cannot_print_without_end() {
        let big = "x".repeat(100_000);
        let text = format!("{{% for a in range(9999) %}}{big}{{% endfor %}}");
        assert!(render(&text, &[], &[]).is_err());
        let captured = "{% macro more(n) %}{{ 'x' * 50000000 }}{% if n %}{{ more(n - 1) }}{% endif %}{% endmacro %}\
            {% set kept %}{{ more(20) }}{% endset %}{{ kept | length }}";
        assert!(render(captured, &[], &[]).unwrap_err().contains("prints more"));
    }

    #[test]
    fn without_a_template_turns_are_still_told_apart() {
        let template = ChatTemplate::new(None, String::new(), String::new()).unwrap();
        let messages =
            [json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "Hi"})];
        let text =
            template.render(&TemplateInput { messages: &messages, tools: &[], enable_reasoning: false });
        assert_eq!(text.unwrap(), "Be brief.\n\n### User:\nHi\n\n### Assistant:\n");
    }
}
