//! A child process behind walls, with everything it starts.

use std::fs;
use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::walls::{self, Confinement, Standing};

/// Processes that are counted; there is no need to know how many more there are.
const MAX_COUNTED: usize = 4096;

/// A running process and its process group. Dropping it kills both.
pub struct Process {
    child: Child,
    group: Option<Pid>,
}

/// What a process and those it started use now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory.
    pub memory_bytes: u64,
    pub processes: usize,
}

impl Process {
    /// Starts a command behind the walls that stand here, in a process group of its own, with both outputs piped.
    /// Its environment is what the command has been given.
    pub(crate) fn start(
        mut command: Command,
        confinement: &Confinement,
        standing: &Standing,
        stdin: Stdio,
    ) -> io::Result<Self> {
        walls::arm(&mut command, confinement, standing)?;
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// Both of its outputs, once.
    pub fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end. Cancelling it does no harm.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it and everything it started.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
    }

    /// Stops its processes where they are until [`Self::resume`].
    pub fn pause(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&mut self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(group) = self.group {
            // It is there, or gone already.
            let _ = killpg(group, signal);
        }
    }

    /// What it and its children use now; None when it is gone.
    pub fn usage(&self) -> Option<Usage> {
        let mut usage = Usage::default();
        let mut waiting = vec![self.child.id()?];
        while let Some(process) = waiting.pop() {
            let Some(memory_bytes) = resident_bytes(process) else { continue };
            usage.memory_bytes += memory_bytes;
            usage.processes += 1;
            if usage.processes + waiting.len() < MAX_COUNTED {
                waiting.extend(children(process));
            }
        }
        (usage.processes > 0).then_some(usage)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn resident_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    // A process that has ended and was not waited for has no such line.
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Children of all of a process's threads.
fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let listed = threads.into_iter().flatten().flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("children")).ok()?;
        Some(text.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
    });
    listed.flatten().collect()
}
