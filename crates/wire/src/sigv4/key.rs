use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use ring::hmac;
use zeroize::Zeroizing;

use super::TERMINATOR;

/// Text that must not be shown: no `Display`, a `Debug` that hides it, and memory that is wiped when it goes.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every use is a place to check that it goes nowhere it can be read.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret access key with the signing keys derived from it.
///
/// Deriving takes four HMACs, as much as the rest of a small request's verification, and gives the same key all day;
/// so the last few are kept. They live with their secret: when a credential goes, so do they.
pub struct SigningSecret {
    secret: Secret,
    derived: RwLock<Vec<Arc<SigningKey>>>,
}

pub(crate) struct SigningKey {
    /// `YYYYMMDD`.
    date: String,
    region: String,
    service: String,
    key: hmac::Key,
}

/// Regions × services × (today, yesterday) that one key is used for at a time.
const KEPT: usize = 16;

impl SigningSecret {
    pub fn new(secret: Secret) -> Self {
        Self { secret, derived: RwLock::new(Vec::new()) }
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The signing key of a scope, from those kept or derived now. See [`Self::keep`].
    pub(crate) fn key(&self, date: &str, region: &str, service: &str) -> Arc<SigningKey> {
        let kept = self.derived.read();
        match kept.iter().find(|key| key.region == region && key.service == service && key.date == date) {
            Some(key) => Arc::clone(key),
            None => Arc::new(SigningKey::derive(&self.secret, date, region, service)),
        }
    }

    /// Keeps a key for the next request. Called once a signature made with it was right, so that strangers who name
    /// made-up regions can't push out the keys in use.
    pub(crate) fn keep(&self, key: &Arc<SigningKey>) {
        if self.derived.read().iter().any(|kept| Arc::ptr_eq(kept, key)) {
            return;
        }
        let mut kept = self.derived.write();
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(Arc::clone(key));
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

impl SigningKey {
    fn derive(secret: &Secret, date: &str, region: &str, service: &str) -> Self {
        let first = Zeroizing::new(format!("AWS4{}", secret.expose()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [date, region, service, TERMINATOR] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        Self { date: date.to_owned(), region: region.to_owned(), service: service.to_owned(), key }
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.key, text);
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = SigningSecret::new(Secret::new("hunter2"));
        assert!(!format!("{secret:?} {:?}", secret.secret()).contains("hunter2"));
    }

    #[test]
    fn kept_keys_are_bounded_and_reused() {
        let secret = SigningSecret::new(Secret::new("s"));
        for region in 0..40 {
            let key = secret.key("20240101", &region.to_string(), "bedrock");
            secret.keep(&key);
        }
        assert_eq!(secret.derived.read().len(), KEPT);
        let first = secret.key("20240101", "39", "bedrock");
        assert!(Arc::ptr_eq(&first, &secret.key("20240101", "39", "bedrock")));
        assert!(!Arc::ptr_eq(&first, &secret.key("20240102", "39", "bedrock")));
    }
}
