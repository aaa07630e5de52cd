//! A request in a family's own form: what its clients write.

use craton_backend::{Block, ChatRequest, Message, Reasoning, Role, ToolChoice};
use craton_models::Family;
use serde_json::{Map, Value, json};

use super::super::media::encode_base64;
use super::super::prompt_template::Style;
use super::super::prompt_template::render::render;

pub(super) fn body(family: Family, request: &ChatRequest) -> Value {
    match family {
        Family::AnthropicMessages => anthropic(request),
        Family::Nova => nova(request),
        Family::OpenAiChat => openai(request, "seed", json!({"model": "m"})),
        Family::MistralChat => openai(request, "random_seed", json!({})),
        Family::Jamba => openai(request, "seed", json!({})),
        Family::CohereCommandR => command_r(request),
        family => prompt_body(family, request),
    }
}

/// A request as the Responses API has it: items, not messages.
pub(super) fn responses(request: &ChatRequest) -> Value {
    let item = |role: Role, block: &Block| match (role, block) {
        (Role::User, Block::Text(text)) => {
            json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
        }
        (Role::Assistant, Block::Text(text)) => {
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
        }
        (_, Block::ToolUse(call)) => {
            json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.input.to_string()})
        }
        (_, Block::ToolResult(result)) => {
            json!({"type": "function_call_output", "call_id": result.tool_use_id, "output": text(&result.content[0])})
        }
        (_, other) => panic!("{other:?}"),
    };
    let items = request.messages.iter();
    let items: Vec<Value> = items
        .flat_map(|message| message.content.iter().map(move |block| item(message.role, block)))
        .collect();
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            json!({"type": "function", "name": tool.name, "description": tool.description,
                   "parameters": tool.input_schema})
        })
        .collect();
    object(json!({
        "model": "m",
        "instructions": request.system.first().map(text),
        "input": items,
        "max_output_tokens": request.sampling.max_tokens,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "tools": if tools.is_empty() { Value::Null } else { json!(tools) },
    }))
}

/// `null`s are fields left out.
fn object(fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("{fields}") };
    Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

fn merged(base: Value, more: Value) -> Value {
    let (Value::Object(mut base), Value::Object(more)) = (base, more) else { panic!() };
    base.extend(more);
    Value::Object(base)
}

fn text(block: &Block) -> &str {
    let Block::Text(text) = block else { panic!("{block:?}") };
    text
}

fn prompt_body(family: Family, request: &ChatRequest) -> Value {
    let turns: Vec<(Role, String)> =
        request.messages.iter().map(|message| (message.role, text(&message.content[0]).to_owned())).collect();
    let style = match family {
        Family::AnthropicText => Style::HumanAssistant,
        Family::TitanText => Style::UserBot,
        Family::MistralText => Style::Inst,
        Family::CohereCommand => Style::ChatMl,
        _ => Style::Llama3,
    };
    let prompt = render(style, request.system.first().map(text), &turns);
    let s = &request.sampling;
    let stop = &s.stop_sequences;
    object(match family {
        Family::AnthropicText => {
            json!({"prompt": prompt, "max_tokens_to_sample": s.max_tokens, "temperature": s.temperature,
            "top_p": s.top_p, "top_k": s.top_k, "stop_sequences": stop})
        }
        Family::TitanText => json!({"inputText": prompt, "textGenerationConfig": object(json!({
            "maxTokenCount": s.max_tokens, "temperature": s.temperature, "topP": s.top_p, "stopSequences": stop}))}),
        Family::MistralText => {
            json!({"prompt": prompt, "max_tokens": s.max_tokens, "temperature": s.temperature,
            "top_p": s.top_p, "top_k": s.top_k, "stop": stop})
        }
        Family::CohereCommand => {
            json!({"prompt": prompt, "max_tokens": s.max_tokens, "temperature": s.temperature,
            "p": s.top_p, "k": s.top_k, "stop_sequences": stop})
        }
        _ => {
            json!({"prompt": prompt, "max_gen_len": s.max_tokens, "temperature": s.temperature, "top_p": s.top_p})
        }
    })
}

fn anthropic(request: &ChatRequest) -> Value {
    let s = &request.sampling;
    let messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| json!({"role": role(message), "content": marked(&message.content, anthropic_block)}))
        .collect();
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| json!({"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}))
        .collect();
    let choice = match &request.tool_choice {
        ToolChoice::Auto => Value::Null,
        ToolChoice::Any => json!({"type": "any"}),
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Tool(name) => json!({"type": "tool", "name": name}),
    };
    let format = request.response_schema.as_ref().map(
        |schema| json!({"format": {"type": "json_schema", "name": schema.name, "schema": schema.schema}}),
    );
    object(json!({
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": s.max_tokens,
        "temperature": s.temperature,
        "top_p": s.top_p,
        "top_k": s.top_k,
        "stop_sequences": s.stop_sequences,
        "system": marked(&request.system, anthropic_block),
        "messages": messages,
        "tools": if tools.is_empty() { Value::Null } else { json!(tools) },
        "tool_choice": choice,
        "output_config": format,
    }))
}

fn role(message: &Message) -> &'static str {
    if message.role == Role::User { "user" } else { "assistant" }
}

