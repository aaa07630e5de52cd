use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use craton_backend::contract::{self, Collected, Subject};
use craton_backend::*;
use craton_providers::{ApiKey, SettingsError, Upstream, UpstreamKind, UpstreamSettings};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::speaker::{Asked, End, all_text, count, speak};
use crate::standin::{Seen, StandIn, Step, chunk, json as reply, json_with, last_chunk, sse, stream_head};

fn settings(url: &str) -> UpstreamSettings {
    let mut settings = UpstreamSettings::new("up", UpstreamKind::OpenAi, format!("{url}/v1"));
    settings.timeouts.connect = Duration::from_millis(500);
    settings.timeouts.first_byte = Duration::from_secs(5);
    settings.timeouts.idle = Duration::from_secs(5);
    settings
}

fn connect(url: &str) -> Upstream {
    Upstream::connect(&settings(url)).unwrap()
}

fn ask(text: &str) -> ChatRequest {
    ChatRequest {
        model: "m".into(),
        messages: vec![Message { role: Role::User, content: vec![Block::Text(text.into())] }],
        stream: true,
        ..ChatRequest::default()
    }
}

/// A chat server in the manner of vLLM, with `/tokenize`.
fn vllm(seen: &Seen) -> Vec<Step> {
    let body = &seen.body;
    if seen.path == "/tokenize" {
        assert_eq!(body["add_generation_prompt"], true);
        return reply(200, &json!({"count": count(&all_text(&body["messages"])), "max_model_len": 4096}));
    }
    assert_eq!(seen.path, "/v1/chat/completions");
    let strings =
        |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap_or_default() };
    let speech = speak(&Asked {
        prompt: all_text(&body["messages"]),
        max_tokens: body["max_tokens"].as_u64().map(|max| max as usize),
        stops: strings(&body["stop"]),
        forced_tool: body["tool_choice"]["function"]["name"].as_str().map(str::to_owned),
        wants_json: body["response_format"]["type"] == "json_schema",
    });
    let (finish, stopped_by) = match &speech.end {
        End::Stop => ("stop", Value::Null),
        End::Length => ("length", Value::Null),
        End::Sequence(stop) => ("stop", json!(stop)),
        End::Tool => ("stop", Value::Null),
    };
    let usage = json!({"prompt_tokens": speech.prompt_tokens, "completion_tokens": speech.output_tokens});
    let call = |arguments: &str| {
        json!([{"index": 0, "id": "call_1", "type": "function",
                "function": {"name": speech.tool, "arguments": arguments}}])
    };
    if body["stream"] != true {
        let text = speech.pieces.concat();
        let message = match &speech.tool {
            Some(_) => json!({"role": "assistant", "content": null, "tool_calls": call(&text)}),
            None => json!({"role": "assistant", "content": text}),
        };
        let choice =
            json!({"index": 0, "message": message, "finish_reason": finish, "stop_reason": stopped_by});
        return reply(200, &json!({"id": "c", "model": "m", "choices": [choice], "usage": usage}));
    }
    assert_eq!(body["stream_options"]["include_usage"], true);
    let mut events = vec![data(
        &json!({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
    )];
    for (at, piece) in speech.pieces.iter().enumerate() {
        let delta = match (&speech.tool, at) {
            (Some(_), 0) => json!({"tool_calls": call(piece)}),
            (Some(_), _) => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
            (None, _) => json!({"content": piece}),
        };
        events.push(data(&json!({"choices": [{"index": 0, "delta": delta}]})));
    }
    events.push(data(
        &json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish, "stop_reason": stopped_by}]}),
    ));
    events.push(data(&json!({"choices": [], "usage": usage})));
    events.push("data: [DONE]\n\n".to_owned());
    sse(&events)
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn delta(text: &str) -> String {
    data(&json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

fn finish() -> String {
    data(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})) + "data: [DONE]\n\n"
}

async fn run(upstream: &Upstream, request: ChatRequest) -> Result<Collected, BackendError> {
    let chat = upstream.chat();
    let mut stream = chat.chat(request).await?;
    let mut order = contract::Order::default();
    while let Some(event) = stream.next().await {
        order.event(event?).unwrap();
    }
    Ok(order.end().unwrap())
}

