//! Converse: what reaches the model and what comes back.

use base64::Engine as _;
use craton_backend::{
    BackendError, Block, Finished, Priority, Reasoning, Role, StopReason, ToolChoice, ToolUse, Usage,
};
use craton_inference::Answer;
use serde_json::{Value, json};

use crate::scripted::{finished, frames, input, said, sent, user, world};

#[tokio::test]
async fn a_plain_answer() {
    let world = world().await;
    world.model.answer(said("Hello there.", 5));
    let request = input(json!({"messages": user("hi"), "requestMetadata": {"team": "a"}}));
    let output = world.inference.converse(&world.context, request).await.unwrap();
    let (body, headers) = sent(output);
    insta::assert_json_snapshot!(body);
    assert_eq!(headers, [("x-craton-served-by".to_owned(), world.records.0.lock()[0].served_by.clone())]);
    assert!(!headers[0].1.is_empty());
}

#[tokio::test]
async fn an_answer_with_everything() {
    let world = world().await;
    let content = vec![
        Block::Reasoning(Reasoning::Text { text: "Let me see.".into(), signature: Some("c2ln".into()) }),
        Block::Reasoning(Reasoning::Redacted(b"secret".as_slice().into())),
        Block::Text("I'll look.".into()),
        Block::ToolUse(ToolUse { id: "t1".into(), name: "weather".into(), input: json!({"city": "Ghent"}) }),
        Block::ToolUse(ToolUse { id: "t2".into(), name: "weather".into(), input: json!({}) }),
    ];
    let usage = Usage { input_tokens: 7, output_tokens: 21, cache_read_tokens: 100, cache_write_tokens: 20 };
    let extra = json!({"id": "msg_1", "usage": {"server": 1}});
    world.model.answer(Answer {
        content,
        finished: Finished { reason: StopReason::ToolUse, stop_sequence: None, usage, extra },
    });
    let request = input(json!({
        "messages": [{"role": "user", "content": [{"text": "weather?"}, {"cachePoint": {"type": "default"}}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]},
        "additionalModelResponseFieldPaths": ["/id", "/stop_sequence", "/none"],
        "serviceTier": {"type": "flex"},
        "performanceConfig": {"latency": "standard"},
    }));
    let output = world.inference.converse(&world.context, request).await.unwrap();
    insta::assert_json_snapshot!(sent(output).0);
    assert_eq!(world.model.asked().priority, Priority::Flex);
}

/// An answer whose only block is a tool use with this input.
fn calling(input: Value, reason: StopReason) -> Answer {
    let call = ToolUse { id: "t1".into(), name: "weather".into(), input };
    Answer { content: vec![Block::ToolUse(call)], finished: finished(reason, 1) }
}

#[tokio::test]
async fn a_tool_use_that_was_cut_off_is_never_shown_as_whole() {
    let world = world().await;
    let tools =
        json!({"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]});
    for (reason, name) in [(StopReason::MaxTokens, "max_tokens"), (StopReason::ToolUse, "malformed_tool_use")]
    {
        let mut answer = calling(Value::String("{\"city\": \"Gh".into()), reason);
        answer.content.insert(0, Block::Text("I'll look.".into()));
        world.model.answer(answer.clone());
        let asked = || input(json!({"messages": user("weather?"), "toolConfig": tools}));
        let (body, _) = sent(world.inference.converse(&world.context, asked()).await.unwrap());
        assert_eq!(body["output"]["message"]["content"], json!([{"text": "I'll look."}]));
        assert_eq!(body["stopReason"], name);
        // Where nothing is left, there still is a block to read.
        answer.content.remove(0);
        world.model.answer(answer);
        let (body, _) = sent(world.inference.converse(&world.context, asked()).await.unwrap());
        assert_eq!(body["output"]["message"]["content"], json!([{"text": ""}]));
        assert_eq!(body["stopReason"], name);
    }
}

#[tokio::test]
async fn the_whole_request_reaches_the_model() {
    let world = world().await;
    // A family whose body takes any field.
    let request = input(json!({
        "modelId": "openai.gpt-oss-20b-1:0",
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}, {"guardContent": {"text": {"text": "Rule."}}}],
        "messages": [
            {"role": "user", "content": [
                {"text": "Read this."},
                {"document": {"name": "notes", "format": "md", "source": {"bytes": "IyBUaXRsZQo="}, "context": "from Ann"}},
                {"document": {"name": "inline", "format": "pdf", "source": {"content": [{"text": "a"}, {"text": "b"}]}}},
                {"searchResult": {"source": "https://x", "title": "X", "content": [{"text": "found"}]}}
            ]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
                {"citationsContent": {"content": [{"text": "As said."}]}},
                {"toolUse": {"toolUseId": "t1", "name": "add", "input": {"a": 1}}},
                {"toolUse": {"toolUseId": "t2", "name": "add", "input": {"a": 2}}}
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t1", "content": [{"json": {"sum": 3}}, {"text": "three"}]}},
                {"toolResult": {"toolUseId": "t2", "status": "error", "content": [{"text": "overflow"}]}}
            ]}
        ],
        "inferenceConfig": {"maxTokens": 64, "temperature": 0.5, "topP": 0.75, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "add", "description": "Adds.", "inputSchema": {"json": {"type": "object"}}, "strict": true}},
                {"cachePoint": {"type": "default"}}
            ],
            "toolChoice": {"tool": {"name": "add"}}
        },
        "additionalModelRequestFields": {"top_k": 40, "reasoning_config": {"type": "enabled", "budget_tokens": 32}, "beta": [1],
            "parallel_tool_calls": false},
        "outputConfig": {"effort": "low", "textFormat": {"type": "json_schema", "structure": {"jsonSchema":
            {"name": "answer", "schema": "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}}"}}}},
        "serviceTier": {"type": "priority"},
    }));
    world.inference.converse(&world.context, request).await.unwrap();
    // What a backend is told may grow; what this request says is all here.
    let asked = world.model.asked();
    let sampling = &asked.sampling;
    assert_eq!(
        (sampling.max_tokens, sampling.temperature, sampling.top_p),
        (Some(64), Some(0.5), Some(0.75))
    );
    assert_eq!(
        (sampling.top_k, sampling.stop_sequences.as_slice()),
        (Some(40), ["END".to_owned()].as_slice())
    );
    assert_eq!(
        (asked.reasoning_budget_tokens, asked.priority, asked.stream),
        (Some(32), Priority::Priority, false)
    );
    assert_eq!(asked.tool_choice, ToolChoice::Tool("add".into()));
    assert!(asked.one_tool_call);
    insta::assert_debug_snapshot!((
        asked.system,
        asked.messages,
        asked.tools,
        asked.response_schema,
        asked.extra,
        asked.effort
    ));
}

