//! Cross-origin rules: kept with a bucket, asked before a request by browsers, and told with each answer.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use s3s::dto::*;
use s3s::{Body, HttpResponse, S3Request, S3Response, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use crate::error::custom;
use crate::operations::Backend;

const CORS: &str = "cors";
/// Most rules of a bucket.
const MAX_RULES: usize = 100;

/// A stored rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    expose: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_s: Option<i32>,
}

/// What a browser says of where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    origin: String,
    method: String,
    headers: Vec<String>,
    preflight: bool,
}

impl Asked {
    /// `None` for a request that names no origin.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let origin = header("origin")?.to_owned();
        let asked = header("access-control-request-method").filter(|_| parts.method == Method::OPTIONS);
        let headers = header("access-control-request-headers").unwrap_or_default();
        Some(Self {
            origin,
            method: asked.unwrap_or(parts.method.as_str()).to_owned(),
            headers: headers
                .split(',')
                .map(|name| name.trim().to_ascii_lowercase())
                .filter(|name| !name.is_empty())
                .collect(),
            preflight: asked.is_some(),
        })
    }

    pub(crate) fn is_preflight(&self) -> bool {
        self.preflight
    }
}

/// Whether a pattern with at most one `*` matches.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

impl Rule {
    fn allows(&self, asked: &Asked) -> bool {
        let origin = self.origins.iter().any(|pattern| matches(pattern, &asked.origin));
        let method = self.methods.contains(&asked.method);
        let header =
            |name: &String| self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name));
        origin && method && (!asked.preflight || asked.headers.iter().all(header))
    }

    fn tell(&self, asked: &Asked, headers: &mut HeaderMap) {
        let any = self.origins.iter().any(|pattern| pattern == "*");
        let mut put = |name: header::HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        };
        put(header::ACCESS_CONTROL_ALLOW_ORIGIN, if any { "*" } else { &asked.origin });
        put(header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods.join(", "));
        put(header::ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose.join(", "));
        if !any {
            put(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        if asked.preflight {
            put(header::ACCESS_CONTROL_ALLOW_HEADERS, &asked.headers.join(", "));
            put(
                header::ACCESS_CONTROL_MAX_AGE,
                &self.max_age_s.map(|age| age.to_string()).unwrap_or_default(),
            );
        }
        put(header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    }
}

impl Backend {
    async fn cors_rules(&self, bucket: &str) -> S3Result<Option<Vec<Rule>>> {
        let stored = self.bucket_setting(bucket, CORS).await?;
        stored.map(|text| serde_json::from_str(&text).map_err(s3s::S3Error::internal_error)).transpose()
    }

    /// What a browser asks before a request.
    pub(crate) async fn preflight(&self, bucket: Option<&str>, asked: &Asked) -> S3Result<HttpResponse> {
        let denied = |message: &'static str| custom("AccessForbidden", http::StatusCode::FORBIDDEN, message);
        let rules = match bucket {
            // A bucket that is not there is not told from one without rules.
            Some(bucket) => self.cors_rules(bucket).await.unwrap_or_default(),
            None => None,
        };
        let rules = rules.ok_or_else(|| denied("CORSResponse: CORS is not enabled for this bucket."))?;
        let rule = rules.iter().find(|rule| rule.allows(asked)).ok_or_else(|| {
            denied(
                "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                 request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted \
                 by the resource's CORS spec.",
            )
        })?;
        let mut response = Response::new(Body::empty());
        rule.tell(asked, response.headers_mut());
        Ok(response)
    }

    /// Tells a browser that its page may read an answer, where a rule says so.
    pub(crate) async fn allow_origin(&self, bucket: &str, asked: &Asked, headers: &mut HeaderMap) {
        if let Ok(Some(rules)) = self.cors_rules(bucket).await
            && let Some(rule) = rules.iter().find(|rule| rule.allows(asked))
        {
            rule.tell(asked, headers);
        }
    }

    pub(crate) async fn get_bucket_cors(
        &self,
        request: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        let rules = self.cors_rules(&request.input.bucket).await?;
        let rules = rules
            .ok_or_else(|| s3_error!(NoSuchCORSConfiguration, "The CORS configuration does not exist"))?;
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let rule = |rule: Rule| CORSRule {
            allowed_headers: some(rule.headers),
            allowed_methods: rule.methods,
            allowed_origins: rule.origins,
            expose_headers: some(rule.expose),
            id: rule.id,
            max_age_seconds: rule.max_age_s,
        };
        let cors_rules = Some(rules.into_iter().map(rule).collect());
        Ok(S3Response::new(GetBucketCorsOutput { cors_rules }))
    }

    pub(crate) async fn put_bucket_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        let PutBucketCorsInput { bucket, cors_configuration, .. } = request.input;
        let rules = cors_configuration.cors_rules.into_iter().map(checked).collect::<S3Result<Vec<_>>>()?;
        if rules.is_empty() || rules.len() > MAX_RULES {
            return Err(s3_error!(
                MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema"
            ));
        }
        let text = serde_json::to_string(&rules).map_err(s3s::S3Error::internal_error)?;
        self.set_bucket_setting(&bucket, CORS, Some(text)).await?;
        Ok(S3Response::new(PutBucketCorsOutput {}))
    }

    pub(crate) async fn delete_bucket_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        self.set_bucket_setting(&request.input.bucket, CORS, None).await?;
        Ok(S3Response::with_status(DeleteBucketCorsOutput {}, http::StatusCode::NO_CONTENT))
    }
}

fn checked(rule: CORSRule) -> S3Result<Rule> {
    for method in &rule.allowed_methods {
        if !matches!(method.as_str(), "GET" | "PUT" | "HEAD" | "POST" | "DELETE") {
            return Err(s3_error!(
                InvalidRequest,
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            ));
        }
    }
    let patterns = rule.allowed_origins.iter().chain(rule.allowed_headers.iter().flatten());
    if let Some(pattern) = patterns.into_iter().find(|pattern| pattern.matches('*').count() > 1) {
        return Err(s3_error!(InvalidRequest, "{pattern:?} can not have more than one wildcard."));
    }
    Ok(Rule {
        id: rule.id,
        origins: rule.allowed_origins,
        methods: rule.allowed_methods,
        headers: rule.allowed_headers.unwrap_or_default(),
        expose: rule.expose_headers.unwrap_or_default(),
        max_age_s: rule.max_age_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], headers: &[&str]) -> Rule {
        let owned = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        Rule {
            id: None,
            origins: owned(origins),
            methods: vec!["GET".into()],
            headers: owned(headers),
            expose: vec![],
            max_age_s: None,
        }
    }

    #[test]
    fn rules_match_as_browsers_ask() {
        let asked = |origin: &str, headers: &[&str]| Asked {
            origin: origin.into(),
            method: "GET".into(),
            headers: headers.iter().map(|one| (*one).to_owned()).collect(),
            preflight: true,
        };
        let one = rule(&["https://*.example.com"], &["x-*"]);
        assert!(one.allows(&asked("https://a.example.com", &["x-a"])));
        assert!(!one.allows(&asked("https://example.com", &[])));
        assert!(!one.allows(&asked("https://a.example.com", &["authorization"])));
        assert!(rule(&["*"], &["*"]).allows(&asked("null", &["anything"])));
        let other = Asked { method: "PUT".into(), ..asked("https://a.example.com", &[]) };
        assert!(!one.allows(&other));
    }
}
