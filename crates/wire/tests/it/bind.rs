//! Binding and validation over the generated tables, with the messages clients see.

use bytes::Bytes;
use craton_api_bedrock as bedrock;
use craton_api_bedrock_agent as agent;
use craton_api_bedrock_runtime as runtime;
use craton_wire::bind::{Bound, bind};
use craton_wire::operation::Input;
use craton_wire::route::Router;
use craton_wire::types::Timestamp;
use craton_wire::{ApiError, operation::ModelledOperation};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tables::TABLES;

fn call_with(line: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Result<Bound, ApiError> {
    let (method, target) = line.split_once(' ').unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let found = Router::new(&TABLES).route(method, path)?;
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    bind(&found, query, &headers, Bytes::copy_from_slice(body))
}

fn call(line: &str, body: &Value) -> Result<Bound, ApiError> {
    call_with(line, &[], body.to_string().as_bytes())
}

fn input<I: Input>(bound: Result<Bound, ApiError>) -> I {
    bound.unwrap().into_input().unwrap()
}

/// Name and message of the error.
fn refusal(bound: Result<Bound, ApiError>) -> (String, String) {
    let error = bound.unwrap_err();
    (error.code.into_owned(), error.message)
}

fn invalid(line: &str, body: &Value) -> String {
    let (code, message) = refusal(call(line, body));
    assert_eq!(code, "ValidationException", "{message}");
    message
}

fn unreadable(line: &str, body: &Value) -> String {
    let (code, message) = refusal(call(line, body));
    assert_eq!(code, "SerializationException", "{message}");
    message
}

const CONVERSE: &str = "POST /model/m1/converse";

fn converse(extra: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

#[test]
fn a_converse_request_becomes_its_type() {
    let bound = call(
        "POST /model/us.anthropic.claude%3A0/converse",
        &json!({
            "modelId": "not from here",
            "messages": [{"role": "user", "content": [
                {"text": "look"},
                {"image": {"format": "png", "source": {"bytes": "aGk="}}, "future": 1, "video": null},
            ]}],
            "system": null,
            "inferenceConfig": {"maxTokens": 100.0, "temperature": 1, "topP": 0.5, "unknown": true},
            "toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"b": 1, "a": null}}}}]},
            "additionalModelRequestFields": {"top_k": 3},
            "requestMetadata": {"team": "a"},
            "somethingNew": [1, 2],
        }),
    );
    let request: runtime::ConverseRequest = input(bound);
    assert_eq!(request.model_id, "us.anthropic.claude:0");
    let messages = request.messages.unwrap();
    assert!(matches!(&messages[0].content[0], runtime::ContentBlock::Text(text) if text == "look"));
    let runtime::ContentBlock::Image(image) = &messages[0].content[1] else { panic!("an image") };
    assert!(matches!(&image.source, runtime::ImageSource::Bytes(bytes) if bytes.0 == "hi"));
    assert!(request.system.is_none());
    let config = request.inference_config.unwrap();
    assert_eq!((config.max_tokens, config.temperature, config.top_p), (Some(100), Some(1.0), Some(0.5)));
    let Some(runtime::Tool::ToolSpec(tool)) = request.tool_config.map(|mut config| config.tools.remove(0))
    else {
        panic!("a tool")
    };
    let runtime::ToolInputSchema::Json(schema) = tool.input_schema;
    assert_eq!(schema.to_string(), r#"{"b":1,"a":null}"#, "documents keep their order and their nulls");
    assert_eq!(request.request_metadata.unwrap()["team"], "a");
}

#[test]
fn a_blob_payload_is_the_body_and_headers_are_members() {
    let body = b"\x00 not json";
    let headers = [("content-type", "application/json"), ("x-amzn-bedrock-trace", "ENABLED")];
    let bound = call_with("POST /model/m1/invoke", &headers, body);
    let request: runtime::InvokeModelRequest = input(bound);
    assert_eq!(request.body.unwrap().0, &body[..]);
    assert_eq!(request.content_type.as_deref(), Some("application/json"));
    assert_eq!(request.trace, Some(runtime::Trace::Enabled));
    assert_eq!(request.accept, None);

    let headers = [("x-amzn-bedrock-trace", "LOUD")];
    let (code, message) = refusal(call_with("POST /model/m1/invoke", &headers, b""));
    assert_eq!(code, "ValidationException");
    insta::assert_snapshot!(message, @"1 validation error detected: Value 'LOUD' at 'trace' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED, ENABLED_FULL]");
}

#[test]
fn a_structure_payload_is_the_whole_body() {
    let arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aautomated-reasoning-policy%2F0123456789ab";
    let line = format!("POST /automated-reasoning-policies/{arn}/build-workflows/IMPORT_POLICY/start");
    let bound = call(&line, &json!({"workflowContent": {"policyRepairAssets": {"annotations": []}}}));
    let bound = bound.unwrap();
    assert!(bound.document()["sourceContent"]["workflowContent"].is_object());
    assert_eq!(bound.document()["clientRequestToken"].as_str().map(str::len), Some(36), "filled in");
}

#[test]
fn queries_are_read_by_shape() {
    let bound = call_with(
        "GET /model-customization-jobs?maxResults=5&creationTimeAfter=2026-01-31T10%3A00%3A00Z&nameContains=a%2Bb&x=1",
        &[],
        b"ignored",
    );
    let request: bedrock::ListModelCustomizationJobsRequest = input(bound);
    assert_eq!(request.max_results, Some(5));
    assert_eq!(request.name_contains.as_deref(), Some("a+b"));
    assert_eq!(request.creation_time_after, Some(Timestamp::from_ms(1_769_853_600_000)));

    let arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aagent%2FABCDEFGHIJ";
    let bound = call_with(&format!("DELETE /tags/{arn}?tagKeys=a&tagKeys=b%20c"), &[], b"");
    let request: agent::UntagResourceRequest = input(bound);
    assert_eq!(request.tag_keys, ["a", "b c"]);

    let refused = refusal(call_with("GET /model-customization-jobs?maxResults=many", &[], b""));
    assert_eq!(refused.0, "SerializationException");
    assert_eq!(refused.1, "STRING_VALUE can not be converted to an Integer at 'maxResults'");
    let refused = refusal(call_with("GET /model-customization-jobs?maxResults=5000", &[], b""));
    insta::assert_snapshot!(refused.1, @"1 validation error detected: Value '5000' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 1000");
    let refused = refusal(call_with("GET /custom-models?isOwned=yes", &[], b""));
    assert_eq!(refused.1, "STRING_VALUE can not be converted to a Boolean at 'isOwned'");
    let refused = refusal(call_with("GET /custom-models?creationTimeAfter=soon", &[], b""));
    assert_eq!(refused.1, "STRING_VALUE can not be converted to a Timestamp at 'creationTimeAfter'");
}

#[test]
fn bodies_that_are_not_json_objects_are_serialization_exceptions() {
    for body in ["{", "[1]", "\"x\"", "{\"messages\": }", "nonsense", "{\"a\":1} x"] {
        let (code, _) = refusal(call_with(CONVERSE, &[], body.as_bytes()));
        assert_eq!(code, "SerializationException", "{body}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    assert_eq!(refusal(call_with(CONVERSE, &[], deep.as_bytes())).0, "SerializationException");
    let bound = call_with(CONVERSE, &[], b"");
    assert!(bound.is_ok(), "an empty body is an empty document: {bound:?}");
}

#[test]
fn wrong_types_name_the_member() {
    for (body, expected) in [
        (json!({"messages": {}}), "Start of structure or map found where not expected at 'messages'"),
        (json!({"messages": "hi"}), "Expected a list at 'messages'"),
        (
            json!({"messages": [{"role": 1}]}),
            "NUMBER_VALUE can not be converted to a String at 'messages.1.member.role'",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"text": ["a"]}]}]}),
            "Start of list found where not expected at 'messages.1.member.content.1.member.text'",
        ),
        (
            json!({"inferenceConfig": {"maxTokens": "5"}}),
            "STRING_VALUE can not be converted to an Integer at 'inferenceConfig.maxTokens'",
        ),
        (
            json!({"inferenceConfig": {"maxTokens": 99_999_999_999_i64}}),
            "NUMBER_VALUE can not be converted to an Integer at 'inferenceConfig.maxTokens'",
        ),
        (
            json!({"inferenceConfig": {"maxTokens": 1.5}}),
            "NUMBER_VALUE can not be converted to an Integer at 'inferenceConfig.maxTokens'",
        ),
        (
            json!({"inferenceConfig": {"topP": true}}),
            "TRUE_VALUE can not be converted to a Float at 'inferenceConfig.topP'",
        ),
        (
            json!({"requestMetadata": {"a": 1}}),
            "NUMBER_VALUE can not be converted to a String at 'requestMetadata.a.member'",
        ),
        (
            json!({"messages": [{"role": "user", "content": [
                {"image": {"format": "png", "source": {"bytes": "a b"}}}]}]}),
            "The value is not valid base64 at 'messages.1.member.content.1.member.image.source.bytes'",
        ),
    ] {
        assert_eq!(unreadable(CONVERSE, &body), expected);
    }
}

