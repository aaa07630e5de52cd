//! Archives of code and the folders they become.
//!
//! A folder is named by its archive's SHA-256 and appears by a rename once it is whole and on the disk, so that
//! equal code is kept once and a crash leaves no half of it. Code that no function has any more goes a while later, when no
//! call can be running in its folder ([`CodeStore::sweep`]). Archives are untrusted: entries may not leave the folder,
//! be links, or be more or larger than the bounds.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use craton_objects::{GetOptions, ObjectRef, ObjectStore};
use futures::TryStreamExt as _;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use zip::ZipArchive;

/// AWS's limit of an unpacked deployment package.
const MAX_UNPACKED_BYTES: u64 = 262_144_000;
const MAX_ENTRIES: usize = 20_000;
/// How folders begin that are not whole yet, or no more.
const STAGING: &str = ".staging-";

/// Why an archive is not code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeError {
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    NotAnArchive,
    #[error("Unzipped size must be smaller than {MAX_UNPACKED_BYTES} bytes")]
    TooLarge,
    #[error("The archive has more than {MAX_ENTRIES} entries.")]
    TooMany,
    #[error("The archive's entry {0} would be outside of the function's folder.")]
    Outside(String),
    #[error("The archive is empty.")]
    Empty,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Code that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredCode {
    /// Hexadecimal SHA-256.
    pub id: String,
    pub bytes: u64,
}

/// The folders of all code.
pub(crate) struct CodeStore {
    root: PathBuf,
    /// Code that no function had when last looked at, and since when that is known.
    unused: Mutex<HashMap<String, Instant>>,
}

impl CodeStore {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, unused: Mutex::default() }
    }

    /// The folder of stored code.
    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// The archive that stored code came from.
    pub(crate) fn archive(&self, id: &str) -> PathBuf {
        self.root.join(format!("{id}.zip"))
    }

    /// What an archive would be stored as, if it is one. Blocking, as [`Self::store`], and nothing of it stays.
    pub(crate) fn check(&self, archive: &Bytes) -> Result<StoredCode, CodeError> {
        fs::create_dir_all(&self.root)?;
        let staging = tempfile::Builder::new().prefix(STAGING).tempdir_in(&self.root)?;
        unpack(archive, staging.path())?;
        Ok(named(archive))
    }

    /// Removes code that is not among `used` and has not been for `grace`. True when some waits for its time.
    /// Blocking.
    pub(crate) fn sweep(&self, used: &HashSet<String>, grace: Duration) -> io::Result<bool> {
        let mut there = HashSet::new();
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let id = name.strip_suffix(".zip").unwrap_or(&name);
            if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                there.insert(id.to_owned());
            }
        }
        let mut gone = Vec::new();
        let mut unused = self.unused.lock();
        unused.retain(|id, _| there.contains(id) && !used.contains(id));
        for id in there.difference(used) {
            let since = unused.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= grace {
                gone.push(id.clone());
            }
        }
        let mut removed = Vec::new();
        for id in gone {
            unused.remove(&id);
            // Out of the way under the lock, so that the same code stored meanwhile finds nothing, or all of it.
            let trash = tempfile::Builder::new().prefix(STAGING).tempdir_in(&self.root)?;
            fs::rename(self.archive(&id), trash.path().join("archive")).or_else(ignore_missing)?;
            fs::rename(self.folder(&id), trash.path().join("folder")).or_else(ignore_missing)?;
            removed.push(trash);
        }
        let waiting = !unused.is_empty();
        drop(unused);
        removed.into_iter().try_for_each(tempfile::TempDir::close)?;
        Ok(waiting)
    }

    /// Stores an archive and its folder. Blocking: takes as long as the archive is large.
    pub(crate) fn store(&self, archive: &Bytes) -> Result<StoredCode, CodeError> {
        let stored = named(archive);
        let id = stored.id.clone();
        // Somebody wants it again.
        self.unused.lock().remove(&id);
        let folder = self.folder(&id);
        if folder.is_dir() && self.archive(&id).is_file() {
            return Ok(stored);
        }
        fs::create_dir_all(&self.root)?;
        let staging = tempfile::Builder::new().prefix(STAGING).tempdir_in(&self.root)?;
        unpack(archive, staging.path())?;
        let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
        file.write_all(archive)?;
        file.as_file().sync_all()?;
        file.persist(self.archive(&id)).map_err(|error| error.error)?;
        sync(staging.path())?;
        let staging = staging.keep();
        fs::set_permissions(&staging, fs::Permissions::from_mode(0o755))?;
        if let Err(error) = fs::rename(&staging, &folder) {
            fs::remove_dir_all(&staging)?;
            // Somebody stored the same code at the same time.
            if !folder.is_dir() {
                return Err(error.into());
            }
        }
        File::open(&self.root)?.sync_all()?;
        Ok(stored)
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Brings a folder with all that is in it to the disk. After all is written: the first file's journal entry carries most
/// of the others'.
fn sync(root: &Path) -> io::Result<()> {
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => waiting.push(entry.path()),
                false => File::open(entry.path())?.sync_all()?,
            }
        }
        File::open(&folder)?.sync_all()?;
    }
    Ok(())
}

