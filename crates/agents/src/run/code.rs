//! `AMAZON.CodeInterpreter`: Python in the sandbox, with the session's files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use craton_api_bedrock_agent_runtime as api;
use craton_sandbox::{Exit, Outcome, Program, SandboxError};
use craton_wire::ApiError;
use craton_wire::types::Blob;

use super::failure;
use super::session::File;
use super::turn::Run;

/// Output that a model is shown, in characters.
const MOST_SHOWN: usize = 20_000;

/// What running code came to.
pub(super) struct Ran(Outcome);

impl Run {
    /// Runs code; what the model can be told where it could not be run.
    pub(super) async fn interpret(&self, code: &str) -> Result<Result<Ran, String>, ApiError> {
        let sandbox = &self.runs.parts.sandbox;
        let files = self.session.files.iter().filter_map(|file| {
            let bytes = STANDARD.decode(&file.data).ok()?;
            Some(craton_sandbox::File { name: file.name.clone(), bytes })
        });
        let program = Program { code: code.to_owned(), files: files.collect(), ..Program::default() };
        match sandbox.run(program, sandbox.limits()).await {
            Ok(outcome) => Ok(Ok(Ran(outcome))),
            Err(
                error @ (SandboxError::Unavailable(_)
                | SandboxError::Unwalled(_)
                | SandboxError::Exposed { .. }),
            ) => Err(failure::dependency(error.to_string(), "AMAZON.CodeInterpreter")),
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
        let media_type = media_type(&name).to_owned();
        let data = STANDARD.encode(&bytes);
        self.session.keep(File { name: name.clone(), media_type: media_type.clone(), data });
        self.files.retain(|file| file.name.as_ref() != Some(&name));
        self.files.push(api::OutputFile {
            bytes: Some(Blob::from(bytes)),
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

/// The media type that a file's name stands for.
pub(super) fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "csv" => "text/csv",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        _ => "application/octet-stream",
    }
}
