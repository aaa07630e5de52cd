//! `[lambda]` and `[[function]]` of the configuration.

use std::path::PathBuf;

use serde::Deserialize;

/// How functions are run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LambdaConfig {
    /// Calls that run at the same time, over all functions; more are refused with TooManyRequestsException.
    pub max_concurrency: usize,
    /// An environment that nobody called for so long is ended.
    pub idle_s: u64,
    /// Where runtime clients are installed. Default: `lambda` beside the model store.
    pub runtimes_dir: Option<PathBuf>,
}

impl Default for LambdaConfig {
    fn default() -> Self {
        Self { max_concurrency: 64, idle_s: 300, runtimes_dir: None }
    }
}

/// A function that is somewhere else. Exactly one of `url` and `folder` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappedFunction {
    pub name: String,
    /// `http://host:port/path` that takes the event as a POST and answers with the result.
    pub url: Option<String>,
    /// A folder of sources; changed files are noticed by the next call.
    pub folder: Option<PathBuf>,
    /// For a folder: `python3.11`, `nodejs20.x`…
    pub runtime: Option<String>,
    /// For a folder: `file.function`.
    pub handler: Option<String>,
    /// Seconds a call may take.
    pub timeout_s: Option<u32>,
}

impl LambdaConfig {
    /// The first thing that is wrong, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if self.max_concurrency == 0 {
            return Err("max_concurrency must be at least 1".into());
        }
        Ok(())
    }
}

impl MappedFunction {
    /// The first thing that is wrong, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        match (&self.url, &self.folder) {
            _ if name.is_empty() => Err("a function needs a name".into()),
            (Some(url), None) if url.starts_with("http://") || url.starts_with("https://") => Ok(()),
            (Some(_), None) => Err(format!("{name}: url must begin with http:// or https://")),
            (None, Some(_)) if self.handler.is_some() && self.runtime.is_some() => Ok(()),
            (None, Some(_)) => Err(format!("{name}: a folder needs runtime and handler")),
            _ => Err(format!("{name}: set either url or folder")),
        }
    }
}
