//! AWS's runtime clients, installed once a machine with the languages' own package managers.
//!
//! A folder a client and language version, made under a temporary name and renamed when it is whole. Python's has
//! boto3 beside the client, because functions written for AWS expect it.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use craton_backend::function::FunctionError;
use craton_sandbox::{Python, with_little};
use parking_lot::Mutex;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::function::Language;

const PYTHON_PACKAGES: [&str; 2] = ["awslambdaric==4.2.2", "boto3==1.44.5"];
const NODE_PACKAGE: &str = "aws-lambda-ric@4.0.2";
/// Node's client compiles a C++ addon.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(900);
/// Until an interpreter says what it is.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// An interpreter and the folder of the runtime client for it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub interpreter: PathBuf,
    pub folder: PathBuf,
    /// What the interpreter must be able to read besides.
    pub read: Vec<PathBuf>,
}

type Installed = Arc<OnceCell<Client>>;

/// The runtime clients of this machine.
pub(crate) struct Clients {
    root: PathBuf,
    installed: Mutex<HashMap<(Language, String), Installed>>,
}

impl Clients {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, installed: Mutex::new(HashMap::new()) }
    }

    /// The client for a language version, installed now if it never was. Calls for the same one wait for one
    /// installation.
    pub(crate) async fn get(&self, language: Language, version: &str) -> Result<Client, FunctionError> {
        let cell = {
            let mut installed = self.installed.lock();
            Arc::clone(installed.entry((language, version.to_owned())).or_default())
        };
        let client = cell.get_or_try_init(|| self.install(language, version)).await;
        client.cloned().map_err(|why| {
            // What this machine lacks, and where, is for who runs this server.
            tracing::error!(?language, version, why, "functions of this runtime can't be run");
            FunctionError::Unavailable(format!(
                "{language:?} {version} could not be made ready for functions on this machine. The server's log says why."
            ))
        })
    }

    async fn install(&self, language: Language, version: &str) -> Result<Client, String> {
        let Interpreter { path: interpreter, version: found, read } = interpreter(language, version).await?;
        let name = match language {
            Language::Python => format!("python-{found}"),
            Language::Node => format!("node-{found}"),
        };
        let folder = self.root.join(name);
        if folder.join("done").is_file() {
            return Ok(Client { interpreter, folder, read });
        }
        tokio::fs::create_dir_all(&self.root).await.map_err(|error| error.to_string())?;
        let staging = tempfile::Builder::new().prefix(".staging-").tempdir_in(&self.root);
        let staging = staging.map_err(|error| error.to_string())?;
        tracing::info!(folder = %folder.display(), "installing a Lambda runtime client");
        match language {
            Language::Python => {
                let mut pip = Command::new(&interpreter);
                pip.args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-cache-dir",
                ]);
                pip.arg("--target").arg(staging.path()).args(PYTHON_PACKAGES);
                run(pip, "pip").await?;
            }
            Language::Node => {
                let mut npm = Command::new("npm");
                npm.args([
                    "install",
                    "--silent",
                    "--no-audit",
                    "--no-fund",
                    "--ignore-scripts=false",
                    "--prefix",
                ]);
                npm.arg(staging.path()).arg(NODE_PACKAGE);
                run(npm, "npm").await?;
            }
        }
        let settle = |path: &Path| -> io::Result<()> {
            std::fs::write(path.join("done"), b"")?;
            match std::fs::rename(path, &folder) {
                // Another server installed it in the meantime.
                Err(_) if folder.join("done").is_file() => std::fs::remove_dir_all(path),
                other => other,
            }
        };
        settle(&staging.keep()).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Client { interpreter, folder, read })
    }
}

/// What runs a language on this machine.
struct Interpreter {
    path: PathBuf,
    version: String,
    read: Vec<PathBuf>,
}

/// The interpreter of exactly this version where there is one, else the machine's own.
async fn interpreter(language: Language, version: &str) -> Result<Interpreter, String> {
    let found = match language {
        Language::Python => {
            let exactly = Python::find(Some(Path::new(&format!("python{version}")))).await;
            let found = match exactly {
                Ok(python) => Ok(python),
                Err(_) => Python::find(None).await,
            };
            let Python { executable, version, read } = found.map_err(|error| error.to_string())?;
            Interpreter { path: executable, version, read }
        }
        Language::Node => node().await?,
    };
    if found.version != version {
        tracing::info!(
            asked = version,
            found = found.version,
            "functions run on this machine's version of their language"
        );
    }
    Ok(found)
}

async fn node() -> Result<Interpreter, String> {
    // Its own path, because what is found by name may be a script that chooses among versions, slowly.
    let print = "process.versions.node.split('.')[0] + '\\n' + fs.realpathSync(process.execPath)";
    let mut command = Command::new("node");
    command.args(["-p", print]).stdin(Stdio::null()).kill_on_drop(true);
    with_little(&mut command);
    let output = tokio::time::timeout(ASK_TIMEOUT, command.output()).await;
    let output = output.ok().and_then(Result::ok).filter(|output| output.status.success());
    let output = output.ok_or("No node on this machine: install it to run such functions.")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (version, path) = said.trim().split_once('\n').ok_or("node does not say its version")?;
    let path = PathBuf::from(path);
    // PREFIX/bin/node, with its libraries beside bin. The prefix itself may be somebody's home, or `~/.local`.
    let prefix = path.parent().filter(|folder| folder.ends_with("bin")).and_then(Path::parent);
    let mut read: Vec<PathBuf> = prefix.into_iter().map(|prefix| prefix.join("lib")).collect();
    read.push(path.clone());
    Ok(Interpreter { version: version.to_owned(), read, path })
}

async fn run(mut command: Command, name: &str) -> Result<(), String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    with_little(&mut command);
    let output = tokio::time::timeout(INSTALL_TIMEOUT, command.output()).await;
    let output = output.map_err(|_| format!("{name} did not end within {} s", INSTALL_TIMEOUT.as_secs()))?;
    let output = output.map_err(|error| format!("{name} could not be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let end: Vec<&str> = said.lines().rev().take(4).collect();
    Err(format!(
        "{name} could not install the runtime client: {}",
        end.into_iter().rev().collect::<Vec<_>>().join(" ")
    ))
}
