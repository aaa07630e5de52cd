//! Importing files that are on this machine.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::select::{Selection, only_gguf, select};
use super::staging::Staging;
use super::{FilesError, Progress};

/// Bounds of a look into a folder that someone named.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 20_000;

/// Copies the model at `path` (a file or a folder) into `staging`.
pub(super) fn import(
    path: &Path,
    file: Option<&str>,
    staging: &mut Staging,
    progress: &dyn Progress,
) -> Result<Selection, FilesError> {
    let metadata = std::fs::metadata(path).map_err(|error| FilesError::io(path, error))?;
    let (root, wanted) = if metadata.is_dir() {
        (path.to_owned(), file.map(str::to_owned))
    } else {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| FilesError::BadSource(path.display().to_string()))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.unwrap_or(Path::new(".")).to_owned(), Some(name.to_owned()))
    };
    let mut paths = Vec::new();
    // Next to a single file only its own folder matters: its other parts, its tokenizer.
    let depth = if metadata.is_file() { 2 } else { MAX_DEPTH };
    walk(&root, String::new(), depth, &mut paths)?;
    let source = path.display().to_string();
    let selection = match &wanted {
        Some(wanted) if !is_weights(wanted) => {
            let reason = "it is neither a .gguf nor a .safetensors file".to_owned();
            return Err(FilesError::BadModel { file: source, reason });
        }
        Some(wanted) => select(&source, &paths, Some(wanted))?,
        None => {
            // Nobody says what a folder's files are to each other; a repository's are one model in several sizes.
            only_gguf(&source, &paths)?;
            select(&source, &paths, None)?
        }
    };
    for (from, to) in &selection.files {
        copy(&root.join(from), to, staging, progress)?;
    }
    Ok(selection)
}

fn is_weights(name: &str) -> bool {
    name.ends_with(".gguf") || name.ends_with(".safetensors")
}

fn copy(from: &Path, to: &str, staging: &mut Staging, progress: &dyn Progress) -> Result<(), FilesError> {
    let mut file = File::open(from).map_err(|error| FilesError::io(from, error))?;
    let bytes = file.metadata().map_err(|error| FilesError::io(from, error))?.len();
    progress.begin(to, Some(bytes), 0);
    staging.write(to, &mut file, bytes, progress)?;
    progress.end();
    Ok(())
}

/// Regular files below `folder`, as `/`-separated relative paths. Links to files count as files, links to folders are
/// not followed.
fn walk(folder: &Path, prefix: String, depth: usize, paths: &mut Vec<String>) -> Result<(), FilesError> {
    let entries = std::fs::read_dir(folder).map_err(|error| FilesError::io(folder, error))?;
    let mut folders: Vec<(PathBuf, String)> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| FilesError::io(folder, error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let relative = format!("{prefix}{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            folders.push((entry.path(), format!("{relative}/")));
        } else if entry.path().is_file() {
            paths.push(relative);
        }
        if paths.len() + folders.len() > MAX_ENTRIES {
            let reason = format!("it has more than {MAX_ENTRIES} files; name the model's own folder");
            return Err(FilesError::BadModel { file: folder.display().to_string(), reason });
        }
    }
    if depth > 1 {
        for (folder, prefix) in folders {
            walk(&folder, prefix, depth - 1, paths)?;
        }
    }
    Ok(())
}
