//! The model store: one folder a model under `CRATON_MODELS_DIR`, each with a manifest.
//!
//! Installation is all or nothing: files are gathered in a staging folder, checked, synced and renamed into place, so
//! that a folder with a manifest is always complete. A lock per model keeps two processes from pulling it twice.
//! Everything here blocks; call it on a thread that may.

mod builtin;
mod check;
mod error;
mod hub;
mod install;
mod local;
mod manifest;
mod progress;
mod select;
mod source;
mod staging;
mod wheel;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub use builtin::{BUILTIN_NAMES, is_builtin};
pub use error::FilesError;
pub use hub::Hub;
pub use install::Import;
pub use manifest::{FileEntry, Format, InstalledModel, Manifest};
pub use progress::{Progress, Quiet};
pub use source::Source;
pub use wheel::Pip;

/// Folders of the store that hold no model start with this.
const HIDDEN: char = '.';

/// The model store of this machine.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    directory: PathBuf,
    pip: Pip,
    hub: Hub,
}

impl ModelFiles {
    /// A store in `directory`, which is created when something is first installed.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), pip: Pip::default(), hub: Hub::default() }
    }

    /// Runs pip this way.
    #[must_use]
    pub fn with_pip(mut self, pip: Pip) -> Self {
        self.pip = pip;
        self
    }

    /// Talks to this hub.
    #[must_use]
    pub fn with_hub(mut self, hub: Hub) -> Self {
        self.hub = hub;
        self
    }

    /// The store that the environment names: `CRATON_MODELS_DIR`, else `craton/models` in the user's cache directory.
    pub fn from_environment() -> Result<Self, FilesError> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let directory = variable("CRATON_MODELS_DIR")
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("craton/models")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/craton/models")));
        directory.map(Self::at).ok_or(FilesError::NoDirectory)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Installed models in the order of their names. Folders without a readable manifest are left out.
    pub fn list(&self) -> Result<Vec<InstalledModel>, FilesError> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FilesError::io(&self.directory, error)),
        };
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| FilesError::io(&self.directory, error))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(HIDDEN) {
                continue;
            }
            match manifest::read(&entry.path()) {
                Ok(Some(manifest)) => {
                    models.push(InstalledModel { name, directory: entry.path(), manifest });
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a folder of the model store is left out"),
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// The model of that name, if it is installed.
    pub fn find(&self, name: &str) -> Result<Option<InstalledModel>, FilesError> {
        if !is_name(name) {
            return Ok(None);
        }
        let directory = self.directory.join(name);
        let manifest = manifest::read(&directory)?;
        Ok(manifest.map(|manifest| InstalledModel { name: name.to_owned(), directory, manifest }))
    }

    /// The store's state, for noticing changes without reading it.
    pub(crate) fn stamp(&self) -> Stamp {
        let modified = std::fs::metadata(&self.directory).and_then(|metadata| metadata.modified()).ok();
        Stamp { modified, taken: SystemTime::now() }
    }
}

/// When the store last changed, as seen at some time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    taken: SystemTime,
}

impl Stamp {
    /// File systems keep times in steps; a change within the same step as the last look would go unseen.
    const STEP: Duration = Duration::from_millis(50);

    /// Whether the store may have changed since `before`.
    pub(crate) fn differs(&self, before: &Self) -> bool {
        let settled = match before.modified {
            Some(modified) => before.taken.duration_since(modified).is_ok_and(|age| age > Self::STEP),
            None => true,
        };
        self.modified != before.modified || !settled
    }
}

/// Whether `text` can name a model's folder.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(HIDDEN)
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte))
}
