//! One environment: a child process behind walls with a runtime client in it, and the Runtime API it speaks.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use craton_backend::function::FunctionError;
use craton_sandbox::{
    Confinement, FolderBounds, Process, Resources, SYSTEM_PATHS, Sandbox, Scratch, Usage, Watch,
};
use tokio::process::{ChildStderr, ChildStdout, Command};
use tokio::sync::oneshot;

use super::api::{Delivery, Posted, Reserved, RuntimeApi, error_payload};
use super::clients::Client;
use super::logs::Log;
use super::output::Output;
use super::{Event, Launch, Outcome};
use crate::function::Language;

/// Longest time until the runtime client asks for its first event.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked at what an environment uses.
const USAGE_CHECK: Duration = Duration::from_millis(100);
/// How often its temporary folder is counted.
const DISK_CHECK: Duration = Duration::from_millis(500);
/// Files and folders in a temporary folder, and how deep they may lie.
const SCRATCH_ENTRIES: usize = 100_000;
const SCRATCH_DEPTH: usize = 64;
/// AWS's limit of processes and threads.
const MAX_PROCESSES: usize = 1024;
/// What name resolution and TLS read.
const NETWORK_PATHS: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/mime.types",
    "/etc/ssl",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];
/// Programs that functions may start, and what Debian's Node is made of.
const PROGRAMS: &[&str] =
    &["/bin", "/usr/bin", "/usr/local/bin", "/usr/share/nodejs", "/usr/share/node_modules"];

/// A running environment. Dropping it kills its process group.
pub(crate) struct Environment {
    pub launch: Launch,
    pub idle_since: Instant,
    pub started: Instant,
    process: Process,
    api: RuntimeApi,
    log: Log,
    calls: u64,
    outputs: Vec<Output>,
    /// Its own temporary folder, removed with it.
    scratch: Scratch,
    disk_checked: Instant,
}

/// A call that ended, and whether its environment can be used again.
pub(crate) struct Ended {
    pub outcome: Outcome,
    pub reusable: bool,
}

/// What environments are made of besides the function.
pub(crate) struct Means<'a> {
    pub client: &'a Client,
    pub sandbox: &'a Sandbox,
    pub log: Log,
    pub credentials: BTreeMap<String, String>,
    /// A PEM file of what it trusts besides, when it calls the endpoint.
    pub certificates: Option<PathBuf>,
}

