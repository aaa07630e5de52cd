use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use craton_core::{IdSource as _, RandomIds};
use serde_json::json;

use super::Event;

/// How long a written event may wait to be forced to disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long events gather before the next are looked for: waking this thread for each would cost every request more than
/// all else of the log does.
const GATHER: Duration = Duration::from_millis(10);

/// What is written to the file at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The file that is written, and those put aside: `audit.jsonl.1` is the youngest.
pub(super) struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    max_file_bytes: u64,
    kept_files: u32,
}

impl Writer {
    pub(super) fn open(path: PathBuf, max_file_bytes: u64, kept_files: u32) -> io::Result<Self> {
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path,
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            bytes,
            max_file_bytes,
            kept_files,
        })
    }

    /// Writes until the queue has no more senders.
    pub(super) fn run(&mut self, queue: &Receiver<Event>, dropped: &AtomicU64) {
        let mut unsynced_since: Option<Instant> = None;
        loop {
            let patience =
                unsynced_since.map_or(SYNC_INTERVAL, |since| SYNC_INTERVAL.saturating_sub(since.elapsed()));
            let event = queue.recv_timeout(patience);
            let lost = dropped.swap(0, Ordering::Relaxed);
            if lost > 0 {
                self.tell(&json!({"eventType": "CratonAuditGap", "droppedEvents": lost}).to_string());
                unsynced_since.get_or_insert_with(Instant::now);
            }
            match event {
                Ok(event) => {
                    unsynced_since.get_or_insert_with(Instant::now);
                    self.tell(&event.line(&RandomIds.uuid()));
                    for event in queue.try_iter().take(1024) {
                        self.tell(&event.line(&RandomIds.uuid()));
                    }
                    std::thread::sleep(GATHER);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
            if unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL) {
                self.sync();
                unsynced_since = None;
            }
        }
    }

    fn tell(&mut self, line: &str) {
        if let Err(error) = self.write(line) {
            tracing::error!(path = %self.path.display(), %error, "the audit log can't be written");
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 >= self.max_file_bytes {
            self.turn_over()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.bytes += line.len() as u64 + 1;
        Ok(())
    }

    /// Puts the file aside and begins a new one.
    fn turn_over(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        if self.kept_files == 0 {
            fs::remove_file(&self.path)?;
        }
        for number in (1..self.kept_files).rev() {
            let from = aside(&self.path, number);
            if from.exists() {
                fs::rename(from, aside(&self.path, number + 1))?;
            }
        }
        if self.kept_files > 0 {
            fs::rename(&self.path, aside(&self.path, 1))?;
        }
        self.file = BufWriter::with_capacity(BUFFER_BYTES, append(&self.path)?);
        self.bytes = 0;
        Ok(())
    }

    fn sync(&mut self) {
        if let Err(error) = self.file.flush().and_then(|()| self.file.get_ref().sync_data()) {
            tracing::error!(path = %self.path.display(), %error, "the audit log can't be forced to disk");
        }
    }
}

fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{Audit, AuditConfig};
    use super::*;

    fn event(number: usize) -> Event {
        Event { request_id: format!("r-{number}"), ..Event::default() }
    }

    fn lines(path: &Path) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn everything_queued_is_written_in_order_into_files_of_bounded_size() {
        let folder = tempfile::tempdir().unwrap();
        let config = AuditConfig { max_file_bytes: 4096, kept_files: 2, ..AuditConfig::default() };
        let audit = Audit::open(&config, folder.path()).unwrap();
        for number in 0..40 {
            audit.record(event(number));
        }
        audit.close();
        let path = folder.path().join("audit.jsonl");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::metadata(&path).unwrap().len() <= 4096);
        assert!(!aside(&path, 3).exists());
        let all = [aside(&path, 2), aside(&path, 1), path.clone()];
        let ids: Vec<String> =
            all.iter().flat_map(|path| lines(path)).map(|line| line["requestID"].to_string()).collect();
        let last: Vec<String> = (40 - ids.len()..40).map(|number| format!("\"r-{number}\"")).collect();
        assert!(ids.len() > 10 && ids == last, "{ids:?}");
        // A second server goes on in the same file.
        let before = lines(&path).len();
        let audit = Audit::open(&AuditConfig::default(), folder.path()).unwrap();
        audit.record(event(99));
        audit.close();
        assert_eq!(lines(&path).len(), before + 1);
    }

    #[test]
    fn a_full_queue_drops_events_and_says_how_many() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path().join("a"), 1 << 20, 1).unwrap();
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let dropped = AtomicU64::new(0);
        for number in 0..5 {
            if sender.try_send(event(number)).is_err() {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(sender);
        writer.run(&receiver, &dropped);
        let written = lines(&folder.path().join("a"));
        assert_eq!(written.len(), 2);
        assert!(written.iter().any(|line| line["droppedEvents"] == 4), "{written:?}");
    }
}
