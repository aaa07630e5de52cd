//! What functions print: the end of each call's output for its caller, and a file a function for its owner.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Most of a call's output that its caller gets, as AWS's X-Amz-Log-Result.
const TAIL_BYTES: usize = 4096;
/// Longest line that is kept.
const MAX_LINE_BYTES: u64 = 64 * 1024;
/// A log file is moved to `.1` when it has become this large.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Where one environment's output goes.
#[derive(Clone)]
pub(crate) struct Log {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    tail: VecDeque<u8>,
}

impl Log {
    /// The log of a function: `DIRECTORY/NAME.log`.
    pub(crate) fn of(directory: &Path, name: &str) -> Self {
        let path = directory.join(format!("{name}.log"));
        Self { inner: Arc::new(Mutex::new(Inner { path, file: None, bytes: 0, tail: VecDeque::new() })) }
    }

    /// Begins the output of a call.
    pub(crate) fn begin(&self) {
        self.inner.lock().tail.clear();
    }

    /// The end of the output since [`Self::begin`].
    pub(crate) fn tail(&self) -> String {
        let inner = self.inner.lock();
        let (front, back) = inner.tail.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }

    /// Keeps a line. Output that can't be written is dropped: it must not stop a function.
    pub(crate) fn line(&self, line: &[u8]) {
        let mut inner = self.inner.lock();
        inner.tail.extend(line.iter().chain(b"\n"));
        let over = inner.tail.len().saturating_sub(TAIL_BYTES);
        inner.tail.drain(..over);
        if let Err(error) = inner.write(line) {
            tracing::debug!(%error, path = %inner.path.display(), "a function's output was not kept");
        }
    }

    /// Keeps everything that comes out of a pipe, until it closes.
    pub(crate) async fn follow(self, pipe: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await;
            match read {
                Ok(0) | Err(_) => return,
                Ok(_) => self.line(line.trim_ascii_end()),
            }
        }
    }
}

impl Inner {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > MAX_FILE_BYTES {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                if let Some(parent) = self.path.parent() {
                    fs::create_dir_all(parent)?;
                }
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)?;
                self.bytes = file.metadata()?.len();
                none.insert(file)
            }
        };
        file.write_all(line)?;
        file.write_all(b"\n")?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }
}
