//! What Converse refuses, in AWS's words.

use std::collections::BTreeSet;

use craton_backend::{Block, Role};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::scripted::{input, user, world};

const START: &str = "A conversation must start with a user message. Try again with a conversation that starts with a user message.";
const ALTERNATE: &str = "A conversation must alternate between user and assistant roles. Make sure the conversation \
                         alternates between user and assistant roles and try again.";
const NAME: &str = "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, \
                    parentheses, and square brackets. The name can't contain more than one consecutive whitespace \
                    character. Check that the file name conforms to these restrictions and retry your request.";
const TOOL_CONFIG: &str =
    "The toolConfig field must be defined when using toolUse and toolResult content blocks.";

/// Each request is refused with each message, and none reaches the model.
async fn refused(cases: Vec<(Value, &str)>) {
    let world = world().await;
    for (fields, message) in cases {
        let answer = world.inference.converse(&world.context, input(fields.clone())).await;
        let error = answer.map(|_| ()).expect_err(message);
        assert_eq!(
            (error.code.as_ref(), error.message.as_str()),
            ("ValidationException", message),
            "{fields}"
        );
        let answer = world.inference.converse_stream(&world.context, input(fields)).await;
        assert_eq!(answer.map(|_| ()).unwrap_err().message, message);
    }
    assert!(world.model.requests.lock().is_empty());
}

fn turn(role: &str, content: Value) -> Value {
    json!({"role": role, "content": content})
}

fn document(name: &str) -> Value {
    json!({"document": {"name": name, "format": "txt", "source": {"bytes": "aGk="}}})
}

fn tools() -> Value {
    json!({"tools": [{"toolSpec": {"name": "add", "inputSchema": {"json": {"type": "object"}}}}]})
}

fn tool_use(id: &str) -> Value {
    json!({"toolUse": {"toolUseId": id, "name": "add", "input": {}}})
}

fn tool_result(id: &str) -> Value {
    json!({"toolResult": {"toolUseId": id, "content": [{"text": "3"}]}})
}

#[tokio::test]
async fn turns() {
    let text = |text: &str| json!([{"text": text}]);
    refused(vec![
        (json!({}), START),
        (json!({"messages": []}), START),
        (json!({"messages": [turn("assistant", text("hi"))]}), START),
        (json!({"messages": [turn("user", text("a")), turn("user", text("b"))]}), ALTERNATE),
        (
            json!({"messages": [turn("user", json!([]))]}),
            "The content field in the Message object at messages.0 is empty. Add a ContentBlock object to the content \
             field and try again.",
        ),
        (
            json!({"messages": [turn("user", text("a")), turn("assistant", text(" \n"))]}),
            "The text field in the ContentBlock object at messages.1.content.0 is blank. Add text to the text field, \
             and try again.",
        ),
        (
            json!({"messages": [turn("user", text("a")), turn("system", text("b"))]}),
            "This model doesn't support the system role at messages.1. Put the text in the system field and try again.",
        ),
        (
            json!({"messages": [turn("user", json!([{"text": "a"}, {"video": {"format": "mp4", "source": {"bytes": "aGk="}}}]))]}),
            "This model doesn't support the video content block that you provided. Update the content block and try \
             again.",
        ),
        (
            json!({"messages": [turn("user", json!([{"text": "a"}, {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}}]))]}),
            "This server keeps no objects. Send the image as bytes and try again.",
        ),
    ])
    .await;
}

