//! One interpreter, which runs one piece of code.
//!
//! The server and the interpreter talk over a socket pair that is the interpreter's standard input: a length, a line
//! feed and JSON in both directions. Both outputs are pipes; a mark that only this execution has says where its output
//! ends. When it has answered, or its time is over, it is killed and waited for: only then is its folder read.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdout, Command};

use crate::capture::Capture;
use crate::folder::{self, Folder};
use crate::python::Python;
use crate::walls::{Confinement, Resources};
use crate::{Exit, Limits, Outcome, Process, Program, Sandbox, SandboxError, Unfit, Watch};

const BOOTSTRAP: &str = include_str!("bootstrap.py");
/// Of a reply beside its result: what is shown, and an error with its traceback, each escaped.
const REPLY_BYTES: usize = 1 << 20;
/// How often the folder's size is looked at.
const FOLDER_CHECK: Duration = Duration::from_millis(250);
/// For output that lies in the pipes of a process that is gone.
const DRAIN: Duration = Duration::from_millis(200);
const OPEN_FILES: u64 = 256;

/// A process that was killed is gone after so long, unless the kernel itself is stuck.
const DEATH: Duration = Duration::from_secs(10);

/// An interpreter and its folder. Dropping it kills it and removes the folder.
pub(crate) struct Execution {
    process: Process,
    channel: BufReader<UnixStream>,
    stdout: ChildStdout,
    stderr: ChildStderr,
    limits: Limits,
    folder: Folder,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<String>,
    /// Of a result that is too large.
    result_length: Option<u64>,
    shown: Option<String>,
    error: Option<Raised>,
    exit: Option<i32>,
}

#[derive(Deserialize)]
struct Raised {
    kind: String,
    message: String,
    traceback: String,
}

/// What ended an exchange.
enum End {
    Replied(Reply),
    /// The process is gone.
    Gone,
    Stopped(Exit),
}

impl Execution {
    pub(crate) fn start(python: &Python, sandbox: &Sandbox, limits: Limits) -> Result<Self, SandboxError> {
        let folder = Folder::new()?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let channel = BufReader::new(UnixStream::from_std(ours)?);
        let mut command = Command::new(&python.executable);
        let temporary = folder.temporary();
        command
            .args(["-I", "-B", "-c", BOOTSTRAP])
            .env_clear()
            .envs([
                ("PATH", "/usr/local/bin:/usr/bin:/bin"),
                ("LANG", "C.UTF-8"),
                ("TZ", "UTC"),
                ("MPLBACKEND", "Agg"),
            ])
            // Threads of numerical libraries reserve address space each.
            .envs([("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"), ("MALLOC_ARENA_MAX", "2")])
            .env("HOME", &temporary)
            .env("TMPDIR", &temporary)
            .current_dir(folder.work());
        let confinement = Confinement {
            read: python.read.clone(),
            write: vec![folder.root().to_owned()],
            network: false,
            processes: false,
            own_tmp: None,
            resources: Resources {
                processor_s: Some(limits.processor.as_secs().max(1)),
                address_space_bytes: Some(limits.memory_bytes),
                file_bytes: Some(limits.file_bytes),
                open_files: Some(OPEN_FILES),
            },
        };
        let stdin = Stdio::from(OwnedFd::from(theirs));
        let mut process = sandbox.start(command, &confinement, stdin).map_err(|error| match error {
            SandboxError::Io(error) => {
                SandboxError::Unavailable(format!("The interpreter did not start: {error}"))
            }
            other => other,
        })?;
        let (Some(stdout), Some(stderr)) = process.outputs() else { return Err(gone()) };
        Ok(Self { process, channel, stdout, stderr, limits, folder })
    }

    /// Runs a piece of code.
    pub(crate) async fn run(mut self, program: Program) -> Result<Outcome, SandboxError> {
        let Program { code, variables, files } = program;
        if let Some(name) = variables.keys().find(|name| !is_name(name)) {
            return Err(SandboxError::Invalid(format!("'{name}' is no name of a variable")));
        }
        let work = self.folder.work();
        let before = blocking(move || folder::put(&work, &files).map(|()| folder::marks(&work))).await??;
        let began = Instant::now();
        let mark = format!("\0{}\n", uuid::Uuid::new_v4().simple());
        let request = json!({
            "code": code, "variables": variables, "mark": mark, "result_bytes": self.limits.result_bytes,
        });
        let mut out = Capture::new(self.limits.output_bytes, mark.as_bytes());
        let mut err = Capture::new(self.limits.output_bytes, mark.as_bytes());
        let end = self.exchange(&request, &mut out, &mut err).await;
        let (exit, reply) = self.settle(end, &mut out, &mut err).await?;
        let (work, limits) = (self.folder.work(), self.limits.clone());
        let found = blocking(move || folder::changed(&work, &before, &limits)).await?;
        let (stdout, stdout_cut) = out.text();
        let (stderr, stderr_cut) = err.text();
        let (result, length, shown) =
            reply.map_or((None, None, None), |reply| (reply.result, reply.result_length, reply.shown));
        // What nests deeper than our parser goes is shown, and no result.
        let result = result.and_then(|text| serde_json::from_str(&text).ok());
        let unfit = match (&result, length, &shown) {
            (None, Some(length), _) => Some(Unfit::TooLarge(length)),
            (None, None, Some(_)) => Some(Unfit::NoJson),
            _ => None,
        };
        Ok(Outcome {
            stdout,
            stderr,
            truncated: stdout_cut || stderr_cut,
            result,
            unfit,
            shown,
            files: found.files,
            left_out: found.left_out,
            removed: found.removed,
            exit,
            took: began.elapsed(),
        })
    }

