//! A collection's endpoint: OpenSearch's own API under `/aoss/{collection}`, signed for `aoss`.

use craton_aoss::rest::RestRequest;
use craton_core::Arn;
use craton_wire::ApiError;
use http::{Method, Response, StatusCode};
use serde_json::{Map, json};

use super::{Call, json_response};
use crate::access::{self, Question};
use crate::body::Body;
use crate::services::Services;

/// Answers one call; the caller needs `aoss:APIAccessAll` on the collection.
pub(super) async fn call(services: &Services, call: Call) -> Result<Response<Body>, ApiError> {
    let path = call.parts.uri.path().trim_start_matches("/aoss/");
    let (collection, path) = path.split_once('/').unwrap_or((path, ""));
    let context = &call.context;
    let arn = Arn::new("aoss", &context.region, &context.account.id, format!("collection/{collection}"));
    let question = Question::on("aoss:APIAccessAll", Some(arn));
    access::ask(services, call.asker(&Map::new()), &[question]).await?;
    let request = RestRequest {
        method: call.parts.method.as_str().to_owned(),
        path: path.to_owned(),
        query: call.parts.uri.query().map(str::to_owned),
        body: call.body.clone(),
    };
    let reply = services.collections.rest(context, collection, request).await;
    let text = if call.parts.method == Method::HEAD { String::new() } else { reply.body.to_string() };
    let mut response = json_response(text);
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(response)
}

/// An error of the way to the endpoint, in OpenSearch's form.
pub(super) fn refuse(error: &ApiError) -> Response<Body> {
    let status = error.status(None);
    let cause = json!({"type": "security_exception", "reason": error.message});
    let body = json!({
        "error": {"root_cause": [cause], "type": "security_exception", "reason": error.message},
        "status": status.as_u16(),
    });
    let mut response = json_response(body.to_string());
    *response.status_mut() = status;
    response
}
