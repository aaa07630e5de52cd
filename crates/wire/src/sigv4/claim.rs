use std::borrow::Cow;

use http::header::{AUTHORIZATION, DATE};
use http::{HeaderMap, HeaderName};
use subtle::ConstantTimeEq;

use super::canonical::{AUTHORITY, canonical_request, is_normal, query_value};
use super::key::SigningSecret;
use super::timestamp::{amz_date, parse_amz_date, parse_date_header};
use super::{
    ALGORITHM, PathEncoding, RequestHead, Rules, TERMINATOR, UNSIGNED_PAYLOAD, hex32, sha256, unhex32,
};
use crate::error::ApiError;

/// How far a client's clock may be off, either way.
pub const MAX_SKEW_MS: i64 = 5 * 60 * 1000;
/// A week, AWS's limit on presigned requests.
const MAX_EXPIRES_S: u32 = 7 * 24 * 60 * 60;
/// Far more than any client signs; each costs a look-up.
const MAX_SIGNED_HEADERS: usize = 128;

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

/// Who a request says it is from, with all that is needed to check it but the secret and the body.
#[derive(Debug, Clone)]
pub struct Claim {
    pub access_key_id: String,
    pub region: String,
    pub service: String,
    /// Of temporary credentials. Not verified here: whoever knows the key must know its token.
    pub session_token: Option<String>,
    /// When the request says it was signed, in milliseconds since the Unix epoch.
    pub signed_ms: i64,
    /// Of a presigned request: seconds it is good for.
    pub expires_s: Option<u32>,
    scope_date: String,
    signature: [u8; 32],
    payload: Payload,
    /// The canonical request but for the payload's hash.
    canonical: Vec<u8>,
}

/// What stands for the body in the canonical request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Payload {
    /// The body's hash.
    Body,
    /// The body's hash, which the client also told us.
    Declared([u8; 32]),
    Unsigned,
}

/// The pieces of an Authorization header or of a presigned query.
struct Fields<'a> {
    credential: Cow<'a, str>,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    date: Option<String>,
    session_token: Option<Cow<'a, str>>,
    expires_s: Option<u32>,
}

impl Claim {
    /// Reads the Authorization header or the presigned query of `head` and prepares the canonical request.
    ///
    /// Errors are AWS's: `MissingAuthenticationTokenException`, `IncompleteSignatureException`,
    /// `InvalidSignatureException`.
    pub fn parse(head: &RequestHead<'_>, rules: &Rules<'_>) -> Result<Self, ApiError> {
        let presigned = !head.headers.contains_key(AUTHORIZATION);
        let fields = if presigned { presigned_fields(head.query)? } else { header_fields(head.headers)? };
        let scope = Scope::parse(&fields.credential)?;
        let (signed_ms, written) = signing_time(head.headers, &fields)?;
        scope.check(rules, &written)?;
        if rules.path == PathEncoding::Double && !is_normal(head.path) {
            return Err(ApiError::invalid_signature(
                "The request's path has empty or dot segments. Send it in its normal form.",
            ));
        }
        check_signed_headers(head.headers, &fields.signed_headers)?;
        let signature = unhex32(&fields.signature).ok_or_else(|| ApiError::invalid_signature(MISMATCH))?;
        let leave_out = presigned.then_some("X-Amz-Signature");
        let canonical = canonical_request(head, rules.path, &fields.signed_headers, leave_out)
            .ok_or_else(|| ApiError::invalid_signature(MISMATCH))?;
        let payload = payload(head.headers, rules, presigned)?;
        Ok(Self {
            access_key_id: scope.access_key_id.to_owned(),
            region: scope.region.to_owned(),
            service: scope.service.to_owned(),
            session_token: fields.session_token.map(Cow::into_owned),
            signed_ms,
            expires_s: fields.expires_s,
            scope_date: scope.date.to_owned(),
            signature,
            payload,
            canonical,
        })
    }

    /// Whether the body counts for nothing, so that it need not be hashed.
    pub fn ignores_body(&self) -> bool {
        self.payload == Payload::Unsigned
    }

    /// Checks the time, the body's hash and the signature. `body_sha256` is looked at unless [`Self::ignores_body`].
    pub fn verify(
        &self,
        secret: &SigningSecret,
        body_sha256: &[u8; 32],
        now_ms: i64,
    ) -> Result<(), ApiError> {
        self.check_time(now_ms)?;
        if let Payload::Declared(declared) = &self.payload
            && declared != body_sha256
        {
            return Err(ApiError::invalid_signature(
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ));
        }
        let mut canonical = Vec::with_capacity(self.canonical.len() + 64);
        canonical.extend_from_slice(&self.canonical);
        match self.payload {
            Payload::Unsigned => canonical.extend_from_slice(UNSIGNED_PAYLOAD.as_bytes()),
            Payload::Body | Payload::Declared(_) => canonical.extend_from_slice(&hex32(body_sha256)),
        }
        let text = string_to_sign(&canonical, self.signed_ms, &self.scope_date, &self.region, &self.service);
        let key = secret.key(&self.scope_date, &self.region, &self.service);
        if bool::from(key.sign(&text).ct_eq(&self.signature)) {
            secret.keep(&key);
            Ok(())
        } else {
            Err(ApiError::invalid_signature(MISMATCH))
        }
    }