#[tokio::test]
async fn tool_turns() {
    let ask = turn("user", json!([{"text": "add"}]));
    let called = turn("assistant", json!([tool_use("t1"), tool_use("t2")]));
    let talk = |messages: Value| json!({"messages": messages, "toolConfig": tools()});
    refused(vec![
        (json!({"messages": [ask, called]}), TOOL_CONFIG),
        (json!({"messages": [turn("user", json!([tool_result("t1")]))]}), TOOL_CONFIG),
        (
            talk(json!([turn("user", json!([tool_result("t1")]))])),
            "The number of toolResult blocks at messages.0.content exceeds the number of toolUse blocks of previous \
             turn.",
        ),
        (
            talk(json!([ask, called, turn("user", json!([tool_result("t1")]))])),
            "Expected toolResult blocks at messages.2.content for the following Ids: t2",
        ),
        (
            talk(json!([ask, called, turn("user", json!([{"text": "and?"}]))])),
            "Expected toolResult blocks at messages.2.content for the following Ids: t1, t2",
        ),
        (
            talk(json!([ask, called, turn("user", json!([tool_result("t1"), tool_result("x")]))])),
            "Expected toolResult blocks at messages.2.content for the following Ids: t2",
        ),
        (
            talk(json!([ask, turn("assistant", json!([tool_use("t1")])), turn("user", json!([
                {"toolResult": {"toolUseId": "t1", "status": "error", "content": []}}]))])),
            "The content field at messages.2.content.0.toolResult cannot be empty when status value is error.",
        ),
        (
            talk(json!([
                ask,
                turn("assistant", json!([tool_use("t1"), tool_use("t1")])),
                turn("user", json!([tool_result("t1")]))
            ])),
            "The toolUse blocks at messages.1.content contain duplicate Ids: t1",
        ),
        (
            talk(json!([turn("user", json!([tool_use("t1")]))])),
            "The toolUse block at messages.0.content.0 is in a message with the user role. It must be in a message \
             with the assistant role.",
        ),
    ])
    .await;
}

#[tokio::test]
async fn tool_configurations() {
    let with = |config: Value| json!({"messages": user("hi"), "toolConfig": config});
    let spec =
        |name: &str, schema: Value| json!({"toolSpec": {"name": name, "inputSchema": {"json": schema}}});
    let object = json!({"type": "object"});
    refused(vec![
        (
            with(json!({"tools": [spec("a", json!({"type": "string"}))]})),
            "The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must be one of the following: object.",
        ),
        (
            with(json!({"tools": [spec("a", object.clone()), spec("a", object.clone())]})),
            "The tool name a at toolConfig.tools.1 is used more than once. Give each tool its own name and try again.",
        ),
        (
            with(json!({"tools": [spec("a", object.clone())], "toolChoice": {"tool": {"name": "b"}}})),
            "The tool b at toolConfig.toolChoice.tool.name is not defined in toolConfig.tools. Choose a tool that is \
             defined there and try again.",
        ),
        (
            with(json!({"tools": [{"cachePoint": {"type": "default"}}], "toolChoice": {"any": {}}})),
            "The toolConfig.tools field must define at least one tool.",
        ),
        (
            with(json!({"tools": [{"systemTool": {"name": "nova_grounding"}}]})),
            "This model doesn't support the system tool nova_grounding at toolConfig.tools.0.",
        ),
    ])
    .await;
}

#[tokio::test]
async fn documents() {
    let with = |documents: Vec<Value>| {
        let content: Vec<Value> = [json!({"text": "read"})].into_iter().chain(documents).collect();
        json!({"messages": [turn("user", json!(content))]})
    };
    refused(vec![
        (with(vec![document("a.txt")]), NAME),
        (with(vec![document("a  b")]), NAME),
        (with(vec![document("a\u{3000}b")]), NAME),
        (
            with(vec![document("a"), document("a")]),
            "Messages can't contain duplicate document names. Rename the document and retry your request.",
        ),
        (
            with((0..6).map(|n| document(&format!("doc_{n}"))).collect()),
            "You can't include more than 5 documents in a request.",
        ),
        (
            json!({"messages": [turn("user", json!([document("a")]))]}),
            "A text block must be included when using documents.",
        ),
        (
            with(vec![
                json!({"document": {"name": "a", "format": "xlsx", "source": {"bytes": "AAECA/8AAQID"}}}),
            ]),
            "The document 'a' could not be read as xlsx: it is not well-formed: it is not a xlsx document.",
        ),
    ])
    .await;
}

#[tokio::test]
async fn everything_else() {
    let prompt = "arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ:1";
    let with = |name: &str, value: Value| json!({"messages": user("hi"), name: value});
    let schema = |schema: &str| json!({"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}});
    refused(vec![
        (
            with("guardrailConfig", json!({"guardrailIdentifier": "abc", "guardrailVersion": "1"})),
            "This server keeps no guardrails.",
        ),
        (
            with("modelId", json!(prompt)),
            "This server keeps no prompts. Send a model id as the modelId.",
        ),
        (
            with("promptVariables", json!({"a": {"text": "b"}})),
            "The promptVariables field is only for a prompt's ARN as the modelId. Remove it and try again.",
        ),
        (
            with("additionalModelResponseFieldPaths", json!(["/ok", "stop"])),
            "The value at additionalModelResponseFieldPaths.1 is not a valid JSON Pointer: stop",
        ),
        (
            with("additionalModelRequestFields", json!({"messages": []})),
            "The additional field messages conflicts with an existing field. Remove messages and try again.",
        ),
        (
            with("outputConfig", schema("3")),
            "The value at outputConfig.textFormat.structure.jsonSchema.schema is not valid: it must be a JSON object.",
        ),
    ])
    .await;
}

fn any_block() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ a-z]{0,3}".prop_map(|text| json!({"text": text})),
        "[abc]".prop_map(|id| tool_use(&id)),
        "[abc]".prop_map(|id| tool_result(&id)),
        "[ab. ]{1,3}".prop_map(|name| document(&name)),
        Just(json!({"cachePoint": {"type": "default"}})),
        Just(json!({"reasoningContent": {"reasoningText": {"text": "hm"}}})),
    ]
}

