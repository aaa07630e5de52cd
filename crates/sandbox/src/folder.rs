//! The folder of one interpreter: what is put into it, what comes out of it, and how large it is.
//!
//! Everything in it was made by code that nobody trusts. Links are never followed, only regular files are read, and
//! numbers, depths and sizes are bounded. It is read only while the code does not run.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use crate::{File, Limits, SandboxError};

/// Folders below the working folder that are looked into.
const MAX_DEPTH: usize = 8;
/// Files and folders that there may be.
const MAX_ENTRIES: usize = 10_000;

/// A temporary folder with `work`, where code starts and files are exchanged, and `tmp`. Removed when dropped.
pub(crate) struct Folder {
    root: TempDir,
}

/// When a file was last changed and its size: what tells whether an execution changed it.
pub(crate) type Marks = HashMap<PathBuf, (i64, i64, u64, u64)>;

/// Files that came out.
#[derive(Default)]
pub(crate) struct Found {
    pub files: Vec<File>,
    pub left_out: usize,
}

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("craton-sandbox-").tempdir()?;
        fs::create_dir(root.path().join("work"))?;
        fs::create_dir(root.path().join("tmp"))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.path().join("tmp")
    }
}

/// Puts files into a working folder.
pub(crate) fn put(work: &Path, files: &[File]) -> Result<(), SandboxError> {
    for file in files {
        let relative = relative(&file.name)
            .ok_or_else(|| SandboxError::Invalid(format!("'{}' is no name of a file", file.name)))?;
        let mut folder = work.to_owned();
        for part in relative.parent().into_iter().flat_map(Path::components) {
            folder.push(part);
            match fs::symlink_metadata(&folder) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    return Err(SandboxError::Invalid(format!(
                        "'{}' is in the way of a file",
                        folder.display()
                    )));
                }
                Err(_) => fs::create_dir(&folder)?,
            }
        }
        let path = work.join(&relative);
        // A link of this name is replaced, not written through.
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {
                return Err(SandboxError::Invalid(format!("'{}' is a folder", file.name)));
            }
            Ok(_) => fs::remove_file(&path)?,
            Err(_) => {}
        }
        fs::write(&path, &file.bytes)?;
    }
    Ok(())
}

/// A name as a path that stays in its folder.
fn relative(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let depth = path.components().count();
    (plain && (1..=MAX_DEPTH).contains(&depth) && name.len() <= 1024 && !name.contains('\0'))
        .then(|| path.to_owned())
}

/// Marks of all files in a working folder.
pub(crate) fn marks(work: &Path) -> Marks {
    let mut marks = Marks::new();
    walk(work, &mut |path, found| {
        if found.is_file() {
            marks.insert(path.to_owned(), mark(found));
        }
        true
    });
    marks
}

fn mark(found: &fs::Metadata) -> (i64, i64, u64, u64) {
    (found.ctime(), found.ctime_nsec(), found.size(), found.ino())
}

/// Files that are new or changed since `before`, by name, as far as the limits allow.
pub(crate) fn changed(work: &Path, before: &Marks, limits: &Limits) -> Found {
    let mut paths = Vec::new();
    walk(work, &mut |path, found| {
        if found.is_file() && before.get(path) != Some(&mark(found)) {
            paths.push((path.to_owned(), found.size()));
        }
        true
    });
    paths.sort();
    let mut found = Found::default();
    let mut room = limits.returned_bytes;
    for (path, size) in paths {
        let name = path.strip_prefix(work).ok().and_then(Path::to_str).map(str::to_owned);
        let bytes =
            if found.files.len() < limits.returned_files && size <= room { read(&path, size) } else { None };
        match (name, bytes) {
            (Some(name), Some(bytes)) => {
                room -= size;
                found.files.push(File { name, bytes });
            }
            _ => found.left_out += 1,
        }
    }
    found
}

/// A regular file of exactly this size.
fn read(path: &Path, size: u64) -> Option<Vec<u8>> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether a folder holds more than this many bytes, or more entries than anyone needs.
pub(crate) fn is_over(root: &Path, limit_bytes: u64) -> bool {
    let mut bytes = 0;
    let whole = walk(root, &mut |_, found| {
        // What it takes on the disk: a file with a hole takes less than its size.
        bytes += found.blocks() * 512;
        bytes <= limit_bytes
    });
    !whole
}

/// Visits everything below a folder, links as links. False when there is too much, or the visitor has enough.
fn walk(root: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> bool) -> bool {
    let mut waiting = vec![(root.to_owned(), 0)];
    let mut entries = 0;
    while let Some((folder, depth)) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            entries += 1;
            if entries > MAX_ENTRIES || !visit(&path, &found) {
                return false;
            }
            if found.is_dir() {
                // One deeper than files are taken from: a deeper one still would not be counted.
                if depth > MAX_DEPTH {
                    return false;
                }
                waiting.push((path, depth + 1));
            }
        }
    }
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(name: &str) -> File {
        File { name: name.into(), bytes: b"x".to_vec() }
    }

    #[test]
    fn names_stay_in_their_folder() {
        let folder = Folder::new().unwrap();
        for name in ["", "/etc/x", "../x", "a/../../x", "a\0b", "./x", "1/2/3/4/5/6/7/8/9"] {
            assert!(put(&folder.work(), &[file(name)]).is_err(), "{name:?}");
        }
        std::os::unix::fs::symlink("/tmp", folder.work().join("out")).unwrap();
        assert!(put(&folder.work(), &[file("out/craton-sandbox-test")]).is_err());
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.work().join("link")).unwrap();
        put(&folder.work(), &[file("link"), file("a/b.txt")]).unwrap();
        assert_eq!(fs::read(outside.path()).unwrap(), b"");
        assert_eq!(fs::read(folder.work().join("a/b.txt")).unwrap(), b"x");
    }

    #[test]
    fn what_comes_out_is_regular_changed_and_bounded() {
        let folder = Folder::new().unwrap();
        let work = folder.work();
        put(&work, &[file("old"), file("changed")]).unwrap();
        let before = marks(&work);
        std::os::unix::fs::symlink("/etc/hostname", work.join("link")).unwrap();
        fs::write(work.join("changed"), b"other").unwrap();
        put(&work, &[file("new")]).unwrap();
        let names = |found: &Found| found.files.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
        let found = changed(&work, &before, &Limits::default());
        assert_eq!(names(&found), ["changed", "new"]);
        let found = changed(&work, &before, &Limits { returned_bytes: 3, ..Limits::default() });
        assert_eq!((names(&found), found.left_out), (vec!["new".to_owned()], 1));
        assert!(is_over(folder.root(), 4096) && !is_over(folder.root(), 1 << 20));
    }
}
