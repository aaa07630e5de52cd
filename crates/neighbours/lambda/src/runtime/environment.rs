//! One environment: a child process with a runtime client in it, and the Runtime API it speaks.

use std::collections::BTreeMap;
use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use craton_backend::function::FunctionError;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::api::{Delivery, Posted, RuntimeApi, error_payload};
use super::clients::Client;
use super::logs::Log;
use super::{Event, Launch, Outcome};
use crate::function::Language;

/// Longest time until the runtime client asks for its first event.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an environment's memory is looked at.
const MEMORY_CHECK: Duration = Duration::from_millis(100);
/// How long output may lag behind the answer it was printed before.
const OUTPUT_LAG: Duration = Duration::from_millis(3);

/// A running environment. Dropping it kills its process group.
pub(crate) struct Environment {
    pub launch: Launch,
    pub idle_since: Instant,
    child: Child,
    group: Option<Pid>,
    api: RuntimeApi,
    log: Log,
    started: Instant,
    calls: u64,
    _output: [AbortOnDropHandle<()>; 2],
    /// Its own temporary folder, removed with it.
    _scratch: TempDir,
}

/// A call that ended, and whether its environment can be used again.
pub(crate) struct Ended {
    pub outcome: Outcome,
    pub reusable: bool,
}

impl Environment {
    pub(crate) async fn start(
        launch: Launch,
        client: &Client,
        log: Log,
        credentials: BTreeMap<String, String>,
    ) -> Result<Self, FunctionError> {
        let started = Instant::now();
        let failed =
            |error: io::Error| FunctionError::Unavailable(format!("The environment did not start: {error}"));
        let api = RuntimeApi::start().await.map_err(failed)?;
        let scratch = tempfile::Builder::new().prefix("craton-lambda-").tempdir().map_err(failed)?;
        let mut command = command(&launch, client);
        command
            .env_clear()
            .envs(variables(&launch, client, &api, &scratch))
            .envs(credentials)
            .current_dir(&launch.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let follow = |log: Log, pipe: Pipe| AbortOnDropHandle::new(tokio::spawn(pipe.follow(log)));
        let _output = [follow(log.clone(), Pipe::Out(stdout)), follow(log.clone(), Pipe::Err(stderr))];
        Ok(Self {
            launch,
            idle_since: started,
            child,
            group,
            api,
            log,
            started,
            calls: 0,
            _output,
            _scratch: scratch,
        })
    }

    /// Whether its process still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Runs one event through the function.
    pub(crate) async fn call(&mut self, event: Event) -> Ended {
        self.calls += 1;
        let request_id = event.request_id.clone();
        self.log.begin();
        self.log.line(format!("START RequestId: {request_id} Version: {}", self.launch.version).as_bytes());
        let began = Instant::now();
        let (posted, reusable) = self.exchange(event).await;
        let (payload, failed) = match posted {
            Posted::Response(payload) => (payload, false),
            Posted::Error(payload) => (payload, true),
        };
        tokio::time::sleep(OUTPUT_LAG.saturating_sub(began.elapsed())).await;
        let took_ms = began.elapsed().as_secs_f64() * 1000.0;
        self.log.line(format!("END RequestId: {request_id}").as_bytes());
        let init = if self.calls == 1 {
            format!("\tInit Duration: {:.2} ms", (began - self.started).as_secs_f64() * 1000.0)
        } else {
            String::new()
        };
        self.log.line(
            format!(
                "REPORT RequestId: {request_id}\tDuration: {took_ms:.2} ms\tMemory Size: {} MB\tMax Memory Used: {} MB{init}",
                self.launch.memory_mib,
                self.memory_bytes().unwrap_or(0) >> 20,
            )
            .as_bytes(),
        );
        self.idle_since = Instant::now();
        Ended { outcome: Outcome { payload, failed, log_tail: self.log.tail() }, reusable }
    }

    async fn exchange(&mut self, event: Event) -> (Posted, bool) {
        let request_id = event.request_id.clone();
        let timeout = Duration::from_secs(u64::from(self.launch.timeout_s));
        let (answer, mut answered) = oneshot::channel();
        let delivery = Delivery { event, timeout, answer };
        if self.api.deliveries.send(delivery).await.is_err() {
            return (fault(&request_id, "Runtime.ExitError", "Runtime exited"), false);
        }
        // A first call's time begins when the runtime client has started; a start has a limit of its own.
        let init = if self.calls == 1 { INIT_TIMEOUT } else { Duration::ZERO };
        let deadline = tokio::time::sleep(timeout + init);
        tokio::pin!(deadline);
        let mut memory = tokio::time::interval(MEMORY_CHECK);
        let limit = u64::from(self.launch.memory_mib) << 20;
        loop {
            tokio::select! {
                biased;
                posted = &mut answered => match posted {
                    Ok(posted) => return (posted, true),
                    Err(_) => return (fault(&request_id, "Runtime.ExitError", "Runtime exited"), false),
                },
                status = self.child.wait() => {
                    if let Some(said) = self.api.init_error() {
                        return (Posted::Error(said), false);
                    }
                    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    return (fault(&request_id, "Runtime.ExitError", &format!("Runtime exited with error: {how}")), false);
                }
                () = &mut deadline => {
                    self.kill();
                    let text = format!("Task timed out after {:.2} seconds", timeout.as_secs_f64());
                    self.log.line(text.as_bytes());
                    return (fault(&request_id, "Sandbox.Timedout", &text), false);
                }
                _ = memory.tick() => {
                    if self.memory_bytes().is_some_and(|used| used > limit) {
                        self.kill();
                        let text = format!("Memory Size: {} MB exceeded", self.launch.memory_mib);
                        self.log.line(text.as_bytes());
                        let text = "Runtime exited with error: signal: killed";
                        return (fault(&request_id, "Runtime.OutOfMemory", text), false);
                    }
                }
            }
        }
    }

    /// Resident memory of its process, in bytes.
    fn memory_bytes(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()?)).ok()?;
        let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(pages * 4096)
    }

    fn kill(&mut self) {
        if let Some(group) = self.group {
            // It is gone already, or it is gone now.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.kill();
    }
}

fn fault(request_id: &str, kind: &str, message: &str) -> Posted {
    Posted::Error(error_payload(kind, &format!("RequestId: {request_id} Error: {message}")))
}

/// One of a child's two outputs.
enum Pipe {
    Out(Option<tokio::process::ChildStdout>),
    Err(Option<tokio::process::ChildStderr>),
}

impl Pipe {
    async fn follow(self, log: Log) {
        match self {
            Self::Out(Some(pipe)) => log.follow(pipe).await,
            Self::Err(Some(pipe)) => log.follow(pipe).await,
            Self::Out(None) | Self::Err(None) => {}
        }
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
    api: &RuntimeApi,
    scratch: &TempDir,
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
    let scratch = scratch.path().display().to_string();
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
    set("HOME", scratch.clone());
    set("TMPDIR", scratch);
    set("_HANDLER", launch.handler.clone());
    set("LAMBDA_TASK_ROOT", folder);
    set("AWS_LAMBDA_RUNTIME_API", api.address.to_string());
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