/// Turns that mostly alternate, as nothing else would get far.
fn any_turns() -> impl Strategy<Value = Vec<Value>> {
    let role = prop_oneof![12 => Just(None), 1 => Just(Some("user")), 1 => Just(Some("system"))];
    let turns = proptest::collection::vec((role, proptest::collection::vec(any_block(), 0..3)), 0..5);
    turns.prop_map(|turns| {
        let turns = turns.into_iter().enumerate();
        turns
            .map(|(index, (role, content))| {
                let due = if index % 2 == 0 { "user" } else { "assistant" };
                turn(role.unwrap_or(due), json!(content))
            })
            .collect()
    })
}

fn ids(content: &[Block], id: fn(&Block) -> Option<&str>) -> BTreeSet<&str> {
    content.iter().filter_map(id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_reaches_the_model_keeps_the_rules(turns in any_turns()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = world().await;
            let request = input(json!({"messages": turns, "toolConfig": tools()}));
            if let Err(error) = world.inference.converse(&world.context, request).await {
                assert_eq!(error.code, "ValidationException");
                assert!(world.model.requests.lock().is_empty());
                return;
            }
            let asked = world.model.asked();
            let mut previous: &[Block] = &[];
            for (index, message) in asked.messages.iter().enumerate() {
                assert_eq!(message.role == Role::User, index % 2 == 0);
                assert!(!message.content.is_empty());
                let used = |block: &Block| matches!(block, Block::ToolUse(_));
                assert!(message.role == Role::Assistant || !message.content.iter().any(used));
                let uses = ids(previous, |block| match block {
                    Block::ToolUse(tool_use) => Some(&tool_use.id),
                    _ => None,
                });
                let results = ids(&message.content, |block| match block {
                    Block::ToolResult(result) => Some(&result.tool_use_id),
                    _ => None,
                });
                assert_eq!(uses, results);
                previous = &message.content;
            }
        });
    }
}

