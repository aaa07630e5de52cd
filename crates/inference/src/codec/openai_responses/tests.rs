use bytes::Bytes;
use craton_backend::*;
use serde_json::json;

use super::*;

fn decode(body: &Value) -> Result<ResponsesCall, ApiError> {
    ResponsesCall::decode(body.to_string().as_bytes())
}

fn refused(body: &Value) -> ApiError {
    decode(body).expect_err("a refusal")
}

fn text(text: &str) -> Block {
    Block::Text(text.into())
}

#[test]
fn a_string_is_the_users_message() {
    let call = decode(&json!({"model": "m", "input": "Hi", "instructions": "Be brief."})).unwrap();
    assert_eq!(call.model_id, "m");
    assert!(!call.stream);
    assert_eq!(call.request.system, [text("Be brief.")]);
    assert_eq!(call.request.messages, [Message { role: Role::User, content: vec![text("Hi")] }]);
    assert_eq!(call.request.extra, Map::new());
}

/// A request that sets every field there is.
fn everything(schema: &Value) -> Value {
    json!({
        "model": "m",
        "stream": true,
        "input": [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="},
                {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}],
             "encrypted_content": "sig"},
            {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "iVBORw=="},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
             "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": "{\"a\":1}"},
            {"type": "function_call", "call_id": "c2", "name": "look", "arguments": ""},
            {"type": "function_call_output", "call_id": "c1", "output": "a cat"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "a dog"}]},
        ],
        "tools": [{"type": "function", "name": "look", "description": "Looks.", "parameters": schema, "strict": true}],
        "tool_choice": {"type": "function", "name": "look"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": true}},
        "max_output_tokens": 20, "temperature": 0.5, "top_p": 0.25,
        "reasoning": {"effort": "high"},
        "parallel_tool_calls": false,
        "service_tier": "priority",
        "metadata": {"team": "blue"},
        "store": true, "include": [], "truncation": "auto",
        "top_k": 4,
    })
}

#[test]
fn every_field_has_its_place() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let call = decode(&everything(&schema)).unwrap();
    let request = &call.request;
    assert!(call.stream);
    assert_eq!(call.metadata, [("team".to_owned(), "blue".to_owned())]);
    assert_eq!(request.system, [text("Be kind.")]);
    let png = Bytes::from_static(b"\x89PNG");
    let used = |id: &str, input: Value| Block::ToolUse(ToolUse { id: id.into(), name: "look".into(), input });
    let result = |id: &str, said: &str| {
        Block::ToolResult(ToolResult { tool_use_id: id.into(), content: vec![text(said)], is_error: false })
    };
    assert_eq!(
        request.messages,
        [
            Message {
                role: Role::User,
                content: vec![
                    text("What is this?"),
                    Block::Image(Image { format: "png".into(), bytes: png.clone() }),
                    Block::Document(Document {
                        name: "a.txt".into(),
                        format: "txt".into(),
                        bytes: Bytes::from_static(b"hi")
                    }),
                ]
            },
            Message {
                role: Role::Assistant,
                content: vec![
                    Block::Reasoning(Reasoning::Text { text: "hm".into(), signature: Some("sig".into()) }),
                    Block::Reasoning(Reasoning::Redacted(png)),
                    text("Let me look."),
                    used("c1", json!({"a": 1})),
                    used("c2", json!({})),
                ]
            },
            Message { role: Role::User, content: vec![result("c1", "a cat"), result("c2", "a dog")] },
        ]
    );
    assert_eq!(request.tools.len(), 1);
    assert!(request.tools[0].strict);
    assert_eq!(request.tool_choice, ToolChoice::Tool("look".into()));
    assert_eq!(request.response_schema, Some(ResponseSchema { name: Some("n".into()), schema }));
    assert_eq!(request.sampling.max_tokens, Some(20));
    assert_eq!((request.sampling.temperature, request.sampling.top_p), (Some(0.5), Some(0.25)));
    assert_eq!((request.effort, request.reasoning_budget_tokens), (Some(Effort::High), None));
    assert_eq!(request.priority, Priority::Priority);
    assert_eq!(Value::Object(request.extra.clone()), json!({"top_k": 4}));
    assert!(request.one_tool_call);
}

