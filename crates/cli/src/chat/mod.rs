//! A terminal chat through the public API: what it can do, any AWS client can.

mod conversation;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::endpoint::EndpointOptions;
use crate::options::start_log;
use conversation::{Conversation, Ended};

/// Any text model's id will do: it is answered by whatever is configured to serve it.
const DEFAULT_MODEL: &str = "anthropic.claude-3-5-sonnet-20241022-v2:0";

/// Chat with a model in the terminal
///
/// Uses the server that runs at the address; if none does, starts one for as long as the chat lasts. /reset forgets
/// the conversation, /exit ends it, Ctrl-C stops an answer. When standard input is not a terminal, each line is one
/// prompt of the same conversation.
#[derive(Args)]
#[command(after_help = "Examples:
  craton chat
  craton chat us.anthropic.claude-3-5-sonnet-20241022-v2:0 --system 'Answer in one sentence.'
  echo 'What is a lighthouse for?' | craton chat --max-tokens 100")]
pub(crate) struct Chat {
    /// The model's id
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,

    /// Instructions that hold for the whole conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// Longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 512)]
    max_tokens: u32,

    /// How freely the model picks its words, from 0 to 1 [default: the model's own]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,

    #[command(flatten)]
    server: EndpointOptions,
}

impl Chat {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        start_log(true);
        let runtime = crate::runtime()?;
        let done = runtime.block_on(self.chat());
        // A thread may still wait for a line that nobody types.
        runtime.shutdown_background();
        done
    }

    async fn chat(self) -> anyhow::Result<ExitCode> {
        let (attached, endpoint) = self.server.attach().await?;
        let mut conversation = Conversation::new(Client::new(&endpoint)?, &self.model, self.max_tokens);
        conversation.system = self.system;
        conversation.temperature = self.temperature;
        let talked = if std::io::stdin().is_terminal() {
            talk(&mut conversation, &self.model).await
        } else {
            answer_lines(&mut conversation).await
        };
        attached.detach().await;
        talked
    }
}

/// Lines of standard input, read on a thread of their own: a read can't be interrupted.
fn lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn talk(conversation: &mut Conversation, model: &str) -> anyhow::Result<ExitCode> {
    eprintln!("{model}. /reset forgets, /exit ends, Ctrl-C stops an answer.");
    let mut lines = lines();
    loop {
        eprint!("\n> ");
        std::io::stderr().flush()?;
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(line) = line.transpose()? else {
            eprintln!();
            return Ok(ExitCode::SUCCESS);
        };
        match line.trim() {
            "" => {}
            "/exit" | "/quit" => return Ok(ExitCode::SUCCESS),
            "/reset" => {
                conversation.reset();
                eprintln!("Forgotten.");
            }
            command if command.starts_with('/') && !command.contains(' ') => {
                eprintln!("There is no {command}; /reset forgets the conversation, /exit ends it.");
            }
            prompt => match conversation.say(prompt).await {
                Ok(Ended::Whole(summary)) => eprintln!("{summary}"),
                Ok(Ended::Stopped) => eprintln!("\n(stopped)"),
                Err(error) => eprintln!("{}", crate::sentence(&error)),
            },
        }
    }
}

/// One prompt a line, one answer each, nothing else on standard output.
async fn answer_lines(conversation: &mut Conversation) -> anyhow::Result<ExitCode> {
    let mut lines = lines();
    while let Some(line) = lines.recv().await.transpose()? {
        match line.trim() {
            "" => {}
            "/exit" | "/quit" => break,
            "/reset" => conversation.reset(),
            prompt => {
                if let Ended::Stopped = conversation.say(prompt).await? {
                    return Ok(ExitCode::from(130));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
