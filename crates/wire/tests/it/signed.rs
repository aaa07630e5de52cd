//! Requests signed by botocore, by the JavaScript SDK and by `aws-sigv4` are accepted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use craton_wire::api_key::{self, KeyClaim, bearer_token};
use craton_wire::sigv4::{
    Claim, EMPTY_SHA256, PathEncoding, RequestHead, Rules, Secret, Signer, SigningSecret, parse_amz_date,
    scope_service, sha256, sign_request,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Recording {
    signer: String,
    now: String,
    access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) requests: Vec<Recorded>,
    api_keys: Vec<RecordedKey>,
}

#[derive(Deserialize, Clone)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    body: String,
    pub(crate) service: String,
    region: String,
    token: Option<String>,
}

#[derive(Deserialize)]
struct RecordedKey {
    token: String,
    session_token: Option<String>,
    expires_s: u32,
}

pub(crate) fn recordings() -> [Recording; 2] {
    [include_str!("../fixtures/signed/botocore.json"), include_str!("../fixtures/signed/smithy.json")]
        .map(|text| serde_json::from_str(text).unwrap())
}

impl Recording {
    pub(crate) fn now_ms(&self) -> i64 {
        parse_amz_date(&self.now).unwrap()
    }

    pub(crate) fn secret(&self) -> SigningSecret {
        SigningSecret::new(Secret::new(self.secret_access_key.clone()))
    }
}

/// A recorded request as a server holds it.
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) authority: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn of(recorded: &Recorded) -> Self {
        let (path, query) = recorded.target.split_once('?').unwrap_or((&recorded.target, ""));
        let mut headers = HeaderMap::new();
        let mut authority = None;
        for (name, value) in &recorded.headers {
            if name == ":authority" {
                authority = Some(value.clone());
            } else {
                let name: HeaderName = name.parse().unwrap();
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        Self {
            method: recorded.method.clone(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            authority,
            body: STANDARD.decode(&recorded.body).unwrap(),
        }
    }

    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            authority: self.authority.as_deref(),
        }
    }

    pub(crate) fn verify(
        &self,
        service: &str,
        secret: &SigningSecret,
        now_ms: i64,
    ) -> Result<Claim, craton_wire::ApiError> {
        let claim = Claim::parse(&self.head(), &Rules::of_service(service))?;
        // The only key there is: another id would find another secret, or none.
        if claim.access_key_id != "AKIDEXAMPLE" {
            return Err(craton_wire::ApiError::unrecognized_client("no such key"));
        }
        claim.verify(secret, &sha256(&self.body), now_ms)?;
        Ok(claim)
    }
}

#[test]
fn recorded_requests_verify() {
    for recording in recordings() {
        let (secret, now_ms) = (recording.secret(), recording.now_ms());
        assert!(recording.requests.len() >= 17);
        for recorded in &recording.requests {
            let what = format!("{}: {}", recording.signer, recorded.name);
            let received = Received::of(recorded);
            assert_eq!(scope_service(&received.head()).as_deref(), Some(recorded.service.as_str()), "{what}");
            let claim = received
                .verify(&recorded.service, &secret, now_ms + 60_000)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(claim.access_key_id, recording.access_key_id, "{what}");
            assert_eq!(claim.region, recorded.region, "{what}");
            assert_eq!(claim.session_token, recorded.token, "{what}");
        }
    }
}

#[test]
fn the_clock_may_be_five_minutes_off() {
    let recording = &recordings()[0];
    let (secret, now_ms) = (recording.secret(), recording.now_ms());
    let received = Received::of(&recording.requests[0]);
    let verify = |offset_ms: i64| received.verify("bedrock", &secret, now_ms + offset_ms);
    for offset_ms in [-300_000, 0, 300_000] {
        verify(offset_ms).unwrap();
    }
    let late = verify(300_001).unwrap_err();
    assert_eq!(late.code, "InvalidSignatureException");
    assert_eq!(
        verify(301_000).unwrap_err().message,
        "Signature expired: 20260922T123456Z is now earlier than 20260922T123457Z (20260922T123957Z - 5 min.)"
    );
    assert_eq!(
        verify(-301_000).unwrap_err().message,
        "Signature not yet current: 20260922T123456Z is still later than 20260922T123455Z (20260922T122955Z + 5 min.)"
    );
}

