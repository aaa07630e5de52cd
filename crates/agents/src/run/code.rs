//! `AMAZON.CodeInterpreter`: Python in the sandbox, with the session's files.

use bytes::Bytes;
use craton_api_bedrock_agent_runtime as api;
use craton_core::media;
use craton_sandbox::{Exit, Outcome, Program};
use craton_wire::ApiError;
use craton_wire::types::Blob;

use super::failure;
use super::files::File;
use super::turn::Run;

/// Output that a model is shown, in characters.
const MOST_SHOWN: usize = 20_000;

/// Bytes of files that a turn gives to its user.
const MOST_SENT: usize = 64 << 20;

/// What running code came to.
pub(super) struct Ran(Outcome);

impl Run {
    /// Runs code; what the model can be told where it could not be run.
    pub(super) async fn interpret(&self, code: &str) -> Result<Result<Ran, String>, ApiError> {
        let sandbox = &self.runs.parts.sandbox;
        let mut files = Vec::new();
        for file in &self.session.files {
            if let Some(bytes) = self.read_file(file).await? {
                files.push(craton_sandbox::File { name: file.name.clone(), bytes: bytes.to_vec() });
            }
        }
        let program = Program { code: code.to_owned(), files, ..Program::default() };
        match sandbox.run(program, sandbox.limits()).await {
            Ok(outcome) => Ok(Ok(Ran(outcome))),
            Err(error) if error.is_lack() => {
                Err(failure::dependency(error.public(), "AMAZON.CodeInterpreter"))
            }
            Err(error) => Ok(Err(format!("The code was not run: {}", error.public()))),
        }
    }

    /// Keeps the files that code wrote, and says what came of it in words for the model.
    pub(super) fn note_ran(&mut self, ran: Ran, metadata: api::Metadata) -> (String, bool) {
        let Ran(outcome) = ran;
        let failed = !outcome.exit.is_success();
        let names: Vec<String> = outcome.files.iter().map(|file| file.name.clone()).collect();
        let error = match &outcome.exit {
            exit if exit.is_success() => None,
            Exit::Raised { traceback, .. } => Some(traceback.clone()),
            exit => Some(exit.to_string()),
        };
        let mut output = outcome.stdout.clone();
        if let Some(shown) = &outcome.shown {
            output.push_str(shown);
        }
        self.tracer.observation(api::Type::ActionGroup, |it| {
            it.code_interpreter_invocation_output = Some(api::CodeInterpreterInvocationOutput {
                execution_error: error.clone(),
                execution_output: Some(output.clone()),
                execution_timeout: Some(outcome.exit == Exit::TimedOut),
                files: (!names.is_empty()).then(|| names.clone()),
                metadata: Some(metadata),
            });
        });
        // A file that did not come back is not what the session has of it any more.
        for name in outcome.removed.iter().chain(&outcome.left_out) {
            self.session.drop_file(name);
        }
        let mut lost = outcome.left_out;
        for file in outcome.files {
            if !self.keep_file(&file.name, file.bytes) {
                lost.push(file.name);
            }
        }
        let of_session = |name: &&String| self.session.files.iter().any(|file| file.name == **name);
        let (sent, lost): (Vec<&String>, _) = (names.iter().filter(|it| !lost.contains(it)).collect(), &lost);
        let forgotten: Vec<&String> = sent.iter().copied().filter(|name| !of_session(name)).collect();
        let mut text = clipped(&output);
        if let Some(error) = error {
            text.push_str(&format!("\nThe code failed:\n{}", clipped(&error)));
        }
        for (what, names) in [
            ("Files written, which the user gets", sent),
            ("Of these, too large to be there for later code", forgotten),
            ("Files written that are too many or too large, and are lost", lost.iter().collect()),
        ] {
            text.push_str(&listed(what, &names));
        }
        if text.trim().is_empty() {
            text = match outcome.exit {
                Exit::Finished => "The code ran to its end and printed nothing.".to_owned(),
                exit => format!("{exit} It printed nothing."),
            };
        }
        (text, failed)
    }

    /// Keeps a file for later code and for the user; whether the user gets it.
    fn keep_file(&mut self, name: &str, bytes: Vec<u8>) -> bool {
        let media_type = media::media_type_of_name(name).to_owned();
        let bytes = Bytes::from(bytes);
        self.session.keep(File::new(&self.runs, (name.to_owned(), media_type.clone()), bytes.clone()));
        self.files.retain(|file| file.name.as_deref() != Some(name));
        let others = self.files.iter().filter_map(|file| file.bytes.as_ref()).map(|it| it.0.len());
        if others.sum::<usize>() + bytes.len() > MOST_SENT {
            return false;
        }
        self.files.push(api::OutputFile {
            bytes: Some(Blob(bytes)),
            name: Some(name.to_owned()),
            r#type: Some(media_type),
        });
        true
    }
}

/// Some files in words; nothing where there are none.
fn listed(what: &str, names: &[&String]) -> String {
    const MOST: usize = 20;
    if names.is_empty() {
        return String::new();
    }
    let first: Vec<&str> = names.iter().take(MOST).map(|name| name.as_str()).collect();
    let more = names.len().saturating_sub(MOST);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("\n{what}: {}{more}", first.join(", "))
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}\n[more was printed and is left out]", &text[..end]),
        None => text.to_owned(),
    }
}
