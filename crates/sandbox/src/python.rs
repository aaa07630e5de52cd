//! Which Python runs the code, and what it must be able to read.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::{SYSTEM_PATHS, SandboxError};

/// Its own path, because what is found by name may be a script that chooses among versions; and where it imports from.
/// Of the folder it is installed in only what belongs to it: that folder may be somebody's home, or `~/.local`.
const ASK: &str = "
import json, os, sys
places = [p for p in sys.path if p and os.path.isdir(p)]
for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix):
    if prefix not in ('/', '/usr', '/usr/local'):
        places += [os.path.join(prefix, name) for name in ('lib', 'lib64', 'pyvenv.cfg')]
print(json.dumps({'executable': sys.executable, 'version': '%d.%d' % sys.version_info[:2], 'file': os.path.realpath(sys.executable), 'places': places}))
";

/// An interpreter.
#[derive(Debug, Clone)]
pub struct Python {
    pub executable: PathBuf,
    /// `3.11`.
    pub version: String,
    /// What it must be able to read: itself, its libraries, its packages.
    pub read: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Said {
    executable: PathBuf,
    version: String,
    file: PathBuf,
    places: Vec<PathBuf>,
}

impl Python {
    /// The configured interpreter, else the machine's.
    pub async fn find(configured: Option<&Path>) -> Result<Self, SandboxError> {
        let name = configured.unwrap_or(Path::new("python3"));
        let failed =
            |why: String| SandboxError::Unavailable(format!("{} can't run code: {why}", name.display()));
        let mut command = Command::new(name);
        command.args(["-I", "-c", ASK]).stdin(Stdio::null()).kill_on_drop(true);
        crate::with_little(&mut command);
        let output = command.output().await.map_err(|error| failed(error.to_string()))?;
        let said: Said = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed(String::from_utf8_lossy(&output.stderr).chars().take(500).collect()))?;
        let mut read = said.places;
        read.extend(SYSTEM_PATHS.iter().map(PathBuf::from));
        read.extend([said.executable.clone(), said.file]);
        Ok(Self { executable: said.executable, version: said.version, read })
    }
}