#[tokio::test]
async fn every_stop_reason_has_its_name() {
    let world = world().await;
    let cases = [
        (StopReason::EndTurn, "end_turn"),
        (StopReason::ToolUse, "tool_use"),
        (StopReason::MaxTokens, "max_tokens"),
        (StopReason::StopSequence, "stop_sequence"),
        (StopReason::ContentFiltered, "content_filtered"),
        (StopReason::ContextWindowExceeded, "model_context_window_exceeded"),
        (StopReason::MalformedToolUse, "malformed_tool_use"),
        (StopReason::MalformedOutput, "malformed_model_output"),
    ];
    for (reason, name) in cases {
        let mut answer = said("x", 1);
        answer.finished.reason = reason;
        world.model.answer(answer);
        let output =
            world.inference.converse(&world.context, input(json!({"messages": user("hi")}))).await.unwrap();
        assert_eq!(sent(output).0["stopReason"], name);
    }
}

#[tokio::test]
async fn a_stop_sequence_is_told_to_those_who_ask() {
    let world = world().await;
    let mut answer = said("x", 1);
    answer.finished = Finished {
        reason: StopReason::StopSequence,
        stop_sequence: Some("END".into()),
        ..finished(StopReason::StopSequence, 1)
    };
    world.model.answer(answer);
    let request =
        input(json!({"messages": user("hi"), "additionalModelResponseFieldPaths": ["/stop_sequence"]}));
    let output = world.inference.converse(&world.context, request).await.unwrap();
    assert_eq!(sent(output).0["additionalModelResponseFields"], json!({"stop_sequence": "END"}));
}

