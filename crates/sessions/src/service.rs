//! CreateSession, GetSession, ListSessions, UpdateSession, EndSession, DeleteSession, CreateInvocation,
//! ListInvocations, PutInvocationStep, GetInvocationStep, ListInvocationSteps.

use craton_api_bedrock_agent_runtime as api;
use craton_core::{Arn, DAY_MS, Page, PageError, PageRequest, RequestContext};
use craton_store::{Ageing, NewRecord, Place, Range, Record, Scope, StoreError, Transaction};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde_json::Value;

use crate::Sessions;
use crate::content;
use crate::error::{internal, missing, store_error};
use crate::records::{
    CHILDREN, CONTENT, INVOCATION, SESSION, STEP, StoredInvocation, StoredSession, StoredStep, newest_first,
    parts, read, scope, write,
};

const MAX_STEPS: u32 = 1_000;
const MAX_INVOCATIONS: u32 = 1_000;

/// A session as its answers show it.
struct Found {
    record: Record,
    body: StoredSession,
    status: api::SessionStatus,
    arn: String,
}

impl Sessions {
    pub async fn create_session(
        &self,
        context: &RequestContext,
        input: api::CreateSessionRequest,
    ) -> Result<api::CreateSessionResponse, ApiError> {
        let id = self.ids.uuid();
        let arn = arn(context, &id);
        let body = StoredSession {
            metadata: input.session_metadata.unwrap_or_default().into_iter().collect(),
            encryption_key_arn: input.encryption_key_arn,
            ..StoredSession::default()
        };
        let tags = input.tags.unwrap_or_default().into_iter().collect();
        let new = self.record(&id, write(&body)?, Some((arn.clone(), tags)));
        self.store.create(&scope(SESSION, context), new.clone()).await.map_err(store_error)?;
        Ok(api::CreateSessionResponse {
            created_at: Timestamp::from_ms(new.now_ms),
            session_arn: arn,
            session_id: id,
            session_status: api::SessionStatus::Active,
        })
    }

    pub async fn get_session(
        &self,
        context: &RequestContext,
        input: api::GetSessionRequest,
    ) -> Result<api::GetSessionResponse, ApiError> {
        let Found { record, body, status, arn } = self.find(context, &input.session_identifier).await?;
        Ok(api::GetSessionResponse {
            created_at: Timestamp::from_ms(record.created_ms),
            encryption_key_arn: body.encryption_key_arn,
            last_updated_at: Timestamp::from_ms(record.updated_ms),
            session_arn: arn,
            session_id: record.id,
            session_metadata: Some(body.metadata.into_iter().collect()),
            session_status: status,
        })
    }

    pub async fn list_sessions(
        &self,
        context: &RequestContext,
        input: api::ListSessionsRequest,
    ) -> Result<api::ListSessionsResponse, ApiError> {
        let request = PageRequest::of(input.next_token, input.max_results);
        let page = self.store.newest(&scope(SESSION, context), "", &request).await.map_err(store_error)?;
        let page = page.ok_or_else(|| ApiError::validation(PageError.to_string()))?;
        let summaries: Result<_, ApiError> = page
            .items
            .into_iter()
            .map(|record| {
                let Found { record, status, arn, .. } = self.found(context, record)?;
                Ok(api::SessionSummary {
                    created_at: Timestamp::from_ms(record.created_ms),
                    last_updated_at: Timestamp::from_ms(record.updated_ms),
                    session_arn: arn,
                    session_id: record.id,
                    session_status: status,
                })
            })
            .collect();
        Ok(api::ListSessionsResponse { next_token: page.next_token, session_summaries: summaries? })
    }

    /// Puts new metadata in place of the old.
    pub async fn update_session(
        &self,
        context: &RequestContext,
        input: api::UpdateSessionRequest,
    ) -> Result<api::UpdateSessionResponse, ApiError> {
        let mut transaction = self.store.begin().await.map_err(store_error)?;
        let mut found = self.active(&mut transaction, context, &input.session_identifier).await?;
        if let Some(metadata) = input.session_metadata {
            found.body.metadata = metadata.into_iter().collect();
        }
        let found = self.save(&mut transaction, context, found).await?;
        transaction.commit().await.map_err(store_error)?;
        Ok(api::UpdateSessionResponse {
            created_at: Timestamp::from_ms(found.record.created_ms),
            last_updated_at: Timestamp::from_ms(found.record.updated_ms),
            session_arn: found.arn,
            session_id: found.record.id,
            session_status: found.status,
        })
    }

