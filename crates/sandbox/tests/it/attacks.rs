//! Code that means harm. `the_walls_stand_on_this_machine` shows that this machine builds the walls: where it fails, the
//! others say nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use craton_sandbox::{Exit, Limits};

use super::{limits, program, refused, run, sandbox};

#[test]
fn the_walls_stand_on_this_machine() {
    assert_eq!(sandbox().standing().missing(), None);
}

#[tokio::test]
async fn files_outside_can_not_be_read() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "the key").unwrap();
    let secret = secret.display().to_string();
    for path in ["/etc/passwd", "/etc/shadow", "/proc/1/environ", "/proc/self/mem", "/root/.bashrc", &secret]
    {
        refused(&format!("open({path:?}).read()"), "PermissionError").await;
    }
    for folder in ["/", "/root", "/home", "/tmp", "/proc", "/etc"] {
        refused(&format!("import os\nos.listdir({folder:?})"), "PermissionError").await;
    }
    let link = format!("import os\nos.symlink({secret:?}, 'link')\nopen('link').read()");
    refused(&link, "PermissionError").await;
    // The server reads the folder with its own rights: it must not follow what code left there.
    let code = format!("import os\nos.symlink({secret:?}, 'link')\nos.symlink('/etc', 'folder')\n");
    let outcome = run(&code).await;
    assert_eq!((outcome.exit.clone(), outcome.files.len()), (Exit::Finished, 0), "{outcome:?}");
    let outcome = run(&format!("import os\nos.link({secret:?}, 'hard')")).await;
    assert!(matches!(outcome.exit, Exit::Raised { .. }) && outcome.files.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn nothing_outside_can_be_changed() {
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    let path = file.display().to_string();
    let folder = outside.path().display().to_string();
    for code in [
        format!("open({path:?}, 'w')"),
        format!("open({folder:?} + '/new', 'w')"),
        format!("import os\nos.truncate({path:?}, 0)"),
        format!("import os\nos.remove({path:?})"),
        format!("import os\nos.mkdir({folder:?} + '/new')"),
        format!("import os\nos.chmod({path:?}, 0o777)"),
        format!("import os\nos.chown({path:?}, 1, 1)"),
        format!("import os\nos.utime({path:?}, (1, 1))"),
        format!("import os\nos.setxattr({path:?}, 'user.x', b'1')"),
        // Neither for reading nor for writing: Landlock asks nothing.
        format!("import os\nos.open({path:?}, 3)"),
        format!("import os\nos.open({path:?}, os.O_RDONLY | os.O_TRUNC)"),
        // Around Python's own functions, which were replaced.
        format!(
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nif libc.chmod({path:?}.encode(), 0o777): raise \
             PermissionError(ctypes.get_errno())"
        ),
    ] {
        refused(&code, "PermissionError").await;
    }
    let renamed = run(&format!("import os\nopen('x', 'w')\nos.rename('x', {path:?})")).await;
    assert!(matches!(renamed.exit, Exit::Raised { .. }), "{renamed:?}");
    let after = std::fs::metadata(&file).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    assert_eq!((after.permissions().mode() & 0o777, after.modified().unwrap()), (0o640, modified));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

/// What code opens is not always its own: its interpreter's libraries, a function's code.
#[tokio::test]
async fn what_can_be_read_can_not_be_changed() {
    let raw = "
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    return -ctypes.get_errno() if libc.syscall(*args) < 0 else 0
file = os.open(os.__file__, os.O_RDONLY)
flags = ctypes.c_int(0)
at = lambda number, *args: call(number, -100, os.__file__.encode(), *args)
[libc.fchmod(file, 0o666), libc.fchown(file, 1, 1), libc.futimens(file, None), libc.fsetxattr(file, b'user.x', b'1', 1, 0),
 libc.fremovexattr(file, b'user.x'), libc.ioctl(file, 0x40086602, ctypes.byref(flags)), libc.fcntl(file, 1024, 0),
 at(452, 0o666, 0), at(463, 0, b'user.x', 0, 0), at(466, 0, b'user.x'), at(469, 0, 0, 0), call(437, -100, b'x', 0, 24)]
";
    let outcome = run(raw).await;
    let expected = serde_json::json!([-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -38]);
    assert_eq!(outcome.result, Some(expected), "{outcome:?}");
    // Libraries that set modes and times of what they copied still work.
    let copied =
        run("import os, shutil\nopen('a', 'w').write('x')\nshutil.copy2('a', 'b')\nos.listdir('.')").await;
    assert_eq!(copied.files.len(), 2, "{copied:?}");
}

#[tokio::test]
async fn other_processes_are_left_alone() {
    let before = limit_of_open_files();
    let raw = "
import ctypes, os, resource
libc = ctypes.CDLL(None, use_errno=True)
me, server = os.getpid(), os.getppid()
def refused(what):
    try:
        what()
        return False
    except PermissionError:
        return True
buffer = ctypes.create_string_buffer(64)
raw = lambda *args: libc.syscall(*args) < 0 and ctypes.get_errno() == 1
[refused(lambda: resource.prlimit(server, resource.RLIMIT_NOFILE, (64, 64))),
 refused(lambda: resource.prlimit(server, resource.RLIMIT_NOFILE)),
 refused(lambda: os.sched_setaffinity(server, {0})),
 refused(lambda: os.sched_setscheduler(server, os.SCHED_IDLE, os.sched_param(0))),
 refused(lambda: os.sched_setparam(server, os.sched_param(0))),
 refused(lambda: os.setpriority(os.PRIO_PROCESS, server, 19)),
 refused(lambda: os.setpriority(os.PRIO_USER, 0, 19)),
 raw(448, 0, 0), libc.prctl(36, 0) == -1, libc.prctl(4, 0) == -1, raw(436, 3, 4, 2), raw(447, 0)]
";
    let outcome = run(raw).await;
    assert_eq!(outcome.result, Some(serde_json::json!([true; 12].as_slice())), "{outcome:?}");
    assert_eq!(limit_of_open_files(), before);
    let own = run("import os, resource\nos.setpriority(os.PRIO_PROCESS, 0, 5)\nresource.prlimit(0, resource.RLIMIT_NOFILE)")
        .await;
    assert_eq!(own.exit, Exit::Finished, "{own:?}");
}

fn limit_of_open_files() -> String {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned()
}

#[tokio::test]
async fn there_is_no_network() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for code in [
        format!("import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)"),
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)".into(),
        "import socket\nsocket.socket(socket.AF_INET6)".into(),
        "import socket\nsocket.socket(socket.AF_UNIX)".into(),
        "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)".into(),
    ] {
        refused(&code, "PermissionError").await;
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "something connected");
    let pair = run("import socket\na, b = socket.socketpair()\na.send(b'x')\nb.recv(1).decode()").await;
    assert_eq!(pair.result, Some("x".into()), "{pair:?}");
}

