//! Changes to access keys and to long-term API keys. Secrets are made here, told once, and kept encrypted or hashed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use craton_core::DAY_MS;
use craton_wire::sigv4::{Secret, sha256};
use rand::RngExt as _;

use super::entities::{AccessKey, ServiceCredential};
use super::error::DirectoryError;
use super::state::Draft;
use super::vault::Vault;

const MAX_KEYS_PER_USER: usize = 2;
/// The one service with credentials of its own here.
pub const BEDROCK: &str = "bedrock.amazonaws.com";
/// How a long-term API key begins.
pub const API_KEY_PREFIX: &str = "ABSK";

const MAX_API_KEY_LEN: usize = 1_024;
pub(crate) const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Random characters of an alphabet.
pub(crate) fn pick(alphabet: &[u8], length: usize) -> String {
    let mut random = rand::rng();
    (0..length).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
}

/// A new id as AWS makes them: a prefix of four letters, such as `AIDA`, and 17 characters.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", pick(LETTERS, 17))
}

/// A new access key id: `AKIA` for a user's, `ASIA` for a session's.
pub(crate) fn new_key_id(prefix: &str) -> String {
    format!("{prefix}{}", pick(LETTERS, 16))
}

/// A new key shaped like AWS's: its id, and 40 characters of base64's alphabet, 240 bits.
pub(crate) fn new_key(prefix: &str) -> (String, Secret) {
    (new_key_id(prefix), Secret::new(pick(SECRET_LETTERS, 40)))
}

impl Draft {
    /// A new access key, with its secret.
    pub fn create_access_key(
        &mut self,
        user: &str,
        vault: &Vault,
    ) -> Result<(Arc<AccessKey>, Secret), DirectoryError> {
        let user = Arc::clone(self.state.user(user)?);
        if self.state.keys_of(&user).count() >= MAX_KEYS_PER_USER {
            return Err(DirectoryError::quota("AccessKeysPerUser", MAX_KEYS_PER_USER));
        }
        let (id, secret) = new_key("AKIA");
        let sealed = vault.seal(&id, &secret)?;
        let key = AccessKey { id, user_id: user.id.clone(), active: true, created_ms: self.now_ms, sealed };
        Ok((self.put(key)?, secret))
    }

    pub fn set_access_key_active(
        &mut self,
        user: &str,
        id: &str,
        active: bool,
    ) -> Result<(), DirectoryError> {
        let mut key = self.key_of(user, id)?;
        key.active = active;
        self.put(key).map(drop)
    }

    pub fn delete_access_key(&mut self, user: &str, id: &str) -> Result<(), DirectoryError> {
        let key = self.key_of(user, id)?;
        self.remove::<AccessKey>(&key.id);
        Ok(())
    }

    fn key_of(&self, user: &str, id: &str) -> Result<AccessKey, DirectoryError> {
        let user = self.state.user(user)?;
        let key = self.state.access_key(id)?;
        if key.user_id == user.id {
            return Ok(AccessKey::clone(key));
        }
        Err(DirectoryError::NoSuchEntity(format!("The Access Key with id {id} cannot be found.")))
    }

    /// A new long-term API key, good for `days` or until it is deleted. The text is the whole key.
    pub fn create_service_credential(
        &mut self,
        user: &str,
        service: &str,
        days: Option<i32>,
    ) -> Result<(Arc<ServiceCredential>, Secret), DirectoryError> {
        if service != BEDROCK {
            return Err(DirectoryError::NotAttachable(format!(
                "No such service {service} is supported for Service Specific Credentials"
            )));
        }
        let user = Arc::clone(self.state.user(user)?);
        if self.state.credentials_of(&user).filter(|own| own.service == service).count() >= MAX_KEYS_PER_USER
        {
            return Err(DirectoryError::quota("ServiceSpecificCredentialsPerUser", MAX_KEYS_PER_USER));
        }
        let (text, secret) = new_api_key(&self.state.account);
        let credential = ServiceCredential {
            id: new_id("ACCA"),
            user_id: user.id.clone(),
            service: service.to_owned(),
            alias: text,
            active: true,
            created_ms: self.now_ms,
            expires_ms: days.map(|days| self.now_ms + i64::from(days) * DAY_MS),
            secret_sha256: hash(&secret),
        };
        let key = api_key_text(&credential.alias, &secret);
        Ok((self.put(credential)?, key))
    }

    /// A new secret for a credential that is there.
    pub fn reset_service_credential(
        &mut self,
        user: Option<&str>,
        id: &str,
    ) -> Result<(Arc<ServiceCredential>, Secret), DirectoryError> {
        let mut credential = self.credential_of(user, id)?;
        let secret = new_secret();
        credential.secret_sha256 = hash(&secret);
        let key = api_key_text(&credential.alias, &secret);
        Ok((self.put(credential)?, key))
    }

    pub fn set_service_credential_active(
        &mut self,
        user: Option<&str>,
        id: &str,
        active: bool,
    ) -> Result<(), DirectoryError> {
        let mut credential = self.credential_of(user, id)?;
        credential.active = active;
        self.put(credential).map(drop)
    }

    pub fn delete_service_credential(&mut self, user: Option<&str>, id: &str) -> Result<(), DirectoryError> {
        let credential = self.credential_of(user, id)?;
        self.remove::<ServiceCredential>(&credential.id);
        Ok(())
    }

    fn credential_of(&self, user: Option<&str>, id: &str) -> Result<ServiceCredential, DirectoryError> {
        let credential = self.state.service_credential(id)?;
        let owner = user.map(|user| self.state.user(user)).transpose()?;
        if owner.is_some_and(|owner| owner.id != credential.user_id) {
            let message = format!("No such credential {id} exists for the user.");
            return Err(DirectoryError::NoSuchEntity(message));
        }
        Ok(ServiceCredential::clone(credential))
    }
}

/// The alias in a long-term API key, and the hash of its secret.
pub(super) fn read_api_key(text: &str) -> Option<(String, String)> {
    let encoded = text.strip_prefix(API_KEY_PREFIX).filter(|rest| rest.len() <= MAX_API_KEY_LEN)?;
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (alias, secret) = decoded.split_once(':')?;
    Some((alias.to_owned(), hash(&Secret::new(secret))))
}

fn new_secret() -> Secret {
    let bytes: [u8; 36] = std::array::from_fn(|_| rand::rng().random());
    Secret::new(STANDARD.encode(bytes))
}

/// The alias of a new key, and its secret.
fn new_api_key(account: &str) -> (String, Secret) {
    let mark = pick(b"abcdefghijklmnopqrstuvwxyz0123456789", 8);
    (format!("BedrockAPIKey-{mark}-at-{account}"), new_secret())
}

fn api_key_text(alias: &str, secret: &Secret) -> Secret {
    let inside = format!("{alias}:{}", secret.expose());
    Secret::new(format!("{API_KEY_PREFIX}{}", STANDARD.encode(inside)))
}

fn hash(secret: &Secret) -> String {
    sha256(secret.expose().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