#[test]
fn effort_is_what_was_asked_for_and_words_of_some_models_only_go_on() {
    let asked = |effort: &str| {
        let body = json!({"model": "m", "input": "hi", "reasoning": {"effort": effort}});
        let request = decode(&body).unwrap().request;
        assert_eq!(request.reasoning_budget_tokens, None, "{effort}");
        (request.effort, request.extra.get("reasoning_effort").cloned())
    };
    assert_eq!(asked("xhigh"), (Some(Effort::XHigh), None));
    assert_eq!(asked("minimal"), (None, Some("minimal".into())));
    assert_eq!(asked("none"), (None, Some("none".into())));
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let with = |name: &str, value: Value| {
        let mut body = json!({"model": "m", "input": "Hi"});
        body[name] = value;
        body
    };
    for (name, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("prompt", json!({"id": "p"})),
        ("background", json!(true)),
        ("top_logprobs", json!(3)),
        ("temperature", json!(3)),
        ("max_output_tokens", json!(0)),
        ("input", json!([])),
        ("input", json!(3)),
        ("tool_choice", json!("required")),
    ] {
        let error = refused(&with(name, value));
        assert_eq!(error.code, "ValidationException");
        assert_eq!(error.fields["param"], name, "{}", error.message);
    }
    assert_eq!(refused(&json!({"model": "m"})).fields["param"], "input");
    let hosted = refused(&with("tools", json!([{"type": "web_search"}])));
    assert!(hosted.message.contains("web_search"), "{}", hosted.message);
    let reference = refused(&with("input", json!([{"type": "item_reference", "id": "x"}])));
    assert!(reference.message.contains("not stored"), "{}", reference.message);
    let arguments = refused(&with(
        "input",
        json!([{"type": "function_call", "call_id": "c", "name": "n", "arguments": "[1]"}]),
    ));
    assert_eq!(arguments.fields["param"], "input[0].arguments");
    // False or null asks for nothing.
    assert!(decode(&with("background", json!(false))).is_ok());
    assert!(decode(&with("previous_response_id", Value::Null)).is_ok());
}

fn finished(reason: StopReason) -> Finished {
    let usage = Usage { input_tokens: 7, output_tokens: 5, cache_read_tokens: 3, cache_write_tokens: 0 };
    Finished { reason, stop_sequence: None, usage, extra: Value::Null }
}

fn answer() -> Answer {
    let call = ToolUse { id: "c1".into(), name: "look".into(), input: json!({"a": 1}) };
    Answer {
        content: vec![
            Block::Reasoning(Reasoning::Text { text: "hm".into(), signature: Some("sig".into()) }),
            text("Hello"),
            Block::ToolUse(call),
        ],
        finished: finished(StopReason::ToolUse),
    }
}

#[test]
fn a_whole_response() {
    let call =
        decode(&json!({"model": "m", "input": "Hi", "temperature": 0.5, "metadata": {"a": "b"}})).unwrap();
    let response = call.encode(&answer());
    assert_eq!(response["object"], "response");
    assert_eq!(response["status"], "completed");
    assert_eq!(response["temperature"], 0.5);
    assert_eq!(response["metadata"], json!({"a": "b"}));
    assert_eq!(response["store"], false);
    assert_eq!(response["output"][0]["content"][0]["text"], "hm");
    assert_eq!(response["output"][0]["encrypted_content"], "sig");
    assert_eq!(response["output"][1]["content"][0]["text"], "Hello");
    assert_eq!(response["output"][2]["arguments"], "{\"a\":1}");
    assert_eq!(response["output"][2]["call_id"], "c1");
    assert_eq!(response["usage"]["input_tokens"], 10);
    assert_eq!(response["usage"]["total_tokens"], 15);
    let cut = call.encode(&Answer { finished: finished(StopReason::MaxTokens), ..answer() });
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    // The arguments of a call may have been cut in their middle: nobody is to carry it out.
    assert_eq!(statuses(&cut["output"]), ["completed", "completed", "incomplete"]);
    assert_eq!(statuses(&response["output"]), ["completed", "completed", "completed"]);
}

fn statuses(output: &Value) -> Vec<&str> {
    output.as_array().unwrap().iter().map(|item| item["status"].as_str().unwrap()).collect()
}

