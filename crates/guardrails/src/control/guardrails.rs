//! CreateGuardrail, GetGuardrail, ListGuardrails, UpdateGuardrail, DeleteGuardrail.

use craton_api_bedrock as api;
use craton_core::{PageRequest, RequestContext};
use craton_models::tags_from_list;
use craton_store::versions::Version;
use craton_store::{Created, Idempotency, NewRecord, Range, Record};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::read::wanted;
use super::records::{DRAFT, Draft, Identifier, Published, guardrail_arn};
use super::show::{Place, details, summary};
use crate::Guardrails;
use crate::error::{store_error, unreadable};

const ID_LENGTH: usize = 12;
/// Guardrails an account can have in a region.
const MAX_GUARDRAILS: usize = 100;

impl Guardrails {
    pub async fn create_guardrail(
        &self,
        context: &RequestContext,
        input: api::CreateGuardrailRequest,
    ) -> Result<api::CreateGuardrailResponse, ApiError> {
        let tags = tags_from_list(input.tags.unwrap_or_default())?;
        let token = input.client_request_token;
        let definition = wanted!(input).check()?;
        let id = self.parts.ids.short(ID_LENGTH).to_ascii_lowercase();
        let arn = guardrail_arn(&context.region, &context.account.id, &id);
        let name = definition.name.clone();
        let now_ms = self.parts.clock.now_ms();
        let request = json!([definition, tags]);
        let first = json!({ "id": id, "arn": arn, "created_ms": now_ms });
        let idempotency = token.map(|token| Idempotency::of(token, &request, first));
        let at = Identifier::parse(context, &id)?;
        let existing = self.parts.store.list(&at.drafts(), &Range::default()).await.map_err(store_error)?;
        if existing.len() >= MAX_GUARDRAILS {
            return Err(ApiError::new(
                "ServiceQuotaExceededException",
                format!("Your account can have at most {MAX_GUARDRAILS} guardrails in a region."),
            ));
        }
        let draft = Draft { arn: arn.clone(), definition };
        let record = NewRecord {
            id: id.clone(),
            name: Some(name),
            body: serde_json::to_value(&draft).map_err(unreadable)?,
            now_ms,
            idempotency,
            tags: Some((arn.clone(), tags)),
        };
        let created = self.parts.store.create(&at.drafts(), record).await.map_err(store_error)?;
        let answer = |id: String, arn: String, created_ms| api::CreateGuardrailResponse {
            guardrail_id: id,
            guardrail_arn: arn,
            version: DRAFT.to_owned(),
            created_at: Timestamp::from_ms(created_ms),
        };
        Ok(match created {
            Created::New(_) => answer(id, arn, now_ms),
            Created::Repeated(first) => {
                let text = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
                answer(text("id"), text("arn"), first["created_ms"].as_i64().unwrap_or(now_ms))
            }
        })
    }

    pub async fn get_guardrail(
        &self,
        context: &RequestContext,
        input: api::GetGuardrailRequest,
    ) -> Result<api::GetGuardrailResponse, ApiError> {
        let at = Identifier::parse(context, &input.guardrail_identifier)?;
        match input.guardrail_version.as_deref() {
            Some(version) if version != DRAFT => {
                let (version, published) = at.numbered(&self.parts.store, version).await?;
                let place = version_place(&at, &version, &published);
                Ok(details(place, published.definition))
            }
            _ => {
                let (record, draft) = at.draft(&self.parts.store).await?;
                Ok(details(draft_place(&at, &record, &draft), draft.definition))
            }
        }
    }

