//! Secrets at rest, and what is derived from the one key that protects them.
//!
//! The key is 32 random bytes: `CRATON_SECRETS_KEY` (64 hexadecimal digits), or a file of the data directory that only
//! its owner may read, made on the first start. Servers that share one database must be given the same key. Every use
//! has a key of its own, derived with HKDF, so that no ciphertext of one means anything to another.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use craton_wire::sigv4::Secret;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::private_file;

/// The variable with the key, and the file that has it otherwise.
pub const SECRETS_KEY: &str = "CRATON_SECRETS_KEY";
pub const SECRETS_FILE: &str = "secrets.key";

const KEY_LEN: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("{SECRETS_KEY} must be 64 hexadecimal digits")]
    BadKey,
    #[error("{path} must hold 64 hexadecimal digits")]
    BadFile { path: PathBuf },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the system has no random numbers")]
    NoRandomness,
    #[error("a stored secret was encrypted with another {SECRETS_KEY}")]
    WrongKey,
    #[error("the key can't be used")]
    Unusable,
}

/// Encrypts secrets and session tokens, and derives the secrets of temporary keys.
pub struct Vault {
    secrets: LessSafeKey,
    tokens: LessSafeKey,
    temporary: hmac::Key,
    random: SystemRandom,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// The vault of `key` (the variable's value) if there is one, else of the data directory's file.
    pub fn open(data_dir: &Path, key: Option<&Secret>) -> Result<Self, VaultError> {
        match key {
            Some(key) => Self::of(&decode(key.expose()).ok_or(VaultError::BadKey)?),
            None => Self::of(&from_file(data_dir)?),
        }
    }

    /// A vault whose key nobody keeps, for tests.
    pub fn forgetful() -> Result<Self, VaultError> {
        Self::of(&new_key()?)
    }

    fn of(key: &[u8; KEY_LEN]) -> Result<Self, VaultError> {
        let root = Salt::new(HKDF_SHA256, b"craton").extract(key);
        let derive = |purpose: &[u8]| -> Result<[u8; KEY_LEN], VaultError> {
            let mut out = [0; KEY_LEN];
            let info = [purpose];
            let okm = root.expand(&info, HKDF_SHA256).map_err(|_| VaultError::Unusable)?;
            okm.fill(&mut out).map_err(|_| VaultError::Unusable)?;
            Ok(out)
        };
        let cipher = |purpose: &[u8]| -> Result<LessSafeKey, VaultError> {
            let key = UnboundKey::new(&AES_256_GCM, &derive(purpose)?).map_err(|_| VaultError::Unusable)?;
            Ok(LessSafeKey::new(key))
        };
        Ok(Self {
            secrets: cipher(b"secrets at rest")?,
            tokens: cipher(b"session tokens")?,
            temporary: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"temporary keys")?),
            random: SystemRandom::new(),
        })
    }

    /// Encrypts a secret that belongs to `owner`: nobody else's opens it.
    pub fn seal(&self, owner: &str, secret: &Secret) -> Result<String, VaultError> {
        self.encrypt(&self.secrets, owner, secret.expose().as_bytes()).map(|sealed| STANDARD.encode(sealed))
    }

    pub fn open_sealed(&self, owner: &str, sealed: &str) -> Result<Secret, VaultError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| VaultError::WrongKey)?;
        let plain = decrypt(&self.secrets, owner, bytes).ok_or(VaultError::WrongKey)?;
        String::from_utf8(plain).map(Secret::new).map_err(|_| VaultError::WrongKey)
    }

    /// Encrypts what a session token says of `access_key_id`.
    pub(crate) fn seal_token(&self, access_key_id: &str, claims: &[u8]) -> Result<String, VaultError> {
        let sealed = self.encrypt(&self.tokens, access_key_id, claims)?;
        Ok(STANDARD_NO_PAD.encode(sealed))
    }

    /// `None` for a token that was not made here, for this key.
    pub(crate) fn open_token(&self, access_key_id: &str, token: &str) -> Option<Vec<u8>> {
        decrypt(&self.tokens, access_key_id, STANDARD_NO_PAD.decode(token).ok()?)
    }

    /// The secret of a temporary key: 40 characters that only this vault can work out again.
    pub(crate) fn temporary_secret(&self, access_key_id: &str) -> Secret {
        let tag = hmac::sign(&self.temporary, access_key_id.as_bytes());
        Secret::new(STANDARD.encode(&tag.as_ref()[..30]))
    }

    fn encrypt(&self, key: &LessSafeKey, owner: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| VaultError::NoRandomness)?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(owner.as_bytes()),
            &mut sealed,
        )
        .map_err(|_| VaultError::Unusable)?;
        sealed.splice(0..0, nonce);
        Ok(sealed)
    }
}

