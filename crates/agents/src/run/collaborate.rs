//! Collaborators: agents that a supervisor hands work to.
//!
//! A collaborator's turn is a turn like any other, with its own session (the supervisor's, seen from the collaborator),
//! its own role and guardrail, the supervisor's bounds, and traces that name it and the chain of agents above it.

use std::sync::Arc;

use craton_api_bedrock_agent_runtime as api;
use craton_wire::ApiError;

use super::act::{LEFT, TooLarge};
use super::conversation::{Exchange, Part, Turn};
use super::functions::{self, Changes};
use super::knowledge::Found;
use super::returned::{self, Returned, asked};
use super::session::{SessionKey, Waiting, Want};
use super::tools::SEND_MESSAGE;
use super::trace::{Identity, Tracer};
use super::turn::{Answered, Outcome, Run};
use crate::definition::{Collaborator, CollaboratorAgent};
use crate::prepared::Prepared;

/// Levels of agents, the first supervisor's included.
pub(crate) const MOST_LEVELS: u8 = 4;
/// The alias that inline agents have.
pub(super) const INLINE_ALIAS: &str = "INLINE";

/// What a collaborator gave back.
pub(super) struct Delivered {
    pub recipient: String,
    pub alias_arn: Option<String>,
    pub outcome: Outcome,
    pub files: Vec<api::OutputFile>,
    /// What the collaborator's functions changed of the session's attributes.
    pub attributes: Changes,
    /// What its knowledge bases, and those of agents below it, gave.
    pub found: Vec<Found>,
}

/// What becomes of a call.
pub(super) enum Noted {
    Text(String),
    Failed(String),
    Waits(Box<Waiting>),
}

impl Run {
    pub(super) fn message_input(
        &self,
        recipient: &str,
        content: String,
    ) -> api::AgentCollaboratorInvocationInput {
        api::AgentCollaboratorInvocationInput {
            agent_collaborator_alias_arn: self.collaborator(recipient).and_then(alias_arn),
            agent_collaborator_name: Some(recipient.to_owned()),
            input: Some(api::AgentCollaboratorInputPayload {
                return_control_results: None,
                text: Some(content),
                r#type: Some(api::PayloadType::Text),
            }),
        }
    }

    fn collaborator(&self, name: &str) -> Option<&Collaborator> {
        self.agent.collaborators.iter().find(|it| it.name == name)
    }

    /// Has a collaborator do something.
    pub(super) async fn deliver(&self, recipient: &str, content: String) -> Result<Delivered, ApiError> {
        self.have(recipient, Ask::Text(content)).await
    }

    async fn have(&self, recipient: &str, ask: Ask) -> Result<Delivered, ApiError> {
        let collaborator = self
            .collaborator(recipient)
            .ok_or_else(|| ApiError::validation(format!("There is no agent {recipient}.")))?;
        if self.bounds.depth + 1 >= MOST_LEVELS {
            return Err(ApiError::validation(format!(
                "Agents may hand work down {} levels, and {recipient} would be one more.",
                MOST_LEVELS - 1
            )));
        }
        let (agent, alias_id) = self.settled(collaborator).await?;
        let own = self.tracer.identity();
        // Nobody else's session can have this id: clients' ids have no `@`.
        let session_id = format!("{}@{}/{}", self.session.own_id(), own.agent_id, own.alias_id);
        let key =
            SessionKey { agent_id: &agent.agent_id.clone(), alias_id: &alias_id, session_id: &session_id };
        let idle_s = agent.idle_session_ttl_s;
        let (mut session, mut lease) = self.runs.open_session(&self.context, key, idle_s).await?;
        session.attributes.clone_from(&self.session.attributes);
        let relayed = if collaborator.relay_history { self.relay(&mut session.exchanges) } else { 0 };
        let mut run = self.below(collaborator, agent, (alias_id, session));
        let (question, returned) = match ask {
            Ask::Text(text) => (text, None),
            Ask::Results(returned) => (String::new(), Some(returned)),
        };
        run.question = question;
        run.relayed = relayed;
        let outcome = run.turn(&mut lease, returned).await?;
        let files = std::mem::take(&mut run.files);
        Ok(Delivered {
            recipient: recipient.to_owned(),
            alias_arn: alias_arn(collaborator),
            outcome,
            files,
            attributes: functions::changes(&self.session.attributes, &run.session.attributes),
            found: run.found,
        })
    }

    async fn settled(&self, collaborator: &Collaborator) -> Result<(Arc<Prepared>, String), ApiError> {
        match &collaborator.agent {
            CollaboratorAgent::Inline(agent) => {
                Ok((Arc::new(Prepared::from((**agent).clone())), INLINE_ALIAS.to_owned()))
            }
            CollaboratorAgent::Alias(arn) => {
                self.permit("bedrock:InvokeAgent", arn).await?;
                let agent = self.runs.parts.agents.resolve_alias(&self.context, arn).await?;
                let alias_id = arn.rsplit('/').next().unwrap_or_default().to_owned();
                Ok((agent, alias_id))
            }
        }
    }

    /// The supervisor's conversation in front of the collaborator's own; how much of it there is.
    fn relay(&self, exchanges: &mut Vec<Exchange>) -> usize {
        let mut relayed: Vec<Exchange> = self.earlier().to_vec();
        relayed.iter_mut().for_each(|exchange| exchange.steps.clear());
        relayed.push(Exchange { question: self.question.clone(), ..Exchange::default() });
        let count = relayed.len();
        relayed.append(exchanges);
        *exchanges = relayed;
        count
    }