    pub async fn list_guardrails(
        &self,
        context: &RequestContext,
        input: api::ListGuardrailsRequest,
    ) -> Result<api::ListGuardrailsResponse, ApiError> {
        let mut summaries = Vec::new();
        if let Some(identifier) = &input.guardrail_identifier {
            let at = Identifier::parse(context, identifier)?;
            let (record, draft) = at.draft(&self.parts.store).await?;
            summaries.push(summary(draft_place(&at, &record, &draft), &draft.definition));
            for (version, published) in at.all_numbered(&self.parts.store).await? {
                summaries.push(summary(version_place(&at, &version, &published), &published.definition));
            }
        } else {
            let at = Identifier::parse(context, "")?;
            for record in self.parts.store.list(&at.drafts(), &Range::default()).await.map_err(store_error)? {
                let draft = Draft::deserialize(&record.body).map_err(unreadable)?;
                let at = Identifier { id: record.id.clone(), ..at.clone() };
                summaries.push(summary(draft_place(&at, &record, &draft), &draft.definition));
            }
        }
        let request = PageRequest {
            next_token: input.next_token,
            max_results: input.max_results.and_then(|count| u32::try_from(count).ok()),
        };
        // DRAFT before the numbers, numbers in their order.
        let key = |it: &api::GuardrailSummary| {
            let number: u64 = it.version.parse().unwrap_or(0);
            format!("{}:{number:08}", it.id)
        };
        let page = request.cut(summaries, key).map_err(|error| ApiError::validation(error.to_string()))?;
        Ok(api::ListGuardrailsResponse { guardrails: page.items, next_token: page.next_token })
    }

    pub async fn update_guardrail(
        &self,
        context: &RequestContext,
        input: api::UpdateGuardrailRequest,
    ) -> Result<api::UpdateGuardrailResponse, ApiError> {
        let at = Identifier::parse(context, &input.guardrail_identifier)?;
        let definition = wanted!(input).check()?;
        let (mut record, mut draft) = at.draft(&self.parts.store).await?;
        record.name = Some(definition.name.clone());
        draft.definition = definition;
        record.body = serde_json::to_value(&draft).map_err(unreadable)?;
        let now_ms = self.parts.clock.now_ms();
        let expected = Some(record.version);
        let updated = self.parts.store.update(&at.drafts(), &record, expected, now_ms).await;
        let updated = updated.map_err(store_error)?;
        Ok(api::UpdateGuardrailResponse {
            guardrail_id: at.id,
            guardrail_arn: draft.arn,
            version: DRAFT.to_owned(),
            updated_at: Timestamp::from_ms(updated.updated_ms),
        })
    }

    pub async fn delete_guardrail(
        &self,
        context: &RequestContext,
        input: api::DeleteGuardrailRequest,
    ) -> Result<api::DeleteGuardrailResponse, ApiError> {
        let at = Identifier::parse(context, &input.guardrail_identifier)?;
        let store = &self.parts.store;
        self.check_unenforced(context, &at, input.guardrail_version.as_deref()).await?;
        if let Some(version) = &input.guardrail_version {
            let (version, _) = at.numbered(store, version).await?;
            let mut transaction = store.begin().await.map_err(store_error)?;
            transaction.delete_version(&at.drafts(), &at.id, version.number).await.map_err(store_error)?;
            transaction.commit().await.map_err(store_error)?;
            return Ok(api::DeleteGuardrailResponse {});
        }
        let (_, draft) = at.draft(store).await?;
        store.delete(&at.drafts(), &at.id, Some(&draft.arn)).await.map_err(store_error)?;
        Ok(api::DeleteGuardrailResponse {})
    }

    /// Whether `arn` is a guardrail's, in its only spelling, that is there.
    pub async fn has_guardrail(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        let Ok(at) = Identifier::parse(context, arn) else { return Ok(false) };
        let record = self.parts.store.get(&at.drafts(), &at.id).await.map_err(store_error)?;
        Ok(record.is_some() && guardrail_arn(&at.region, &at.account, &at.id) == arn)
    }
}

fn draft_place(at: &Identifier, record: &Record, draft: &Draft) -> Place {
    Place {
        id: at.id.clone(),
        arn: draft.arn.clone(),
        version: DRAFT.to_owned(),
        description: draft.definition.description.clone(),
        created_ms: record.created_ms,
        updated_ms: record.updated_ms,
    }
}

fn version_place(at: &Identifier, version: &Version, published: &Published) -> Place {
    Place {
        id: at.id.clone(),
        arn: guardrail_arn(&at.region, &at.account, &at.id),
        version: version.number.to_string(),
        description: published.description.clone(),
        created_ms: version.created_ms,
        updated_ms: version.created_ms,
    }
}