/// Where boto3 and Node's SDK look for certificates to trust.
const TRUST: [&str; 2] = ["AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

impl Environment {
    pub(crate) async fn start(launch: Launch, means: Means<'_>) -> Result<Self, FunctionError> {
        let started = Instant::now();
        let failed = |error: &dyn Display| {
            // What this machine lacks, and where, is for who runs this server.
            tracing::error!(%error, "an environment of a function did not start");
            FunctionError::Unavailable("The function's environment could not be started.".to_owned())
        };
        let Means { client, sandbox, log, credentials, certificates } = means;
        let api = Reserved::new().await.map_err(|error| failed(&error))?;
        let scratch = Scratch::new("craton-lambda-").map_err(|error| failed(&error))?;
        let read = (client, certificates.as_deref());
        let confinement = confinement(&launch, read, scratch.path(), sandbox.standing().own_tmp);
        let temporary = if confinement.own_tmp.is_some() { Path::new("/tmp") } else { scratch.path() };
        let mut command = command(&launch, client);
        // What the function says itself stands, such as another endpoint. Names of keys it can't have.
        let own = |name: &str| launch.variables.contains_key(name);
        let trust = certificates.iter().flat_map(|file| TRUST.map(|name| (name, file)));
        command
            .env_clear()
            .envs(variables(&launch, client, api.address, temporary))
            .envs(credentials.iter().filter(|(name, _)| !own(name)))
            .envs(trust.filter(|(name, _)| !own(name)))
            .current_dir(&launch.folder);
        let mut process =
            sandbox.start(command, &confinement, Stdio::null()).map_err(|error| failed(&error))?;
        let watch = process.watch().ok_or_else(|| failed(&"it ended at once"))?;
        let (stdout, stderr) = process.outputs();
        let pipes = [stdout.map(ChildStdout::into_owned_fd), stderr.map(ChildStderr::into_owned_fd)];
        let follow = |pipe: io::Result<OwnedFd>| Output::follow(pipe?, log.clone());
        let outputs: io::Result<_> = pipes.into_iter().flatten().map(follow).collect();
        let outputs = outputs.map_err(|error| failed(&error))?;
        Ok(Self {
            launch,
            idle_since: started,
            started,
            process,
            api: api.serve(watch),
            log,
            calls: 0,
            outputs,
            scratch,
            disk_checked: started,
        })
    }

    /// Whether its process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.process.is_alive()
    }

    /// Runs one event through the function. Between calls its processes stand still, as at AWS: what they left running
    /// uses nothing that nobody watches.
    pub(crate) async fn call(&mut self, event: Event) -> Ended {
        self.calls += 1;
        let request_id = event.request_id.clone();
        self.log.begin();
        self.log.line(format!("START RequestId: {request_id} Version: {}", self.launch.version).as_bytes());
        let mut began = Instant::now();
        self.process.resume();
        let (posted, mut reusable) = self.exchange(event, &mut began).await;
        self.process.pause();
        let took_ms = began.elapsed().as_secs_f64() * 1000.0;
        let (payload, failed) = match posted {
            Posted::Response(payload) => (payload, false),
            Posted::Error(payload) => (payload, true),
        };
        self.outputs.iter().for_each(Output::finish);
        self.log.line(format!("END RequestId: {request_id}").as_bytes());
        let init = if self.calls == 1 {
            format!("\tInit Duration: {:.2} ms", (began - self.started).as_secs_f64() * 1000.0)
        } else {
            String::new()
        };
        let used = match self.bounds() {
            Some(bounds) => {
                let with_disk = self.disk_checked.elapsed() >= DISK_CHECK;
                if with_disk {
                    self.disk_checked = Instant::now();
                }
                let (used, excess) = bounds.look(with_disk).await;
                // It has answered: its answer counts, and it gets no other call.
                if let Some(excess) = excess.filter(|_| reusable) {
                    self.log.line(excess.text.as_bytes());
                    reusable = false;
                }
                used
            }
            None => Usage::default(),
        };
        self.log.line(
            format!(
                "REPORT RequestId: {request_id}\tDuration: {took_ms:.2} ms\tMemory Size: {} MB\tMax Memory Used: {} MB{init}",
                self.launch.memory_mib,
                used.memory_bytes >> 20,
            )
            .as_bytes(),
        );
        self.idle_since = Instant::now();
        Ended { outcome: Outcome { payload, failed, log_tail: self.log.tail() }, reusable }
    }

    /// Hands the event over and waits for the answer. `began` becomes the moment at which the function took it: what
    /// comes before is the start, which has a limit of its own.
    async fn exchange(&mut self, event: Event, began: &mut Instant) -> (Posted, bool) {
        let request_id = event.request_id.clone();
        let timeout = Duration::from_secs(u64::from(self.launch.timeout_s));
        let (answer, mut answered) = oneshot::channel();
        let (taken, mut taking) = oneshot::channel();
        let delivery = Delivery { event, timeout, taken, answer };
        if self.api.deliveries.send(delivery).await.is_err() {
            return (fault(&request_id, "Runtime.ExitError", "Runtime exited"), false);
        }
        // As at AWS: what takes longer than a start may, starts on the function's own time.
        let deadline = tokio::time::sleep(timeout + INIT_TIMEOUT);
        tokio::pin!(deadline);
        let mut started = false;
        let watching = watch(self.bounds());
        tokio::pin!(watching);
        loop {
            tokio::select! {
                biased;
                _ = &mut taking, if !started => {
                    started = true;
                    *began = Instant::now();
                    deadline.as_mut().reset(tokio::time::Instant::now() + timeout);
                }
                posted = &mut answered => match posted {
                    Ok(posted) => return (posted, true),
                    Err(_) => return (fault(&request_id, "Runtime.ExitError", "Runtime exited"), false),
                },
                status = self.process.wait() => {
                    if let Some(said) = self.api.init_error() {
                        return (Posted::Error(said), false);
                    }
                    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    return (fault(&request_id, "Runtime.ExitError", &format!("Runtime exited with error: {how}")), false);
                }
                () = &mut deadline => {
                    self.process.kill();
                    let patience = if started { timeout } else { timeout + INIT_TIMEOUT };
                    let text = format!("Task timed out after {:.2} seconds", patience.as_secs_f64());
                    self.log.line(text.as_bytes());
                    return (fault(&request_id, "Sandbox.Timedout", &text), false);
                }
                excess = &mut watching => {
                    self.process.kill();
                    self.log.line(excess.text.as_bytes());
                    let how = "Runtime exited with error: signal: killed";
                    return (fault(&request_id, excess.kind, how), false);
                }
            }
        }
    }

    /// What it may use; None when its process is gone.
    fn bounds(&self) -> Option<Bounds> {
        Some(Bounds {
            process: self.process.watch()?,
            memory_mib: self.launch.memory_mib,
            disk_mib: self.launch.ephemeral_mib,
            scratch: self.scratch.path().to_owned(),
        })
    }
}

