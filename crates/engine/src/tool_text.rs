//! The text form of tools, calls and results that a local model reads and writes.
//!
//! A call is `<tool_call>` JSON `</tool_call>`, the form that Hermes and Qwen models were trained on and that many
//! chat templates render by themselves. The grammar in [`crate::guide`] fixes the layout to the byte, so that the
//! input of a call can be streamed while it is written.

use craton_backend::{Tool, ToolResult, ToolUse};
use serde_json::{Value, json};

pub(crate) const CALL_OPEN: &str = "<tool_call>";
pub(crate) const CALL_CLOSE: &str = "</tool_call>";

/// A JSON string literal.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// What stands between the open marker and the input of a call to `name`.
pub(crate) fn call_head(name: &str) -> String {
    format!("{{\"name\": {}, \"arguments\": ", quoted(name))
}

/// A call as the model writes it.
pub(crate) fn call(tool_use: &ToolUse) -> String {
    format!("{CALL_OPEN}\n{}{}}}\n{CALL_CLOSE}", call_head(&tool_use.name), spaced(&tool_use.input))
}

/// A result as the model reads it.
pub(crate) fn result(result: &ToolResult, content: &str) -> String {
    let status = if result.is_error { "error: " } else { "" };
    format!("<tool_response>\n{status}{content}\n</tool_response>")
}

/// A tool in the shape that chat templates expect.
pub(crate) fn declaration(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description.clone().unwrap_or_default(),
            "parameters": tool.input_schema,
        }
    })
}

/// Instructions for models whose template knows no tools.
pub(crate) fn instructions(tools: &[Tool], must_call: bool) -> String {
    let mut text = String::from(
        "You can call functions. These are their signatures as JSON schemas, one a line:\n<tools>\n",
    );
    for tool in tools {
        text.push_str(&spaced(&declaration(tool)));
        text.push('\n');
    }
    text.push_str(
        "</tools>\nTo call a function, answer with its name and arguments as JSON, in this form:\n",
    );
    text.push_str(
        "<tool_call>\n{\"name\": \"function name\", \"arguments\": {\"argument\": \"value\"}}\n</tool_call>\n",
    );
    text.push_str(if must_call {
        "Answer with function calls only."
    } else {
        "When no function helps, answer in plain text."
    });
    text
}

/// JSON with a space after each `,` and `:`, the spacing models have read most.
pub(crate) fn spaced(value: &Value) -> String {
    let mut out = String::new();
    write_spaced(value, &mut out);
    out
}

fn write_spaced(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_spaced(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, item)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&quoted(key));
                out.push_str(": ");
                write_spaced(item, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}
