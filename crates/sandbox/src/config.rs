//! `[sandbox]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::Limits;

/// How code of agents and flows is run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// The interpreter; its packages are what code can import. Default: the machine's `python3`.
    pub python: Option<PathBuf>,
    /// Run nothing where a wall does not stand: code comes from whoever may call the API.
    pub require_walls: bool,
    /// Interpreters that run at once.
    pub max_interpreters: usize,
    /// Longest time of an execution.
    pub timeout_s: u64,
    /// Address space of an interpreter.
    pub memory_mib: u64,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self { python: None, require_walls: true, max_interpreters: 32, timeout_s: 30, memory_mib: 1024 }
    }
}

impl SandboxConfig {
    /// The first thing that is wrong, if anything is.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self { max_interpreters: 0, .. } => Err("max_interpreters must be at least 1".into()),
            Self { timeout_s: 0, .. } => Err("timeout_s must be at least 1".into()),
            Self { memory_mib: ..=63, .. } => Err("memory_mib must be at least 64".into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            time: Duration::from_secs(self.timeout_s),
            processor: Duration::from_secs(self.timeout_s.saturating_mul(2)),
            memory_bytes: self.memory_mib << 20,
            ..Limits::default()
        }
    }
}
