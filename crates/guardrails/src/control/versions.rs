//! CreateGuardrailVersion: the draft as it is now, under a number for good.

use craton_api_bedrock as api;
use craton_core::RequestContext;
use craton_store::Idempotency;
use craton_wire::ApiError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Draft, Identifier, Published};
use crate::Guardrails;
use crate::error::{not_found, store_error, unreadable};

/// Numbered versions a guardrail can have.
const MAX_VERSIONS: usize = 20;

impl Guardrails {
    pub async fn create_guardrail_version(
        &self,
        context: &RequestContext,
        input: api::CreateGuardrailVersionRequest,
    ) -> Result<api::CreateGuardrailVersionResponse, ApiError> {
        let at = Identifier::parse(context, &input.guardrail_identifier)?;
        let (scope, now_ms) = (at.drafts(), self.parts.clock.now_ms());
        let existing = self.parts.store.list_versions(&scope, &at.id).await.map_err(store_error)?.len();
        let request = json!([input.description]);
        let mut transaction = self.parts.store.begin().await.map_err(store_error)?;
        let record = transaction.get(&scope, &at.id).await.map_err(store_error)?;
        let draft = Draft::deserialize(&record.ok_or_else(|| not_found(&at.id))?.body).map_err(unreadable)?;
        let published = Published { description: input.description, definition: draft.definition };
        let body = serde_json::to_value(&published).map_err(unreadable)?;
        let version = transaction.publish(&scope, &at.id, body, now_ms).await.map_err(store_error)?;
        if let Some(token) = input.client_request_token {
            // Tokens are one operation's, on one guardrail.
            let token = format!("{}/versions/{token}", at.id);
            let idempotency = Idempotency::of(token, &request, Value::from(version.number));
            let first = transaction.claim(&scope, &at.id, &idempotency, now_ms).await;
            if let Some(first) = first.map_err(store_error)? {
                let version = first.as_i64().unwrap_or_default().to_string();
                return Ok(api::CreateGuardrailVersionResponse { guardrail_id: at.id, version });
            }
        }
        if existing >= MAX_VERSIONS {
            return Err(ApiError::new(
                "ServiceQuotaExceededException",
                format!("A guardrail can have at most {MAX_VERSIONS} versions. Delete one and try again."),
            ));
        }
        transaction.commit().await.map_err(store_error)?;
        Ok(api::CreateGuardrailVersionResponse { guardrail_id: at.id, version: version.number.to_string() })
    }
}
