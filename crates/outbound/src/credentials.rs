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
    /// AWS's own names of variables.
    fn default() -> Self {
        Self::variables([None; 3])
    }
}

impl AwsCredentials {
    /// As configuration names them, in `aws_profile`, `aws_credentials_file` and the `…_env` of access key id, secret
    /// access key and session token, each of which has AWS's own name unless another is given. Settings that would be
    /// passed over are refused.
    pub fn configured(
        profile: Option<&str>,
        file: Option<&Path>,
        variables: [Option<&str>; 3],
    ) -> Result<Self, &'static str> {
        match profile {
            Some(_) if variables.iter().any(Option::is_some) => {
                Err("give `aws_profile` or names of environment variables, not both")
            }
            Some(name) => Ok(Self::Profile { profile: name.to_owned(), file: file.map(Path::to_owned) }),
            None if file.is_some() => Err("`aws_credentials_file` needs `aws_profile`"),
            None => Ok(Self::variables(variables)),
        }
    }

    fn variables(given: [Option<&str>; 3]) -> Self {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
        let [id, secret, token] = [0, 1, 2].map(|at| given[at].unwrap_or(names[at]).to_owned());
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

impl Credentials {
    fn is(&self, other: &Self) -> bool {
        let token = |of: &Self| of.session_token.as_ref().map(|token| token.expose().to_owned());
        self.access_key_id == other.access_key_id
            && self.secret.secret().expose() == other.secret.secret().expose()
            && token(self) == token(other)
    }
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
            && known.is(&found)
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
        let named = AwsCredentials::configured(None, None, [None, Some("MY_SECRET"), None]);
        let expected = AwsCredentials::Environment {
            access_key_id: "AWS_ACCESS_KEY_ID".into(),
            secret_access_key: "MY_SECRET".into(),
            session_token: "AWS_SESSION_TOKEN".into(),
        };
        assert_eq!(named, Ok(expected));
        assert_eq!(AwsCredentials::configured(None, None, [None; 3]), Ok(AwsCredentials::default()));
    }

    #[test]
    fn settings_that_would_be_passed_over_are_refused() {
        let file = Path::new("/keys");
        let profile = AwsCredentials::configured(Some("work"), Some(file), [None; 3]);
        assert_eq!(
            profile,
            Ok(AwsCredentials::Profile { profile: "work".into(), file: Some(file.to_owned()) })
        );
        let both = AwsCredentials::configured(Some("work"), None, [None, None, Some("TOKEN")]);
        assert!(both.unwrap_err().contains("not both"));
        let alone = AwsCredentials::configured(None, Some(file), [None; 3]);
        assert!(alone.unwrap_err().contains("needs `aws_profile`"));
    }

    #[test]
    fn a_corrected_secret_is_noticed_under_the_same_key_and_what_stayed_is_kept() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |secret: &str| {
            let text = format!("[a]\naws_access_key_id = A\naws_secret_access_key = {secret}\n");
            std::fs::write(file.path(), text).unwrap();
        };
        write("mistyped");
        let from = AwsCredentials::configured(Some("a"), Some(file.path()), [None; 3]).unwrap();
        let source = CredentialSource::new(from);
        let first = source.get().unwrap();
        let grow_old = || {
            let mut latest = source.latest.lock();
            let (_, since) = latest.as_mut().unwrap();
            *since = since.checked_sub(KEEP).unwrap();
        };
        grow_old();
        assert!(Arc::ptr_eq(&first, &source.get().unwrap()), "what was derived from it is kept");
        write("right");
        assert_eq!(source.get().unwrap().secret.secret().expose(), "mistyped", "not read at every call");
        grow_old();
        assert_eq!(source.get().unwrap().secret.secret().expose(), "right");
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