#[tokio::test]
async fn a_broken_tool_input_is_a_malformed_tool_use() {
    let world = world().await;
    let tool_use = ToolUse { id: "t".into(), name: "add".into(), input: Value::String("{\"a\": ".into()) };
    world.model.answer(Answer {
        content: vec![Block::ToolUse(tool_use)],
        finished: finished(StopReason::ToolUse, 1),
    });
    let output =
        world.inference.converse(&world.context, input(json!({"messages": user("hi")}))).await.unwrap();
    let (body, _) = sent(output);
    assert_eq!(body["stopReason"], "malformed_tool_use");
    assert_eq!(body["output"]["message"]["content"], json!([{"text": ""}]));
}

#[tokio::test]
async fn a_call_of_a_tool_that_the_request_lacks_is_malformed() {
    let world = world().await;
    let other =
        json!({"tools": [{"toolSpec": {"name": "other", "inputSchema": {"json": {"type": "object"}}}}]});
    for tools in [json!({}), json!({"toolConfig": other})] {
        let mut fields = tools;
        fields["messages"] = user("weather?");
        for _ in 0..2 {
            world.model.answer(calling(json!({}), StopReason::ToolUse));
        }
        let (body, _) = sent(world.inference.converse(&world.context, input(fields.clone())).await.unwrap());
        assert_eq!(body["stopReason"], "malformed_tool_use", "{fields}");
        let streamed =
            frames(world.inference.converse_stream(&world.context, input(fields)).await.unwrap()).await;
        let stop = streamed.iter().find(|(event, _)| event == "messageStop").map(|(_, payload)| payload);
        assert_eq!(stop.unwrap()["stopReason"], "malformed_tool_use");
    }
}

#[tokio::test]
async fn an_answer_is_held_to_the_whole_of_its_schemas() {
    let world = world().await;
    let schema = json!({"type": "object", "properties": {"days": {"type": "array", "uniqueItems": true}}});
    let tools = json!({"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": schema}}}]});
    for (days, reason) in [(json!([1, 2]), "tool_use"), (json!([1, 1]), "malformed_tool_use")] {
        let call = json!({"days": days});
        world.model.answer(calling(call.clone(), StopReason::ToolUse));
        let request = input(json!({"messages": user("weather?"), "toolConfig": tools}));
        let (body, _) = sent(world.inference.converse(&world.context, request).await.unwrap());
        assert_eq!(body["stopReason"], reason);
        assert_eq!(body["output"]["message"]["content"][0]["toolUse"]["input"], call);
    }
    let format = json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema.to_string()}}}});
    for (text, stop, reason) in [
        (r#"{"days": [1]}"#, StopReason::EndTurn, "end_turn"),
        (r#"{"days": [1, 1]}"#, StopReason::EndTurn, "malformed_model_output"),
        ("Monday.", StopReason::EndTurn, "malformed_model_output"),
        (r#"{"days": [1"#, StopReason::MaxTokens, "max_tokens"),
    ] {
        let mut answer = said(text, 1);
        answer.finished.reason = stop;
        world.model.answer(answer);
        let request = input(json!({"messages": user("when?"), "outputConfig": format}));
        let (body, _) = sent(world.inference.converse(&world.context, request).await.unwrap());
        assert_eq!(body["stopReason"], reason, "{text}");
    }
}

#[tokio::test]
async fn errors_before_the_first_token() {
    let world = world().await;
    let ask = async |error| {
        world.model.refuse(error);
        let answer = world.inference.converse(&world.context, input(json!({"messages": user("hi")}))).await;
        answer.map(|_| ()).unwrap_err()
    };
    let error = ask(BackendError::ContextOverflow { tokens: 9000, limit: 8192 }).await;
    assert_eq!(error.code, "ValidationException");
    assert!(error.message.starts_with("Input is too long for requested model."));
    let wait = Some(std::time::Duration::from_secs(2));
    let error = ask(BackendError::Overloaded { message: "full".into(), retry_after: wait }).await;
    assert_eq!((error.code.as_ref(), error.retry_after_s), ("ThrottlingException", Some(2)));
    let error = ask(BackendError::Upstream { status: 500, message: "boom".into() }).await;
    assert_eq!(error.code, "ModelErrorException");
    assert_eq!(error.fields["resourceName"], crate::scripted::CLAUDE);
}

#[tokio::test]
async fn limits_of_the_model_are_kept() {
    let world = world().await;
    let ask = async |fields| {
        let answer = world.inference.converse(&world.context, input(fields)).await;
        answer.map(|_| ()).unwrap_err().message
    };
    let image = json!({"image": {"format": "png", "source": {"bytes": "aGk="}}});
    let message = ask(json!({"messages": [{"role": "user", "content": [{"text": "see"}, image]}]})).await;
    assert_eq!(
        message,
        "This model doesn't support the image content block that you provided. Update the content block and try again."
    );
    let message = ask(json!({"messages": user("hi"), "inferenceConfig": {"maxTokens": 8193}})).await;
    assert_eq!(
        message,
        "The maximum tokens you requested exceeds the model limit of 8192. Try again with a maximum tokens value that \
         is lower than 8192."
    );
    world.model.capabilities.lock().tools = false;
    let tools = json!({"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": {"type": "object"}}}}]});
    let message = ask(json!({"messages": user("hi"), "toolConfig": tools})).await;
    assert_eq!(message, "This model doesn't support tool use.");
    let message = ask(json!({"modelId": "amazon.titan-embed-text-v2:0", "messages": user("hi")})).await;
    assert!(message.contains("doesn't support the model"), "{message}");
    assert!(world.model.requests.lock().is_empty(), "a refused request reached the model");
}

