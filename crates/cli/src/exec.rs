use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::endpoint::{Attached, Endpoint};
use crate::options::{ServerOptions, start_log};
use crate::{signals, threads};

/// Run a command with AWS clients pointed at the server
///
/// Uses the server that runs at the address; if none does, starts one and stops it when the command ends. The
/// command's exit code is passed on (127 when there is no such command), and signals are forwarded to it.
#[derive(Args)]
#[command(after_help = "Examples:
  craton exec -- python app.py
  craton exec -- aws bedrock list-foundation-models
  craton exec --listen 127.0.0.1:9000 -- npm test")]
pub(crate) struct Exec {
    #[command(flatten)]
    server: ServerOptions,

    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Exec {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        start_log(true);
        let config = self.server.load()?;
        let runtime = crate::runtime()?;
        let done = runtime.block_on(async {
            let (attached, endpoint) = Attached::find_or_start(config).await?;
            let ended = run_command(&self.command, &endpoint).await;
            signals::end_at_once_from_now();
            attached.detach().await;
            ended.map(exit_code).or_else(not_started)
        });
        runtime.shutdown_background();
        done
    }
}

async fn run_command(command: &[OsString], endpoint: &Endpoint) -> anyhow::Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("there is no command to run")?;
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).envs(endpoint.variables());
    for name in Endpoint::cleared_here().into_iter().chain(threads::own_variable()) {
        child.env_remove(name);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut child = child.spawn().with_context(|| format!("{} can't be run", program.to_string_lossy()))?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    // At a terminal, Ctrl-C reaches the whole foreground group, the child included; twice would be once too often.
    let from_terminal = std::io::stdin().is_terminal();
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = interrupt.recv() => if from_terminal { None } else { Some(Signal::SIGINT) },
            _ = terminate.recv() => Some(Signal::SIGTERM),
            _ = hangup.recv() => Some(Signal::SIGHUP),
        };
        if let (Some(pid), Some(signal)) = (pid, signal) {
            // It may have ended in this moment; then there is nobody to tell.
            let _ = kill(pid, signal);
        }
    }
}

/// What shells and `env` answer for a command that is not there, or is no program.
fn not_started(error: anyhow::Error) -> anyhow::Result<ExitCode> {
    let code = match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::NotFound) => 127,
        Some(std::io::ErrorKind::PermissionDenied) => 126,
        _ => return Err(error),
    };
    eprintln!("craton: {error:#}");
    Ok(ExitCode::from(code))
}

/// The child's own code, or 128 and its signal's number as shells have it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