#[tokio::test]
async fn no_process_can_be_started_or_touched() {
    for code in [
        "import os\nwhile True: os.fork()",
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'id'])",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})",
        "import os\nos.kill(os.getppid(), 0)",
        "import os\nos.setsid()",
    ] {
        refused(code, "PermissionError").await;
    }
    let raw = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    return -ctypes.get_errno() if libc.syscall(*args) < 0 else 0
[call(57), call(56, 17, 0, 0, 0, 0), call(435, 0, 0), call(272, 0x10000000), call(101, 16, 1, 0, 0), call(425, 8, 0),
 call(0x40000000 + 41, 2, 1, 0), call(41, 2, 1, 0)]
";
    if cfg!(target_arch = "x86_64") {
        let outcome = run(raw).await;
        let (eperm, enosys) = (-1, -38);
        // fork, clone, clone3, unshare, ptrace, io_uring_setup, socket by its other number, socket.
        let expected = serde_json::json!([eperm, eperm, enosys, eperm, eperm, enosys, enosys, eperm]);
        assert_eq!(outcome.result, Some(expected), "{outcome:?}");
    }
    let shell = run("import os\nos.execv('/bin/sh', ['sh', '-c', 'id'])").await;
    assert!(matches!(shell.exit, Exit::Raised { .. }), "{shell:?}");
}