    fn check_time(&self, now_ms: i64) -> Result<(), ApiError> {
        let told = || (amz_date(self.signed_ms), amz_date(now_ms));
        if self.signed_ms > now_ms.saturating_add(MAX_SKEW_MS) {
            let (signed, now) = told();
            let latest = amz_date(now_ms.saturating_add(MAX_SKEW_MS));
            return Err(ApiError::invalid_signature(format!(
                "Signature not yet current: {signed} is still later than {latest} ({now} + 5 min.)"
            )));
        }
        let good_for_ms = self.expires_s.map_or(MAX_SKEW_MS, |seconds| i64::from(seconds) * 1000);
        if self.signed_ms < now_ms.saturating_sub(good_for_ms) {
            let (signed, now) = told();
            let earliest = amz_date(now_ms.saturating_sub(good_for_ms));
            let allowed = self.expires_s.map_or("5 min.".to_owned(), |seconds| format!("{seconds} s"));
            return Err(ApiError::invalid_signature(format!(
                "Signature expired: {signed} is now earlier than {earliest} ({now} - {allowed})"
            )));
        }
        Ok(())
    }
}

/// The text that is signed: the canonical request's hash with its time and scope.
pub(super) fn string_to_sign(
    canonical: &[u8],
    signed_ms: i64,
    date: &str,
    region: &str,
    service: &str,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(192);
    for part in
        [ALGORITHM, "\n", &amz_date(signed_ms), "\n", date, "/", region, "/", service, "/", TERMINATOR, "\n"]
    {
        text.extend_from_slice(part.as_bytes());
    }
    text.extend_from_slice(&hex32(&sha256(canonical)));
    text
}

/// `AKID/20240101/us-east-1/bedrock/aws4_request`.
struct Scope<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, ApiError> {
        let mut parts = credential.splitn(6, '/');
        let mut next = || parts.next().filter(|part| !part.is_empty() && part.len() <= 128);
        match (next(), next(), next(), next(), next(), next()) {
            (Some(access_key_id), Some(date), Some(region), Some(service), Some(terminator), None) => {
                Ok(Self { access_key_id, date, region, service, terminator })
            }
            _ => Err(ApiError::incomplete_signature(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
            )),
        }
    }

    fn check(&self, rules: &Rules<'_>, signed: &str) -> Result<(), ApiError> {
        if self.terminator != TERMINATOR {
            return Err(ApiError::invalid_signature(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}'."
            )));
        }
        if self.service != rules.service {
            return Err(ApiError::invalid_signature(format!(
                "Credential should be scoped to correct service: '{}'. ",
                rules.service
            )));
        }
        if !signed.starts_with(self.date) || self.date.len() != 8 {
            return Err(ApiError::invalid_signature(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != \
                 '{}', from '{signed}'.",
                self.date,
                &signed[..8]
            )));
        }
        Ok(())
    }
}

fn header_fields(headers: &HeaderMap) -> Result<Fields<'_>, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    if values.next().is_some() {
        return Err(ApiError::incomplete_signature("There is more than one Authorization header."));
    }
    let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
    if algorithm.is_empty() {
        return Err(ApiError::missing_authentication("Missing Authentication Token"));
    }
    if algorithm != ALGORITHM {
        return Err(ApiError::incomplete_signature(format!("Authorization header requires '{ALGORITHM}'.")));
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for pair in rest.split(',') {
        let pair = pair.trim();
        let Some((name, value)) = pair.split_once('=') else {
            return Err(ApiError::incomplete_signature(
                "Authorization header has a part that is not a valid key=value pair (missing equal-sign).",
            ));
        };
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => {
                return Err(ApiError::incomplete_signature("Authorization header has an unknown parameter."));
            }
        };
        if slot.replace(Cow::Borrowed(value)).is_some() {
            return Err(ApiError::incomplete_signature("Authorization header repeats a parameter."));
        }
    }
    let token = single(headers, &X_AMZ_SECURITY_TOKEN)?;
    match (credential, signed_headers, signature) {
        (Some(credential), Some(signed_headers), Some(signature)) => Ok(Fields {
            credential,
            signed_headers,
            signature,
            date: None,
            session_token: token.map(Cow::Borrowed),
            expires_s: None,
        }),
        (credential, signed_headers, signature) => {
            let missing = [
                (credential.is_none(), "Credential"),
                (signature.is_none(), "Signature"),
                (signed_headers.is_none(), "SignedHeaders"),
            ];
            let parts = missing.iter().filter(|(missing, _)| *missing);
            let text: Vec<String> =
                parts.map(|(_, name)| format!("Authorization header requires '{name}' parameter.")).collect();
            Err(ApiError::incomplete_signature(text.join(" ")))
        }
    }
}

