//! What the benchmarks need besides the peers: an upstream that costs almost nothing, and a load generator that costs
//! little more. Both run on the machine under test, so every cycle they save is one the servers get.
#![allow(clippy::print_stdout, reason = "the load generator's result is its standard output")]

mod load;
mod standin;

use clap::{Parser, Subcommand};

/// Stand-in upstream and load generator for Craton's benchmarks.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve an OpenAI-compatible chat endpoint that answers at once.
    Standin(standin::Options),
    /// Send one prepared request over and over and print latencies as JSON.
    Load(load::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Standin(options) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(standin::serve(options)),
        Command::Load(options) => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load::run(options))
        }
    }
}
