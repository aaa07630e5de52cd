//! From a request to an answer.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use craton_core::{Account, Arn, Principal};
use craton_identity::{Authorizer, Identity};
use craton_objects::Objects;
use http::request::Parts;
use http::{HeaderValue, Response};
use s3s::access::S3Access;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use s3s::{Body, HttpResponse, S3Error, S3Result, s3_error};

use crate::access::{Access, Caller};
use crate::auth::Keys;
use crate::cors;
use crate::form::Form;
use crate::host::{Hosts, bucket_of};
use crate::operations::Backend;
use crate::ranges;
use crate::sides::Sides;
use crate::signed::{claim, complete_v2};

/// What metrics call a request that names no operation.
const UNKNOWN: &str = "S3Unknown";
/// Bytes of an XML body; the longest, of a thousand keys to delete, is well below.
const MAX_XML_BYTES: usize = 2 << 20;
/// Bytes of a file that a browser posts as a form, which `s3s` holds in memory.
const MAX_POST_BYTES: u64 = 16 << 20;

/// Questions that are kept for the log, of a request that asks one for each of a thousand keys.
const MAX_NOTED: usize = 32;

/// The S3 service.
pub struct S3Front {
    backend: Backend,
    identity: Arc<Identity>,
    authorizer: Arc<dyn Authorizer>,
    config: Arc<StaticConfigProvider>,
    hosts: Hosts,
    domain: String,
}

/// A request and what the server knows of it.
pub struct Call {
    pub parts: Parts,
    pub body: Body,
    pub request_id: String,
    pub peer: IpAddr,
    pub secure: bool,
    /// Milliseconds since the Unix epoch.
    pub received_ms: i64,
}

/// An answer, and what it was an answer to.
pub struct Answer {
    pub response: Response<Body>,
    /// `PutObject`; a constant for a request that is none.
    pub operation: &'static str,
    /// Who asked, once they were authenticated.
    pub principal: Option<Arc<Principal>>,
    /// The permissions that were asked for, in order, as far as they are kept; and whether one was denied.
    pub asked: Vec<(String, Arn)>,
    pub denied: bool,
    /// The error's name, if it is one.
    pub error: Option<String>,
}

/// What is found out about a request on its way, for the log and the metrics.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) operation: OnceLock<&'static str>,
    pub(crate) principal: OnceLock<Arc<Principal>>,
    pub(crate) caller: OnceLock<Caller>,
    /// The caller may do what they ask, as far as the head says what that is.
    pub(crate) checked: AtomicBool,
    pub(crate) asked: Mutex<Vec<(String, Arn)>>,
    pub(crate) denied: AtomicBool,
}

impl Seen {
    /// Notes an answered question: the first so many, and one that was denied.
    pub(crate) fn note(&self, action: &str, resource: &Arn, allowed: bool) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !allowed && asked.len() >= MAX_NOTED {
            asked.pop();
        }
        if asked.len() < MAX_NOTED {
            asked.push((action.to_owned(), resource.clone()));
        }
        self.denied.fetch_or(!allowed, Ordering::Relaxed);
    }
}

