//! Secrets for signatures.

use std::sync::Arc;

use craton_core::Principal;
use craton_identity::Identity;
use http::request::Parts;
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use crate::error::unknown_key;
use crate::signed::{Signed, claim};

/// Who says to have signed a request; its signature is still to be checked.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    pub(crate) access_key_id: String,
    pub(crate) session_token: Option<String>,
}

/// Looks secrets up for one request.
pub(crate) struct Keys {
    pub(crate) identity: Arc<Identity>,
    pub(crate) claimant: Option<Claimant>,
}

impl Claimant {
    /// The key that a request's head names, and the session token beside it.
    pub(crate) fn of(parts: &Parts) -> S3Result<Option<Self>> {
        Ok(claim(parts)?.map(|Signed { access_key_id, session_token }| Self { access_key_id, session_token }))
    }
}

impl Keys {
    /// The principal of the claimed key. A key named only inside a form has no session token.
    pub(crate) fn principal(&self, access_key_id: &str) -> S3Result<Arc<Principal>> {
        let token = self.token(access_key_id)?;
        let known = self.identity.secret_of(access_key_id, token).map_err(|error| unknown_key(&error))?;
        Ok(known.0)
    }

    fn token(&self, access_key_id: &str) -> S3Result<Option<&str>> {
        match &self.claimant {
            Some(claimant) if claimant.access_key_id == access_key_id => {
                Ok(claimant.session_token.as_deref())
            }
            // The head named another key than the one whose signature is checked.
            Some(_) => Err(s3_error!(AccessDenied, "Only one authentication mechanism is allowed.")),
            None => Ok(None),
        }
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let token = self.token(access_key)?;
        let (_, secret) = self.identity.secret_of(access_key, token).map_err(|error| unknown_key(&error))?;
        Ok(SecretKey::from(secret.expose()))
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
