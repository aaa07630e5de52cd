//! Makes the weights of guardrails: the table of light vectors, and the classifiers of harmful content.
//!
//! ```text
//! cargo run -p craton-bench --features guardrails --bin train-guardrails -- statics   # from the embedded sentence encoder, minutes
//! cargo run -p craton-bench --features guardrails --bin train-guardrails -- content   # from crates/guardrails/corpus, seconds
//! cargo run -p craton-bench --features guardrails --bin train-guardrails -- tagger    # names and addresses, minutes
//! cargo run -p craton-bench --features guardrails --bin train-guardrails -- report    # what these weights measure
//! ```
//!
//! Everything is deterministic: the same inputs give the same bytes on the same kind of processor (the recogniser and the
//! encoder compute in bytes where it has AVX-512 with VNNI). Rebuild between the two, as the classifiers use the table that
//! the crate was built with.

#![allow(clippy::print_stdout, reason = "a report is printed")]

mod brands;
mod content;
mod corpus;
mod grammar;
mod grounding;
mod heads;
mod measure;
mod odd;
mod outside;
mod points;
mod statics;
mod tagger;
mod topics;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use craton_guardrails::ner::NameModel;
use craton_guardrails::text::View;
use craton_models::DEFAULT_NAME_MODEL;
use craton_models::files::ModelFiles;

#[derive(Parser)]
struct Options {
    /// The guardrails crate.
    #[arg(long, default_value = "crates/guardrails")]
    folder: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Distils the table of light vectors.
    Statics,
    /// Trains the classifiers and chooses their operating points.
    Content,
    /// Measures contextual grounding.
    Grounding,
    /// Measures custom words and profanity in disguise.
    Words,
    /// Fits the weights of denied topics and measures them.
    Topics,
    /// Measures what of sentences about products, companies, places and titles is taken for a person.
    Brands {
        /// Measures persons in a labelled corpus (tokens and labels in columns) instead.
        #[arg(long)]
        outside: Option<PathBuf>,
    },
    /// Measures personal data that is written in odd ways.
    Odd,
    /// Trains the tagger of names and addresses.
    Tagger {
        /// Shows this many drawn texts instead.
        #[arg(long)]
        show: Option<usize>,
    },
    /// Measures the classifiers in the folder on what they were not trained on.
    Report {
        /// A file of the OpenAI moderation evaluation set (JSON lines), for an opinion from outside.
        #[arg(long)]
        outside: Option<PathBuf>,
        /// Folders of ordinary text (Markdown) that nothing should be found in.
        #[arg(long)]
        ordinary: Vec<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let data = options.folder.join("data");
    match options.what {
        What::Statics => write(&data.join("statics.bin"), &statics::distil().await?),
        What::Content => {
            let corpus = corpus::read(&options.folder.join("corpus"))?;
            let training: Vec<&corpus::Example> = corpus.iter().filter(|it| !it.held_out).collect();
            let (light, unseen) = content::train(&training);
            write(&data.join("content.bin"), &light.write())?;
            let texts = training.iter().map(|it| View::folded(&it.text).text().to_owned()).collect();
            let vectors = statics::vectors_of(texts).await?;
            let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
            let heads = heads::train(&training, &vectors, &unseen);
            write(&data.join("content_full.bin"), &heads.write())
        }
        What::Grounding => grounding::report(&options.folder.join("corpus")),
        What::Words => {
            let corpus = corpus::read(&options.folder.join("corpus"))?;
            words::report(&corpus, &options.folder.join("corpus"))
        }
        What::Topics => topics::report(&options.folder.join("corpus")).await,
        What::Brands { outside: Some(path) } => outside::report(&path, Arc::new(names()?)),
        What::Brands { outside: None } => brands::report(&options.folder.join("corpus"), Arc::new(names()?)),
        What::Odd => odd::report(&options.folder.join("corpus"), Arc::new(names()?)),
        What::Tagger { show: Some(count) } => show(&options.folder, count),
        What::Tagger { show: None } => {
            let tagger = tagger::train(&options.folder.join("corpus"), Some(&names()?))?;
            write(&data.join("tagger.bin"), &tagger.write())
        }
        What::Report { outside, ordinary } => {
            let corpus = corpus::read(&options.folder.join("corpus"))?;
            measure::report(&corpus, &options.folder, outside.as_deref(), &ordinary).await
        }
    }
}

fn names() -> anyhow::Result<NameModel> {
    let installed = ModelFiles::from_environment()?.pull(DEFAULT_NAME_MODEL, &statics::Told)?.remove(0);
    Ok(NameModel::load(&installed.path())?)
}

fn show(folder: &Path, count: usize) -> anyhow::Result<()> {
    let grammar = grammar::Grammar::read(&folder.join("corpus"))?;
    let mut chance = grammar::Chance::new(1);
    for _ in 0..count {
        let drawn = grammar.draw(&mut chance);
        let spans: Vec<_> =
            drawn.spans.iter().map(|(kind, range)| (kind, &drawn.text[range.clone()])).collect();
        println!("{:?} {spans:?}", drawn.text);
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())?;
    eprintln!("{} ({} bytes)", path.display(), bytes.len());
    Ok(())
}
