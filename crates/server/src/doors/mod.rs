//! Front doors for clients that speak another API than AWS's: OpenAI's, Anthropic's, or on a collection's endpoint
//! OpenSearch's.
//!
//! The pipeline authenticates, reads the body and hands over; a door decodes it, calls the same `Inference::chat` as
//! every other route, and answers in its own dialect, errors included. What IAM calls the calls is what it calls
//! InvokeModel: a policy that allows a model allows it through every door.

mod anthropic;
mod collections;
mod openai;
mod sse;

use std::sync::Arc;

use bytes::Bytes;
use craton_core::RequestContext;
use craton_inference::codec::{ChatCodec, StreamEncoder, anthropic as anthropic_codec, openai_chat};
use craton_inference::{ActiveChat, BodyConfig, ChatCall, Guarding, ModelChoice, TraceLevel};
use craton_models::Resolved;
use craton_wire::ApiError;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value};

use crate::access::{self, Asker, Question};
use crate::audit::Trail;
use crate::body::Body;
use crate::services::Services;
use crate::transport::Shutdown;

const SERVED_BY: HeaderName = HeaderName::from_static("x-craton-served-by");

/// Which API a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/openai/v1/…` and `/v1/…`
    OpenAi,
    /// `/anthropic/v1/…`
    Anthropic,
    /// `/aoss/{collection}/…`: OpenSearch's own API on a collection's endpoint.
    OpenSearch,
}

/// An authenticated request with its body read.
pub(crate) struct Call {
    pub(crate) context: RequestContext,
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
    /// A stream that outlives the server's grace period ends with an error event when [`Shutdown::into_ending`] resolves.
    pub(crate) shutdown: Shutdown,
    pub(crate) trail: Arc<Trail>,
}

/// What a request of a door asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    CallCollection,
    CreateChatCompletion,
    CreateResponse,
    CreateMessage,
    CountMessageTokens,
    ListModels,
    RetrieveModel,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::CallCollection => "CallCollection",
            Self::CreateChatCompletion => "CreateChatCompletion",
            Self::CreateResponse => "CreateResponse",
            Self::CreateMessage => "CreateMessage",
            Self::CountMessageTokens => "CountMessageTokens",
            Self::ListModels => "ListModels",
            Self::RetrieveModel => "RetrieveModel",
        }
    }
}

