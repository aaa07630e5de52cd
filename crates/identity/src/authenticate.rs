use std::sync::Arc;

use craton_core::{Account, Principal};
use craton_wire::ApiError;
use craton_wire::api_key::{self, KeyClaim};
use craton_wire::sigv4::{Claim, PathEncoding, RequestHead, Rules, Secret, SignError, Signer, SigningSecret};

use crate::RootCredentials;

const UNKNOWN_KEY: &str = "The security token included in the request is invalid.";

/// Knows the keys of this account and tells who signed.
#[derive(Debug)]
pub struct Identity {
    root: Arc<Credential>,
}

/// A key and who uses it.
#[derive(Debug)]
struct Credential {
    principal: Arc<Principal>,
    secret: SigningSecret,
}

/// Who made a request, and the region they signed it for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    pub principal: Arc<Principal>,
    pub region: String,
}

/// A request whose head is read and whose key is known; its body is still to come.
#[derive(Debug)]
pub struct PendingRequest {
    claim: Claim,
    credential: Arc<Credential>,
}

impl Identity {
    pub fn new(root: &RootCredentials, account: &Account) -> Self {
        let principal = Principal {
            arn: format!("arn:aws:iam::{}:root", account.id),
            access_key_id: root.access_key_id().to_owned(),
            user_id: account.id.clone(),
            session: None,
        };
        let secret = SigningSecret::new(root.secret().clone());
        Self { root: Arc::new(Credential { principal: Arc::new(principal), secret }) }
    }

    /// First half of authenticating a signed request, before its body is read: parses the head and finds the key.
    pub fn begin(&self, head: &RequestHead<'_>, rules: &Rules<'_>) -> Result<PendingRequest, ApiError> {
        let claim = Claim::parse(head, rules)?;
        let credential = self.credential(&claim.access_key_id, claim.session_token.as_deref())?;
        Ok(PendingRequest { claim, credential })
    }

    /// Authenticates an API key.
    pub fn api_key(&self, token: &str, now_ms: i64) -> Result<Authenticated, ApiError> {
        let claim = KeyClaim::parse(token)?;
        let credential = self.credential(claim.access_key_id(), claim.session_token()).map_err(|_| {
            ApiError::access_denied("Authentication failed: Please make sure your API Key is valid.")
        })?;
        claim.verify(&credential.secret, now_ms)?;
        Ok(Authenticated { principal: Arc::clone(&credential.principal), region: claim.region().to_owned() })
    }

    /// A new API key of the root, good for `expires_s` seconds (at most 12 hours) in `region`.
    pub fn new_api_key(&self, region: &str, expires_s: u32, now_ms: i64) -> Result<String, SignError> {
        let signer = Signer {
            access_key_id: &self.root.principal.access_key_id,
            secret: &self.root.secret,
            session_token: None,
            region,
            service: "bedrock",
            path: PathEncoding::Double,
        };
        api_key::generate(&signer, expires_s, now_ms)
    }

    /// The principal and secret of an access key, for services whose signatures are not checked here (S3's). A session
    /// token belongs to its key: temporary keys without theirs are unknown, as others are with one.
    pub fn secret_of(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<(Arc<Principal>, Secret), ApiError> {
        let credential = self.credential(access_key_id, session_token)?;
        Ok((Arc::clone(&credential.principal), credential.secret.secret().clone()))
    }

    /// The root's principal, for what the server does on its own account.
    pub fn root(&self) -> &Arc<Principal> {
        &self.root.principal
    }

    /// The root's secret, for handing to the operator's own processes.
    pub fn root_secret(&self) -> &Secret {
        self.root.secret.secret()
    }

    /// The key with this id. A session token belongs to temporary credentials, of which there are none: one that is
    /// sent is as wrong as an unknown key.
    fn credential(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Arc<Credential>, ApiError> {
        if self.root.principal.access_key_id == access_key_id && session_token.is_none() {
            Ok(Arc::clone(&self.root))
        } else {
            Err(ApiError::unrecognized_client(UNKNOWN_KEY))
        }
    }
}

impl PendingRequest {
    /// The region the request was signed for; not verified yet.
    pub fn region(&self) -> &str {
        &self.claim.region
    }

    /// Whether the body counts for nothing, so that it need not be hashed.
    pub fn ignores_body(&self) -> bool {
        self.claim.ignores_body()
    }

    /// Second half: checks time and signature with the body's SHA-256.
    pub fn finish(self, body_sha256: &[u8; 32], now_ms: i64) -> Result<Authenticated, ApiError> {
        self.claim.verify(&self.credential.secret, body_sha256, now_ms)?;
        Ok(Authenticated { principal: Arc::clone(&self.credential.principal), region: self.claim.region })
    }
}
