//! AWS Signature Version 4: who signed a request, and the same sum done as a signer.
//!
//! Verification has two steps, so that a server can look up the key before it reads the body:
//! [`Claim::parse`] reads the head alone and builds the canonical request up to the payload's hash, and
//! [`Claim::verify`] adds the hash, checks the time and compares signatures in constant time.
//!
//! Everything is computed from the raw request target, never from a decoded path. Two spellings of one request count
//! as the same request: hexadecimal digits of either case in a query's percent-encoding, and runs of white space in a
//! header value. Any other difference is refused. A path that has empty or dot segments is refused for services that
//! would normalise it, because the path that is routed must be the path that was signed.

mod canonical;
mod claim;
mod key;
mod sign;
mod timestamp;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::borrow::Cow;

pub use claim::{Claim, MAX_SKEW_MS};
pub use key::{Secret, SigningSecret};
pub use sign::{SignError, Signer, sign_request, sign_s3_request};
pub use timestamp::{amz_date, parse_amz_date};

pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
pub(crate) const TERMINATOR: &str = "aws4_request";
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// SHA-256 of nothing.
pub const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// SHA-256 of a body, as [`Claim::verify`] and [`sign_request`] take it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// A request without its body, exactly as it came off the wire.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    pub method: &'a str,
    /// Still percent-encoded, without the query.
    pub path: &'a str,
    /// Without the `?`; empty when there is none.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    /// HTTP/2's `:authority`, or the authority of an absolute HTTP/1.1 target.
    pub authority: Option<&'a str>,
}

impl<'a> From<&'a Parts> for RequestHead<'a> {
    fn from(parts: &'a Parts) -> Self {
        Self {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            authority: parts.uri.authority().map(http::uri::Authority::as_str),
        }
    }
}

/// How a service wants its canonical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEncoding {
    /// The path as sent, percent-encoded once more. Every service but S3.
    Double,
    /// The path decoded and encoded again. S3.
    Once,
}

/// What the service that a request was dispatched to asks of its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'a> {
    /// The service that the credential scope must name.
    pub service: &'a str,
    pub path: PathEncoding,
    /// `x-amz-content-sha256: UNSIGNED-PAYLOAD` is accepted.
    pub unsigned_payload: bool,
}

impl<'a> Rules<'a> {
    /// Any service but S3.
    pub fn of_service(service: &'a str) -> Self {
        Self { service, path: PathEncoding::Double, unsigned_payload: false }
    }
}

/// The service that the request says it was signed for, read from the Authorization header or the presigned query
/// and not verified: what dispatch goes by.
pub fn scope_service<'a>(head: &RequestHead<'a>) -> Option<Cow<'a, str>> {
    match credential(head)? {
        Cow::Borrowed(credential) => credential.rsplit('/').nth(1).map(Cow::Borrowed),
        Cow::Owned(credential) => credential.rsplit('/').nth(1).map(|service| Cow::Owned(service.to_owned())),
    }
}

/// The id of the key that a request says it was signed with; not verified. For the log of who was refused.
pub fn claimed_key_id<'a>(head: &RequestHead<'a>) -> Option<Cow<'a, str>> {
    Some(match credential(head)? {
        Cow::Borrowed(credential) => Cow::Borrowed(credential.split('/').next().unwrap_or_default()),
        Cow::Owned(credential) => Cow::Owned(credential.split('/').next().unwrap_or_default().to_owned()),
    })
}

/// `KEY/20260102/REGION/SERVICE/aws4_request`.
fn credential<'a>(head: &RequestHead<'a>) -> Option<Cow<'a, str>> {
    if let Some(header) = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let fields = header.strip_prefix(ALGORITHM)?;
        let start = fields.find("Credential=")? + "Credential=".len();
        return fields[start..].split([',', ' ']).next().map(Cow::Borrowed);
    }
    if !head.query.contains("X-Amz-Credential=") {
        return None;
    }
    canonical::query_value(head.query, "X-Amz-Credential").map(Cow::Owned)
}

/// Lower-case hexadecimal of a hash.
pub(crate) fn hex32(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

/// The reverse of [`hex32`]: upper-case digits are refused, so that a signature has one spelling.
pub(crate) fn unhex32(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}
