//! Speed of the engine alone, without HTTP: `cargo run --release -p craton-engine --example engine_bench -- MODEL.gguf`.
//!
//! Prints one line a measure: time to first token cold and on a warm 1,000-token prefix, tokens a second of one
//! answer, and of 8 and 32 at once. `bench/engine` compares with other servers over HTTP.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use craton_backend::{Block, ChatEvent, ChatModel, ChatRequest, Message, Role, Sampling};
use craton_engine::{Engine, EngineConfig};
use futures::StreamExt;
use futures::future::join_all;

fn request(system: &str, question: &str, max_tokens: u32) -> ChatRequest {
    ChatRequest {
        system: if system.is_empty() { Vec::new() } else { vec![Block::Text(system.to_owned())] },
        messages: vec![Message { role: Role::User, content: vec![Block::Text(question.to_owned())] }],
        sampling: Sampling { max_tokens: Some(max_tokens), temperature: Some(0.0), ..Sampling::default() },
        stream: true,
        ..ChatRequest::default()
    }
}

struct Timing {
    first_ms: f64,
    total_s: f64,
    prompt_tokens: u32,
    output_tokens: u32,
}

async fn measure(model: &Arc<dyn ChatModel>, request: ChatRequest) -> Timing {
    let start = Instant::now();
    let mut stream = model.chat(request).await.unwrap();
    let mut first_ms = None;
    while let Some(event) = stream.next().await {
        match event.unwrap() {
            ChatEvent::BlockDelta { .. } => {
                first_ms.get_or_insert_with(|| start.elapsed().as_secs_f64() * 1e3);
            }
            ChatEvent::Finished(finished) => {
                return Timing {
                    first_ms: first_ms.unwrap_or_default(),
                    total_s: start.elapsed().as_secs_f64(),
                    prompt_tokens: finished.usage.input_tokens,
                    output_tokens: finished.usage.output_tokens,
                };
            }
            _ => {}
        }
    }
    unreachable!("a stream ends with Finished")
}

/// Tokens a second of `streams` answers together.
async fn crowd(model: &Arc<dyn ChatModel>, streams: usize) {
    let start = Instant::now();
    let questions = (0..streams).map(|n| format!("Tell me in detail the story of explorer number {n}."));
    let timings = join_all(questions.map(|question| measure(model, request("", &question, 100)))).await;
    let tokens: u32 = timings.iter().map(|timing| timing.output_tokens).sum();
    let mut firsts: Vec<f64> = timings.iter().map(|timing| timing.first_ms).collect();
    firsts.sort_by(f64::total_cmp);
    println!(
        "{streams} streams: {:.1} tokens/s together, median first token {:.0} ms",
        f64::from(tokens) / start.elapsed().as_secs_f64(),
        firsts[firsts.len() / 2]
    );
}

#[tokio::main]
async fn main() {
    let path = PathBuf::from(std::env::args().nth(1).expect("usage: engine_bench MODEL.gguf [THREADS]"));
    let threads = std::env::args().nth(2).and_then(|threads| threads.parse().ok());
    let engine = Engine::open(EngineConfig { threads, ..EngineConfig::default() });
    let model = engine.chat_model("bench", &path);
    let loaded = Instant::now();
    measure(&model, request("", "Hi", 1)).await;
    println!("load and first answer: {:.0} ms", loaded.elapsed().as_secs_f64() * 1e3);

    let essay = "Write a detailed essay about the history of the sea.";
    let one = measure(&model, request("", essay, 200)).await;
    let decode = f64::from(one.output_tokens - 1) / (one.total_s - one.first_ms / 1e3);
    println!("1 stream: first token {:.0} ms, then {decode:.1} tokens/s", one.first_ms);

    for streams in [8, 32] {
        crowd(&model, streams).await;
    }

    let system: String =
        (0..75).map(|n| format!("Rule {n}: answer kindly, briefly and truthfully. ")).collect();
    let cold = measure(&model, request(&system, "Who are you?", 2)).await;
    println!(
        "{} prompt tokens: first token {:.0} ms cold, {:.0} prompt tokens/s",
        cold.prompt_tokens,
        cold.first_ms,
        f64::from(cold.prompt_tokens) / (cold.first_ms / 1e3)
    );
    let mut warm = Vec::new();
    for n in 0..9 {
        warm.push(measure(&model, request(&system, &format!("What is rule {n}?"), 2)).await.first_ms);
    }
    warm.sort_by(f64::total_cmp);
    println!("same prefix: first token {:.0} ms warm, {:.1}x faster", warm[4], cold.first_ms / warm[4]);
    // With long prompts kept for their prefixes.
    for streams in [8, 32] {
        crowd(&model, streams).await;
    }
    println!("{:?}", engine.stats());
}
