//! Who sent a request: a Signature Version 4 or an API key. The key is looked up before the body is read, so that a
//! stranger's body is never taken in.

use std::time::Duration;

use bytes::Bytes;
use craton_identity::Authenticated;
use craton_wire::ApiError;
use craton_wire::api_key;
use craton_wire::sigv4::{EMPTY_SHA256, RequestHead, Rules, scope_service, sha256};
use http::header;

use super::{Arrival, Pipeline};
use crate::body::{self, Body, ReadError};

/// The one signing name that the services here have.
const SERVICE: &str = "bedrock";

/// Signing names of services beside Bedrock whose clients may come to the wrong path.
const NEIGHBOURS: [&str; 7] = ["aoss", "iam", "lambda", "logs", "monitoring", "s3vectors", "sts"];

/// Hashing more than this would hold up the other requests of a worker thread.
const HASH_INLINE_BYTES: usize = 256 * 1024;

impl Pipeline {
    /// Authenticates and reads the body.
    pub(super) async fn authenticate(
        &self,
        arrival: &mut Arrival,
    ) -> Result<(Authenticated, Bytes), ApiError> {
        let body = std::mem::take(&mut arrival.body);
        let parts = &arrival.parts;
        let head = RequestHead::from(parts);
        let service = scope_service(&head);
        if service.is_none()
            && let Some(token) = api_key::bearer_token(&parts.headers)
        {
            let who = self.services.identity.api_key(token, arrival.received_ms)?;
            return Ok((who, self.read(body).await?));
        }
        match service.as_deref() {
            Some(SERVICE) => {}
            Some(other) => return Err(wrong_scope(other, arrival.found.is_ok())),
            None if !parts.headers.contains_key(header::AUTHORIZATION) => {
                return Err(ApiError::missing_authentication("Missing Authentication Token"));
            }
            // Something like a signature: parsing it says what is wrong with it.
            None => {}
        }
        let pending = self.services.identity.begin(&head, &Rules::of_service(SERVICE))?;
        let body = self.read(body).await?;
        let digest = match body.len() {
            _ if pending.ignores_body() => EMPTY_SHA256,
            0..=HASH_INLINE_BYTES => sha256(&body),
            _ => {
                let body = body.clone();
                let hashing = tokio::task::spawn_blocking(move || sha256(&body)).await;
                hashing.map_err(|error| ApiError::internal(error.to_string()))?
            }
        };
        Ok((pending.finish(&digest, arrival.received_ms)?, body))
    }

    /// The request's whole body, within the limits of size and time.
    async fn read(&self, body: Body) -> Result<Bytes, ApiError> {
        let patience = Duration::from_millis(self.limits.body_timeout_ms);
        let read = tokio::time::timeout(patience, body::read(body, self.limits.max_body_bytes)).await;
        let error = match read {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(error)) => error,
            Err(_) => ReadError::Timeout(patience),
        };
        let code = match &error {
            ReadError::TooLarge { .. } => "RequestEntityTooLargeException",
            ReadError::Timeout(_) => "RequestTimeoutException",
            ReadError::Broken(_) => "ValidationException",
        };
        Err(ApiError::new(code, error.to_string()))
    }
}

/// What a request signed for another service is told: that its signature does not belong where it asks for one of
/// Bedrock's operations, else that there is no such service.
fn wrong_scope(service: &str, asks_bedrock: bool) -> ApiError {
    if asks_bedrock && NEIGHBOURS.contains(&service) {
        return ApiError::invalid_signature(format!(
            "Credential should be scoped to correct service: '{SERVICE}'. "
        ));
    }
    let service: String = service.chars().filter(char::is_ascii_graphic).take(40).collect();
    ApiError::unknown_operation(format!("The service {service} is not served here."))
}