    async fn exchange(&mut self, request: &Value, out: &mut Capture, err: &mut Capture) -> End {
        let most = self.limits.result_bytes.saturating_mul(2).saturating_add(REPLY_BYTES);
        let channel = &mut self.channel;
        let talking = async {
            let body = request.to_string();
            channel.write_all(format!("{}\n{body}", body.len()).as_bytes()).await?;
            channel.flush().await?;
            let reply = read_reply(channel, most).await?;
            Ok::<_, io::Error>(reply)
        };
        let exchanging = async {
            let (reply, (), ()) =
                tokio::join!(talking, out.read(&mut self.stdout), err.read(&mut self.stderr));
            reply.map_or(End::Gone, End::Replied)
        };
        let watching = watch(self.process.watch(), self.folder.root().to_owned(), &self.limits);
        tokio::select! {
            biased;
            end = exchanging => end,
            () = tokio::time::sleep(self.limits.time) => End::Stopped(Exit::TimedOut),
            () = watching => End::Stopped(Exit::FolderFull),
        }
    }

    /// Ends the process, takes what is left of its output, and says how the execution ended.
    async fn settle(
        &mut self,
        end: End,
        out: &mut Capture,
        err: &mut Capture,
    ) -> Result<(Exit, Option<Reply>), SandboxError> {
        let (mut exit, mut reply) = (None, None);
        match end {
            End::Replied(mut said) => {
                exit = Some(match (said.error.take(), said.exit) {
                    (Some(Raised { kind, message, traceback }), _) => {
                        Exit::Raised { kind, message, traceback }
                    }
                    (None, Some(code)) => Exit::Exited(code),
                    (None, None) => Exit::Finished,
                });
                reply = Some(said);
            }
            End::Stopped(why) => exit = Some(why),
            // It closed its channel: it ends by itself now, or never.
            End::Gone => {
                if let Ok(Ok(status)) = tokio::time::timeout(DRAIN, self.process.wait()).await {
                    exit = Some(exit_of(status));
                }
            }
        }
        self.process.kill();
        let rest = async { tokio::join!(out.read(&mut self.stdout), err.read(&mut self.stderr)) };
        let _ = tokio::time::timeout(DRAIN, rest).await;
        match tokio::time::timeout(DEATH, self.process.wait()).await {
            Ok(Ok(_)) => Ok((exit.unwrap_or(Exit::Killed(nix::libc::SIGKILL)), reply)),
            _ => Err(gone()),
        }
    }
}

/// Ends when the folder holds too much, with files that were removed and are still open.
async fn watch(process: Option<Watch>, root: PathBuf, limits: &Limits) {
    let (bounds, file_bytes) = (folder::bounds(limits.folder_bytes), limits.file_bytes);
    loop {
        tokio::time::sleep(FOLDER_CHECK).await;
        let (root, process) = (root.clone(), process.clone());
        let is_over = move || match process {
            Some(process) => process.is_over(&root, bounds, file_bytes),
            None => folder::is_over(&root, bounds),
        };
        if blocking(is_over).await.unwrap_or(true) {
            return;
        }
    }
}

fn gone() -> SandboxError {
    SandboxError::Io(io::Error::other("the interpreter's process can't be followed"))
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Exited(code),
        (None, Some(nix::libc::SIGXCPU)) => Exit::ProcessorTime,
        (None, signal) => Exit::Killed(signal.unwrap_or_default()),
    }
}

async fn read_reply(channel: &mut BufReader<UnixStream>, most: usize) -> io::Result<Reply> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = Vec::new();
    (&mut *channel).take(16).read_until(b'\n', &mut line).await?;
    let size: usize =
        std::str::from_utf8(&line).ok().and_then(|line| line.trim().parse().ok()).ok_or_else(broken)?;
    if size > most {
        return Err(broken());
    }
    let mut body = vec![0; size];
    channel.read_exact(&mut body).await?;
    serde_json::from_slice(&body).map_err(|_| broken())
}

/// Whether Python takes it as a global variable's name that is not one of its own.
fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|first| first.is_alphabetic() || first == '_');
    first && letters.all(|letter| letter.is_alphanumeric() || letter == '_') && !name.starts_with("__")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SandboxError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SandboxError::Io(io::Error::other(error)))
}
