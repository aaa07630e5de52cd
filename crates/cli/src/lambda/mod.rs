//! Functions from the terminal: list them, read what they print, serve a folder as one.

mod dev;
mod logs;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::client::Client;
use crate::endpoint::EndpointOptions;
use crate::options::start_log;

/// Work with Lambda functions
#[derive(Args)]
#[command(after_help = "Examples:
  craton lambda dev ./my-function
  craton lambda list
  craton lambda logs orders --follow")]
pub(crate) struct Lambda {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Logs(logs::Logs),
    List(List),
}

/// List the functions that were created on a server
#[derive(Args)]
#[command(after_help = "Examples:
  craton lambda list
  craton lambda list --endpoint http://10.0.0.7:8473")]
struct List {
    #[command(flatten)]
    server: EndpointOptions,
}

impl Lambda {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Dev(command) => command.run(),
            Command::Logs(command) => command.run(),
            Command::List(command) => {
                start_log(true);
                crate::runtime()?.block_on(command.run())
            }
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (attached, endpoint) = self.server.attach().await?;
        let listed = functions(&Client::new(&endpoint)?).await;
        attached.detach().await;
        let functions = listed?;
        let mut out = std::io::stdout().lock();
        for function in &functions {
            let text = |name: &str| function[name].as_str().unwrap_or("-").to_owned();
            writeln!(
                out,
                "{:<32} {:<12} {:<32} {:>5} MB {:>4} s  {}",
                text("FunctionName"),
                text("Runtime"),
                text("Handler"),
                function["MemorySize"],
                function["Timeout"],
                text("LastModified"),
            )?;
        }
        if functions.is_empty() {
            eprintln!("no functions; `craton lambda dev DIR` serves a folder as one");
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn functions(client: &Client) -> anyhow::Result<Vec<Value>> {
    let mut functions = Vec::new();
    let mut marker = None;
    loop {
        let query = match &marker {
            None => String::new(),
            Some(marker) => format!("?Marker={marker}"),
        };
        let page = client.lambda(&format!("/2015-03-31/functions/{query}")).await?;
        functions.extend(page["Functions"].as_array().cloned().unwrap_or_default());
        match page["NextMarker"].as_str() {
            Some(next) if !next.is_empty() => marker = Some(next.to_owned()),
            _ => return Ok(functions),
        }
    }
}
