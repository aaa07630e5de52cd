//! CreatePrompt, GetPrompt, ListPrompts, UpdatePrompt, DeletePrompt, CreatePromptVersion.

use std::collections::BTreeMap;

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::{Created, Idempotency, NewRecord, Range, Record, Scope};
use craton_wire::ApiError;
use craton_wire::types::Timestamp;
use serde_json::Value;

use crate::error::{prompt_not_found, store_error};
use crate::identifier::{self, ID_LENGTH, PromptRef, version_number};
use crate::{Prompts, StoredPrompt, check};

/// What a draft's version is called.
const DRAFT: &str = "DRAFT";

/// A draft or a version, with what its answers say of it.
pub(crate) struct Found {
    pub body: StoredPrompt,
    pub id: String,
    pub arn: String,
    pub version: String,
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// The answers of four operations are four types with the same fields.
macro_rules! answer {
    ($name:ident, $found:expr) => {{
        let Found { body, id, arn, version, created_ms, updated_ms } = $found;
        api::$name {
            name: body.name,
            description: body.description,
            customer_encryption_key_arn: body.customer_encryption_key_arn,
            default_variant: body.default_variant,
            variants: Some(body.variants),
            id,
            arn,
            version,
            created_at: Timestamp::from_ms(created_ms),
            updated_at: Timestamp::from_ms(updated_ms),
        }
    }};
}

/// The stored form of what a create or an update request says.
macro_rules! draft_of {
    ($input:ident) => {
        StoredPrompt {
            name: $input.name.clone(),
            description: $input.description,
            customer_encryption_key_arn: $input.customer_encryption_key_arn,
            default_variant: $input.default_variant,
            variants: $input.variants.unwrap_or_default(),
        }
    };
}

/// Versions of a prompt: AWS's quota, which is fixed.
const MOST_VERSIONS: usize = 10;

impl Prompts {
    pub async fn create_prompt(
        &self,
        context: &RequestContext,
        input: api::CreatePromptRequest,
    ) -> Result<api::CreatePromptResponse, ApiError> {
        let body = draft_of!(input);
        check::variants(&body.variants, body.default_variant.as_deref())?;
        let tags = input.tags.unwrap_or_default().into_iter().collect();
        let id = self.ids.short(ID_LENGTH);
        let arn = identifier::arn(&context.region, &context.account.id, &id);
        let body = write(&body)?;
        let request = serde_json::json!([body, tags]);
        let new = NewRecord {
            id: id.clone(),
            name: Some(input.name),
            body,
            now_ms: self.clock.now_ms(),
            idempotency: Idempotency::answering(input.client_token, &request, &id),
            tags: Some((arn, tags)),
        };
        let created = self.store.create(&scope(context, &context.region), new).await;
        let record = match created.map_err(|error| store_error(&error))? {
            Created::New(record) => record,
            Created::Repeated(first) => {
                let id = first.as_str().unwrap_or_default();
                self.draft(context, &context.region, id).await?.ok_or_else(|| prompt_not_found(id))?
            }
        };
        Ok(answer!(CreatePromptResponse, draft(context, &context.region, &record)?))
    }

    pub async fn get_prompt(
        &self,
        context: &RequestContext,
        input: api::GetPromptRequest,
    ) -> Result<api::GetPromptResponse, ApiError> {
        let mut reference = PromptRef::parse(context, &input.prompt_identifier)?;
        if let Some(version) = &input.prompt_version {
            reference.version =
                version_number(version).map_err(|()| prompt_not_found(&input.prompt_identifier))?;
        }
        let found = self.find(context, &reference).await?;
        let mut answer = answer!(GetPromptResponse, found);
        if matches!(input.included_data, Some(api::IncludedData::MetadataOnly)) {
            answer.variants = None;
        }
        Ok(answer)
    }

