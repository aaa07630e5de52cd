//! Short-term Bedrock API keys: bearer tokens that anybody with credentials can make, and that need no record here.
//!
//! A key is `bedrock-api-key-` and the base64 of a presigned request, without its scheme: `POST
//! https://bedrock.amazonaws.com/?Action=CallWithBearerToken`, with `&Version=1` put behind the signature. Checking a
//! key is checking that signature; it is good for as long as the presigned request is, at most 12 hours, and for the
//! region it was signed for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::error::ApiError;
use crate::sigv4::{Claim, EMPTY_SHA256, PathEncoding, RequestHead, Rules, SignError, Signer, SigningSecret};

pub const PREFIX: &str = "bedrock-api-key-";
/// Twelve hours, AWS's limit.
pub const MAX_EXPIRES_S: u32 = 12 * 60 * 60;

const HOST: &str = "bedrock.amazonaws.com";
const ACTION: &str = "Action=CallWithBearerToken";
const VERSION: &str = "&Version=1";
/// Session tokens make keys long, but not this long.
const MAX_KEY_BYTES: usize = 16 * 1024;

const INVALID: &str = "Authentication failed: Please make sure your API Key is valid.";
const BAD_FORMAT: &str = "Invalid API Key format: Must start with pre-defined prefix";

/// The token of an `Authorization: Bearer` header, or else of `x-api-key`, where Anthropic's clients put it.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearer
        .or_else(|| headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim))
        .filter(|token| !token.is_empty())
}

/// What a key says of itself, not yet verified.
#[derive(Debug, Clone)]
pub struct KeyClaim(Claim);

impl KeyClaim {
    /// Takes a key apart. Every fault is the one `AccessDeniedException` that AWS answers with.
    pub fn parse(token: &str) -> Result<Self, ApiError> {
        let encoded = token.strip_prefix(PREFIX).ok_or_else(|| ApiError::access_denied(BAD_FORMAT))?;
        Self::from_presigned(encoded).ok_or_else(|| ApiError::access_denied(INVALID))
    }

    fn from_presigned(encoded: &str) -> Option<Self> {
        if encoded.len() > MAX_KEY_BYTES {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        let query = decoded.strip_prefix(HOST)?.strip_prefix("/?")?.strip_suffix(VERSION)?;
        if !query.split('&').any(|pair| pair == ACTION) {
            return None;
        }
        let headers = HeaderMap::new();
        let head = RequestHead { method: "POST", path: "/", query, headers: &headers, authority: Some(HOST) };
        let claim = Claim::parse(&head, &Rules::of_service("bedrock")).ok()?;
        claim.expires_s.filter(|seconds| *seconds <= MAX_EXPIRES_S)?;
        Some(Self(claim))
    }

    pub fn access_key_id(&self) -> &str {
        &self.0.access_key_id
    }

    /// The region the key is good for.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// Of temporary credentials; a key made from them carries their token.
    pub fn session_token(&self) -> Option<&str> {
        self.0.session_token.as_deref()
    }

    /// When the key ends to be good, in milliseconds since the Unix epoch.
    pub fn expires_ms(&self) -> i64 {
        self.0.signed_ms + i64::from(self.0.expires_s.unwrap_or(0)) * 1000
    }

    /// Checks that the key was signed with `secret` and is still good.
    pub fn verify(&self, secret: &SigningSecret, now_ms: i64) -> Result<(), ApiError> {
        if now_ms > self.expires_ms() {
            return Err(ApiError::access_denied("Bearer Token has expired"));
        }
        self.0.verify(secret, &EMPTY_SHA256, now_ms).map_err(|_| ApiError::access_denied(INVALID))
    }
}

/// Makes a key that is good for `expires_s` seconds, [`MAX_EXPIRES_S`] at most, in the signer's region.
pub fn generate(signer: &Signer<'_>, expires_s: u32, now_ms: i64) -> Result<String, SignError> {
    let headers = HeaderMap::new();
    let head =
        RequestHead { method: "POST", path: "/", query: ACTION, headers: &headers, authority: Some(HOST) };
    let signer = Signer { service: "bedrock", path: PathEncoding::Double, ..*signer };
    let query = signer.presign(&head, expires_s.clamp(1, MAX_EXPIRES_S), now_ms)?;
    Ok(format!("{PREFIX}{}", STANDARD.encode(format!("{HOST}/?{query}{VERSION}"))))
}