/// Blocks with their cache points as marks on the block before.
fn marked(blocks: &[Block], write: fn(&Block) -> Value) -> Value {
    let mut written: Vec<Value> = Vec::new();
    for block in blocks {
        if *block == Block::CachePoint {
            written.last_mut().unwrap()["cache_control"] = json!({"type": "ephemeral"});
        } else {
            written.push(write(block));
        }
    }
    json!(written)
}

fn anthropic_block(block: &Block) -> Value {
    match block {
        Block::Text(text) => json!({"type": "text", "text": text}),
        Block::Image(image) => json!({"type": "image", "source": {"type": "base64",
            "media_type": format!("image/{}", image.format), "data": encode_base64(&image.bytes)}}),
        Block::Document(document) => {
            let source = if document.format == "pdf" {
                json!({"type": "base64", "media_type": "application/pdf", "data": encode_base64(&document.bytes)})
            } else {
                json!({"type": "text", "media_type": "text/plain", "data": std::str::from_utf8(&document.bytes).unwrap()})
            };
            json!({"type": "document", "title": document.name, "source": source})
        }
        Block::ToolUse(tool) => {
            json!({"type": "tool_use", "id": tool.id, "name": tool.name, "input": tool.input})
        }
        Block::ToolResult(result) => json!({"type": "tool_result", "tool_use_id": result.tool_use_id,
            "content": marked(&result.content, anthropic_block), "is_error": result.is_error}),
        Block::Reasoning(Reasoning::Text { text, signature }) => {
            json!({"type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or("")})
        }
        Block::Reasoning(Reasoning::Redacted(data)) => {
            json!({"type": "redacted_thinking", "data": std::str::from_utf8(data).unwrap()})
        }
        Block::CachePoint => panic!("written as a mark"),
    }
}

fn nova(request: &ChatRequest) -> Value {
    let s = &request.sampling;
    let messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| json!({"role": role(message), "content": message.content.iter().map(nova_block).collect::<Vec<_>>()}))
        .collect();
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| json!({"toolSpec": {"name": tool.name, "description": tool.description, "inputSchema": {"json": tool.input_schema}}}))
        .collect();
    let choice = match &request.tool_choice {
        ToolChoice::Any => json!({"any": {}}),
        ToolChoice::Tool(name) => json!({"tool": {"name": name}}),
        _ => json!({"auto": {}}),
    };
    object(json!({
        "schemaVersion": "messages-v1",
        "messages": messages,
        "system": request.system.iter().map(nova_block).collect::<Vec<_>>(),
        "inferenceConfig": object(json!({"maxTokens": s.max_tokens, "temperature": s.temperature, "topP": s.top_p,
            "topK": s.top_k, "stopSequences": s.stop_sequences})),
        "toolConfig": if tools.is_empty() { Value::Null } else { json!({"tools": tools, "toolChoice": choice}) },
    }))
}

fn nova_block(block: &Block) -> Value {
    let bytes = |bytes: &[u8]| json!({"bytes": encode_base64(bytes)});
    match block {
        Block::Text(text) => json!({ "text": text }),
        Block::CachePoint => json!({"cachePoint": {"type": "default"}}),
        Block::Image(image) => json!({"image": {"format": image.format, "source": bytes(&image.bytes)}}),
        Block::Document(document) => json!({"document": {"format": document.format, "name": document.name,
            "source": bytes(&document.bytes)}}),
        Block::ToolUse(tool) => {
            json!({"toolUse": {"toolUseId": tool.id, "name": tool.name, "input": tool.input}})
        }
        Block::ToolResult(result) => json!({"toolResult": {"toolUseId": result.tool_use_id,
            "content": result.content.iter().map(nova_block).collect::<Vec<_>>(),
            "status": if result.is_error { "error" } else { "success" }}}),
        Block::Reasoning(Reasoning::Text { text, signature }) => {
            json!({"reasoningContent": {"reasoningText": object(json!({"text": text, "signature": signature}))}})
        }
        Block::Reasoning(Reasoning::Redacted(data)) => {
            json!({"reasoningContent": {"redactedContent": encode_base64(data)}})
        }
    }
}

