use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use craton_core::{Account, Clock, Principal, SessionKind, SystemClock, partition};
use craton_wire::ApiError;
use craton_wire::api_key::{self, KeyClaim};
use craton_wire::sigv4::{Claim, PathEncoding, RequestHead, Rules, Secret, SignError, Signer, SigningSecret};
use parking_lot::RwLock;

use crate::RootCredentials;
use crate::attempts::{Attempt, Attempts};
use crate::directory::{API_KEY_PREFIX, Directory, Known};

const UNKNOWN_KEY: &str = "The security token included in the request is invalid.";
const EXPIRED: &str = "The security token included in the request is expired";
const BAD_API_KEY: &str = "Authentication failed: Please make sure your API Key is valid.";

/// Sessions whose tokens are not opened anew at every request.
const MAX_SESSIONS: usize = 4_096;

/// Knows the keys of this account and tells who signed.
#[derive(Debug)]
pub struct Identity {
    root: Arc<Credential>,
    directory: Option<Directory>,
    clock: ClockHandle,
    home_region: String,
    /// Regions that requests may be signed for; empty for all.
    regions: Vec<String>,
    attempts: Attempts,
    /// By access key id: the token that was right, and what it comes to.
    sessions: RwLock<HashMap<String, (String, Arc<Credential>)>>,
}

struct ClockHandle(Arc<dyn Clock>);

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A key and who uses it.
#[derive(Debug)]
struct Credential {
    principal: Arc<Principal>,
    secret: Arc<SigningSecret>,
    /// Of a user's own key, to note its use.
    known: Option<Arc<Known>>,
}

impl Credential {
    fn expires_ms(&self) -> Option<i64> {
        self.principal.session.as_ref().map(|session| session.expires_ms)
    }

    fn check_expiry(&self, now_ms: i64) -> Result<(), ApiError> {
        match self.expires_ms() {
            Some(expires_ms) if now_ms >= expires_ms => Err(ApiError::expired_token(EXPIRED)),
            _ => Ok(()),
        }
    }
}

/// Who made a request, and the region they signed it for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    pub principal: Arc<Principal>,
    pub region: String,
}

/// A key that a request says to be signed with, for a service that checks signatures itself.
#[derive(Debug, Clone)]
pub struct ClaimedKey {
    credential: Arc<Credential>,
    session_token: Option<String>,
    source: Option<IpAddr>,
}

impl ClaimedKey {
    pub fn principal(&self) -> &Arc<Principal> {
        &self.credential.principal
    }

    pub fn secret(&self) -> &Secret {
        self.credential.secret.secret()
    }
}

/// A request whose head is read and whose key is known; its body is still to come.
#[derive(Debug)]
pub struct PendingRequest<'i> {
    identity: &'i Identity,
    claim: Claim,
    credential: Arc<Credential>,
    source: Option<IpAddr>,
}

/// The region of the services that a partition has one of.
fn global_region(home: &str) -> &'static str {
    match partition(home) {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    }
}

impl Identity {
    /// Knows the root alone, until it is given a directory.
    pub fn new(root: &RootCredentials, account: &Account) -> Self {
        let principal = Principal {
            user_id: account.id.clone(),
            ..Principal::new(format!("arn:aws:iam::{}:root", account.id), root.access_key_id())
        };
        let secret = Arc::new(SigningSecret::new(root.secret().clone()));
        Self {
            root: Arc::new(Credential { principal: Arc::new(principal), secret, known: None }),
            directory: None,
            clock: ClockHandle(Arc::new(SystemClock)),
            home_region: account.home_region.clone(),
            regions: Vec::new(),
            attempts: Attempts::default(),
            sessions: RwLock::default(),
        }
    }

    /// Knows the users' keys and the sessions of the directory too.
    #[must_use]
    pub fn with_directory(mut self, directory: Directory, clock: Arc<dyn Clock>) -> Self {
        self.directory = Some(directory);
        self.clock = ClockHandle(clock);
        self
    }

    /// Takes signatures for these regions only; for all where there are none.
    #[must_use]
    pub fn with_regions(mut self, regions: Vec<String>) -> Self {
        self.regions = regions;
        self
    }

    /// Whether requests may be signed for a region.
    pub fn serves_region(&self, region: &str) -> bool {
        self.regions.is_empty() || self.regions.iter().any(|own| own == region)
    }

    fn check_region(&self, region: &str) -> Result<(), ApiError> {
        if self.serves_region(region) {
            return Ok(());
        }
        Err(ApiError::invalid_signature("Credential should be scoped to a valid region. "))
    }

