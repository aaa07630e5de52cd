//! Traces: what the agent thought, called and saw, in the API's own shapes.
//!
//! Trace ids are as AWS makes them: a UUID for the turn, then what it is about (`-pre-0`, `-guardrail-pre-0`, `-post-0`)
//! or the number of the step (`-0`, `-1`…), so that tools that group traces by their ids work on ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use craton_api_bedrock_agent_runtime as api;
use craton_core::Clock;
use craton_wire::ApiError;
use craton_wire::types::Timestamp;

use super::cut;
use super::events::{Feed, RunEvent};
use super::failure;

/// Whose traces these are.
#[derive(Debug, Clone, Default)]
pub(super) struct Identity {
    pub agent_id: String,
    pub alias_id: String,
    pub version: String,
    pub session_id: String,
    /// What its supervisor calls it; none at the top.
    pub collaborator_name: Option<String>,
    /// Aliases of agents from the first supervisor to this one.
    pub caller_chain: Vec<String>,
}

/// Sends traces, where the caller asked for them.
pub(super) struct Tracer {
    feed: Feed,
    enabled: bool,
    identity: Identity,
    clock: Arc<dyn Clock>,
    turn: String,
    step: AtomicU32,
}

impl Tracer {
    pub(super) fn new(
        feed: Feed,
        enabled: bool,
        identity: Identity,
        times: (Arc<dyn Clock>, String),
    ) -> Self {
        let (clock, turn) = times;
        Self { feed, enabled, identity, clock, turn, step: AtomicU32::new(0) }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    pub(super) fn next_step(&self) {
        self.step.fetch_add(1, Ordering::Relaxed);
    }

    /// The id of a step's traces.
    pub(super) fn step_id(&self) -> String {
        format!("{}-{}", self.turn, self.step.load(Ordering::Relaxed))
    }

    /// The id of traces of something around the steps: `pre`, `post`, `guardrail-pre`, `routing`…
    pub(super) fn id_of(&self, what: &str) -> String {
        format!("{}-{what}-0", self.turn)
    }

    /// Sends a trace; `make` is not called where nobody asked.
    pub(super) fn send(&self, make: impl FnOnce() -> api::Trace) {
        if !self.enabled {
            return;
        }
        let Identity { agent_id, alias_id, version, session_id, collaborator_name, caller_chain } =
            self.identity.clone();
        let chain: Vec<api::Caller> = caller_chain.into_iter().map(api::Caller::AgentAliasArn).collect();
        self.feed.send(RunEvent::Trace(Box::new(api::TracePart {
            agent_alias_id: Some(alias_id),
            agent_id: Some(agent_id),
            agent_version: Some(version),
            caller_chain: (!chain.is_empty()).then_some(chain),
            collaborator_name,
            event_time: Some(Timestamp::from_ms(self.clock.now_ms())),
            session_id: Some(session_id),
            trace: Some(cut::to_fit(make())),
        })));
    }

    pub(super) fn orchestration(&self, make: impl FnOnce(String) -> api::OrchestrationTrace) {
        self.send(|| api::Trace::OrchestrationTrace(make(self.step_id())));
    }

    pub(super) fn rationale(&self, text: &str) {
        self.orchestration(|id| {
            api::OrchestrationTrace::Rationale(api::Rationale {
                text: Some(text.to_owned()),
                trace_id: Some(id),
            })
        });
    }

    pub(super) fn input(&self, kind: api::InvocationType, fill: impl FnOnce(&mut api::InvocationInput)) {
        self.orchestration(|id| api::OrchestrationTrace::InvocationInput(invocation(id, kind, fill)));
    }

    pub(super) fn observation(&self, kind: api::Type, fill: impl FnOnce(&mut api::Observation)) {
        self.orchestration(|id| api::OrchestrationTrace::Observation(observation(id, kind, fill)));
    }

    pub(super) fn failure(&self, error: &ApiError, span: Span) {
        self.send(|| {
            api::Trace::FailureTrace(api::FailureTrace {
                failure_code: Some(failure::status(error)),
                failure_reason: Some(error.message.clone()),
                metadata: Some(self.metadata(span, None)),
                trace_id: Some(self.step_id()),
            })
        });
    }

    /// Begins to measure something.
    pub(super) fn span(&self) -> Span {
        Span { started_ms: self.clock.now_ms() }
    }

    /// How long something took, and what it used.
    pub(super) fn metadata(&self, span: Span, usage: Option<api::Usage>) -> api::Metadata {
        let now_ms = self.clock.now_ms();
        api::Metadata {
            client_request_id: Some(self.turn.clone()),
            end_time: Some(Timestamp::from_ms(now_ms)),
            operation_total_time_ms: None,
            start_time: Some(Timestamp::from_ms(span.started_ms)),
            total_time_ms: Some(now_ms - span.started_ms),
            usage,
        }
    }
}

/// The beginning of something that is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub started_ms: i64,
}

pub(super) fn invocation(
    id: String,
    kind: api::InvocationType,
    fill: impl FnOnce(&mut api::InvocationInput),
) -> api::InvocationInput {
    let mut input = api::InvocationInput {
        action_group_invocation_input: None,
        agent_collaborator_invocation_input: None,
        code_interpreter_invocation_input: None,
        invocation_type: Some(kind),
        knowledge_base_lookup_input: None,
        trace_id: Some(id),
    };
    fill(&mut input);
    input
}

pub(super) fn observation(
    id: String,
    kind: api::Type,
    fill: impl FnOnce(&mut api::Observation),
) -> api::Observation {
    let mut observation = api::Observation {
        action_group_invocation_output: None,
        agent_collaborator_invocation_output: None,
        code_interpreter_invocation_output: None,
        final_response: None,
        knowledge_base_lookup_output: None,
        reprompt_response: None,
        trace_id: Some(id),
        r#type: Some(kind),
    };
    fill(&mut observation);
    observation
}