#[test]
fn constraints_are_told_as_aws_tells_them() {
    let missing = invalid(CONVERSE, &json!({"messages": [{"role": null, "content": []}]}));
    insta::assert_snapshot!(missing, @"1 validation error detected: Value null at 'messages.1.member.role' failed to satisfy constraint: Member must not be null");

    let several = invalid(
        CONVERSE,
        &converse(json!({
            "messages": [{"role": "robot", "content": [{"text": "x"}]}],
            "inferenceConfig": {"maxTokens": 0, "temperature": 1.5, "topP": -1, "stopSequences": ["", "ok"]},
            "toolConfig": {"tools": [
                {"toolSpec": {"name": "ok", "inputSchema": {"json": {}}}},
                {"toolSpec": {"name": "not ok", "description": "", "inputSchema": {"json": {}}}},
            ]},
        })),
    );
    insta::assert_snapshot!(several.replace("; ", ";\n"), @r"
    7 validation errors detected: Value 'robot' at 'messages.1.member.role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant, system];
    Value '0' at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1;
    Value '1.5' at 'inferenceConfig.temperature' failed to satisfy constraint: Member must have value less than or equal to 1;
    Value '-1' at 'inferenceConfig.topP' failed to satisfy constraint: Member must have value greater than or equal to 0;
    Value at 'inferenceConfig.stopSequences' failed to satisfy constraint: Member must satisfy constraint: [Member must have length greater than or equal to 1];
    Value 'not ok' at 'toolConfig.tools.2.member.toolSpec.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+;
    Value '' at 'toolConfig.tools.2.member.toolSpec.description' failed to satisfy constraint: Member must have length greater than or equal to 1
    ");

    let no_tools = invalid(CONVERSE, &converse(json!({"toolConfig": {"tools": []}})));
    insta::assert_snapshot!(no_tools, @"1 validation error detected: Value at 'toolConfig.tools' failed to satisfy constraint: Member must have length greater than or equal to 1");

    let null_item = invalid(CONVERSE, &json!({"messages": [null]}));
    insta::assert_snapshot!(null_item, @"1 validation error detected: Value null at 'messages.1.member' failed to satisfy constraint: Member must not be null");

    let long_key = "k".repeat(300);
    let metadata = invalid(CONVERSE, &converse(json!({"requestMetadata": {long_key: "v"}})));
    insta::assert_snapshot!(metadata, @r#"1 validation error detected: Value at 'requestMetadata' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 256, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [a-zA-Z0-9\s:_@$#=/+,-.]{1,256}]"#);
}

#[test]
fn pattern_comes_before_length_and_long_values_are_cut() {
    let name = "!".repeat(2_000);
    let message = invalid(
        "POST /guardrails",
        &json!({"name": name, "blockedInputMessaging": "a", "blockedOutputsMessaging": "b"}),
    );
    let (count, rest) = message.split_once(": ").unwrap();
    assert_eq!(count, "2 validation errors detected");
    let (pattern, length) = rest.split_once("; ").unwrap();
    assert!(pattern.ends_with("regular expression pattern: [0-9a-zA-Z-_]+"), "{pattern}");
    assert!(length.ends_with("Member must have length less than or equal to 50"), "{length}");
    assert!(message.len() < 3_000);
}

#[test]
fn secrets_are_not_repeated() {
    let body = json!({"agentName": "a", "instruction": "too short"});
    let message = invalid("PUT /agents/", &body);
    assert!(!message.contains("too short"), "{message}");
    assert!(message.contains("Value at 'instruction'"), "{message}");
}

#[test]
fn unions_have_exactly_one_member() {
    let content = |block: Value| json!({"messages": [{"role": "user", "content": [{"text": "a"}, block]}]});
    let none = invalid(CONVERSE, &content(json!({})));
    let start =
        "The ContentBlock object at messages.0.content.1 must set one of the following keys: text, image, ";
    assert!(none.starts_with(start), "{none}");
    assert!(invalid(CONVERSE, &content(json!({"hologram": {}}))).starts_with(start));
    assert!(invalid(CONVERSE, &content(json!({"text": null}))).starts_with(start));
    let both = invalid(CONVERSE, &content(json!({"text": "a", "cachePoint": {"type": "default"}})));
    assert!(both.contains("messages.0.content.1 must set only one of"), "{both}");
}

#[test]
fn the_number_of_reported_errors_is_bounded() {
    let messages: Vec<_> = (0..10_000).map(|_| json!({"content": []})).collect();
    let message = invalid(CONVERSE, &json!({"messages": messages}));
    assert!(message.starts_with("50 validation errors detected: "));
}

#[test]
fn tokens_are_filled_in_and_kept() {
    let body = json!({"inferenceProfileName": "p", "modelSource": {"copyFrom": "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-text-express-v1"}});
    let request: bedrock::CreateInferenceProfileRequest = input(call("POST /inference-profiles", &body));
    let first = request.client_request_token.unwrap();
    let request: bedrock::CreateInferenceProfileRequest = input(call("POST /inference-profiles", &body));
    assert_ne!(request.client_request_token, Some(first));
    let mut body = body;
    body["clientRequestToken"] = json!("mine");
    let request: bedrock::CreateInferenceProfileRequest = input(call("POST /inference-profiles", &body));
    assert_eq!(request.client_request_token.as_deref(), Some("mine"));
}

#[test]
fn two_prefixes_are_more_than_the_model_allows_and_accepted() {
    let body = json!({"name": "docs", "dataSourceConfiguration": {"type": "S3", "s3Configuration": {
        "bucketArn": "arn:aws:s3:::my-product-documentation", "inclusionPrefixes": ["docs/", "faqs/"]}}});
    let request: agent::CreateDataSourceRequest =
        input(call("PUT /knowledgebases/ABCDEFGHIJ/datasources/", &body));
    assert_eq!(request.knowledge_base_id, "ABCDEFGHIJ");
    assert_eq!(<agent::ops::CreateDataSource as ModelledOperation>::operation().name, "CreateDataSource");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No bytes and no JSON make binding panic, and what passes validation always becomes its type.
    #[test]
    fn what_is_valid_is_typed(body in json_like(), raw in proptest::collection::vec(any::<u8>(), 0..64), query in ".{0,40}") {
        let _ = call_with(CONVERSE, &[], &raw);
        let _ = call_with(&format!("GET /custom-models?{query}"), &[], &raw);
        if let Ok(bound) = call(CONVERSE, &body) {
            prop_assert!(bound.into_input::<runtime::ConverseRequest>().is_ok(), "{}", body);
        }
        if let Ok(bound) = call("POST /model/m/count-tokens", &json!({"input": {"converse": body}})) {
            prop_assert!(bound.into_input::<runtime::CountTokensRequest>().is_ok());
        }
    }
}

/// JSON out of words that Converse knows, so that a part of it gets far.
fn json_like() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "user|assistant|png|default|aGk=|[a-z]{0,3}".prop_map(Value::from),
    ];
    let key = "text|image|format|source|bytes|role|content|json|toolUse|toolUseId|name|input|cachePoint|type|auto|any";
    let nested = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..3)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    });
    let block = prop_oneof![
        nested.clone().prop_map(|value| json!({"text": value})),
        nested.clone().prop_map(|value| json!({"image": {"format": "png", "source": value}})),
        nested.clone().prop_map(|value| json!({"toolUse": {"toolUseId": "a", "name": "b", "input": value}})),
        nested.clone(),
    ];
    (proptest::collection::vec(block, 0..3), proptest::option::of(nested), any::<bool>()).prop_map(
        |(content, config, extra)| {
            let mut body = json!({"messages": [{"role": "user", "content": content}]});
            if let Some(config) = config {
                body[if extra { "additionalModelRequestFields" } else { "toolConfig" }] = config;
            }
            body
        },
    )
}