async fn fails_with(
    script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    request: ChatRequest,
) -> BackendError {
    let server = StandIn::start(script).await;
    run(&connect(&server.url), request).await.expect_err("an error")
}

#[tokio::test]
async fn keeps_the_contract_of_chat_drivers() {
    let server = StandIn::start(vllm).await;
    let upstream = connect(&server.url);
    let chat = upstream.chat();
    let subject = Subject { driver: &*chat, model: "m", counts_exactly: true };
    tokio::time::timeout(Duration::from_secs(60), contract::all(&subject)).await.unwrap();
}

#[tokio::test]
async fn sends_key_and_headers_and_keeps_the_key_secret() {
    let server = StandIn::start(vllm).await;
    let mut settings = settings(&server.url);
    settings.api_key = Some(ApiKey::new("sk-secret"));
    settings.headers = vec![("x-team".into(), "blue".into())];
    assert!(!format!("{settings:?}").contains("sk-secret"));
    let upstream = Upstream::connect(&settings).unwrap();
    run(&upstream, ask("Hi")).await.unwrap();
    let seen = server.seen().remove(0);
    assert!(seen.head.contains("\r\nauthorization: bearer sk-secret"), "{}", seen.head);
    assert!(seen.head.contains("\r\nx-team: blue"));
    assert!(seen.head.contains(&format!("\r\nhost: {}", server.url.trim_start_matches("http://"))));
    assert_eq!(seen.head.matches("\r\nhost:").count(), 1);
}

