//! What generated outputs and events are on the wire.

use craton_api_bedrock as bedrock;
use craton_api_bedrock_agent_runtime as agent_runtime;
use craton_api_bedrock_runtime as runtime;
use craton_wire::ApiError;
use craton_wire::eventstream::Frame;
use craton_wire::operation::{Event as _, Output, Reply, ReplyBody};
use craton_wire::types::{Blob, Timestamp};
use futures::StreamExt as _;
use futures::executor::block_on;
use serde_json::{Value, json};

fn reply(output: impl Output) -> Reply {
    output.into_reply().unwrap()
}

fn body(reply: Reply) -> Vec<u8> {
    match reply.body {
        ReplyBody::Bytes(bytes) => bytes.to_vec(),
        _ => panic!("no bytes"),
    }
}

fn document(output: impl Output) -> Value {
    serde_json::from_slice(&body(reply(output))).unwrap()
}

fn headers(reply: &Reply) -> Vec<(&str, &str)> {
    reply.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

fn frames(reply: Reply) -> Vec<Result<Frame, ApiError>> {
    match reply.body {
        ReplyBody::Events(frames) => block_on(frames.collect()),
        _ => panic!("not a stream"),
    }
}

#[test]
fn members_keep_their_names_and_absent_ones_are_left_out() {
    let message = runtime::Message {
        role: runtime::ConversationRole::Assistant,
        content: vec![
            runtime::ContentBlock::Text("hi".into()),
            runtime::ContentBlock::ToolUse(runtime::ToolUseBlock {
                tool_use_id: "t1".into(),
                name: "f".into(),
                input: json!({"b": 1, "a": 2}),
                r#type: None,
            }),
        ],
    };
    let response = runtime::ConverseResponse {
        output: runtime::ConverseOutput::Message(message),
        stop_reason: runtime::StopReason::ToolUse,
        usage: runtime::TokenUsage {
            input_tokens: 1,
            output_tokens: 2,
            total_tokens: 3,
            ..Default::default()
        },
        metrics: runtime::ConverseMetrics { latency_ms: 4 },
        additional_model_response_fields: None,
        trace: None,
        performance_config: None,
        service_tier: None,
    };
    assert_eq!(
        String::from_utf8(body(reply(response))).unwrap(),
        r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"},"#.to_owned()
            + r#"{"toolUse":{"toolUseId":"t1","name":"f","input":{"b":1,"a":2}}}]}},"#
            + r#""stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3},"metrics":{"latencyMs":4}}"#
    );
}

#[test]
fn timestamps_are_iso_8601_and_renamed_members_keep_their_wire_names() {
    let response = bedrock::GetInferenceProfileResponse {
        inference_profile_name: "p".into(),
        description: None,
        created_at: Some(Timestamp::from_ms(1_769_853_600_000)),
        updated_at: None,
        inference_profile_arn: "arn".into(),
        models: vec![bedrock::InferenceProfileModel { model_arn: Some("m".into()) }],
        inference_profile_id: "i".into(),
        status: bedrock::InferenceProfileStatus::Active,
        r#type: bedrock::InferenceProfileType::Application,
    };
    let document = document(response);
    assert_eq!(document["createdAt"], "2026-01-31T10:00:00Z");
    assert_eq!((&document["type"], &document["status"]), (&json!("APPLICATION"), &json!("ACTIVE")));
}

#[test]
fn a_blob_payload_is_the_body_and_the_rest_travels_in_headers() {
    let response = runtime::InvokeModelResponse {
        body: Blob::from(b"{}".to_vec()),
        content_type: "application/json".into(),
        performance_config_latency: Some(runtime::PerformanceConfigLatency::Optimized),
        service_tier: None,
    };
    let reply = reply(response);
    assert_eq!(
        headers(&reply),
        [("content-type", "application/json"), ("x-amzn-bedrock-performanceconfig-latency", "optimized")]
    );
    assert_eq!(body(reply), b"{}");

    let response = runtime::InvokeModelResponse {
        body: Blob::default(),
        content_type: "text\nplain".into(),
        performance_config_latency: None,
        service_tier: None,
    };
    assert_eq!(
        response.into_reply().err().map(|error| error.code.into_owned()).as_deref(),
        Some("InternalServerException")
    );
}

#[test]
fn a_structure_payload_is_the_whole_body() {
    let policy_definition =
        bedrock::AutomatedReasoningPolicyDefinition { version: Some("1".into()), ..Default::default() };
    let response = bedrock::ExportAutomatedReasoningPolicyVersionResponse { policy_definition };
    assert_eq!(document(response), json!({"version": "1"}));
}

#[test]
fn streams_are_frames_named_after_their_members_and_end_with_their_error() {
    let part = runtime::PayloadPart { bytes: Some(Blob::from(b"{}".to_vec())) };
    let events = vec![Ok(runtime::ResponseStream::Chunk(part)), Err(ApiError::throttling("slow down"))];
    let reply = reply(runtime::InvokeModelWithResponseStreamResponse {
        body: Box::pin(futures::stream::iter(events)),
        content_type: "application/json".into(),
        performance_config_latency: None,
        service_tier: None,
    });
    assert_eq!(headers(&reply), [("x-amzn-bedrock-content-type", "application/json")]);
    let frames = frames(reply);
    let chunk = frames[0].as_ref().unwrap();
    assert_eq!(chunk.header(":event-type"), Some("chunk"));
    assert_eq!(chunk.header(":message-type"), Some("event"));
    assert_eq!(chunk.header(":content-type"), Some("application/json"));
    assert_eq!(chunk.payload, r#"{"bytes":"e30="}"#);
    assert_eq!(frames[1].as_ref().err().map(|error| error.message.as_str()), Some("slow down"));
}

#[test]
fn every_converse_event_has_its_name() {
    use runtime::ConverseStreamOutput as Stream;
    let delta = runtime::ContentBlockDeltaEvent {
        delta: runtime::ContentBlockDelta::Text("a".into()),
        content_block_index: 0,
    };
    let events = [
        (
            Stream::ContentBlockDelta(delta),
            "contentBlockDelta",
            json!({"delta": {"text": "a"}, "contentBlockIndex": 0}),
        ),
        (
            Stream::ContentBlockStop(runtime::ContentBlockStopEvent { content_block_index: 1 }),
            "contentBlockStop",
            json!({"contentBlockIndex": 1}),
        ),
        (
            Stream::MessageStart(runtime::MessageStartEvent { role: runtime::ConversationRole::Assistant }),
            "messageStart",
            json!({"role": "assistant"}),
        ),
    ];
    for (event, name, payload) in events {
        let frame = event.into_frame().unwrap();
        assert_eq!(frame.header(":event-type"), Some(name));
        assert_eq!(serde_json::from_slice::<Value>(&frame.payload).unwrap(), payload);
    }
}

#[test]
fn an_agents_stream_has_its_session_in_the_headers() {
    let events = vec![Ok(agent_runtime::ResponseStream::Chunk(agent_runtime::PayloadPart {
        bytes: Some(Blob::from(b"hi".to_vec())),
        attribution: None,
    }))];
    let reply = reply(agent_runtime::InvokeAgentResponse {
        completion: Box::pin(futures::stream::iter(events)),
        content_type: "application/json".into(),
        session_id: "s1".into(),
        memory_id: None,
    });
    assert_eq!(
        headers(&reply),
        [("x-amzn-bedrock-agent-content-type", "application/json"), ("x-amz-bedrock-agent-session-id", "s1"),]
    );
    assert_eq!(frames(reply).len(), 1);
}
