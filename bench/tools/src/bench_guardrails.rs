//! Times and findings of guardrails over texts from standard input (a JSON string a line), as JSON.
//!
//! `pii`: every type of sensitive information. `all`: a guardrail with every policy, one assessment a text.

#![allow(clippy::print_stdout, reason = "the result is printed")]

use std::io::BufRead as _;
use std::sync::Arc;

use anyhow::Context as _;
use craton_guardrails::ner::NameModel;
use craton_guardrails::policies::pii::PiiDetector;
use craton_guardrails::{Guard, NameModels, Piece, Source, Vectors};
use craton_models::DEFAULT_NAME_MODEL;
use craton_models::files::{ModelFiles, Progress};
use futures::FutureExt as _;
use futures::future::BoxFuture;
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
    let mode = std::env::args().nth(1).context("pii or all")?;
    let lines = std::io::stdin().lock().lines();
    let texts: Vec<String> =
        lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<anyhow::Result<_>>()?;
    let installed = ModelFiles::from_environment()?.pull(DEFAULT_NAME_MODEL, &Told)?.remove(0);
    let names = Arc::new(NameModel::load(&installed.path())?);
    let result = match mode.as_str() {
        "pii" => pii(&texts, names),
        "all" => all(texts, names)?,
        other => anyhow::bail!("{other}: pii or all"),
    };
    println!("{result}");
    Ok(())
}

/// Seconds that this process has computed: what others do on the machine is not counted.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|it| it.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn pii(texts: &[String], names: Arc<NameModel>) -> Value {
    let detector = PiiDetector::all(Some(names));
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

fn all(texts: Vec<String>, names: Arc<NameModel>) -> anyhow::Result<Value> {
    let vectors = Vectors { embedder: None, names: Some(Arc::new(Ready(names))) };
    let guard = Guard::with_everything(vectors).map_err(anyhow::Error::msg)?;
    let guard = Arc::new(guard);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut times_ms = Vec::with_capacity(texts.len());
    let mut intervened = 0_u32;
    for (index, text) in texts.iter().chain(&texts).enumerate() {
        let started = cpu_seconds();
        let assessed = runtime
            .block_on(guard.assess(Source::Input, vec![Piece::new(text)]))
            .map_err(|error| anyhow::anyhow!(error.message))?;
        // The first round warms caches, as a server's are.
        if index >= texts.len() {
            times_ms.push((cpu_seconds() - started) * 1000.0);
            intervened += u32::from(assessed.intervened());
        }
    }
    times_ms.sort_by(f64::total_cmp);
    let at = |share: f64| {
        times_ms
            .get(((times_ms.len() as f64 * share) as usize).min(times_ms.len().saturating_sub(1)))
            .copied()
    };
    Ok(
        json!({ "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": times_ms.last(), "texts": times_ms.len(), "intervened": intervened }),
    )
}