    fn below(
        &self,
        collaborator: &Collaborator,
        agent: Arc<Prepared>,
        (alias_id, session): (String, super::session::Session),
    ) -> Run {
        let own = self.tracer.identity();
        let mut caller_chain = own.caller_chain.clone();
        if caller_chain.is_empty() {
            caller_chain.push(own_alias_arn(self));
        }
        caller_chain.extend(alias_arn(collaborator));
        let identity = Identity {
            agent_id: agent.agent_id.clone(),
            alias_id,
            version: agent.agent_version.clone(),
            session_id: own.session_id.clone(),
            collaborator_name: Some(collaborator.name.clone()),
            caller_chain,
        };
        let times = (Arc::clone(&self.runs.parts.clock), self.runs.parts.ids.uuid());
        let tracer = Tracer::new(self.feed.clone(), self.tracer.enabled(), identity, times);
        let mut options = self.options.clone();
        options.stream = false;
        let mut bounds = self.bounds.clone();
        bounds.depth += 1;
        let started = tracer.span();
        Run {
            agent,
            tracer,
            options,
            bounds,
            session,
            prompt_attributes: self.prompt_attributes.clone(),
            retrievals: self.retrievals.clone(),
            ..Run::new(self.runs.clone(), self.context.clone(), (self.feed.clone(), started))
        }
    }

    /// Takes note of a collaborator's answer.
    pub(super) fn note_delivered(
        &mut self,
        call_id: &str,
        delivered: Delivered,
        metadata: api::Metadata,
    ) -> Noted {
        let Delivered { recipient, alias_arn, outcome, files, attributes, found } = delivered;
        let kept = self.change_attributes((attributes, Changes::new()));
        self.found.extend(found);
        let (output, noted) = match outcome {
            Outcome::Answer(answered) => {
                let output = api::AgentCollaboratorOutputPayload {
                    return_control_payload: None,
                    text: Some(answered.text.clone()),
                    r#type: Some(api::PayloadType::Text),
                };
                let note = kept.err().map(|TooLarge| LEFT).unwrap_or_default();
                (output, Noted::Text(answered.text + note))
            }
            Outcome::Returned(payload) => {
                let inner = payload.invocation_id.clone().unwrap_or_default();
                let inputs = payload.invocation_inputs.clone().unwrap_or_default();
                let waiting = Waiting {
                    call_id: call_id.to_owned(),
                    tool: SEND_MESSAGE.to_owned(),
                    input: serde_json::Value::Null,
                    want: Want::Result,
                    collaborator: Some((recipient.clone(), inner)),
                    asked: inputs.iter().filter_map(asked).collect(),
                    begun: false,
                    bound: Vec::new(),
                    next: Vec::new(),
                };
                self.handed_over.insert(call_id.to_owned(), inputs);
                let output = api::AgentCollaboratorOutputPayload {
                    return_control_payload: Some(payload),
                    text: None,
                    r#type: Some(api::PayloadType::ReturnControl),
                };
                (output, Noted::Waits(Box::new(waiting)))
            }
        };
        self.files.extend(files);
        self.tracer.observation(api::Type::AgentCollaborator, |it| {
            it.agent_collaborator_invocation_output = Some(api::AgentCollaboratorInvocationOutput {
                agent_collaborator_alias_arn: alias_arn,
                agent_collaborator_name: Some(recipient),
                metadata: Some(metadata),
                output: Some(output),
            });
        });
        noted
    }

    /// Puts a routed turn aside whose collaborator handed actions to the caller, as if the supervisor had called it.
    pub(super) fn hand_over_routed(&mut self, delivered: Delivered) -> Outcome {
        let id = format!("routed_{}", self.runs.parts.ids.uuid());
        let input = serde_json::json!({ "recipient": delivered.recipient, "content": self.question });
        let call = Part::Call { id: id.clone(), name: SEND_MESSAGE.to_owned(), input };
        self.scratchpad.push(Turn { by_agent: true, parts: vec![call] });
        let metadata = self.tracer.metadata(self.started, None);
        match self.note_delivered(&id, delivered, metadata) {
            Noted::Waits(waiting) => Outcome::Returned(self.hand_over(Vec::new(), vec![*waiting])),
            Noted::Text(text) | Noted::Failed(text) => {
                Outcome::Answer(Answered { text, ..Answered::default() })
            }
        }
    }

    /// Gives a collaborator that waits what its caller brought for it.
    pub(super) async fn resume_collaborator(
        &mut self,
        call: &Waiting,
        (name, invocation_id): (&str, &str),
    ) -> Result<Noted, ApiError> {
        let results = returned::bound(call)?;
        let returned = Returned { invocation_id: invocation_id.to_owned(), results };
        let span = self.tracer.span();
        let delivered = self.have(name, Ask::Results(returned)).await?;
        let metadata = self.tracer.metadata(span, None);
        Ok(self.note_delivered(&call.call_id, delivered, metadata))
    }
}

enum Ask {
    Text(String),
    Results(Returned),
}

pub(super) fn alias_arn(collaborator: &Collaborator) -> Option<String> {
    match &collaborator.agent {
        CollaboratorAgent::Alias(arn) => Some(arn.clone()),
        CollaboratorAgent::Inline(_) => None,
    }
}

fn own_alias_arn(run: &Run) -> String {
    let identity = run.tracer.identity();
    let (region, account) = (&run.context.region, &run.context.account.id);
    format!("arn:aws:bedrock:{region}:{account}:agent-alias/{}/{}", identity.agent_id, identity.alias_id)
}
