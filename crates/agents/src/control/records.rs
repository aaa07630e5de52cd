//! What is stored of an agent and what hangs on it.

use craton_api_bedrock_agent as api;
pub(crate) use craton_store::Place;
use craton_store::{Range, Record, Scope};
use craton_wire::ApiError;
use craton_wire::types::{Map, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Agents;
use crate::definition::AgentDefinition;
use crate::error::{from_store, internal, missing};

/// Kinds of records.
pub(crate) mod kinds {
    pub(crate) const AGENT: &str = "agent";
    /// The last snapshot that was prepared, under the agent's id.
    pub(crate) const PREPARED: &str = "agent-prepared";
    pub(crate) const ACTION_GROUP: &str = "agent-action-group";
    pub(crate) const KNOWLEDGE_BASE: &str = "agent-knowledge-base";
    pub(crate) const COLLABORATOR: &str = "agent-collaborator";
    /// What runs keep of users, under agent and alias: conversations, and summaries of them.
    pub(crate) const SESSION: &str = "agent-session";
    pub(crate) const SESSION_FILE: &str = "agent-session-file";
    pub(crate) const MEMORY: &str = "agent-memory";
}

/// Length of all ids here.
pub(crate) const ID_LENGTH: usize = 10;

/// What the draft's version is called.
pub(crate) const DRAFT: &str = "DRAFT";

/// The built-in alias of what was last prepared.
pub(crate) const TEST_ALIAS: &str = "TSTALIASID";

/// ARNs of what is kept here.
pub(crate) trait AgentArns {
    fn agent_arn(&self, id: &str) -> String;
    fn alias_arn(&self, agent_id: &str, alias_id: &str) -> String;
}

impl AgentArns for Place {
    fn agent_arn(&self, id: &str) -> String {
        self.bedrock_arn(format!("agent/{id}"))
    }

    fn alias_arn(&self, agent_id: &str, alias_id: &str) -> String {
        self.bedrock_arn(format!("agent-alias/{agent_id}/{alias_id}"))
    }
}

/// What CreateAgent and UpdateAgent settle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) instruction: Option<String>,
    pub(crate) foundation_model: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) idle_session_ttl_s: i32,
    pub(crate) role_arn: Option<String>,
    pub(crate) customer_encryption_key_arn: Option<String>,
    pub(crate) prompt_overrides: Option<api::PromptOverrideConfiguration>,
    pub(crate) guardrail: Option<api::GuardrailConfiguration>,
    pub(crate) memory: Option<api::MemoryConfiguration>,
    pub(crate) collaboration: api::AgentCollaboration,
}

/// A draft's own record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredAgent {
    pub(crate) settings: Settings,
    pub(crate) status: api::AgentStatus,
    /// Of the last preparation, where it failed.
    #[serde(default)]
    pub(crate) failure_reasons: Vec<String>,
    #[serde(default)]
    pub(crate) recommended_actions: Vec<String>,
    /// When the last preparation succeeded, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub(crate) prepared_ms: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredActionGroup {
    pub(crate) description: Option<String>,
    pub(crate) signature: Option<api::ActionGroupSignature>,
    pub(crate) signature_params: Option<Map<String>>,
    pub(crate) executor: Option<api::ActionGroupExecutor>,
    pub(crate) api_schema: Option<api::APISchema>,
    pub(crate) function_schema: Option<api::FunctionSchema>,
    pub(crate) state: api::ActionGroupState,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredKnowledgeBase {
    pub(crate) description: String,
    pub(crate) state: api::KnowledgeBaseState,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredCollaborator {
    pub(crate) alias_arn: String,
    pub(crate) instruction: String,
    pub(crate) relay: api::RelayConversationHistory,
}

/// An agent as it was when it was prepared: what versions are, and what the test alias serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) settings: Settings,
    pub(crate) action_groups: Vec<Part<StoredActionGroup>>,
    pub(crate) knowledge_bases: Vec<Part<StoredKnowledgeBase>>,
    pub(crate) collaborators: Vec<Part<StoredCollaborator>>,
    pub(crate) definition: AgentDefinition,
}

