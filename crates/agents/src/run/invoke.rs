//! InvokeAgent and InvokeInlineAgent: a request becomes a turn, and the turn's events its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use craton_api_bedrock_agent_runtime as api;
use craton_backend::{Block, Document, Image};
use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::types::Map;
use futures::{FutureExt as _, StreamExt as _};

use super::AgentRuns;
use super::collaborate::INLINE_ALIAS;
use super::conversation::Exchange;
use super::events::{Feed, RunEvent, RunStream};
use super::failure;
use super::inline::{self, Inline, Retrievals};
use super::returned::{self, Returned};
use super::session::{File, Lease, SessionKey};
use super::tools::Toolbox;
use super::trace::{Identity, Tracer};
use super::turn::{Options, Outcome, Run};
use crate::definition::AgentDefinition;

const SESSION_ENDED: &str = "Session is terminated as 'endSession' flag is set in request.";
/// How much longer than its own time a turn may last for a caller who does not read.
const READER_S: Duration = Duration::from_secs(5);
/// Files that come with a request, and their bytes together.
const MOST_FILES: usize = 5;
const MOST_FILE_BYTES: usize = 10 * 1024 * 1024;

/// Either operation's request, as far as they are the same.
#[derive(Default)]
struct Asked {
    operation: &'static str,
    session_id: String,
    text: Option<String>,
    trace: bool,
    end_session: bool,
    memory_id: Option<String>,
    streaming: Option<api::StreamingConfigurations>,
    creation: Option<api::PromptCreationConfigurations>,
    state: State,
}

/// What the request says of the session.
#[derive(Default)]
struct State {
    attributes: Option<Map<String>>,
    prompt_attributes: Option<Map<String>>,
    invocation_id: Option<String>,
    results: Option<Vec<api::InvocationResultMember>>,
    history: Option<api::ConversationHistory>,
    files: Vec<api::InputFile>,
    retrievals: Retrievals,
}

/// A request in `inlineSessionState` or `sessionState`: the fields that both have.
macro_rules! state {
    ($from:expr, $retrievals:expr) => {
        State {
            attributes: $from.session_attributes,
            prompt_attributes: $from.prompt_session_attributes,
            invocation_id: $from.invocation_id,
            results: $from.return_control_invocation_results,
            history: $from.conversation_history,
            files: $from.files.unwrap_or_default(),
            retrievals: $retrievals,
        }
    };
}

impl AgentRuns {
    pub async fn invoke_agent(
        &self,
        context: &RequestContext,
        input: api::InvokeAgentRequest,
    ) -> Result<api::InvokeAgentResponse, ApiError> {
        let (agent_id, alias_id) = (input.agent_id, input.agent_alias_id);
        let agent = self.parts.agents.resolve(context, &agent_id, &alias_id).await?;
        let memory_id = input.memory_id.clone();
        let asked = Asked {
            operation: "InvokeAgent",
            session_id: input.session_id.clone(),
            text: input.input_text,
            trace: input.enable_trace == Some(true),
            end_session: input.end_session == Some(true),
            memory_id: input.memory_id,
            streaming: input.streaming_configurations,
            creation: input.prompt_creation_configurations,
            state: input
                .session_state
                .map(|from| state!(from, retrievals(from.knowledge_base_configurations)))
                .unwrap_or_default(),
        };
        let stream = self.begin(context, (agent, alias_id), asked).await?;
        Ok(api::InvokeAgentResponse {
            completion: stream.map(|event| event.map(Into::into)).boxed(),
            content_type: "application/json".to_owned(),
            memory_id,
            session_id: input.session_id,
        })
    }

    pub async fn invoke_inline_agent(
        &self,
        context: &RequestContext,
        mut input: api::InvokeInlineAgentRequest,
    ) -> Result<api::InvokeInlineAgentResponse, ApiError> {
        let state = input.inline_session_state.take();
        let asked = Asked {
            operation: "InvokeInlineAgent",
            session_id: input.session_id.clone(),
            text: input.input_text.take(),
            trace: input.enable_trace == Some(true),
            end_session: input.end_session == Some(true),
            memory_id: None,
            streaming: input.streaming_configurations.take(),
            creation: input.prompt_creation_configurations.take(),
            state: state.map(|from| state!(from, Retrievals::new())).unwrap_or_default(),
        };
        let Inline { agent, retrievals } = inline::definition(self, context, input).await?;
        let mut asked = asked;
        asked.state.retrievals = retrievals;
        let session_id = asked.session_id.clone();
        let stream = self.begin(context, (Arc::new(agent), INLINE_ALIAS.to_owned()), asked).await?;
        Ok(api::InvokeInlineAgentResponse {
            completion: stream.map(|event| event.map(Into::into)).boxed(),
            content_type: "application/json".to_owned(),
            session_id,
        })
    }

