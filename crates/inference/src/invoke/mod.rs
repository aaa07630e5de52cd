//! InvokeModel and InvokeModelWithResponseStream: bodies in the format of the model's family, by its codec.

mod stream;
mod vectors;
mod windows;

use bytes::Bytes;
use craton_api_bedrock_runtime as api;
use craton_core::RequestContext;
use craton_models::{Family, Resolved, Task};
use craton_wire::ApiError;
use craton_wire::operation::WithHeaders;
use craton_wire::types::Blob;

use crate::chat::{ChatCall, Inference, ModelChoice};
use crate::codec::{self, ChatCodec, Decoded};
use crate::converse::priority;
use crate::guarded::{BodyConfig, Guarding, TraceLevel};
use crate::headers::{self, Headers};
use stream::Chunks;

const JSON: &str = "application/json";

impl Inference {
    pub async fn invoke_model(
        &self,
        context: &RequestContext,
        input: api::InvokeModelRequest,
    ) -> Result<WithHeaders<api::InvokeModelResponse>, ApiError> {
        let trace = level(input.trace);
        let guarding = Guarding::asked(input.guardrail_identifier, input.guardrail_version, trace)?;
        check_types(input.content_type.as_deref(), input.accept.as_deref())?;
        let metadata = metadata(input.request_metadata.as_deref())?;
        let (config, body) = BodyConfig::take(input.body.unwrap_or_default().0)?;
        let resolved = self.resolve(context, ModelChoice::Id(input.model_id)).await?;
        if resolved.model.task() != Task::Chat && guarding.guardrail.is_some() {
            return Err(guardrails_need_text());
        }
        let asked = Asked {
            operation: "InvokeModel",
            tier: input.service_tier,
            metadata,
            stream: false,
            guarding,
            config,
        };
        let (body, headers) = match resolved.model.task() {
            Task::Chat => self.invoke_chat(context, resolved, &body, asked).await?,
            Task::Embedding => self.invoke_embedding(context, &resolved, &body, asked).await?,
            Task::Rerank => self.invoke_rerank(context, &resolved, &body, asked).await?,
            Task::Image => return Err(images_not_served()),
            Task::Names => return Err(ApiError::validation("The model can't be invoked.")),
        };
        let output = api::InvokeModelResponse {
            body: Blob(body),
            content_type: JSON.to_owned(),
            performance_config_latency: input.performance_config_latency,
            service_tier: input.service_tier,
        };
        Ok(WithHeaders { output, headers })
    }

    pub async fn invoke_model_with_response_stream(
        &self,
        context: &RequestContext,
        input: api::InvokeModelWithResponseStreamRequest,
    ) -> Result<WithHeaders<api::InvokeModelWithResponseStreamResponse>, ApiError> {
        let trace = level(input.trace);
        let guarding = Guarding::asked(input.guardrail_identifier, input.guardrail_version, trace)?;
        check_types(input.content_type.as_deref(), input.accept.as_deref())?;
        let metadata = metadata(input.request_metadata.as_deref())?;
        let (config, body) = BodyConfig::take(input.body.unwrap_or_default().0)?;
        let resolved = self.resolve(context, ModelChoice::Id(input.model_id)).await?;
        if resolved.model.task() != Task::Chat {
            return Err(ApiError::validation("The model is unsupported for streaming."));
        }
        let operation = "InvokeModelWithResponseStream";
        let tier = input.service_tier;
        let asked = Asked { operation, tier, metadata, stream: true, guarding, config };
        let (codec, decoded, call, guarding) = self.decode(resolved, &body, asked)?;
        let chat = self.chat_guarded(context, call, guarding).await?;
        let headers = headers::served_by(chat.resolved());
        let output = api::InvokeModelWithResponseStreamResponse {
            body: Box::pin(Chunks::new(chat, codec.stream(&decoded))),
            content_type: JSON.to_owned(),
            performance_config_latency: input.performance_config_latency,
            service_tier: input.service_tier,
        };
        Ok(WithHeaders { output, headers })
    }

    async fn invoke_chat(
        &self,
        context: &RequestContext,
        resolved: Resolved,
        body: &[u8],
        asked: Asked,
    ) -> Result<(Bytes, Headers), ApiError> {
        let (codec, decoded, call, guarding) = self.decode(resolved, body, asked)?;
        let mut chat = self.chat_guarded(context, call, guarding).await?;
        let answer = chat.collect().await?;
        let mut body = codec.encode(&decoded, &answer)?;
        if let Some(guards) = chat.guards() {
            body = with_fields(body, guards.body_fields())?;
        }
        let usage = &answer.finished.usage;
        let tokens = (u64::from(usage.input_tokens), Some(u64::from(usage.output_tokens)));
        Ok((body, headers::invocation(chat.resolved(), tokens, chat.latency_ms())))
    }

    /// The codec of a model, what it needs to write the answer, and the call that its body asks for.
    fn decode(
        &self,
        resolved: Resolved,
        body: &[u8],
        asked: Asked,
    ) -> Result<(&'static dyn ChatCodec, Decoded, ChatCall, Guarding), ApiError> {
        let (codec, mut decoded) = decode_body(&resolved, body)?;
        decoded.model_id.clone_from(&resolved.model.id);
        decoded.answer_id = self.ids.short(24);
        decoded.created_unix_s = self.clock.now_ms().div_euclid(1000);
        let mut request = std::mem::take(&mut decoded.request);
        request.stream = asked.stream;
        if let Some(tier) = asked.tier {
            request.priority = priority(tier);
        }
        let guarding = asked.config.apply(asked.guarding, &mut request);
        let model = ModelChoice::Resolved(Box::new(resolved));
        let call = ChatCall { operation: asked.operation, model, request, metadata: asked.metadata };
        Ok((codec, decoded, call, guarding))
    }
}