#[test]
fn presigned_requests_last_as_long_as_they_say() {
    let recording = &recordings()[0];
    let secret = recording.secret();
    let recorded = recording.requests.iter().find(|recorded| recorded.name == "presigned").unwrap();
    let received = Received::of(recorded);
    received.verify("bedrock", &secret, recording.now_ms() + 900_000).unwrap();
    let error = received.verify("bedrock", &secret, recording.now_ms() + 901_000).unwrap_err();
    assert!(error.message.starts_with("Signature expired: 20260922T123456Z"), "{error}");
}

#[test]
fn recorded_api_keys_verify() {
    let recording = &recordings()[0];
    let (secret, now_ms) = (recording.secret(), recording.now_ms());
    assert_eq!(recording.api_keys.len(), 2);
    for key in &recording.api_keys {
        let claim = KeyClaim::parse(&key.token).unwrap();
        assert_eq!(claim.access_key_id(), recording.access_key_id);
        assert_eq!(claim.region(), "us-west-2");
        assert_eq!(claim.session_token(), key.session_token.as_deref());
        let end_ms = now_ms + i64::from(key.expires_s) * 1000;
        claim.verify(&secret, end_ms).unwrap();
        assert_eq!(claim.verify(&secret, end_ms + 1).unwrap_err().message, "Bearer Token has expired");
        let other = SigningSecret::new(Secret::new("another"));
        assert_eq!(claim.verify(&other, now_ms).unwrap_err().code, "AccessDeniedException");
    }
}

#[test]
fn a_generated_api_key_is_the_one_that_aws_would_make() {
    let recording = &recordings()[0];
    let secret = recording.secret();
    for key in &recording.api_keys {
        let signer = Signer {
            access_key_id: &recording.access_key_id,
            secret: &secret,
            session_token: key.session_token.as_deref(),
            region: "us-west-2",
            service: "bedrock",
            path: PathEncoding::Double,
        };
        let made = api_key::generate(&signer, key.expires_s, recording.now_ms()).unwrap();
        assert_eq!(made, key.token);
    }
}

#[test]
fn api_keys_over_twelve_hours_and_of_other_actions_are_refused() {
    let secret = SigningSecret::new(Secret::new("secret-key"));
    let signer = Signer {
        access_key_id: "AKIDEXAMPLE",
        secret: &secret,
        session_token: None,
        region: "us-east-1",
        service: "bedrock",
        path: PathEncoding::Double,
    };
    let headers = HeaderMap::new();
    let make = |query: &str, expires_s: u32| {
        let authority = Some("bedrock.amazonaws.com");
        let head = RequestHead { method: "POST", path: "/", query, headers: &headers, authority };
        let query = signer.presign(&head, expires_s, 0).unwrap();
        format!("bedrock-api-key-{}", STANDARD.encode(format!("bedrock.amazonaws.com/?{query}&Version=1")))
    };
    let good = KeyClaim::parse(&make("Action=CallWithBearerToken", 43_200)).unwrap();
    good.verify(&secret, 1000).unwrap();
    for (query, expires_s) in [("Action=CallWithBearerToken", 43_201), ("Action=Other", 60), ("", 60)] {
        let error = KeyClaim::parse(&make(query, expires_s)).unwrap_err();
        assert_eq!(error.message, "Authentication failed: Please make sure your API Key is valid.");
    }
}

#[test]
fn bearer_tokens_are_found_in_either_header() {
    let mut headers = HeaderMap::new();
    assert_eq!(bearer_token(&headers), None);
    headers.insert("x-api-key", HeaderValue::from_static("from-x"));
    assert_eq!(bearer_token(&headers), Some("from-x"));
    headers.insert("authorization", HeaderValue::from_static("bearer  from-a "));
    assert_eq!(bearer_token(&headers), Some("from-a"));
    headers.insert("authorization", HeaderValue::from_static("AWS4-HMAC-SHA256 Credential=x"));
    headers.remove("x-api-key");
    assert_eq!(bearer_token(&headers), None);
}

