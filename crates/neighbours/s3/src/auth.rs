//! Secrets for signatures.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use craton_core::Principal;
use craton_identity::{ClaimedKey, Identity};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Error, S3Result, s3_error};

use crate::error::unknown_key;
use crate::form::Form;
use crate::signed::Signed;

/// Finds the secret that one request's signature is checked with, and tells the identity what came of it.
pub(crate) struct Keys {
    identity: Arc<Identity>,
    /// Who the head says to have signed the request; their signature is still to be checked.
    claimant: Option<Signed>,
    form: Option<Arc<Form>>,
    peer: IpAddr,
    /// Looked up once, whoever asks.
    found: OnceLock<ClaimedKey>,
}

impl Keys {
    pub(crate) fn new(
        identity: Arc<Identity>,
        (claimant, form): (Option<Signed>, Option<Arc<Form>>),
        peer: IpAddr,
    ) -> Self {
        Self { identity, claimant, form, peer, found: OnceLock::new() }
    }

    /// The region that the request is signed for, as far as its head or the form that it posts says.
    pub(crate) fn region(&self) -> Option<&str> {
        self.of_form().or(self.claimant.as_ref())?.region.as_deref()
    }

    /// What the form that is posted says of its signature, once that was checked.
    pub(crate) fn of_form(&self) -> Option<&Signed> {
        self.form.as_ref()?.known()
    }

    /// The principal of the key, whose signature was right.
    pub(crate) fn principal(&self, access_key_id: &str) -> S3Result<Arc<Principal>> {
        let key = self.find(access_key_id)?;
        self.identity.proven(key, ("s3", self.region()));
        Ok(Arc::clone(key.principal()))
    }

    /// The signature was wrong.
    pub(crate) fn disproven(&self) {
        if let Some(key) = self.found.get() {
            self.identity.disproven(key);
        }
    }

    fn find(&self, access_key_id: &str) -> S3Result<&ClaimedKey> {
        if let Some(found) = self.found.get() {
            let same = found.principal().access_key_id == access_key_id;
            return if same { Ok(found) } else { Err(two_keys()) };
        }
        // A form's own signature is what is checked of it.
        let of_form = self.form.as_ref().and_then(|form| form.signed());
        let token = match of_form.or(self.claimant.as_ref()) {
            Some(claimant) if claimant.access_key_id == access_key_id => claimant.session_token.as_deref(),
            Some(_) => return Err(two_keys()),
            None => None,
        };
        if let Some(region) = self.region().filter(|region| !self.identity.serves_region(region)) {
            return Err(s3_error!(
                AuthorizationHeaderMalformed,
                "The authorization header is malformed; the region '{region}' is wrong"
            ));
        }
        let found = self.identity.claimed(access_key_id, token, Some(self.peer));
        let found = found.map_err(|error| unknown_key(&error))?;
        Ok(self.found.get_or_init(|| found))
    }
}

/// The head named another key than the one whose signature is checked.
fn two_keys() -> S3Error {
    s3_error!(AccessDenied, "Only one authentication mechanism is allowed.")
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        Ok(SecretKey::from(self.find(access_key)?.secret().expose()))
    }
}

/// [`Keys`] that the access check uses too.
pub(crate) struct Shared(pub(crate) Arc<Keys>);

#[async_trait::async_trait]
impl S3Auth for Shared {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.0.get_secret_key(access_key).await
    }
}
