//! The one error type handlers return, and how it reaches the client.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use crate::eventstream::Frame;
use crate::table::{Protocol, ServiceTable};
use crate::xml;

pub const X_AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
pub const X_AMZN_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// An error as AWS clients see it: a modelled name, a message, and the modelled fields of that name.
///
/// The HTTP status comes from the service's table, because one name has different statuses in different services.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// The exception's name, such as `ValidationException`.
    pub code: Cow<'static, str>,
    pub message: String,
    /// Modelled members besides `message` (`fieldList`, `originalStatusCode`, `resourceName`…).
    ///
    /// Boxed, since a `Result` is moved at every `?` and few errors have any.
    pub fields: Box<Map<String, Value>>,
    /// Seconds for a `Retry-After` header.
    pub retry_after_s: Option<u64>,
    /// What the message says without the words of a server behind this one, where it has some of those.
    pub plainly: Option<&'static str>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:literal),+ $(,)?) => {
        impl ApiError {$(
            $(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new($code, message)
            }
        )+}
    };
}

constructors! {
    validation => "ValidationException",
    access_denied => "AccessDeniedException",
    not_found => "ResourceNotFoundException",
    conflict => "ConflictException",
    throttling => "ThrottlingException",
    quota_exceeded => "ServiceQuotaExceededException",
    internal => "InternalServerException",
    unavailable => "ServiceUnavailableException",
    model_timeout => "ModelTimeoutException",
    model_error => "ModelErrorException",
    model_stream_error => "ModelStreamErrorException",
    model_not_ready => "ModelNotReadyException",
    /// An operation or service this server does not know.
    unknown_operation => "UnknownOperationException",
    /// A modelled operation that this release does not serve. Says so instead of inventing a success.
    not_served => "UnknownOperationException",
    invalid_signature => "InvalidSignatureException",
    unrecognized_client => "UnrecognizedClientException",
    incomplete_signature => "IncompleteSignatureException",
    missing_authentication => "MissingAuthenticationTokenException",
    expired_token => "ExpiredTokenException",
}

impl ApiError {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        Self { code, message, fields: Box::default(), retry_after_s: None, plainly: None }
    }

    /// The server's disk is full: nothing new can be kept until there is room again.
    pub fn no_space() -> Self {
        Self::unavailable("There is no space left on the server. Try again when there is.")
    }

    #[must_use]
    pub fn with_field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, seconds: Option<u64>) -> Self {
        self.retry_after_s = seconds;
        self
    }

    /// Says that the message quotes a server behind this one, and what it says without.
    #[must_use]
    pub fn quoting(mut self, plainly: &'static str) -> Self {
        self.plainly = Some(plainly);
        self
    }

    /// For whoever did not choose the server that is quoted, and shouldn't learn of it.
    #[must_use]
    pub fn without_quotes(mut self) -> Self {
        if let Some(plainly) = self.plainly.take() {
            plainly.clone_into(&mut self.message);
        }
        self
    }
}

/// Statuses of names that no service's model lists, because the front door answers with them. Sorted by name.
const COMMON_STATUSES: &[(&str, u16)] = &[
    ("AccessDeniedException", 403),
    ("BadGatewayException", 502),
    ("ConflictException", 409),
    ("DependencyFailedException", 424),
    ("ExpiredTokenException", 403),
    ("IncompleteSignatureException", 403),
    ("InternalFailure", 500),
    ("InternalServerException", 500),
    ("InvalidSignatureException", 403),
    ("MissingAuthenticationTokenException", 403),
    ("ModelErrorException", 424),
    ("ModelNotReadyException", 429),
    ("ModelStreamErrorException", 424),
    ("ModelTimeoutException", 408),
    ("RequestEntityTooLargeException", 413),
    ("RequestExpired", 400),
    ("RequestTimeoutException", 408),
    ("ResourceNotFoundException", 404),
    ("SerializationException", 400),
    ("ServiceQuotaExceededException", 400),
    ("ServiceUnavailableException", 503),
    ("ThrottlingException", 429),
    ("UnknownOperationException", 404),
    ("UnrecognizedClientException", 403),
    ("UnsupportedMediaTypeException", 415),
    ("ValidationException", 400),
];

