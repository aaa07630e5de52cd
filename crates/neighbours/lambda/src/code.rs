//! Archives of code and the folders they become.
//!
//! A folder is named by its archive's SHA-256 and appears by a rename once it is whole and on the disk, so that
//! equal code is kept once and a crash leaves no half of it. Archives are untrusted: entries may not leave the folder,
//! be links, or be more or larger than the bounds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use craton_objects::{GetOptions, ObjectRef, ObjectStore};
use futures::TryStreamExt as _;
use ring::digest::{SHA256, digest};
use zip::ZipArchive;

/// AWS's limit of an unpacked deployment package.
const MAX_UNPACKED_BYTES: u64 = 262_144_000;
const MAX_ENTRIES: usize = 20_000;

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
}

impl CodeStore {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder of stored code.
    pub(crate) fn folder(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// The archive that stored code came from.
    pub(crate) fn archive(&self, id: &str) -> PathBuf {
        self.root.join(format!("{id}.zip"))
    }

    /// Stores an archive and its folder. Blocking: takes as long as the archive is large.
    pub(crate) fn store(&self, archive: &Bytes) -> Result<StoredCode, CodeError> {
        let hash = digest(&SHA256, archive);
        let id: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let stored = StoredCode { id: id.clone(), bytes: archive.len() as u64 };
        let folder = self.folder(&id);
        if folder.is_dir() && self.archive(&id).is_file() {
            return Ok(stored);
        }
        fs::create_dir_all(&self.root)?;
        let staging = tempfile::Builder::new().prefix(".staging-").tempdir_in(&self.root)?;
        unpack(archive, staging.path())?;
        let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
        file.write_all(archive)?;
        file.as_file().sync_all()?;
        file.persist(self.archive(&id)).map_err(|error| error.error)?;
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
        file.sync_all()?;
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
