//! What a process prints, kept up to a limit, until a mark that says its execution is over.

use tokio::io::{AsyncRead, AsyncReadExt as _};

const CHUNK_BYTES: usize = 16 << 10;

/// One output of one execution.
pub(crate) struct Capture {
    mark: Vec<u8>,
    limit: usize,
    kept: Vec<u8>,
    /// All bytes that came, the mark included.
    seen: usize,
    /// The last bytes that came, one less than the mark is long: it may come in pieces.
    recent: Vec<u8>,
    ended: bool,
}

impl Capture {
    pub(crate) fn new(limit: usize, mark: &[u8]) -> Self {
        Self { mark: mark.to_vec(), limit, kept: Vec::new(), seen: 0, recent: Vec::new(), ended: false }
    }

    /// Reads until the mark or the end of the pipe. Can be given up and called again.
    pub(crate) async fn read(&mut self, pipe: &mut (impl AsyncRead + Unpin)) {
        let mut chunk = vec![0; CHUNK_BYTES];
        while !self.ended {
            match pipe.read(&mut chunk).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(count) => self.take(chunk.get(..count).unwrap_or_default()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.kept.len());
        self.kept.extend(bytes.iter().take(room));
        let before = self.seen - self.recent.len();
        self.seen += bytes.len();
        self.recent.extend(bytes);
        if let Some(place) = memchr::memmem::find(&self.recent, &self.mark) {
            self.ended = true;
            self.seen = before + place;
            self.kept.truncate(self.seen);
        } else {
            let spare = self.recent.len().saturating_sub(self.mark.len() - 1);
            self.recent.drain(..spare);
        }
    }

    /// The text, and whether some of it was dropped.
    pub(crate) fn text(self) -> (String, bool) {
        let truncated = self.seen > self.kept.len();
        (String::from_utf8_lossy(&self.kept).into_owned(), truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(limit: usize, pieces: &[&[u8]]) -> (String, bool, bool) {
        let mut capture = Capture::new(limit, b"\0MARK\n");
        for piece in pieces {
            capture.take(piece);
        }
        let ended = capture.ended;
        let (text, truncated) = capture.text();
        (text, truncated, ended)
    }

    #[test]
    fn the_mark_ends_the_output_however_it_is_cut() {
        let whole = b"hello\0MARK\n";
        for cut in 0..whole.len() {
            let (left, right) = whole.split_at(cut);
            assert_eq!(capture(100, &[left, right]), ("hello".into(), false, true), "{cut}");
            assert_eq!(capture(3, &[left, right]), ("hel".into(), true, true), "{cut}");
        }
        assert_eq!(capture(5, &[whole]), ("hello".into(), false, true));
        assert_eq!(capture(100, &[b"\0MARK"]), ("\0MARK".into(), false, false));
    }
}