/// What query services call the errors that the front door answers with, and their statuses there. Sorted by name.
const QUERY_NAMES: &[(&str, &str, u16)] = &[
    ("AccessDeniedException", "AccessDenied", 403),
    ("ExpiredTokenException", "ExpiredToken", 403),
    ("IncompleteSignatureException", "IncompleteSignature", 400),
    ("InternalServerException", "InternalFailure", 500),
    ("InvalidSignatureException", "SignatureDoesNotMatch", 403),
    ("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403),
    ("RequestEntityTooLargeException", "RequestEntityTooLarge", 413),
    ("RequestTimeoutException", "RequestTimeout", 408),
    ("SerializationException", "MalformedInput", 400),
    ("ServiceUnavailableException", "ServiceUnavailable", 503),
    ("ThrottlingException", "Throttling", 400),
    ("UnknownOperationException", "InvalidAction", 400),
    ("UnrecognizedClientException", "InvalidClientTokenId", 403),
    ("ValidationException", "ValidationError", 400),
];

/// The name that a query service gives an error of this name, and its status.
fn query_name<'e>(code: &'e str, table: &ServiceTable) -> (&'e str, u16) {
    if let Ok(index) = QUERY_NAMES.binary_search_by(|(name, ..)| (*name).cmp(code)) {
        let (_, name, status) = QUERY_NAMES[index];
        return (name, status);
    }
    (code, status_of(code, Some(table)))
}

/// The status `code` has in `table`, in `COMMON_STATUSES` when the service does not model it, else 400: an unknown
/// name is the caller's fault more often than ours, and clients retry a 500.
fn status_of(code: &str, table: Option<&ServiceTable>) -> u16 {
    let find = |statuses: &[(&str, u16)]| {
        statuses.binary_search_by(|(name, _)| (*name).cmp(code)).ok().map(|index| statuses[index].1)
    };
    table.and_then(|table| find(table.errors)).or_else(|| find(COMMON_STATUSES)).unwrap_or(400)
}

impl ApiError {
    /// The name that a service's clients are told: the query protocol has its own for what all services have in common.
    pub fn name_in(&self, table: Option<&ServiceTable>) -> &str {
        match table {
            Some(table) if matches!(table.protocol, Protocol::Query { .. }) => {
                query_name(&self.code, table).0
            }
            _ => &self.code,
        }
    }

