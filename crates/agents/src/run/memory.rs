//! Memory: what is kept of a user's earlier sessions with an agent, as summaries.
//!
//! When a session that has a memory id ends, the agent's model sums it up; the summary is kept for the agent's storage
//! days under agent, alias and memory id, and later sessions with the same memory id are told the latest ones.

use craton_api_bedrock_agent_runtime as api;
use craton_core::{DAY_MS, RequestContext};
use craton_store::{Ageing, NewRecord, Range, Record, Scope};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::{Deserialize, Serialize};

use super::AgentRuns;
use super::conversation;
use super::frame::between;
use super::prompt::{self, PromptKind, Thread};
use super::session::{from_store, internal};
use super::step::Plan;
use super::tell;
use super::turn::Run;
use crate::control::kinds;

const KIND: &str = kinds::MEMORY;
/// Summaries on a page when the caller names no number.
const PAGE: usize = 50;
/// Memory that a model is told, in characters.
const MOST_TOLD: usize = 8_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Summary {
    session_id: String,
    memory_id: String,
    started_ms: i64,
    expires_ms: i64,
    text: String,
}

fn scope(context: &RequestContext) -> Scope {
    Scope::new(KIND, &context.account.id, &context.region)
}

/// Where an agent's memories are; of one memory id, or of all.
fn place(agent_id: &str, alias_id: &str, memory_id: Option<&str>) -> String {
    match memory_id {
        Some(memory_id) => format!("{agent_id}/{alias_id}/{memory_id}/"),
        None => format!("{agent_id}/{alias_id}/"),
    }
}

impl AgentRuns {
    pub async fn get_agent_memory(
        &self,
        context: &RequestContext,
        input: api::GetAgentMemoryRequest,
    ) -> Result<api::GetAgentMemoryResponse, ApiError> {
        // Memory outlives what an alias serves, and can be read and cleared as long as the agent is there.
        self.parts.agents.check_agent(context, &input.agent_id).await?;
        let prefix = place(&input.agent_id, &input.agent_alias_id, Some(&input.memory_id));
        let after = input.next_token.map(|token| after(&prefix, &token)).transpose()?;
        let most = input.max_items.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(PAGE);
        let limit = u32::try_from(most + 1).unwrap_or(u32::MAX);
        let range = Range { prefix: prefix.clone(), after, limit };
        let mut records = self.parts.store.list(&scope(context), &range).await.map_err(from_store)?;
        let more = records.len() > most;
        records.truncate(most);
        let last = records.last().map(|record| record.id.clone());
        let now_ms = self.parts.clock.now_ms();
        let contents = records.iter().filter_map(|record| fresh(record, now_ms)).map(told);
        Ok(api::GetAgentMemoryResponse {
            memory_contents: Some(contents.collect()),
            next_token: last.filter(|_| more).and_then(|id| id.strip_prefix(&prefix).map(str::to_owned)),
        })
    }

    pub async fn delete_agent_memory(
        &self,
        context: &RequestContext,
        input: api::DeleteAgentMemoryRequest,
    ) -> Result<api::DeleteAgentMemoryResponse, ApiError> {
        self.parts.agents.check_agent(context, &input.agent_id).await?;
        let prefix = place(&input.agent_id, &input.agent_alias_id, input.memory_id.as_deref());
        let range = Range { prefix, after: None, limit: 0 };
        let scope = scope(context);
        for record in self.parts.store.list(&scope, &range).await.map_err(from_store)? {
            let of = Summary::deserialize(&record.body).map(|summary| summary.session_id).unwrap_or_default();
            if input.session_id.as_ref().is_none_or(|wanted| *wanted == of) {
                self.parts.store.delete(&scope, &record.id, None).await.map_err(from_store)?;
            }
        }
        Ok(api::DeleteAgentMemoryResponse {})
    }

    /// Deletes what nobody is told any more: each has the days that its agent gave it when it was made.
    pub(super) async fn forget_memories(&self, now_ms: i64) {
        let lives = |record: &Record| fresh(record, now_ms).is_some();
        self.parts.store.forget_old(&Ageing::of(KIND, now_ms).unless(&lives)).await;
    }