    pub async fn end_session(
        &self,
        context: &RequestContext,
        input: api::EndSessionRequest,
    ) -> Result<api::EndSessionResponse, ApiError> {
        let mut transaction = self.store.begin().await.map_err(store_error)?;
        let mut found = self.locked(&mut transaction, context, &input.session_identifier).await?;
        if found.body.ended {
            return Err(ApiError::conflict("The session has been ended already."));
        }
        found.body.ended = true;
        let found = self.save(&mut transaction, context, found).await?;
        transaction.commit().await.map_err(store_error)?;
        Ok(api::EndSessionResponse {
            session_arn: found.arn,
            session_id: found.record.id,
            session_status: api::SessionStatus::Ended,
        })
    }

    pub async fn delete_session(
        &self,
        context: &RequestContext,
        input: api::DeleteSessionRequest,
    ) -> Result<api::DeleteSessionResponse, ApiError> {
        let mut transaction = self.store.begin().await.map_err(store_error)?;
        let found = self.locked(&mut transaction, context, &input.session_identifier).await?;
        if found.status == api::SessionStatus::Active {
            return Err(ApiError::conflict("The session is active. End it before you delete it."));
        }
        remove(&mut transaction, &Place::of(context), &found.record.id).await.map_err(store_error)?;
        transaction.commit().await.map_err(store_error)?;
        Ok(api::DeleteSessionResponse {})
    }

    pub async fn create_invocation(
        &self,
        context: &RequestContext,
        input: api::CreateInvocationRequest,
    ) -> Result<api::CreateInvocationResponse, ApiError> {
        let mut transaction = self.store.begin().await.map_err(store_error)?;
        let mut found = self.active(&mut transaction, context, &input.session_identifier).await?;
        let id = input.invocation_id.unwrap_or_else(|| self.ids.uuid());
        let place = format!("{}/{id}", found.record.id);
        let invocations = scope(INVOCATION, context);
        if transaction.get(&invocations, &place).await.map_err(store_error)?.is_some() {
            return Err(ApiError::conflict(format!("The session has an invocation {id} already.")));
        }
        count(&mut found.body.invocations, MAX_INVOCATIONS, "invocations")?;
        let new = self.record(&place, write(&StoredInvocation { description: input.description })?, None);
        let created_at = Timestamp::from_ms(new.now_ms);
        transaction.create(&invocations, new).await.map_err(store_error)?;
        let found = self.save(&mut transaction, context, found).await?;
        transaction.commit().await.map_err(store_error)?;
        Ok(api::CreateInvocationResponse { created_at, invocation_id: id, session_id: found.record.id })
    }