/// What an environment may use, and where to look.
#[derive(Clone)]
struct Bounds {
    process: Watch,
    memory_mib: u32,
    disk_mib: u32,
    scratch: PathBuf,
}

/// What an environment uses too much of: the error's type, and a line for the log.
struct Excess {
    kind: &'static str,
    text: String,
}

impl Bounds {
    /// What it and its children use now, and what of it is too much. The folder is counted with `disk`.
    async fn look(&self, disk: bool) -> (Usage, Option<Excess>) {
        let bounds = self.clone();
        let looking = move || {
            let usage = || bounds.process.usage().unwrap_or_default();
            let mut used = usage();
            // Of processes that begin or end while one after the other is looked at, what they share counts twice.
            if bounds.excess(used).is_some() {
                used = usage();
            }
            (used, bounds.excess(used).or_else(|| if disk { bounds.disk_excess() } else { None }))
        };
        tokio::task::spawn_blocking(looking).await.unwrap_or_default()
    }

    fn excess(&self, used: Usage) -> Option<Excess> {
        if used.memory_bytes > u64::from(self.memory_mib) << 20 {
            let text = format!("Memory Size: {} MB exceeded", self.memory_mib);
            return Some(Excess { kind: "Runtime.OutOfMemory", text });
        }
        (used.processes > MAX_PROCESSES).then(|| Excess {
            kind: "Runtime.ExitError",
            text: format!("More than {MAX_PROCESSES} processes"),
        })
    }

    fn disk_excess(&self) -> Option<Excess> {
        let most = u64::from(self.disk_mib) << 20;
        let bounds = FolderBounds { bytes: most, entries: SCRATCH_ENTRIES, depth: SCRATCH_DEPTH };
        self.process.is_over(&self.scratch, bounds, most).then(|| Excess {
            kind: "Runtime.ExitError",
            text: format!("Ephemeral storage: {} MB or {SCRATCH_ENTRIES} files exceeded", self.disk_mib),
        })
    }
}

/// Ends when an environment uses too much.
async fn watch(bounds: Option<Bounds>) -> Excess {
    let Some(bounds) = bounds else { return std::future::pending().await };
    let mut disk_checked = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(USAGE_CHECK).await;
        let disk = disk_checked.elapsed() >= DISK_CHECK;
        if disk {
            disk_checked = tokio::time::Instant::now();
        }
        if let (_, Some(excess)) = bounds.look(disk).await {
            return excess;
        }
    }
}

