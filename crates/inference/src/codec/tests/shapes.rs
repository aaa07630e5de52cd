//! The exact JSON of one small answer in every family, as its clients know it.

use craton_backend::{Block, Finished, StopReason, ToolUse, Usage};
use craton_models::Family;
use serde_json::{Value, json};

use super::super::{AnswerOptions, Decoded, chat_codec};
use crate::answer::{Answer, events};

fn decoded(model_id: &str) -> Decoded {
    let mut decoded = Decoded::new(craton_backend::ChatRequest::default());
    decoded.model_id = model_id.to_owned();
    decoded.answer_id = "ABCDEFGHIJKLMNOPQRSTUV".to_owned();
    decoded.created_unix_s = 1_700_000_000;
    decoded
}

fn hello() -> Answer {
    let usage = Usage { input_tokens: 5, output_tokens: 2, ..Usage::default() };
    let finished = Finished { reason: StopReason::EndTurn, stop_sequence: None, usage, extra: Value::Null };
    Answer { content: vec![Block::Text("Hello".to_owned())], finished }
}

fn calling() -> Answer {
    let tool = ToolUse { id: "t1".to_owned(), name: "look".to_owned(), input: json!({"at": 1}) };
    let mut answer = hello();
    answer.content.push(Block::ToolUse(tool));
    answer.finished.reason = StopReason::ToolUse;
    answer
}

fn whole(family: Family, decoded: &Decoded, answer: &Answer) -> Value {
    serde_json::from_slice(&chat_codec(family).unwrap().encode(decoded, answer).unwrap()).unwrap()
}

fn stream(family: Family, decoded: &Decoded, answer: &Answer) -> Vec<Value> {
    let mut encoder = chat_codec(family).unwrap().stream(decoded);
    events(answer.clone()).iter().flat_map(|event| encoder.push(event).unwrap()).collect()
}

#[test]
fn anthropic() {
    let decoded = decoded("us.anthropic.claude-3-5-sonnet-20241022-v2:0");
    assert_eq!(
        whole(Family::AnthropicMessages, &decoded, &calling()),
        json!({
            "id": "msg_bdrk_01ABCDEFGHIJKLMNOPQRSTUV", "type": "message", "role": "assistant",
            "model": "claude-3-5-sonnet-20241022",
            "content": [
                {"type": "text", "text": "Hello"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}},
            ],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2},
        })
    );
    assert_eq!(
        stream(Family::AnthropicMessages, &decoded, &calling()),
        [
            json!({"type": "message_start", "message": {
                "id": "msg_bdrk_01ABCDEFGHIJKLMNOPQRSTUV", "type": "message", "role": "assistant",
                "model": "claude-3-5-sonnet-20241022", "content": [], "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0},
            }}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1,
                "content_block": {"type": "tool_use", "id": "t1", "name": "look", "input": {}}}),
            json!({"type": "content_block_delta", "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": "{\"at\":1}"}}),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
                "usage": {"output_tokens": 2}}),
            json!({"type": "message_stop"}),
        ]
    );
}

#[test]
fn text_families() {
    let mut decoded = decoded("m");
    let cases = [
        (
            Family::TitanText,
            json!({"inputTextTokenCount": 5, "results": [{"tokenCount": 2, "outputText": "Hello", "completionReason": "FINISH"}]}),
            json!({"outputText": "Hello", "index": 0, "totalOutputTextTokenCount": null, "completionReason": null, "inputTextTokenCount": 5}),
            json!({"outputText": "", "index": 0, "totalOutputTextTokenCount": 2, "completionReason": "FINISH", "inputTextTokenCount": null}),
        ),
        (
            Family::Llama,
            json!({"generation": "Hello", "prompt_token_count": 5, "generation_token_count": 2, "stop_reason": "stop"}),
            json!({"generation": "Hello", "prompt_token_count": 5, "generation_token_count": null, "stop_reason": null}),
            json!({"generation": "", "prompt_token_count": null, "generation_token_count": 2, "stop_reason": "stop"}),
        ),
        (
            Family::MistralText,
            json!({"outputs": [{"text": "Hello", "stop_reason": "stop"}]}),
            json!({"outputs": [{"text": "Hello", "stop_reason": null}]}),
            json!({"outputs": [{"text": "", "stop_reason": "stop"}]}),
        ),
        (
            Family::AnthropicText,
            json!({"type": "completion", "completion": "Hello", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"}),
            json!({"type": "completion", "completion": "Hello", "stop_reason": null, "stop": null}),
            json!({"type": "completion", "completion": "", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"}),
        ),
        (
            Family::MistralChat,
            json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "stop_reason": "stop"}]}),
            json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "stop_reason": null}]}),
            json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "stop_reason": "stop"}]}),
        ),
    ];
    for (family, expected, first, last) in cases {
        decoded.text_completion = family != Family::MistralChat;
        assert_eq!(whole(family, &decoded, &hello()), expected, "{family:?}");
        assert_eq!(stream(family, &decoded, &hello()), [first, last], "{family:?}");
    }
}

