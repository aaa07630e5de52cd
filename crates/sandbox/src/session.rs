//! One interpreter and its executions.
//!
//! The server and the interpreter talk over a socket pair that is the interpreter's standard input: a length, a line
//! feed and JSON in both directions. Both outputs are pipes; a mark that only this execution has says where its output
//! ends. Between executions the process is stopped, so that threads left behind use nothing and its folder stands
//! still while it is read.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;

use crate::capture::Capture;
use crate::folder::{self, Folder};
use crate::python::Python;
use crate::walls::{Confinement, Resources, Standing};
use crate::{Exit, Limits, Outcome, Process, Program, SandboxError};

const BOOTSTRAP: &str = include_str!("bootstrap.py");
/// Of a reply beside its result: what is shown, and an error with its traceback, each escaped.
const REPLY_BYTES: usize = 1 << 20;
/// How often the folder's size is looked at.
const FOLDER_CHECK: Duration = Duration::from_millis(250);
/// For output that lies in the pipes of a process that is gone.
const DRAIN: Duration = Duration::from_millis(200);
const OPEN_FILES: u64 = 256;

/// An interpreter that keeps its state between executions. Dropping it kills it and removes its folder.
pub struct Session {
    process: Process,
    channel: BufReader<UnixStream>,
    stdout: ChildStdout,
    stderr: ChildStderr,
    limits: Limits,
    /// Set while it runs code, and for good when its process is gone.
    ended: bool,
    folder: Folder,
    _place: OwnedSemaphorePermit,
}

#[derive(Deserialize)]
struct Reply {
    result: Option<String>,
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

impl Session {
    pub(crate) fn start(
        python: &Python,
        standing: &Standing,
        limits: Limits,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, SandboxError> {
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
        let mut process = Process::start(command, &confinement, standing, stdin)
            .map_err(|error| SandboxError::Unavailable(format!("The interpreter did not start: {error}")))?;
        let (Some(stdout), Some(stderr)) = process.outputs() else { return Err(SandboxError::Ended) };
        Ok(Self { process, channel, stdout, stderr, limits, ended: false, folder, _place: place })
    }

    /// Whether it can run code: false after its process ended, was ended for its limits, or its caller went away.
    pub fn is_open(&self) -> bool {
        !self.ended
    }

    /// Runs a piece of code in the state that the last one left. When its time or its processor time is over, or its
    /// folder is full, the process is ended, and the state is lost with it.
    pub async fn execute(&mut self, program: Program) -> Result<Outcome, SandboxError> {
        if self.ended {
            return Err(SandboxError::Ended);
        }
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
        // If the caller goes away in the middle, the next execution would read this one's answer.
        self.ended = true;
        self.process.resume();
        let end = self.exchange(&request, &mut out, &mut err).await;
        let (exit, reply) = self.settle(end, &mut out, &mut err).await;
        let (work, limits) = (self.folder.work(), self.limits.clone());
        let found = blocking(move || folder::changed(&work, &before, &limits)).await?;
        let (stdout, stdout_cut) = out.text();
        let (stderr, stderr_cut) = err.text();
        let (result, shown) = reply.map_or((None, None), |reply| (reply.result, reply.shown));
        Ok(Outcome {
            stdout,
            stderr,
            truncated: stdout_cut || stderr_cut,
            // What nests deeper than our parser goes is shown, and no result.
            result: result.and_then(|text| serde_json::from_str(&text).ok()),
            shown,
            files: found.files,
            files_left_out: found.left_out,
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
        let (root, most_bytes) = (self.folder.root().to_owned(), self.limits.folder_bytes);
        let watching = async {
            loop {
                tokio::time::sleep(FOLDER_CHECK).await;
                let root = root.clone();
                if blocking(move || folder::is_over(&root, most_bytes)).await.unwrap_or(true) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            end = exchanging => end,
            () = tokio::time::sleep(self.limits.time) => End::Stopped(Exit::TimedOut),
            () = watching => End::Stopped(Exit::FolderFull),
        }
    }

    /// Leaves the process stopped or dead, and says how the execution ended.
    async fn settle(&mut self, end: End, out: &mut Capture, err: &mut Capture) -> (Exit, Option<Reply>) {
        if let End::Replied(mut reply) = end {
            self.process.pause();
            self.ended = false;
            let exit = match (reply.error.take(), reply.exit) {
                (Some(Raised { kind, message, traceback }), _) => Exit::Raised { kind, message, traceback },
                (None, Some(code)) => Exit::Exited(code),
                (None, None) => Exit::Finished,
            };
            return (exit, Some(reply));
        }
        // A process that closed its channel and lives on is of no use either.
        let exit = match end {
            End::Stopped(exit) => {
                self.process.kill();
                exit
            }
            _ => match tokio::time::timeout(DRAIN, self.process.wait()).await {
                Ok(Ok(status)) => exit_of(status),
                _ => Exit::Killed(nix::libc::SIGKILL),
            },
        };
        self.process.kill();
        let rest = async { tokio::join!(out.read(&mut self.stdout), err.read(&mut self.stderr)) };
        let _ = tokio::time::timeout(DRAIN, rest).await;
        let _ = tokio::time::timeout(DRAIN, self.process.wait()).await;
        (exit, None)
    }
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
