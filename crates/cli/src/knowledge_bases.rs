//! Knowledge bases from the terminal, through the public API.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::client::Client;
use crate::endpoint::EndpointOptions;
use crate::options::start_log;

const POLL: Duration = Duration::from_millis(300);

/// Work with knowledge bases
#[derive(Args)]
#[command(after_help = "Examples:
  craton kb sync KBID012345 DSID012345")]
pub(crate) struct KnowledgeBases {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Sync(Sync),
}

/// Sync a data source and show how far it is
///
/// Starts an ingestion job and follows it to its end. Fails when the job does.
#[derive(Args)]
#[command(after_help = "Examples:
  craton kb sync KBID012345 DSID012345
  craton kb sync KBID012345 DSID012345 --endpoint http://10.0.0.7:8473")]
struct Sync {
    /// The knowledge base's id
    knowledge_base: String,

    /// The data source's id
    data_source: String,

    #[command(flatten)]
    server: EndpointOptions,
}

impl KnowledgeBases {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        start_log(true);
        let Command::Sync(sync) = self.command;
        crate::runtime()?.block_on(sync.run())
    }
}

impl Sync {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (attached, endpoint) = self.server.attach().await?;
        let followed = self.follow(&Client::new(&endpoint)?).await;
        attached.detach().await;
        followed
    }

    async fn follow(&self, client: &Client) -> anyhow::Result<ExitCode> {
        let jobs = format!(
            "/knowledgebases/{}/datasources/{}/ingestionjobs/",
            self.knowledge_base, self.data_source
        );
        let started = client.call(&jobs, Some(&json!({}))).await?;
        let id = started["ingestionJob"]["ingestionJobId"].as_str().context("the answer has no job")?;
        let style = ProgressStyle::with_template("{msg} {bar:28} {pos} / {len} documents {elapsed}");
        let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("Syncing");
        let job = loop {
            let job = client.call(&format!("{jobs}{id}"), None).await?["ingestionJob"].take();
            let (done, all) = progress(&job["statistics"]);
            bar.set_length(all);
            bar.set_position(done);
            match job["status"].as_str() {
                Some("COMPLETE" | "FAILED" | "STOPPED") => break job,
                _ => tokio::time::sleep(POLL).await,
            }
        };
        bar.finish_and_clear();
        Ok(report(&job))
    }
}

/// Documents that were done, and all there are. What is unchanged counts once the job is over.
fn progress(statistics: &Value) -> (u64, u64) {
    let count = |name: &str| statistics[name].as_u64().unwrap_or_default();
    let done = count("numberOfNewDocumentsIndexed")
        + count("numberOfModifiedDocumentsIndexed")
        + count("numberOfDocumentsFailed")
        + count("numberOfDocumentsSkipped");
    (done, count("numberOfDocumentsScanned"))
}

fn report(job: &Value) -> ExitCode {
    let statistics = &job["statistics"];
    let count = |name: &str| statistics[name].as_u64().unwrap_or_default();
    eprintln!(
        "{}: {} scanned, {} new, {} modified, {} deleted, {} failed, {} without text",
        job["status"].as_str().unwrap_or_default(),
        count("numberOfDocumentsScanned"),
        count("numberOfNewDocumentsIndexed"),
        count("numberOfModifiedDocumentsIndexed"),
        count("numberOfDocumentsDeleted"),
        count("numberOfDocumentsFailed"),
        count("numberOfDocumentsSkipped"),
    );
    for reason in job["failureReasons"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("  {reason}");
    }
    if job["status"] == "COMPLETE" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_the_counters() {
        let statistics = json!({ "numberOfDocumentsScanned": 9, "numberOfNewDocumentsIndexed": 4,
            "numberOfModifiedDocumentsIndexed": 1, "numberOfDocumentsFailed": 2 });
        assert_eq!(progress(&statistics), (7, 9));
        assert_eq!(progress(&Value::Null), (0, 0));
    }
}
