//! Hugging Face repositories, through `hf-hub`.
//!
//! Downloads go to a cache inside the store, where an interrupted one is continued by the next attempt, also by the
//! next process. hf-hub checks nothing it receives, so size and digest are checked here against what the hub announced.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo, Metadata};
use hf_hub::{Repo, RepoType};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::select::{Selection, select};
use super::staging::{Lock, Staging, sha256_of};
use super::{FilesError, Progress, manifest};

/// Attempts in a row that bring nothing new before a download is given up.
const ATTEMPTS: u32 = 5;
/// A connection that brings nothing for this long is given up.
const STALL: Duration = Duration::from_secs(60);
const MAX_FILE_BYTES: u64 = 1 << 42;
const MAX_FILES: usize = 20_000;

/// Which hub, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hub {
    pub endpoint: String,
    pub token: Option<String>,
    /// Pause before the first repetition; each further one is twice as long.
    pub retry_pause: Duration,
    /// Longest silence within a download.
    pub stall: Duration,
}

impl Default for Hub {
    /// As `HF_ENDPOINT` and `HF_TOKEN` say.
    fn default() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()),
            token: variable("HF_TOKEN"),
            retry_pause: Duration::from_millis(500),
            stall: STALL,
        }
    }
}

/// What a download thread reports.
enum Step {
    Begin { total_bytes: u64 },
    Bytes(u64),
    Done(Result<PathBuf, String>),
}

/// Forwards hf-hub's progress to the thread that waits.
struct Report(Sender<Step>);

impl hf_hub::api::Progress for Report {
    fn init(&mut self, size: usize, _filename: &str) {
        let _ = self.0.send(Step::Begin { total_bytes: size as u64 });
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(Step::Bytes(size as u64));
    }

    fn finish(&mut self) {}
}

/// A repository at a revision.
struct Repository<'a> {
    hub: &'a Hub,
    id: &'a str,
    revision: &'a str,
    cache: &'a Path,
}

/// Downloads the model in the repository `id` into `staging`. With `wanted`, that file and what belongs to it.
pub(super) fn import(
    hub: &Hub,
    (id, revision, wanted): (&str, &str, Option<&str>),
    store: &Path,
    staging: &mut Staging,
    progress: &dyn Progress,
) -> Result<Selection, FilesError> {
    let cache = store.join(".downloads");
    std::fs::create_dir_all(&cache).map_err(|error| FilesError::io(&cache, error))?;
    let repository = Repository { hub, id, revision, cache: &cache };
    let _lock = Lock::take(store, &repository.folder_name(), progress)?;
    // Links that hf-hub left behind; it trips over those whose file has been moved away.
    let _ = std::fs::remove_dir_all(repository.folder().join("snapshots"));
    progress.note(&format!("Looking into {id} at {revision}"));
    let paths = repository.paths()?;
    let selection = select(&format!("hf:{id}"), &paths, wanted)?;
    let mut fetched = Vec::new();
    for (remote, local) in &selection.files {
        let announced = repository.announced(remote)?;
        let path = repository.download(remote, &announced, progress)?;
        let sha256 = verify(&path, remote, &announced).inspect_err(|_| {
            // What is wrong must not be taken up again by the next attempt.
            let _ = std::fs::remove_file(&path);
        })?;
        fetched.push((local, path, sha256));
    }
    for (local, path, sha256) in fetched {
        staging.adopt(local, &path, sha256)?;
    }
    let _ = std::fs::remove_dir_all(repository.folder());
    Ok(selection)
}

