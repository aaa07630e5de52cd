//! Code of strangers, run in a process that can't do harm.
//!
//! Two layers:
//!
//! * [`Process`] starts any program behind a [`Confinement`]: the paths it may read and write, whether it may use the
//!   network and start processes, and what it may use up. Functions (Lambda's environments) stand on it.
//! * [`Sandbox`] runs Python in such processes, a process a piece of code. Agents' code interpreter and flows' inline
//!   code stand on it.
//!
//! The walls are the kernel's and need no privilege: Landlock for files, TCP and signals, seccomp for sockets,
//! processes and rarely needed system calls, resource limits for processor time, memory and file sizes. Each child has
//! a folder of its own, nothing of the server's environment and open files, and no capabilities, also when the server
//! is root. What the kernel can't count is watched from outside: time, the folder's size, output.
//!
//! [`Standing`] says which walls stand on this machine. Where one doesn't, nothing is run unless `require_walls` is
//! switched off, and every start says so. Nothing is run either that could read a folder of the server's secrets.
//!
//! Name spaces are no wall here: most containers refuse them, and they keep nothing away that the walls above don't.
//! Where a mount name space can be had, a function is given a `/tmp` of its own with it.

mod bare;
mod capture;
mod config;
mod execution;
mod folder;
mod process;
mod python;
mod walls;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

use execution::Execution;

pub use bare::with_little;
pub use config::SandboxConfig;
pub use folder::{FolderBounds, Scratch, is_file_name};
pub use process::{Process, Usage, Watch};
pub use python::Python;
pub use walls::{Confinement, Resources, SYSTEM_PATHS, Standing};

/// How long a run waits for a place among those that may run at once.
const PLACE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs Python behind walls; clones share their places.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    config: SandboxConfig,
    standing: Standing,
    /// Folders that no code may read.
    secret: Vec<PathBuf>,
    python: OnceCell<Python>,
    places: Arc<Semaphore>,
}

/// A piece of Python, what it is given, and what it may use.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub code: String,
    /// Global variables that are set before the code runs. Names that are no Python names are refused.
    pub variables: Map<String, Value>,
    /// Files that lie in its working folder before it runs.
    pub files: Vec<File>,
}

/// A file in the working folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the working folder, `/` between its parts.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What one execution may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From the start to the answer.
    pub time: Duration,
    /// Processor time of the whole process.
    pub processor: Duration,
    /// Address space of the process.
    pub memory_bytes: u64,
    /// The largest file it can write.
    pub file_bytes: u64,
    /// All of its folder.
    pub folder_bytes: u64,
    /// Kept of each of its two outputs; the rest is dropped.
    pub output_bytes: usize,
    /// The largest result as JSON.
    pub result_bytes: usize,
    /// Files that come back, at most.
    pub returned_files: usize,
    /// All files that come back together.
    pub returned_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30),
            processor: Duration::from_secs(60),
            memory_bytes: 1 << 30,
            file_bytes: 64 << 20,
            folder_bytes: 256 << 20,
            output_bytes: 256 << 10,
            result_bytes: 1 << 20,
            returned_files: 20,
            returned_bytes: 16 << 20,
        }
    }
}

/// What came of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What it printed, as far as it was kept. Broken UTF-8 is replaced.
    pub stdout: String,
    /// What it printed on standard error, its traceback included.
    pub stderr: String,
    /// Whether some of the output was dropped.
    pub truncated: bool,
    /// The value of the code's last line, if that is an expression whose value is not None and fits JSON.
    pub result: Option<Value>,
    /// Why a value that is not None is no result.
    pub unfit: Option<Unfit>,
    /// The same value as Python shows it, shortened; also of values that are no JSON.
    pub shown: Option<String>,
    /// Files that it made or changed, by name.
    pub files: Vec<File>,
    /// Names of files that it made or changed and that were too many or too large to come back.
    pub left_out: Vec<String>,
    /// Names of files that it was given and that are not there any more.
    pub removed: Vec<String>,
    pub exit: Exit,
    pub took: Duration,
}

/// Why the value of the code's last line is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// As JSON it would have so many characters, which is more than it may.
    TooLarge(u64),
    /// JSON has no such values, or none so deep or so large.
    NoJson,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It ran to its end.
    Finished,
    /// It raised an exception: its type's name, its message, and the traceback as Python prints it.
    Raised { kind: String, message: String, traceback: String },
    /// It called `exit`, or ended its process.
    Exited(i32),
    /// It took too long and was ended.
    TimedOut,
    /// It used up its processor time and was ended.
    ProcessorTime,
    /// Its folder became too large, and it was ended.
    FolderFull,
    /// It was ended by this signal.
    Killed(i32),
}