    /// The HTTP status this error has in a service; `None` when the request reached no service.
    pub fn status(&self, table: Option<&ServiceTable>) -> StatusCode {
        let status = match table {
            Some(table) if matches!(table.protocol, Protocol::Query { .. }) => {
                query_name(&self.code, table).1
            }
            table => status_of(&self.code, table),
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// `{"message": …}` and the modelled fields, as rest-json clients read it.
    pub fn json_body(&self) -> Bytes {
        let mut body = Map::with_capacity(1 + self.fields.len());
        body.insert("message".to_owned(), Value::String(self.message.clone()));
        for (name, value) in self.fields.iter() {
            body.insert(name.clone(), value.clone());
        }
        // A map of strings to JSON values always serializes.
        Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
    }

    /// The whole answer, in the service's protocol; rest-json when the request reached no service.
    pub fn render(&self, table: Option<&ServiceTable>, request_id: &str) -> Response<Bytes> {
        let (content_type, body) = match table.map(|table| (table, table.protocol)) {
            Some((table, Protocol::Query { xmlns, .. })) => {
                let (code, status) = query_name(&self.code, table);
                let body = xml::error(xmlns, status < 500, (code, &self.message), request_id);
                ("text/xml", Bytes::from(body))
            }
            Some((_, Protocol::Json { version: "1.1", .. })) => {
                ("application/x-amz-json-1.1", self.typed_json_body())
            }
            Some((_, Protocol::Json { .. })) => ("application/x-amz-json-1.0", self.typed_json_body()),
            Some((_, Protocol::RestJson)) | None => ("application/json", self.json_body()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status(table);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Ok(code) = HeaderValue::from_str(&self.code)
            && content_type != "text/xml"
        {
            headers.insert(X_AMZN_ERROR_TYPE, code);
        }
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert(X_AMZN_REQUEST_ID, id);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// [`Self::json_body`] with the name in `__type`, as clients of X-Amz-Target services read it.
    fn typed_json_body(&self) -> Bytes {
        let mut body = Map::with_capacity(2 + self.fields.len());
        body.insert("__type".to_owned(), Value::String(self.code.to_string()));
        body.insert("message".to_owned(), Value::String(self.message.clone()));
        body.extend(self.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
        Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
    }

    /// The frame that reports this error inside an event stream, and ends it.
    pub fn to_frame(&self) -> Frame {
        Frame::exception(lower_camel(&self.code), self.json_body())
    }
}

/// An exception's member name in a stream's union: `ThrottlingException` is `throttlingException` there.
fn lower_camel(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: ServiceTable = ServiceTable {
        name: "bedrock-agent",
        signing_name: "bedrock",
        protocol: Protocol::RestJson,
        operations: &[],
        shapes: &[],
        errors: &[("ConflictException", 409), ("ServiceQuotaExceededException", 402)],
    };

    #[test]
    fn common_statuses_are_sorted_for_the_binary_search() {
        assert!(QUERY_NAMES.is_sorted_by_key(|(name, ..)| *name));
        assert!(COMMON_STATUSES.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn the_service_decides_the_status_then_the_common_list() {
        let quota = ApiError::quota_exceeded("no");
        assert_eq!(quota.status(Some(&AGENT)), 402);
        assert_eq!(quota.status(None), 400);
        assert_eq!(ApiError::access_denied("no").status(Some(&AGENT)), 403);
        assert_eq!(ApiError::new("SomethingNew", "x").status(Some(&AGENT)), 400);
    }

    #[test]
    fn renders_name_message_fields_and_retry_after() {
        let error = ApiError::throttling("slow down").with_field("a", 1).with_retry_after(Some(7));
        let response = error.render(None, "id-1");
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["x-amzn-errortype"], "ThrottlingException");
        assert_eq!(response.headers()["x-amzn-requestid"], "id-1");
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(response.body(), r#"{"message":"slow down","a":1}"#);
    }

    #[test]
    fn query_and_json_services_have_forms_of_their_own() {
        let table = |protocol| ServiceTable { protocol, errors: &[("NoSuchEntity", 404)], ..AGENT };
        let iam = table(Protocol::Query { api_version: "1", xmlns: "https://n/" });
        let response = ApiError::new("NoSuchEntity", "no <user>").render(Some(&iam), "r");
        assert_eq!(response.status(), 404);
        assert_eq!(
            response.body(),
            "<ErrorResponse xmlns=\"https://n/\"><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>no \
             &lt;user&gt;</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        );
        let response = ApiError::unrecognized_client("who").render(Some(&iam), "r");
        assert_eq!(response.status(), 403);
        assert!(String::from_utf8_lossy(response.body()).contains("<Code>InvalidClientTokenId</Code>"));
        let aoss = table(Protocol::Json { target_prefix: "O", version: "1.0" });
        let response = ApiError::conflict("taken").render(Some(&aoss), "r");
        assert_eq!(response.body(), r#"{"__type":"ConflictException","message":"taken"}"#);
        assert_eq!(response.headers()["content-type"], "application/x-amz-json-1.0");
    }

    #[test]
    fn an_exception_frame_names_the_member() {
        let frame = ApiError::model_stream_error("broke").with_field("originalStatusCode", 500).to_frame();
        assert_eq!(frame.header(":exception-type"), Some("modelStreamErrorException"));
        assert_eq!(frame.message_type(), Some("exception"));
        assert_eq!(frame.failure(), Some(("modelStreamErrorException".into(), "broke".into())));
    }
}