#[tokio::test]
async fn images_reach_a_model_that_sees() {
    let world = world().await;
    world.model.capabilities.lock().images = true;
    let seen = |bytes: &str| {
        let image = json!({"image": {"format": "png", "source": {"bytes": bytes}}});
        input(json!({"messages": [{"role": "user", "content": [{"text": "see"}, image]}]}))
    };
    let refused = world.inference.converse(&world.context, seen("aGk=")).await.map(|_| ()).unwrap_err();
    assert_eq!(
        refused.message,
        "The model returned the following errors: messages.0.content.1.image.source.base64: Could not process image: \
         it is not a png file"
    );
    assert!(world.model.requests.lock().is_empty());
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01";
    let request = seen(&base64::engine::general_purpose::STANDARD.encode(png));
    world.inference.converse(&world.context, request).await.unwrap();
    let asked = world.model.asked();
    assert!(
        matches!(&asked.messages[0].content[1], Block::Image(image) if image.bytes == png[..] && image.format == "png")
    );
    assert_eq!(asked.messages[0].role, Role::User);
    assert_eq!(asked.tool_choice, ToolChoice::Auto);
}

#[tokio::test]
async fn documents_are_given_as_text_in_every_place() {
    let world = world().await;
    let page = "PGh0bWw+PGgxPlRpdGxlPC9oMT48cD5Cb2R5PC9wPjwvaHRtbD4=";
    let html = |name: &str| json!({"document": {"name": name, "format": "html", "source": {"bytes": page}}});
    let request = input(json!({
        "messages": [
            {"role": "user", "content": [{"text": "read"}, html("a")]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "get", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [html("b")]}}]}
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "get", "inputSchema": {"json": {"type": "object"}}}}]}
    }));
    world.inference.converse(&world.context, request).await.unwrap();
    let asked = world.model.asked();
    let text =
        |name: &str| format!("<document name=\"{name}\" format=\"html\">\n# Title\n\nBody\n</document>");
    assert_eq!(asked.messages[0].content[1], Block::Text(text("a")));
    let Block::ToolResult(result) = &asked.messages[2].content[0] else { panic!("{asked:?}") };
    assert_eq!(result.content, [Block::Text(text("b"))]);
}