impl Dialect {
    /// The dialect of a raw request path; `None` for everything else.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path.starts_with("/openai/v1/") || path.starts_with("/v1/") {
            Some(Self::OpenAi)
        } else if path.starts_with("/anthropic/v1/") {
            Some(Self::Anthropic)
        } else if path.starts_with("/aoss/") {
            Some(Self::OpenSearch)
        } else {
            None
        }
    }

    /// The signing name that a credential's scope must have.
    pub(crate) fn service(self) -> &'static str {
        if self == Self::OpenSearch { "aoss" } else { "bedrock" }
    }

    /// What is below the API's root: `chat/completions`.
    fn tail(path: &str) -> &str {
        path.split_once("/v1/").map_or("", |(_, tail)| tail)
    }

    fn find(self, method: &Method, path: &str) -> Option<Operation> {
        let get = method == Method::GET;
        Some(match (self, Self::tail(path)) {
            (Self::OpenSearch, _) => Operation::CallCollection,
            (Self::OpenAi, "chat/completions") if method == Method::POST => Operation::CreateChatCompletion,
            (Self::OpenAi, "responses") if method == Method::POST => Operation::CreateResponse,
            (Self::Anthropic, "messages") if method == Method::POST => Operation::CreateMessage,
            (Self::Anthropic, "messages/count_tokens") if method == Method::POST => {
                Operation::CountMessageTokens
            }
            (_, "models") if get => Operation::ListModels,
            (_, tail) if get && model_of(tail).is_some() => Operation::RetrieveModel,
            _ => return None,
        })
    }

    /// The name that metrics count the request under.
    pub(crate) fn operation(self, parts: &Parts) -> &'static str {
        match (self.find(&parts.method, parts.uri.path()), self) {
            (Some(operation), _) => operation.name(),
            (None, Self::OpenAi) => "OpenAi",
            (None, Self::Anthropic) => "Anthropic",
            (None, Self::OpenSearch) => "OpenSearch",
        }
    }

    /// The answer, or what the pipeline refuses the call with.
    pub(crate) async fn answer(self, services: &Services, call: Call) -> Result<Response<Body>, ApiError> {
        let (method, path) = (&call.parts.method, call.parts.uri.path());
        let Some(operation) = self.find(method, path) else {
            return Err(ApiError::unknown_operation(format!("There is no {method} {path} here.")));
        };
        let anthropic = self == Self::Anthropic;
        if anthropic {
            anthropic::check_version(&call.parts.headers)?;
        }
        match operation {
            Operation::CallCollection => collections::call(services, call).await,
            Operation::CreateChatCompletion => openai::create_chat_completion(services, call).await,
            Operation::CreateResponse => openai::create_response(services, call).await,
            Operation::CreateMessage => anthropic::create_message(services, call).await,
            Operation::CountMessageTokens => anthropic::count_message_tokens(services, call).await,
            Operation::ListModels => {
                let question = Question::on("bedrock:ListFoundationModels", None);
                access::ask(services, call.asker(&Map::new()), &[question]).await?;
                Ok(if anthropic { anthropic::list_models(services) } else { openai::list_models(services) })
            }
            Operation::RetrieveModel => {
                let id = model_of(Self::tail(path)).unwrap_or_default();
                authorize(services, &call, "bedrock:GetFoundationModel", id).await?;
                if anthropic {
                    anthropic::retrieve_model(services, id)
                } else {
                    openai::retrieve_model(services, id)
                }
            }
        }
    }

    /// Why nobody knows who sent a request. AWS denies access to bad API keys too; clients of these dialects tell a key
    /// that is none (401) from one that may not (403).
    pub(crate) fn unidentified(self, mut error: ApiError) -> ApiError {
        if self != Self::OpenSearch && error.code == "AccessDeniedException" {
            error.code = "UnrecognizedClientException".into();
        }
        error
    }

    /// An error in the dialect's own shape.
    pub(crate) fn refuse(self, error: &ApiError, request_id: &str) -> Response<Body> {
        let (status, mut body) = match self {
            Self::OpenAi => openai_chat::error_body(error),
            Self::Anthropic => anthropic_codec::error_body(error),
            Self::OpenSearch => return collections::refuse(error),
        };
        if self == Self::Anthropic {
            body["request_id"] = request_id.into();
        }
        let mut status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Errors that arise before a body is read are none of a codec's.
        if matches!(error.code.as_ref(), "RequestEntityTooLargeException" | "RequestTimeoutException") {
            status = error.status(None);
            let too_large = self == Self::Anthropic && status == StatusCode::PAYLOAD_TOO_LARGE;
            body["error"]["type"] =
                if too_large { "request_too_large" } else { "invalid_request_error" }.into();
        }
        let mut response = json_response(body.to_string());
        *response.status_mut() = status;
        if let Some(seconds) = error.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Answers a call in the dialect of `codec`; streams through the dialogue that `dialogue` makes of the codec's encoder.
async fn converse<D: sse::Dialogue>(
    services: &Services,
    call: Call,
    operation: Operation,
    codec: &dyn ChatCodec,
    dialogue: impl FnOnce(Box<dyn StreamEncoder>) -> D,
) -> Result<Response<Body>, ApiError> {
    let (config, body) = BodyConfig::take(call.body.clone())?;
    let mut decoded = codec.decode(&body)?;
    decoded.request.stream = decoded.stream;
    // Of the request only its priority is wanted again, in the answer; the conversation may be long.
    let priority = decoded.request.priority;
    let request = std::mem::take(&mut decoded.request);
    decoded.request.priority = priority;
    let asked = ChatCall {
        operation: operation.name(),
        model: ModelChoice::Id(decoded.model_id.clone()),
        request,
        metadata: Vec::new(),
    };
    let mut chat = start(services, &call, &decoded.model_id, asked, &config).await?;
    let served = served_by(chat.resolved());
    let response = if decoded.stream {
        sse::response(chat, dialogue(codec.stream(&decoded)), call.shutdown)
    } else {
        let answer = chat.collect().await?;
        json_response(codec.encode(&decoded, &answer)?)
    };
    Ok(with_served_by(response, served))
}

/// The guardrail that a request's headers name, as AWS's OpenAI-compatible routes take it.
fn guarding(headers: &HeaderMap) -> Result<Guarding, ApiError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let version = header(access::GUARDRAIL_VERSION);
    Guarding::asked(header(access::GUARDRAIL_IDENTIFIER), version, TraceLevel::Disabled)
}

