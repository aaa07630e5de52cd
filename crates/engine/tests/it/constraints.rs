use craton_backend::{
    BackendError, Block, ChatRequest, Message, ResponseSchema, Role, StopReason, Tool, ToolChoice,
    ToolResult, ToolUse,
};
use serde_json::{Value, json};

use crate::support::{Answer, Part, answer, ask, shared_model, user};

fn tool(name: &str, schema: Value) -> Tool {
    Tool {
        name: name.to_owned(),
        description: Some(format!("The {name} tool.")),
        input_schema: schema,
        strict: false,
    }
}

fn weather() -> Tool {
    tool(
        "get_weather",
        json!({
            "type": "object",
            "properties": {
                "place": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "maxLength": 40},
                        "tags": {"type": "array", "items": {"enum": ["sea", "hills"]}, "minItems": 1, "maxItems": 3}
                    },
                    "required": ["city", "tags"],
                    "additionalProperties": false
                },
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 7}
            },
            "required": ["place", "unit", "days"],
            "additionalProperties": false
        }),
    )
}

fn with_tools(text: &str, tools: Vec<Tool>, choice: ToolChoice) -> ChatRequest {
    ChatRequest { tools, tool_choice: choice, ..ask(text, 200) }
}

fn check_weather(answer: &Answer) {
    let calls = answer.calls();
    let (name, input) = &calls[0];
    assert_eq!(*name, "get_weather");
    assert!(input["place"]["city"].is_string());
    assert!(["celsius", "fahrenheit"].contains(&input["unit"].as_str().unwrap()));
    assert!((1..=7).contains(&input["days"].as_i64().unwrap()));
    assert!(input["place"]["tags"].as_array().unwrap().iter().all(|tag| tag == "sea" || tag == "hills"));
    assert_eq!(answer.finished.reason, StopReason::ToolUse);
}

#[tokio::test]
async fn a_named_tool_is_called_with_input_that_fits_its_nested_schema() {
    let model = shared_model();
    let request = with_tools(
        "What is the weather in Lisbon tomorrow?",
        vec![tool("other", json!({"type": "object"})), weather()],
        ToolChoice::Tool("get_weather".to_owned()),
    );
    let got = answer(&model, request).await.unwrap();
    assert_eq!(got.parts.len(), 1);
    assert!(got.deltas > 3, "the input came in {} pieces", got.deltas);
    check_weather(&got);
}

#[tokio::test]
async fn some_tool_is_called_when_any_must_be() {
    let model = shared_model();
    let lookup = tool(
        "lookup",
        json!({"type": "object", "properties": {"q": {"type": "string", "maxLength": 20}},
        "required": ["q"], "additionalProperties": false}),
    );
    let request = with_tools("Tell me a joke.", vec![lookup], ToolChoice::Any);
    let got = answer(&model, request).await.unwrap();
    assert!(!got.calls().is_empty());
    assert!(got.parts.iter().all(|part| matches!(part, Part::Call { .. })));
    assert!(got.calls().iter().all(|(name, input)| *name == "lookup" && input["q"].is_string()));
    assert!(matches!(got.finished.reason, StopReason::ToolUse | StopReason::MaxTokens));
}

/// The model likes to call again and again; it may not.
#[tokio::test]
async fn one_call_is_one_call() {
    let model = shared_model();
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}},
        "required": ["n"], "additionalProperties": false});
    let mut request = with_tools("Press 1, 2, 3 and 4.", vec![tool("press", schema)], ToolChoice::Any);
    let press = |n: u8| {
        Block::ToolUse(ToolUse { id: format!("p{n}"), name: "press".to_owned(), input: json!({"n": n}) })
    };
    let done = |n: u8| {
        let content = vec![Block::Text("done".to_owned())];
        Block::ToolResult(ToolResult { tool_use_id: format!("p{n}"), content, is_error: false })
    };
    request.messages.insert(0, user("Press 5, 6 and 7."));
    request.messages.insert(1, Message { role: Role::Assistant, content: (5..8).map(press).collect() });
    request.messages.insert(2, Message { role: Role::User, content: (5..8).map(done).collect() });
    let several = answer(&model, request.clone()).await.unwrap();
    assert!(several.calls().len() > 1, "{several:?}");
    request.one_tool_call = true;
    let one = answer(&model, request).await.unwrap();
    assert_eq!((one.calls().len(), one.finished.reason), (1, StopReason::ToolUse));
}

#[tokio::test]
async fn with_a_choice_the_model_may_answer_in_text() {
    let model = shared_model();
    let mut request = with_tools("Say hello.", vec![weather()], ToolChoice::Auto);
    request.sampling.max_tokens = Some(60);
    let got = answer(&model, request.clone()).await.unwrap();
    for (name, _) in got.calls() {
        assert_eq!(name, "get_weather");
    }
    assert!(!got.parts.is_empty());
    request.tool_choice = ToolChoice::None;
    let got = answer(&model, request).await.unwrap();
    assert!(got.calls().is_empty() && !got.text().is_empty());
}

