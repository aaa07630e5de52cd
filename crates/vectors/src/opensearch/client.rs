//! Requests to an OpenSearch.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use craton_core::{Clock as _, SystemClock};
use craton_outbound::{CredentialSource, Pool};
use craton_wire::sigv4::{PathEncoding, Secret, Signer, sha256, sign_s3_request};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde_json::Value;

use crate::{OpenSearchAccess, OpenSearchIndex, VectorError};

/// Longest answer: ten thousand chunks with their vectors.
const MAX_ANSWER_BYTES: usize = 512 << 20;
/// Longest wait for a whole answer.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Client {
    pool: Pool<Full<Bytes>>,
    url: String,
    access: Access,
}

enum Access {
    Open,
    Basic(HeaderValue),
    Signed { service: String, region: String, source: CredentialSource },
}

impl Access {
    fn of(given: &OpenSearchAccess) -> Result<Self, VectorError> {
        Ok(match given {
            OpenSearchAccess::Open => Self::Open,
            OpenSearchAccess::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{password}"));
                let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(unavailable)?;
                value.set_sensitive(true);
                Self::Basic(value)
            }
            OpenSearchAccess::Signed { service, region, credentials } => Self::Signed {
                service: service.clone(),
                region: region.clone(),
                source: CredentialSource::new(credentials.clone()),
            },
        })
    }

    fn authorize(&self, parts: &mut Parts, body: &[u8]) -> Result<(), VectorError> {
        match self {
            Self::Open => {}
            Self::Basic(value) => drop(parts.headers.insert(AUTHORIZATION, value.clone())),
            Self::Signed { service, region, source } => {
                // Nothing changes by trying again, but for who looks after the configuration.
                let keys = source.get().map_err(|error| VectorError::Refused(error.to_string()))?;
                let signer = Signer {
                    access_key_id: &keys.access_key_id,
                    secret: &keys.secret,
                    session_token: keys.session_token.as_ref().map(Secret::expose),
                    region,
                    service,
                    path: PathEncoding::Double,
                };
                // Collections, as S3, want the body's hash among the headers.
                sign_s3_request(parts, Some(&sha256(body)), &signer, SystemClock.now_ms())
                    .map_err(unavailable)?;
            }
        }
        Ok(())
    }
}

impl Client {
    pub(super) fn new(of: &OpenSearchIndex) -> Result<Self, VectorError> {
        let pool = craton_outbound::pool().map_err(|error| VectorError::Internal(error.to_string()))?;
        let url = of.url.trim_end_matches('/').to_owned();
        Ok(Self { pool, url, access: Access::of(&of.access)? })
    }

    fn request(&self, method: Method, path: &str, body: String) -> Result<Request<Full<Bytes>>, VectorError> {
        let mut request = Request::builder().method(method).uri(format!("{}/{path}", self.url));
        if !body.is_empty() {
            let kind = if path.contains("_bulk") { "application/x-ndjson" } else { "application/json" };
            request = request.header(CONTENT_TYPE, kind);
        }
        let (mut parts, ()) = request.body(()).map_err(unavailable)?.into_parts();
        self.access.authorize(&mut parts, body.as_bytes())?;
        Ok(Request::from_parts(parts, Full::new(Bytes::from(body))))
    }

    /// Sends lines or one document of JSON; the answer whatever its status.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<(StatusCode, Value), VectorError> {
        let request = self.request(method, path, body)?;
        let asking = async {
            let answer = self.pool.request(request).await.map_err(unavailable)?;
            let (head, body) = answer.into_parts();
            let read = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(unavailable)?;
            Ok::<_, VectorError>((head.status, read.to_bytes()))
        };
        let (status, bytes) = tokio::time::timeout(PATIENCE, asking)
            .await
            .map_err(|_| VectorError::Unavailable("OpenSearch gave no answer in time".into()))??;
        let answer = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).map_err(|_| {
                VectorError::Unavailable(format!("the answer ({status}) is not an OpenSearch's"))
            })?,
        };
        Ok((status, answer))
    }

    /// As [`Self::send`], for what must succeed.
    pub(super) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, VectorError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.send(method, path, body).await?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(refused(status, &answer))
    }
}

