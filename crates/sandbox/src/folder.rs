//! The folder of one interpreter: what is put into it, what comes out of it, and how large it is.
//!
//! Everything in it was made by code that nobody trusts. Links are never followed, only regular files are read, and
//! numbers, depths and sizes are bounded. Files are read only when the process is gone: what is still running could
//! put a link in a folder's place between two looks.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::{File, Limits, SandboxError};

/// Folders below the working folder that are looked into.
const MAX_DEPTH: usize = 8;
/// Files and folders that there may be.
const MAX_ENTRIES: usize = 10_000;
/// Bytes of a file's or folder's name, as file systems have it.
const MAX_NAME: usize = 255;
/// For a process that was killed and still holds on to its folder.
const REMOVAL_ATTEMPTS: usize = 100;
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

/// A temporary folder that code of strangers writes. It is removed when dropped, whatever modes they gave to what is in
/// it; in the background, because that can take long.
pub struct Scratch {
    root: PathBuf,
}

/// What a folder may hold.
#[derive(Debug, Clone, Copy)]
pub struct FolderBounds {
    /// On the disk: a file with a hole takes less than its size.
    pub bytes: u64,
    /// Files and folders.
    pub entries: usize,
    /// Of folders in folders.
    pub depth: usize,
}

/// A folder with `work`, where code starts and files are exchanged, and `tmp`.
pub(crate) struct Folder {
    scratch: Scratch,
}

/// When a file was last changed and its size: what tells whether an execution changed it.
pub(crate) type Marks = HashMap<PathBuf, (i64, i64, u64, u64)>;

/// Files that came out.
#[derive(Default)]
pub(crate) struct Found {
    pub files: Vec<File>,
    pub left_out: Vec<String>,
    pub removed: Vec<String>,
}

impl Folder {
    pub(crate) fn new() -> io::Result<Self> {
        let scratch = Scratch::new("craton-sandbox-")?;
        fs::create_dir(scratch.path().join("work"))?;
        fs::create_dir(scratch.path().join("tmp"))?;
        Ok(Self { scratch })
    }

    pub(crate) fn root(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.scratch.path().join("tmp")
    }
}

impl Scratch {
    /// A new folder below the machine's temporary folder.
    pub fn new(prefix: &str) -> io::Result<Self> {
        Ok(Self { root: tempfile::Builder::new().prefix(prefix).tempdir()?.keep() })
    }

    pub fn path(&self) -> &Path {
        &self.root
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let remains = Remains(std::mem::take(&mut self.root));
        if let Ok(runtime) = Handle::try_current() {
            // A runtime that ends drops what it has not begun: then it is removed here.
            drop(runtime.spawn_blocking(move || drop(remains)));
        }
    }
}

/// A folder that nobody needs any more.
struct Remains(PathBuf);

impl Drop for Remains {
    fn drop(&mut self) {
        let root = &self.0;
        let mut last = None;
        for _ in 0..REMOVAL_ATTEMPTS {
            match fs::remove_dir_all(root) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(error) => {
                    if error.kind() == io::ErrorKind::PermissionDenied {
                        unlock(root);
                    }
                    last = Some(error);
                }
            }
            std::thread::sleep(REMOVAL_PAUSE);
        }
        if let Some(error) = last {
            tracing::warn!(folder = %root.display(), %error, "a temporary folder was not removed");
        }
    }
}

/// Makes all folders of a folder readable and writable for this user.
fn unlock(root: &Path) {
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
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
                    return Err(SandboxError::Invalid(format!("a file is in the way of '{}'", file.name)));
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

/// Whether a file in the working folder can have this name.
pub fn is_file_name(name: &str) -> bool {
    relative(name).is_some()
}

/// A name as a path that stays in its folder.
fn relative(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| match part {
        Component::Normal(part) => part.len() <= MAX_NAME,
        _ => false,
    });
    let depth = path.components().count();
    (plain && (1..=MAX_DEPTH).contains(&depth) && name.len() <= 1024 && !name.contains('\0'))
        .then(|| path.to_owned())
}

