//! The command line: `craton serve`, and what makes it pleasant to use one.
//!
//! Commands that call models (`chat`, what `exec` runs) go through the public API like any other client.

mod chat;
mod client;
mod endpoint;
mod env;
mod exec;
mod keys;
mod knowledge_bases;
mod lambda;
mod models;
mod options;
mod policy;
mod progress;
mod serve;
mod signals;
mod threads;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Requests are many small allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A generative-AI platform on your own machine that speaks the AWS Bedrock API.
#[derive(Parser)]
#[command(
    name = "craton",
    version,
    max_term_width = 100,
    after_help = "Examples:
  craton serve                      serve the Bedrock API on http://127.0.0.1:8473
  craton exec -- python app.py      run a boto3 program against it
  craton chat                       talk to the embedded model"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Env(env::Env),
    Exec(exec::Exec),
    Models(models::Models),
    Chat(chat::Chat),
    Keys(keys::Keys),
    Policy(policy::PolicyCommand),
    Kb(knowledge_bases::KnowledgeBases),
    Lambda(lambda::Lambda),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Those that may compute in this process.
    let computes =
        matches!(cli.command, Command::Serve(_) | Command::Exec(_) | Command::Chat(_) | Command::Lambda(_));
    if computes {
        threads::settle();
    }
    let done = match cli.command {
        Command::Serve(command) => command.run(),
        Command::Env(command) => command.run(),
        Command::Exec(command) => command.run(),
        Command::Models(command) => command.run(),
        Command::Chat(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Kb(command) => command.run(),
        Command::Lambda(command) => command.run(),
    };
    let code = match done {
        Ok(code) => code,
        // Somebody who stops reading our output (`craton env | head -1`) is no failure worth words.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("craton: {}", sentence(&error));
            ExitCode::FAILURE
        }
    };
    if computes {
        signals::end(code);
    }
    code
}

/// The causes in one line, none of them said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    };
    error.chain().any(|cause| kind(cause) == Some(std::io::ErrorKind::BrokenPipe))
}

/// A multi-threaded runtime, one worker a core.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("craton").build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_has_examples() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:"), "{}", command.get_name());
            command.get_subcommands().filter(|sub| sub.get_name() != "help").for_each(check);
        }
        Cli::command().debug_assert();
        check(&Cli::command());
    }

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let error =
            anyhow::anyhow!("the port is taken").context("can't listen on 127.0.0.1:1: the port is taken");
        assert_eq!(sentence(&error), "can't listen on 127.0.0.1:1: the port is taken");
        let error = anyhow::anyhow!("no such file").context("can't read x");
        assert_eq!(sentence(&error), "can't read x: no such file");
    }
}