/// What an answer that is no success means: a cluster that is starting or has too much to do passes.
pub(super) fn refused(status: StatusCode, answer: &Value) -> VectorError {
    let passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    match passing {
        true => VectorError::Unavailable(reason(status, answer)),
        false => VectorError::Refused(reason(status, answer)),
    }
}

fn reason(status: StatusCode, answer: &Value) -> String {
    let error = &answer["error"];
    let cause = &error["root_cause"][0]["reason"];
    let told = cause.as_str().or_else(|| error["reason"].as_str()).or_else(|| error.as_str());
    format!("OpenSearch answered {status}: {}", told.unwrap_or("without a reason"))
}

fn unavailable(error: impl std::fmt::Display) -> VectorError {
    VectorError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use craton_outbound::AwsCredentials;
    use craton_wire::sigv4::{Claim, RequestHead, Rules, SigningSecret};

    use super::*;

    fn client(access: OpenSearchAccess) -> Client {
        let index = OpenSearchIndex {
            url: "https://search-vectors.eu-west-1.es.amazonaws.com/".into(),
            access,
            index: "kb".into(),
            vector_field: "v".into(),
            text_field: "t".into(),
            metadata_field: "m".into(),
        };
        Client::new(&index).unwrap()
    }

    fn signed(service: &str, file: &std::path::Path) -> Client {
        client(OpenSearchAccess::Signed {
            service: service.into(),
            region: "eu-west-1".into(),
            credentials: AwsCredentials::configured(Some("default"), Some(file), [None; 3]).unwrap(),
        })
    }

    /// Judged by the code that judges requests to this server, which does not accept what is signed for another service
    /// or with another body.
    #[tokio::test]
    async fn a_signed_request_is_good_for_its_service_and_body_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let keys =
            "[default]\naws_access_key_id=AKID\naws_secret_access_key=secret/+=\naws_session_token=token\n";
        std::fs::write(file.path(), keys).unwrap();
        let secret = SigningSecret::new(Secret::new("secret/+="));
        for (service, other) in [("es", "aoss"), ("aoss", "es")] {
            let client = signed(service, file.path());
            for (path, body) in [("kb/_search", r#"{"size":1}"#), ("kb/_bulk", "{}\n"), ("kb/_refresh", "")] {
                let request = client.request(Method::POST, path, body.to_owned()).unwrap();
                let (parts, _) = request.into_parts();
                assert_eq!(parts.headers["x-amz-security-token"], "token");
                assert_eq!(parts.headers["x-amz-content-sha256"].len(), 64);
                let head = RequestHead::from(&parts);
                let claim = Claim::parse(&head, &Rules::of_service(service)).unwrap();
                let now_ms = SystemClock.now_ms();
                claim.verify(&secret, &sha256(body.as_bytes()), now_ms).unwrap();
                claim.verify(&secret, &sha256(b"another"), now_ms).unwrap_err();
                Claim::parse(&head, &Rules::of_service(other)).unwrap_err();
            }
        }
    }

    #[tokio::test]
    async fn a_request_is_signed_or_has_a_password_or_has_nothing() {
        let nothing = client(OpenSearchAccess::Open).request(Method::GET, "kb", String::new()).unwrap();
        assert!(nothing.headers().is_empty());
        let (username, password) = ("me".to_owned(), "pass".to_owned());
        let basic = client(OpenSearchAccess::Basic { username, password });
        let basic = basic.request(Method::GET, "kb", String::new()).unwrap();
        assert_eq!(basic.headers()[AUTHORIZATION], "Basic bWU6cGFzcw==");
        let without_keys = signed("es", std::path::Path::new("/nowhere"));
        let error = without_keys.request(Method::GET, "kb", String::new()).unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}
