//! Code that means harm. Each test first shows that the machine builds the wall: without it the test would say nothing.

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
    assert!(!std::path::Path::new(work.as_str().unwrap()).exists());
}
