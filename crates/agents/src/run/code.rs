//! `AMAZON.CodeInterpreter`: Python in the sandbox, with the session's files.

use bytes::Bytes;
use craton_api_bedrock_agent_runtime as api;
use craton_core::media;
use craton_sandbox::{Exit, Outcome, Program, SandboxError};
use craton_wire::ApiError;
use craton_wire::types::Blob;

use super::failure;
use super::files::File;
use super::turn::Run;

/// Output that a model is shown, in characters.
const MOST_SHOWN: usize = 20_000;

const UNABLE: &str = "This server can't run code. Its log says what it lacks.";

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
            Err(
                error @ (SandboxError::Unavailable(_)
                | SandboxError::Unwalled(_)
                | SandboxError::Exposed { .. }),
            ) => {
                // What is missing on this machine, and where, is for who runs it.
                tracing::error!(%error, "code of an agent can't be run");
                Err(failure::dependency(UNABLE, "AMAZON.CodeInterpreter"))
            }
            Err(SandboxError::Io(error)) => {
                tracing::error!(%error, "code of an agent could not be run");
                Ok(Err("The code was not run, because of a fault of the server.".to_owned()))
            }
            Err(error) => Ok(Err(format!("The code was not run: {error}"))),
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
        for file in outcome.files {
            self.keep_file(file.name, file.bytes);
        }
        let mut text = clipped(&output);
        if let Some(error) = error {
            text.push_str(&format!("\nThe code failed:\n{}", clipped(&error)));
        }
        if !names.is_empty() {
            text.push_str(&format!("\nFiles written, which the user gets: {}", names.join(", ")));
        }
        if text.trim().is_empty() {
            text.push_str("The code ran to its end and printed nothing.");
        }
        (text, failed)
    }

    fn keep_file(&mut self, name: String, bytes: Vec<u8>) {
        let media_type = media::media_type_of_name(&name).to_owned();
        let bytes = Bytes::from(bytes);
        self.session.keep(File::new(&self.runs, (name.clone(), media_type.clone()), bytes.clone()));
        self.files.retain(|file| file.name.as_ref() != Some(&name));
        self.files.push(api::OutputFile {
            bytes: Some(Blob(bytes)),
            name: Some(name),
            r#type: Some(media_type),
        });
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}\n[more was printed and is left out]", &text[..end]),
        None => text.to_owned(),
    }
}