impl Exit {
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Finished | Self::Exited(0))
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => write!(f, "The code ran to its end."),
            Self::Raised { kind, message, .. } if message.is_empty() => write!(f, "{kind}"),
            Self::Raised { kind, message, .. } => write!(f, "{kind}: {message}"),
            Self::Exited(code) => write!(f, "The code ended its process with exit status {code}."),
            Self::TimedOut => write!(f, "The code took too long and was ended."),
            Self::ProcessorTime => write!(f, "The code used up its processor time and was ended."),
            Self::FolderFull => write!(f, "The code wrote more files than it may and was ended."),
            Self::Killed(signal) => write!(f, "The code was ended by signal {signal}."),
        }
    }
}

/// Why code was not run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// There is no Python, or it does not start.
    #[error("{0}")]
    Unavailable(String),
    /// A wall is required and does not stand.
    #[error(
        "Code is not run on this machine: {0}. `sandbox.require_walls = false` in the configuration runs it all the same, \
         with this server's rights"
    )]
    Unwalled(String),
    /// What it would have to read contains a folder of the server's secrets.
    #[error("Code is not run that could read {}: it would be given {}", .secret.display(), .given.display())]
    Exposed { secret: PathBuf, given: PathBuf },
    #[error("Too much code runs at once.")]
    Busy,
    /// A name of a file or a variable that can't be.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl SandboxError {
    /// What whoever wanted the code run may know. What is missing on this machine, and where, goes to the log.
    pub fn public(&self) -> String {
        if matches!(self, Self::Busy | Self::Invalid(_)) {
            return self.to_string();
        }
        tracing::error!(error = %self, "code can't be run");
        "This server can't run code. Its log says why.".to_owned()
    }

    /// Whether no code can be run here before its operator has done something.
    pub fn is_lack(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unwalled(_) | Self::Exposed { .. })
    }
}

impl Sandbox {
    /// Looks which walls stand here, and says so in the log. Starts nothing. What is `secret` no code will read,
    /// whatever it is given to read.
    pub fn new(config: SandboxConfig, secret: &[&Path]) -> Self {
        let standing = Standing::probe();
        standing.log(config.require_walls);
        let places = Arc::new(Semaphore::new(config.max_interpreters));
        let secret = secret.iter().map(|path| path.to_path_buf()).collect();
        Self { inner: Arc::new(Inner { config, standing, secret, python: OnceCell::new(), places }) }
    }

    /// Which walls stand on this machine.
    pub fn standing(&self) -> &Standing {
        &self.inner.standing
    }

    /// The limits that the configuration gives.
    pub fn limits(&self) -> Limits {
        self.inner.config.limits()
    }

    /// Starts any program behind the walls that stand here, with both outputs piped and nothing of the server's
    /// environment unless the command was given it.
    pub fn start(
        &self,
        command: Command,
        confinement: &Confinement,
        stdin: Stdio,
    ) -> Result<Process, SandboxError> {
        self.require_walls()?;
        self.keep_secrets(confinement)?;
        Ok(Process::start(command, confinement, &self.inner.standing, stdin)?)
    }

    fn require_walls(&self) -> Result<(), SandboxError> {
        match self.inner.standing.missing() {
            Some(missing) if self.inner.config.require_walls => Err(SandboxError::Unwalled(missing)),
            _ => Ok(()),
        }
    }

    fn keep_secrets(&self, confinement: &Confinement) -> Result<(), SandboxError> {
        let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        for secret in self.inner.secret.iter().map(whole) {
            let given = confinement.read.iter().chain(&confinement.write);
            if let Some(given) = given.map(whole).find(|given| secret.starts_with(given)) {
                return Err(SandboxError::Exposed { secret, given });
            }
        }
        Ok(())
    }

    /// Runs a program in a process of its own, which ends with it. Dropping the future kills it.
    pub async fn run(&self, program: Program, limits: Limits) -> Result<Outcome, SandboxError> {
        self.require_walls()?;
        let place = tokio::time::timeout(PLACE_TIMEOUT, Arc::clone(&self.inner.places).acquire_owned());
        let Ok(Ok(_place)) = place.await else { return Err(SandboxError::Busy) };
        let python = self.inner.python.get_or_try_init(|| Python::find(self.inner.config.python.as_deref()));
        Execution::start(python.await?, self, limits)?.run(program).await
    }
}
