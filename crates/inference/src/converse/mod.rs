//! Converse and ConverseStream.

mod decode;
mod encode;
mod fetch;
mod fields;
mod fits;
mod guard;
mod prompt;
mod rules;

use craton_api_bedrock_runtime as api;
use craton_backend::ChatRequest;
use craton_core::RequestContext;
use craton_models::Resolved;
use craton_wire::ApiError;
use craton_wire::operation::WithHeaders;
use craton_wire::types::Map;

pub(crate) use decode::priority;
use decode::{Conversation, Decoded};
use encode::{Echo, Events};
use fields::ResponsePaths;

use crate::chat::{ChatCall, Inference, ModelChoice};
use crate::guarded::Guarding;
use crate::headers;

/// Takes an input apart: the two operations' inputs are two types with the same fields.
macro_rules! parts {
    ($input:ident, $stream:literal, $guarding:ident) => {{
        let tier = $input.service_tier.as_ref().map(|tier| tier.r#type);
        let asked = Asked {
            guarding: $input.guardrail_config.map(guard::$guarding).transpose()?.unwrap_or_default(),
            paths: $input.additional_model_response_field_paths,
            metadata: $input.request_metadata,
            performance_config: $input.performance_config,
            service_tier: $input.service_tier,
        };
        let conversation = Conversation {
            messages: $input.messages,
            system: $input.system,
            inference_config: $input.inference_config,
            tool_config: $input.tool_config,
            additional_fields: $input.additional_model_request_fields,
            service_tier: tier,
            output_config: $input.output_config,
            stream: $stream,
        };
        ($input.model_id, $input.prompt_variables, asked, conversation)
    }};
}

impl Inference {
    pub async fn converse(
        &self,
        context: &RequestContext,
        input: api::ConverseRequest,
    ) -> Result<WithHeaders<api::ConverseResponse>, ApiError> {
        let (model_id, variables, asked, conversation) = parts!(input, false, asked);
        let (model_id, conversation) = self.with_prompt(context, model_id, variables, conversation).await?;
        let (call, echo, guarding) = self.call(context, ("Converse", model_id), asked, conversation).await?;
        let mut chat = self.chat_guarded(context, call, guarding).await?;
        let answer = chat.collect().await?;
        let mut output = encode::response(answer, chat.latency_ms(), echo);
        output.trace = chat.guards().and_then(|guards| guards.trace()).map(guard::trace);
        Ok(WithHeaders { output, headers: headers::served_by(chat.resolved()) })
    }

    pub async fn converse_stream(
        &self,
        context: &RequestContext,
        input: api::ConverseStreamRequest,
    ) -> Result<WithHeaders<api::ConverseStreamResponse>, ApiError> {
        let (model_id, variables, asked, conversation) = parts!(input, true, asked_stream);
        let (model_id, conversation) = self.with_prompt(context, model_id, variables, conversation).await?;
        let (call, echo, guarding) =
            self.call(context, ("ConverseStream", model_id), asked, conversation).await?;
        let chat = self.chat_guarded(context, call, guarding).await?;
        let headers = headers::served_by(chat.resolved());
        let output = api::ConverseStreamResponse { stream: Box::pin(Events::new(chat, echo)) };
        Ok(WithHeaders { output, headers })
    }
}

impl Inference {
    /// The conversation whose tokens CountTokens is asked for.
    pub(crate) async fn request_to_count(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        input: api::ConverseTokensRequest,
    ) -> Result<ChatRequest, ApiError> {
        let conversation = Conversation {
            messages: input.messages,
            system: input.system,
            tool_config: input.tool_config,
            additional_fields: input.additional_model_request_fields,
            ..Conversation::default()
        };
        self.read(context, resolved, conversation).await.map(|decoded| decoded.request)
    }

    /// The request that a conversation comes to, with whatever it names in S3 in its place.
    async fn read(
        &self,
        context: &RequestContext,
        resolved: &Resolved,
        mut conversation: Conversation,
    ) -> Result<Decoded, ApiError> {
        decode::check(&conversation)?;
        self.fetch(context, &mut conversation).await?;
        fits::check_additional(resolved, conversation.additional_fields.as_ref())?;
        let mut decoded = decode::request(conversation)?;
        fits::check(resolved, &mut decoded)?;
        Ok(decoded)
    }
}

/// What is asked besides the conversation.
struct Asked {
    guarding: Guarding,
    paths: Option<Vec<String>>,
    metadata: Option<Map<String>>,
    performance_config: Option<api::PerformanceConfiguration>,
    service_tier: Option<api::ServiceTier>,
}

impl Inference {
    async fn call(
        &self,
        context: &RequestContext,
        (operation, model_id): (&'static str, String),
        asked: Asked,
        conversation: Conversation,
    ) -> Result<(ChatCall, Echo, Guarding), ApiError> {
        let paths = asked.paths.as_deref().map(ResponsePaths::parse).transpose()?.unwrap_or_default();
        let resolved = self.resolve(context, ModelChoice::Id(model_id)).await?;
        let decoded = self.read(context, &resolved, conversation).await?;
        let guarding = Guarding { marked: decoded.marked, ..asked.guarding };
        let echo = Echo {
            paths,
            performance_config: asked.performance_config,
            service_tier: asked.service_tier,
            cached: decoded.cache_points > 0,
        };
        let metadata = asked.metadata.map(|metadata| metadata.into_iter().collect()).unwrap_or_default();
        let model = ModelChoice::Resolved(Box::new(resolved));
        Ok((ChatCall { operation, model, request: decoded.request, metadata }, echo, guarding))
    }
}