impl S3Front {
    /// `domain`: host names under it may name buckets.
    pub fn new(
        (objects, sides): (Objects, Sides),
        identity: Arc<Identity>,
        authorizer: Arc<dyn Authorizer>,
        account: Arc<Account>,
        domain: &str,
    ) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML_BYTES;
        config.post_object_max_file_size = MAX_POST_BYTES;
        config.form_max_fields_size = 1 << 20;
        config.form_max_field_size = 256 * 1024;
        config.form_max_parts = 100;
        Self {
            backend: Backend::new(objects, sides, account, Arc::clone(&authorizer)),
            identity,
            authorizer,
            config: Arc::new(StaticConfigProvider::new(Arc::new(config))),
            hosts: Hosts::new(domain),
            domain: domain.to_owned(),
        }
    }

    /// Answers a request. Never fails: what goes wrong is an answer too.
    pub async fn answer(&self, call: Call) -> Answer {
        let seen = Arc::new(Seen::default());
        let request_id = call.request_id.clone();
        let origin = cors::Asked::of(&call.parts);
        let bucket = self.bucket(&call.parts);
        let head = call.parts.method == http::Method::HEAD;
        let answered = match &origin {
            Some(asked) if asked.is_preflight() => {
                let _ = seen.operation.set("OptionsObject");
                self.backend.preflight(bucket.as_deref(), asked).await
            }
            _ => self.call(call, &seen).await,
        };
        let mut response = answered.unwrap_or_else(|error| refused(error, &request_id));
        complete(&mut response, &request_id);
        let error = error_of(&response);
        if let (Some(asked), Some(bucket)) = (&origin, &bucket)
            && !asked.is_preflight()
        {
            self.backend.allow_origin(bucket, asked, response.headers_mut()).await;
        }
        if head && (response.status().is_client_error() || response.status().is_server_error()) {
            // An error to HEAD has no body, and must not announce one.
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(http::header::CONTENT_LENGTH);
        }
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        Answer {
            error,
            response,
            operation: seen.operation.get().copied().unwrap_or(UNKNOWN),
            principal: seen.principal.get().cloned(),
            asked: std::mem::take(&mut seen.asked.lock().unwrap_or_else(PoisonError::into_inner)),
            denied: seen.denied.load(Ordering::Relaxed),
        }
    }

    async fn call(&self, call: Call, seen: &Arc<Seen>) -> S3Result<HttpResponse> {
        let Call { mut parts, mut body, request_id, peer, secure, received_ms } = call;
        let claimed = claim(&parts)?;
        complete_v2(&mut parts, claimed.as_ref());
        let form = Form::of(&parts);
        if let Some(form) = &form {
            body = form.read_along(body);
        }
        let keys = Arc::new(Keys::new(Arc::clone(&self.identity), (claimed, form), peer));
        let access = Access {
            keys: Arc::clone(&keys),
            authorizer: Arc::clone(&self.authorizer),
            backend: self.backend.clone(),
            peer,
            secure,
            received_ms,
            seen: Arc::clone(seen),
        };
        let bucket = copied_from(&parts).or_else(|| self.bucket(&parts));
        let mended = ranges::mended(&parts);
        let request = http::Request::from_parts(parts, body);
        let mut answered = self.serve(request, &keys, access.clone(), &request_id).await?;
        if let (Some(parts), Some(caller)) = (mended, seen.caller.get())
            && seen.checked.load(Ordering::Relaxed)
            && matches!(seen.operation.get(), Some(&"GetObject" | &"HeadObject"))
        {
            let request = http::Request::from_parts(parts, Body::empty());
            answered = self.serve(request, &keys, ranges::Checked(caller.clone()), &request_id).await?;
        }
        if error_of(&answered).as_deref() == Some("SignatureDoesNotMatch") {
            keys.disproven();
        }
        // To `s3s`, a policy that does not let its form through is a bad one.
        if error_of(&answered).as_deref() == Some("InvalidPolicyDocument")
            && text_of(&answered).contains("<Message>Policy condition")
        {
            return Err(s3_error!(AccessDenied, "Invalid according to Policy: Policy Condition failed"));
        }
        // Only who may list a bucket is told that it has no such key, or no such version of it.
        if matches!(error_of(&answered).as_deref(), Some("NoSuchKey" | "NoSuchVersion"))
            && let (Some(caller), Some(bucket)) = (seen.caller.get(), bucket)
        {
            let unsaid = |_| s3_error!(AccessDenied, "Access Denied");
            access.may_list(caller, &bucket).await.map_err(unsaid)?;
        }
        Ok(answered)
    }

    /// Has `s3s` answer.
    async fn serve(
        &self,
        request: http::Request<Body>,
        keys: &Arc<Keys>,
        access: impl S3Access,
        request_id: &str,
    ) -> S3Result<HttpResponse> {
        let mut builder = S3ServiceBuilder::new(self.backend.clone());
        builder.set_config(Arc::clone(&self.config) as Arc<_>);
        builder.set_host(self.hosts.clone());
        builder.set_auth(crate::auth::Shared(Arc::clone(keys)));
        builder.set_access(access);
        builder.build().call(request).await.map_err(|error| {
            tracing::error!(request_id, error = ?error, "S3 could not answer");
            s3_error!(InternalError, "We encountered an internal error. Please try again.")
        })
    }

    /// The bucket that a request names, unchecked.
    fn bucket(&self, parts: &Parts) -> Option<String> {
        let host = parts.headers.get("host").and_then(|host| host.to_str().ok());
        let host = parts.uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
        if let Some(bucket) = bucket_of(host, &self.domain) {
            return Some(bucket.to_ascii_lowercase());
        }
        let first = parts.uri.path().trim_start_matches('/').split('/').next()?;
        craton_objects::names::check_bucket(first).ok().map(|()| first.to_owned())
    }
}

