//! Who sent a request: a Signature Version 4 or an API key. The key is looked up before the body is read, so that a
//! stranger's body is never taken in.

use std::time::Duration;

use bytes::Bytes;
use craton_identity::Authenticated;
use craton_wire::ApiError;
use craton_wire::api_key;
use craton_wire::sigv4::{EMPTY_SHA256, RequestHead, Rules, sha256};
use craton_wire::table::{Protocol, ServiceTable};
use http::header;

use super::{Arrival, Pipeline};
use crate::body::{self, Body, ReadError};
use crate::doors::Dialect;

/// The service that API keys are for, and that unsigned requests are taken to be for.
pub(super) const BEDROCK: &str = "bedrock";

/// Requests that name operations in a header or a form are small: AWS takes no more of them either.
const MAX_CALL_BYTES: usize = 1 << 20;

/// Signing names of services beside Bedrock whose clients may come to the wrong path.
pub(super) const NEIGHBOURS: [&str; 7] = ["aoss", "iam", "lambda", "logs", "monitoring", "s3vectors", "sts"];

/// Hashing more than this would hold up the other requests of a worker thread.
const HASH_INLINE_BYTES: usize = 256 * 1024;

impl Pipeline {
    /// Authenticates and reads the body.
    pub(super) async fn authenticate(
        &self,
        arrival: &mut Arrival,
    ) -> Result<(Authenticated, Bytes), ApiError> {
        let Some(service) = arrival.service else {
            return Err(arrival
                .found
                .as_ref()
                .err()
                .cloned()
                .unwrap_or_else(|| ApiError::unknown_operation("")));
        };
        let body = std::mem::take(&mut arrival.body);
        let parts = &arrival.parts;
        let head = RequestHead::from(parts);
        let limit = self.max_body_bytes(arrival);
        if !arrival.signed
            && service == BEDROCK
            && let Some(token) = api_key::bearer_token(&parts.headers)
        {
            let who = self.services.identity.api_key(token, arrival.received_ms, Some(arrival.peer))?;
            let elsewhere = arrival.found.is_err() && Dialect::of(parts.uri.path()).is_none();
            if elsewhere || arrival.table().is_some_and(|table| !takes_api_keys(table)) {
                return Err(ApiError::access_denied(
                    "API keys are for the operations of Amazon Bedrock and Amazon Bedrock Runtime, and this is none of \
                     them. Sign requests of other services with an access key.",
                ));
            }
            return Ok((who, self.read(body, limit).await?));
        }
        if !arrival.signed && !parts.headers.contains_key(header::AUTHORIZATION) {
            return Err(ApiError::missing_authentication("Missing Authentication Token"));
        }
        // Where there is something like a signature, parsing it says what is wrong with it.
        let pending = self.services.identity.begin(&head, &Rules::of_service(service), Some(arrival.peer))?;
        let body = self.read(body, limit).await?;
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

    fn max_body_bytes(&self, arrival: &Arrival) -> usize {
        match arrival.table().map(|table| table.protocol) {
            Some(Protocol::Json { .. } | Protocol::Query { .. }) => {
                MAX_CALL_BYTES.min(self.limits.max_body_bytes)
            }
            _ => self.limits.max_body_bytes,
        }
    }

    /// The request's whole body, within the limits of size and time.
    async fn read(&self, body: Body, limit: usize) -> Result<Bytes, ApiError> {
        let patience = Duration::from_millis(self.limits.body_timeout_ms);
        let read = tokio::time::timeout(patience, body::read(body, limit)).await;
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

/// Which services' operations AWS takes Bedrock's API keys for: not those of agents, flows and knowledge bases.
fn takes_api_keys(table: &ServiceTable) -> bool {
    matches!(table.name, "bedrock" | "bedrock-runtime")
}

/// What a request is told that is signed for another service than the one whose operation it names.
pub(super) fn wrong_scope(service: &str) -> ApiError {
    ApiError::invalid_signature(format!("Credential should be scoped to correct service: '{service}'. "))
}

pub(super) fn unknown_service(service: &str) -> ApiError {
    let service: String = service.chars().filter(char::is_ascii_graphic).take(40).collect();
    ApiError::unknown_operation(format!("The service {service} is not served here."))
}
