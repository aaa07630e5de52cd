//! Buckets of a real S3, or of whatever speaks its API, reached over HTTP with our own signer.
//!
//! Why no client library: the seam needs versions, tags, conditional writes and uploads that are resumed, which
//! `object_store` has no words for, and the signer is here already. Requests are path-style. Reads and small requests
//! are tried again when the trouble is passing; a streamed body is sent once. What a client promised of a body is
//! checked before its last bytes go out, so that a wrong body is never stored.

mod client;
mod errors;
mod read;
mod store;
mod upload;
mod uploads;
mod xml;

use serde::Deserialize;

use client::Client;

/// `[[bucket]]`: a bucket that lives in a real S3.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// The bucket's name here; `*` for every bucket that is not named.
    pub name: String,
    /// `https://s3.eu-west-1.amazonaws.com`.
    pub endpoint: String,
    #[serde(default = "default_region")]
    pub region: String,
    /// The bucket's name there, where it is another.
    #[serde(default)]
    pub remote_name: Option<String>,
    /// The environment variables that hold the credentials.
    #[serde(default = "default_access_key_id_env")]
    pub access_key_id_env: String,
    #[serde(default = "default_secret_access_key_env")]
    pub secret_access_key_env: String,
    #[serde(default = "default_session_token_env")]
    pub session_token_env: String,
}

fn default_region() -> String {
    "us-east-1".into()
}

fn default_access_key_id_env() -> String {
    "AWS_ACCESS_KEY_ID".into()
}

fn default_secret_access_key_env() -> String {
    "AWS_SECRET_ACCESS_KEY".into()
}

fn default_session_token_env() -> String {
    "AWS_SESSION_TOKEN".into()
}

/// Why a real S3 can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("the environment variable {name} is not set")]
    Variable { name: String },
    #[error("endpoint: {0}")]
    Endpoint(String),
    #[error("TLS: {0}")]
    Tls(#[from] craton_outbound::TlsError),
}

/// Buckets of a real S3.
pub struct S3Objects {
    client: Client,
    /// The name here and the name there, of a bucket that has two.
    renamed: Option<(String, String)>,
}

impl S3Objects {
    /// Reads the credentials from the environment; asks nobody yet.
    pub fn new(config: &RemoteConfig) -> Result<Self, RemoteError> {
        let uri: http::Uri =
            config.endpoint.parse().map_err(|error| RemoteError::Endpoint(format!("{error}")))?;
        let plain = uri.path().trim_end_matches('/').is_empty() && uri.query().is_none();
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() || !plain {
            return Err(RemoteError::Endpoint("must be http://HOST[:PORT] or https://HOST[:PORT]".into()));
        }
        if config.name == "*" && config.remote_name.is_some() {
            return Err(RemoteError::Endpoint("remote_name can't be given for every bucket".into()));
        }
        let renamed = config.remote_name.clone().map(|theirs| (config.name.clone(), theirs));
        Ok(Self { client: Client::new(config)?, renamed })
    }

    /// A bucket's name there.
    fn theirs<'a>(&'a self, bucket: &'a str) -> &'a str {
        match &self.renamed {
            Some((ours, theirs)) if ours == bucket => theirs,
            _ => bucket,
        }
    }

    /// An error with the bucket's name as it is here.
    fn ours(&self, error: crate::ObjectError) -> crate::ObjectError {
        use crate::ObjectError as E;
        let Some((ours, theirs)) = &self.renamed else { return error };
        match error {
            E::NoSuchBucket(name) if name == *theirs => E::NoSuchBucket(ours.clone()),
            E::BucketExists(name) if name == *theirs => E::BucketExists(ours.clone()),
            E::BucketNotEmpty(name) if name == *theirs => E::BucketNotEmpty(ours.clone()),
            other => other,
        }
    }
}
