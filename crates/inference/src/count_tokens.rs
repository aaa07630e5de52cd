//! CountTokens: what a call would be charged for its input, without making it.

use craton_api_bedrock_runtime as api;
use craton_core::RequestContext;
use craton_models::Task;
use craton_wire::ApiError;
use craton_wire::operation::WithHeaders;

use crate::chat::{Inference, ModelChoice};
use crate::{headers, invoke};

impl Inference {
    /// Counts the request exactly as the call itself would send it to its backend, so that both agree.
    pub async fn count_tokens(
        &self,
        context: &RequestContext,
        input: api::CountTokensRequest,
    ) -> Result<WithHeaders<api::CountTokensResponse>, ApiError> {
        let resolved = self.resolve(context, ModelChoice::Id(input.model_id)).await?;
        if resolved.model.task() != Task::Chat {
            return Err(ApiError::validation("The provided model doesn't support counting tokens."));
        }
        let request = match input.input {
            api::CountTokensInput::Converse(conversation) => {
                self.request_to_count(context, &resolved, conversation).await?
            }
            api::CountTokensInput::InvokeModel(invocation) => {
                invoke::decode_body(&resolved, &invocation.body.0)?.1.request
            }
        };
        let headers = headers::served_by(&resolved);
        let counted =
            self.count_chat_tokens(context, ModelChoice::Resolved(Box::new(resolved)), request).await?;
        let output = api::CountTokensResponse { input_tokens: i32::try_from(counted).unwrap_or(i32::MAX) };
        Ok(WithHeaders { output, headers })
    }
}
