//! A child process behind walls, with everything it starts.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::folder::{self, FolderBounds};
use crate::walls::{self, Confinement, Standing};

/// Processes that are counted; there is no need to know how many more there are.
const MAX_COUNTED: usize = 4096;
/// A list of mappings is read so far.
const MAX_MAPS_BYTES: u64 = 16 << 20;

/// A running process and its process group. Dropping it kills both.
pub struct Process {
    child: Child,
    group: Option<Pid>,
    /// What it may read and not write.
    read: Arc<[PathBuf]>,
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
        let read = confinement.read.iter().filter_map(|path| path.canonicalize().ok());
        Ok(Self { child, group, read: read.collect() })
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
        self.child.id().map(|id| Watch { id, read: Arc::clone(&self.read) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks at a process and those it started, whoever their parents are now. Its questions read files of /proc, many if
/// there are many processes: not for async threads.
#[derive(Debug, Clone)]
pub struct Watch {
    id: u32,
    read: Arc<[PathBuf]>,
}

impl Watch {
    /// What they use now; None when all are gone. Processes that ended and that nobody waited for are counted too.
    pub fn usage(&self) -> Option<Usage> {
        let mut all = Vec::new();
        self.visit(|process| {
            let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else { return };
            all.push((process, bytes_of(&status, "VmRSS:").unwrap_or_default()));
        });
        // What forked processes share is in memory once. To know how much that is takes longer.
        let of = |(process, resident): &(u32, u64)| match all.len() {
            1 => *resident,
            _ => shared_fairly(*process).unwrap_or(*resident),
        };
        let usage = Usage { processes: all.len(), memory_bytes: all.iter().map(of).sum() };
        (usage.processes > 0).then_some(usage)
    }

    /// Whether their folder holds more than it may, with files that were removed and are still open. What is mapped and no
    /// longer open hides its size: it counts as `hidden_bytes` each. What can't be counted is too much.
    pub fn is_over(&self, folder: &Path, bounds: FolderBounds, hidden_bytes: u64) -> bool {
        let left = self.removed_bytes(hidden_bytes).and_then(|removed| bounds.bytes.checked_sub(removed));
        left.is_none_or(|bytes| folder::is_over(folder, FolderBounds { bytes, ..bounds }))
    }

    /// Bytes of files that were removed and are still there; `None` when a process can't be looked at.
    fn removed_bytes(&self, hidden_bytes: u64) -> Option<u64> {
        let (mut open, mut mapped) = (HashSet::new(), HashSet::new());
        let mut bytes = Some(0u64);
        self.visit(|process| {
            let looked = open_files(process).and_then(|files| {
                for found in files.filter(|found| found.is_file() && found.nlink() == 0) {
                    if open.insert(found.ino()) {
                        bytes = bytes.map(|bytes| bytes.saturating_add(found.blocks() * 512));
                    }
                }
                mapped.extend(self.removed_mappings(process)?);
                Ok(())
            });
            if looked.is_err_and(|error| !is_gone(&error) && !has_ended(process)) {
                bytes = None;
            }
        });
        let hidden = mapped.difference(&open).count() as u64;
        Some(bytes?.saturating_add(hidden.saturating_mul(hidden_bytes)))
    }

    /// Numbers of removed files that a process has mapped. What lies where it can only read is none of its making: libraries
    /// that were replaced while it runs.
    fn removed_mappings(&self, process: u32) -> io::Result<Vec<u64>> {
        let mut maps = Vec::new();
        fs::File::open(format!("/proc/{process}/maps"))?.take(MAX_MAPS_BYTES + 1).read_to_end(&mut maps)?;
        if maps.len() as u64 > MAX_MAPS_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let removed = maps.split(|byte| *byte == b'\n').filter_map(|line| {
            // Address, rights, offset, device, number, path. A path may be any bytes.
            let at = line.iter().position(|byte| *byte == b'/')?;
            let (head, path) = line.split_at(at);
            let path = path.strip_suffix(b" (deleted)")?;
            let number = str::from_utf8(head).ok()?.split_ascii_whitespace().nth(4)?.parse().ok()?;
            let path = Path::new(std::ffi::OsStr::from_bytes(path));
            // Shared memory without a file is listed as /dev/zero.
            let others =
                path == Path::new("/dev/zero") || self.read.iter().any(|read| path.starts_with(read));
            (!others).then_some(number)
        });
        Ok(removed.collect())
    }

    /// Whether one of them holds the socket at `theirs` that is connected to `ours` on this machine, both IPv4. False
    /// when the connection has ended: then nobody holds it.
    pub fn is_connected(&self, theirs: SocketAddr, ours: SocketAddr) -> bool {
        let Some(socket) = connected_socket(theirs, ours) else { return false };
        let mut found = false;
        self.visit(|process| {
            let files = fs::read_dir(format!("/proc/{process}/fd"));
            found = found
                || files.into_iter().flatten().flatten().any(|file| {
                    fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
                });
        });
        found
    }

    fn visit(&self, mut look: impl FnMut(u32)) {
        let mut waiting = vec![self.id];
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

/// The established connection's socket at one of its ends, as descriptors of it read: `socket:[NUMBER]`.
fn connected_socket(at: SocketAddr, to: SocketAddr) -> Option<String> {
    const ESTABLISHED: &str = "01";
    let (at, to) = (as_listed(at)?, as_listed(to)?);
    let listed = BufReader::new(fs::File::open("/proc/net/tcp").ok()?);
    listed.lines().map_while(Result::ok).find_map(|line| {
        // Number, here, there, state, queues, timer, retransmissions, user, probes, the socket's number.
        let mut words = line.split_ascii_whitespace().skip(1);
        let here_there_state = [words.next()?, words.next()?, words.next()?];
        let socket: u64 = words.nth(5)?.parse().ok()?;
        (here_there_state == [at.as_str(), to.as_str(), ESTABLISHED] && socket > 0)
            .then(|| format!("socket:[{socket}]"))
    })
}

/// As /proc lists it: the address as the number that it is in memory, and the port, in hexadecimal.
fn as_listed(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    let number = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{number:08X}:{:04X}", address.port()))
}

/// A size that is listed under a name; processes that have ended list none.
fn bytes_of(listed: &str, name: &str) -> Option<u64> {
    let line = listed.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// A process's memory, with its share of what it shares with others.
fn shared_fairly(process: u32) -> Option<u64> {
    let listed = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    bytes_of(&listed, "Pss:")
}

/// What a process has open.
fn open_files(process: u32) -> io::Result<impl Iterator<Item = fs::Metadata>> {
    let files = fs::read_dir(format!("/proc/{process}/fd"))?;
    Ok(files.flatten().filter_map(|file| fs::metadata(file.path()).ok()))
}

/// It ended meanwhile.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// It has ended, and nobody has waited for it yet.
fn has_ended(process: u32) -> bool {
    match fs::read_to_string(format!("/proc/{process}/status")) {
        Ok(status) => {
            status.lines().any(|line| line.starts_with("State:\tZ") || line.starts_with("State:\tX"))
        }
        Err(error) => is_gone(&error),
    }
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

    /// As when the machine is upgraded while a function runs.
    #[tokio::test]
    async fn libraries_that_were_replaced_are_not_its_files() {
        let python = Python::find(None).await.unwrap();
        let (libraries, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = "
import ctypes, sys, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
with open(sys.argv[1], 'rb', buffering=0) as file:
    assert libc.mmap(None, 4096, 1, 2, file.fileno(), 0) not in (None, 2**64 - 1)
print('mapped', flush=True)
time.sleep(60)
";
        for (folder, hidden) in [(&libraries, 0), (&own, 1 << 30)] {
            let file = folder.path().join("lib.so");
            fs::write(&file, [0; 4096]).unwrap();
            let mut read = python.read.clone();
            read.push(libraries.path().to_owned());
            let confinement =
                Confinement { read, write: vec![own.path().to_owned()], ..Confinement::default() };
            let mut command = Command::new(&python.executable);
            command.args(["-I", "-S", "-c", source]).arg(&file);
            let mut process =
                Process::start(command, &confinement, &Standing::probe(), Stdio::null()).unwrap();
            let mut said = [0; 6];
            tokio::io::AsyncReadExt::read_exact(&mut process.outputs().0.unwrap(), &mut said).await.unwrap();
            fs::remove_file(&file).unwrap();
            assert_eq!(process.watch().unwrap().removed_bytes(1 << 30), Some(hidden));
        }
    }

    #[tokio::test]
    async fn a_connection_belongs_to_who_holds_it() {
        let python = Python::find(None).await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = listener.local_addr().unwrap();
        let start = || {
            let confinement = Confinement {
                read: python.read.clone(),
                network: true,
                processes: true,
                ..Default::default()
            };
            let mut command = Command::new(&python.executable);
            // The connection is its child's.
            let source = "import os, socket, sys\nif os.fork():\n    os.wait()\nelse:\n    \
                          it = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n    it.recv(1)";
            command.args(["-I", "-S", "-c", source]).arg(ours.port().to_string());
            Process::start(command, &confinement, &Standing::probe(), Stdio::null()).unwrap()
        };
        let (first, second) = (start(), start());
        let watches = [first.watch().unwrap(), second.watch().unwrap()];
        let connected = |theirs, ours| watches.each_ref().map(|watch| watch.is_connected(theirs, ours));
        let mut owned = Vec::new();
        let mut held = Vec::new();
        for _ in 0..2 {
            let (stream, theirs) = listener.accept().unwrap();
            owned.push(connected(theirs, ours));
            // Who owns this end of it is none of them.
            assert_eq!(connected(ours, theirs), [false, false]);
            held.push((stream, theirs));
        }
        owned.sort_unstable();
        assert_eq!(owned, [[false, true], [true, false]]);
        drop((first, second));
        for (mut stream, theirs) in held {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            assert_eq!(connected(theirs, ours), [false, false]);
        }
    }

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
