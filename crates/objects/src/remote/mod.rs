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

use std::path::PathBuf;

use craton_outbound::AwsCredentials;
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
    /// The environment variables that hold the credentials, where they don't have AWS's own names.
    #[serde(default)]
    pub access_key_id_env: Option<String>,
    #[serde(default)]
    pub secret_access_key_env: Option<String>,
    #[serde(default)]
    pub session_token_env: Option<String>,
    /// A profile of the credentials file in place of variables.
    #[serde(default)]
    pub aws_profile: Option<String>,
    #[serde(default)]
    pub aws_credentials_file: Option<PathBuf>,
}

impl RemoteConfig {
    fn credentials(&self) -> Result<AwsCredentials, RemoteError> {
        let variables = [&self.access_key_id_env, &self.secret_access_key_env, &self.session_token_env];
        let credentials = AwsCredentials::configured(
            self.aws_profile.as_deref(),
            self.aws_credentials_file.as_deref(),
            variables.map(Option::as_deref),
        );
        credentials.map_err(RemoteError::Settings)
    }
}

fn default_region() -> String {
    "us-east-1".into()
}

/// Why a real S3 can't be used as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("{0}")]
    Settings(&'static str),
    #[error(transparent)]
    Keys(#[from] craton_outbound::CredentialsError),
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
    /// Looks whether the credentials are there; asks nobody yet.
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