/// What an archive is stored as.
fn named(archive: &[u8]) -> StoredCode {
    StoredCode { id: hex::encode(digest(&SHA256, archive)), bytes: archive.len() as u64 }
}

fn unpack(archive: &[u8], into: &Path) -> Result<(), CodeError> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(|_| CodeError::NotAnArchive)?;
    if archive.is_empty() {
        return Err(CodeError::Empty);
    }
    if archive.len() > MAX_ENTRIES {
        return Err(CodeError::TooMany);
    }
    let mut left = MAX_UNPACKED_BYTES;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|_| CodeError::NotAnArchive)?;
        let inside = entry.enclosed_name().filter(|_| !entry.is_symlink());
        let outside = || CodeError::Outside(String::from_utf8_lossy(entry.name_raw()).into_owned());
        let path = into.join(inside.ok_or_else(outside)?);
        if entry.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
        let mode = if executable { 0o755 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path)?;
        let written = io::copy(&mut entry.take(left + 1), &mut file).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                CodeError::NotAnArchive
            }
            _ => CodeError::Io(error),
        })?;
        left = left.checked_sub(written).ok_or(CodeError::TooLarge)?;
    }
    Ok(())
}

/// An archive in a bucket.
pub(crate) async fn fetch(
    objects: &dyn ObjectStore,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    max_bytes: usize,
) -> Result<Bytes, String> {
    let at = ObjectRef { version: version.map(str::to_owned), ..ObjectRef::new(bucket, key) };
    let object = objects.get(&at, GetOptions::default()).await.map_err(|error| error.to_string())?;
    if object.meta.size > max_bytes as u64 {
        return Err(format!("the object is larger than {max_bytes} bytes"));
    }
    let mut content = BytesMut::new();
    let mut body = object.body;
    while let Some(piece) = body.try_next().await.map_err(|error| error.to_string())? {
        content.extend_from_slice(&piece);
    }
    Ok(content.freeze())
}

#[cfg(test)]
mod tests {
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Bytes {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner().into()
    }

    #[test]
    fn equal_code_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let code = CodeStore::new(folder.path().join("code"));
        let archive = archive(&[("main.py", "x = 1"), ("package/util.py", "y = 2")]);
        let stored = code.store(&archive).unwrap();
        assert_eq!(code.store(&archive).unwrap(), stored);
        let text = fs::read_to_string(code.folder(&stored.id).join("package/util.py")).unwrap();
        assert_eq!(text, "y = 2");
        let names = fs::read_dir(folder.path().join("code")).unwrap().count();
        assert_eq!(names, 2, "one folder, one archive, nothing left over");
    }

    #[test]
    fn code_that_nobody_has_goes_a_while_later() {
        let folder = tempfile::tempdir().unwrap();
        let code = CodeStore::new(folder.path().join("code"));
        let none = HashSet::new();
        assert!(!code.sweep(&none, Duration::ZERO).unwrap(), "there is nothing yet");
        let kept = code.store(&archive(&[("main.py", "x = 1")])).unwrap();
        let archive = archive(&[("main.py", "x = 2")]);
        let old = code.store(&archive).unwrap();
        assert_eq!(code.check(&archive).unwrap(), old);
        let used = HashSet::from([kept.id.clone()]);
        let hour = Duration::from_secs(3600);
        assert!(code.sweep(&used, hour).unwrap() && code.folder(&old.id).is_dir(), "a call may run in it");
        // Stored again before its time, it counts from then on.
        assert_eq!(code.store(&archive).unwrap(), old);
        assert!(code.unused.lock().is_empty());
        assert!(!code.sweep(&used, Duration::ZERO).unwrap());
        assert!(!code.folder(&old.id).exists() && !code.archive(&old.id).exists());
        assert!(code.folder(&kept.id).is_dir() && code.archive(&kept.id).is_file());
        let names = fs::read_dir(folder.path().join("code")).unwrap().count();
        assert_eq!(names, 2, "nothing is left of it");
    }

    #[test]
    fn what_is_no_archive_or_leaves_its_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let code = CodeStore::new(folder.path().join("code"));
        let broken = code.store(&Bytes::from_static(b"PK\x03\x04 broken")).unwrap_err();
        assert!(matches!(broken, CodeError::NotAnArchive), "{broken}");
        let outside = code.store(&archive(&[("../../escape.py", "x")])).unwrap_err();
        assert!(matches!(outside, CodeError::Outside(_)), "{outside}");
        assert!(!folder.path().join("escape.py").exists());
    }
}