#[tokio::test]
async fn what_a_message_is_made_of() {
    let point = json!({"cachePoint": {"type": "default"}});
    let reasoning = json!({"reasoningContent": {"reasoningText": {"text": "hm"}}});
    let broken_call = json!({"toolUse": {"toolUseId": "t", "name": "add", "input": "{"}});
    let hi = turn("user", json!([{"text": "hi"}]));
    let pdf = json!({"document": {"name": "a", "format": "pdf", "source": {"bytes": "aGk="}}});
    let zip = json!({"document": {"name": "a", "format": "xlsx", "source": {"bytes": "UEsDBAAAAAAAAAAA"}}});
    let unsaid = |effort: &str| json!({"messages": [hi.clone()], "outputConfig": {"effort": effort}});
    refused(vec![
        (
            json!({"messages": [turn("user", json!([point]))]}),
            "The content field in the Message object at messages.0 has nothing but cache points. Add a ContentBlock \
             object with content to the content field and try again.",
        ),
        (
            json!({"messages": [hi, turn("assistant", json!([reasoning, point]))]}),
            "Cache point cannot be inserted after reasoning block. Please remove the invalid cache point and try again.",
        ),
        (
            json!({"messages": [hi, turn("assistant", json!([broken_call]))], "toolConfig": tools()}),
            "The format of the value at messages.1.content.0.toolUse.input is invalid. Provide a json object for the \
             field and try again.",
        ),
        (
            json!({"messages": [hi], "toolConfig": {"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": "{}"}}}]}}),
            "The format of the value at toolConfig.tools.0.toolSpec.inputSchema.json is invalid. Provide a json object \
             for the field and try again.",
        ),
        (
            json!({"messages": [hi, turn("assistant", json!([{"text": "Well, "}]))]}),
            "The model returned the following errors: messages: final assistant content cannot end with trailing \
             whitespace",
        ),
        (
            json!({"messages": [turn("user", json!([{"text": "read"}, pdf]))]}),
            "The document 'a' could not be read as pdf: it is not well-formed: it is not a pdf document.",
        ),
        (
            json!({"messages": [turn("user", json!([{"text": "read"}, zip]))]}),
            "The document 'a' could not be read as xlsx: it is an archive, but no Word document (.docx), Excel \
             workbook (.xlsx) or PowerPoint presentation (.pptx).",
        ),
        (
            unsaid("extreme"),
            "The value at outputConfig.effort must be one of the following: low, medium, high, xhigh, max.",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_the_models_provider_refuses() {
    const OF_MODEL: &str = "The model returned the following errors: ";
    let with = |fields: Value| {
        let mut request = json!({"messages": user("hi")});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        request
    };
    let extra = |fields: Value| with(json!({"additionalModelRequestFields": fields}));
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 2000}});
    let sampled = |model: &str, fields: Value| json!({"modelId": model, "messages": user("hi"), "additionalModelRequestFields": fields});
    let points = |count| vec![json!({"cachePoint": {"type": "default"}}); count];
    let cached = |system: usize| {
        let content: Vec<Value> = [json!({"text": "hi"})].into_iter().chain(points(2)).collect();
        let mut tools = tools();
        tools["tools"].as_array_mut().unwrap().extend(points(2));
        json!({"messages": [turn("user", json!(content))], "toolConfig": tools, "system": points(system)})
    };
    let large =
        json!({"document": {"name": "a", "format": "txt", "source": {"text": "a".repeat(4_718_593)}}});
    let of_model =
        |message: &str| -> &'static str { Box::leak(format!("{OF_MODEL}{message}").into_boxed_str()) };
    let page = "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking";
    let cool = format!(
        "`temperature` may only be set to 1 when thinking is enabled. {page}#important-considerations-when-using-extended-thinking"
    );
    let tight = format!(
        "`max_tokens` must be greater than `thinking.budget_tokens`. {page}#max-tokens-and-context-window-size"
    );
    let thinking_with =
        |config: Value| with(json!({"additionalModelRequestFields": thinking, "inferenceConfig": config}));
    refused(vec![
        (extra(json!({"banana": 1})), of_model("banana: Extra inputs are not permitted")),
        (extra(json!({"output_config": {"effort": "odd"}})), of_model(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        )),
        (extra(json!({"topK": 4})), of_model("topK: Extra inputs are not permitted")),
        (extra(json!({"presence_penalty": 0.1})), of_model("presence_penalty: Extra inputs are not permitted")),
        (extra(json!({"top_k": -4})), of_model("top_k: Input should be greater than or equal to 0")),
        (sampled("openai.gpt-oss-20b-1:0", json!({"reasoning_effort": "odd"})), of_model(
            "Invalid 'reasoning_effort': 'odd'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', \
             'xhigh' or 'max'.",
        )),
        (sampled("amazon.nova-lite-v1:0", json!({"inferenceConfig": {"topK": 400}})), of_model(
            "Malformed input request: #/inferenceConfig/topK: 400 is not less or equal to 128, please reformat your \
             input and try again.",
        )),
        (thinking_with(json!({"temperature": 0.5})), of_model(&cool)),
        (thinking_with(json!({"maxTokens": 2000})), of_model(&tight)),
        (cached(1), of_model("A maximum of 4 blocks with cache_control may be provided. Found 5.")),
        (
            json!({"messages": [turn("user", json!([{"text": "read"}, large]))]}),
            "The maximum document size is 4.5 MB. Reduce the size of your document and retry your request.",
        ),
        (
            json!({"modelId": "amazon.nova-lite-v1:0", "messages": user("hi"),
                "additionalModelRequestFields": {"inferenceConfig": {"topK": 5, "banana": 1}}}),
            of_model("Malformed input request: #/inferenceConfig: extraneous key [banana] is not permitted, please \
                      reformat your input and try again."),
        ),
    ])
    .await;
    let world = world().await;
    for fields in [cached(0), extra(json!({"anthropic_beta": ["x"], "metadata": {"user_id": "u"}}))] {
        world.inference.converse(&world.context, input(fields)).await.unwrap();
    }
    // A count is of what would be answered.
    let counted = json!({"input": {"converse": {"messages": user("hi"), "additionalModelRequestFields": {"banana": 1}}}});
    let refused = world.inference.count_tokens(&world.context, input(counted)).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.message, of_model("banana: Extra inputs are not permitted"));
}

