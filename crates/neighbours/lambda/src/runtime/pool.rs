//! Environments that are kept between calls, and how many there may be.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_backend::function::FunctionError;
use craton_core::IdSource;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::clients::Clients;
use super::environment::Environment;
use super::logs::Log;
use super::{Credentials, Event, Launch, Outcome};
use crate::config::LambdaConfig;

/// All environments of a server.
pub(crate) struct Pool {
    clients: Clients,
    credentials: Arc<dyn Credentials>,
    logs: PathBuf,
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
    /// Calls under way, by function name.
    running: HashMap<String, usize>,
    total: usize,
}

/// A call's place among those that may run; given back when dropped.
struct Place<'a> {
    pool: &'a Pool,
    name: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        state.total = state.total.saturating_sub(1);
        if let Some(running) = state.running.get_mut(&self.name) {
            *running = running.saturating_sub(1);
            if *running == 0 {
                state.running.remove(&self.name);
            }
        }
    }
}

impl Pool {
    pub(crate) fn new(
        config: &LambdaConfig,
        logs: PathBuf,
        ids: Arc<dyn IdSource>,
        credentials: Arc<dyn Credentials>,
    ) -> Arc<Self> {
        let runtimes = config.runtimes_dir.clone().unwrap_or_else(default_runtimes);
        Arc::new(Self {
            clients: Clients::new(runtimes),
            credentials,
            logs,
            ids,
            max_concurrency: config.max_concurrency,
            idle: Duration::from_secs(config.idle_s),
            state: Mutex::default(),
            reaper: Mutex::new(None),
        })
    }

    /// Runs one event through a function, in an idle environment or a new one.
    pub(crate) async fn call(
        self: &Arc<Self>,
        launch: Launch,
        event: Event,
    ) -> Result<Outcome, FunctionError> {
        let _place = self.admit(&launch)?;
        let mut environment = match self.take(&launch.key) {
            Some(environment) => environment,
            None => {
                let client = self.clients.get(launch.language, &launch.language_version).await?;
                let credentials = self.credentials.variables(&launch.role, &launch.arn);
                let log = Log::of(&self.logs, &launch.name);
                Environment::start(launch, &client, log, credentials).await?
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

    fn admit(&self, launch: &Launch) -> Result<Place<'_>, FunctionError> {
        let mut state = self.state.lock();
        let running = state.running.get(&launch.name).copied().unwrap_or(0);
        let reserved = launch.reserved_concurrency.map_or(usize::MAX, |count| count as usize);
        if running >= reserved || state.total >= self.max_concurrency {
            return Err(FunctionError::Throttled("Rate Exceeded.".into()));
        }
        state.total += 1;
        *state.running.entry(launch.name.clone()).or_default() += 1;
        Ok(Place { pool: self, name: launch.name.clone() })
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

    fn keep(self: &Arc<Self>, environment: Environment) {
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
    pub(crate) fn retire(&self, name: &str) {
        let mut state = self.state.lock();
        let gone: Vec<_> = state
            .idle
            .extract_if(|_, environments| environments.first().is_some_and(|first| first.launch.name == name))
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

/// `~/.cache/craton/lambda`, shared by every data directory like the model store.
fn default_runtimes() -> PathBuf {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    home.unwrap_or_else(std::env::temp_dir).join("craton/lambda")
}
