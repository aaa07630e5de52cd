//! InvokeModel, InvokeModelWithResponseStream and CountTokens. The bodies themselves are tested with their codecs.

use base64::Engine as _;
use bytes::Bytes;
use craton_api_bedrock_runtime as api;
use craton_backend::{BackendError, Block, Priority, StopReason, ToolUse};
use craton_inference::Answer;
use craton_metering::{Outcome, Tokens};
use craton_wire::operation::{Input, Output, ReplyBody};
use serde_json::{Value, json};

use crate::scripted::{CLAUDE, World, finished, frames, input, said, user, world};

fn claude_body(text: &str) -> Value {
    json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 16, "messages": [{"role": "user", "content": text}]})
}

pub(crate) fn request<T: Input>(model_id: &str, body: &Value, mut headers: Value) -> T {
    headers["modelId"] = json!(model_id);
    let mut request: T = input(headers);
    request.set_payload(Bytes::from(serde_json::to_vec(body).unwrap()));
    request
}

/// The body and headers of an answer.
async fn invoked(world: &World, model_id: &str, body: Value) -> (Value, Vec<(String, String)>) {
    let request = request(model_id, &body, json!({}));
    let reply = world.inference.invoke_model(&world.context, request).await.unwrap().into_reply().unwrap();
    let ReplyBody::Bytes(body) = reply.body else { panic!("a stream") };
    let headers =
        reply.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (serde_json::from_slice(&body).unwrap(), headers.collect())
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    &headers.iter().find(|(header, _)| header == name).unwrap_or_else(|| panic!("no {name}")).1
}

async fn refusal(world: &World, model_id: &str, body: Value, headers: Value) -> String {
    let answer = world.inference.invoke_model(&world.context, request(model_id, &body, headers)).await;
    let error = answer.map(|_| ()).unwrap_err();
    assert_eq!(error.code, "ValidationException");
    error.message
}

#[tokio::test]
async fn a_body_and_the_headers_that_clients_read() {
    let world = world().await;
    world.model.answer(said("Hello there.", 5));
    let (body, headers) = invoked(&world, CLAUDE, claude_body("hi")).await;
    assert_eq!(body["content"][0]["text"], "Hello there.");
    assert_eq!(body["usage"]["input_tokens"], 5);
    assert_eq!(header(&headers, "content-type"), "application/json");
    assert_eq!(header(&headers, "x-amzn-bedrock-input-token-count"), "5");
    assert_eq!(header(&headers, "x-amzn-bedrock-output-token-count"), "3");
    assert!(header(&headers, "x-amzn-bedrock-invocation-latency").parse::<u64>().is_ok());
    assert!(!header(&headers, "x-craton-served-by").is_empty());
    let asked = world.model.asked();
    assert_eq!((asked.sampling.max_tokens, asked.stream), (Some(16), false));
    let records = world.records.0.lock();
    assert_eq!((records.len(), records[0].operation), (1, "InvokeModel"));
}

#[tokio::test]
async fn headers_of_the_request_count() {
    let world = world().await;
    let headers = json!({
        "contentType": "application/json", "accept": "*/*", "serviceTier": "priority",
        "performanceConfigLatency": "optimized", "requestMetadata": "{\"team\":\"a\"}"
    });
    let request = request(CLAUDE, &claude_body("hi"), headers);
    let output = world.inference.invoke_model(&world.context, request).await.unwrap().output;
    assert_eq!(output.service_tier, Some(api::ServiceTierType::Priority));
    assert_eq!(output.performance_config_latency, Some(api::PerformanceConfigLatency::Optimized));
    assert_eq!(world.model.asked().priority, Priority::Priority);
    assert_eq!(world.records.0.lock()[0].metadata, [("team".to_owned(), "a".to_owned())]);
}

#[tokio::test]
async fn what_is_refused() {
    let world = world().await;
    let message = refusal(
        &world,
        CLAUDE,
        json!({"anthropic_version": "bedrock-2023-05-31", "messages": []}),
        json!({}),
    )
    .await;
    assert!(message.contains("max_tokens"), "{message}");
    let guardrail = json!({"guardrailIdentifier": "abc", "guardrailVersion": "1"});
    let message = refusal(&world, CLAUDE, claude_body("hi"), guardrail).await;
    assert!(message.contains("guardrails"), "{message}");
    let message = refusal(&world, CLAUDE, claude_body("hi"), json!({"accept": "image/png"})).await;
    assert!(message.contains("image/png"), "{message}");
    let message = refusal(&world, CLAUDE, claude_body("hi"), json!({"contentType": "text/plain"})).await;
    assert!(message.contains("text/plain"), "{message}");
    let drawing = json!({"taskType": "TEXT_IMAGE"});
    let message = refusal(&world, "amazon.titan-image-generator-v2:0", drawing, json!({})).await;
    assert!(message.contains("not serve"), "{message}");
    assert!(world.model.requests.lock().is_empty());
}