/// Reads a body in the format of its model's family.
pub(crate) fn decode_body(
    resolved: &Resolved,
    body: &[u8],
) -> Result<(&'static dyn ChatCodec, Decoded), ApiError> {
    let codec = codec::chat_codec(resolved.model.family).ok_or_else(|| {
        ApiError::validation(format!(
            "The model {} has no text body that this server reads.",
            resolved.model.id
        ))
    })?;
    let decoded = codec.decode(body);
    if decoded.is_err() && resolved.model.family == Family::AnthropicMessages && is_text_completion(body) {
        let id = &resolved.model.id;
        let name =
            id.strip_prefix("anthropic.").and_then(|it| it.rsplit_once("-v")).map_or(id.as_str(), |it| it.0);
        return Err(ApiError::validation(format!(
            "\"{name}\" is not supported on this API. Please use the Messages API instead."
        )));
    }
    Ok((codec, decoded?))
}

/// Whether a body is of the API that Claude spoke before Messages.
fn is_text_completion(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    body["prompt"].is_string() && body.get("messages").is_none()
}

/// What a call asks for outside its body.
struct Asked {
    operation: &'static str,
    tier: Option<api::ServiceTierType>,
    metadata: Vec<(String, String)>,
    stream: bool,
    guarding: Guarding,
    config: BodyConfig,
}

/// A guardrail must never be passed over in silence.
fn guardrails_need_text() -> ApiError {
    ApiError::validation(
        "The model that you provided doesn't support guardrails: they judge what goes into text models and comes out of \
         them. Leave the guardrail out, or judge the text with ApplyGuardrail first.",
    )
}

fn images_not_served() -> ApiError {
    ApiError::validation("This server does not serve image models yet.")
}

fn level(trace: Option<api::Trace>) -> TraceLevel {
    match trace {
        Some(api::Trace::Enabled) => TraceLevel::Enabled,
        Some(api::Trace::EnabledFull) => TraceLevel::Full,
        Some(api::Trace::Disabled) | None => TraceLevel::Disabled,
    }
}

/// A body with fields of the service's own at its end.
fn with_fields(body: Bytes, fields: Vec<(&'static str, serde_json::Value)>) -> Result<Bytes, ApiError> {
    let unwritable = |error: serde_json::Error| ApiError::internal(error.to_string());
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&body).map_err(unwritable)?;
    object.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
    serde_json::to_vec(&object).map(Bytes::from).map_err(unwritable)
}

/// Bodies are JSON both ways.
fn check_types(content_type: Option<&str>, accept: Option<&str>) -> Result<(), ApiError> {
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if let Some(value) = content_type
        && essence(value) != JSON
    {
        return Err(ApiError::validation(format!(
            "The content type {value} is not supported. Send the body as {JSON} and try again."
        )));
    }
    if let Some(value) = accept
        && !value.split(',').any(|range| matches!(essence(range).as_str(), JSON | "application/*" | "*/*"))
    {
        return Err(ApiError::validation(format!(
            "The accept type {value} is not supported. Accept {JSON} and try again."
        )));
    }
    Ok(())
}

/// `X-Amzn-Bedrock-Request-Metadata`: a JSON object of strings, within Converse's limits.
fn metadata(header: Option<&str>) -> Result<Vec<(String, String)>, ApiError> {
    let Some(text) = header.filter(|text| !text.trim().is_empty()) else { return Ok(Vec::new()) };
    let wrong = |reason: &str| ApiError::validation(format!("The request metadata is not valid: {reason}."));
    let pairs: craton_wire::types::Map<String> =
        serde_json::from_str(text).map_err(|_| wrong("it must be a JSON object of strings"))?;
    if pairs.len() > 16 {
        return Err(wrong("it has more than 16 pairs"));
    }
    let is_allowed = |text: &str| {
        text.chars().count() <= 256
            && text
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || it.is_whitespace() || ":_@$#=/+,-.".contains(it))
    };
    match pairs.iter().all(|(key, value)| !key.is_empty() && is_allowed(key) && is_allowed(value)) {
        true => Ok(pairs.into_iter().collect()),
        false => Err(wrong("keys and values have at most 256 letters, digits, spaces and :_@$#=/+,-.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_goes_in_and_out() {
        let ok = |content_type, accept| check_types(content_type, accept).is_ok();
        assert!(ok(None, None) && ok(Some("application/json; charset=utf-8"), Some("*/*")));
        assert!(ok(Some("Application/JSON"), Some("text/html, application/json;q=0.9")));
        assert!(!ok(Some("text/plain"), None) && !ok(None, Some("image/png")));
    }

    #[test]
    fn metadata_is_an_object_of_short_plain_strings() {
        assert_eq!(metadata(None), Ok(Vec::new()));
        assert_eq!(metadata(Some(r#"{"team": "a"}"#)), Ok(vec![("team".to_owned(), "a".to_owned())]));
        let many: String = (0..17).map(|n| format!("\"k{n}\":\"v\",")).collect();
        for bad in [
            "[]",
            "{\"a\": 1}",
            "x",
            "{\"a\": \"<\"}",
            "{\"\": \"a\"}",
            &format!("{{{}}}", many.trim_matches(',')),
        ] {
            assert_eq!(metadata(Some(bad)).unwrap_err().code, "ValidationException", "{bad}");
        }
    }
}
