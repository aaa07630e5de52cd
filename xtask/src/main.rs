//! The repository's own chores: generating the API crates and checking the house rules.

#![allow(clippy::print_stdout)] // a command-line tool

mod codegen;
mod tidy;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Write crates/api/* from the service models of an installed botocore
    Codegen {
        /// Folder of the botocore package; default: $CRATON_BOTOCORE, else the one python3 imports
        #[arg(long, env = "CRATON_BOTOCORE")]
        botocore: Option<PathBuf>,
        /// Write nothing; fail if a checked-in file differs
        #[arg(long)]
        check: bool,
    },
    /// Check layers, file lengths and what may not be committed
    Tidy,
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lives in the repository")?;
    match Arguments::parse().chore {
        Chore::Codegen { botocore, check } => codegen::run(root, botocore, check),
        Chore::Tidy => tidy::run(root),
    }
}
