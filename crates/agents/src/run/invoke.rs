//! InvokeAgent and InvokeInlineAgent: a request becomes a turn, and the turn's events its answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use craton_wire::types::Map;
use futures::{FutureExt as _, StreamExt as _};

use super::AgentRuns;
use super::asked::{self, Asked, State, state};
use super::collaborate::INLINE_ALIAS;
use super::conversation::shorten;
use super::events::{Feed, RunEvent, RunStream};
use super::failure;
use super::inline::{self, Inline, Retrievals};
use super::returned::{self, Returned};
use super::session::{Lease, SessionKey};
use super::trace::{Identity, Tracer};
use super::turn::{Outcome, Run};
use crate::prepared::Prepared;

const SESSION_ENDED: &str = "Session is terminated as 'endSession' flag is set in request.";
/// How much longer than its own time a turn may last for a caller who does not read.
const READER_S: Duration = Duration::from_secs(5);
/// Bytes of an event's text or files: as base64 they are a third more, and a message has 24 MiB.
const MOST_EVENT: usize = 16 << 20;

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
                .map(|from| state!(from, asked::retrievals(from.knowledge_base_configurations)))
                .unwrap_or_default(),
        };
        self.check_retrievals(context, &agent, &asked.state.retrievals).await?;
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
        let stream =
            self.begin(context, (Arc::new(Prepared::from(agent)), INLINE_ALIAS.to_owned()), asked).await?;
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
        (agent, alias_id): (Arc<Prepared>, String),
        mut asked: Asked,
    ) -> Result<RunStream, ApiError> {
        let returned = asked.returned()?;
        let has_text = asked.text.as_deref().is_some_and(|text| !text.trim().is_empty());
        if !(has_text || asked.end_session || returned.is_some()) {
            return Err(ApiError::validation("inputText is required and must not be empty."));
        }
        asked.check(&agent)?;
        let agent_id = agent.agent_id.clone();
        let session_id = match alias_id.as_str() {
            // An inline agent acts as its caller, and what its sessions hold is that caller's.
            INLINE_ALIAS => format!("{}@{}", asked.session_id, context.principal.owner_id()),
            _ => asked.session_id.clone(),
        };
        let key = SessionKey { agent_id: &agent_id, alias_id: &alias_id, session_id: &session_id };
        let (mut session, lease) = self.open_session(context, key, agent.idle_session_ttl_s).await?;
        if let Some(returned) = &returned {
            returned::check(session.pending.as_ref(), returned)?;
        }
        if session.memory_id.is_none() {
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
            self.session.exchanges = asked::exchanges(history);
            shorten(&mut self.session.exchanges);
        }
        self.retrievals = state.retrievals;
        self.take_files(state.files).await
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
                    self.send_answer(text, answered.citations);
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
                let error = failure::in_stream(error, self.options.operation);
                self.tracer.failure(&error, self.started);
                Err(error)
            }
        }
    }

    /// The answer in one event, or in as many as it needs; what there is to say of it is with the last.
    fn send_answer(&self, mut text: String, citations: Vec<api::Citation>) {
        while text.len() > MOST_EVENT {
            let rest = text.split_off(text.floor_char_boundary(MOST_EVENT));
            self.feed.send(RunEvent::Chunk { text, citations: Vec::new() });
            text = rest;
        }
        self.feed.send(RunEvent::Chunk { text, citations });
    }

    /// The files that code wrote, however the turn ends: the model was told that the user gets them.
    fn send_files(&mut self) {
        let (mut event, mut bytes) = (Vec::new(), 0);
        for file in std::mem::take(&mut self.files) {
            let size = file.bytes.as_ref().map_or(0, |it| it.0.len());
            if bytes + size > MOST_EVENT && !event.is_empty() {
                self.feed.send(RunEvent::Files(std::mem::take(&mut event)));
                bytes = 0;
            }
            event.push(file);
            bytes += size;
        }
        if !event.is_empty() {
            self.feed.send(RunEvent::Files(event));
        }
    }

    /// Ends the session, and keeps what should be remembered of it.
    async fn end(self, mut lease: Lease) -> Result<(), ApiError> {
        let limit = Duration::from_secs(self.runs.parts.config.max_run_s);
        let summed_up = tokio::time::timeout(limit, self.remember()).await;
        let operation = self.options.operation;
        summed_up
            .unwrap_or_else(|_| Err(too_slow(limit)))
            .map_err(|error| failure::in_stream(error, operation))?;
        self.runs.end_session(&mut lease).await?;
        self.feed.send(RunEvent::Chunk { text: SESSION_ENDED.to_owned(), citations: Vec::new() });
        Ok(())
    }
}

fn too_slow(limit: Duration) -> ApiError {
    failure::dependency(
        format!("The agent did not come to an answer within {} seconds.", limit.as_secs()),
        "",
    )
}
