//! What an environment's process prints, as it comes and, at the end of a call, to its last byte.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::unix::pipe::Receiver;
use tokio_util::task::AbortOnDropHandle;

use super::logs::Log;

/// Longest line that is kept in one piece.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// One of a process's two outputs, followed until it is dropped.
pub(crate) struct Output {
    pipe: Arc<Pipe>,
    _following: AbortOnDropHandle<()>,
}

struct Pipe {
    receiver: Receiver,
    /// The same pipe, read past the reactor.
    file: File,
    lines: Mutex<Lines>,
}

struct Lines {
    log: Log,
    /// The line that has no end yet.
    partial: Vec<u8>,
}

impl Output {
    pub(crate) fn follow(pipe: OwnedFd, log: Log) -> io::Result<Self> {
        let file = File::from(pipe.try_clone()?);
        let receiver = Receiver::from_owned_fd(pipe)?;
        let lines = Mutex::new(Lines { log, partial: Vec::new() });
        let pipe = Arc::new(Pipe { receiver, file, lines });
        let followed = Arc::clone(&pipe);
        let following = tokio::spawn(async move {
            while followed.receiver.readable().await.is_ok() {
                match followed.read(|chunk| followed.receiver.try_read(chunk)) {
                    Ok(true) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(false) | Err(_) => return,
                }
            }
        });
        Ok(Self { pipe, _following: AbortOnDropHandle::new(following) })
    }

    /// Takes what lies in the pipe now, whether the reactor has noticed it or not: a function's client writes what the
    /// function printed before it posts the answer.
    pub(crate) fn finish(&self) {
        // A pipe holds 64 KiB; more is what comes in the meantime, from threads that print on.
        for _ in 0..16 {
            if !matches!(self.pipe.read(|chunk| (&self.pipe.file).read(chunk)), Ok(true)) {
                break;
            }
        }
        let mut lines = self.pipe.lines.lock();
        lines.end();
    }
}

impl Pipe {
    /// Reads once. False at the end of the pipe; WouldBlock when it is empty.
    fn read(&self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
        let mut lines = self.lines.lock();
        let mut chunk = [0; 8192];
        match read(&mut chunk) {
            Ok(0) => {
                lines.end();
                Ok(false)
            }
            Ok(count) => {
                lines.take(chunk.get(..count).unwrap_or_default());
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(place) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(place);
            self.partial.extend(line);
            self.log.line(self.partial.trim_ascii_end());
            self.partial.clear();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.partial.extend(bytes);
        if self.partial.len() > MAX_LINE_BYTES {
            self.end();
        }
    }

    fn end(&mut self) {
        if !self.partial.is_empty() {
            self.log.line(self.partial.trim_ascii_end());
            self.partial.clear();
        }
    }
}
