use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, InvalidHeaderValue};
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::canonical::{canonical_request, host, push_encoded};
use super::claim::string_to_sign;
use super::{ALGORITHM, EMPTY_SHA256, PathEncoding, RequestHead, SigningSecret, TERMINATOR, amz_date, hex32};

/// Credentials and the scope to sign for.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    pub access_key_id: &'a str,
    pub secret: &'a SigningSecret,
    pub session_token: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
    pub path: PathEncoding,
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the request names no host, or two")]
    NoHost,
    #[error("a credential can't be sent as a header: {0}")]
    Header(#[from] InvalidHeaderValue),
}

/// Adds `Host` (when missing), `X-Amz-Date`, `X-Amz-Security-Token` and `Authorization` to `parts`.
///
/// Signs the host, the content type and every `x-amz-*` header that is there. `body_sha256` is [`super::sha256`] of
/// the body that will be sent.
pub fn sign_request(
    parts: &mut Parts,
    body_sha256: &[u8; 32],
    signer: &Signer<'_>,
    now_ms: i64,
) -> Result<(), SignError> {
    sign_with_payload(parts, &hex32(body_sha256), signer, now_ms)
}

/// [`sign_request`] for S3, which wants to be told what is signed of the body in `X-Amz-Content-Sha256`: its hash, or
/// nothing when it is a stream whose hash nobody knows yet.
pub fn sign_s3_request(
    parts: &mut Parts,
    body_sha256: Option<&[u8; 32]>,
    signer: &Signer<'_>,
    now_ms: i64,
) -> Result<(), SignError> {
    let hash = body_sha256.map(hex32);
    let payload = hash.as_ref().map_or(super::UNSIGNED_PAYLOAD.as_bytes(), |hash| hash);
    parts.headers.insert("x-amz-content-sha256", HeaderValue::from_bytes(payload)?);
    sign_with_payload(parts, payload, signer, now_ms)
}

fn sign_with_payload(
    parts: &mut Parts,
    payload: &[u8],
    signer: &Signer<'_>,
    now_ms: i64,
) -> Result<(), SignError> {
    let date = amz_date(now_ms);
    parts.headers.remove(AUTHORIZATION);
    if !parts.headers.contains_key(HOST) {
        let host = parts.uri.authority().ok_or(SignError::NoHost)?.as_str();
        parts.headers.insert(HOST, HeaderValue::from_str(host)?);
    }
    parts.headers.insert("x-amz-date", HeaderValue::from_str(&date)?);
    if let Some(token) = signer.session_token {
        let mut token = HeaderValue::from_str(token)?;
        token.set_sensitive(true);
        parts.headers.insert("x-amz-security-token", token);
    }
    let mut names: Vec<&str> =
        parts.headers.keys().map(HeaderName::as_str).filter(|name| is_signed(name)).collect();
    names.sort_unstable();
    names.dedup();
    let signed_headers = names.join(";");
    let head = RequestHead { authority: None, ..RequestHead::from(&*parts) };
    let signature = signer.signature(&head, &signed_headers, payload, now_ms).ok_or(SignError::NoHost)?;
    let mut header = HeaderValue::from_str(&format!(
        "{ALGORITHM} Credential={}, SignedHeaders={signed_headers}, Signature={signature}",
        signer.credential(&date)
    ))?;
    header.set_sensitive(true);
    parts.headers.insert(AUTHORIZATION, header);
    Ok(())
}

fn is_signed(name: &str) -> bool {
    name == HOST.as_str() || name == CONTENT_TYPE.as_str() || name.starts_with("x-amz-")
}

impl Signer<'_> {
    /// The query of a presigned request without a body, good for `expires_s` seconds. `head` has the query so far
    /// and names the host, the only header that is signed.
    pub fn presign(&self, head: &RequestHead<'_>, expires_s: u32, now_ms: i64) -> Result<String, SignError> {
        host(head).ok_or(SignError::NoHost)?;
        let date = amz_date(now_ms);
        let mut query = head.query.to_owned();
        let expires = expires_s.to_string();
        let credential = self.credential(&date);
        let mut pairs = vec![
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &date),
            ("X-Amz-Expires", &expires),
            ("X-Amz-SignedHeaders", "host"),
        ];
        pairs.extend(self.session_token.map(|token| ("X-Amz-Security-Token", token)));
        for (name, value) in pairs {
            push_pair(&mut query, name, value);
        }
        let signed = RequestHead { query: &query, ..*head };
        let payload = match self.path {
            PathEncoding::Double => hex32(&EMPTY_SHA256).to_vec(),
            PathEncoding::Once => super::UNSIGNED_PAYLOAD.as_bytes().to_vec(),
        };
        let signature = self.signature(&signed, "host", &payload, now_ms).ok_or(SignError::NoHost)?;
        push_pair(&mut query, "X-Amz-Signature", &signature);
        Ok(query)
    }

    fn credential(&self, date: &str) -> String {
        format!("{}/{}/{}/{}/{TERMINATOR}", self.access_key_id, &date[..8], self.region, self.service)
    }

    fn signature(
        &self,
        head: &RequestHead<'_>,
        signed_headers: &str,
        payload: &[u8],
        now_ms: i64,
    ) -> Option<String> {
        let mut canonical = canonical_request(head, self.path, signed_headers, None)?;
        canonical.extend_from_slice(payload);
        let date = amz_date(now_ms);
        let text = string_to_sign(&canonical, now_ms, &date[..8], self.region, self.service);
        let key = self.secret.key(&date[..8], self.region, self.service);
        self.secret.keep(&key);
        Some(hex32(&key.sign(&text)).iter().map(|digit| char::from(*digit)).collect())
    }
}

fn push_pair(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(name);
    query.push('=');
    let mut encoded = Vec::with_capacity(value.len() + 16);
    value.bytes().for_each(|byte| push_encoded(&mut encoded, byte));
    query.extend(encoded.into_iter().map(char::from));
}