/// The JSON of each chunk, and the error that ended the stream if one did.
#[tokio::test]
async fn what_only_upstreams_have_is_not_passed_over() {
    let world = world().await;
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "logit_bias": {"50256": -100}});
    let refused = refusal(&world, "openai.gpt-oss-20b-1:0", body, json!({})).await;
    assert_eq!(
        refused,
        "The model that serves this request doesn't support logit_bias. Remove it and try again."
    );
    let old = json!({"prompt": "\n\nHuman: hi\n\nAssistant:", "max_tokens_to_sample": 9});
    let refused = refusal(&world, CLAUDE, old, json!({})).await;
    assert!(
        refused.ends_with("is not supported on this API. Please use the Messages API instead."),
        "{refused}"
    );
}

async fn chunks(world: &World, model_id: &str, body: Value) -> (Vec<Value>, Option<String>) {
    let request = request(model_id, &body, json!({}));
    let output = world.inference.invoke_model_with_response_stream(&world.context, request).await.unwrap();
    let mut chunks = Vec::new();
    for (name, payload) in frames(output).await {
        if name != "chunk" {
            return (chunks, Some(name));
        }
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap();
        chunks.push(serde_json::from_slice(&bytes).unwrap());
    }
    (chunks, None)
}

#[tokio::test]
async fn the_last_chunk_has_the_metrics() {
    let world = world().await;
    let bodies = [
        (CLAUDE, claude_body("hi")),
        ("amazon.titan-text-express-v1", json!({"inputText": "hi"})),
        ("meta.llama3-8b-instruct-v1:0", json!({"prompt": "hi"})),
        ("amazon.nova-lite-v1:0", json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]})),
        ("mistral.mistral-large-2402-v1:0", json!({"messages": [{"role": "user", "content": "hi"}]})),
        ("cohere.command-r-v1:0", json!({"message": "hi"})),
    ];
    for (model_id, body) in bodies {
        world.model.answer(said("Hello there.", 5));
        let (chunks, error) = chunks(&world, model_id, body).await;
        assert_eq!(error, None);
        assert!(world.model.asked().stream);
        let (last, others) = chunks.split_last().unwrap();
        let metrics = &last["amazon-bedrock-invocationMetrics"];
        assert_eq!(
            (&metrics["inputTokenCount"], &metrics["outputTokenCount"]),
            (&json!(5), &json!(3)),
            "{model_id}"
        );
        assert!(metrics["invocationLatency"].is_u64() && metrics["firstByteLatency"].is_u64());
        assert!(others.iter().all(|chunk| chunk.get("amazon-bedrock-invocationMetrics").is_none()));
    }
}

#[tokio::test]
async fn an_error_ends_the_chunks() {
    let world = world().await;
    let events = craton_inference::answer::events(said("Hel", 5));
    let steps = events.into_iter().take(3).map(crate::scripted::Step::Event);
    let timeout = crate::scripted::Step::Error(BackendError::Timeout(std::time::Duration::from_secs(1)));
    world.model.steps(steps.chain([timeout]).collect());
    let (chunks, error) = chunks(&world, CLAUDE, claude_body("hi")).await;
    assert_eq!(error.as_deref(), Some("ModelTimeoutException"));
    assert!(!chunks.is_empty());
    let unstreamable = request("amazon.titan-embed-text-v2:0", &json!({"inputText": "hi"}), json!({}));
    let answer = world.inference.invoke_model_with_response_stream(&world.context, unstreamable).await;
    assert_eq!(answer.map(|_| ()).unwrap_err().message, "The model is unsupported for streaming.");
}

#[tokio::test]
async fn stop_reasons_reach_the_body() {
    let world = world().await;
    let mut answer = said("x", 1);
    answer.finished = finished(StopReason::MaxTokens, 1);
    world.model.answer(answer);
    assert_eq!(invoked(&world, CLAUDE, claude_body("hi")).await.0["stop_reason"], "max_tokens");
}

