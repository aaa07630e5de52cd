//! Files: those that come with a request, and those that a session keeps.
//!
//! A session's record says which files it has; what is in them lies in records of their own, which are written once and
//! read when code runs, not with every turn.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use craton_api_bedrock_agent_runtime as api;
use craton_backend::{Block, Document, Image};
use craton_core::{RequestContext, media};
use craton_store::{NewRecord, Record, Scope, StoreError, Transaction};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::AgentRuns;
use super::inline;
use super::session::{Session, from_store};
use super::turn::Run;
use crate::control::kinds;

/// Bytes that the files of a request may have together.
const MOST_REQUEST_BYTES: usize = 10 * 1024 * 1024;
/// Files kept in a session, and their bytes together: what a request can bring.
const MOST_FILES: usize = 20;
const MOST_BYTES: usize = 10 * 1024 * 1024;

/// A file as a session knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub name: String,
    pub media_type: String,
    bytes: usize,
    /// The end of its record's id.
    row: String,
    /// What is in it, while it is at hand.
    #[serde(skip)]
    content: Option<Bytes>,
}

impl File {
    pub(super) fn new(runs: &AgentRuns, (name, media_type): (String, String), content: Bytes) -> Self {
        let row = runs.parts.ids.uuid();
        Self { name, media_type, bytes: content.len(), row, content: Some(content) }
    }
}

impl Session {
    /// Keeps a file for code to read, in the place of what has its name or is in its way; the oldest go where there are
    /// too many. One that is too large by itself is not kept.
    pub(super) fn keep(&mut self, file: File) {
        self.drop_file(&file.name);
        if file.bytes > MOST_BYTES {
            return;
        }
        self.files.push(file);
        while self.files.len() > MOST_FILES
            || self.files.iter().map(|file| file.bytes).sum::<usize>() > MOST_BYTES
        {
            self.files.remove(0);
        }
    }

    /// Forgets a file, what is in a folder of its name, and files in the place of its folders.
    pub(super) fn drop_file(&mut self, name: &str) {
        self.files.retain(|it| !in_the_way(&it.name, name));
    }

    fn all_files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().chain(self.pending.iter().flat_map(|pending| &pending.attached))
    }

    /// The records of its files.
    pub(super) fn rows(&self) -> HashSet<String> {
        self.all_files().map(|file| file.row.clone()).collect()
    }
}

/// Whether two files can't be side by side: one has the other's name, or the name of one of its folders.
pub(super) fn in_the_way(one: &str, other: &str) -> bool {
    let within = |name: &str, folder: &str| {
        name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}

/// Where the files of a session lie: its scope, and what its record is called.
pub(super) type Place<'p> = (&'p Scope, &'p str);

fn scope(of: &Scope) -> Scope {
    Scope::new(kinds::SESSION_FILE, &of.account, &of.region)
}

fn id(session: &str, row: &str) -> String {
    format!("{session}/{row}")
}

/// Writes what is in a session's files and is not in the records yet, and forgets what it has no more. `written` are
/// the records that are there.
pub(super) async fn write(
    transaction: &mut Transaction,
    (of, session_id): Place<'_>,
    session: &Session,
    (written, now_ms): (&HashSet<String>, i64),
) -> Result<(), StoreError> {
    let scope = scope(of);
    for file in session.all_files() {
        if written.contains(&file.row) {
            continue;
        }
        if let Some(content) = &file.content {
            let id = id(session_id, &file.row);
            let body = json!({ "data": STANDARD.encode(content) });
            let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
            transaction.create(&scope, new).await?;
        }
    }
    let kept = session.rows();
    for row in written.difference(&kept) {
        transaction.delete(&scope, &id(session_id, row), None).await?;
    }
    Ok(())
}

/// Deletes the files of a session that ends.
pub(super) async fn forget(transaction: &mut Transaction, (of, id): Place<'_>) -> Result<(), StoreError> {
    transaction.delete_within(&scope(of), &format!("{id}/")).await.map(drop)
}

fn content(record: &Record) -> Option<Bytes> {
    let data = record.body.get("data").and_then(Value::as_str)?;
    STANDARD.decode(data).ok().map(Bytes::from)
}

impl Run {
    /// Takes what comes with a request: documents for the model, and files for code.
    pub(super) async fn take_files(&mut self, files: Vec<api::InputFile>) -> Result<(), ApiError> {
        let mut total = 0;
        for file in files {
            let (bytes, media_type) = self.runs.file_bytes(&self.context, &file).await?;
            total += bytes.len();
            if total > MOST_REQUEST_BYTES {
                return Err(ApiError::validation("The files of a request can have 10 MB together."));
            }
            match file.use_case {
                api::FileUseCase::Chat => {
                    self.attachments.push(attachment(&file.name, &media_type, bytes.clone())?);
                    self.attached.push(File::new(&self.runs, (file.name, media_type), bytes));
                }
                api::FileUseCase::CodeInterpreter => {
                    self.session.keep(File::new(&self.runs, (file.name, media_type), bytes));
                }
            }
        }
        Ok(())
    }

    /// Brings back documents that came with a question.
    pub(super) async fn attach(&mut self, files: Vec<File>) -> Result<(), ApiError> {
        for file in &files {
            if let Some(bytes) = self.read_file(file).await? {
                self.attachments.push(attachment(&file.name, &file.media_type, bytes)?);
            }
        }
        self.attached = files;
        Ok(())
    }

    /// What is in a file of the session; none where it is gone.
    pub(super) async fn read_file(&self, file: &File) -> Result<Option<Bytes>, ApiError> {
        if let Some(content) = &file.content {
            return Ok(Some(content.clone()));
        }
        let (of, session_id) = &self.session.place;
        let Some(of) = of else { return Ok(None) };
        let record = self.runs.parts.store.get(&scope(of), &id(session_id, &file.row)).await;
        Ok(record.map_err(from_store)?.as_ref().and_then(content))
    }
}

impl AgentRuns {
    async fn file_bytes(
        &self,
        context: &RequestContext,
        file: &api::InputFile,
    ) -> Result<(Bytes, String), ApiError> {
        match (&file.source.source_type, &file.source.byte_content, &file.source.s3_location) {
            (api::FileSourceType::ByteContent, Some(content), _) => {
                Ok((content.data.0.clone(), content.media_type.clone()))
            }
            (api::FileSourceType::S3, _, Some(location)) => {
                let bytes = inline::read_object(self, context, &location.uri, MOST_REQUEST_BYTES).await?;
                Ok((bytes.into(), media::media_type_of_name(&location.uri).to_owned()))
            }
            _ => Err(ApiError::validation(format!(
                "The file {} has no content of the kind that its sourceType names.",
                file.name
            ))),
        }
    }
}

/// A file that the model reads with the question.
fn attachment(name: &str, media_type: &str, bytes: Bytes) -> Result<Block, ApiError> {
    let kind = media::essence(media_type);
    let is_text = kind.starts_with("text/") || kind == "application/json";
    if let Some(format) = media::document_format(&kind).or(is_text.then_some("txt")) {
        return Ok(Block::Document(Document { name: name.to_owned(), format: format.to_owned(), bytes }));
    }
    let format = kind.strip_prefix("image/").filter(|it| matches!(*it, "png" | "jpeg" | "gif" | "webp"));
    let format = format.ok_or_else(|| {
        ApiError::validation(format!("Files of the media type {media_type} can't be read by a model."))
    })?;
    Ok(Block::Image(Image { format: format.to_owned(), bytes }))
}
