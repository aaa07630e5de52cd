//! Where the credentials of an AWS account come from that others than its owner call: Bedrock's as an upstream, functions
//! of a real Lambda, an OpenSearch that takes signed requests only.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_wire::sigv4::{Secret, SigningSecret};
use parking_lot::Mutex;

/// A rotated profile or variable is noticed after this long.
const KEEP: Duration = Duration::from_secs(60);

/// Where an account's keys are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AwsCredentials {
    /// Names of environment variables; an unset `session_token` means that there is none.
    Environment { access_key_id: String, secret_access_key: String, session_token: String },
    /// A profile of `AWS_SHARED_CREDENTIALS_FILE` or `~/.aws/credentials`, or of `file`.
    Profile { profile: String, file: Option<PathBuf> },
}

impl Default for AwsCredentials {
    fn default() -> Self {
        Self::configured(None, [None; 3])
    }
}

impl AwsCredentials {
    /// As configuration names them: a profile and its file, else the variables of access key id, secret access key and
    /// session token, each of which has AWS's own name unless another is given.
    pub fn configured(profile: Option<(&str, Option<&Path>)>, variables: [Option<&str>; 3]) -> Self {
        if let Some((profile, file)) = profile {
            return Self::Profile { profile: profile.to_owned(), file: file.map(Path::to_owned) };
        }
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
        let [id, secret, token] = [0, 1, 2].map(|at| variables[at].unwrap_or(names[at]).to_owned());
        Self::Environment { access_key_id: id, secret_access_key: secret, session_token: token }
    }
}

/// There are no keys where they should be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct CredentialsError(String);

/// The keys of an account, to sign with.
pub struct Credentials {
    pub access_key_id: String,
    pub secret: SigningSecret,
    pub session_token: Option<Secret>,
}

/// Reads credentials, and reads them again when they are old.
pub struct CredentialSource {
    from: AwsCredentials,
    latest: Mutex<Option<(Arc<Credentials>, Instant)>>,
}

impl CredentialSource {
    pub fn new(from: AwsCredentials) -> Self {
        Self { from, latest: Mutex::new(None) }
    }

    /// Errors: there are none.
    pub fn get(&self) -> Result<Arc<Credentials>, CredentialsError> {
        let mut latest = self.latest.lock();
        if let Some((credentials, since)) = &*latest
            && since.elapsed() < KEEP
        {
            return Ok(credentials.clone());
        }
        let found = Arc::new(read(&self.from).map_err(CredentialsError)?);
        // A key that has not changed keeps what was derived from it.
        if let Some((known, since)) = &mut *latest
            && known.access_key_id == found.access_key_id
            && known.session_token.as_ref().map(Secret::expose)
                == found.session_token.as_ref().map(Secret::expose)
        {
            *since = Instant::now();
            return Ok(known.clone());
        }
        *latest = Some((found.clone(), Instant::now()));
        Ok(found)
    }
}

fn read(from: &AwsCredentials) -> Result<Credentials, String> {
    match from {
        AwsCredentials::Environment { access_key_id, secret_access_key, session_token } => {
            let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            let need = |name: &str| {
                variable(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))
            };
            Ok(credentials(need(access_key_id)?, need(secret_access_key)?, variable(session_token)))
        }
        AwsCredentials::Profile { profile, file } => {
            let file = file.clone().or_else(default_file).ok_or("there is no home directory")?;
            let text =
                std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            let value = |name: &str| profile_value(&text, profile, name);
            let need = |name: &str| {
                value(name).ok_or_else(|| format!("{}: profile `{profile}` has no {name}", file.display()))
            };
            let (id, secret) = (need("aws_access_key_id")?, need("aws_secret_access_key")?);
            Ok(credentials(id.to_owned(), secret.to_owned(), value("aws_session_token").map(str::to_owned)))
        }
    }
}

fn credentials(access_key_id: String, secret: String, session_token: Option<String>) -> Credentials {
    Credentials {
        access_key_id,
        secret: SigningSecret::new(Secret::new(secret)),
        session_token: session_token.map(Secret::new),
    }
}

fn default_file() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE") {
        return Some(file.into());
    }
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".aws/credentials"))
}

/// The value of `name` in the section `[profile]` of an AWS credentials file.
fn profile_value<'a>(text: &'a str, profile: &str, name: &str) -> Option<&'a str> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = section.trim() == profile;
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == name
        {
            return Some(value.trim());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = A\naws_secret_access_key=s=/+\n\n[ work ]\naws_access_key_id=B\n";

    #[test]
    fn variables_have_their_usual_names_unless_others_are_given() {
        let named = AwsCredentials::configured(None, [None, Some("MY_SECRET"), None]);
        let expected = AwsCredentials::Environment {
            access_key_id: "AWS_ACCESS_KEY_ID".into(),
            secret_access_key: "MY_SECRET".into(),
            session_token: "AWS_SESSION_TOKEN".into(),
        };
        assert_eq!(named, expected);
        let profile = AwsCredentials::configured(Some(("work", None)), [Some("ID"), None, None]);
        assert_eq!(profile, AwsCredentials::Profile { profile: "work".into(), file: None });
    }

    #[test]
    fn profiles_are_told_apart() {
        assert_eq!(profile_value(FILE, "default", "aws_access_key_id"), Some("A"));
        assert_eq!(profile_value(FILE, "default", "aws_secret_access_key"), Some("s=/+"));
        assert_eq!(profile_value(FILE, "work", "aws_access_key_id"), Some("B"));
        assert_eq!(profile_value(FILE, "work", "aws_secret_access_key"), None);
        assert_eq!(profile_value(FILE, "other", "aws_access_key_id"), None);
    }
}