fn decrypt(key: &LessSafeKey, owner: &str, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let nonce = Nonce::try_assume_unique_for_key(sealed.get(..NONCE_LEN)?).ok()?;
    let plain = key.open_within(nonce, Aad::from(owner.as_bytes()), &mut sealed, NONCE_LEN..).ok()?;
    Some(plain.to_vec())
}

fn decode(text: &str) -> Option<[u8; KEY_LEN]> {
    let digits: &[u8; 2 * KEY_LEN] = text.trim().as_bytes().try_into().ok()?;
    let value = |digit: u8| char::from(digit).to_digit(16);
    let mut key = [0; KEY_LEN];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(value(pair[0])? * 16 + value(pair[1])?).ok()?;
    }
    Some(key)
}

fn new_key() -> Result<[u8; KEY_LEN], VaultError> {
    let mut key = [0; KEY_LEN];
    SystemRandom::new().fill(&mut key).map_err(|_| VaultError::NoRandomness)?;
    Ok(key)
}

fn from_file(data_dir: &Path) -> Result<[u8; KEY_LEN], VaultError> {
    let path = data_dir.join(SECRETS_FILE);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let key = new_key()?;
    let text: Zeroizing<String> = Zeroizing::new(key.iter().map(|byte| format!("{byte:02x}")).collect());
    match private_file::create_once(&path, &text) {
        Ok(()) => Ok(key),
        // Another server was first: its key is the one.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&path)?.ok_or(VaultError::BadFile { path })
        }
        Err(source) => Err(VaultError::Io { path, source }),
    }
}

fn read(path: &Path) -> Result<Option<[u8; KEY_LEN]>, VaultError> {
    let text = private_file::read(path).map_err(|source| VaultError::Io { path: path.to_owned(), source })?;
    let Some(text) = text else { return Ok(None) };
    decode(&text).map(Some).ok_or_else(|| VaultError::BadFile { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_opens_for_its_owner_and_its_key_only() {
        let vault = Vault::forgetful().unwrap();
        let sealed = vault.seal("AKIA1", &Secret::new("hunter2hunter2")).unwrap();
        assert!(!sealed.contains("hunter2"));
        assert_eq!(vault.open_sealed("AKIA1", &sealed).unwrap().expose(), "hunter2hunter2");
        assert!(vault.open_sealed("AKIA2", &sealed).is_err());
        assert!(Vault::forgetful().unwrap().open_sealed("AKIA1", &sealed).is_err());
        assert!(vault.open_token("AKIA1", &sealed).is_none(), "other keys for other uses");
        assert_ne!(sealed, vault.seal("AKIA1", &Secret::new("hunter2hunter2")).unwrap());
    }

    #[test]
    fn the_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Vault::open(folder.path(), None).unwrap();
        let sealed = first.seal("a", &Secret::new("s")).unwrap();
        let again = Vault::open(folder.path(), None).unwrap();
        assert_eq!(again.open_sealed("a", &sealed).unwrap().expose(), "s");
        let mode = std::fs::metadata(folder.path().join(SECRETS_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::fs::write(folder.path().join(SECRETS_FILE), "nonsense").unwrap();
        assert!(matches!(Vault::open(folder.path(), None), Err(VaultError::BadFile { .. })));
        let other = Secret::new("0".repeat(64));
        assert!(Vault::open(folder.path(), Some(&other)).unwrap().open_sealed("a", &sealed).is_err());
        assert!(Vault::open(folder.path(), Some(&Secret::new("short"))).is_err());
    }
}
