//! Whether the server can serve: what `GET /health` says.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use crate::body::Body;

/// The state of one thing that serves models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Answers, or will: requests that come while a model loads wait for it.
    Serving,
    /// Can't answer, and why.
    Failed(String),
}

/// Asked on every `GET /health`: one entry for each thing that can answer a model call.
pub trait HealthSource: Send + Sync {
    fn parts(&self) -> Vec<(String, Readiness)>;
}

/// 200 when at least one part serves, 503 when none does.
pub(crate) fn reply(parts: &[(String, Readiness)], stopping: bool) -> Response<Body> {
    let failures: serde_json::Map<_, _> = parts
        .iter()
        .filter_map(|(name, readiness)| match readiness {
            Readiness::Serving => None,
            // The path is open to all: why is in the log, with the files' names.
            Readiness::Failed(_) => {
                Some((name.clone(), "it can't be opened; the server's log says why".into()))
            }
        })
        .collect();
    let unusable = !parts.is_empty() && failures.len() == parts.len();
    let (status, word) = match (stopping, unusable) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (false, true) => (StatusCode::SERVICE_UNAVAILABLE, "failed"),
        (false, false) if failures.is_empty() => (StatusCode::OK, "ok"),
        (false, false) => (StatusCode::OK, "degraded"),
    };
    let mut body = json!({"status": word});
    if !failures.is_empty() {
        body["failed"] = failures.into();
    }
    let mut response = Response::new(Body::full(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_nothing_serves_is_unhealthy() {
        let good = || ("upstream vllm".to_owned(), Readiness::Serving);
        let bad = || ("local smollm2".to_owned(), Readiness::Failed("no such file".into()));
        let status = |parts: &[_]| reply(parts, false).status().as_u16();
        assert_eq!(status(&[]), 200);
        assert_eq!(status(&[good()]), 200);
        assert_eq!(status(&[good(), bad()]), 200);
        assert_eq!(status(&[bad()]), 503);
        assert_eq!(reply(&[good()], true).status(), 503);
    }

    #[tokio::test]
    async fn strangers_are_not_told_where_files_are() {
        use http_body_util::BodyExt as _;
        let bad =
            ("local smollm2".to_owned(), Readiness::Failed("/home/ann/models/m.gguf: cut short".into()));
        let body = reply(&[bad], false).into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("local smollm2") && !body.contains("/home"), "{body}");
    }
}
