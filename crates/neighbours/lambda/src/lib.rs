//! Lambda: functions that run here, in child processes that speak the Runtime API.
//!
//! A function is a record (its `$LATEST`), its published versions and aliases are the store's, and its code is a folder
//! unpacked from a zip archive, named by the archive's SHA-256. A call goes to an *environment*: one child process with
//! AWS's own runtime client (`awslambdaric` for Python, `aws-lambda-ric` for Node) in it, which asks our Runtime API
//! for the next event and posts the answer. Environments are reused while the function stays as it is, killed with all
//! their children when a call runs out of time or memory, and let go when nobody calls for a while.
//!
//! * `service`: the modelled operations, as methods of [`Lambda`] named after them.
//! * `code`: archives and the folders they become; untrusted, bounded in size and number.
//! * `runtime`: environments, the Runtime API, and the runtime clients.
//! * `mapped`: functions that configuration sends elsewhere: an HTTP endpoint, a real AWS Lambda, a folder of sources.
//! * `function`: what is kept of a function, and its names.
//!
//! Environments stand behind the walls of `craton-sandbox`: a function reads its code and its runtime, writes a
//! temporary folder of its own, and may use the network and start processes. It gets no secret of the server's in its
//! environment, and bounds on time, memory, output and number.

mod code;
mod config;
mod error;
mod function;
mod mapped;
mod runtime;
mod service;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use craton_core::{Account, Clock, IdSource};
use craton_objects::ObjectStore;
use craton_sandbox::Sandbox;
use craton_store::Store;

use code::CodeStore;
pub use config::{LambdaConfig, MappedFunction};
pub use function::function_arn;
pub use runtime::{Credentials, log_path};
use runtime::{Pool, PoolParts};
pub use service::EVENT_JOB;

/// What [`Lambda`] stands on.
pub struct LambdaParts {
    pub store: Store,
    /// Where archives in buckets are read from.
    pub objects: Option<Arc<dyn ObjectStore>>,
    pub account: Arc<Account>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// Where code and logs are kept.
    pub directory: PathBuf,
    /// Where AWS's runtime clients are installed, once a machine.
    pub runtimes: PathBuf,
    /// What environments run in.
    pub sandbox: Sandbox,
    pub config: LambdaConfig,
    /// Functions that are not run from an archive here.
    pub functions: Vec<MappedFunction>,
    /// What functions call AWS services with, and whose roles and permissions they have.
    pub credentials: Arc<dyn Credentials>,
}

/// Functions; clones share them.
#[derive(Clone)]
pub struct Lambda {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    objects: Option<Arc<dyn ObjectStore>>,
    account: Arc<Account>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    code: CodeStore,
    pool: Arc<Pool>,
    credentials: Arc<dyn Credentials>,
    mapped: mapped::Mapped,
    /// Whether somebody is about to look for unused code.
    sweeping: AtomicBool,
}

impl Lambda {
    /// Opens the functions kept in the records. Starts nothing: environments start when they are called for.
    ///
    /// Errors: what is wrong with a function that is not run from an archive, as [`MappedFunction::check`] says it.
    pub fn new(parts: LambdaParts) -> Result<Self, String> {
        let LambdaParts { store, objects, account, clock, ids, directory, .. } = parts;
        let LambdaParts { runtimes, sandbox, config, functions, credentials, .. } = parts;
        let (logs, ids_of_calls) = (directory.clone(), Arc::clone(&ids));
        let lent = Arc::clone(&credentials);
        let parts = PoolParts { runtimes, logs, ids: ids_of_calls, credentials: lent, sandbox };
        let pool = Pool::new(&config, parts);
        let mapped = mapped::Mapped::new(&functions)?;
        let code = CodeStore::new(directory.join("code"));
        let sweeping = AtomicBool::new(false);
        let inner = Inner { store, objects, account, clock, ids, code, pool, credentials, mapped, sweeping };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Ends every environment.
    pub fn stop(&self) {
        self.inner.pool.stop();
    }
}