fn presigned_fields(query: &str) -> Result<Fields<'static>, ApiError> {
    let value = |name: &str| query_value(query, name);
    let Some(algorithm) = value("X-Amz-Algorithm") else {
        return Err(ApiError::missing_authentication("Missing Authentication Token"));
    };
    if algorithm != ALGORITHM {
        return Err(ApiError::incomplete_signature(format!("X-Amz-Algorithm must be '{ALGORITHM}'.")));
    }
    let required = |name: &str| {
        value(name).ok_or_else(|| {
            ApiError::incomplete_signature(format!(
                "AWS query-string parameters must include '{name}', once."
            ))
        })
    };
    let expires = required("X-Amz-Expires")?;
    let expires_s =
        expires.parse().ok().filter(|seconds| (1..=MAX_EXPIRES_S).contains(seconds)).ok_or_else(|| {
            ApiError::invalid_signature(
                "X-Amz-Expires must be a number of seconds from 1 to a week (604800).",
            )
        })?;
    Ok(Fields {
        credential: required("X-Amz-Credential")?.into(),
        signed_headers: required("X-Amz-SignedHeaders")?.into(),
        signature: required("X-Amz-Signature")?.into(),
        date: Some(required("X-Amz-Date")?),
        session_token: value("X-Amz-Security-Token").map(Cow::Owned),
        expires_s: Some(expires_s),
    })
}

/// The time the request was signed, in milliseconds and in its `X-Amz-Date` form.
fn signing_time(headers: &HeaderMap, fields: &Fields<'_>) -> Result<(i64, String), ApiError> {
    let ms = match &fields.date {
        Some(date) => parse_amz_date(date),
        None => match single(headers, &X_AMZ_DATE)? {
            Some(date) => parse_amz_date(date),
            None => match single(headers, &DATE)? {
                Some(date) => parse_date_header(date),
                None => {
                    return Err(ApiError::incomplete_signature(
                        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
                    ));
                }
            },
        },
    };
    let ms = ms.filter(|ms| (0..253_402_300_800_000).contains(ms)).ok_or_else(|| {
        ApiError::incomplete_signature("Date must be in ISO-8601 'basic format', such as 20240131T235959Z.")
    })?;
    Ok((ms, amz_date(ms)))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        _ => Err(ApiError::incomplete_signature(format!(
            "The header '{name}' must occur once and be plain text."
        ))),
    }
}

/// The list must be lower-case, sorted and without repeats, and name the host, whatever dates the request, and every
/// `x-amz-*` header that is there.
fn check_signed_headers(headers: &HeaderMap, list: &str) -> Result<(), ApiError> {
    let mut previous = "";
    for (count, name) in list.split(';').enumerate() {
        if count >= MAX_SIGNED_HEADERS
            || name <= previous
            || name.bytes().any(|byte| byte.is_ascii_uppercase())
        {
            return Err(ApiError::incomplete_signature(
                "SignedHeaders must list lower-case header names, sorted, each once.",
            ));
        }
        previous = name;
    }
    let signed = |wanted: &str| list.split(';').any(|name| name == wanted);
    if !signed("host") && !signed(AUTHORITY) {
        return Err(ApiError::invalid_signature(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    let unsigned = headers.keys().find(|name| {
        let must_be = name.as_str().starts_with("x-amz-")
            || (*name == DATE && headers.contains_key(AUTHORIZATION) && !headers.contains_key(X_AMZ_DATE));
        must_be && !signed(name.as_str())
    });
    match unsigned {
        Some(name) => Err(ApiError::invalid_signature(format!(
            "There were headers present in the request which were not signed: '{name}' must be a 'SignedHeader' in \
             the AWS Authorization."
        ))),
        None => Ok(()),
    }
}

fn payload(headers: &HeaderMap, rules: &Rules<'_>, presigned: bool) -> Result<Payload, ApiError> {
    match single(headers, &X_AMZ_CONTENT_SHA256)? {
        // Presigned requests to S3 can't know their body.
        None if presigned && rules.unsigned_payload => Ok(Payload::Unsigned),
        None => Ok(Payload::Body),
        Some(UNSIGNED_PAYLOAD) if rules.unsigned_payload => Ok(Payload::Unsigned),
        Some(hash) => unhex32(hash).map(Payload::Declared).ok_or_else(|| {
            ApiError::invalid_signature(
                "x-amz-content-sha256 must be the body's SHA-256 in lower-case hexadecimal.",
            )
        }),
    }
}
