//! Clients' readers: a stream's chunks put together into the body of the unstreamed answer.

use craton_models::Family;
use serde_json::{Map, Value, json};

/// `whole` is given for what a stream does not repeat (ids, echoes).
pub(super) fn collect(family: Family, chunks: &[Value], whole: &Value) -> Value {
    match family {
        Family::AnthropicMessages => anthropic(chunks),
        Family::Nova => nova(chunks),
        Family::OpenAiChat => openai(chunks, true),
        Family::Jamba => {
            let mut body = openai(chunks, false);
            body["meta"] = json!({});
            body
        }
        Family::MistralChat => mistral_chat(chunks),
        Family::CohereCommandR => command_r(chunks),
        Family::AnthropicText => {
            let last = chunks.last().unwrap();
            json!({"type": "completion", "completion": joined(chunks, "/completion"),
                "stop_reason": last["stop_reason"], "stop": last["stop"]})
        }
        Family::TitanText => {
            let last = chunks.last().unwrap();
            json!({"inputTextTokenCount": chunks[0]["inputTextTokenCount"], "results": [{
                "tokenCount": last["totalOutputTextTokenCount"], "outputText": joined(chunks, "/outputText"),
                "completionReason": last["completionReason"]}]})
        }
        Family::Llama => {
            let last = chunks.last().unwrap();
            json!({"generation": joined(chunks, "/generation"), "prompt_token_count": chunks[0]["prompt_token_count"],
                "generation_token_count": last["generation_token_count"], "stop_reason": last["stop_reason"]})
        }
        Family::MistralText => {
            let stop = &chunks.last().unwrap()["outputs"][0]["stop_reason"];
            json!({"outputs": [{"text": joined(chunks, "/outputs/0/text"), "stop_reason": stop}]})
        }
        Family::CohereCommand => {
            let mut body = whole.clone();
            body["generations"][0]["text"] = json!(joined(chunks, "/text"));
            body["generations"][0]["finish_reason"] = chunks.last().unwrap()["finish_reason"].clone();
            body
        }
        other => panic!("{other:?}"),
    }
}

fn joined(chunks: &[Value], pointer: &str) -> String {
    chunks.iter().filter_map(|chunk| chunk.pointer(pointer)?.as_str()).collect()
}

fn append(value: &mut Value, more: &Value) {
    let text = format!("{}{}", value.as_str().unwrap_or(""), more.as_str().unwrap());
    *value = Value::String(text);
}

fn parsed(json: &Value) -> Value {
    let text = json.as_str().unwrap_or("");
    if text.is_empty() { json!({}) } else { serde_json::from_str(text).unwrap() }
}

