//! Times and findings of guardrails over texts from standard input (a JSON string a line), as JSON.
//!
//! `pii`: every type of sensitive information; `pii-alone`: without the recogniser of names. `all`: a guardrail with every
//! policy, one assessment a text; `all-with-encoder`: where the sentence encoder is asked too. `asked`: what it is asked then,
//! in tokens times layers. `stream`: what the first text of a stream waits for, with the same policies and the encoder;
//! `stream-content`: without sensitive information; `stream-words`: with words and profanity alone.

#![allow(clippy::print_stdout, reason = "the result is printed")]

#[path = "../../../crates/guardrails/tests/it/definitions.rs"]
mod definitions;

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use craton_backend::{BackendError, EmbedRequest, EmbeddingModel, Embeddings};
use craton_engine::embed::BertEmbedder;
use craton_guardrails::definition::Definition;
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::pii::PiiDetector;
use craton_guardrails::stream::{StreamText, Verdict};
use craton_guardrails::{Guard, NameModels, Piece, Source, Vectors};
use craton_models::files::{ModelFiles, Progress};
use craton_models::{DEFAULT_EMBEDDING_MODEL, DEFAULT_NAME_MODEL};
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use serde_json::{Value, json};

struct Told;

impl Progress for Told {
    fn note(&self, message: &str) {
        eprintln!("{message}");
    }
}

struct Ready(Arc<NameModel>);

impl NameModels for Ready {
    fn get(&self) -> BoxFuture<'_, Result<Arc<NameModel>, String>> {
        let model = Arc::clone(&self.0);
        async move { Ok(model) }.boxed()
    }
}

fn main() -> anyhow::Result<()> {
    let mode = std::env::args().nth(1).context(
        "a mode: pii, pii-alone, all, all-with-encoder, asked, stream, stream-content, stream-words",
    )?;
    let lines = std::io::stdin().lock().lines();
    let texts: Vec<String> =
        lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<anyhow::Result<_>>()?;
    let installed = ModelFiles::from_environment()?.pull(DEFAULT_NAME_MODEL, &Told)?.remove(0);
    let names = Arc::new(NameModel::load(&installed.path())?);
    let result = match mode.as_str() {
        "pii" => pii(&texts, Some(names)),
        "pii-alone" => pii(&texts, None),
        "all" => all(&texts, &guard(names, false)?)?,
        "all-with-encoder" => all(&texts, &guard(names, true)?)?,
        "asked" => asked(&texts, names)?,
        "stream" => stream(&texts, &guard(names, true)?)?,
        "stream-content" => {
            let definition = Definition { sensitive: None, ..definitions::everything() };
            stream(&texts, &guard_of(definition, names, true)?)?
        }
        "stream-words" => {
            let definition = Definition { sensitive: None, ..definitions::patterns() };
            stream(&texts, &guard_of(definition, names, false)?)?
        }
        other => anyhow::bail!("{other}: not a mode"),
    };
    println!("{result}");
    Ok(())
}

/// Seconds that this process has computed: what others do on the machine is not counted. The kernel brings it up to date every
/// few milliseconds, so it is for whole runs; single texts are timed by the clock.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn pii(texts: &[String], names: Option<Arc<NameModel>>) -> Value {
    let detector = PiiDetector::all(names);
    for text in texts.iter().take(20) {
        detector.find(text);
    }
    let started = cpu_seconds();
    let found: Vec<_> = texts.iter().map(|text| detector.find(text)).collect();
    let seconds = cpu_seconds() - started;
    let found: Vec<Vec<Value>> = found
        .iter()
        .zip(texts)
        .map(|(findings, text)| {
            // Offsets in characters, as the labels have them.
            let chars = |at: usize| text[..at].chars().count();
            findings
                .iter()
                .map(|it| json!([chars(it.range.start), chars(it.range.end), it.kind.as_str()]))
                .collect()
        })
        .collect();
    json!({ "seconds": seconds, "found": found })
}

/// Counts what an encoder is asked: for whole layers and for early ones, tokens times layers.
struct Counting {
    encoder: BertEmbedder,
    whole: AtomicUsize,
    early: AtomicUsize,
}

/// Layers of the default encoder.
const ALL_LAYERS: usize = 6;

impl EmbeddingModel for Counting {
    fn dimensions(&self) -> usize {
        self.encoder.dimensions()
    }

    fn max_tokens(&self) -> u32 {
        self.encoder.max_tokens()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        self.encoder.embed(request)
    }

    fn embed_quick(
        &self,
        request: EmbedRequest,
        layers: Option<usize>,
    ) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        let embedded = self.encoder.embed_quick(request, layers);
        let to = if layers.is_some() { &self.early } else { &self.whole };
        embedded.inspect_ok(move |it| self.add(to, it, layers.unwrap_or(ALL_LAYERS))).boxed()
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        self.encoder.count_tokens(text)
    }
}

impl Counting {
    fn add(&self, to: &AtomicUsize, embedded: &Embeddings, layers: usize) {
        let tokens: u32 = embedded.input_tokens.iter().map(|tokens| tokens + 2).sum();
        to.fetch_add(tokens as usize * layers, Ordering::Relaxed);
    }
}

