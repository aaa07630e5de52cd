//! Functions that configuration sends elsewhere: to an HTTP endpoint, to a real AWS Lambda, to a folder of sources.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use craton_backend::function::FunctionError;
use craton_core::{Arn, first_chars};
use craton_outbound::{CredentialSource, Pool};
use craton_wire::sigv4::{PathEncoding, Secret, Signer, sha256, sign_request};
use http::response::Parts;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};

use crate::config::{MappedFunction, Target};
use crate::runtime::{Event, MAX_PAYLOAD_BYTES, Outcome, error_payload};

const DEFAULT_TIMEOUT_S: u32 = 30;
/// What stands as it is in a part of a path.
const LABEL: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Files of a folder whose changes are looked for.
const MAX_WATCHED_FILES: usize = 2_000;

/// The functions of the configuration, by name.
pub(crate) struct Mapped {
    functions: HashMap<String, Function>,
    /// Made when the first function elsewhere is called.
    client: OnceLock<Pool<Full<Bytes>>>,
}

/// A function that is not run from an archive here.
pub(crate) struct Function {
    pub place: Place,
    pub timeout_s: u32,
}

pub(crate) enum Place {
    Url(String),
    Folder { folder: PathBuf, runtime: String, handler: String },
    Aws(Arc<Far>),
}

/// A function of a real AWS Lambda, and the account it is called with.
pub(crate) struct Far {
    arn: Arn,
    endpoint: String,
    source: CredentialSource,
}

impl Function {
    fn new(configured: &MappedFunction) -> Result<Self, String> {
        let place = match configured.target()? {
            Target::Url(url) => Place::Url(url),
            Target::Folder { folder, runtime, handler } => Place::Folder { folder, runtime, handler },
            Target::Aws { arn, endpoint, credentials } => {
                let own = || format!("https://lambda.{}.amazonaws.com", arn.region);
                let endpoint = endpoint.unwrap_or_else(own);
                Place::Aws(Arc::new(Far { arn, endpoint, source: CredentialSource::new(credentials) }))
            }
        };
        Ok(Self { place, timeout_s: configured.timeout_s.unwrap_or(DEFAULT_TIMEOUT_S) })
    }
}

/// A call of a function elsewhere.
pub(crate) struct FarCall {
    pub event: Event,
    /// What the function is here: `$LATEST`, a number or an alias; none where the caller named none.
    pub qualifier: Option<String>,
    /// When it is signed; milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl Mapped {
    /// Errors: what is wrong with the first that is.
    pub(crate) fn new(functions: &[MappedFunction]) -> Result<Self, String> {
        let read = |configured: &MappedFunction| Ok((configured.name.clone(), Function::new(configured)?));
        let functions = functions.iter().map(read).collect::<Result<_, String>>()?;
        Ok(Self { functions, client: OnceLock::new() })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Function> {
        self.functions.get(name)
    }

    /// Posts an event to an endpoint. An answer that is no success is the function's failure.
    pub(crate) async fn post(
        &self,
        url: &str,
        payload: Bytes,
        patience: Duration,
    ) -> Result<Outcome, FunctionError> {
        let request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(payload)).map_err(|error| unavailable(url, &error))?;
        let (head, payload) = match self.send(request, url, patience).await? {
            Sent::Answered(head, payload) => (head, payload),
            Sent::Broken(outcome) => return Ok(outcome),
        };
        Ok(Outcome { payload, failed: !head.status.is_success(), log_tail: String::new() })
    }

    /// Calls a function of a real AWS Lambda, or of anything that speaks its API, signed with the account configured.
    pub(crate) async fn call(
        &self,
        far: &Far,
        call: FarCall,
        patience: Duration,
    ) -> Result<Outcome, FunctionError> {
        let Far { arn: named, endpoint, source } = far;
        let arn = &named.to_string();
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, LABEL).to_string();
        let qualifier = call.qualifier.map(|qualifier| format!("?Qualifier={}", encode(&qualifier)));
        let url = format!(
            "{endpoint}/2015-03-31/functions/{}/invocations{}",
            encode(arn),
            qualifier.unwrap_or_default()
        );
        let request = Request::post(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-amz-invocation-type", "RequestResponse")
            .header("x-amz-log-type", "Tail");
        let request = match &call.event.client_context {
            Some(context) => request.header("x-amz-client-context", STANDARD.encode(context)),
            None => request,
        };
        let (mut parts, ()) = request.body(()).map_err(|error| unavailable(&url, &error))?.into_parts();
        let payload = call.event.payload;
        let credentials = source.get().map_err(|error| unavailable(arn, &error))?;
        let signer = Signer {
            access_key_id: &credentials.access_key_id,
            secret: &credentials.secret,
            session_token: credentials.session_token.as_ref().map(Secret::expose),
            region: &named.region,
            service: "lambda",
            path: PathEncoding::Double,
        };
        sign_request(&mut parts, &sha256(&payload), &signer, call.now_ms)
            .map_err(|error| unavailable(arn, &error))?;
        let request = Request::from_parts(parts, Full::new(payload));
        match self.send(request, arn, patience).await? {
            Sent::Answered(head, payload) => far_answer(arn, &head, payload),
            Sent::Broken(outcome) => Ok(outcome),
        }
    }

