//! Knowledge bases from the terminal, through the public API.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::client::{Client, ServiceError};
use crate::endpoint::EndpointOptions;
use crate::options::start_log;

const POLL: Duration = Duration::from_millis(300);
/// How long a server may be away while its job is followed.
const AWAY: Duration = Duration::from_secs(60);

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
/// Starts an ingestion job and follows it to its end, also while the server is started again. Fails when the job does.
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
        let bar = bar();
        let mut heard = Instant::now();
        let job = loop {
            let mut answer = match client.call(&format!("{jobs}{id}"), None).await {
                Ok(answer) => answer,
                // A server that is started again goes on with the job.
                Err(error) if !error.is::<ServiceError>() && heard.elapsed() < AWAY => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Err(error) => return Err(error.context(format!("nothing is heard of the job {id} any more"))),
            };
            heard = Instant::now();
            let job = answer["ingestionJob"].take();
            show(&bar, &job["statistics"]);
            match job["status"].as_str() {
                Some("COMPLETE" | "FAILED" | "STOPPED") => break job,
                _ => tokio::time::sleep(POLL).await,
            }
        };
        bar.finish_and_clear();
        Ok(report(&job))
    }
}

/// A bar of which nothing is known yet.
fn bar() -> ProgressBar {
    let bar = ProgressBar::no_length().with_style(style("{msg} {bar:28} {elapsed}"));
    bar.set_message("Syncing");
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Shows how far a job is. While it is not known how much there is to do, the bar stays empty.
fn show(bar: &ProgressBar, statistics: &Value) {
    let (done, all) = progress(statistics);
    if all == 0 {
        return;
    }
    if bar.length().is_none() {
        bar.set_style(style("{msg} {bar:28} {pos} / {len} documents {elapsed}"));
    }
    bar.set_length(all);
    bar.set_position(done);
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

    #[test]
    fn a_bar_has_no_length_until_it_is_known_how_much_there_is() {
        let bar = bar();
        show(&bar, &json!({ "numberOfDocumentsScanned": 0 }));
        assert_eq!((bar.length(), bar.position()), (None, 0));
        show(&bar, &json!({ "numberOfDocumentsScanned": 4, "numberOfNewDocumentsIndexed": 2 }));
        assert_eq!((bar.length(), bar.position()), (Some(4), 2));
    }
}