#[tokio::test]
async fn one_connection_serves_call_after_call() {
    let server = StandIn::start(vllm).await;
    let upstream = connect(&server.url);
    for stream in [false, true, false, true, true] {
        run(&upstream, ChatRequest { stream, ..ask("Hi") }).await.unwrap();
        // The end of a streamed body may arrive after its last event.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0; 5]);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection_and_frees_the_place() {
    let server = StandIn::start(|_| {
        vec![stream_head("text/event-stream"), chunk(delta("Hello").as_bytes()), Step::AwaitClose]
    })
    .await;
    let mut settings = settings(&server.url);
    settings.max_in_flight = 1;
    let upstream = Upstream::connect(&settings).unwrap();
    for round in 1..=3 {
        let mut stream = upstream.chat().chat(ask("Hi")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        let second = upstream.chat().chat(ask("Hi")).await.err();
        assert!(matches!(second, Some(BackendError::Overloaded { .. })), "{second:?}");
        drop(stream);
        server.until_closed(round).await;
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn dropping_the_call_before_its_answer_closes_the_connection() {
    let server = StandIn::start(|_| vec![Step::AwaitClose]).await;
    let upstream = connect(&server.url);
    let chat = upstream.chat();
    let call = tokio::time::timeout(Duration::from_millis(100), chat.chat(ask("Hi")));
    assert!(call.await.is_err());
    server.until_closed(1).await;
}

#[tokio::test]
async fn every_split_of_the_bytes_gives_the_same_answer() {
    let body = (delta("Grüße ") + &delta("an alle") + &finish()).replace('\n', "\r\n");
    let server = StandIn::start(move |_| {
        let mut bytes = Vec::new();
        for step in [stream_head("text/event-stream"), chunk(body.as_bytes()), last_chunk()] {
            let Step::Send(part) = step else { unreachable!() };
            bytes.extend(part);
        }
        bytes
            .into_iter()
            .flat_map(|byte| [Step::Send(vec![byte]), Step::Wait(Duration::from_micros(50))])
            .collect()
    })
    .await;
    assert_eq!(run(&connect(&server.url), ask("Hi")).await.unwrap().text(), "Grüße an alle");
}

#[tokio::test]
async fn a_whole_answer_to_a_streamed_call_is_understood() {
    let server = StandIn::start(|_| {
        reply(200, &json!({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}))
    })
    .await;
    assert_eq!(run(&connect(&server.url), ask("Hi")).await.unwrap().text(), "Hi");
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_read_whole() {
    let body = json!({"choices": [{"message": {"content": "x".repeat(100_000)}, "finish_reason": "stop"}]})
        .to_string();
    let server = StandIn::start(move |_| {
        vec![Step::Send(format!("HTTP/1.0 200 OK\r\n\r\n{body}").into_bytes()), Step::Close]
    })
    .await;
    let request = ChatRequest { stream: false, ..ask("Hi") };
    assert_eq!(run(&connect(&server.url), request).await.unwrap().text().len(), 100_000);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = run(&connect(&format!("http://{unused}")), ask("Hi")).await.unwrap_err();
    assert!(matches!(&error, BackendError::Unreachable(message) if message.contains("refused")), "{error:?}");
    assert!(!error.to_string().contains("127.0.0.1"), "where it is stays the operator's: {error}");
    let error = run(&connect("http://no-such-host.invalid"), ask("Hi")).await.unwrap_err();
    assert!(matches!(error, BackendError::Unreachable(_) | BackendError::Timeout(_)), "{error:?}");
}

#[tokio::test]
async fn silence_times_out_wherever_it_is() {
    let server = StandIn::start(|seen| match seen.body["model"].as_str() {
        Some("mute") => vec![Step::AwaitClose],
        Some("stalls") => {
            vec![stream_head("text/event-stream"), chunk(delta("Hello").as_bytes()), Step::AwaitClose]
        }
        _ => vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec()), Step::AwaitClose],
    })
    .await;
    let mut settings = settings(&server.url);
    settings.timeouts.first_byte = Duration::from_millis(150);
    settings.timeouts.idle = Duration::from_millis(250);
    let upstream = Upstream::connect(&settings).unwrap();
    let error =
        |model: &str, stream| run_owned(&upstream, ChatRequest { model: model.into(), stream, ..ask("Hi") });
    assert_eq!(error("mute", true).await, BackendError::Timeout(settings.timeouts.first_byte));
    assert_eq!(error("stalls", true).await, BackendError::Timeout(settings.timeouts.idle));
    assert_eq!(error("half", false).await, BackendError::Timeout(settings.timeouts.idle));
    server.until_closed(3).await;

    // A TLS handshake that never comes counts as connecting.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.base_url = format!("https://{}", silent.local_addr().unwrap());
    let error = run_owned(&Upstream::connect(&settings).unwrap(), ask("Hi")).await;
    assert_eq!(error, BackendError::Timeout(settings.timeouts.connect));
}

async fn run_owned(upstream: &Upstream, request: ChatRequest) -> BackendError {
    run(upstream, request).await.expect_err("an error")
}

#[tokio::test]
async fn error_statuses_keep_their_meaning() {
    let error = |status, headers: &'static str, body: Value| {
        fails_with(move |_| json_with(status, headers, &body), ask("Hi"))
    };
    assert!(matches!(
        error(429, "retry-after: 7\r\n", json!({"error": {"message": "slow"}})).await,
        BackendError::Overloaded { message, retry_after: Some(wait) } if wait.as_secs() == 7 && !message.contains("slow")
    ));
    assert!(matches!(error(401, "", json!({})).await, BackendError::UpstreamUnauthenticated(_)));
    assert!(matches!(error(403, "", json!({})).await, BackendError::UpstreamDenied(_)));
    assert!(matches!(error(500, "", json!({})).await, BackendError::Upstream { status: 500, .. }));
    let overflow = "This model's maximum context length is 64 tokens. However, you requested 90 tokens";
    assert_eq!(
        error(400, "", json!({"error": {"message": overflow}})).await,
        BackendError::ContextOverflow { tokens: 90, limit: 64 }
    );
    assert_eq!(
        error(400, "", json!({"error": {"message": "no such thing"}})).await,
        BackendError::Refused("no such thing".into())
    );
}

#[tokio::test]
async fn an_error_answer_leaves_the_connection_usable() {
    let server = StandIn::start(|seen| match seen.body["model"].as_str() {
        Some("bad") => reply(500, &json!({})),
        _ => vllm(seen),
    })
    .await;
    let upstream = connect(&server.url);
    run(&upstream, ChatRequest { model: "bad".into(), ..ask("Hi") }).await.unwrap_err();
    run(&upstream, ask("Hi")).await.unwrap();
    assert_eq!(server.seen()[1].connection, 0);
}

#[tokio::test]
async fn half_a_stream_is_broken() {
    let head = || stream_head("text/event-stream");
    for tail in [vec![Step::Close], vec![last_chunk()], vec![Step::Send(b"nonsense".to_vec()), Step::Close]] {
        let error = fails_with(
            move |_| [vec![head(), chunk(delta("Hello").as_bytes())], tail.clone()].concat(),
            ask("Hi"),
        )
        .await;
        assert!(matches!(error, BackendError::BrokenStream(_)), "{error:?}");
    }
    let error = fails_with(|_| sse(&[delta("Hello"), "data: {oops\n\n".into(), finish()]), ask("Hi")).await;
    assert!(matches!(error, BackendError::BrokenStream(_)), "{error:?}");
    let error = fails_with(
        |_| {
            vec![
                Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"choices\"".to_vec()),
                Step::Close,
            ]
        },
        ChatRequest { stream: false, ..ask("Hi") },
    )
    .await;
    assert!(matches!(error, BackendError::BrokenStream(_)), "{error:?}");
}

#[tokio::test]
async fn answers_are_bounded() {
    // An event that never ends, sent as fast as it is read.
    let error = fails_with(
        |_| {
            let mut steps = vec![stream_head("text/event-stream"), chunk(b"data: ")];
            steps.extend((0..100).map(|_| chunk(&[b'x'; 64 * 1024])));
            steps
        },
        ask("Hi"),
    )
    .await;
    assert!(matches!(&error, BackendError::BrokenStream(message) if message.contains("longer")), "{error:?}");
    // An answer that says it is too large, and one that does not say it.
    let whole = || ChatRequest { stream: false, ..ask("Hi") };
    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let error = fails_with(move |_| vec![Step::Send(said.clone()), Step::AwaitClose], whole()).await;
    assert!(matches!(error, BackendError::Upstream { status: 502, .. }), "{error:?}");
    let error = fails_with(
        |_| {
            let mut steps = vec![stream_head("application/json")];
            steps.extend((0..40).map(|_| chunk(&vec![b' '; 1024 * 1024])));
            steps
        },
        whole(),
    )
    .await;
    assert!(matches!(error, BackendError::Upstream { status: 502, .. }), "{error:?}");
}

#[tokio::test]
async fn a_stale_connection_is_replaced_once() {
    // Answers one request a connection; keeps the connection open, then hangs up on the next request unanswered.
    let server = StandIn::start(|seen| {
        static ANSWERED: AtomicUsize = AtomicUsize::new(usize::MAX);
        if ANSWERED.swap(seen.connection, Ordering::Relaxed) == seen.connection {
            return vec![Step::Close];
        }
        vllm(seen)
    })
    .await;
    let upstream = connect(&server.url);
    for _ in 0..3 {
        run(&upstream, ChatRequest { stream: false, ..ask("Hi") }).await.unwrap();
    }
    let connections: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 1, 1, 2]);
}

