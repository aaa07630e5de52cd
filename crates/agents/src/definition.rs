//! What an agent is, once it is settled: the snapshot that a run works from.
//!
//! The control plane writes one when an agent is prepared and when a version is made; InvokeInlineAgent builds one from
//! its request. The runtime knows nothing else of an agent, so both ways of running one are one way. Snapshots are
//! stored as JSON: fields are only ever added, with a default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tokens of an answer, and its temperature, where the agent's owner says nothing.
pub const MAX_TOKENS: u32 = 2048;
pub const TEMPERATURE: f32 = 0.0;

/// Everything a run needs to know of an agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentDefinition {
    /// Ten capitals and digits; `INLINE_AGENT` for one that came with its call.
    pub agent_id: String,
    pub agent_name: String,
    /// `DRAFT` or a number.
    pub agent_version: String,
    pub account: String,
    pub region: String,
    /// A model id, a model's ARN, an inference profile's, or a prompt router's.
    pub foundation_model: String,
    pub instruction: String,
    /// The role that the agent acts with; none for an inline agent, which acts as its caller.
    pub role_arn: Option<String>,
    pub idle_session_ttl_s: u32,
    pub action_groups: Vec<ActionGroup>,
    pub knowledge_bases: Vec<KnowledgeBaseUse>,
    pub guardrail: Option<GuardrailUse>,
    pub prompts: PromptOverrides,
    pub collaboration: Collaboration,
    pub collaborators: Vec<Collaborator>,
    pub memory: Option<Memory>,
}

impl AgentDefinition {
    pub(crate) fn has_knowledge_base(&self, id: &str) -> bool {
        self.knowledge_bases.iter().any(|base| base.id == id)
    }

    /// The ARNs of the agent aliases that work for it.
    pub(crate) fn aliases_below(&self) -> impl Iterator<Item = &str> {
        self.collaborators.iter().filter_map(|it| match &it.agent {
            CollaboratorAgent::Alias(arn) => Some(arn.as_str()),
            CollaboratorAgent::Inline(_) => None,
        })
    }
}

/// A group of actions that one executor carries out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionGroup {
    /// Ten capitals and digits; the group's name where it came with its call.
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    pub kind: ActionGroupKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionGroupKind {
    Actions {
        executor: Executor,
        actions: Actions,
    },
    /// `AMAZON.UserInput`: the agent may ask its user back.
    UserInput,
    /// `AMAZON.CodeInterpreter`: the agent may run Python.
    CodeInterpreter,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    /// A function's ARN, with a qualifier or without.
    Function(String),
    /// The caller carries the action out and comes back with its result.
    ReturnControl,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actions {
    /// From an OpenAPI 3 document.
    Api(Vec<ApiAction>),
    Functions(Vec<FunctionAction>),
}

/// One operation of an OpenAPI document, its references resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiAction {
    /// The document's `operationId`, or one made of method and path.
    pub operation_id: String,
    /// As written in the document: `/orders/{orderId}`.
    pub path: String,
    /// In capitals: `GET`.
    pub method: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub parameters: Vec<ApiParameter>,
    /// The request body by content type, each a JSON schema of an object.
    #[serde(default)]
    pub body: BTreeMap<String, Value>,
    #[serde(default)]
    pub body_required: bool,
    #[serde(default)]
    pub require_confirmation: bool,
}

/// A path, query, header or cookie parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiParameter {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub required: bool,
    /// A JSON schema.
    pub schema: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionAction {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub parameters: BTreeMap<String, FunctionParameter>,
    #[serde(default)]
    pub require_confirmation: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionParameter {
    /// `string`, `number`, `integer`, `boolean` or `array`.
    pub kind: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub required: bool,
}

/// A knowledge base that the agent may look things up in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnowledgeBaseUse {
    pub id: String,
    /// When to use it, for the model.
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardrailUse {
    /// An id or an ARN.
    pub identifier: String,
    pub version: String,
}

/// What the agent's owner changed of its prompts; a step without an entry uses the built-in one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptOverrides {
    /// The function that reads the model's answers for steps with `parser_overridden`.
    pub parser_function: Option<String>,
    /// By the API's `promptType`: `PRE_PROCESSING`, `ORCHESTRATION`, `POST_PROCESSING`,
    /// `KNOWLEDGE_BASE_RESPONSE_GENERATION`, `MEMORY_SUMMARIZATION`, `ROUTING_CLASSIFIER`.
    pub steps: BTreeMap<String, PromptStep>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PromptStep {
    /// Whether the step runs; `None` is its default, which is yes for all but pre- and post-processing.
    pub enabled: Option<bool>,
    pub template: Option<String>,
    pub parser_overridden: bool,
    pub foundation_model: Option<String>,
    pub inference: Inference,
    pub additional_model_request_fields: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Inference {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
    pub max_tokens: Option<u32>,
    pub stop_sequences: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collaboration {
    #[default]
    Disabled,
    Supervisor,
    /// As supervisor, but a request that one collaborator can answer goes straight to it.
    SupervisorRouter,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collaborator {
    pub name: String,
    /// When to hand it work, for the model.
    pub instruction: String,
    /// The collaborator sees the conversation so far.
    #[serde(default)]
    pub relay_history: bool,
    pub agent: CollaboratorAgent,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollaboratorAgent {
    /// An agent alias's ARN, looked up when it is called.
    Alias(String),
    /// One that came with its call.
    Inline(Box<AgentDefinition>),
}

/// What is kept of a memory id's earlier sessions: their summaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub storage_days: u32,
    pub max_recent_sessions: u32,
}
