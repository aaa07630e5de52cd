//! Environments that are kept between calls, and how many there may be.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_backend::function::FunctionError;
use craton_core::IdSource;
use craton_sandbox::Sandbox;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::clients::Clients;
use super::environment::{Environment, Means};
use super::logs::Logs;
use super::{Credentials, Event, Launch, Outcome};
use crate::config::LambdaConfig;

/// An environment is not used again when it is older: much younger than the credentials it was started with.
const MAX_AGE: Duration = Duration::from_secs(4 * 60 * 60);

/// All environments of a server.
pub(crate) struct Pool {
    clients: Clients,
    credentials: Arc<dyn Credentials>,
    logs: Arc<Logs>,
    sandbox: Sandbox,
    ids: Arc<dyn IdSource>,
    max_concurrency: usize,
    idle: Duration,
    state: Mutex<State>,
    reaper: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    /// Idle environments by their launch's key, the last used at the end.
    idle: HashMap<String, Vec<Environment>>,
    /// Calls under way, by the function's ARN.
    running: HashMap<String, usize>,
    total: usize,
}

/// A call's place among those that may run; given back when dropped.
pub(crate) struct Place {
    pool: Arc<Pool>,
    arn: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        state.total = state.total.saturating_sub(1);
        if let Some(running) = state.running.get_mut(&self.arn) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                state.running.remove(&self.arn);
            }
        }
    }
}

/// What a pool stands on.
pub(crate) struct PoolParts {
    /// Where runtime clients are installed.
    pub runtimes: PathBuf,
    pub logs: PathBuf,
    pub ids: Arc<dyn IdSource>,
    pub credentials: Arc<dyn Credentials>,
    pub sandbox: Sandbox,
}

impl Pool {
    pub(crate) fn new(config: &LambdaConfig, means: PoolParts) -> Arc<Self> {
        let PoolParts { runtimes, logs, ids, credentials, sandbox } = means;
        Arc::new(Self {
            clients: Clients::new(runtimes),
            credentials,
            logs: Logs::new(logs),
            sandbox,
            ids,
            max_concurrency: config.max_concurrency,
            idle: Duration::from_secs(config.idle_s),
            state: Mutex::default(),
            reaper: Mutex::new(None),
        })
    }

    /// Runs one event through a function, in an idle environment or a new one, while its caller holds a [`Place`].
    pub(crate) async fn call(
        self: &Arc<Self>,
        launch: Launch,
        event: Event,
    ) -> Result<Outcome, FunctionError> {
        let mut environment = match self.take(&launch.key) {
            Some(environment) => environment,
            None => {
                let client = self.clients.get(launch.language, &launch.language_version).await?;
                let credentials = self.credentials.variables(&launch.role, &launch.arn);
                let log = self.logs.of(&launch.region, &launch.name);
                let certificates = self.credentials.certificates();
                let means = Means { client: &client, sandbox: &self.sandbox, log, credentials, certificates };
                self.make_room();
                Environment::start(launch, means).await?
            }
        };
        // A call that is given up takes its environment with it: dropped here, its processes are killed.
        let ended = environment.call(event).await;
        if ended.reusable {
            self.keep(environment);
        }
        Ok(ended.outcome)
    }

    /// A request id for a call.
    pub(crate) fn request_id(&self) -> String {
        self.ids.uuid()
    }

    /// A place for a call of a function, wherever it runs: at most `reserved` of its own.
    pub(crate) fn admit(self: &Arc<Self>, arn: &str, reserved: Option<u32>) -> Result<Place, FunctionError> {
        let mut state = self.state.lock();
        let running = state.running.get(arn).copied().unwrap_or(0);
        let reserved = reserved.map_or(usize::MAX, |count| count as usize);
        if running >= reserved || state.total >= self.max_concurrency {
            return Err(FunctionError::Throttled("Rate Exceeded.".into()));
        }
        state.total += 1;
        *state.running.entry(arn.to_owned()).or_default() += 1;
        Ok(Place { pool: Arc::clone(self), arn: arn.to_owned() })
    }

    fn take(&self, key: &str) -> Option<Environment> {
        let mut state = self.state.lock();
        let idle = state.idle.get_mut(key)?;
        while let Some(mut environment) = idle.pop() {
            if environment.is_alive() {
                return Some(environment);
            }
        }
        None
    }

    /// Ends the environment that nobody called for longest, if there are as many as there may be. Those of the calls
    /// under way are counted by their calls.
    fn make_room(&self) {
        let mut state = self.state.lock();
        let idle: usize = state.idle.values().map(Vec::len).sum();
        if idle + state.total <= self.max_concurrency {
            return;
        }
        let oldest = |environments: &Vec<Environment>| environments.first().map(|first| first.idle_since);
        let key = state.idle.iter().filter(|(_, all)| !all.is_empty()).min_by_key(|(_, all)| oldest(all));
        let Some(key) = key.map(|(key, _)| key.clone()) else { return };
        let ended = state.idle.get_mut(&key).map(|environments| environments.remove(0));
        drop(state);
        drop(ended);
    }

    fn keep(self: &Arc<Self>, environment: Environment) {
        // Its credentials end with its session.
        if environment.started.elapsed() > MAX_AGE {
            return;
        }
        self.state.lock().idle.entry(environment.launch.key.clone()).or_default().push(environment);
        let mut reaper = self.reaper.lock();
        if reaper.is_none() {
            let pool = Arc::downgrade(self);
            let every = (self.idle / 4).max(Duration::from_millis(250));
            let task = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(every).await;
                    match pool.upgrade() {
                        Some(pool) => pool.reap(),
                        None => return,
                    }
                }
            });
            *reaper = Some(task.abort_handle());
        }
    }

    /// Ends environments that nobody called for a while.
    fn reap(&self) {
        let now = Instant::now();
        let mut ended = Vec::new();
        let mut state = self.state.lock();
        for environments in state.idle.values_mut() {
            let old = |environment: &mut Environment| now - environment.idle_since >= self.idle;
            ended.extend(environments.extract_if(.., old));
        }
        state.idle.retain(|_, environments| !environments.is_empty());
        drop(state);
        drop(ended);
    }

    /// Ends the idle environments of a function that was changed or deleted.
    pub(crate) fn retire(&self, arn: &str) {
        let mut state = self.state.lock();
        let gone: Vec<_> = state
            .idle
            .extract_if(|_, environments| environments.first().is_some_and(|first| first.launch.arn == arn))
            .collect();
        drop(state);
        drop(gone);
    }

    pub(crate) fn stop(&self) {
        if let Some(reaper) = self.reaper.lock().take() {
            reaper.abort();
        }
        let idle = std::mem::take(&mut self.state.lock().idle);
        drop(idle);
    }
}