    /// The latest summaries of a memory id, oldest first, as text for the model.
    pub(super) async fn remembered(
        &self,
        context: &RequestContext,
        (agent_id, alias_id, memory_id): (&str, &str, &str),
        sessions: u32,
    ) -> Result<String, ApiError> {
        let prefix = place(agent_id, alias_id, Some(memory_id));
        let range = Range { prefix, after: None, limit: 0 };
        let records = self.parts.store.list(&scope(context), &range).await.map_err(from_store)?;
        let now_ms = self.parts.clock.now_ms();
        let summaries: Vec<Summary> = records.iter().filter_map(|record| fresh(record, now_ms)).collect();
        let most = usize::try_from(sessions.max(1)).unwrap_or(usize::MAX);
        let latest = &summaries[summaries.len().saturating_sub(most)..];
        let texts: Vec<&str> = latest.iter().map(|summary| summary.text.as_str()).collect();
        let text = texts.join("\n\n");
        let surplus = text.chars().count().saturating_sub(MOST_TOLD);
        Ok(text.chars().skip(surplus).collect())
    }
}

fn fresh(record: &Record, now_ms: i64) -> Option<Summary> {
    Summary::deserialize(&record.body).ok().filter(|summary| summary.expires_ms > now_ms)
}

/// The id after which a page begins: the token is the id's own end, so it can't lead into another memory.
fn after(prefix: &str, token: &str) -> Result<String, ApiError> {
    let fits = !token.is_empty() && token.len() < 300 && !token.contains('/');
    fits.then(|| format!("{prefix}{token}"))
        .ok_or_else(|| ApiError::validation("The pagination token is not valid for this request."))
}

fn told(summary: Summary) -> api::Memory {
    api::Memory::SessionSummary(api::MemorySessionSummary {
        memory_id: Some(summary.memory_id),
        session_expiry_time: Some(Timestamp::from_ms(summary.expires_ms)),
        session_id: Some(summary.session_id),
        session_start_time: Some(Timestamp::from_ms(summary.started_ms)),
        summary_text: Some(summary.text),
    })
}

impl Run {
    /// Sums the session up and keeps that, where its agent has a memory and the session a memory id.
    pub(super) async fn remember(&self) -> Result<(), ApiError> {
        let (Some(memory), Some(memory_id)) = (&self.agent.memory, &self.session.memory_id) else {
            return Ok(());
        };
        let kind = PromptKind::MemorySummarization;
        let off = self.prompt_step(kind).is_some_and(|step| step.enabled == Some(false));
        if off || self.session.exchanges.is_empty() {
            return Ok(());
        }
        let mut values = self.values();
        values.insert("past_conversation_summary", self.remembered.clone());
        values.insert("conversation", conversation::transcript(&self.session.exchanges));
        let prompt = prompt::render(self.template(kind), &values, Thread::default());
        let plan = Plan { kind, prompt, tools: &[], choice: craton_backend::ToolChoice::Auto };
        let said = self.ask(plan, None).await?;
        let whole = said.text();
        let text = between(&whole, "summary").map_or_else(|| tell::part(&whole).1, str::to_owned);
        let text = text.trim().to_owned();
        if text.is_empty() {
            return Ok(());
        }
        let identity = self.tracer.identity();
        let (store, now_ms) = (&self.runs.parts.store, self.runs.parts.clock.now_ms());
        let summary = Summary {
            session_id: identity.session_id.clone(),
            memory_id: memory_id.clone(),
            started_ms: self.session.started_ms,
            expires_ms: now_ms + i64::from(memory.storage_days) * DAY_MS,
            text,
        };
        let place = place(&identity.agent_id, &identity.alias_id, Some(memory_id));
        let id = format!("{place}{:015}-{}", summary.started_ms, summary.session_id);
        let body = serde_json::to_value(&summary).map_err(|error| internal(&error))?;
        let scope = scope(&self.context);
        // The same session summed up again: the later summary stands.
        store.delete(&scope, &id, None).await.map_err(from_store)?;
        let new = NewRecord { id, name: None, body, now_ms, idempotency: None, tags: None };
        store.create(&scope, new).await.map_err(from_store)?;
        Ok(())
    }
}