#[tokio::test]
async fn a_fresh_connection_is_never_retried() {
    let server = StandIn::start(|_| vec![Step::Close]).await;
    let error = run_owned(&connect(&server.url), ask("Hi")).await;
    assert!(matches!(error, BackendError::Unreachable(_)), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_not_used() {
    let server = StandIn::start(|seen| [vllm(seen), vec![Step::Close]].concat()).await;
    let upstream = connect(&server.url);
    for round in 1..=3 {
        run(&upstream, ChatRequest { stream: false, ..ask("Hi") }).await.unwrap();
        server.until_closed(round).await;
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn tokens_are_counted_by_llama_cpp_or_estimated() {
    let server = StandIn::start(|seen| match seen.path.as_str() {
        "/apply-template" => reply(200, &json!({"prompt": all_text(&seen.body["messages"])})),
        "/tokenize" => {
            let content = seen.body["content"].as_str().unwrap_or_default();
            reply(200, &json!({"tokens": content.split_whitespace().map(str::len).collect::<Vec<_>>()}))
        }
        path => panic!("{path}"),
    })
    .await;
    let upstream = connect(&server.url);
    for _ in 0..2 {
        assert_eq!(upstream.chat().count_tokens(&ask("one two three")).await, Ok(4));
    }
    // Found out with three requests, then two a count.
    assert_eq!(server.seen().len(), 5);

    let server = StandIn::start(|_| reply(404, &json!({"detail": "Not Found"}))).await;
    let upstream = connect(&server.url);
    for _ in 0..2 {
        assert_eq!(upstream.chat().count_tokens(&ask("12345678")).await, Ok(6));
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn embeddings_are_unit_vectors_in_the_order_of_the_texts() {
    let server = StandIn::start(|seen| {
        assert_eq!(seen.path, "/v1/embeddings");
        reply(
            200,
            &json!({"data": [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": [3.0, 4.0]}],
                    "usage": {"prompt_tokens": 9}}),
        )
    })
    .await;
    let upstream = connect(&server.url);
    let model = upstream.embedding("e").unwrap();
    let request = EmbedRequest { model: "e".into(), texts: vec!["ab".into(), "a".into()], truncate: false };
    let answer = model.embed(request).await.unwrap();
    assert_eq!(answer.vectors, [[0.6, 0.8], [0.0, 1.0]]);
    assert_eq!(answer.input_tokens, [6, 3]);
    assert_eq!(upstream.embedding("e").unwrap().dimensions(), 2);
    let mismatch = EmbedRequest { texts: vec!["a".into(); 3], ..EmbedRequest::default() };
    assert!(matches!(model.embed(mismatch).await, Err(BackendError::BrokenStream(_))));
}

#[tokio::test]
async fn long_texts_are_cut_only_if_asked() {
    let server = StandIn::start(|seen| {
        let text = seen.body["input"][0].as_str().unwrap();
        if text.len() > 100 {
            let message = format!(
                "This model's maximum context length is 100 tokens. However, you requested {} tokens",
                text.len()
            );
            return reply(400, &json!({"error": {"message": message}}));
        }
        reply(200, &json!({"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": text.len()}}))
    })
    .await;
    let upstream = connect(&server.url);
    let model = upstream.embedding("e").unwrap();
    let request = |truncate| EmbedRequest { model: "e".into(), texts: vec!["x".repeat(250)], truncate };
    assert_eq!(
        model.embed(request(false)).await,
        Err(BackendError::ContextOverflow { tokens: 250, limit: 100 })
    );
    assert_eq!(model.embed(request(true)).await.unwrap().input_tokens, [90]);
}

#[tokio::test]
async fn rerank_scores_are_probabilities_in_document_order() {
    let server = StandIn::start(|seen| {
        assert_eq!(seen.path, "/v1/rerank");
        let scores = if seen.body["model"] == "logits" { [2.0, -2.0] } else { [0.9, 0.1] };
        reply(
            200,
            &json!({
                "results": [{"index": 1, "relevance_score": scores[0]}, {"index": 0, "relevance_score": scores[1]}],
                "usage": if seen.body["model"] == "logits" { json!({"total_tokens": 17}) } else { json!(null) },
            }),
        )
    })
    .await;
    let upstream = connect(&server.url);
    let request = |model: &str, documents: usize| RerankRequest {
        model: model.into(),
        query: "q".into(),
        documents: vec!["d".into(); documents],
    };
    let rerank = upstream.rerank().unwrap();
    let estimated = Reranked { scores: vec![0.1, 0.9], input_tokens: 3 };
    assert_eq!(rerank.rerank(request("m", 2)).await.unwrap(), estimated);
    let Reranked { scores: logits, input_tokens } = rerank.rerank(request("logits", 2)).await.unwrap();
    assert_eq!(input_tokens, 17);
    assert!((logits[0] - 0.1192).abs() < 1e-3 && (logits[1] - 0.8808).abs() < 1e-3, "{logits:?}");
    assert!(matches!(rerank.rerank(request("m", 3)).await, Err(BackendError::BrokenStream(_))));
}

#[test]
fn bad_settings_are_refused() {
    for url in ["", "localhost:8000", "ftp://host/v1", "http://", "http://host/v1?x=1"] {
        let settings = UpstreamSettings::new("up", UpstreamKind::OpenAi, url);
        assert!(matches!(Upstream::connect(&settings), Err(SettingsError::BaseUrl { .. })), "{url}");
    }
    let mut settings = UpstreamSettings::new("up", UpstreamKind::OpenAi, "http://host/v1");
    settings.headers = vec![("bad name".into(), "x".into())];
    assert!(matches!(Upstream::connect(&settings), Err(SettingsError::Header { .. })));
    assert!(matches!(ApiKey::from_env("CRATON_TEST_NO_SUCH_KEY"), Err(SettingsError::MissingKey(_))));
}
