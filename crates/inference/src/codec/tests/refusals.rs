//! What each family says of a wrong body.

use craton_models::Family;
use serde_json::{Value, json};

use super::super::{anthropic, chat_codec, openai_chat};
use crate::codec::ChatCodec as _;

fn refused(family: Family, body: &Value) -> String {
    let error = chat_codec(family).unwrap().decode(body.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.code, "ValidationException");
    assert!(error.fields.is_empty(), "AWS's error bodies have no such members: {:?}", error.fields);
    error.message
}

fn claude(more: Value) -> Value {
    let mut body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in more.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    body
}

fn said(content: Value) -> Value {
    claude(json!({"messages": [{"role": "user", "content": content}]}))
}

#[test]
fn anthropic_versions_of_either_kind_are_taken() {
    for version in ["bedrock-2023-05-31", "2023-06-01", "2026-10-21"] {
        let body = json!({"anthropic_version": version, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
        let decoded = chat_codec(Family::AnthropicMessages).unwrap().decode(body.to_string().as_bytes());
        assert!(decoded.is_ok(), "{version}");
    }
}

#[test]
fn legacy_claude_reads_human_turns_only() {
    let body = |prompt: &str| json!({"prompt": prompt, "max_tokens_to_sample": 9});
    let human = "prompt must start with \"\n\nHuman:\" turn after an optional system prompt";
    let assistant = "prompt must end with \"\n\nAssistant:\" turn";
    for (prompt, message) in [
        ("hello", human),
        ("Human: hi\n\nAssistant:", human),
        ("<s>[INST] hi [/INST]", human),
        ("\n\nHuman: hi", assistant),
        ("\n\nAssistant: yes?\n\nHuman: hi", assistant),
    ] {
        assert_eq!(refused(Family::AnthropicText, &body(prompt)), message, "{prompt}");
    }
    let legacy = chat_codec(Family::AnthropicText).unwrap();
    for prompt in ["\n\nHuman: hi\n\nAssistant:", "Be brief.\n\nHuman: hi\n\nAssistant: Well,"] {
        assert!(legacy.decode(body(prompt).to_string().as_bytes()).is_ok(), "{prompt}");
    }
}

#[test]
fn anthropic_envelope() {
    let tool = json!({"name": "t", "input_schema": {"type": "object"}});
    for (more, message) in [
        (json!({"max_tokens": null}), "max_tokens: Field required"),
        (json!({"anthropic_version": null}), "anthropic_version: Field required"),
        (json!({"anthropic_version": "2023"}), "anthropic_version: Input should be 'bedrock-2023-05-31'"),
        (json!({"messages": null}), "messages: Field required"),
        (json!({"messages": []}), "messages: at least one message is required"),
        (json!({"messages": "hi"}), "messages: Input should be a valid list"),
        (
            json!({"messages": [{"role": "assistant", "content": "hi"}]}),
            "messages: first message must use the \"user\" role",
        ),
        (
            json!({"messages": [{"role": "system", "content": "hi"}]}),
            "messages.0.role: Input should be 'user' or 'assistant'",
        ),
        (json!({"max_tokens": 0}), "max_tokens: Input should be greater than or equal to 1"),
        (
            json!({"max_tokens": 2000, "temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking#important-considerations-when-using-extended-thinking",
        ),
        (
            json!({"system": vec![json!({"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}); 5]}),
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
        ),
        (json!({"max_tokens": "9"}), "max_tokens: Input should be a valid integer"),
        (json!({"temperature": 1.5}), "temperature: Input should be less than or equal to 1"),
        (json!({"top_k": -1}), "top_k: Input should be greater than or equal to 0"),
        (json!({"model": "claude"}), "model: Extra inputs are not permitted"),
        (json!({"stream": true}), "stream: Extra inputs are not permitted"),
        (
            json!({"stop_sequences": [" "]}),
            "stop_sequences.0: each stop sequence must contain non-whitespace",
        ),
        (json!({"system": [{"type": "text", "text": ""}]}), "system: text content blocks must be non-empty"),
        (json!({"system": [{"type": "text"}]}), "system.0.text: Field required"),
        (json!({"service_tier": "odd"}), "service_tier: Input should be 'auto' or 'standard_only'"),
        (json!({"thinking": {"type": "enabled"}}), "thinking.enabled.budget_tokens: Field required"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 9}}),
            "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        ),
        (
            json!({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}),
            "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        ),
        (json!({"tools": [{"name": "t"}]}), "tools.0.custom.input_schema: Field required"),
        (
            json!({"tools": [{"name": "t", "input_schema": {}}]}),
            "tools.0.custom.input_schema.type: Field required",
        ),
        (json!({"tools": [tool, tool]}), "tools: Tool names must be unique."),
        (
            json!({"tools": [tool], "tool_choice": {"type": "tool", "name": "u"}}),
            "tool_choice: Tool 'u' not found in provided tools",
        ),
        (json!({"tools": [tool], "tool_choice": {"type": "tool"}}), "tool_choice.tool.name: Field required"),
        (
            json!({"tool_choice": {"type": "any"}}),
            "tool_choice: tool_choice may only be specified while providing tools",
        ),
    ] {
        assert_eq!(refused(Family::AnthropicMessages, &claude(more.clone())), message, "{more}");
    }
    let budget = claude(json!({"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 2000}}));
    assert!(
        refused(Family::AnthropicMessages, &budget)
            .starts_with("`max_tokens` must be greater than `thinking.budget_tokens`.")
    );
}

#[test]
fn anthropic_content() {
    for (content, message) in [
        (json!([{"text": "x"}]), "messages.0.content.0.type: Field required"),
        (json!([{"type": "text"}]), "messages.0.content.0.text.text: Field required"),
        (json!([{"type": "text", "text": ""}]), "messages: text content blocks must be non-empty"),
        (
            json!([{"type": "text", "text": "x"}, {"type": "text", "text": " \n"}]),
            "messages: text content blocks must contain non-whitespace text",
        ),
        (json!(" "), "messages: text content blocks must contain non-whitespace text"),
        (
            json!([{"type": "text", "text": "x", "y": 1}]),
            "messages.0.content.0.text.y: Extra inputs are not permitted",
        ),
        (
            json!([]),
            "messages.0: all messages must have non-empty content except for the optional final assistant message",
        ),
        (json!(3), "messages.0.content: Input should be a valid list"),
        (
            json!([{"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": ""}}]),
            "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'",
        ),
        (
            json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "*"}}]),
            "messages.0.content.0.image.source.base64.data: Invalid base64 data",
        ),
        (json!([{"type": "tool_result"}]), "messages.0.content.0.tool_result.tool_use_id: Field required"),
        (
            json!([{"type": "text", "text": "x", "cache_control": {"type": "forever"}}]),
            "messages.0.content.0.text.cache_control.type: Input should be 'ephemeral'",
        ),
    ] {
        assert_eq!(refused(Family::AnthropicMessages, &said(content.clone())), message, "{content}");
    }
    let unknown = refused(Family::AnthropicMessages, &said(json!([{"type": "poem"}])));
    assert!(unknown.starts_with(
        "messages.0.content.0: Input tag 'poem' found using 'type' does not match any of the expected tags: "
    ));
}

#[test]
fn schema_checked_families_name_the_pointer() {
    let cases = [
        (Family::TitanText, json!({}), "#: required key [inputText] not found"),
        (
            Family::TitanText,
            json!({"inputText": "x", "max_tokens": 1}),
            "#: extraneous key [max_tokens] is not permitted",
        ),
        (
            Family::TitanText,
            json!({"inputText": "x", "textGenerationConfig": {"maxTokenCount": 9000}}),
            "#/textGenerationConfig/maxTokenCount: 9000 is not less or equal to 8192",
        ),
        (
            Family::TitanText,
            json!({"inputText": "x", "textGenerationConfig": {"temperature": null}}),
            "#/textGenerationConfig/temperature: expected type: Number, found: Null",
        ),
        (
            Family::Llama,
            json!({"messages": [], "max_tokens": 1}),
            "#: required key [prompt] not found#: extraneous key [messages] is not permitted#: extraneous key [max_tokens] is not permitted",
        ),
        (Family::Llama, json!({"prompt": 3}), "#/prompt: expected type: String, found: Integer"),
        (
            Family::Llama,
            json!({"prompt": "x", "max_gen_len": 0}),
            "#/max_gen_len: 0 is not greater or equal to 1",
        ),
        (
            Family::Llama,
            json!({"prompt": "x", "temperature": 2.5}),
            "#/temperature: 2.5 is not less or equal to 1",
        ),
    ];
    for (family, body, detail) in cases {
        assert_eq!(refused(family, &body), malformed(detail), "{family:?} {body}");
    }
}

fn malformed(detail: &str) -> String {
    format!("Malformed input request: {detail}, please reformat your input and try again.")
}

#[test]
fn more_schema_checked_families() {
    let cases = [
        (Family::MistralText, json!({"prompt": ""}), "#/prompt: expected minLength: 1, actual: 0"),
        (Family::MistralChat, json!({}), "#: required key [messages] not found"),
        (
            Family::CohereCommand,
            json!({"prompt": "x", "truncate": "MID"}),
            "#/truncate: MID is not a valid enum value",
        ),
        (
            Family::CohereCommandR,
            json!({"prompt": "x"}),
            "#: required key [message] not found#: extraneous key [prompt] is not permitted",
        ),
        (
            Family::CohereCommandR,
            json!({"message": "x", "stop_sequences": ["a", "b", "c", "d", "e", "f"]}),
            "#/stop_sequences: expected maximum item count: 5, found: 6",
        ),
        (
            Family::Jamba,
            json!({"messages": [{"role": "user", "content": "x"}], "n": 2}),
            "#/n: only one choice per request is served",
        ),
        (
            Family::Nova,
            json!({"messages": [{"role": "user", "content": "x"}]}),
            "#/messages/0/content: expected type: JSONArray, found: String",
        ),
        (
            Family::Nova,
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}),
            "#/messages/0/content/0: extraneous key [type] is not permitted",
        ),
        (
            Family::Nova,
            json!({"messages": [{"role": "user", "content": [{"text": "x"}, {"image": {"format": "png",
                "source": {"s3Location": {"uri": "s3://b/k"}}}}]}]}),
            "#/messages/0/content/1/image/source: s3Location is served in Converse only, send the bytes",
        ),
        (Family::AnthropicText, json!({"prompt": "x"}), "#: required key [max_tokens_to_sample] not found"),
    ];
    for (family, body, detail) in cases {
        assert_eq!(refused(family, &body), malformed(detail), "{family:?} {body}");
    }
}

#[test]
fn openai_errors_name_the_parameter() {
    let hi = json!([{"role": "user", "content": "hi"}]);
    for (body, message, param) in [
        (json!({"messages": hi}), "Missing required parameter: 'model'.", "model"),
        (
            json!({"model": "m", "messages": []}),
            "Invalid 'messages': array too short. Expected an array with minimum length 1, but got length 0.",
            "messages",
        ),
        (
            json!({"model": "m", "messages": hi, "temperature": 3}),
            "Invalid 'temperature': value above maximum. Expected a value <= 2, but got 3 instead.",
            "temperature",
        ),
        (
            json!({"model": "m", "messages": hi, "n": 3}),
            "Invalid 'n': only one choice per request is served.",
            "n",
        ),
        (
            json!({"model": "m", "messages": hi, "top_logprobs": 2}),
            "Invalid 'top_logprobs': log probabilities are not served.",
            "top_logprobs",
        ),
        (
            json!({"model": "m", "messages": hi, "modalities": ["text", "audio"]}),
            "Invalid 'modalities': only 'text' is served.",
            "modalities",
        ),
        (
            json!({"model": "m", "messages": hi, "tools": [{"type": "custom", "custom": {"name": "f"}}]}),
            "Invalid 'tools[0].type': 'custom'. Supported values are: 'function'.",
            "tools[0].type",
        ),
        (
            json!({"model": "m", "messages": [{"role": "user"}]}),
            "Missing required parameter: 'messages[0].content'.",
            "messages[0].content",
        ),
        (
            json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]}),
            "Invalid 'messages[0].content[0].image_url.url': only data: URLs with base64 data are served.",
            "messages[0].content[0].image_url.url",
        ),
        (
            json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[1"}}]}]}),
            "Invalid 'messages[0].tool_calls[0].function.arguments': expected the JSON text of an object",
            "messages[0].tool_calls[0].function.arguments",
        ),
    ] {
        let error = openai_chat::DIRECT.decode(body.to_string().as_bytes()).unwrap_err();
        assert_eq!((error.message.as_str(), &error.fields["param"]), (message, &json!(param)), "{body}");
    }
}

#[test]
fn the_doors_differ_in_their_envelopes() {
    let bedrock = claude(json!({}));
    let error = anthropic::DIRECT.decode(bedrock.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.message, "model: Field required");
    assert_eq!(
        chat_codec(Family::Llama).unwrap().decode(b"not json").unwrap_err().message,
        "Malformed input request, please reformat your input and try again."
    );
}