    /// First half of authenticating a signed request, before its body is read: parses the head and finds the key.
    /// `source` is where it came from: too many failures from there are refused.
    pub fn begin(
        &self,
        head: &RequestHead<'_>,
        rules: &Rules<'_>,
        source: Option<IpAddr>,
    ) -> Result<PendingRequest<'_>, ApiError> {
        let claim = Claim::parse(head, rules)?;
        // IAM has one region in each partition, which every client signs for.
        if claim.service != "iam" || claim.region != global_region(&self.home_region) {
            self.check_region(&claim.region)?;
        }
        let credential =
            self.credential_from(&claim.access_key_id, claim.session_token.as_deref(), source)?;
        if claim.service == "iam"
            && credential.principal.session.as_ref().is_some_and(|own| own.kind == SessionKind::SessionToken)
        {
            // AWS lets nobody manage users with GetSessionToken's credentials, unless they come with a second factor.
            return Err(ApiError::unrecognized_client(UNKNOWN_KEY));
        }
        Ok(PendingRequest { identity: self, claim, credential, source })
    }

    /// Authenticates an API key, short-term or long-term.
    pub fn api_key(
        &self,
        token: &str,
        now_ms: i64,
        source: Option<IpAddr>,
    ) -> Result<Authenticated, ApiError> {
        if token.starts_with(API_KEY_PREFIX) {
            return self.long_term_key(token, now_ms, source);
        }
        let claim = KeyClaim::parse(token)?;
        self.check_region(claim.region()).map_err(|_| ApiError::access_denied(BAD_API_KEY))?;
        let invalid = |error: ApiError| match &*error.code {
            "ThrottlingException" => error,
            _ => ApiError::access_denied(BAD_API_KEY),
        };
        let credential =
            self.credential_from(claim.access_key_id(), claim.session_token(), source).map_err(invalid)?;
        credential.check_expiry(now_ms).map_err(|_| ApiError::access_denied("Bearer Token has expired"))?;
        let verified = claim.verify(&credential.secret, now_ms);
        self.note(&credential, source, verified.is_ok());
        verified?;
        self.used(&credential, claim.session_token(), ("bedrock", claim.region()), now_ms);
        Ok(Authenticated { principal: Arc::clone(&credential.principal), region: claim.region().to_owned() })
    }

    fn long_term_key(
        &self,
        token: &str,
        now_ms: i64,
        source: Option<IpAddr>,
    ) -> Result<Authenticated, ApiError> {
        let view = self.directory.as_ref().map(Directory::view);
        let found = view.as_ref().and_then(|view| {
            let credential = view.api_key(token).filter(|credential| credential.active)?;
            Some((credential, view.user_by_id(&credential.user_id)?, view.account()))
        });
        let Some((credential, user, account)) = found else {
            // Only who has no key here is counted: strangers lock nobody else out.
            self.count_stranger(source)?;
            return Err(ApiError::access_denied(BAD_API_KEY));
        };
        if credential.expires_ms.is_some_and(|expires_ms| now_ms >= expires_ms) {
            return Err(ApiError::access_denied("Bearer Token has expired"));
        }
        let principal = Principal {
            user_id: user.id.clone(),
            ..Principal::new(user.arn(account), credential.id.clone())
        };
        Ok(Authenticated { principal: Arc::new(principal), region: self.home_region.clone() })
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

    /// First half of authenticating a request for a service that checks signatures itself (S3's): finds the key. A
    /// session token belongs to its key: temporary keys without theirs are unknown, as others are with one.
    pub fn claimed(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
        source: Option<IpAddr>,
    ) -> Result<ClaimedKey, ApiError> {
        let credential = self.credential_from(access_key_id, session_token, source)?;
        credential.check_expiry(self.clock.0.now_ms())?;
        Ok(ClaimedKey { credential, session_token: session_token.map(str::to_owned), source })
    }

    /// Second half of [`Self::claimed`]: the signature was right. `scope`: the service, and the region if it is known.
    pub fn proven(&self, key: &ClaimedKey, (service, region): (&str, Option<&str>)) {
        self.note(&key.credential, key.source, true);
        let scope = (service, region.unwrap_or(&self.home_region));
        self.used(&key.credential, key.session_token.as_deref(), scope, self.clock.0.now_ms());
    }

    /// Second half of [`Self::claimed`]: the signature was wrong.
    pub fn disproven(&self, key: &ClaimedKey) {
        self.note(&key.credential, key.source, false);
    }

    /// The root's principal, for what the server does on its own account.
    pub fn root(&self) -> &Arc<Principal> {
        &self.root.principal
    }

    /// Counts a failure with a key that nobody has; refused after too many.
    fn count_stranger(&self, source: Option<IpAddr>) -> Result<(), ApiError> {
        let Some(source) = source else { return Ok(()) };
        self.attempts.check(Attempt { source, key: None })?;
        self.attempts.failed(Attempt { source, key: None });
        Ok(())
    }

    /// The key, unless more failures came from here than are looked at.
    fn credential_from(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
        source: Option<IpAddr>,
    ) -> Result<Arc<Credential>, ApiError> {
        let found = self.credential(access_key_id, session_token);
        match (&found, source) {
            // Nobody can lock the root out, from wherever it signs.
            (Ok(credential), _) if Arc::ptr_eq(credential, &self.root) => {}
            (Ok(_), Some(source)) => self.attempts.check(Attempt { source, key: Some(access_key_id) })?,
            (Ok(_), None) => {}
            (Err(_), _) => self.count_stranger(source)?,
        }
        found
    }

    /// Counts a signature that was wrong, or forgets those before one that was right.
    fn note(&self, credential: &Arc<Credential>, source: Option<IpAddr>, right: bool) {
        let Some(source) = source.filter(|_| !Arc::ptr_eq(credential, &self.root)) else { return };
        let attempt = Attempt { source, key: Some(&credential.principal.access_key_id) };
        if right {
            self.attempts.succeeded(attempt);
        } else {
            self.attempts.failed(attempt);
        }
    }

    /// The key with this id, with the token that belongs to it.
    fn credential(
        &self,
        access_key_id: &str,
        session_token: Option<&str>,
    ) -> Result<Arc<Credential>, ApiError> {
        let unknown = || ApiError::unrecognized_client(UNKNOWN_KEY);
        let Some(token) = session_token else {
            if self.root.principal.access_key_id == access_key_id {
                return Ok(Arc::clone(&self.root));
            }
            let known = self.directory.as_ref().and_then(|directory| directory.known(access_key_id));
            let known = known.filter(|known| known.key.active).ok_or_else(unknown)?;
            return Ok(Arc::new(Credential {
                principal: Arc::clone(&known.principal),
                secret: Arc::clone(&known.secret),
                known: Some(known),
            }));
        };
        let directory = self.directory.as_ref().ok_or_else(unknown)?;
        let kept = self.sessions.read().get(access_key_id).cloned();
        let session = match &kept {
            Some((kept_token, credential)) if kept_token == token => credential.principal.session.clone(),
            _ => directory.session(access_key_id, token).map(Arc::new),
        };
        let session = session.ok_or_else(unknown)?;
        // Who began it may have gone, or have another name by now.
        let principal = directory.view().principal_of(access_key_id, &session).ok_or_else(unknown)?;
        match kept {
            Some((kept_token, credential)) if kept_token == token && *credential.principal == principal => {
                Ok(credential)
            }
            _ => {
                let secret = directory.vault().temporary_secret(access_key_id);
                let secret = Arc::new(SigningSecret::new(secret));
                Ok(Arc::new(Credential { principal: Arc::new(principal), secret, known: None }))
            }
        }
    }

    /// After a right signature: keeps a session at hand, notes the use of a user's key.
    fn used(
        &self,
        credential: &Arc<Credential>,
        token: Option<&str>,
        (service, region): (&str, &str),
        now_ms: i64,
    ) {
        if let (Some(known), Some(directory)) = (&credential.known, &self.directory) {
            directory.note_use(known, (service, region), now_ms);
        }
        let Some(token) = token else { return };
        let id = &credential.principal.access_key_id;
        let is_kept = |kept: &(String, Arc<Credential>)| kept.0 == token && Arc::ptr_eq(&kept.1, credential);
        if self.sessions.read().get(id).is_some_and(is_kept) {
            return;
        }
        let mut sessions = self.sessions.write();
        if sessions.len() >= MAX_SESSIONS {
            sessions.retain(|_, (_, kept)| kept.expires_ms().is_some_and(|expires_ms| expires_ms > now_ms));
            if sessions.len() >= MAX_SESSIONS {
                sessions.clear();
            }
        }
        sessions.insert(id.clone(), (token.to_owned(), Arc::clone(credential)));
    }
}

impl PendingRequest<'_> {
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
        let Self { identity, claim, credential, source } = self;
        let verified = claim.verify(&credential.secret, body_sha256, now_ms);
        identity.note(&credential, source, verified.is_ok());
        verified?;
        credential.check_expiry(now_ms)?;
        identity.used(&credential, claim.session_token.as_deref(), (&claim.service, &claim.region), now_ms);
        Ok(Authenticated { principal: Arc::clone(&credential.principal), region: claim.region })
    }
}
