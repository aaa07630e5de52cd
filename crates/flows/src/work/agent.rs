//! Agent nodes. Who the agents are is behind [`AgentCaller`].

use async_trait::async_trait;
use craton_api_bedrock_agent_runtime as api;
use craton_core::RequestContext;
use craton_wire::ApiError;
use serde_json::{Map, Value, json};

use super::{Nodes, input, text};
use crate::run::{Call, Given, Work, Worked};

/// One turn with an agent.
#[derive(Debug, Clone)]
pub struct AgentCall {
    /// `arn:…:agent-alias/AGENT/ALIAS`.
    pub alias_arn: String,
    /// The same for all turns of one node in one execution.
    pub session_id: String,
    pub text: String,
    pub prompt_session_attributes: Map<String, Value>,
    pub session_attributes: Map<String, Value>,
    /// Whether traces are wanted.
    pub traced: bool,
}

/// What an agent said in its turn, and how it came to that.
#[derive(Debug, Clone)]
pub struct AgentAnswer {
    pub said: AgentSaid,
    pub traces: Vec<api::TracePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSaid {
    Answer(String),
    /// It needs to know this from its user before it can go on.
    Question(String),
}

/// Asks agents.
#[async_trait]
pub trait AgentCaller: Send + Sync {
    async fn ask(&self, context: &RequestContext, call: AgentCall) -> Result<AgentAnswer, ApiError>;
}

impl Nodes {
    pub(super) async fn agent(&self, call: &Call<'_>, alias_arn: &str) -> Result<Work, ApiError> {
        self.allowed("bedrock:InvokeAgent", alias_arn).await?;
        let said = match &call.reply {
            Some(reply) => text(reply),
            None => text(input(call.inputs, "agentInputText")?),
        };
        let attributes = |name: &str| match call.inputs.get(name) {
            Some(Value::Object(members)) => members.clone(),
            _ => Map::new(),
        };
        let session_id = session_id(&self.alias_arn, &self.execution_id, call.key);
        let request = json!({"agentAliasArn": alias_arn, "sessionId": session_id, "inputText": said});
        let turn = AgentCall {
            alias_arn: alias_arn.to_owned(),
            session_id,
            text: said,
            prompt_session_attributes: attributes("promptAttributes"),
            session_attributes: attributes("sessionAttributes"),
            traced: self.traced,
        };
        let answer = self.parts.agents.ask(&self.context, turn).await?;
        let (worked, said) = match answer.said {
            AgentSaid::Question(text) if self.answers => (Worked::Asks(text.clone()), text),
            // With nobody to answer, what it asks is what it has to say.
            AgentSaid::Answer(text) | AgentSaid::Question(text) => {
                (Worked::Given(Given::one("agentResponse", text.clone().into())), text)
            }
        };
        let action =
            self.action(("BedrockAgentRuntime", "InvokeAgent"), request, json!({"completion": said}));
        Ok(Work { worked, actions: vec![action], traces: answer.traces })
    }
}

/// The session of a node's agent: of this execution of this flow under this alias alone. No client's session can have
/// such an id: there is no `/` in theirs.
fn session_id(alias_arn: &str, execution_id: &str, key: &str) -> String {
    const MOST: usize = 500;
    let place = alias_arn.rsplit(':').next().unwrap_or_default();
    let whole = format!("{place}/{execution_id}/{key}");
    if whole.len() <= MOST {
        return whole;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, whole.as_bytes());
    format!("{place}/{}", hex::encode(digest))
}
