use std::io;
use std::path::{Path, PathBuf};

use craton_wire::sigv4::Secret;
use zeroize::Zeroizing;

use crate::directory::new_key;
use crate::private_file;

/// Name of the credentials file inside a data directory, in the format of `~/.aws/credentials`.
pub const CREDENTIALS_FILE: &str = "credentials";
const ACCESS_KEY_ID: &str = "CRATON_ROOT_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "CRATON_ROOT_SECRET_ACCESS_KEY";

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("{set} is set but {missing} is not; set both or neither")]
    OneOfTwo { set: &'static str, missing: &'static str },
    #[error("{0}")]
    Malformed(String),
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Where root credentials came from, for the start-up table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Environment,
    File(PathBuf),
    /// Made now, because there were none.
    Created(PathBuf),
}

/// The key pair that may do everything in this account.
#[derive(Debug, Clone)]
pub struct RootCredentials {
    access_key_id: String,
    secret: Secret,
    origin: Origin,
}

/// The two environment variables that replace the credentials file, as they are set.
#[derive(Debug, Clone, Default)]
pub struct RootKeys {
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
}

impl RootKeys {
    /// From `CRATON_ROOT_ACCESS_KEY_ID` and `CRATON_ROOT_SECRET_ACCESS_KEY`. An empty variable counts as not set.
    pub fn from_env() -> Self {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            access_key_id: read(ACCESS_KEY_ID),
            secret_access_key: read(SECRET_ACCESS_KEY).map(Secret::new),
        }
    }
}

impl RootCredentials {
    /// The credentials in `keys`, else those in the data directory, else new ones written there.
    pub fn resolve(data_dir: &Path, keys: RootKeys) -> Result<Self, CredentialsError> {
        match (keys.access_key_id, keys.secret_access_key) {
            (Some(id), Some(secret)) => Self::new(id, secret, Origin::Environment),
            (Some(_), None) => {
                Err(CredentialsError::OneOfTwo { set: ACCESS_KEY_ID, missing: SECRET_ACCESS_KEY })
            }
            (None, Some(_)) => {
                Err(CredentialsError::OneOfTwo { set: SECRET_ACCESS_KEY, missing: ACCESS_KEY_ID })
            }
            (None, None) => Self::load_or_create(data_dir),
        }
    }

    /// The credentials in `keys`, else those in the data directory; `None` when there are none yet.
    pub fn find(data_dir: &Path, keys: RootKeys) -> Result<Option<Self>, CredentialsError> {
        let absent = keys.access_key_id.is_none() && keys.secret_access_key.is_none();
        if absent && !data_dir.join(CREDENTIALS_FILE).exists() {
            return Ok(None);
        }
        Self::resolve(data_dir, keys).map(Some)
    }

    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    fn new(access_key_id: String, secret: Secret, origin: Origin) -> Result<Self, CredentialsError> {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if access_key_id.is_empty()
            || access_key_id.len() > 128
            || !plain(&access_key_id)
            || access_key_id.contains(['/', ',', '='])
        {
            return Err(CredentialsError::Malformed(
                "the root access key id must be 1 to 128 visible ASCII characters without / , =".into(),
            ));
        }
        if !(8..=256).contains(&secret.expose().len()) || !plain(secret.expose()) {
            return Err(CredentialsError::Malformed(
                "the root secret access key must be 8 to 256 visible ASCII characters".into(),
            ));
        }
        Ok(Self { access_key_id, secret, origin })
    }

    fn load_or_create(data_dir: &Path) -> Result<Self, CredentialsError> {
        let path = data_dir.join(CREDENTIALS_FILE);
        if let Some(found) = load(&path)? {
            return Ok(found);
        }
        let made = Self::generate(Origin::Created(path.clone()));
        match create(&path, &made) {
            Ok(()) => Ok(made),
            // Another server was first: its credentials are the ones.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(&path)?.ok_or_else(|| {
                CredentialsError::File { path, reason: "appeared and went away again".into() }
            }),
            Err(source) => Err(CredentialsError::Io { path, source }),
        }
    }

    /// Keys shaped like AWS's: `AKIA` and 16 characters; 40 characters of base64's alphabet, 240 bits.
    fn generate(origin: Origin) -> Self {
        let (access_key_id, secret) = new_key("AKIA");
        Self { access_key_id, secret, origin }
    }
}

