//! `/openai/v1/*` and `/v1/*`: Chat Completions, Responses, and the list of models.

use craton_backend::ChatEvent;
use craton_inference::codec::StreamEncoder;
use craton_inference::codec::openai_chat::{self, error_object};
use craton_inference::codec::openai_responses::{ResponsesCall, ResponsesStream};
use craton_inference::{BodyConfig, ChatCall, ModelChoice};
use craton_models::FoundationModel;
use craton_wire::ApiError;
use http::Response;
use serde_json::{Value, json};

use super::sse::{self, Dialogue};
use super::{Call, Operation, converse, json_response, served_by, start, with_served_by};
use crate::body::Body;
use crate::services::Services;

/// `POST chat/completions`
pub(super) async fn create_chat_completion(
    services: &Services,
    call: Call,
) -> Result<Response<Body>, ApiError> {
    converse(services, call, Operation::CreateChatCompletion, &openai_chat::DIRECT, Completion).await
}

/// A streamed chat completion.
struct Completion(Box<dyn StreamEncoder>);

impl Dialogue for Completion {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        self.0.push(event)
    }

    fn fail(&mut self, error: &ApiError) -> Value {
        error_object(error)
    }

    fn name(_event: &Value) -> Option<&str> {
        None
    }

    const END: Option<&'static str> = Some("[DONE]");
}

/// `POST responses`
pub(super) async fn create_response(services: &Services, call: Call) -> Result<Response<Body>, ApiError> {
    let (config, body) = BodyConfig::take(call.body.clone())?;
    let mut decoded = ResponsesCall::decode(&body)?;
    decoded.request.stream = decoded.stream;
    let asked = ChatCall {
        operation: Operation::CreateResponse.name(),
        model: ModelChoice::Id(decoded.model_id.clone()),
        request: decoded.request.clone(),
        metadata: decoded.metadata.clone(),
    };
    let mut chat = start(services, &call, &decoded.model_id, asked, &config).await?;
    let served = served_by(chat.resolved());
    let response = if decoded.stream {
        sse::response(chat, StreamedResponse(decoded.stream()), call.shutdown)
    } else {
        let answer = chat.collect().await?;
        json_response(decoded.encode(&answer).to_string())
    };
    Ok(with_served_by(response, served))
}

struct StreamedResponse(ResponsesStream);

impl Dialogue for StreamedResponse {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        Ok(self.0.push(event))
    }

    fn fail(&mut self, error: &ApiError) -> Value {
        self.0.fail(error)
    }

    fn name(event: &Value) -> Option<&str> {
        event["type"].as_str()
    }

    const END: Option<&'static str> = None;
}

/// `GET models`
pub(super) fn list_models(services: &Services) -> Response<Body> {
    let models: Vec<Value> = services.models.models().list().iter().map(|model| entry(model)).collect();
    json_response(json!({"object": "list", "data": models}).to_string())
}

/// `GET models/{id}`
pub(super) fn retrieve_model(services: &Services, id: &str) -> Result<Response<Body>, ApiError> {
    match services.models.models().list().iter().find(|model| model.id == id) {
        Some(model) => Ok(json_response(entry(model).to_string())),
        None => Err(unknown_model(id)),
    }
}

pub(super) fn unknown_model(id: &str) -> ApiError {
    ApiError::not_found(format!("The model '{id}' does not exist")).with_field("param", "model")
}

fn entry(model: &FoundationModel) -> Value {
    // When a model came to be is not recorded.
    json!({"id": model.id, "object": "model", "created": 0, "owned_by": model.provider})
}
