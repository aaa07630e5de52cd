//! Hugging Face repositories, served by a stand-in that honours ranges and misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use craton_models::files::{FilesError, Hub, Import, InstalledModel, ModelFiles, Progress};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use crate::setup::{gguf, safetensors, visible};

/// How the stand-in treats downloads (not the first byte that hf-hub asks for to learn the size).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Manner {
    #[default]
    Honest,
    /// Closes the connection after so many bytes of each answer.
    BreaksAfter(usize),
    /// Sends the beginning of the file whatever range is asked for.
    IgnoresRanges,
    /// Changes a byte.
    Lies,
    /// Sends so many bytes in total, then refuses.
    Stops(usize),
    /// Accepts and never answers.
    Silent,
}

struct StandIn {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    manner: Mutex<Manner>,
    sent: AtomicU64,
    /// (path, first byte asked for, authorization) of each download.
    requests: Mutex<Vec<(String, usize, Option<String>)>>,
}

impl StandIn {
    fn start(files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.clone())).collect();
        let state = Arc::new(State { files, ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.answer(stream));
            }
        });
        Self { url, state }
    }

    fn behave(&self, manner: Manner) {
        *self.state.manner.lock().unwrap() = manner;
    }

    fn hub(&self) -> Hub {
        Hub {
            endpoint: self.url.clone(),
            token: Some("secret".into()),
            retry_pause: Duration::from_millis(5),
            stall: Duration::from_secs(10),
        }
    }

    fn first_bytes(&self) -> Vec<usize> {
        self.state.requests.lock().unwrap().iter().map(|(_, first, _)| *first).collect()
    }
}

impl State {
    fn answer(&self, stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
        let target = lines.next()?.split(' ').nth(1)?.to_owned();
        let headers: HashMap<String, String> = lines
            .take_while(|line| !line.is_empty())
            .filter_map(|line| {
                Some((
                    line.split_once(':')?.0.to_ascii_lowercase(),
                    line.split_once(':')?.1.trim().to_owned(),
                ))
            })
            .collect();
        let mut stream = stream;
        if target == "/api/models/owner/repo/revision/main" {
            let siblings: Vec<String> =
                self.files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
            let body = format!(r#"{{"sha":"abc123","siblings":[{}]}}"#, siblings.join(","));
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            return stream.write_all((head + &body).as_bytes()).ok();
        }
        let Some(content) =
            target.strip_prefix("/owner/repo/resolve/main/").and_then(|name| self.files.get(name))
        else {
            let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return stream.write_all(missing.as_bytes()).ok();
        };
        let range = headers.get("range")?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        let first: usize = first.parse().ok()?;
        let probe = !last.is_empty();
        let end = if probe { last.parse::<usize>().ok()? + 1 } else { content.len() };
        if !probe {
            let request = (target, first, headers.get("authorization").cloned());
            self.requests.lock().unwrap().push(request);
        }
        self.send(&mut stream, content, (first, end.min(content.len())), probe)
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        content: &[u8],
        (first, end): (usize, usize),
        probe: bool,
    ) -> Option<()> {
        let manner = if probe { Manner::Honest } else { *self.manner.lock().unwrap() };
        let mut body = content[first..end].to_vec();
        let announced = if manner == Manner::IgnoresRanges { content.len() } else { body.len() };
        match manner {
            Manner::Honest => {}
            Manner::BreaksAfter(bytes) => body.truncate(bytes),
            Manner::IgnoresRanges => {
                body = content.to_vec();
                if self.sent.load(Ordering::SeqCst) == 0 {
                    body.truncate(content.len() / 2);
                }
            }
            Manner::Lies => *body.last_mut()? ^= 1,
            Manner::Stops(total) => {
                let left = total.saturating_sub(self.sent.load(Ordering::SeqCst) as usize);
                if left == 0 {
                    let refusal = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    return stream.write_all(refusal.as_bytes()).ok();
                }
                body.truncate(left);
            }
            Manner::Silent => std::thread::sleep(Duration::from_secs(30)),
        }
        if !probe {
            self.sent.fetch_add(body.len() as u64, Ordering::SeqCst);
        }
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {announced}\r\nContent-Range: bytes {first}-{}/{}\r\n\
             ETag: \"{}\"\r\nX-Repo-Commit: abc123\r\nConnection: close\r\n\r\n",
            end - 1,
            content.len(),
            etag(content)
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()
    }
}

/// Large files go by SHA-256, small ones by git's SHA-1, as on the hub.
fn etag(content: &[u8]) -> String {
    if content.len() > 1000 {
        return hex::encode(digest(&SHA256, content));
    }
    let blob = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
    hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &blob))
}

fn large() -> Vec<u8> {
    let noise: String =
        (0..60_000_u32).map(|n| format!("{:05}", n.wrapping_mul(2_654_435_761) % 100_000)).collect();
    gguf(&noise)
}

#[derive(Default)]
struct Counted(AtomicU64);