/// A record's content and times, in a draft or kept in a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Part<T> {
    /// Without the id of the agent it belongs to.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
    /// Of the record, for changing it only if nobody else did.
    #[serde(skip)]
    pub(crate) revision: i64,
    pub(crate) body: T,
}

impl<T: DeserializeOwned> Part<T> {
    pub(crate) fn read(record: &Record) -> Result<Self, ApiError> {
        let own = |text: &str| text.rsplit_once('/').map_or(text, |(_, own)| own).to_owned();
        Ok(Self {
            id: own(&record.id),
            name: own(record.name.as_deref().unwrap_or_default()),
            created_ms: record.created_ms,
            updated_ms: record.updated_ms,
            revision: record.version,
            body: T::deserialize(&record.body).map_err(|error| internal(&error))?,
        })
    }

    pub(crate) fn created(&self) -> Timestamp {
        Timestamp::from_ms(self.created_ms)
    }

    pub(crate) fn updated(&self) -> Timestamp {
        Timestamp::from_ms(self.updated_ms)
    }
}

pub(crate) type AgentRecord = Part<StoredAgent>;
pub(crate) type ActionGroupRecord = Part<StoredActionGroup>;
pub(crate) type KnowledgeBaseRecord = Part<StoredKnowledgeBase>;
pub(crate) type CollaboratorRecord = Part<StoredCollaborator>;

/// The id of a record that belongs to an agent; its name too is kept after the agent's id.
pub(crate) fn within(agent_id: &str, id: &str) -> String {
    format!("{agent_id}/{id}")
}

pub(crate) fn write<T: Serialize>(body: &T) -> Result<Value, ApiError> {
    serde_json::to_value(body).map_err(|error| internal(&error))
}

pub(crate) fn bad_page(error: craton_core::PageError) -> ApiError {
    ApiError::validation(error.to_string())
}

/// Nothing for an empty list.
pub(crate) fn listed<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

impl Agents {
    pub(crate) async fn agent(&self, place: &Place, id: &str) -> Result<AgentRecord, ApiError> {
        self.part(&place.scope(kinds::AGENT), id).await
    }

    pub(crate) async fn part<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        id: &str,
    ) -> Result<Part<T>, ApiError> {
        let record = self.parts.store.get(scope, id).await.map_err(from_store)?;
        Part::read(&record.ok_or_else(|| missing(id))?)
    }

    /// What belongs to an agent's draft, in the order of ids.
    pub(crate) async fn parts_of<T: DeserializeOwned>(
        &self,
        scope: &Scope,
        agent_id: &str,
    ) -> Result<Vec<Part<T>>, ApiError> {
        let range = Range { prefix: within(agent_id, ""), ..Range::default() };
        let records = self.parts.store.list(scope, &range).await.map_err(from_store)?;
        records.iter().map(Part::read).collect()
    }

    /// The snapshot of a numbered version.
    pub(crate) async fn snapshot(
        &self,
        place: &Place,
        agent_id: &str,
        version: &str,
    ) -> Result<Kept, ApiError> {
        let scope = place.scope(kinds::AGENT);
        let none = || missing(version);
        let number = version.parse().map_err(|_| none())?;
        let version = self.parts.store.version(&scope, agent_id, number).await.map_err(from_store)?;
        let version = version.ok_or_else(none)?;
        Kept::read(&version)
    }
}

/// A version as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) number: i64,
    pub(crate) created_ms: i64,
    pub(crate) snapshot: Snapshot,
}

impl Kept {
    pub(crate) fn read(version: &craton_store::versions::Version) -> Result<Self, ApiError> {
        let snapshot = Snapshot::deserialize(&version.body).map_err(|error| internal(&error))?;
        Ok(Self { number: version.number, created_ms: version.created_ms, snapshot })
    }
}
