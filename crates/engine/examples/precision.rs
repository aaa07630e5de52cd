//! What another format of the same model costs in precision:
//! `cargo run --release -p craton-engine --example precision -- TEXT MODEL.gguf OTHER.gguf`.
//!
//! Prints each model's perplexity on the text, in windows of 512 tokens of which the second half counts, and how often
//! the second model's likeliest token is the first's.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

use std::num::NonZeroU32;

// llama.cpp asks it for products.
use craton_engine as _;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;

const WINDOW: usize = 512;

/// The mean negative logarithm, and the likeliest token at each place.
fn read(backend: &LlamaBackend, path: &str, text: &str) -> (f64, Vec<usize>) {
    let model = LlamaModel::load_from_file(backend, path, &LlamaModelParams::default()).expect("a model");
    let tokens = model.vocab().tokenize(text.as_bytes(), false, false);
    let (mut sum, mut likeliest) = (0.0, Vec::new());
    for window in tokens.chunks_exact(WINDOW) {
        let params = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(u32::try_from(WINDOW).unwrap()))
            .with_n_threads(2)
            .with_n_threads_batch(2);
        let mut context = model.new_context(backend, params).unwrap();
        let mut batch = LlamaBatch::new(WINDOW, 1);
        for (place, token) in window.iter().enumerate() {
            let _ = batch.add(*token, i32::try_from(place).unwrap(), &[0], true);
        }
        context.decode(&mut batch).unwrap();
        for place in WINDOW / 2..WINDOW - 1 {
            let scores = context.get_logits_ith(i32::try_from(place).unwrap());
            let best = scores.iter().copied().fold(f32::MIN, f32::max);
            let total: f64 = scores.iter().map(|score| f64::from(score - best).exp()).sum();
            let next = usize::try_from(window[place + 1].0).unwrap();
            sum += total.ln() - f64::from(scores[next] - best);
            likeliest.push(scores.iter().position(|score| *score == best).unwrap());
        }
    }
    (sum / likeliest.len() as f64, likeliest)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, first, second] = arguments.as_slice() else { panic!("usage: precision TEXT MODEL OTHER") };
    let text = std::fs::read_to_string(text).expect("a text");
    let backend = LlamaBackend::init().unwrap();
    let (first_mean, first_best) = read(&backend, first, &text);
    let (second_mean, second_best) = read(&backend, second, &text);
    let same = first_best.iter().zip(&second_best).filter(|(a, b)| a == b).count();
    println!(
        "{} places: perplexity {:.3} and {:.3} ({:+.1} %), the same likeliest token at {:.1} %",
        first_best.len(),
        first_mean.exp(),
        second_mean.exp(),
        ((second_mean - first_mean).exp() - 1.0) * 100.0,
        same as f64 / first_best.len() as f64 * 100.0
    );
}