    /// Everything that can be refused before the stream begins, and the stream.
    async fn begin(
        &self,
        context: &RequestContext,
        (agent, alias_id): (Arc<AgentDefinition>, String),
        mut asked: Asked,
    ) -> Result<RunStream, ApiError> {
        let returned = asked.returned()?;
        let has_text = asked.text.as_deref().is_some_and(|text| !text.trim().is_empty());
        if !(has_text || asked.end_session || returned.is_some()) {
            return Err(ApiError::validation("inputText is required and must not be empty."));
        }
        let agent_id = agent.agent_id.clone();
        let key = SessionKey { agent_id: &agent_id, alias_id: &alias_id, session_id: &asked.session_id };
        let (mut session, lease) = self.open_session(context, key, agent.idle_session_ttl_s).await?;
        if let Some(returned) = &returned {
            returned::check(session.pending.as_ref(), returned)?;
        }
        if agent.memory.is_some() && session.memory_id.is_none() {
            session.memory_id.clone_from(&asked.memory_id);
        }
        let remembered = match (&agent.memory, &session.memory_id) {
            (Some(memory), Some(id)) => {
                let place = (agent_id.as_str(), alias_id.as_str(), id.as_str());
                self.remembered(context, place, memory.max_recent_sessions).await?
            }
            _ => String::new(),
        };
        let identity = Identity {
            agent_id: agent_id.clone(),
            alias_id,
            version: agent.agent_version.clone(),
            session_id: asked.session_id.clone(),
            ..Identity::default()
        };
        let feed = Feed::default();
        let times = (Arc::clone(&self.parts.clock), self.parts.ids.uuid());
        let tracer = Tracer::new(feed.clone(), asked.trace, identity, times);
        let started = tracer.span();
        let mut run = Run::new(self.clone(), context.clone(), (feed.clone(), started));
        run.toolbox = Toolbox::of(&agent);
        run.agent = agent;
        run.tracer = tracer;
        run.session = session;
        run.remembered = remembered;
        run.options = asked.options();
        run.question = asked.text.take().unwrap_or_default();
        run.take_state(asked.state).await?;
        let work = match asked.end_session {
            true => run.end(lease).boxed(),
            false => run.drive(lease, returned).boxed(),
        };
        let limit = Duration::from_secs(self.parts.config.max_run_s) + READER_S;
        Ok(RunStream::new(feed, work, (limit, too_slow(limit))))
    }
}

impl Asked {
    fn returned(&mut self) -> Result<Option<Returned>, ApiError> {
        match (self.state.results.take(), self.state.invocation_id.take()) {
            (Some(results), Some(invocation_id)) => Ok(Some(Returned { invocation_id, results })),
            (Some(_), None) => Err(ApiError::validation(
                "invocationId is required with returnControlInvocationResults. Send the one of the returnControl event.",
            )),
            (None, _) => Ok(None),
        }
    }

    fn options(&self) -> Options {
        let creation = self.creation.as_ref();
        let turns = creation.and_then(|it| it.previous_conversation_turns_to_include);
        Options {
            operation: self.operation,
            stream: self.streaming.as_ref().is_some_and(|it| it.stream_final_response == Some(true)),
            without_thinking: creation.is_some_and(|it| it.exclude_previous_thinking_steps == Some(true)),
            earlier_turns: turns.and_then(|turns| usize::try_from(turns).ok()),
        }
    }
}

impl Run {
    /// Takes over what the request says of the session.
    async fn take_state(&mut self, state: State) -> Result<(), ApiError> {
        let map = |map: Map<String>| map.into_iter().collect::<BTreeMap<_, _>>();
        if let Some(attributes) = state.attributes {
            self.session.attributes = map(attributes);
        }
        if let Some(attributes) = state.prompt_attributes {
            self.prompt_attributes = map(attributes);
        }
        if let Some(history) = state.history {
            self.session.exchanges = exchanges(history);
        }
        self.retrievals = state.retrievals;
        self.take_files(state.files).await
    }

    async fn take_files(&mut self, files: Vec<api::InputFile>) -> Result<(), ApiError> {
        if files.len() > MOST_FILES {
            return Err(ApiError::validation(format!(
                "At most {MOST_FILES} files can be sent with a request."
            )));
        }
        let mut total = 0;
        for file in files {
            let (bytes, media_type) = self.runs.file_bytes(&self.context, &file).await?;
            total += bytes.len();
            if total > MOST_FILE_BYTES {
                return Err(ApiError::validation("The files of a request can have 10 MB together."));
            }
            match file.use_case {
                api::FileUseCase::Chat => {
                    let data = STANDARD.encode(&bytes);
                    self.attachments.push(attachment(&file.name, &media_type, bytes)?);
                    self.attached.push(File { name: file.name, media_type, data });
                }
                api::FileUseCase::CodeInterpreter => {
                    self.session.keep(File { name: file.name, media_type, data: STANDARD.encode(&bytes) });
                }
            }
        }
        Ok(())
    }

    /// Brings back documents that came with a question.
    pub(super) fn attach(&mut self, files: Vec<File>) -> Result<(), ApiError> {
        for file in &files {
            let bytes = STANDARD.decode(&file.data).map_err(|error| super::session::internal(&error))?;
            self.attachments.push(attachment(&file.name, &file.media_type, bytes)?);
        }
        self.attached = files;
        Ok(())
    }