/// What the encoder is asked of each text.
fn asked(texts: &[String], names: Arc<NameModel>) -> anyhow::Result<Value> {
    let encoder = encoder()?;
    let counting = Arc::new(Counting { encoder, whole: AtomicUsize::new(0), early: AtomicUsize::new(0) });
    let guard =
        guard_with(definitions::everything(), names, Some(Arc::clone(&counting) as Arc<dyn EmbeddingModel>))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut counts: [Vec<f64>; 3] = Default::default();
    for (index, text) in texts.iter().enumerate() {
        let assessed = runtime.block_on(guard.assess(Source::Input, vec![Piece::new(text)]));
        assessed.map_err(|error| anyhow::anyhow!(error.message))?;
        let (whole, early) =
            (counting.whole.swap(0, Ordering::Relaxed), counting.early.swap(0, Ordering::Relaxed));
        // The first text waits for the topics to be encoded.
        if index > 0 {
            counts[0].push(whole as f64);
            counts[1].push(early as f64);
            counts[2].push((whole + early) as f64);
        }
    }
    let [whole, early, all] = &mut counts;
    let unit = "tokens_x_layers";
    Ok(json!({ "whole": spread(whole, unit), "early": spread(early, unit), "all": spread(all, unit) }))
}

fn encoder() -> anyhow::Result<BertEmbedder> {
    let installed = ModelFiles::from_environment()?.pull(DEFAULT_EMBEDDING_MODEL, &Told)?.remove(0);
    Ok(BertEmbedder::load(&installed.path())?)
}

fn guard(names: Arc<NameModel>, with_encoder: bool) -> anyhow::Result<Arc<Guard>> {
    guard_of(definitions::everything(), names, with_encoder)
}

fn guard_of(definition: Definition, names: Arc<NameModel>, with_encoder: bool) -> anyhow::Result<Arc<Guard>> {
    let embedder = match with_encoder {
        true => Some(Arc::new(encoder()?) as Arc<dyn EmbeddingModel>),
        false => None,
    };
    guard_with(definition, names, embedder)
}

fn guard_with(
    definition: Definition,
    names: Arc<NameModel>,
    embedder: Option<Arc<dyn EmbeddingModel>>,
) -> anyhow::Result<Arc<Guard>> {
    let names = Some(Arc::new(Ready(names)) as Arc<dyn NameModels>);
    let vectors = Vectors { names, content_heads: embedder.is_some(), embedder, ..Vectors::default() };
    Ok(Arc::new(Guard::of(definition, vectors).map_err(anyhow::Error::msg)?))
}

fn all(texts: &[String], guard: &Arc<Guard>) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut times_ms = Vec::with_capacity(texts.len());
    let mut intervened = 0_u32;
    // The first quarter warms caches, as a server's are, with other texts than those that count.
    let warm = texts.len() / 4;
    for (index, text) in texts.iter().enumerate() {
        let started = Instant::now();
        let assessed = runtime
            .block_on(guard.assess(Source::Input, vec![Piece::new(text)]))
            .map_err(|error| anyhow::anyhow!(error.message))?;
        if index >= warm {
            times_ms.push(started.elapsed().as_secs_f64() * 1000.0);
            intervened += u32::from(assessed.intervened());
        }
    }
    let mut result = spread(&mut times_ms, "ms");
    result["intervened"] = intervened.into();
    Ok(result)
}

/// Streams in increments of four characters: how much has to come before the first text leaves, and how long judging takes
/// until then.
fn stream(texts: &[String], guard: &Arc<Guard>) -> anyhow::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut times_ms, mut held) = (Vec::new(), Vec::new());
    for (turn, text) in texts.iter().chain(texts).enumerate() {
        let characters: Vec<char> = text.chars().collect();
        let mut stream = StreamText::new(Arc::clone(guard));
        let started = Instant::now();
        for (index, increment) in characters.chunks(4).enumerate() {
            let increment: String = increment.iter().collect();
            let verdict = runtime.block_on(stream.push(&increment));
            match verdict.map_err(|error| anyhow::anyhow!(error.message))? {
                Verdict::Pass(text) if text.is_empty() => {}
                // Of a text that is stopped nothing leaves.
                Verdict::Blocked => break,
                // The first turn warms the process.
                Verdict::Pass(_) if turn < texts.len() => break,
                Verdict::Pass(_) => {
                    times_ms.push(started.elapsed().as_secs_f64() * 1000.0);
                    held.push(((index + 1) * 4) as f64);
                    break;
                }
            }
        }
    }
    let mut result = spread(&mut times_ms, "ms");
    let held = spread(&mut held, "held_chars");
    result["held_chars_p50"] = held["p50_held_chars"].clone();
    result["held_chars_p99"] = held["p99_held_chars"].clone();
    Ok(result)
}

fn spread(values: &mut [f64], unit: &str) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values.get(((values.len() as f64 * share) as usize).min(values.len().saturating_sub(1))).copied()
    };
    json!({
        format!("p50_{unit}"): at(0.5), format!("p99_{unit}"): at(0.99), format!("max_{unit}"): at(1.0),
        "count": values.len(),
    })
}
