//! Makes the weights of guardrails: the table of light vectors, and the classifiers of harmful content.
//!
//! ```text
//! cargo run -p craton-bench --features guardrails --bin train-guardrails -- statics   # from the embedded sentence encoder, minutes
//! cargo run -p craton-bench --features guardrails --bin train-guardrails -- content   # from crates/guardrails/corpus, seconds
//! cargo run -p craton-bench --features guardrails --bin train-guardrails -- report    # what the shipped weights measure
//! ```
//!
//! Everything is deterministic: the same inputs give the same bytes. Rebuild between the two, as the classifiers use the
//! table that the crate was built with.

#![allow(clippy::print_stdout, reason = "a report is printed")]

mod content;
mod corpus;
mod measure;
mod statics;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

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
    /// Measures the shipped classifiers on what they were not trained on.
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
            write(&data.join("content.bin"), &content::train(&corpus).write())
        }
        What::Report { outside, ordinary } => {
            let corpus = corpus::read(&options.folder.join("corpus"))?;
            measure::report(&corpus, outside.as_deref(), &ordinary)
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| path.display().to_string())?;
    eprintln!("{} ({} bytes)", path.display(), bytes.len());
    Ok(())
}
