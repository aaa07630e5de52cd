//! `/anthropic/v1/*`: Messages, token counts, and the list of models.

use craton_backend::ChatEvent;
use craton_inference::codec::anthropic::{self, count_answer, error_event, event_name};
use craton_inference::codec::{ChatCodec as _, StreamEncoder};
use craton_models::{FoundationModel, Task};
use craton_wire::ApiError;
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::sse::Dialogue;
use super::{Call, Operation, authorize, converse, json_response, resolve};
use crate::body::Body;
use crate::services::Services;

const VERSION: &str = "anthropic-version";
/// Versions are dates, of which clients send newer ones as time goes on; there was none before this.
const FIRST_VERSION: &str = "2023-01-01";

/// `POST messages`
pub(super) async fn create_message(services: &Services, call: Call) -> Result<Response<Body>, ApiError> {
    converse(services, call, Operation::CreateMessage, &anthropic::DIRECT, StreamedMessage).await
}

struct StreamedMessage(Box<dyn StreamEncoder>);

impl Dialogue for StreamedMessage {
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError> {
        self.0.push(event)
    }

    fn fail(&mut self, error: &ApiError) -> Value {
        error_event(error)
    }

    fn name(event: &Value) -> Option<&str> {
        Some(event_name(event))
    }

    const END: Option<&'static str> = None;
}

/// `POST messages/count_tokens`
pub(super) async fn count_message_tokens(
    services: &Services,
    call: Call,
) -> Result<Response<Body>, ApiError> {
    let decoded = anthropic::DIRECT_COUNT.decode(&call.body)?;
    authorize(services, &call, "bedrock:CountTokens", &decoded.model_id).await?;
    let model = resolve(services, &call, &decoded.model_id).await?;
    let tokens = services.inference.count_chat_tokens(&call.context, model, decoded.request).await?;
    Ok(json_response(count_answer(tokens).to_string()))
}

/// `GET models`
pub(super) fn list_models(services: &Services) -> Response<Body> {
    let models = services.models.models().list();
    let chat = models.iter().filter(|model| model.task() == Task::Chat);
    let models: Vec<Value> = chat.map(|model| entry(model)).collect();
    let id = |model: Option<&Value>| model.map_or(Value::Null, |model| model["id"].clone());
    let page = json!({
        "data": models, "has_more": false, "first_id": id(models.first()), "last_id": id(models.last()),
    });
    json_response(page.to_string())
}

/// `GET models/{id}`
pub(super) fn retrieve_model(services: &Services, id: &str) -> Result<Response<Body>, ApiError> {
    match services.models.models().list().iter().find(|model| model.id == id) {
        Some(model) => Ok(json_response(entry(model).to_string())),
        None => Err(unknown_model(id)),
    }
}

pub(super) fn unknown_model(id: &str) -> ApiError {
    ApiError::not_found(format!("model: {id}"))
}

/// Refuses calls that name a version of the API that there never was. Calls that name none are answered: programs that talk
/// HTTP by themselves leave it out, and there is one version.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(VERSION) {
        None => Ok(()),
        Some(version) if version.to_str().is_ok_and(is_version) => Ok(()),
        Some(version) => {
            let version = String::from_utf8_lossy(version.as_bytes());
            Err(ApiError::validation(format!("{VERSION}: \"{version}\" is not a valid version.")))
        }
    }
}

fn entry(model: &FoundationModel) -> Value {
    // When a model came to be is not recorded; the API's clients need a date.
    json!({"type": "model", "id": model.id, "display_name": model.name, "created_at": "1970-01-01T00:00:00Z"})
}

fn is_version(text: &str) -> bool {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|it| it.is_ascii_digit());
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2))
        && text >= FIRST_VERSION
}