    pub async fn list_invocations(
        &self,
        context: &RequestContext,
        input: api::ListInvocationsRequest,
    ) -> Result<api::ListInvocationsResponse, ApiError> {
        let session = self.find(context, &input.session_identifier).await?.record.id;
        let range = Range { prefix: format!("{session}/"), ..Range::default() };
        let records = self.store.list(&scope(INVOCATION, context), &range).await.map_err(store_error)?;
        let page = page(records, input.next_token, input.max_results, |record| record.created_ms)?;
        let summary = |record: Record| api::InvocationSummary {
            created_at: Timestamp::from_ms(record.created_ms),
            invocation_id: parts(&record.id).0.to_owned(),
            session_id: session.clone(),
        };
        Ok(api::ListInvocationsResponse {
            invocation_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    /// Adds a step. One that is there already is left as it is when the new one is the same, and refused when not.
    pub async fn put_invocation_step(
        &self,
        context: &RequestContext,
        input: api::PutInvocationStepRequest,
    ) -> Result<api::PutInvocationStepResponse, ApiError> {
        content::check(&input.payload)?;
        let content = write(&input.payload)?;
        let step = StoredStep { time_ms: input.invocation_step_time.as_ms() };
        let mut transaction = self.store.begin().await.map_err(store_error)?;
        let mut found = self.active(&mut transaction, context, &input.session_identifier).await?;
        let invocation = format!("{}/{}", found.record.id, input.invocation_identifier);
        if transaction.get(&scope(INVOCATION, context), &invocation).await.map_err(store_error)?.is_none() {
            return Err(missing("invocation", &input.invocation_identifier));
        }
        let id = input.invocation_step_id.unwrap_or_else(|| self.ids.uuid());
        let place = format!("{invocation}/{id}");
        let answer = api::PutInvocationStepResponse { invocation_step_id: id };
        let (steps, contents) = (scope(STEP, context), scope(CONTENT, context));
        if let Some(before) = transaction.get(&contents, &place).await.map_err(store_error)? {
            return match before.body == content {
                true => Ok(answer),
                false => {
                    Err(ApiError::conflict("The invocation has a step of this id with another content."))
                }
            };
        }
        count(&mut found.body.steps, MAX_STEPS, "steps")?;
        for (scope, body) in [(&steps, write(&step)?), (&contents, content)] {
            transaction.create(scope, self.record(&place, body, None)).await.map_err(store_error)?;
        }
        self.save(&mut transaction, context, found).await?;
        transaction.commit().await.map_err(store_error)?;
        Ok(answer)
    }

    pub async fn get_invocation_step(
        &self,
        context: &RequestContext,
        input: api::GetInvocationStepRequest,
    ) -> Result<api::GetInvocationStepResponse, ApiError> {
        let session = self.find(context, &input.session_identifier).await?.record.id;
        let place = format!("{session}/{}/{}", input.invocation_identifier, input.invocation_step_id);
        let step = self.store.get(&scope(STEP, context), &place).await.map_err(store_error)?;
        let content = self.store.get(&scope(CONTENT, context), &place).await.map_err(store_error)?;
        let (Some(step), Some(content)) = (step, content) else {
            return Err(missing("invocation step", &input.invocation_step_id));
        };
        let step: StoredStep = read(&step)?;
        Ok(api::GetInvocationStepResponse {
            invocation_step: api::InvocationStep {
                invocation_id: input.invocation_identifier,
                invocation_step_id: input.invocation_step_id,
                invocation_step_time: Timestamp::from_ms(step.time_ms),
                payload: serde_json::from_value(content.body).map_err(|error| internal(&error))?,
                session_id: session,
            },
        })
    }

    /// The steps of an invocation, or of all of them.
    pub async fn list_invocation_steps(
        &self,
        context: &RequestContext,
        input: api::ListInvocationStepsRequest,
    ) -> Result<api::ListInvocationStepsResponse, ApiError> {
        let session = self.find(context, &input.session_identifier).await?.record.id;
        let prefix = match &input.invocation_identifier {
            None => format!("{session}/"),
            Some(id) => {
                let invocation = format!("{session}/{id}");
                let there =
                    self.store.get(&scope(INVOCATION, context), &invocation).await.map_err(store_error)?;
                there.ok_or_else(|| missing("invocation", id))?;
                format!("{invocation}/")
            }
        };
        let range = Range { prefix, ..Range::default() };
        let records = self.store.list(&scope(STEP, context), &range).await.map_err(store_error)?;
        let steps: Result<Vec<(Record, i64)>, ApiError> = records
            .into_iter()
            .map(|record| read::<StoredStep>(&record).map(|step| (record, step.time_ms)))
            .collect();
        // Of steps of one moment, that which was written last.
        let written = |step: &(Record, i64)| newest_first(step.0.created_ms, &step.0.id);
        let key = |step: &(Record, i64)| newest_first(step.1, &written(step));
        let page = cut(steps?, input.next_token, input.max_results, key)?;
        let summary = |(record, time_ms): (Record, i64)| api::InvocationStepSummary {
            invocation_id: parts(&record.id).0.to_owned(),
            invocation_step_id: parts(&record.id).1.to_owned(),
            invocation_step_time: Timestamp::from_ms(time_ms),
            session_id: session.clone(),
        };
        Ok(api::ListInvocationStepsResponse {
            invocation_step_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    /// Whether this ARN names a session that is there.
    pub async fn has_session(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        match self.find(context, arn).await {
            Ok(found) => Ok(found.arn == arn),
            Err(error) if error.code == "ResourceNotFoundException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, context: &RequestContext, identifier: &str) -> Result<Found, ApiError> {
        let id = session_id(context, identifier)?;
        let record = self.store.get(&scope(SESSION, context), &id).await.map_err(store_error)?;
        self.found(context, record.ok_or_else(|| missing("session", identifier))?)
    }

    /// The session, kept from changing until the transaction ends.
    async fn locked(
        &self,
        transaction: &mut Transaction,
        context: &RequestContext,
        identifier: &str,
    ) -> Result<Found, ApiError> {
        let id = session_id(context, identifier)?;
        let record = transaction.get(&scope(SESSION, context), &id).await.map_err(store_error)?;
        self.found(context, record.ok_or_else(|| missing("session", identifier))?)
    }

    /// The same, if it takes more.
    async fn active(
        &self,
        transaction: &mut Transaction,
        context: &RequestContext,
        identifier: &str,
    ) -> Result<Found, ApiError> {
        let found = self.locked(transaction, context, identifier).await?;
        match found.status {
            api::SessionStatus::Active => Ok(found),
            status => Err(ApiError::conflict(format!(
                "The session is {}: nothing can be added to it.",
                status.as_str()
            ))),
        }
    }

    fn found(&self, context: &RequestContext, record: Record) -> Result<Found, ApiError> {
        let body: StoredSession = read(&record)?;
        let status = self.status(&record, &body);
        let arn = arn(context, &record.id);
        Ok(Found { record, body, status, arn })
    }

    fn status(&self, record: &Record, body: &StoredSession) -> api::SessionStatus {
        let idle_ms = self.clock.now_ms().saturating_sub(record.updated_ms);
        match body.ended {
            true => api::SessionStatus::Ended,
            false if idle_ms > i64::from(self.config.idle_s) * 1000 => api::SessionStatus::Expired,
            false => api::SessionStatus::Active,
        }
    }

    /// Writes a session, and with that the time of its last use.
    async fn save(
        &self,
        transaction: &mut Transaction,
        context: &RequestContext,
        mut found: Found,
    ) -> Result<Found, ApiError> {
        found.record.body = write(&found.body)?;
        let version = Some(found.record.version);
        let scope = scope(SESSION, context);
        let saved = transaction.update(&scope, &found.record, version, self.clock.now_ms()).await;
        Ok(Found { record: saved.map_err(store_error)?, ..found })
    }

    fn record(&self, id: &str, body: Value, tags: Tags) -> NewRecord {
        NewRecord {
            id: id.to_owned(),
            name: None,
            body,
            now_ms: self.clock.now_ms(),
            idempotency: None,
            tags,
        }
    }

    /// Deletes sessions that are over for long, in every account and region.
    pub async fn forget_old(&self) {
        if self.config.retention_days == 0 {
            return;
        }
        let before_ms = self.clock.now_ms() - i64::from(self.config.retention_days) * DAY_MS;
        // One that cannot be read is over, too.
        let lives = |record: &Record| {
            read(record)
                .is_ok_and(|body: StoredSession| self.status(record, &body) == api::SessionStatus::Active)
        };
        let tags_of = |scope: &Scope, id: &str| session_arn(&scope.region, &scope.account, id);
        let sessions = Ageing::of(SESSION, before_ms).with_children(&CHILDREN);
        self.store.forget_old(&sessions.unless(&lives).with_tags(&tags_of)).await;
    }
}

type Tags = Option<(String, std::collections::BTreeMap<String, String>)>;

/// Deletes a session with everything in it.
async fn remove(transaction: &mut Transaction, place: &Place, id: &str) -> Result<(), StoreError> {
    for kind in CHILDREN {
        transaction.delete_within(&place.scope(kind), &format!("{id}/")).await?;
    }
    let arn = place.bedrock_arn(format!("session/{id}"));
    transaction.delete(&place.scope(SESSION), id, Some(&arn)).await?;
    Ok(())
}

/// One more, if there may be.
fn count(of: &mut u32, most: u32, what: &str) -> Result<(), ApiError> {
    if *of >= most {
        return Err(ApiError::quota_exceeded(format!("A session can have at most {most} {what}.")));
    }
    *of += 1;
    Ok(())
}

/// The id in an identifier. ARNs of other accounts and regions name nothing here.
fn session_id(context: &RequestContext, identifier: &str) -> Result<String, ApiError> {
    if !identifier.starts_with("arn:") {
        return Ok(identifier.to_owned());
    }
    let id = identifier.rsplit('/').next().unwrap_or_default();
    match arn(context, id) == identifier {
        true => Ok(id.to_owned()),
        false => Err(missing("session", identifier)),
    }
}

fn arn(context: &RequestContext, id: &str) -> String {
    session_arn(&context.region, &context.account.id, id)
}

fn session_arn(region: &str, account: &str, id: &str) -> String {
    Arn::new("bedrock", region, account, format!("session/{id}")).to_string()
}

/// A page of records, the newest first.
fn page(
    records: Vec<Record>,
    next_token: Option<String>,
    max_results: Option<i32>,
    time_ms: impl Fn(&Record) -> i64,
) -> Result<Page<Record>, ApiError> {
    cut(records, next_token, max_results, |record| newest_first(time_ms(record), &record.id))
}

fn cut<T>(
    mut items: Vec<T>,
    next_token: Option<String>,
    max_results: Option<i32>,
    key: impl Fn(&T) -> String,
) -> Result<Page<T>, ApiError> {
    items.sort_by_cached_key(&key);
    PageRequest::of(next_token, max_results)
        .cut(items, key)
        .map_err(|error| ApiError::validation(error.to_string()))
}
