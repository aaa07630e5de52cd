//! Content files: written once, never changed, named by rows.
//!
//! A file gets its place under `objects/` only when it is whole and synced, and its directory is synced before any row
//! may name it. While a write is under way its id is in `pending`, so that the sweep leaves it alone.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;

use crate::checksum::{Digests, Hasher};
use crate::types::{ByteStream, Expect};
use crate::{ObjectError, Result};

/// Bytes that are hashed and written, or read, in one turn on a thread for blocking work.
const CHUNK_BYTES: usize = 512 * 1024;

/// The content files of one data directory.
#[derive(Debug)]
pub(super) struct Blobs {
    root: PathBuf,
    /// Content up to this size goes into a row.
    inline_bytes: usize,
    pending: Mutex<HashSet<String>>,
    /// Held as long as this value lives.
    _lock: File,
}

/// Content that has been received whole, and checked.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) content: Content,
    pub(super) digests: Digests,
}

#[derive(Debug)]
pub(super) enum Content {
    Inline(Vec<u8>),
    File(Pending),
}

/// A content file that no row names yet. Dropped, the file goes away; [`Pending::settle`] leaves it where it is.
#[derive(Debug)]
pub(super) struct Pending {
    blobs: Arc<Blobs>,
    id: String,
    settled: bool,
}

impl Blobs {
    /// Makes the directories, and removes what writes left behind that were under way when the process ended.
    pub(super) fn open(root: &Path, inline_bytes: usize) -> io::Result<Self> {
        let _lock = lock(root)?;
        let staging = root.join("tmp");
        fs::create_dir_all(&staging)?;
        for entry in fs::read_dir(&staging)? {
            fs::remove_file(entry?.path())?;
        }
        for byte in 0..=u8::MAX {
            fs::create_dir_all(root.join(format!("{byte:02x}")))?;
        }
        File::open(root)?.sync_all()?;
        Ok(Self { root: root.to_owned(), inline_bytes, pending: Mutex::default(), _lock })
    }

    fn path(&self, id: &str) -> PathBuf {
        self.root.join(id.get(..2).unwrap_or("00")).join(id)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(self: &Arc<Self>) -> Pending {
        let id = uuid::Uuid::new_v4().simple().to_string();
        self.pending().insert(id.clone());
        Pending { blobs: Arc::clone(self), id, settled: false }
    }

    /// Takes a body in, at most `limit` bytes of it, and checks it against what was promised.
    pub(super) async fn receive(
        self: &Arc<Self>,
        mut body: ByteStream,
        expect: Expect,
        limit: u64,
    ) -> Result<Received> {
        if let Some(size) = expect.size.filter(|size| *size > limit) {
            return Err(ObjectError::EntityTooLarge { size, limit });
        }
        let algorithm = expect.checksum.as_ref().map(|checksum| checksum.algorithm).or(expect.algorithm);
        let mut state = State { hasher: Hasher::new(algorithm), writing: None };
        let mut buffer: Vec<u8> = Vec::new();
        let mut total = 0_u64;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(ObjectError::Body)?;
            total += chunk.len() as u64;
            if total > expect.size.unwrap_or(limit) {
                return Err(match expect.size {
                    Some(expected) => ObjectError::IncompleteBody { expected, received: total },
                    None => ObjectError::EntityTooLarge { size: total, limit },
                });
            }
            buffer.extend_from_slice(&chunk);
            if buffer.len() >= CHUNK_BYTES {
                (state, buffer) = state.take_in(self, buffer).await?;
            }
        }
        if state.writing.is_none() && buffer.len() <= self.inline_bytes {
            state.hasher.update(&buffer);
            let digests = state.hasher.finish();
            expect.verify(&digests)?;
            return Ok(Received { content: Content::Inline(buffer), digests });
        }
        if !buffer.is_empty() {
            (state, _) = state.take_in(self, buffer).await?;
        }
        let digests = state.hasher.finish();
        expect.verify(&digests)?;
        let Some((pending, file)) = state.writing else {
            return Err(ObjectError::Corrupt("a content file vanished while it was written".into()));
        };
        let pending = blocking(move || pending.publish(&file).map(|()| pending)).await?;
        Ok(Received { content: Content::File(pending), digests })
    }