impl Repository<'_> {
    fn failed(&self, reason: impl std::fmt::Display) -> FilesError {
        FilesError::Hub { repository: self.id.to_owned(), reason: reason.to_string() }
    }

    fn api(&self) -> Result<Api, FilesError> {
        ApiBuilder::new()
            .with_endpoint(self.hub.endpoint.trim_end_matches('/').to_owned())
            .with_cache_dir(self.cache.to_owned())
            .with_token(self.hub.token.clone())
            .with_progress(false)
            .build()
            .map_err(|error| self.failed(error))
    }

    fn open(&self) -> Result<(Api, ApiRepo), FilesError> {
        let api = self.api()?;
        let repo = Repo::with_revision(self.id.to_owned(), RepoType::Model, self.revision.to_owned());
        let repo = api.repo(repo);
        Ok((api, repo))
    }

    fn paths(&self) -> Result<Vec<String>, FilesError> {
        let (_, repo) = self.open()?;
        let info = self.watched("the list of files", move || repo.info().map_err(|e| e.to_string()))?;
        if info.siblings.len() > MAX_FILES {
            return Err(self.failed(format!("it has more than {MAX_FILES} files")));
        }
        let paths = info.siblings.into_iter().map(|file| file.rfilename);
        Ok(paths.filter(|path| manifest::is_safe_path(path)).collect())
    }

    /// Size and etag of a file, checked to be what they should be: hf-hub makes paths of them.
    fn announced(&self, remote: &str) -> Result<Announced, FilesError> {
        let (api, repo) = self.open()?;
        let url = repo.url(remote);
        let metadata: Metadata =
            self.watched(remote, move || api.metadata(&url).map_err(|e| e.to_string()))?;
        let plain = |text: &str| {
            (1..=128).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let bytes = metadata.size() as u64;
        if !plain(metadata.etag()) || !plain(metadata.commit_hash()) || bytes > MAX_FILE_BYTES {
            return Err(self.failed(format!("{remote}: the hub announced nonsense about it")));
        }
        Ok(Announced { bytes, etag: metadata.etag().to_owned() })
    }

    /// Downloads a file, again and again from where it broke off, while that brings it forward.
    fn download(
        &self,
        remote: &str,
        announced: &Announced,
        progress: &dyn Progress,
    ) -> Result<PathBuf, FilesError> {
        let blob = self.blob(announced);
        let part = blob.with_extension("part");
        let present = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        if blob.exists() && present(&blob) == announced.bytes {
            progress.begin(remote, Some(announced.bytes), announced.bytes);
            progress.end();
            return Ok(blob);
        }
        if present(&part) > announced.bytes {
            let _ = std::fs::remove_file(&part);
        }
        let mut furthest = present(&part);
        progress.begin(remote, Some(announced.bytes), furthest);
        let (mut idle, mut pause) = (0, self.hub.retry_pause);
        loop {
            let reason = match self.attempt(remote, announced.bytes, present(&part), progress)? {
                Ok(path) if present(&path) == announced.bytes => {
                    progress.end();
                    return Ok(blob);
                }
                // The connection closed early without saying so; hf-hub takes that for the end.
                Ok(path) => {
                    let reason = format!("{} of {} bytes arrived", present(&path), announced.bytes);
                    self.back_to_part(&path, &part, announced)?;
                    reason
                }
                Err(reason) => reason,
            };
            let reached = present(&part);
            if reached > announced.bytes {
                // A hub that ignores ranges sent everything again behind what was there.
                let _ = std::fs::remove_file(&part);
            }
            if reached > furthest && reached <= announced.bytes {
                (furthest, idle, pause) = (reached, 0, self.hub.retry_pause);
            } else {
                (idle, pause) = (idle + 1, pause * 2);
            }
            if idle >= ATTEMPTS {
                return Err(self.failed(format!("{remote}: {reason}; try again to continue")));
            }
            progress.note(&format!("{remote}: {reason}; continuing"));
            std::thread::sleep(pause);
        }
    }

    /// One request. The outer error ends the download, the inner one is worth a repetition.
    fn attempt(
        &self,
        remote: &str,
        total_bytes: u64,
        present_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<Result<PathBuf, String>, FilesError> {
        let (_, repo) = self.open()?;
        let (sender, receiver) = channel();
        let file = remote.to_owned();
        std::thread::spawn(move || {
            let result = repo.download_with_progress(&file, Report(sender.clone()));
            let _ = sender.send(Step::Done(result.map_err(|error| error.to_string())));
        });
        // hf-hub first reports what was already there.
        let mut known = present_bytes.min(total_bytes);
        loop {
            match receive(&receiver, self.hub.stall) {
                Ok(Step::Begin { total_bytes: told }) if told != total_bytes => {
                    return Err(self.failed(format!("{remote} changed while it was being fetched")));
                }
                Ok(Step::Begin { .. }) => {}
                Ok(Step::Bytes(bytes)) => {
                    let old = bytes.min(known);
                    known -= old;
                    if bytes > old {
                        progress.advance(bytes - old);
                    }
                }
                Ok(Step::Done(result)) => return Ok(result),
                // The silent thread holds hf-hub's lock on the file, so this process can't go on with it.
                Err(reason) => return Err(self.failed(format!("{remote}: {reason}; try again to continue"))),
            }
        }
    }

    /// Runs a short request on a thread of its own, so that a silent hub can be given up.
    fn watched<T: Send + 'static>(
        &self,
        what: &str,
        request: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, FilesError> {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let _ = sender.send(request());
        });
        match receive(&receiver, self.hub.stall) {
            Ok(result) => result.map_err(|reason| self.failed(format!("{what}: {reason}"))),
            Err(reason) => Err(self.failed(format!("{what}: {reason}"))),
        }
    }

    /// Where hf-hub puts the content with this etag.
    fn blob(&self, announced: &Announced) -> PathBuf {
        self.folder().join("blobs").join(&announced.etag)
    }

    fn folder_name(&self) -> String {
        format!("models--{}", self.id.replace('/', "--"))
    }

    /// Where hf-hub keeps this repository.
    fn folder(&self) -> PathBuf {
        self.cache.join(self.folder_name())
    }

    /// Turns a blob that is too short back into the partial file it is.
    fn back_to_part(&self, link: &Path, part: &Path, announced: &Announced) -> Result<(), FilesError> {
        let blob = self.blob(announced);
        let _ = std::fs::remove_file(link);
        std::fs::rename(&blob, part).map_err(|error| FilesError::io(&blob, error))
    }
}