/// Reads a credentials file; `None` when there is none.
fn load(path: &Path) -> Result<Option<RootCredentials>, CredentialsError> {
    let read = private_file::read(path);
    let read = read.map_err(|source| CredentialsError::Io { path: path.to_owned(), source })?;
    let Some(text) = read else { return Ok(None) };
    let wrong = |reason: &str| CredentialsError::File { path: path.to_owned(), reason: reason.to_owned() };
    let id = default_value(&text, "aws_access_key_id")
        .ok_or_else(|| wrong("no aws_access_key_id under [default]"))?;
    let secret = default_value(&text, "aws_secret_access_key")
        .ok_or_else(|| wrong("no aws_secret_access_key under [default]"))?;
    let origin = Origin::File(path.to_owned());
    RootCredentials::new(id.to_owned(), Secret::new(secret), origin)
        .map(Some)
        .map_err(|error| wrong(&error.to_string()))
}

/// The value of `name` in the `[default]` profile.
fn default_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut in_default = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_default = line == "[default]";
        } else if in_default
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == name
        {
            return Some(value.trim());
        }
    }
    None
}

fn create(path: &Path, made: &RootCredentials) -> io::Result<()> {
    let text = Zeroizing::new(format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        made.access_key_id,
        made.secret.expose()
    ));
    private_file::create_once(path, &text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn keys(id: Option<&str>, secret: Option<&str>) -> RootKeys {
        RootKeys { access_key_id: id.map(str::to_owned), secret_access_key: secret.map(Secret::new) }
    }

    #[test]
    fn created_once_private_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let made = RootCredentials::resolve(&data, RootKeys::default()).unwrap();
        let path = data.join(CREDENTIALS_FILE);
        assert_eq!(made.origin(), &Origin::Created(path.clone()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "the draft is gone");
        let again = RootCredentials::resolve(&data, RootKeys::default()).unwrap();
        assert_eq!(again.origin(), &Origin::File(path));
        assert_eq!(again.access_key_id(), made.access_key_id());
        assert_eq!(again.secret().expose(), made.secret().expose());
        assert_eq!((made.access_key_id().len(), made.secret().expose().len()), (20, 40));
    }

    #[test]
    fn servers_that_start_together_agree() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<String> = std::thread::scope(|scope| {
            let start = || RootCredentials::resolve(dir.path(), RootKeys::default()).unwrap().access_key_id;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn the_environment_wins_and_half_of_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let both =
            RootCredentials::resolve(dir.path(), keys(Some("AKIDEXAMPLE"), Some("secret-key"))).unwrap();
        assert_eq!((both.access_key_id(), both.origin()), ("AKIDEXAMPLE", &Origin::Environment));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        for half in [keys(Some("AKIDEXAMPLE"), None), keys(None, Some("secret-key"))] {
            let error = RootCredentials::resolve(dir.path(), half).unwrap_err();
            assert!(matches!(error, CredentialsError::OneOfTwo { .. }), "{error}");
        }
        let error = RootCredentials::resolve(dir.path(), keys(Some("a/b"), Some("secret-key"))).unwrap_err();
        assert!(matches!(error, CredentialsError::Malformed(_)), "{error}");
    }

    #[test]
    fn other_profiles_are_passed_over_and_open_files_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CREDENTIALS_FILE);
        let text = "[other]\naws_access_key_id=NO\n\n[default]\n# mine\naws_access_key_id=AKIDFILE\n\
                    aws_secret_access_key = abc=/+defg\n";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let found = RootCredentials::resolve(dir.path(), RootKeys::default()).unwrap();
        assert_eq!((found.access_key_id(), found.secret().expose()), ("AKIDFILE", "abc=/+defg"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(CREDENTIALS_FILE);
        for text in
            ["", "[default]\naws_access_key_id = A\n", "aws_access_key_id = A\naws_secret_access_key = B\n"]
        {
            fs::write(&path, text).unwrap();
            let error = RootCredentials::resolve(dir.path(), RootKeys::default()).unwrap_err();
            assert!(matches!(error, CredentialsError::File { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