    /// A second name for a content file, so that two objects can have the same bytes. `NotFound` when it is gone.
    pub(super) async fn link(self: &Arc<Self>, id: &str) -> Result<Pending> {
        let pending = self.reserve();
        let from = self.path(id);
        Ok(blocking(move || {
            let to = pending.blobs.path(&pending.id);
            fs::hard_link(from, &to)?;
            sync_parent(&to)?;
            Ok(pending)
        })
        .await?)
    }

    pub(super) async fn open_file(&self, id: &str) -> io::Result<File> {
        let path = self.path(id);
        blocking(move || File::open(path)).await
    }

    /// Removes files that no row names any more. What can't be removed now, the sweep at the next start removes.
    pub(super) async fn remove(&self, ids: Vec<String>) {
        if ids.is_empty() {
            return;
        }
        let paths: Vec<PathBuf> = ids.iter().map(|id| self.path(id)).collect();
        let _ = blocking(move || {
            for path in paths {
                if let Err(error) = fs::remove_file(&path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::warn!(path = %path.display(), %error, "a content file could not be removed");
                }
            }
            Ok(())
        })
        .await;
    }

    /// Ids of all files that are not being written, one directory at a time.
    pub(super) async fn files(&self, directory: u8) -> io::Result<Vec<String>> {
        let path = self.root.join(format!("{directory:02x}"));
        let names = blocking(move || {
            let names =
                fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect::<io::Result<Vec<String>>>()
        })
        .await?;
        let pending = self.pending();
        Ok(names.into_iter().filter(|name| !pending.contains(name)).collect())
    }
}

/// Makes sure that nobody else works on the directory. A server that has just been stopped may need a moment.
fn lock(root: &Path) -> io::Result<File> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(root.with_extension("lock"))?;
    for _ in 0..50 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(100)),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    let message = format!("{} is in use by another server", root.display());
    Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
}

/// A body on its way to a file.
struct State {
    hasher: Hasher,
    writing: Option<(Pending, File)>,
}

impl State {
    /// Hashes and writes a chunk, on a thread where that holds nobody up; gives the buffer back empty.
    async fn take_in(mut self, blobs: &Arc<Blobs>, mut buffer: Vec<u8>) -> io::Result<(Self, Vec<u8>)> {
        let blobs = Arc::clone(blobs);
        blocking(move || {
            self.hasher.update(&buffer);
            let mut writing = match self.writing.take() {
                Some(writing) => writing,
                None => {
                    let pending = blobs.reserve();
                    let file = OpenOptions::new().write(true).create_new(true).open(pending.staged())?;
                    (pending, file)
                }
            };
            writing.1.write_all(&buffer)?;
            self.writing = Some(writing);
            buffer.clear();
            Ok((self, buffer))
        })
        .await
    }
}

impl Pending {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn staged(&self) -> PathBuf {
        self.blobs.root.join("tmp").join(&self.id)
    }

    /// Brings a written file to the disk and then to its place.
    fn publish(&self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        let path = self.blobs.path(&self.id);
        fs::rename(self.staged(), &path)?;
        sync_parent(&path)
    }

    /// Leaves the file to the rows: they name it, or the sweep finds that they don't.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.settled {
            let _ = fs::remove_file(self.staged());
            let _ = fs::remove_file(self.blobs.path(&self.id));
        }
        self.blobs.pending().remove(&self.id);
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// A range of an open file's bytes.
pub(super) fn stream(file: File, range: Range<u64>) -> ByteStream {
    let file = Arc::new(file);
    futures::stream::try_unfold(range, move |range| {
        let file = Arc::clone(&file);
        async move {
            let length = range.end.saturating_sub(range.start).min(CHUNK_BYTES as u64);
            if length == 0 {
                return Ok(None);
            }
            let read = blocking(move || {
                let mut chunk = vec![0; usize::try_from(length).unwrap_or(CHUNK_BYTES)];
                file.read_exact_at(&mut chunk, range.start)?;
                Ok(Bytes::from(chunk))
            });
            let chunk = read.await.map_err(Box::new)?;
            Ok(Some((chunk, range.start + length..range.end)))
        }
    })
    .boxed()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