fn openai(request: &ChatRequest, seed: &str, base: Value) -> Value {
    let s = &request.sampling;
    let mut messages: Vec<Value> =
        request.system.iter().map(|block| json!({"role": "system", "content": text(block)})).collect();
    for message in &request.messages {
        messages.extend(openai_messages(message));
    }
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| json!({"type": "function", "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}}))
        .collect();
    let choice = match &request.tool_choice {
        ToolChoice::Auto => Value::Null,
        ToolChoice::Any => json!("required"),
        ToolChoice::None => json!("none"),
        ToolChoice::Tool(name) => json!({"type": "function", "function": {"name": name}}),
    };
    let format = request.response_schema.as_ref().map(|schema| {
        json!({"type": "json_schema", "json_schema": {"name": schema.name, "schema": schema.schema}})
    });
    object(merged(
        base,
        json!({
            "messages": messages,
            "max_tokens": s.max_tokens,
            "temperature": s.temperature,
            "top_p": s.top_p,
            "top_k": s.top_k,
            seed: s.seed,
            "presence_penalty": s.presence_penalty,
            "frequency_penalty": s.frequency_penalty,
            "stop": s.stop_sequences,
            "tools": if tools.is_empty() { Value::Null } else { json!(tools) },
            "tool_choice": choice,
            "response_format": format,
        }),
    ))
}

fn openai_messages(message: &Message) -> Vec<Value> {
    if let Block::ToolResult(_) = &message.content[0] {
        let results = message.content.iter().map(|block| {
            let Block::ToolResult(result) = block else { panic!("{block:?}") };
            json!({"role": "tool", "tool_call_id": result.tool_use_id, "content": text(&result.content[0])})
        });
        return results.collect();
    }
    if message.role == Role::User {
        let content = match message.content.as_slice() {
            [Block::Text(text)] => json!(text),
            parts => parts.iter().map(openai_part).collect(),
        };
        return vec![json!({"role": "user", "content": content})];
    }
    let mut fields = Map::new();
    fields.insert("role".to_owned(), json!("assistant"));
    let mut calls = Vec::new();
    for block in &message.content {
        match block {
            Block::Text(text) => {
                fields.insert("content".to_owned(), json!(text));
            }
            Block::Reasoning(Reasoning::Text { text, .. }) => {
                fields.insert("reasoning_content".to_owned(), json!(text));
            }
            Block::ToolUse(tool) => calls.push(json!({"id": tool.id, "type": "function",
                "function": {"name": tool.name, "arguments": tool.input.to_string()}})),
            other => panic!("{other:?}"),
        }
    }
    if !calls.is_empty() {
        fields.insert("tool_calls".to_owned(), json!(calls));
    }
    vec![Value::Object(fields)]
}

fn openai_part(block: &Block) -> Value {
    match block {
        Block::Text(text) => json!({"type": "text", "text": text}),
        Block::Image(image) => {
            let url = format!("data:image/{};base64,{}", image.format, encode_base64(&image.bytes));
            json!({"type": "image_url", "image_url": {"url": url}})
        }
        Block::Document(document) => {
            let kind = if document.format == "pdf" { "application/pdf" } else { "text/plain" };
            let data = format!("data:{kind};base64,{}", encode_base64(&document.bytes));
            json!({"type": "file", "file": {"filename": document.name, "file_data": data}})
        }
        other => panic!("{other:?}"),
    }
}

fn command_r(request: &ChatRequest) -> Value {
    let s = &request.sampling;
    let (last, earlier) = request.messages.split_last().unwrap();
    let mut calls: Map<String, Value> = Map::new();
    let mut history = Vec::new();
    for message in earlier {
        history.push(match (&message.content[0], message.role) {
            (Block::ToolResult(_), _) => {
                let results: Vec<Value> = message
                    .content
                    .iter()
                    .map(|block| {
                        let Block::ToolResult(result) = block else { panic!("{block:?}") };
                        let output: Value = serde_json::from_str(text(&result.content[0])).unwrap();
                        json!({"call": calls[&result.tool_use_id], "outputs": [output]})
                    })
                    .collect();
                json!({"role": "TOOL", "tool_results": results})
            }
            (said, Role::User) => json!({"role": "USER", "message": text(said)}),
            (said, Role::Assistant) => {
                let mut own = Vec::new();
                for block in &message.content[1..] {
                    let Block::ToolUse(tool) = block else { panic!("{block:?}") };
                    let call = json!({"name": tool.name, "parameters": tool.input});
                    calls.insert(tool.id.clone(), call.clone());
                    own.push(call);
                }
                let own = if own.is_empty() { Value::Null } else { json!(own) };
                object(json!({"role": "CHATBOT", "message": text(said), "tool_calls": own}))
            }
        });
    }
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            let name = tool.input_schema["required"][0].as_str().unwrap();
            json!({"name": tool.name, "description": tool.description,
                "parameter_definitions": {name: {"type": "str", "description": "what", "required": true}}})
        })
        .collect();
    object(json!({
        "message": text(&last.content[0]),
        "chat_history": history,
        "preamble": request.system.first().map(text),
        "max_tokens": s.max_tokens,
        "temperature": s.temperature,
        "p": s.top_p,
        "k": s.top_k,
        "seed": s.seed,
        "stop_sequences": s.stop_sequences,
        "tools": if tools.is_empty() { Value::Null } else { json!(tools) },
    }))
}