    /// The whole turn, within its time, and what is told at its end.
    async fn drive(mut self, mut lease: Lease, returned: Option<Returned>) -> Result<(), ApiError> {
        let limit = Duration::from_secs(self.runs.parts.config.max_run_s);
        let outcome = match tokio::time::timeout(limit, self.turn(&mut lease, returned)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(too_slow(limit)),
        };
        match outcome {
            Ok(Outcome::Answer(answered)) => {
                // What went out already needs no last chunk, unless there is something to say of it.
                if !(answered.told && answered.citations.is_empty()) {
                    let text = if answered.told { String::new() } else { answered.text };
                    self.feed.send(RunEvent::Chunk { text, citations: answered.citations });
                }
                self.send_files();
                Ok(())
            }
            Ok(Outcome::Returned(payload)) => {
                self.send_files();
                self.feed.send(RunEvent::ReturnControl(payload));
                Ok(())
            }
            Err(error) => {
                self.send_files();
                let error = failure::in_stream(error);
                self.tracer.failure(&error, self.started);
                Err(error)
            }
        }
    }

    /// The files that code wrote, however the turn ends: the model was told that the user gets them.
    fn send_files(&mut self) {
        if !self.files.is_empty() {
            self.feed.send(RunEvent::Files(std::mem::take(&mut self.files)));
        }
    }

    /// Ends the session, and keeps what should be remembered of it.
    async fn end(self, mut lease: Lease) -> Result<(), ApiError> {
        let limit = Duration::from_secs(self.runs.parts.config.max_run_s);
        let summed_up = tokio::time::timeout(limit, self.remember()).await;
        summed_up.unwrap_or_else(|_| Err(too_slow(limit))).map_err(failure::in_stream)?;
        self.runs.end_session(&mut lease).await?;
        self.feed.send(RunEvent::Chunk { text: SESSION_ENDED.to_owned(), citations: Vec::new() });
        Ok(())
    }
}

impl AgentRuns {
    async fn file_bytes(
        &self,
        context: &RequestContext,
        file: &api::InputFile,
    ) -> Result<(Vec<u8>, String), ApiError> {
        match (&file.source.source_type, &file.source.byte_content, &file.source.s3_location) {
            (api::FileSourceType::ByteContent, Some(content), _) => {
                Ok((content.data.0.to_vec(), content.media_type.clone()))
            }
            (api::FileSourceType::S3, _, Some(location)) => {
                let bytes = inline::read_object(self, context, &location.uri, MOST_FILE_BYTES).await?;
                let name = location.uri.rsplit('/').next().unwrap_or_default();
                Ok((bytes, super::code::media_type(name).to_owned()))
            }
            _ => Err(ApiError::validation(format!(
                "The file {} has no content of the kind that its sourceType names.",
                file.name
            ))),
        }
    }
}

fn too_slow(limit: Duration) -> ApiError {
    failure::dependency(
        format!("The agent did not come to an answer within {} seconds.", limit.as_secs()),
        "",
    )
}

/// A file that the model reads with the question.
fn attachment(name: &str, media_type: &str, bytes: Vec<u8>) -> Result<Block, ApiError> {
    let kind = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let format = match kind.as_str() {
        "application/pdf" => "pdf",
        "text/csv" => "csv",
        "text/html" => "html",
        "text/markdown" => "md",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        kind if kind.starts_with("text/") || kind == "application/json" => "txt",
        kind => {
            let format =
                kind.strip_prefix("image/").filter(|it| matches!(*it, "png" | "jpeg" | "gif" | "webp"));
            let format = format.ok_or_else(|| {
                ApiError::validation(format!(
                    "Files of the media type {media_type} can't be read by a model."
                ))
            })?;
            return Ok(Block::Image(Image { format: format.to_owned(), bytes: bytes.into() }));
        }
    };
    Ok(Block::Document(Document { name: name.to_owned(), format: format.to_owned(), bytes: bytes.into() }))
}

fn retrievals(configurations: Option<Vec<api::KnowledgeBaseConfiguration>>) -> Retrievals {
    let all = configurations.unwrap_or_default().into_iter();
    all.map(|it| (it.knowledge_base_id, it.retrieval_configuration)).collect()
}

/// A history that came with the request: each question with the answer after it.
fn exchanges(history: api::ConversationHistory) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for message in history.messages.unwrap_or_default() {
        let texts = message.content.into_iter().map(|api::ContentBlock::Text(text)| text);
        let text = texts.collect::<Vec<_>>().join("\n");
        match (message.role, exchanges.last_mut()) {
            (api::ConversationRole::Assistant, Some(last)) if last.answer.is_empty() => last.answer = text,
            (api::ConversationRole::Assistant, _) => {
                exchanges.push(Exchange { answer: text, ..Exchange::default() });
            }
            (api::ConversationRole::User, _) => {
                exchanges.push(Exchange { question: text, ..Exchange::default() });
            }
        }
    }
    exchanges
}
