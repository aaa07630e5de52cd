//! CreateGuardrailVersion: the draft as it is now, under a number for good.

use craton_api_bedrock as api;
use craton_core::RequestContext;
use craton_store::{Created, Idempotency, NewRecord, Range, StoreError};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::records::{Identifier, Numbered};
use crate::Guardrails;
use crate::error::{store_error, unreadable};

/// Numbered versions a guardrail can have.
const MAX_VERSIONS: usize = 20;
/// How often a number is tried for when others take theirs at the same time.
const ATTEMPTS: usize = 8;

impl Guardrails {
    pub async fn create_guardrail_version(
        &self,
        context: &RequestContext,
        input: api::CreateGuardrailVersionRequest,
    ) -> Result<api::CreateGuardrailVersionResponse, ApiError> {
        let at = Identifier::parse(context, &input.guardrail_identifier)?;
        let range = Range { prefix: at.prefix(), ..Range::default() };
        let versions = self.parts.store.list(&at.versions(), &range).await.map_err(store_error)?;
        if versions.len() >= MAX_VERSIONS {
            return Err(ApiError::new(
                "ServiceQuotaExceededException",
                format!("A guardrail can have at most {MAX_VERSIONS} versions. Delete one and try again."),
            ));
        }
        let numbered = self.take_number(&at, input.description.clone()).await?;
        let number = numbered.number;
        let request = json!([at.id, input.description]).to_string();
        let idempotency = input.client_request_token.map(|token| Idempotency {
            token,
            request_hash: request,
            answer: Value::from(number.to_string()),
        });
        let record = NewRecord {
            id: at.version_id(number),
            name: None,
            body: serde_json::to_value(&numbered).map_err(unreadable)?,
            now_ms: self.parts.clock.now_ms(),
            idempotency,
            tags: None,
        };
        let created = self.parts.store.create(&at.versions(), record).await.map_err(store_error)?;
        let version = match created {
            Created::New(_) => number.to_string(),
            // The number that was taken for the repetition stays unused.
            Created::Repeated(first) => first.as_str().unwrap_or_default().to_owned(),
        };
        Ok(api::CreateGuardrailVersionResponse { guardrail_id: at.id, version })
    }

    /// Takes the next number, and the draft as it was at that moment.
    async fn take_number(&self, at: &Identifier, description: Option<String>) -> Result<Numbered, ApiError> {
        for _ in 0..ATTEMPTS {
            let (mut record, mut draft) = at.draft(&self.parts.store).await?;
            let number = draft.next_version;
            draft.next_version += 1;
            record.body = serde_json::to_value(&draft).map_err(unreadable)?;
            let expected = Some(record.version);
            let now_ms = record.updated_ms;
            match self.parts.store.update(&at.drafts(), &record, expected, now_ms).await {
                Ok(_) => return Ok(Numbered { number, description, definition: draft.definition }),
                Err(StoreError::VersionMismatch { .. }) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        Err(ApiError::conflict("The guardrail is being changed by other requests. Try again."))
    }
}