/// Shown how it is done, the model opens calls of its own accord, and is held to the schema from there.
#[tokio::test]
async fn a_call_that_the_model_opens_itself_is_held_to_the_schema() {
    let model = shared_model();
    let shown = |place: &str| {
        let input = json!({"place": {"city": place, "tags": ["sea"]}, "unit": "celsius", "days": 1});
        let call = ToolUse { id: place.to_owned(), name: "get_weather".to_owned(), input };
        let content = vec![Block::Text("sunny".to_owned())];
        let result = ToolResult { tool_use_id: place.to_owned(), content, is_error: false };
        [
            user(&format!("What is the weather in {place}?")),
            Message { role: Role::Assistant, content: vec![Block::ToolUse(call)] },
            Message { role: Role::User, content: vec![Block::ToolResult(result)] },
            Message { role: Role::Assistant, content: vec![Block::Text(format!("It is sunny in {place}."))] },
        ]
    };
    // Whether it opens one is the model's choice, and its numbers differ a little from processor to processor.
    for place in ["Rome", "Quito", "Tokyo", "Madrid", "Vienna", "Cairo", "Athens", "Dublin"] {
        let mut request = with_tools("", vec![weather()], ToolChoice::Auto);
        request.messages = ["Paris", "Oslo", "Lima"].into_iter().flat_map(shown).collect();
        request.messages.push(user(&format!("What is the weather in {place}?")));
        let got = answer(&model, request).await.unwrap();
        if !got.calls().is_empty() {
            return check_weather(&got);
        }
    }
    panic!("no call in eight answers");
}

#[tokio::test]
async fn a_call_cut_off_by_max_tokens_is_still_well_formed_events() {
    let model = shared_model();
    let mut request = with_tools("Weather in Oslo?", vec![weather()], ToolChoice::Any);
    request.sampling.max_tokens = Some(30);
    let got = answer(&model, request).await.unwrap();
    assert_eq!(got.finished.reason, StopReason::MaxTokens);
    assert_eq!(got.finished.usage.output_tokens, 30);
    let Some(Part::Call { input, .. }) = got.parts.last() else { panic!("no call in {:?}", got.parts) };
    assert!(serde_json::from_str::<Value>(input).is_err(), "{input:?} is complete");
}

#[tokio::test]
async fn an_answer_satisfies_its_response_schema() {
    let model = shared_model();
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 30},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "married": {"type": "boolean"}
        },
        "required": ["name", "age", "married"],
        "additionalProperties": false
    });
    let mut request = ask("Describe a person.", 100);
    request.response_schema = Some(ResponseSchema { name: None, schema });
    let got = answer(&model, request).await.unwrap();
    let value: Value = serde_json::from_str(&got.text()).unwrap();
    assert!(value["name"].is_string() && value["married"].is_boolean());
    assert!((0..=120).contains(&value["age"].as_i64().unwrap()));
    assert_eq!(got.finished.reason, StopReason::EndTurn);
}

#[tokio::test]
async fn schemas_that_cannot_be_used_are_named() {
    let model = shared_model();
    let mut deep = json!({"type": "object"});
    for _ in 0..80 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    for schema in [json!("text"), json!({"type": "nonsense"}), json!({"type": "array"}), deep] {
        let request = with_tools("hi", vec![weather(), tool("bad", schema.clone())], ToolChoice::Auto);
        match answer(&model, request).await {
            Err(BackendError::Invalid(message)) => assert!(message.contains("\"bad\""), "{message}"),
            other => panic!("{schema} gave {other:?}"),
        }
    }
    let missing = with_tools("hi", vec![weather()], ToolChoice::Tool("absent".to_owned()));
    assert!(matches!(answer(&model, missing).await, Err(BackendError::Invalid(_))));
}

#[tokio::test]
async fn a_schema_that_nothing_satisfies_is_the_callers_mistake() {
    let endless = json!({"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]});
    let request = with_tools("Go.", vec![tool("endless", endless)], ToolChoice::Any);
    let Err(BackendError::Invalid(message)) = answer(&shared_model(), request).await else {
        panic!("it was answered")
    };
    // In words, and not in the matcher's names.
    assert!(message.contains("it is too complex to be followed"), "{message}");
}

#[tokio::test]
async fn a_schema_that_costs_too_much_to_compile_is_refused() {
    let patterns: Vec<Value> =
        (0..20).map(|n| json!({"pattern": format!("[a-z]{{{},}}{n}", n + 5)})).collect();
    let mut schema = json!({"type": "object", "properties": {}, "required": ["a"]});
    schema["properties"]["a"] = json!({"type": "string", "allOf": patterns});
    let request = with_tools("Go.", vec![tool("costly", schema)], ToolChoice::Any);
    match answer(&shared_model(), request).await {
        Err(BackendError::Invalid(message)) => assert!(message.contains("\"costly\""), "{message}"),
        other => panic!("{other:?}"),
    }
}