/// Marks of all files in a working folder.
pub(crate) fn marks(work: &Path) -> Marks {
    let mut marks = Marks::new();
    walk(work, bounds(u64::MAX), &mut |path, found| {
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
    let mut gone: HashSet<&Path> = before.keys().map(PathBuf::as_path).collect();
    walk(work, bounds(u64::MAX), &mut |path, found| {
        if found.is_file() {
            gone.remove(path);
            if before.get(path) != Some(&mark(found)) {
                paths.push((path.to_owned(), found.size()));
            }
        }
        true
    });
    paths.sort();
    let name_of = |path: &Path| path.strip_prefix(work).ok().and_then(Path::to_str).map(str::to_owned);
    let removed = gone.into_iter().filter_map(name_of).collect();
    let mut found = Found { removed, ..Found::default() };
    let mut room = limits.returned_bytes;
    for (path, size) in paths {
        let name = name_of(&path);
        let bytes =
            if found.files.len() < limits.returned_files && size <= room { read(&path, size) } else { None };
        match (name, bytes) {
            (Some(name), Some(bytes)) => {
                room -= size;
                found.files.push(File { name, bytes });
            }
            (name, _) => {
                let shown = || path.strip_prefix(work).unwrap_or(&path).to_string_lossy().into_owned();
                let name = name.unwrap_or_else(shown);
                found.left_out.push(name);
            }
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

/// Whether a folder holds more than it may, or what can't be counted. Blocking.
pub(crate) fn is_over(root: &Path, bounds: FolderBounds) -> bool {
    let mut bytes = 0;
    let whole = walk(root, bounds, &mut |_, found| {
        bytes += found.blocks() * 512;
        bytes <= bounds.bytes
    });
    !whole
}

/// What an interpreter's folder may hold.
pub(crate) fn bounds(bytes: u64) -> FolderBounds {
    // One deeper than files are taken from: a deeper one still would not be counted.
    FolderBounds { bytes, entries: MAX_ENTRIES, depth: MAX_DEPTH + 1 }
}

/// Visits everything below a folder, links as links. False when there is too much, a folder can't be looked into, or the
/// visitor has enough.
fn walk(root: &Path, bounds: FolderBounds, visit: &mut dyn FnMut(&Path, &fs::Metadata) -> bool) -> bool {
    let mut waiting = vec![(root.to_owned(), 0)];
    let mut entries = 0;
    while let Some((folder, depth)) = waiting.pop() {
        let listed = match fs::read_dir(&folder) {
            Ok(listed) => listed,
            // Removed meanwhile, with all that was in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => return false,
        };
        for entry in listed {
            let Ok(entry) = entry else { return false };
            let path = entry.path();
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => return false,
            };
            entries += 1;
            if entries > bounds.entries || !visit(&path, &found) {
                return false;
            }
            if found.is_dir() {
                if depth >= bounds.depth {
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
        for name in ["", "/etc/x", "../x", "a/../../x", "a\0b", "./x", "1/2/3/4/5/6/7/8/9", &"x".repeat(256)]
        {
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
        assert_eq!((names(&found), found.left_out), (vec!["new".to_owned()], vec!["changed".to_owned()]));
        assert!(found.removed.is_empty());
        fs::remove_file(work.join("old")).unwrap();
        fs::remove_file(work.join("changed")).unwrap();
        fs::create_dir(work.join("changed")).unwrap();
        let mut found = changed(&work, &before, &Limits::default());
        found.removed.sort();
        assert_eq!(found.removed, ["changed", "old"]);
        assert!(is_over(folder.root(), bounds(4096)) && !is_over(folder.root(), bounds(1 << 20)));
    }

    #[test]
    fn a_folder_that_can_not_be_looked_into_is_over() {
        let scratch = Scratch::new("craton-sandbox-test-").unwrap();
        let long = |into: &Path, letter: &str| {
            let path = (0..9).fold(into.to_owned(), |path, _| path.join(letter.repeat(240)));
            fs::create_dir_all(&path).unwrap();
            path
        };
        let all = FolderBounds { bytes: u64::MAX, entries: 1000, depth: 100 };
        let first = long(scratch.path(), "a");
        long(&scratch.path().join("b"), "b");
        assert!(!is_over(scratch.path(), all));
        // Their names together are longer than any path may be.
        fs::rename(scratch.path().join("b"), first.join("b")).unwrap();
        assert!(is_over(scratch.path(), all));
    }

    #[test]
    fn a_scratch_folder_goes_whatever_its_modes_are() {
        let scratch = Scratch::new("craton-sandbox-test-").unwrap();
        let root = scratch.path().to_owned();
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), b"x").unwrap();
        for folder in [inner, root.join("a")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o000)).unwrap();
        }
        drop(scratch);
        assert!(!root.exists());
    }
}