impl Progress for Counted {
    fn begin(&self, _file: &str, _total_bytes: Option<u64>, present_bytes: u64) {
        self.0.fetch_add(present_bytes, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn import(files: &ModelFiles, progress: &dyn Progress) -> Result<InstalledModel, FilesError> {
    files.import(&Import { source: "hf:owner/repo".into(), id: "m".into(), task: None, file: None }, progress)
}

fn store(hub: &StandIn) -> (tempfile::TempDir, ModelFiles) {
    let directory = tempfile::tempdir().unwrap();
    let files = ModelFiles::at(directory.path()).with_hub(hub.hub());
    (directory, files)
}

#[test]
fn a_repository_is_fetched_with_its_folders_and_digests_checked() {
    let hub = StandIn::start(&[
        ("config.json", br#"{"architectures":["BertModel"]}"#.to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model.safetensors", safetensors()),
        ("1_Pooling/config.json", b"{}".to_vec()),
        ("pytorch_model.bin", vec![0; 5000]),
    ]);
    let (directory, files) = store(&hub);
    let installed = files.pull("hf:owner/repo", &craton_models::files::Quiet).unwrap().remove(0);
    assert_eq!((installed.name.as_str(), installed.manifest.source.as_str()), ("repo", "hf:owner/repo@main"));
    assert_eq!(std::fs::read(installed.path().join("model.safetensors")).unwrap(), safetensors());
    assert!(installed.path().join("1_Pooling/config.json").is_file());
    files.verify("repo").unwrap();
    let requests = hub.state.requests.lock().unwrap();
    assert_eq!(requests.len(), 3, "two files have the same content: {requests:?}");
    assert!(requests.iter().all(|(_, _, token)| token.as_deref() == Some("Bearer secret")));
    assert_eq!(visible(directory.path()), [".downloads", ".locks", "repo"]);
    assert!(visible(&directory.path().join(".downloads")).is_empty(), "the cache is emptied");
}

#[test]
fn a_download_that_breaks_off_is_continued_where_it_was() {
    let hub = StandIn::start(&[("m.gguf", large())]);
    hub.behave(Manner::BreaksAfter(100_000));
    let (_directory, files) = store(&hub);
    let progress = Counted::default();
    let model = import(&files, &progress).unwrap();
    assert_eq!(std::fs::read(model.path()).unwrap(), large());
    assert_eq!(hub.first_bytes(), [0, 100_000, 200_000, 300_000]);
    assert_eq!(progress.0.into_inner(), large().len() as u64);
}

#[test]
fn a_later_attempt_continues_what_an_earlier_one_left() {
    let hub = StandIn::start(&[("m.gguf", large())]);
    hub.behave(Manner::Stops(150_000));
    let (_directory, files) = store(&hub);
    let error = import(&files, &Counted::default()).unwrap_err();
    assert!(error.to_string().contains("503") && error.to_string().contains("try again"), "{error}");
    assert!(files.list().unwrap().is_empty());
    let before = hub.first_bytes().len();
    hub.behave(Manner::Honest);
    let progress = Counted::default();
    let model = import(&files, &progress).unwrap();
    assert_eq!(hub.first_bytes()[before..], [150_000]);
    assert_eq!(std::fs::read(model.path()).unwrap(), large());
    assert_eq!(progress.0.into_inner(), large().len() as u64);
}

#[test]
fn content_that_is_not_what_was_announced_is_refused_and_forgotten() {
    let hub = StandIn::start(&[("m.gguf", large())]);
    hub.behave(Manner::Lies);
    let (_directory, files) = store(&hub);
    let error = import(&files, &Counted::default()).unwrap_err();
    assert!(matches!(error, FilesError::WrongDigest { .. }), "{error}");
    assert!(files.list().unwrap().is_empty());
    hub.behave(Manner::Honest);
    import(&files, &Counted::default()).unwrap();
    assert_eq!(hub.first_bytes(), [0, 0]);
}

#[test]
fn a_hub_without_ranges_still_gets_there() {
    let hub = StandIn::start(&[("m.gguf", large())]);
    hub.behave(Manner::IgnoresRanges);
    let (_directory, files) = store(&hub);
    let model = import(&files, &Counted::default()).unwrap();
    assert_eq!(std::fs::read(model.path()).unwrap(), large());
}

#[test]
fn a_silent_hub_is_given_up() {
    let hub = StandIn::start(&[("m.gguf", large())]);
    hub.behave(Manner::Silent);
    let directory = tempfile::tempdir().unwrap();
    let patience = Hub { stall: Duration::from_millis(200), ..hub.hub() };
    let files = ModelFiles::at(directory.path()).with_hub(patience);
    let start = Instant::now();
    let error = import(&files, &Counted::default()).unwrap_err();
    assert!(matches!(error, FilesError::Hub { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn what_is_not_there_is_said() {
    let hub = StandIn::start(&[("a.gguf", large()), ("b.gguf", large())]);
    let (_directory, files) = store(&hub);
    let error = import(&files, &Counted::default()).unwrap_err();
    assert!(error.to_string().contains("choose one with --file: a.gguf, b.gguf"), "{error}");
    let source = |source: &str| Import { source: source.into(), id: "m".into(), task: None, file: None };
    let chosen = files.import(&source("hf:owner/repo:b.gguf"), &Counted::default()).unwrap();
    assert_eq!(chosen.manifest.entry, "b.gguf");
    assert_eq!(chosen.manifest.source, "hf:owner/repo@main:b.gguf");
    let error = files.import(&source("hf:owner/absent"), &Counted::default()).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    let nobody = Hub { endpoint: "http://127.0.0.1:1".into(), ..hub.hub() };
    let error =
        files.clone().with_hub(nobody).import(&source("hf:owner/repo"), &Counted::default()).unwrap_err();
    assert!(matches!(error, FilesError::Hub { .. }), "{error}");
}