/// Also checks the lifecycle: one block open at a time, indices counting up.
fn anthropic(chunks: &[Value]) -> Value {
    assert_eq!(chunks[0]["type"], "message_start");
    let mut message = chunks[0]["message"].clone();
    let (mut content, mut inputs): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut open = false;
    for chunk in &chunks[1..] {
        match chunk["type"].as_str().unwrap() {
            "content_block_start" => {
                assert!(!open && chunk["index"] == content.len(), "{chunk}");
                content.push(chunk["content_block"].clone());
                inputs.push(Value::Null);
                open = true;
            }
            "content_block_delta" => {
                assert!(open && chunk["index"] == content.len() - 1, "{chunk}");
                let (block, delta) = (content.last_mut().unwrap(), &chunk["delta"]);
                match delta["type"].as_str().unwrap() {
                    "text_delta" => append(&mut block["text"], &delta["text"]),
                    "thinking_delta" => append(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => append(&mut block["signature"], &delta["signature"]),
                    _ => append(inputs.last_mut().unwrap(), &delta["partial_json"]),
                }
            }
            "content_block_stop" => {
                assert!(open && chunk["index"] == content.len() - 1, "{chunk}");
                let block = content.last_mut().unwrap();
                if block["type"] == "tool_use" {
                    block["input"] = parsed(inputs.last().unwrap());
                }
                open = false;
            }
            "message_delta" => {
                message["stop_reason"] = chunk["delta"]["stop_reason"].clone();
                message["stop_sequence"] = chunk["delta"]["stop_sequence"].clone();
                for (key, count) in chunk["usage"].as_object().unwrap() {
                    message["usage"][key] = count.clone();
                }
            }
            other => assert_eq!(other, "message_stop"),
        }
    }
    assert_eq!(chunks.last().unwrap()["type"], "message_stop");
    message["content"] = json!(content);
    message
}

fn nova(chunks: &[Value]) -> Value {
    assert_eq!(chunks[0], json!({"messageStart": {"role": "assistant"}}));
    let mut blocks: Map<String, Value> = Map::new();
    let mut body = json!({});
    for chunk in &chunks[1..] {
        let (kind, event) = chunk.as_object().unwrap().iter().next().unwrap();
        let key = event["contentBlockIndex"].to_string();
        let block = |blocks: &mut Map<String, Value>| blocks.entry(key.clone()).or_insert(json!({})).clone();
        match kind.as_str() {
            "contentBlockStart" => {
                let mut start = event["start"].clone();
                start["toolUse"]["input"] = json!("");
                blocks.insert(key, start);
            }
            "contentBlockDelta" => {
                let (mut block, delta) = (block(&mut blocks), &event["delta"]);
                if let Some(text) = delta.get("text") {
                    append(&mut block["text"], text);
                } else if let Some(input) = delta.pointer("/toolUse/input") {
                    append(&mut block["toolUse"]["input"], input);
                } else if let Some(data) = delta.pointer("/reasoningContent/redactedContent") {
                    block["reasoningContent"]["redactedContent"] = data.clone();
                } else {
                    for (part, text) in delta["reasoningContent"].as_object().unwrap() {
                        append(&mut block["reasoningContent"]["reasoningText"][part], text);
                    }
                }
                blocks.insert(key, block);
            }
            "contentBlockStop" => {
                let mut block = block(&mut blocks);
                if let Some(tool) = block.get_mut("toolUse") {
                    tool["input"] = parsed(&tool["input"]);
                }
                blocks.insert(key, block);
            }
            "messageStop" => body["stopReason"] = event["stopReason"].clone(),
            _ => body["usage"] = event["usage"].clone(),
        }
    }
    let content: Vec<Value> = blocks.into_iter().map(|(_, block)| block).collect();
    body["output"] = json!({"message": {"content": content, "role": "assistant"}});
    body
}

fn openai(chunks: &[Value], own_usage: bool) -> Value {
    let (mut content, mut reasoning, mut calls) = (String::new(), String::new(), Vec::<Value>::new());
    let (mut finish, mut usage) = (Value::Null, Value::Null);
    for (index, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        if !chunk["usage"].is_null() {
            assert_eq!(index, chunks.len() - 1);
            assert_eq!(chunk["choices"] == json!([]), own_usage);
            usage = chunk["usage"].clone();
        }
        let Some(choice) = chunk["choices"].get(0) else { continue };
        let delta = &choice["delta"];
        assert_eq!(delta.get("role").is_some(), index == 0);
        content.push_str(delta["content"].as_str().unwrap_or(""));
        reasoning.push_str(delta["reasoning_content"].as_str().unwrap_or(""));
        if let Some(call) = delta.pointer("/tool_calls/0") {
            let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            if index == calls.len() {
                calls.push(json!({"id": call["id"], "type": "function", "function": call["function"]}));
            } else {
                append(&mut calls[index]["function"]["arguments"], &call["function"]["arguments"]);
            }
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
    }
    let silent = content.is_empty() && !calls.is_empty();
    let mut message = json!({"role": "assistant", "content": if silent { Value::Null } else { json!(content) }, "refusal": null});
    if !reasoning.is_empty() {
        message["reasoning_content"] = json!(reasoning);
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    json!({"id": chunks[0]["id"], "object": "chat.completion", "created": chunks[0]["created"], "model": chunks[0]["model"],
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}], "usage": usage})
}

fn mistral_chat(chunks: &[Value]) -> Value {
    let calls: Vec<Value> = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/choices/0/message/tool_calls")?.as_array())
        .flatten()
        .cloned()
        .collect();
    let mut message = json!({"role": "assistant", "content": joined(chunks, "/choices/0/message/content")});
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    let stop = &chunks.last().unwrap()["choices"][0]["stop_reason"];
    json!({"choices": [{"index": 0, "message": message, "stop_reason": stop}]})
}

fn command_r(chunks: &[Value]) -> Value {
    assert_eq!(chunks[0]["event_type"], "stream-start");
    let (last, earlier) = chunks.split_last().unwrap();
    assert!(earlier.iter().all(|chunk| chunk["is_finished"] == false));
    assert_eq!((&last["is_finished"], &last["event_type"]), (&json!(true), &json!("stream-end")));
    let response = last["response"].clone();
    assert_eq!(response["text"], joined(earlier, "/text"));
    assert_eq!(chunks[0]["generation_id"], response["generation_id"]);
    response
}