    fn client(&self, place: &str) -> Result<&Pool<Full<Bytes>>, FunctionError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = craton_outbound::pool().map_err(|error| unavailable(place, &error))?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Sends a call. Only what was surely not called is an error.
    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        place: &str,
        patience: Duration,
    ) -> Result<Sent, FunctionError> {
        let client = self.client(place)?;
        let answering = async {
            let response = match client.request(request).await {
                Ok(response) => response,
                Err(error) if error.is_connect() => return Err(unavailable(place, &error)),
                Err(error) => return Ok(Sent::broken(place, &error)),
            };
            let (head, body) = response.into_parts();
            Ok(match Limited::new(body, MAX_PAYLOAD_BYTES).collect().await {
                Ok(body) => Sent::Answered(head, body.to_bytes()),
                Err(error) => Sent::broken(place, &error),
            })
        };
        let answer = tokio::time::timeout(patience, answering).await;
        answer.unwrap_or_else(|_| {
            let text = format!("Task timed out after {:.2} seconds", patience.as_secs_f64());
            Ok(Sent::Broken(failure("Sandbox.Timedout", &text)))
        })
    }
}

/// What came of a call that was sent.
enum Sent {
    Answered(Parts, Bytes),
    /// The function may have run: that is its failure, as of one that runs here.
    Broken(Outcome),
}

impl Sent {
    fn broken(place: &str, what: &dyn std::fmt::Display) -> Self {
        tracing::error!(place, %what, "the call of a mapped function broke off");
        Self::Broken(failure(
            "Runtime.ExitError",
            "The call broke off before the function's answer was whole.",
        ))
    }
}

fn failure(kind: &str, message: &str) -> Outcome {
    Outcome { payload: error_payload(kind, message), failed: true, log_tail: String::new() }
}

/// What another Lambda answered, in our own words.
fn far_answer(arn: &str, head: &Parts, payload: Bytes) -> Result<Outcome, FunctionError> {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    if !head.status.is_success() {
        let said: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
        let said = said.get("message").or_else(|| said.get("Message")).and_then(|message| message.as_str());
        let message =
            said.map_or_else(|| head.status.to_string(), |said| first_chars(said, 1_000).to_owned());
        return Err(match head.status.as_u16() {
            404 => FunctionError::NotFound(arn.to_owned()),
            429 => FunctionError::Throttled(message),
            400 | 413 => FunctionError::Invalid(message),
            _ => unavailable(arn, &message),
        });
    }
    let log = header("x-amz-log-result").and_then(|log| STANDARD.decode(log).ok()).unwrap_or_default();
    Ok(Outcome {
        payload,
        failed: header("x-amz-function-error").is_some(),
        log_tail: String::from_utf8_lossy(&log).into_owned(),
    })
}

/// Where a function is, and what is wrong there, is for who runs this server: a URL may hold a key.
fn unavailable(place: &str, what: &dyn std::fmt::Display) -> FunctionError {
    tracing::error!(place, %what, "a mapped function can't be called");
    FunctionError::Unavailable("The function can't be called at the moment.".to_owned())
}

/// A mark that changes when a file of the folder does, so that the next call starts a new environment. Folders that no
/// source lies in are passed over, and so is what comes after [`MAX_WATCHED_FILES`].
pub(crate) fn folder_mark(folder: &Path) -> String {
    const PASSED_OVER: [&str; 3] = ["__pycache__", "node_modules", "target"];
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    'folders: while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if metadata.is_dir() && !name.starts_with('.') && !PASSED_OVER.contains(&&*name) {
                folders.push(entry.path());
            } else if metadata.is_file() {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let modified = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                files.push((entry.path(), metadata.len(), modified.as_nanos()));
            }
            if files.len() + folders.len() >= MAX_WATCHED_FILES {
                break 'folders;
            }
        }
    }
    files.sort();
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{files:?}").as_bytes());
    hex::encode(digest.as_ref())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_source_changes_the_mark() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = vec![folder_mark(folder.path())];
        let mut changed = |what: &str| {
            let mark = folder_mark(folder.path());
            assert!(!seen.contains(&mark), "{what}");
            seen.push(mark);
        };
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("main.py"), "1").unwrap();
        changed("a new file");
        std::fs::create_dir(path("_lib")).unwrap();
        std::fs::write(path("_lib/a.py"), "1").unwrap();
        changed("a file in a folder");
        let file = std::fs::File::options().write(true).open(path("main.py")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        changed("an older time");
        std::fs::rename(path("main.py"), path("other.py")).unwrap();
        changed("another name");
        let before = folder_mark(folder.path());
        std::fs::create_dir(path("__pycache__")).unwrap();
        std::fs::write(path("__pycache__/main.pyc"), "1").unwrap();
        assert_eq!(folder_mark(folder.path()), before);
    }
}
