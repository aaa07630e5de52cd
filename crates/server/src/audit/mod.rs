//! The audit log: who did what to what, from where, and whether they might. One line of JSON an API call, in the shape
//! of CloudTrail's events; never a body, a secret, or a message that could quote one.
//!
//! Requests never wait for it. A call's event goes into a bounded queue when its answer begins; one thread writes the
//! queue to `audit.jsonl` in the data directory and forces it to disk at most a second later, and at the end of the
//! server. When the queue is full, because the disk can't keep up, events are dropped and counted, and the next line
//! that is written says how many. A crash of the machine loses the last second at most; a crash of the server, what
//! was still in the queue.

mod event;
mod roles;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use serde::Deserialize;

pub(crate) use event::Event;
pub(crate) use roles::RoleTrail;
use writer::Writer;

/// The section `audit` of the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    pub enabled: bool,
    /// Default: `audit.jsonl` in the data directory.
    pub file: Option<PathBuf>,
    /// A file this long is put aside and a new one begun.
    pub max_file_bytes: u64,
    /// Files that were put aside and are kept.
    pub kept_files: u32,
    /// Events that wait to be written.
    pub queued_events: usize,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { enabled: true, file: None, max_file_bytes: 64 << 20, kept_files: 9, queued_events: 8192 }
    }
}

/// Where events go. Clones share it; the last one's end waits until all is written.
#[derive(Clone)]
pub(crate) struct Audit(Option<Arc<Log>>);

struct Log {
    /// `None` at the end.
    queue: Mutex<Option<SyncSender<Event>>>,
    dropped: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Opens the file and begins to write.
    pub(crate) fn open(config: &AuditConfig, data_dir: &std::path::Path) -> std::io::Result<Self> {
        if !config.enabled {
            return Ok(Self(None));
        }
        let path = config.file.clone().unwrap_or_else(|| data_dir.join("audit.jsonl"));
        let mut writer = Writer::open(path, config.max_file_bytes, config.kept_files)?;
        let (sender, receiver) = sync_channel(config.queued_events);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(&receiver, &counter))?;
        let log = Log { queue: Mutex::new(Some(sender)), dropped, thread: Mutex::new(Some(thread)) };
        Ok(Self(Some(Arc::new(log))))
    }

    /// Whether anybody reads what is recorded.
    pub(crate) fn enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Takes an event without waiting.
    pub(crate) fn record(&self, event: Event) {
        let Some(log) = &self.0 else { return };
        let sent = log.queue.lock().as_ref().is_some_and(|queue| queue.try_send(event).is_ok());
        if !sent {
            log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is queued and ends. Blocks for as long as the disk takes.
    pub(crate) fn close(&self) {
        let Some(log) = &self.0 else { return };
        log.queue.lock().take();
        if let Some(thread) = log.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the audit log ended badly");
        }
    }
}

/// The event of a request that is being answered. Recorded when it is dropped, so that a client that hung up is in the
/// log too.
pub(crate) struct Trail {
    audit: Audit,
    event: Mutex<Event>,
}

impl Trail {
    pub(crate) fn new(audit: Audit, event: Event) -> Arc<Self> {
        Arc::new(Self { audit, event: Mutex::new(event) })
    }

    /// Adds what has become known.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Event)) {
        if self.audit.enabled() {
            change(&mut self.event.lock());
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.audit.record(std::mem::take(self.event.get_mut()));
    }
}