/// The bucket that a copy is made from.
fn copied_from(parts: &Parts) -> Option<String> {
    let source = parts.headers.get("x-amz-copy-source")?.to_str().ok()?;
    let source = percent_encoding::percent_decode_str(source).decode_utf8().ok()?;
    source.trim_start_matches('/').split('/').next().map(str::to_owned)
}

/// Adds to an error that was made elsewhere what S3's errors have: a message, and the request's id.
fn complete(response: &mut Response<Body>, request_id: &str) {
    let Some(code) = error_of(response) else { return };
    let body = response.body().bytes().unwrap_or_default();
    let Some(open) = std::str::from_utf8(&body).ok().and_then(|text| text.strip_suffix("</Error>")) else {
        return;
    };
    let mut text = open.to_owned();
    if !text.contains("<Message>") {
        text.push_str(&format!("<Message>{}</Message>", message_of(&code)));
    }
    if !text.contains("<RequestId>") {
        text.push_str(&format!("<RequestId>{request_id}</RequestId>"));
    }
    if !text.contains("<HostId>") {
        text.push_str(&format!("<HostId>{request_id}</HostId>"));
    }
    text.push_str("</Error>");
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(text);
}

/// What S3 says with an error that came without a message.
fn message_of(code: &str) -> &'static str {
    match code {
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing \
             method."
        }
        "RequestTimeTooSkewed" => {
            "The difference between the request time and the current time is too large."
        }
        "AccessDenied" => "Access Denied",
        "InvalidAccessKeyId" => "The AWS Access Key Id you provided does not exist in our records.",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingRequestBodyError" => "Request Body is empty",
        "NotImplemented" => "This S3 does not serve the operation. docs/s3.md lists those that it serves.",
        "MalformedPOSTRequest" => "The body of your POST request is not well-formed multipart/form-data.",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema"
        }
        _ => "The request could not be completed.",
    }
}

/// The name in an error's body, or its status where it has none.
fn error_of(response: &Response<Body>) -> Option<String> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let text = text_of(response);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    Some(code.map_or_else(|| status.as_str().to_owned(), |(code, _)| code.to_owned()))
}

/// The body of an answer that is at hand.
fn text_of(response: &Response<Body>) -> String {
    let body = response.body().bytes().unwrap_or_default();
    std::str::from_utf8(&body).unwrap_or_default().to_owned()
}

/// What a request is told that can't be answered: the server is stopping, or something broke.
pub fn unavailable(stopping: bool, request_id: &str) -> Response<Body> {
    let error = if stopping {
        s3_error!(ServiceUnavailable, "The server is shutting down. Send the request again.")
    } else {
        s3_error!(InternalError, "We encountered an internal error. Please try again.")
    };
    refused(error, request_id)
}

fn refused(mut error: S3Error, request_id: &str) -> HttpResponse {
    error.set_request_id(request_id);
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
