//! What functions print: the end of each call's output for its caller, and a file a function for its owner.
//!
//! Files are written by one thread, fed by a bounded queue, so that neither a call nor the runtime waits for a disk, and
//! several environments of a function share its file and its size. When the disk can't follow, lines are dropped and
//! counted, and the file says how many: output must not stop a function.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;

/// Most of a call's output that its caller gets, as AWS's X-Amz-Log-Result.
const TAIL_BYTES: usize = 4096;
/// A log file is moved to `.1` when it has become this large.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Lines that wait for the disk.
const QUEUE: usize = 1024;
/// Files that are kept open.
const MAX_OPEN: usize = 64;

/// The log files of all functions.
pub(crate) struct Logs {
    directory: PathBuf,
    lines: SyncSender<Line>,
}

struct Line {
    path: Arc<Path>,
    text: Vec<u8>,
}

impl Logs {
    pub(crate) fn new(directory: PathBuf) -> Arc<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new().name("lambda-logs".into());
        if let Err(error) = writer.spawn(move || Writer::default().run(&queue)) {
            tracing::error!(%error, "logs of functions are not kept");
        }
        Arc::new(Self { directory, lines })
    }

    /// One environment's log of a function.
    pub(crate) fn of(self: &Arc<Self>, region: &str, name: &str) -> Log {
        let path = log_path(&self.directory, region, name).into();
        Log { logs: Arc::clone(self), path, tail: Arc::default(), dropped: Arc::default() }
    }

    fn send(&self, path: &Arc<Path>, text: &[u8]) -> bool {
        self.lines.try_send(Line { path: Arc::clone(path), text: text.to_vec() }).is_ok()
    }
}

/// Where a function's output is kept, below the directory that functions are kept in.
pub fn log_path(directory: &Path, region: &str, name: &str) -> PathBuf {
    directory.join("logs").join(region).join(format!("{name}.log"))
}

/// Where one environment's output goes.
#[derive(Clone)]
pub(crate) struct Log {
    logs: Arc<Logs>,
    path: Arc<Path>,
    tail: Arc<Mutex<VecDeque<u8>>>,
    /// Lines that did not get into the file, and were not spoken of there yet.
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Begins the output of a call.
    pub(crate) fn begin(&self) {
        self.tail.lock().clear();
    }

    /// The end of the output since [`Self::begin`].
    pub(crate) fn tail(&self) -> String {
        let mut tail = self.tail.lock();
        String::from_utf8_lossy(tail.make_contiguous()).into_owned()
    }

    /// Keeps a line.
    pub(crate) fn line(&self, line: &[u8]) {
        let mut tail = self.tail.lock();
        tail.extend(line.iter().chain(b"\n"));
        let over = tail.len().saturating_sub(TAIL_BYTES);
        tail.drain(..over);
        drop(tail);
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let told = || {
            let gap =
                format!("{dropped} lines were dropped here: they came faster than they could be written");
            self.logs.send(&self.path, gap.as_bytes())
        };
        if dropped > 0 && !told() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        } else if !self.logs.send(&self.path, line) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The end of the queue, and the files that are open.
#[derive(Default)]
struct Writer {
    open: HashMap<Arc<Path>, (File, u64)>,
}

impl Writer {
    fn run(mut self, lines: &Receiver<Line>) {
        for Line { path, mut text } in lines {
            text.push(b'\n');
            if let Err(error) = self.write(&path, &text) {
                self.open.remove(&path);
                tracing::debug!(%error, path = %path.display(), "a function's output was not kept");
            }
        }
    }

    fn write(&mut self, path: &Arc<Path>, text: &[u8]) -> io::Result<()> {
        if self.open.get(path).is_some_and(|(_, bytes)| *bytes > MAX_FILE_BYTES) {
            self.open.remove(path);
            fs::rename(path, path.with_extension("log.1"))?;
        }
        if !self.open.contains_key(path) {
            if self.open.len() >= MAX_OPEN {
                self.open.clear();
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
            let bytes = file.metadata()?.len();
            self.open.insert(Arc::clone(path), (file, bytes));
        }
        let Some((file, bytes)) = self.open.get_mut(path) else { return Ok(()) };
        file.write_all(text)?;
        *bytes += text.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_moved_once_for_all_its_writers() {
        let folder = tempfile::tempdir().unwrap();
        let path: Arc<Path> = folder.path().join("r/f.log").into();
        let mut writer = Writer::default();
        let text = vec![b'x'; 5 << 20];
        for _ in 0..3 {
            writer.write(&path, &text).unwrap();
        }
        let bytes = |path: &Path| fs::metadata(path).unwrap().len();
        assert_eq!((bytes(&path), bytes(&path.with_extension("log.1"))), (5 << 20, 10 << 20));
    }

    #[test]
    fn what_does_not_get_into_the_file_is_said_there() {
        let (lines, queue) = sync_channel(1);
        let log = Arc::new(Logs { directory: PathBuf::new(), lines }).of("us-east-1", "f");
        let read = || String::from_utf8(queue.recv().unwrap().text).unwrap();
        for line in ["a", "b", "c"] {
            log.line(line.as_bytes());
        }
        assert_eq!(read(), "a");
        // The gap takes the one place there is; what comes with it is in the next.
        log.line(b"d");
        assert!(read().starts_with("2 lines were dropped"));
        log.line(b"e");
        assert!(read().starts_with("1 lines were dropped"));
        assert_eq!(log.tail(), "a\nb\nc\nd\ne\n");
    }

    #[test]
    fn the_tail_is_of_this_call_and_short() {
        let folder = tempfile::tempdir().unwrap();
        let log = Logs::new(folder.path().to_owned()).of("us-east-1", "f");
        log.line(b"before");
        log.begin();
        log.line(&[b'y'; 5000]);
        log.line(b"end");
        let tail = log.tail();
        assert!(tail.len() == TAIL_BYTES && tail.ends_with("y\nend\n") && !tail.contains("before"));
    }
}
