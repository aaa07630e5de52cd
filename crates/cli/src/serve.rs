use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use craton_server::{Server, Surroundings};

use crate::options::{ServerOptions, start_log};
use crate::signals;

/// Serve the Bedrock API
///
/// Prints what serves which model, answers GET /health when it can serve and GET /metrics in Prometheus's format, and
/// stops on SIGTERM or Ctrl-C once open requests have finished, or at once when asked again. Environment variables and
/// the keys of craton.toml are listed in docs/configuration.md.
#[derive(Args)]
#[command(after_help = "Examples:
  craton serve
  craton serve --listen 0.0.0.0:8473 --tls
  craton serve --data-dir ./data --config craton.toml
  eval \"$(craton env)\" && python app.py     in another terminal")]
pub(crate) struct Serve {
    #[command(flatten)]
    server: ServerOptions,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        start_log(false);
        let config = self.server.load()?;
        let runtime = crate::runtime()?;
        let served = runtime.block_on(async {
            let stop = signals::asked_to_stop().context("signals can't be received")?;
            let server = Server::start(config, Surroundings::real()?).await?;
            eprintln!("{}", server.banner());
            stop.await;
            signals::end_at_once_from_now();
            eprintln!("craton: stopping; open requests finish first (again to stop at once)");
            server.stop().await;
            Ok(ExitCode::SUCCESS)
        });
        // A download that is under way goes on at the next start; nobody waits for it now.
        runtime.shutdown_background();
        served
    }
}
