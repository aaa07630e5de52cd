//! The repository's own chores: generating the API crates and checking the house rules.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line tool

mod codegen;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};
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
    /// Print docs/coverage.md from the service tables and the server's routes
    Coverage {
        /// Write nothing; fail if the checked-in page differs
        #[arg(long)]
        check: bool,
    },
    /// Check layers, file lengths and what may not be committed
    Tidy,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Asked when it runs: a target folder that several checkouts share may hold the chores built in another one.
    let folder = std::env::var("CARGO_MANIFEST_DIR").context("run the chores as `cargo xtask`")?;
    let root = Path::new(&folder).parent().context("xtask lives in the repository")?;
    match Arguments::parse().chore {
        Chore::Codegen { botocore, check } => codegen::run(root, botocore, check),
        Chore::Coverage { check } => coverage(root, check),
        Chore::Tidy => tidy::run(root),
    }
}

/// The page is written by the server's own test of it, so that this tool need not be built with the whole server.
fn coverage(root: &Path, check: bool) -> anyhow::Result<()> {
    let mut test = Command::new(env!("CARGO"));
    test.args(["test", "--package", "craton-server", "--", "coverage"]).current_dir(root);
    if !check {
        test.env("CRATON_BLESS", "1");
    }
    ensure!(test.status().context("running cargo")?.success(), "docs/coverage.md is not what the tables say");
    Ok(())
}
