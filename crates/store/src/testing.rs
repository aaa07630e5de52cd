//! Stores on both databases, for the tests of this crate and of those above it.
//!
//! PostgreSQL comes from `make postgres` (a Python wheel with the server and pgvector, in `compat/.postgres`, or
//! wherever `CRATON_POSTGRES_BIN` points) and is started by the tests themselves, one server a test process, a database
//! a store. A test never passes for want of it: without it, it fails and says what to do.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't be set up fails")]

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::Store;

/// A path of the repository whose tests run. Asked when they run: a build folder that several checkouts share may hold
/// tests built in another one.
pub fn repository(path: &str) -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.or_else(|| std::env::current_dir().ok()).expect("a folder to look from");
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.expect("tests run inside the repository").join(path)
}

/// A store on a file, one in memory and one on PostgreSQL. The directory goes with the value.
pub async fn stores() -> (TempDir, [Store; 3]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = Store::open(directory.path()).await.expect("SQLite in a file");
    let memory = Store::in_memory().await.expect("SQLite in memory");
    (directory, [file, memory, postgres().await])
}

/// A store on a fresh PostgreSQL database.
pub async fn postgres() -> Store {
    Store::connect(&postgres_url()).await.expect("PostgreSQL")
}

/// The URL of a fresh PostgreSQL database on this process's test server.
pub fn postgres_url() -> String {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(Server::start);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    server.create_database(&name);
    format!("postgres://postgres@localhost/{name}?host={}", server.directory.path().display())
}

struct Server {
    bin: PathBuf,
    directory: TempDir,
    /// Closed when this process ends in whatever way; the server's keeper then ends the server.
    _lifeline: ChildStdin,
}

impl Server {
    #[allow(clippy::zombie_processes, reason = "it outlives this process by a moment, to clean up")]
    fn start() -> Self {
        let bin = programs();
        let directory =
            tempfile::Builder::new().prefix("craton-pg-").tempdir_in("/tmp").expect("a directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777))
            .expect("permissions");
        let root = nix::unistd::geteuid().is_root();
        let mut keeper = if root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", KEEPER]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", KEEPER]);
            command
        };
        let mut child = keeper
            .arg("keeper")
            .args([&bin, directory.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .expect("sh");
        let lifeline = child.stdin.take().expect("piped");
        let mut said = String::new();
        let mut out = child.stdout.take().expect("piped");
        let mut byte = [0_u8; 1];
        while !said.ends_with("ready\n") && out.read(&mut byte).is_ok_and(|read| read > 0) {
            said.push(char::from(byte[0]));
        }
        assert!(said.ends_with("ready\n"), "PostgreSQL did not start: {said}");
        Self { bin, directory, _lifeline: lifeline }
    }

    fn create_database(&self, name: &str) {
        let created = Command::new(self.bin.join("createdb"))
            .args(["-U", "postgres", "-h"])
            .arg(self.directory.path())
            .arg(name)
            .output()
            .expect("createdb");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    }
}

/// Starts the server, says `ready`, and ends it when standard input closes.
const KEEPER: &str = r#"
"$1/initdb" -D "$2/data" -U postgres -A trust --no-sync >"$2/log" 2>&1 || { cat "$2/log"; exit 1; }
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c max_connections=300 >>"$2/log" 2>&1 </dev/null &
server=$!
until "$1/pg_isready" -q -h "$2" -U postgres; do
  kill -0 $server 2>/dev/null || { cat "$2/log"; exit 1; }
  sleep 0.05
done
echo ready
cat >/dev/null
kill -QUIT $server
wait $server
rm -rf "$2"
"#;

/// The folder of PostgreSQL's programs, where the user that runs them can reach it.
fn programs() -> PathBuf {
    let named = std::env::var_os("CRATON_POSTGRES_BIN").map(PathBuf::from);
    let bin = named.or_else(installed).unwrap_or_else(|| {
        panic!(
            "these tests need PostgreSQL: run `make postgres`, or set CRATON_POSTGRES_BIN to its bin folder"
        )
    });
    if !nix::unistd::geteuid().is_root() || everyone_reaches(&bin) {
        return bin;
    }
    // PostgreSQL does not run as root, and nobody else can enter root's own folders.
    let copy = std::env::temp_dir().join(format!("craton-postgres-{}", env!("CARGO_PKG_VERSION")));
    if !copy.join("bin/postgres").exists() {
        let whole = bin.parent().expect("bin has a parent");
        let fresh = copy.with_extension(std::process::id().to_string());
        let copied = Command::new("cp").arg("-r").args([whole, &fresh]).status().expect("cp");
        assert!(copied.success(), "PostgreSQL can't be copied to {}", fresh.display());
        let opened = Command::new("chmod").args(["-R", "a+rX"]).arg(&fresh).status().expect("chmod");
        assert!(opened.success(), "{} can't be opened", fresh.display());
        // Another test process may have been faster; then its copy stays.
        if std::fs::rename(&fresh, &copy).is_err() {
            let _ = std::fs::remove_dir_all(&fresh);
        }
    }
    copy.join("bin")
}

fn installed() -> Option<PathBuf> {
    let pythons = std::fs::read_dir(repository("compat/.postgres/lib")).ok()?;
    pythons
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/pgserver/pginstall/bin"))
        .find(|bin| bin.join("postgres").exists())
        .and_then(|bin| bin.canonicalize().ok())
}

fn everyone_reaches(path: &Path) -> bool {
    path.ancestors().all(|folder| {
        std::fs::metadata(folder).is_ok_and(|metadata| metadata.permissions().mode() & 0o005 == 0o005)
    })
}

/// A disk of its own for a test, to be filled. Mounting it takes a process of its own, in which `test` (the test's whole
/// path) runs again: there this answers the disk's folder, and here nothing, once that process has passed.
pub fn on_small_disk(test: &str, mebibytes: u32) -> Option<PathBuf> {
    const FOLDER: &str = "CRATON_SMALL_DISK";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(folder.into());
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mount = format!("mount -t tmpfs -o size={mebibytes}m none \"${FOLDER}\" && exec \"$@\"");
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &mount, "sh"])
        .arg(std::env::current_exe().expect("the tests' own program"))
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, directory.path())
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{test} on a small disk: {said}");
    None
}

/// Leaves no byte of the disk that a folder is on. What was taken comes back with the file that is answered.
pub fn fill_disk(folder: &Path) -> PathBuf {
    use std::io::Write as _;
    let path = folder.join("ballast");
    let mut ballast = std::fs::File::create(&path).expect("a file");
    for piece in [1 << 20, 4096, 1] {
        while ballast.write_all(&vec![0; piece]).is_ok() {}
    }
    path
}