#[tokio::test]
async fn another_family_takes_a_prefill_as_it_is() {
    let world = world().await;
    let messages =
        json!([turn("user", json!([{"text": "hi"}])), turn("assistant", json!([{"text": "Well, "}]))]);
    let mut request: craton_api_bedrock_runtime::ConverseRequest = input(json!({"messages": messages}));
    request.model_id = "meta.llama3-8b-instruct-v1:0".into();
    world.inference.converse(&world.context, request).await.unwrap();
    assert_eq!(world.model.asked().messages.len(), 2);
}

#[tokio::test]
async fn families_that_do_not_think_refuse_to_be_told_to() {
    let asked = |model: &str, field: &str| {
        json!({"modelId": model, "messages": user("hi"),
               "additionalModelRequestFields": {field: {"type": "enabled", "budget_tokens": 2000}}})
    };
    let unknown = |field: &str| -> &'static str {
        let said = format!(
            "The model returned the following errors: Malformed input request: #: extraneous key [{field}] is not \
             permitted, please reformat your input and try again."
        );
        Box::leak(said.into_boxed_str())
    };
    refused(vec![
        (asked("amazon.nova-lite-v1:0", "thinking"), unknown("thinking")),
        (asked("meta.llama3-8b-instruct-v1:0", "reasoning_config"), unknown("reasoning_config")),
        (
            json!({"modelId": "amazon.nova-lite-v1:0", "messages": user("hi"),
                "additionalModelRequestFields": {"thinking": {"type": "disabled"}}}),
            unknown("thinking"),
        ),
    ])
    .await;
    let world = world().await;
    for field in ["thinking", "reasoning_config"] {
        let request = input(asked("anthropic.claude-3-7-sonnet-20250219-v1:0", field));
        world.inference.converse(&world.context, request).await.unwrap();
        assert_eq!(world.model.asked().reasoning_budget_tokens, Some(2000));
    }
}

/// As Anthropic's API says it of each of its models.
#[tokio::test]
async fn claude_thinks_as_the_model_that_is_asked_can() {
    const ENABLED: &str = "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \
                           \"output_config.effort\" to control thinking behavior.";
    let enabled = || json!({"type": "enabled", "budget_tokens": 1024});
    let adaptive = || json!({"type": "adaptive"});
    let world = world().await;
    for (model, thinking, refusal) in [
        (
            "anthropic.claude-3-5-sonnet-20241022-v2:0",
            enabled(),
            Some("'claude-3-5-sonnet-20241022' does not support thinking."),
        ),
        (
            "us.anthropic.claude-3-haiku-20240307-v1:0",
            adaptive(),
            Some("'claude-3-haiku-20240307' does not support thinking."),
        ),
        (
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            adaptive(),
            Some("adaptive thinking is not supported on this model"),
        ),
        ("anthropic.claude-opus-5", enabled(), Some(ENABLED)),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", json!({"type": "disabled"}), None),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", enabled(), None),
        ("anthropic.claude-opus-4-6-v1", enabled(), None),
        ("anthropic.claude-opus-4-6-v1", adaptive(), None),
        ("anthropic.claude-opus-5", adaptive(), None),
    ] {
        let fields = json!({"modelId": model, "messages": user("hi"), "inferenceConfig": {"maxTokens": 2000},
            "additionalModelRequestFields": {"thinking": thinking}});
        let conversed = world.inference.converse(&world.context, input(fields)).await;
        let said = conversed.map(drop).map_err(|error| error.message);
        let converse = refusal.map(|refusal| format!("The model returned the following errors: {refusal}"));
        assert_eq!(said, converse.map_or(Ok(()), Err), "{model} {thinking}");
        let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 2000, "thinking": thinking,
            "messages": [{"role": "user", "content": "hi"}]});
        let request = crate::invoke::request(model, &body, json!({}));
        let invoked = world.inference.invoke_model(&world.context, request).await;
        let said = invoked.map(drop).map_err(|error| error.message);
        assert_eq!(said, refusal.map_or(Ok(()), |refusal| Err(refusal.to_owned())), "{model} {thinking}");
    }
}
