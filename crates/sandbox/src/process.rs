//! A child process behind walls, with everything it starts.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::walls::{self, Confinement, Standing};

/// Processes that are counted; there is no need to know how many more there are.
const MAX_COUNTED: usize = 4096;
/// A list of mappings is read so far.
const MAX_MAPS_BYTES: u64 = 16 << 20;

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

    /// What looks at it from outside; None when it is gone.
    pub fn watch(&self) -> Option<Watch> {
        self.child.id().map(Watch)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks at a process and those it started, whoever their parents are now. Its questions read files of /proc, many if
/// there are many processes: not for async threads.
#[derive(Debug, Clone, Copy)]
pub struct Watch(u32);

impl Watch {
    /// What they use now; None when all are gone. Processes that ended and that nobody waited for are counted too.
    pub fn usage(self) -> Option<Usage> {
        let mut usage = Usage::default();
        self.visit(|process| {
            let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else { return };
            usage.processes += 1;
            usage.memory_bytes += resident_bytes(&status);
        });
        (usage.processes > 0).then_some(usage)
    }

    /// Bytes of files that were removed and are still open. What is mapped and no longer open hides its size: it counts
    /// as `hidden_bytes` each.
    pub fn removed_bytes(self, hidden_bytes: u64) -> u64 {
        let (mut open, mut mapped) = (HashSet::new(), HashSet::new());
        let mut bytes = 0u64;
        self.visit(|process| {
            for file in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
                let Ok(found) = fs::metadata(file.path()) else { continue };
                if found.is_file() && found.nlink() == 0 && open.insert(found.ino()) {
                    bytes = bytes.saturating_add(found.blocks() * 512);
                }
            }
            mapped.extend(removed_mappings(process));
        });
        let hidden = mapped.difference(&open).count() as u64;
        bytes.saturating_add(hidden.saturating_mul(hidden_bytes))
    }

    fn visit(self, mut look: impl FnMut(u32)) {
        let mut waiting = vec![self.0];
        let mut visited = 0;
        while let Some(process) = waiting.pop() {
            look(process);
            visited += 1;
            if visited + waiting.len() < MAX_COUNTED {
                waiting.extend(children(process));
            }
        }
    }
}

/// Of a process's status; one that has ended has no such line.
fn resident_bytes(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse().ok());
    kib.unwrap_or(0u64) << 10
}

/// Numbers of removed files that a process has mapped.
fn removed_mappings(process: u32) -> Vec<u64> {
    let mut maps = String::new();
    let read = fs::File::open(format!("/proc/{process}/maps"))
        .and_then(|file| file.take(MAX_MAPS_BYTES).read_to_string(&mut maps));
    if read.is_err() {
        return Vec::new();
    }
    let removed = maps.lines().filter_map(|line| {
        // Address, rights, offset, device, number, path.
        let path = line.find('/').map(|at| &line[at..])?;
        let number = line.split_ascii_whitespace().nth(4)?.parse().ok()?;
        // Shared memory without a file is listed as this.
        (path.ends_with(" (deleted)") && !path.starts_with("/dev/zero")).then_some(number)
    });
    removed.collect()
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

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Python;

    /// Kernels up to 6.1 don't ask Landlock before a file that is opened for reading is emptied.
    #[tokio::test]
    async fn files_are_not_emptied_by_reading_on_old_kernels() {
        let python = Python::find(None).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let confinement = Confinement {
            read: python.read.clone(),
            write: vec![folder.path().to_owned()],
            ..Confinement::default()
        };
        let standing = Standing::probe();
        for (landlock, left) in [(standing.landlock, ""), (2, "kept")] {
            fs::write(&file, "kept").unwrap();
            let standing = Standing { landlock, ..standing.clone() };
            let mut command = Command::new(&python.executable);
            command.args([
                "-I",
                "-S",
                "-c",
                "import os, sys\nos.open(sys.argv[1], os.O_RDONLY | os.O_TRUNC)",
            ]);
            command.arg(&file);
            let mut process = Process::start(command, &confinement, &standing, Stdio::null()).unwrap();
            let status = process.wait().await.unwrap();
            assert_eq!(
                (fs::read_to_string(&file).unwrap().as_str(), status.success()),
                (left, left.is_empty())
            );
        }
    }
}