fn fault(request_id: &str, kind: &str, message: &str) -> Posted {
    Posted::Error(error_payload(kind, &format!("RequestId: {request_id} Error: {message}")))
}

/// What a function may do: read its code and its runtime, write its temporary folder, use the network, start processes.
fn confinement(
    launch: &Launch,
    (client, certificates): (&Client, Option<&Path>),
    scratch: &Path,
    can_have_tmp: bool,
) -> Confinement {
    let mut read = vec![launch.folder.clone(), client.folder.clone()];
    read.extend(client.read.iter().cloned());
    read.extend(certificates.map(Path::to_owned));
    // Its own `/tmp` would hide what lies there.
    let own_tmp = can_have_tmp && !read.iter().any(|path| path.starts_with("/tmp"));
    read.extend(SYSTEM_PATHS.iter().chain(NETWORK_PATHS).chain(PROGRAMS).map(PathBuf::from));
    Confinement {
        read,
        write: vec![scratch.to_owned()],
        network: true,
        processes: true,
        own_tmp: own_tmp.then(|| scratch.to_owned()),
        resources: Resources {
            // AWS's own number.
            open_files: Some(1024),
            file_bytes: Some(u64::from(launch.ephemeral_mib) << 20),
            ..Resources::default()
        },
    }
}

fn command(launch: &Launch, client: &Client) -> Command {
    let mut command = Command::new(&client.interpreter);
    match launch.language {
        Language::Python => command.args(["-m", "awslambdaric"]),
        Language::Node => command.arg(client.folder.join("node_modules/aws-lambda-ric/index.mjs")),
    };
    command.arg(&launch.handler);
    command
}

/// The function's own variables, and those that AWS documents. Some of these a function may set otherwise.
fn variables(
    launch: &Launch,
    client: &Client,
    api: SocketAddr,
    temporary: &Path,
) -> BTreeMap<String, String> {
    let mut variables = launch.variables.clone();
    for (name, value) in [
        ("PATH", std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into())),
        ("LANG", "C.UTF-8".into()),
        ("TZ", ":UTC".into()),
    ] {
        variables.entry(name.to_owned()).or_insert(value);
    }
    let own = |name: &str, between: &str| {
        launch.variables.get(name).map(|own| format!("{between}{own}")).unwrap_or_default()
    };
    let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
    let folder = launch.folder.display().to_string();
    let temporary = temporary.display().to_string();
    match launch.language {
        Language::Python => {
            set("PYTHONPATH", format!("{folder}:{}{}", client.folder.display(), own("PYTHONPATH", ":")));
            // The folder of code is shared, and stays as it was unpacked.
            set("PYTHONDONTWRITEBYTECODE", "1".into());
            set("PYTHONUNBUFFERED", "1".into());
        }
        // What is said last counts.
        Language::Node => {
            let options = format!("--max-old-space-size={}{}", launch.memory_mib, own("NODE_OPTIONS", " "));
            set("NODE_OPTIONS", options);
        }
    }
    set("HOME", temporary.clone());
    set("TMPDIR", temporary);
    set("_HANDLER", launch.handler.clone());
    set("LAMBDA_TASK_ROOT", folder);
    set("AWS_LAMBDA_RUNTIME_API", api.to_string());
    set("AWS_LAMBDA_FUNCTION_NAME", launch.name.clone());
    set("AWS_LAMBDA_FUNCTION_VERSION", launch.version.clone());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", launch.memory_mib.to_string());
    set("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", launch.name));
    set("AWS_LAMBDA_LOG_STREAM_NAME", format!("[{}]", launch.version));
    set("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".into());
    set(
        "AWS_EXECUTION_ENV",
        format!(
            "AWS_Lambda_{}",
            match launch.language {
                Language::Python => format!("python{}", launch.language_version),
                Language::Node => format!("nodejs{}.x", launch.language_version),
            }
        ),
    );
    set("AWS_REGION", launch.region.clone());
    set("AWS_DEFAULT_REGION", launch.region.clone());
    variables
}