fn receive<T>(receiver: &Receiver<T>, stall: Duration) -> Result<T, String> {
    receiver.recv_timeout(stall).map_err(|error| match error {
        RecvTimeoutError::Timeout => format!("nothing arrived for {} seconds", stall.as_secs()),
        // The thread ended without a word: the library panicked on what the hub sent.
        RecvTimeoutError::Disconnected => "the hub's answer could not be understood".to_owned(),
    })
}

/// What the hub says a file is.
struct Announced {
    bytes: u64,
    /// SHA-256 of a large file, git's SHA-1 of a small one, or something of a mirror's own.
    etag: String,
}

/// Checks a downloaded file and returns its SHA-256.
fn verify(path: &Path, remote: &str, announced: &Announced) -> Result<String, FilesError> {
    let (sha256, bytes) = sha256_of(path)?;
    if bytes != announced.bytes {
        return Err(FilesError::WrongSize {
            file: remote.to_owned(),
            expected: announced.bytes,
            found: bytes,
        });
    }
    let hexadecimal = announced.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
    let found = match (hexadecimal, announced.etag.len()) {
        (true, 64) => sha256.clone(),
        (true, 40) => git_sha1(path, bytes)?,
        _ => announced.etag.clone(),
    };
    if !found.eq_ignore_ascii_case(&announced.etag) {
        return Err(FilesError::WrongDigest {
            file: remote.to_owned(),
            expected: announced.etag.clone(),
            found,
        });
    }
    Ok(sha256)
}

/// How git names the content of a small file.
fn git_sha1(path: &Path, bytes: u64) -> Result<String, FilesError> {
    use std::io::Read;
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(format!("blob {bytes}\0").as_bytes());
    let mut file = std::fs::File::open(path).map_err(|error| FilesError::io(path, error))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(|error| FilesError::io(path, error))? {
            0 => return Ok(hex::encode(digest.finish())),
            count => digest.update(&buffer[..count]),
        }
    }
}