#[test]
fn nova() {
    let decoded = decoded("amazon.nova-lite-v1:0");
    let usage = json!({"inputTokens": 5, "outputTokens": 2, "totalTokens": 7, "cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0});
    assert_eq!(
        whole(Family::Nova, &decoded, &hello()),
        json!({"output": {"message": {"content": [{"text": "Hello"}], "role": "assistant"}}, "stopReason": "end_turn", "usage": usage})
    );
    assert_eq!(
        stream(Family::Nova, &decoded, &hello()),
        [
            json!({"messageStart": {"role": "assistant"}}),
            json!({"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}}),
            json!({"contentBlockStop": {"contentBlockIndex": 0}}),
            json!({"messageStop": {"stopReason": "end_turn"}}),
            json!({"metadata": {"usage": usage, "metrics": {}, "trace": {}}}),
        ]
    );
}

#[test]
fn cohere() {
    let mut decoded = decoded("cohere.command-r-v1:0");
    decoded.options = AnswerOptions {
        chat_history: vec![json!({"role": "USER", "message": "Hi"})],
        prompt: Some("Hi".to_owned()),
        ..AnswerOptions::default()
    };
    let mut body = whole(Family::CohereCommandR, &decoded, &calling());
    for id in ["response_id", "generation_id"] {
        assert_eq!(body.as_object_mut().unwrap().remove(id).unwrap().as_str().unwrap().len(), 36);
    }
    let call = json!({"name": "look", "parameters": {"at": 1}});
    assert_eq!(
        body,
        json!({
            "text": "Hello",
            "chat_history": [
                {"role": "USER", "message": "Hi"},
                {"role": "CHATBOT", "message": "Hello", "tool_calls": [call]},
            ],
            "finish_reason": "COMPLETE",
            "tool_calls": [call],
        })
    );
    let kinds: Vec<Value> = stream(Family::CohereCommandR, &decoded, &calling())
        .iter()
        .map(|chunk| chunk["event_type"].clone())
        .collect();
    assert_eq!(
        kinds,
        [
            "stream-start",
            "text-generation",
            "tool-calls-chunk",
            "tool-calls-chunk",
            "tool-calls-generation",
            "stream-end"
        ]
    );

    let body = whole(Family::CohereCommand, &decoded, &hello());
    assert_eq!((&body["prompt"], &body["generations"][0]["text"]), (&json!("Hi"), &json!("Hello")));
    assert_eq!(body["generations"][0]["finish_reason"], "COMPLETE");
    decoded.stream = true;
    assert_eq!(
        stream(Family::CohereCommand, &decoded, &hello()),
        [
            json!({"text": "Hello", "is_finished": false}),
            json!({"is_finished": true, "finish_reason": "COMPLETE"})
        ]
    );
}

#[test]
fn openai_shape() {
    let qwen = decoded("qwen.qwen3-32b-v1:0");
    let usage = json!({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0}});
    let expected = |model: &str| {
        json!({
            "id": "chatcmpl-ABCDEFGHIJKLMNOPQRSTUV", "object": "chat.completion", "created": 1_700_000_000, "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello", "refusal": null},
                "logprobs": null, "finish_reason": "stop"}],
            "usage": usage,
        })
    };
    assert_eq!(whole(Family::OpenAiChat, &qwen, &hello()), expected("qwen.qwen3-32b-v1:0"));
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "chatcmpl-ABCDEFGHIJKLMNOPQRSTUV", "object": "chat.completion.chunk", "created": 1_700_000_000,
            "model": "qwen.qwen3-32b-v1:0",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]})
    };
    assert_eq!(
        stream(Family::OpenAiChat, &qwen, &hello()),
        [
            chunk(json!({"role": "assistant", "content": ""}), Value::Null),
            chunk(json!({"content": "Hello"}), Value::Null),
            chunk(json!({}), json!("stop")),
        ]
    );

    let mut jamba = decoded("ai21.jamba-1-5-large-v1:0");
    jamba.stream = true;
    let mut body = whole(Family::Jamba, &jamba, &hello());
    assert_eq!(body.as_object_mut().unwrap().remove("meta"), Some(json!({})));
    assert_eq!(body, expected("jamba-1.5-large"));
    assert_eq!(stream(Family::Jamba, &jamba, &hello()).last().unwrap()["usage"], usage);
}

#[test]
fn a_bare_prompt_is_answered_as_deepseek_does() {
    let mut decoded = decoded("us.deepseek.r1-v1:0");
    decoded.text_completion = true;
    assert_eq!(
        whole(Family::OpenAiChat, &decoded, &hello()),
        json!({"choices": [{"text": "Hello", "stop_reason": "stop"}]})
    );
    assert_eq!(
        stream(Family::OpenAiChat, &decoded, &hello()),
        [
            json!({"choices": [{"index": 0, "text": "Hello", "stop_reason": null}]}),
            json!({"choices": [{"index": 0, "text": "", "stop_reason": "stop"}]}),
        ]
    );
}

#[test]
fn claude_2_takes_messages_too() {
    let body = br#"{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}"#;
    let decoded = chat_codec(Family::AnthropicText).unwrap().decode(body).unwrap();
    assert_eq!(whole(Family::AnthropicText, &decoded, &hello())["content"][0]["text"], "Hello");
    assert_eq!(stream(Family::AnthropicText, &decoded, &hello())[0]["type"], "message_start");
}

/// What an upstream that counts only at the end knows at the start: nothing.
#[test]
fn late_input_counts_reach_anthropics_clients() {
    let mut late = events(hello());
    late[0] = craton_backend::ChatEvent::Started { usage: Usage::default() };
    let mut encoder = chat_codec(Family::AnthropicMessages).unwrap().stream(&decoded("m"));
    let chunks: Vec<Value> = late.iter().flat_map(|event| encoder.push(event).unwrap()).collect();
    let delta = &chunks[chunks.len() - 2];
    assert_eq!((&delta["type"], &delta["usage"]["input_tokens"]), (&json!("message_delta"), &json!(5)));
}
