//! Installing a model all or nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};

use super::{FileEntry, FilesError, Manifest, Progress, manifest};

/// What a killed installation left behind is removed after a day, when surely nobody works on it.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);
const COPY_BUFFER_BYTES: usize = 1 << 20;

/// An exclusive hold on one model's name, until dropped. The system releases it when the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other process installs or removes the model.
    pub(super) fn take(store: &Path, name: &str, progress: &dyn Progress) -> Result<Self, FilesError> {
        let folder = store.join(".locks");
        std::fs::create_dir_all(&folder).map_err(|error| FilesError::io(&folder, error))?;
        let path = folder.join(name);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|error| FilesError::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.note(&format!("Waiting for another process that is installing {name}"));
                file.lock().map_err(|error| FilesError::io(&path, error))?;
            }
            Err(TryLockError::Error(error)) => return Err(FilesError::io(&path, error)),
        }
        Ok(Self { _file: file })
    }
}

/// A folder where a model is put together; gone with everything in it unless committed.
#[derive(Debug)]
pub(super) struct Staging {
    store: PathBuf,
    folder: PathBuf,
    files: Vec<FileEntry>,
}

impl Staging {
    pub(super) fn begin(store: &Path) -> Result<Self, FilesError> {
        std::fs::create_dir_all(store).map_err(|error| FilesError::io(store, error))?;
        sweep(store);
        let folder = store.join(format!(".staging-{}", unique()));
        std::fs::create_dir(&folder).map_err(|error| FilesError::io(&folder, error))?;
        Ok(Self { store: store.to_owned(), folder, files: Vec::new() })
    }

    /// A scratch folder inside, which is not part of the model.
    pub(super) fn scratch(&self) -> Result<PathBuf, FilesError> {
        let folder = self.folder.join(".scratch");
        std::fs::create_dir_all(&folder).map_err(|error| FilesError::io(&folder, error))?;
        Ok(folder)
    }

    /// Where a file of the model belongs, its folder made.
    fn place(&self, path: &str) -> Result<PathBuf, FilesError> {
        if !manifest::is_safe_path(path) {
            return Err(FilesError::BadModel {
                file: path.to_owned(),
                reason: "its path leaves the folder".into(),
            });
        }
        let place = self.folder.join(path);
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).map_err(|error| FilesError::io(parent, error))?;
        }
        Ok(place)
    }

    /// Copies `reader` into the model as `path`, at most `limit_bytes`, and returns what was written.
    pub(super) fn write(
        &mut self,
        path: &str,
        reader: &mut dyn Read,
        limit_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<&FileEntry, FilesError> {
        let place = self.place(path)?;
        let io = |error| FilesError::io(&place, error);
        let mut file = File::create_new(&place).map_err(io)?;
        let mut digest = Context::new(&SHA256);
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        let mut bytes = 0_u64;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io(error)),
            };
            bytes += count as u64;
            if bytes > limit_bytes {
                let reason = format!("it is larger than the {limit_bytes} bytes announced or allowed");
                return Err(FilesError::BadModel { file: path.to_owned(), reason });
            }
            digest.update(&buffer[..count]);
            file.write_all(&buffer[..count]).map_err(io)?;
            progress.advance(count as u64);
        }
        file.sync_all().map_err(io)?;
        self.files.push(FileEntry { path: path.to_owned(), bytes, sha256: hex::encode(digest.finish()) });
        Ok(&self.files[self.files.len() - 1])
    }

    /// Takes a file that was written elsewhere into the model as `path`. It stays where it was, too: the same content
    /// can be several files of a model.
    pub(super) fn adopt(&mut self, path: &str, from: &Path, sha256: String) -> Result<(), FilesError> {
        let place = self.place(path)?;
        std::fs::hard_link(from, &place)
            .or_else(|_| std::fs::copy(from, &place).map(|_| ()))
            .map_err(|error| FilesError::io(from, error))?;
        let file = File::open(&place).map_err(|error| FilesError::io(&place, error))?;
        file.sync_all().map_err(|error| FilesError::io(&place, error))?;
        let bytes = file.metadata().map_err(|error| FilesError::io(&place, error))?.len();
        self.files.push(FileEntry { path: path.to_owned(), bytes, sha256 });
        Ok(())
    }

    pub(super) fn path_of(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    pub(super) fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Writes the manifest and moves the model into place under `name`, replacing the one that was there.
    pub(super) fn commit(mut self, name: &str, mut manifest: Manifest) -> Result<Manifest, FilesError> {
        manifest.files = std::mem::take(&mut self.files);
        let scratch = self.folder.join(".scratch");
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch).map_err(|error| FilesError::io(&scratch, error))?;
        }
        let path = self.folder.join(manifest::MANIFEST);
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| FilesError::BadManifest { path: path.clone(), reason: error.to_string() })?;
        let mut file = File::create_new(&path).map_err(|error| FilesError::io(&path, error))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|error| FilesError::io(&path, error))?;
        sync_folders(&self.folder)?;
        let target = self.store.join(name);
        let replaced = self.store.join(format!(".replaced-{}", unique()));
        let replaces = match std::fs::rename(&target, &replaced) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(FilesError::io(&target, error)),
        };
        if let Err(error) = std::fs::rename(&self.folder, &target) {
            if replaces {
                // Better the old model than none.
                let _ = std::fs::rename(&replaced, &target);
            }
            return Err(FilesError::io(&target, error));
        }
        sync_folder(&self.store)?;
        if replaces {
            let _ = std::fs::remove_dir_all(&replaced);
        }
        Ok(manifest)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a commit the folder has moved, and there is nothing here to remove.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Removes a model's folder: out of sight first, so that no half of it is ever found.
pub(super) fn remove(store: &Path, name: &str) -> Result<(), FilesError> {
    let (target, hidden) = (store.join(name), store.join(format!(".removed-{}", unique())));
    std::fs::rename(&target, &hidden).map_err(|error| FilesError::io(&target, error))?;
    sync_folder(store)?;
    std::fs::remove_dir_all(&hidden).map_err(|error| FilesError::io(&hidden, error))
}

/// SHA-256 of a file in lower-case hexadecimal, and its size.
pub(super) fn sha256_of(path: &Path) -> Result<(String, u64), FilesError> {
    let io = |error| FilesError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hex::encode(digest.finish()), bytes)),
            Ok(count) => {
                digest.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io(error)),
        }
    }
}

fn unique() -> String {
    format!("{}-{:08x}", std::process::id(), rand_suffix())
}

/// Distinguishes folders made by one process; need not be unguessable, only different.
fn rand_suffix() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(SystemTime::now()) as u32
}

fn sync_folder(folder: &Path) -> Result<(), FilesError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|error| FilesError::io(folder, error))
}

fn sync_folders(folder: &Path) -> Result<(), FilesError> {
    for entry in std::fs::read_dir(folder).map_err(|error| FilesError::io(folder, error))? {
        let entry = entry.map_err(|error| FilesError::io(folder, error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// Removes old leftovers. What can't be removed is left for the next time.
fn sweep(store: &Path) {
    let Ok(entries) = std::fs::read_dir(store) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let leftover =
            [".staging-", ".replaced-", ".removed-"].iter().any(|p| name.to_string_lossy().starts_with(p));
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let old = age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFTOVER_AGE);
        if leftover && old {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