/// Of a server that runs as root, as in a container; of others there are none to lose.
#[tokio::test]
async fn root_has_no_powers() {
    let outcome = run("
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
hat = (ctypes.c_uint32 * 2)(0x20080522, 0)
data = (ctypes.c_uint32 * 6)()
libc.capget(hat, data)
list(data)
")
    .await;
    assert_eq!(outcome.result, Some(serde_json::json!([0, 0, 0, 0, 0, 0])), "{outcome:?}");
}

#[tokio::test]
async fn memory_is_bounded() {
    for code in [
        "x = bytearray(4 << 30)",
        "x = []\nwhile True: x.append(bytearray(1 << 20))",
        "import mmap\nx = [mmap.mmap(-1, 64 << 20) for _ in range(100)]",
    ] {
        let limits = Limits { memory_bytes: 256 << 20, ..limits() };
        let outcome = sandbox().run(program(code), limits).await.unwrap();
        let Exit::Raised { kind, .. } = &outcome.exit else { panic!("{code}: {outcome:?}") };
        assert!(kind == "MemoryError" || kind == "OSError", "{kind}");
    }
    refused("import os\nos.memfd_create('x')", "PermissionError").await;
}

#[tokio::test]
async fn time_is_bounded() {
    let stubborn = "
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
";
    let quick = Limits { time: Duration::from_millis(700), ..limits() };
    for body in ["while True: pass", "time.sleep(1000)"] {
        let began = Instant::now();
        let outcome = sandbox().run(program(&format!("{stubborn}{body}")), quick.clone()).await.unwrap();
        assert_eq!(outcome.exit, Exit::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    let processor = Limits { processor: Duration::from_secs(1), ..limits() };
    let outcome = sandbox().run(program("while True: pass"), processor.clone()).await.unwrap();
    assert_eq!(outcome.exit, Exit::ProcessorTime);
    let outcome = sandbox().run(program(&format!("{stubborn}while True: pass")), processor).await.unwrap();
    assert_eq!(outcome.exit, Exit::Killed(9));
}

#[tokio::test]
async fn output_and_results_are_bounded() {
    let limits = Limits { time: Duration::from_secs(2), output_bytes: 1000, result_bytes: 1000, ..limits() };
    let outcome = sandbox().run(program("while True: print('x' * 100)"), limits.clone()).await.unwrap();
    assert_eq!((outcome.exit, outcome.stdout.len(), outcome.truncated), (Exit::TimedOut, 1000, true));
    let code = "import sys\nprint('y' * 5000000)\nsys.stderr.write('z' * 5000000)\n'r' * 1001";
    let outcome = sandbox().run(program(code), limits.clone()).await.unwrap();
    assert_eq!((outcome.exit, outcome.result), (Exit::Finished, None));
    assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (1000, 1000));
    let deep = "x = []\nfor _ in range(500): x = [x]\nx";
    assert_eq!(sandbox().run(program(deep), limits).await.unwrap().result, None);
}

#[tokio::test]
async fn the_disk_is_bounded() {
    let limits = Limits { file_bytes: 1 << 20, folder_bytes: 3 << 20, ..limits() };
    let code =
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nopen('x', 'wb').write(bytes(2 << 20))";
    let outcome = sandbox().run(program(code), limits.clone()).await.unwrap();
    assert!(
        matches!(&outcome.exit, Exit::Raised { message, .. } if message.contains("File too large")),
        "{outcome:?}"
    );
    let code = "import time\nfor n in range(20): open(str(n), 'wb').write(bytes(1 << 20))\ntime.sleep(10)";
    let outcome = sandbox().run(program(code), limits.clone()).await.unwrap();
    assert_eq!(outcome.exit, Exit::FolderFull);
    let code =
        "import os, time\nfor n in range(20000): open(f'{os.environ[\"TMPDIR\"]}/{n}', 'w')\ntime.sleep(10)";
    let outcome = sandbox().run(program(code), limits).await.unwrap();
    assert_eq!(outcome.exit, Exit::FolderFull);
}

#[tokio::test]
async fn removed_files_are_counted_while_they_are_there() {
    let limits = Limits { file_bytes: 1 << 20, folder_bytes: 3 << 20, ..limits() };
    let open = "
import os, time
kept = []
for n in range(20):
    kept.append(open('x', 'wb', buffering=0))
    kept[-1].write(bytes(1 << 20))
    os.remove('x')
time.sleep(10)
";
    let mapped = "
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
for n in range(20):
    with open('x', 'w+b', buffering=0) as file:
        file.write(bytes(1 << 20))
        assert libc.mmap(None, 4096, 1, 1, file.fileno(), 0) not in (None, 2**64 - 1)
    os.remove('x')
time.sleep(10)
";
    // A name that is no text among those that are listed.
    let named = mapped.replace("os.remove('x')", "os.rename('x', b'\\xff'); os.remove(b'\\xff')");
    for code in [open, mapped, named.as_str()] {
        let outcome = sandbox().run(program(code), limits.clone()).await.unwrap();
        assert_eq!(outcome.exit, Exit::FolderFull, "{outcome:?}");
    }
}

/// A folder that becomes a link while what it holds is read would show the server's files.
#[tokio::test]
async fn nothing_moves_while_files_are_read() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "the key").unwrap();
    let code = format!(
        "
import os, threading
os.mkdir('d')
open('d/secret', 'w').write('decoy')
os.symlink({:?}, 'l')
def turn():
    while True:
        for names in (('d', 't'), ('l', 'd'), ('d', 'l'), ('t', 'd')):
            try: os.rename(*names)
            except OSError: pass
for n in range(8): threading.Thread(target=turn, daemon=True).start()
",
        outside.path()
    );
    for _ in 0..5 {
        let outcome = run(&code).await;
        assert!(outcome.files.iter().all(|file| file.bytes == b"decoy"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_broken_channel_ends_the_run() {
    for code in [
        "import os\nfor n in range(3, 10):\n    try: os.close(n)\n    except OSError: pass",
        "import os\nfor n in range(3, 10):\n    try: os.write(n, b'9' * 40)\n    except OSError: pass",
        "import os\nfor n in range(3, 10):\n    try: os.write(n, b'999999999999\\n')\n    except OSError: pass",
        "import os\nfor n in range(3, 10):\n    try: os.write(n, b'2\\n[]')\n    except OSError: pass",
    ] {
        let outcome = sandbox().run(program(code), limits()).await.unwrap();
        assert!(!outcome.exit.is_success(), "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn its_folder_goes_with_it() {
    let outcome = run("import os\nos.getcwd()").await;
    let work = outcome.result.unwrap();
    let work = std::path::Path::new(work.as_str().unwrap());
    for _ in 0..250 {
        if !work.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} is still there", work.display());
}