#[test]
fn output_items_can_be_handed_back() {
    let call = decode(&json!({"model": "m", "input": "Hi"})).unwrap();
    let mut items = call.encode(&answer())["output"].clone();
    let handed_back = |items: &Value| decode(&json!({"model": "m", "input": items}));
    let error = handed_back(&items).unwrap_err();
    assert_eq!(error.message, "No tool output found for function call c1.");
    let result = json!({"type": "function_call_output", "call_id": "c1", "output": "2"});
    items.as_array_mut().unwrap().push(result);
    let again = handed_back(&items).unwrap();
    assert_eq!(again.request.messages[0], Message { role: Role::Assistant, content: answer().content });
}

fn events() -> Vec<ChatEvent> {
    let start = |index, block| ChatEvent::BlockStart { index, block };
    let delta = |index, delta| ChatEvent::BlockDelta { index, delta };
    let stop = |index| ChatEvent::BlockStop { index };
    vec![
        ChatEvent::Started { usage: Usage::default() },
        start(0, BlockStart::Reasoning),
        delta(0, Delta::Reasoning("h".into())),
        delta(0, Delta::Reasoning("m".into())),
        delta(0, Delta::ReasoningSignature("sig".into())),
        stop(0),
        start(1, BlockStart::Text),
        delta(1, Delta::Text("Hel".into())),
        delta(1, Delta::Text("lo".into())),
        stop(1),
        start(2, BlockStart::ToolUse { id: "c1".into(), name: "look".into() }),
        delta(2, Delta::ToolInput("{\"a\"".into())),
        delta(2, Delta::ToolInput(":1}".into())),
        stop(2),
        ChatEvent::Finished(finished(StopReason::ToolUse)),
    ]
}

#[test]
fn a_stream_ends_with_the_response_that_would_have_been_whole() {
    let call = decode(&json!({"model": "m", "input": "Hi", "stream": true})).unwrap();
    let mut stream = call.stream();
    let written: Vec<Value> = events().iter().flat_map(|event| stream.push(event)).collect();
    let kinds: Vec<&str> = written.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (number, event) in written.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    assert_eq!(written.last().unwrap()["response"], call.encode(&answer()));
    let indices: Vec<&Value> = written
        .iter()
        .filter(|e| e["type"] == "response.output_item.done")
        .map(|e| &e["output_index"])
        .collect();
    assert_eq!(indices, [0, 1, 2]);
    let args = written.iter().find(|e| e["type"] == "response.function_call_arguments.done").unwrap();
    assert_eq!(args["arguments"], "{\"a\":1}");
}

#[test]
fn a_stream_that_is_cut_says_which_item_is_not_whole() {
    let call = decode(&json!({"model": "m", "input": "Hi", "stream": true})).unwrap();
    let mut stream = call.stream();
    let mut events = events();
    *events.last_mut().unwrap() = ChatEvent::Finished(finished(StopReason::MaxTokens));
    let written: Vec<Value> = events.iter().flat_map(|event| stream.push(event)).collect();
    let done = written.iter().filter(|event| event["type"] == "response.output_item.done");
    let items = Value::Array(done.map(|event| event["item"].clone()).collect());
    assert_eq!(statuses(&items), ["completed", "completed", "incomplete"]);
    let last = written.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["output"]), (&json!("response.incomplete"), &items));
}

#[test]
fn a_stream_that_breaks_off_says_why() {
    let call = decode(&json!({"model": "m", "input": "Hi", "stream": true})).unwrap();
    let mut stream = call.stream();
    for event in &events()[..9] {
        stream.push(event);
    }
    let failed = stream.fail(&ApiError::throttling("slow down"));
    assert_eq!(failed["type"], "response.failed");
    assert_eq!(failed["response"]["status"], "failed");
    assert_eq!(failed["response"]["error"], json!({"code": "rate_limit_exceeded", "message": "slow down"}));
}

proptest::proptest! {
    #[test]
    fn no_body_makes_it_panic(body in ".{0,80}", item in "[a-z_]{0,20}") {
        let _ = ResponsesCall::decode(body.as_bytes());
        let _ = decode(&json!({"model": "m", "input": [{"type": item, "content": body, "role": item}]}));
    }
}
