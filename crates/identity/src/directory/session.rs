//! Temporary credentials: a key, a secret and a token that carries everything there is to know about them.
//!
//! The token is encrypted and authenticated for its key, so that no record of a session is kept and every server with
//! the same secrets key can check it. The secret is derived from the key's id and is in no token.

use craton_core::{Session, SessionKind};
use craton_wire::sigv4::Secret;

use super::Directory;
use super::keys::new_key_id;
use super::vault::VaultError;

/// Longer tokens are refused unread.
const MAX_TOKEN_LEN: usize = 24 * 1024;

/// What a client is given at the start of a session.
#[derive(Debug, Clone)]
pub struct TemporaryCredentials {
    /// `ASIA…`.
    pub access_key_id: String,
    pub secret: Secret,
    pub token: String,
    pub expires_ms: i64,
}

impl Directory {
    /// Begins a session. Whether it may begin has been decided.
    pub fn issue(&self, session: &Session) -> Result<TemporaryCredentials, VaultError> {
        let access_key_id = new_key_id("ASIA");
        let claims = serde_json::to_vec(session).map_err(|_| VaultError::Unusable)?;
        Ok(TemporaryCredentials {
            token: self.vault().seal_token(&access_key_id, &claims)?,
            secret: self.vault().temporary_secret(&access_key_id),
            expires_ms: session.expires_ms,
            access_key_id,
        })
    }

    /// Begins a session of a role for what acts with it, such as a function; `None` when there is no such role. Whether
    /// the service may use the role is the caller's to check.
    pub fn service_session(
        &self,
        role_arn: &str,
        name: &str,
        (issued_ms, expires_ms): (i64, i64),
    ) -> Result<Option<TemporaryCredentials>, VaultError> {
        let view = self.view();
        let role = view.roles.get(&role_arn.rsplit('/').next().unwrap_or_default().to_lowercase());
        let Some(role) = role.filter(|role| role.arn(&view.account) == role_arn) else { return Ok(None) };
        let session = Session {
            kind: SessionKind::AssumedRole,
            issuer_arn: role_arn.to_owned(),
            issuer_id: role.id.clone(),
            name: name.to_owned(),
            policies: Vec::new(),
            policy_arns: Vec::new(),
            tags: Default::default(),
            transitive_tags: Vec::new(),
            source_identity: None,
            issued_ms,
            expires_ms,
        };
        self.issue(&session).map(Some)
    }

    /// The session that a token speaks of; `None` for one that was not made here for this key, or whose role or user
    /// is there no longer. Whether it has expired is the caller's to check.
    pub(crate) fn session(&self, access_key_id: &str, token: &str) -> Option<Session> {
        if token.len() > MAX_TOKEN_LEN {
            return None;
        }
        let claims = self.vault().open_token(access_key_id, token)?;
        serde_json::from_slice(&claims).ok()
    }
}
