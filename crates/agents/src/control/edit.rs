//! Changing a draft.

use craton_api_bedrock_agent as api;
use craton_store::{Created, Idempotency, NewRecord, Range, Transaction};
use craton_wire::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Agents;
use super::records::{AgentRecord, Part, Place, StoredAgent, kinds, within, write};
use crate::error::{from_store, missing};

/// A change that is under way: the agent's record is held until it ends.
pub(crate) struct Edit<'a> {
    agents: &'a Agents,
    place: Place,
    transaction: Transaction,
    pub(crate) agent: AgentRecord,
}

/// Something new that belongs to an agent.
pub(crate) struct NewPart<'a, T> {
    pub(crate) kind: &'static str,
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) body: &'a T,
    pub(crate) idempotency: Option<Idempotency>,
}

impl<'a> Edit<'a> {
    pub(crate) async fn begin(agents: &'a Agents, place: Place, agent_id: &str) -> Result<Self, ApiError> {
        let mut transaction = agents.parts.store.begin().await.map_err(from_store)?;
        let record = transaction.get(&place.scope(kinds::AGENT), agent_id).await.map_err(from_store)?;
        let agent = Part::read(&record.ok_or_else(|| missing(agent_id))?)?;
        Ok(Self { agents, place, transaction, agent })
    }

    fn now_ms(&self) -> i64 {
        self.agents.parts.clock.now_ms()
    }

    /// Parts of one kind that the draft has.
    pub(crate) async fn parts<T: DeserializeOwned>(
        &mut self,
        kind: &'static str,
    ) -> Result<Vec<Part<T>>, ApiError> {
        let range = Range { prefix: within(&self.agent.id, ""), ..Range::default() };
        let records = self.transaction.list(&self.place.scope(kind), &range).await.map_err(from_store)?;
        records.iter().map(Part::read).collect()
    }

    /// The id of the part: another than asked for when the request is a repetition.
    pub(crate) async fn create<T: Serialize>(&mut self, new: NewPart<'_, T>) -> Result<String, ApiError> {
        let record = NewRecord {
            id: within(&self.agent.id, new.id),
            name: Some(within(&self.agent.id, new.name)),
            body: write(new.body)?,
            now_ms: self.now_ms(),
            idempotency: new.idempotency,
            tags: None,
        };
        let created = self.transaction.create(&self.place.scope(new.kind), record).await;
        match created.map_err(from_store)? {
            Created::New(_) => Ok(new.id.to_owned()),
            Created::Repeated(first) => Ok(first.as_str().unwrap_or_default().to_owned()),
        }
    }

    pub(crate) async fn part<T: DeserializeOwned>(
        &mut self,
        kind: &'static str,
        id: &str,
    ) -> Result<Part<T>, ApiError> {
        let record = self.transaction.get(&self.place.scope(kind), &within(&self.agent.id, id)).await;
        Part::read(&record.map_err(from_store)?.ok_or_else(|| missing(id))?)
    }

    pub(crate) async fn update<T: Serialize + DeserializeOwned>(
        &mut self,
        kind: &'static str,
        part: &Part<T>,
    ) -> Result<Part<T>, ApiError> {
        let record = craton_store::Record {
            id: within(&self.agent.id, &part.id),
            name: Some(within(&self.agent.id, &part.name)),
            body: write(&part.body)?,
            created_ms: part.created_ms,
            updated_ms: part.updated_ms,
            version: part.revision,
        };
        let updated = self.transaction.update(&self.place.scope(kind), &record, None, self.now_ms()).await;
        Part::read(&updated.map_err(from_store)?)
    }

    pub(crate) async fn delete(&mut self, kind: &'static str, id: &str) -> Result<(), ApiError> {
        let id = within(&self.agent.id, id);
        let deleted = self.transaction.delete(&self.place.scope(kind), &id, None).await;
        if deleted.map_err(from_store)? { Ok(()) } else { Err(missing(&id)) }
    }

    /// Ends the change: the draft is another than was prepared.
    pub(crate) async fn finish(mut self) -> Result<AgentRecord, ApiError> {
        self.agent.body.status = api::AgentStatus::NotPrepared;
        self.agent.body.failure_reasons.clear();
        self.agent.body.recommended_actions.clear();
        let now_ms = self.now_ms();
        let agent = put_agent(&mut self.transaction, &self.place, &self.agent, now_ms).await?;
        self.transaction.commit().await.map_err(from_store)?;
        Ok(agent)
    }

    /// Ends it without a change, as for a request that was repeated.
    pub(crate) async fn leave(self) -> Result<(), ApiError> {
        self.transaction.rollback().await.map_err(from_store)
    }
}

/// Writes an agent's record back, if it is still the one that was read.
pub(crate) async fn put_agent(
    transaction: &mut Transaction,
    place: &Place,
    agent: &AgentRecord,
    now_ms: i64,
) -> Result<AgentRecord, ApiError> {
    let record = craton_store::Record {
        id: agent.id.clone(),
        name: Some(agent.body.settings.name.clone()),
        body: write::<StoredAgent>(&agent.body)?,
        created_ms: agent.created_ms,
        updated_ms: agent.updated_ms,
        version: agent.revision,
    };
    let updated = transaction.update(&place.scope(kinds::AGENT), &record, Some(agent.revision), now_ms).await;
    Part::read(&updated.map_err(from_store)?)
}