/// The id in `models/{id}`.
fn model_of(tail: &str) -> Option<&str> {
    tail.strip_prefix("models/").filter(|id| !id.is_empty() && !id.contains('/'))
}

impl Call {
    fn asker<'a>(&'a self, document: &'a Map<String, Value>) -> Asker<'a> {
        Asker { context: &self.context, headers: &self.parts.headers, document, trail: &self.trail }
    }
}

/// Whether the caller may do this with this model.
async fn authorize(services: &Services, call: &Call, action: &str, model_id: &str) -> Result<(), ApiError> {
    access::ask_model(services, call.asker(&Map::new()), (action, model_id)).await
}

/// Lets a model speak to a caller who may make it, through the guardrail that the headers name.
async fn start(
    services: &Services,
    call: &Call,
    model_id: &str,
    mut chat: ChatCall,
    config: &BodyConfig,
) -> Result<ActiveChat, ApiError> {
    let stream = chat.request.stream;
    let action = if stream { "bedrock:InvokeModelWithResponseStream" } else { "bedrock:InvokeModel" };
    authorize(services, call, action, model_id).await?;
    chat.model = resolve(services, call, model_id).await?;
    let guarding = config.apply(guarding(&call.parts.headers)?, &mut chat.request);
    services.inference.chat_guarded(&call.context, chat, guarding).await
}

/// What a model's name stands for. A name of nothing is an error of the dialect's own.
async fn resolve(services: &Services, call: &Call, model_id: &str) -> Result<ModelChoice, ApiError> {
    if model_id.starts_with("arn:") {
        return Ok(ModelChoice::Id(model_id.to_owned()));
    }
    match services.models.models().resolve(&call.context, model_id).await {
        Ok(resolved) => Ok(ModelChoice::Resolved(Box::new(resolved))),
        Err(error) if error.code == "ValidationException" => Err(match Dialect::of(call.parts.uri.path()) {
            Some(Dialect::Anthropic) => anthropic::unknown_model(model_id),
            _ => openai::unknown_model(model_id),
        }),
        Err(error) => Err(error),
    }
}

fn json_response(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The header that says what answered; None where its name has characters that no header can carry.
fn served_by(resolved: &Resolved) -> Option<HeaderValue> {
    HeaderValue::from_str(&resolved.served_by).ok()
}

fn with_served_by(mut response: Response<Body>, served_by: Option<HeaderValue>) -> Response<Body> {
    if let Some(served_by) = served_by {
        response.headers_mut().insert(SERVED_BY, served_by);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_exactly() {
        let find =
            |method: Method, path: &str| Dialect::of(path).and_then(|dialect| dialect.find(&method, path));
        assert_eq!(find(Method::POST, "/v1/chat/completions"), Some(Operation::CreateChatCompletion));
        assert_eq!(find(Method::POST, "/openai/v1/responses"), Some(Operation::CreateResponse));
        assert_eq!(find(Method::POST, "/anthropic/v1/messages"), Some(Operation::CreateMessage));
        assert_eq!(
            find(Method::POST, "/anthropic/v1/messages/count_tokens"),
            Some(Operation::CountMessageTokens)
        );
        assert_eq!(find(Method::GET, "/v1/models"), Some(Operation::ListModels));
        assert_eq!(find(Method::GET, "/anthropic/v1/models/a.b-c:0"), Some(Operation::RetrieveModel));
        for path in [
            "/v1/messages",
            "/anthropic/v1/chat/completions",
            "/v1/responses/",
            "/v1/models/",
            "/v1/models/a/b",
        ] {
            assert_eq!(find(Method::POST, path).or(find(Method::GET, path)), None, "{path}");
        }
        assert_eq!(find(Method::GET, "/v1/responses"), None);
    }

    #[test]
    fn a_body_too_large_is_said_in_both_dialects() {
        let error = ApiError::new("RequestEntityTooLargeException", "too large");
        assert_eq!(Dialect::OpenAi.refuse(&error, "r").status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(Dialect::Anthropic.refuse(&error, "r").status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