/// Signs with AWS's own Rust signer.
fn aws_sigv4_headers(recorded: &Recorded, secret: &str, now_ms: i64) -> Vec<(String, String)> {
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    let identity = Credentials::new("AKIDEXAMPLE", secret, recorded.token.clone(), None, "test").into();
    let now_ms = u64::try_from(now_ms).unwrap();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&recorded.region)
        .name(&recorded.service)
        .time(std::time::UNIX_EPOCH + std::time::Duration::from_millis(now_ms))
        .settings(SigningSettings::default())
        .build()
        .unwrap();
    let body = STANDARD.decode(&recorded.body).unwrap();
    let url = format!("http://127.0.0.1:8473{}", recorded.target);
    let headers = recorded.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(&recorded.method, url, headers, SignableBody::Bytes(&body)).unwrap();
    let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
    instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Cases without what the recorded signer added.
pub(crate) fn unsigned_cases() -> Vec<Recorded> {
    let recording = recordings().into_iter().next().unwrap();
    let added = ["authorization", "x-amz-date", "x-amz-security-token"];
    let mut cases: Vec<Recorded> = recording.requests;
    cases.retain(|case| !case.name.starts_with("presigned"));
    for case in &mut cases {
        case.headers.retain(|(name, _)| !added.contains(&name.to_ascii_lowercase().as_str()));
    }
    cases
}

#[test]
fn what_aws_sigv4_signs_verifies() {
    let recording = &recordings()[0];
    let (secret, now_ms) = (recording.secret(), recording.now_ms());
    for mut case in unsigned_cases() {
        let added = aws_sigv4_headers(&case, &recording.secret_access_key, now_ms);
        case.headers.extend(added);
        let received = Received::of(&case);
        let result = received.verify(&case.service, &secret, now_ms);
        assert!(result.is_ok(), "{}: {:?}", case.name, result.err());
    }
}

#[test]
fn what_we_sign_verifies() {
    let recording = &recordings()[0];
    let (secret, now_ms) = (recording.secret(), recording.now_ms());
    for case in unsigned_cases() {
        let received = Received::of(&case);
        let mut builder = http::Request::builder().method(case.method.as_str()).uri(&case.target);
        *builder.headers_mut().unwrap() = received.headers.clone();
        let mut parts = builder.body(()).unwrap().into_parts().0;
        let signer = Signer {
            access_key_id: "AKIDEXAMPLE",
            secret: &secret,
            session_token: case.token.as_deref(),
            region: &case.region,
            service: &case.service,
            path: PathEncoding::Double,
        };
        sign_request(&mut parts, &sha256(&received.body), &signer, now_ms).unwrap();
        let claim = Claim::parse(&RequestHead::from(&parts), &Rules::of_service(&case.service)).unwrap();
        claim.verify(&secret, &sha256(&received.body), now_ms).unwrap();
        assert_eq!(claim.session_token, case.token);
    }
}

#[test]
fn ours_and_aws_sigv4_agree_on_the_signature() {
    let recording = &recordings()[0];
    let case =
        Recorded { headers: vec![("host".into(), "127.0.0.1:8473".into())], ..recording.requests[2].clone() };
    let theirs = aws_sigv4_headers(&case, &recording.secret_access_key, recording.now_ms());
    let theirs = &theirs.iter().find(|(name, _)| name == "authorization").unwrap().1;
    let mut parts = http::Request::builder()
        .method(case.method.as_str())
        .uri(&case.target)
        .header("host", "127.0.0.1:8473")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let secret = recording.secret();
    let signer = Signer {
        access_key_id: "AKIDEXAMPLE",
        secret: &secret,
        session_token: None,
        region: "us-east-1",
        service: "bedrock",
        path: PathEncoding::Double,
    };
    let body = STANDARD.decode(&case.body).unwrap();
    sign_request(&mut parts, &sha256(&body), &signer, recording.now_ms()).unwrap();
    assert_eq!(parts.headers["authorization"], theirs.as_str());
    assert_ne!(sha256(&body), EMPTY_SHA256);
}