    /// Drafts; with an identifier, that prompt's draft and versions.
    pub async fn list_prompts(
        &self,
        context: &RequestContext,
        input: api::ListPromptsRequest,
    ) -> Result<api::ListPromptsResponse, ApiError> {
        let found = match &input.prompt_identifier {
            Some(identifier) => self.all_of(context, identifier).await?,
            None => {
                let records = self.store.list(&scope(context, &context.region), &Range::default()).await;
                let records = records.map_err(|error| store_error(&error))?;
                records
                    .iter()
                    .map(|record| draft(context, &context.region, record))
                    .collect::<Result<_, _>>()?
            }
        };
        let request = PageRequest {
            next_token: input.next_token,
            max_results: input.max_results.and_then(|count| u32::try_from(count).ok()),
        };
        // The draft comes first, then versions by number.
        let order = |found: &Found| format!("{}:{:0>10}", found.id, found.version.replace(DRAFT, "0"));
        let page = request.cut(found, order).map_err(|error| ApiError::validation(error.to_string()))?;
        Ok(api::ListPromptsResponse {
            prompt_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    async fn all_of(&self, context: &RequestContext, identifier: &str) -> Result<Vec<Found>, ApiError> {
        let reference = PromptRef::parse(context, identifier)?;
        if reference.version.is_some() {
            return Ok(vec![self.find(context, &reference).await?]);
        }
        let record = self.draft(context, &reference.region, &reference.id).await?;
        let record = record.ok_or_else(|| prompt_not_found(identifier))?;
        let mut found = vec![draft(context, &reference.region, &record)?];
        let scope = scope(context, &reference.region);
        let versions = self.store.list_versions(&scope, &reference.id).await;
        for version in versions.map_err(|error| store_error(&error))? {
            found.push(published(context, &reference, &version)?);
        }
        Ok(found)
    }

    pub async fn update_prompt(
        &self,
        context: &RequestContext,
        input: api::UpdatePromptRequest,
    ) -> Result<api::UpdatePromptResponse, ApiError> {
        let reference = self.own_draft(context, &input.prompt_identifier)?;
        let body = draft_of!(input);
        check::variants(&body.variants, body.default_variant.as_deref())?;
        let record = self.draft(context, &reference.region, &reference.id).await?;
        let mut record = record.ok_or_else(|| prompt_not_found(&input.prompt_identifier))?;
        record.name = Some(input.name);
        record.body = write(&body)?;
        let scope = scope(context, &reference.region);
        let updated = self.store.update(&scope, &record, None, self.clock.now_ms()).await;
        let record = updated.map_err(|error| store_error(&error))?;
        Ok(answer!(UpdatePromptResponse, draft(context, &reference.region, &record)?))
    }

    /// Deletes a version, or the prompt with all its versions.
    pub async fn delete_prompt(
        &self,
        context: &RequestContext,
        input: api::DeletePromptRequest,
    ) -> Result<api::DeletePromptResponse, ApiError> {
        let identifier = &input.prompt_identifier;
        let mut reference = PromptRef::parse(context, identifier)?;
        if let Some(version) = &input.prompt_version {
            reference.version = version_number(version).map_err(|()| prompt_not_found(identifier))?;
        }
        let scope = scope(context, &reference.region);
        let deleted = match reference.version {
            None => {
                let arn = reference.arn(&context.account.id);
                self.store.delete(&scope, &reference.id, Some(&arn)).await
            }
            Some(number) => {
                let mut transaction = self.store.begin().await.map_err(|error| store_error(&error))?;
                let deleted = transaction.delete_version(&scope, &reference.id, number).await;
                let deleted = deleted.map_err(|error| store_error(&error))?;
                transaction.commit().await.map(|()| deleted)
            }
        };
        if !deleted.map_err(|error| store_error(&error))? {
            return Err(prompt_not_found(identifier));
        }
        let version = reference.version.map(|number| number.to_string());
        Ok(api::DeletePromptResponse { id: reference.id, version })
    }

    pub async fn create_prompt_version(
        &self,
        context: &RequestContext,
        input: api::CreatePromptVersionRequest,
    ) -> Result<api::CreatePromptVersionResponse, ApiError> {
        let reference = self.own_draft(context, &input.prompt_identifier)?;
        let scope = scope(context, &reference.region);
        let tags: BTreeMap<String, String> = input.tags.unwrap_or_default().into_iter().collect();
        let request = serde_json::json!([input.description, tags]);
        let mut transaction = self.store.begin().await.map_err(|error| store_error(&error))?;
        let draft = transaction.get(&scope, &reference.id).await.map_err(|error| store_error(&error))?;
        let mut body = read(&draft.ok_or_else(|| prompt_not_found(&input.prompt_identifier))?.body)?;
        body.description = input.description.or(body.description);
        let now_ms = self.clock.now_ms();
        let version = transaction.publish(&scope, &reference.id, write(&body)?, now_ms).await;
        let version = version.map_err(|error| store_error(&error))?;
        if let Some(token) = input.client_token {
            // Tokens are one operation's, on one prompt.
            let token = format!("{}/versions/{token}", reference.id);
            let idempotency = Idempotency::of(token, &request, Value::from(version.number));
            let first = transaction.claim(&scope, &reference.id, &idempotency, now_ms).await;
            if let Some(first) = first.map_err(|error| store_error(&error))? {
                drop(transaction);
                let first = PromptRef { version: first.as_i64(), ..reference };
                return Ok(answer!(CreatePromptVersionResponse, self.find(context, &first).await?));
            }
        }
        let numbers = transaction.version_numbers(&scope, &reference.id).await;
        if numbers.map_err(|error| store_error(&error))?.len() > MOST_VERSIONS {
            return Err(ApiError::quota_exceeded(format!(
                "The prompt {} has the {MOST_VERSIONS} versions it can have. Delete one first.",
                reference.id
            )));
        }
        let found = published(context, &reference, &version)?;
        transaction.tag(&found.arn, &tags).await.map_err(|error| store_error(&error))?;
        transaction.commit().await.map_err(|error| store_error(&error))?;
        Ok(answer!(CreatePromptVersionResponse, found))
    }

    /// Whether `arn` is a prompt's, or one of its versions', that is there.
    pub async fn has_prompt(&self, context: &RequestContext, arn: &str) -> Result<bool, ApiError> {
        let Ok(reference) = PromptRef::parse(context, arn) else { return Ok(false) };
        match self.find(context, &reference).await {
            Ok(found) => Ok(found.arn == arn),
            Err(error) if error.code == "ResourceNotFoundException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A reference that must be to a draft: versions never change.
    fn own_draft(&self, context: &RequestContext, identifier: &str) -> Result<PromptRef, ApiError> {
        let reference = PromptRef::parse(context, identifier)?;
        if reference.version.is_some() {
            return Err(ApiError::validation(format!(
                "{identifier} is a version, and versions can't be changed or published. Name the prompt without it."
            )));
        }
        Ok(reference)
    }

    /// The draft or version that is referred to.
    pub(crate) async fn find(
        &self,
        context: &RequestContext,
        reference: &PromptRef,
    ) -> Result<Found, ApiError> {
        let not_found = || prompt_not_found(&reference.id);
        let Some(number) = reference.version else {
            let record = self.draft(context, &reference.region, &reference.id).await?;
            return draft(context, &reference.region, &record.ok_or_else(not_found)?);
        };
        let version = self.store.version(&scope(context, &reference.region), &reference.id, number).await;
        let version = version.map_err(|error| store_error(&error))?.ok_or_else(|| {
            ApiError::not_found(format!("Could not find version {number} of the prompt {}.", reference.id))
        })?;
        published(context, reference, &version)
    }

    async fn draft(
        &self,
        context: &RequestContext,
        region: &str,
        id: &str,
    ) -> Result<Option<Record>, ApiError> {
        self.store.get(&scope(context, region), id).await.map_err(|error| store_error(&error))
    }
}

fn scope(context: &RequestContext, region: &str) -> Scope {
    Scope::new("prompt", context.account.id.clone(), region)
}

fn write(body: &StoredPrompt) -> Result<Value, ApiError> {
    serde_json::to_value(body).map_err(|error| store_error(&error.into()))
}

fn read(body: &Value) -> Result<StoredPrompt, ApiError> {
    serde_json::from_value(body.clone()).map_err(|error| store_error(&error.into()))
}

fn draft(context: &RequestContext, region: &str, record: &Record) -> Result<Found, ApiError> {
    Ok(Found {
        body: read(&record.body)?,
        id: record.id.clone(),
        arn: identifier::arn(region, &context.account.id, &record.id),
        version: DRAFT.to_owned(),
        created_ms: record.created_ms,
        updated_ms: record.updated_ms,
    })
}

fn published(
    context: &RequestContext,
    reference: &PromptRef,
    version: &craton_store::versions::Version,
) -> Result<Found, ApiError> {
    Ok(Found {
        body: read(&version.body)?,
        id: reference.id.clone(),
        arn: format!("{}:{}", reference.arn(&context.account.id), version.number),
        version: version.number.to_string(),
        created_ms: version.created_ms,
        updated_ms: version.created_ms,
    })
}

fn summary(found: Found) -> api::PromptSummary {
    api::PromptSummary {
        name: found.body.name,
        description: found.body.description,
        id: found.id,
        arn: found.arn,
        version: found.version,
        created_at: Timestamp::from_ms(found.created_ms),
        updated_at: Timestamp::from_ms(found.updated_ms),
    }
}
