//! `craton lambda dev`: a server with a folder of sources as a function.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use craton_lambda::MappedFunction;
use craton_server::{Server, Surroundings};

use super::logs::{Followed, log_path};
use crate::options::{ServerOptions, start_log};
use crate::signals;

const POLL: Duration = Duration::from_millis(200);

/// Serve a folder as a function, and read it again when a file changes
///
/// Starts a server with the function in it and shows what the function prints. Name, runtime and handler are guessed
/// from the folder: lambda_function.py, main.py, app.py, handler.py, index.mjs or index.js.
#[derive(Args)]
#[command(after_help = "Examples:
  craton lambda dev ./orders
  craton lambda dev . --name orders --handler main.handle --runtime python3.12
  aws lambda invoke --function-name orders --payload '{}' /dev/stdout     in another terminal")]
pub(super) struct Dev {
    /// The folder of the function's sources
    folder: PathBuf,

    /// The function's name [default: the folder's]
    #[arg(long)]
    name: Option<String>,

    /// file.function
    #[arg(long)]
    handler: Option<String>,

    /// python3.x or nodejs
    #[arg(long)]
    runtime: Option<String>,

    /// Seconds a call may take
    #[arg(long, value_name = "S", default_value_t = 30)]
    timeout: u32,

    #[command(flatten)]
    server: ServerOptions,
}

impl Dev {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        start_log(true);
        let mut config = self.server.load()?;
        let function = self.function()?;
        let name = function.name.clone();
        // One given here is meant more than one of the file.
        config.functions.retain(|other| other.name != name);
        config.functions.push(function.clone());
        config.check()?;
        let mut output = Followed::new(log_path(&config.data_dir, &config.region, &name));
        let _ = output.last_lines(0);
        let arn = format!("arn:aws:lambda:{}:{}:function:{name}", config.region, config.account_id);
        crate::runtime()?.block_on(async {
            let stop = signals::asked_to_stop().context("signals can't be received")?;
            let server = Server::start(config, Surroundings::real()?).await?;
            eprintln!("{}", server.banner());
            eprintln!(
                "Function {arn}\n  {} of {} ({})",
                function.handler.unwrap_or_default(),
                self.folder.display(),
                function.runtime.unwrap_or_default(),
            );
            // On a thread of its own: whoever reads this output may be slow. Dropping `showing` says that nobody does.
            let (showing, shown) = tokio::sync::oneshot::channel::<()>();
            std::thread::spawn(move || {
                let _showing = showing;
                while output.copy_new(&mut std::io::stdout().lock()).is_ok() {
                    std::thread::sleep(POLL);
                }
            });
            tokio::select! {
                () = stop => {}
                _ = shown => {}
            }
            server.stop().await;
            Ok(ExitCode::SUCCESS)
        })
    }

    fn function(&self) -> anyhow::Result<MappedFunction> {
        let folder =
            self.folder.canonicalize().with_context(|| format!("{} can't be read", self.folder.display()))?;
        let guessed = guess(&folder);
        let (runtime, handler) = match (&self.runtime, &self.handler, guessed) {
            (Some(runtime), Some(handler), _) => (runtime.clone(), handler.clone()),
            (runtime, handler, Some((guessed_runtime, guessed_handler))) => (
                runtime.clone().unwrap_or_else(|| guessed_runtime.to_owned()),
                handler.clone().unwrap_or(guessed_handler),
            ),
            _ => bail!("no handler can be told from {}; give --handler and --runtime", folder.display()),
        };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.chars()
                    .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
                    .take(64)
                    .collect()
            }
        };
        Ok(MappedFunction {
            name,
            folder: Some(folder),
            runtime: Some(runtime),
            handler: Some(handler),
            timeout_s: Some(self.timeout),
            ..MappedFunction::default()
        })
    }
}

/// The runtime and the handler of a folder that is laid out as folders of functions usually are.
fn guess(folder: &Path) -> Option<(&'static str, String)> {
    for stem in ["lambda_function", "main", "app", "handler"] {
        let Ok(source) = std::fs::read_to_string(folder.join(format!("{stem}.py"))) else { continue };
        let name = ["lambda_handler", "handler", "handle"].into_iter().find(|name| {
            source.lines().any(|line| {
                let line = line.strip_prefix("async ").unwrap_or(line);
                line.strip_prefix("def ")
                    .and_then(|rest| rest.strip_prefix(name))
                    .is_some_and(|rest| rest.starts_with('('))
            })
        });
        if let Some(name) = name {
            return Some(("python3.11", format!("{stem}.{name}")));
        }
    }
    let script = ["index.mjs", "index.js"].into_iter().any(|name| folder.join(name).is_file());
    script.then(|| ("nodejs20.x", "index.handler".to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_guessed_from_their_files() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(guess(folder.path()), None);
        std::fs::write(folder.path().join("index.mjs"), "").unwrap();
        assert_eq!(guess(folder.path()), Some(("nodejs20.x", "index.handler".into())));
        std::fs::write(
            folder.path().join("app.py"),
            "def handlers(): pass\ndef handle(event, context): pass",
        )
        .unwrap();
        assert_eq!(guess(folder.path()), Some(("python3.11", "app.handle".into())));
        std::fs::write(folder.path().join("lambda_function.py"), "def lambda_handler(event, context): pass")
            .unwrap();
        assert_eq!(guess(folder.path()), Some(("python3.11", "lambda_function.lambda_handler".into())));
    }
}