fn numbers(vector: &Value) -> Vec<f64> {
    vector.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn embeddings_have_the_width_of_the_model_that_was_asked_for() {
    let world = world().await;
    for (model_id, body, pointer, width) in [
        ("amazon.titan-embed-text-v2:0", json!({"inputText": "a cat"}), "/embedding", 1024),
        ("amazon.titan-embed-text-v2:0", json!({"inputText": "a cat", "dimensions": 256}), "/embedding", 256),
        ("amazon.titan-embed-text-v1", json!({"inputText": "a cat"}), "/embedding", 1536),
        (
            "cohere.embed-english-v3",
            json!({"texts": ["a cat"], "input_type": "search_query"}),
            "/embeddings/0",
            1024,
        ),
    ] {
        let (body, headers) = invoked(&world, model_id, body).await;
        assert_eq!(numbers(body.pointer(pointer).unwrap()).len(), width, "{model_id}");
        assert_eq!(header(&headers, "x-amzn-bedrock-input-token-count"), "2");
    }
    let records = world.records.0.lock();
    assert_eq!(records.len(), 4);
    assert_eq!(records[0].tokens, Tokens { input: 2, ..Tokens::default() });
    assert!(matches!(records[0].outcome, Outcome::Completed { .. }));
}

#[tokio::test]
async fn a_text_longer_than_the_stand_in_reads_is_embedded_whole() {
    let world = world().await;
    let embed = async |text: &str| {
        let (body, _) = invoked(&world, "amazon.titan-embed-text-v2:0", json!({"inputText": text})).await;
        (numbers(&body["embedding"]), body["inputTextTokenCount"].as_u64().unwrap())
    };
    let (long, tokens) =
        embed(&["cat"; 6].into_iter().chain(["zoo"; 14]).collect::<Vec<_>>().join(" ")).await;
    assert_eq!(tokens, 20);
    let (cat, _) = embed("cat").await;
    let (zoo, _) = embed("zoo").await;
    assert!(cosine(&long, &zoo) > cosine(&long, &cat) && cosine(&long, &cat) > 0.2);
}

#[tokio::test]
async fn documents_are_ranked() {
    let world = world().await;
    let body =
        json!({"query": "lake house", "documents": ["a river", "a house at a lake", "a house"], "top_n": 2});
    let (body, headers) = invoked(&world, "amazon.rerank-v1:0", body).await;
    assert_eq!(header(&headers, "x-amzn-bedrock-input-token-count"), "9");
    assert_eq!(world.records.0.lock()[0].tokens.input, 9);
    let order: Vec<&Value> =
        body["results"].as_array().unwrap().iter().map(|result| &result["index"]).collect();
    assert_eq!(order, [1, 2]);
}

async fn counted(world: &World, counting: Value) -> i32 {
    let request = input(json!({"input": counting}));
    world.inference.count_tokens(&world.context, request).await.unwrap().output.input_tokens
}

#[tokio::test]
async fn counting_agrees_with_the_call() {
    let world = world().await;
    let conversation = json!({
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [
            {"text": "What is in it?"},
            {"document": {"name": "notes", "format": "txt", "source": {"bytes": "b25lIHR3byB0aHJlZQ=="}}}
        ]}]
    });
    let counted_first = counted(&world, json!({"converse": conversation})).await;
    assert!(world.records.0.lock().is_empty(), "counting costs nothing");
    let output = world.inference.converse(&world.context, input(conversation)).await.unwrap().output;
    assert_eq!(counted_first, output.usage.input_tokens);
    let body = serde_json::to_vec(&claude_body("hello you there")).unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(body);
    let invocation = counted(&world, json!({"invokeModel": {"body": body}})).await;
    assert_eq!(invocation, 3);
    assert_eq!(invocation, counted(&world, json!({"converse": {"messages": user("hello you there")}})).await);
    let embedding =
        json!({"modelId": "amazon.titan-embed-text-v2:0", "input": {"converse": {"messages": user("hi")}}});
    let answer = world.inference.count_tokens(&world.context, input(embedding)).await;
    assert_eq!(
        answer.map(|_| ()).unwrap_err().message,
        "The provided model doesn't support counting tokens."
    );
}

#[tokio::test]
async fn a_tool_use_that_was_cut_off_has_an_object_or_text_for_its_input() {
    let world = world().await;
    let partial = r#"{"city": "Ghent", "days": 1"#;
    let call = ToolUse { id: "t1".into(), name: "weather".into(), input: json!(partial) };
    let answer = Answer { content: vec![Block::ToolUse(call)], finished: finished(StopReason::MaxTokens, 1) };
    world.model.answer(answer.clone());
    let (body, _) = invoked(&world, CLAUDE, claude_body("weather?")).await;
    assert_eq!(body["stop_reason"], "max_tokens");
    assert_eq!(body["content"][0]["input"], json!({"city": "Ghent"}));

    world.model.answer(answer.clone());
    let nova = json!({"messages": [{"role": "user", "content": [{"text": "weather?"}]}]});
    let (body, _) = invoked(&world, "amazon.nova-lite-v1:0", nova).await;
    assert_eq!(
        (&body["stopReason"], &body["output"]["message"]["content"]),
        (&json!("max_tokens"), &json!([]))
    );

    world.model.answer(answer);
    let gpt = json!({"messages": [{"role": "user", "content": "weather?"}]});
    let (body, _) = invoked(&world, "openai.gpt-oss-20b-1:0", gpt).await;
    assert_eq!(body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], partial);
    assert_eq!(body["choices"][0]["finish_reason"], "length");
}
