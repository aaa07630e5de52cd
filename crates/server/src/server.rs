use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use craton_aoss::Collections;
use craton_core::{Account, Clock, IdSource, RandomIds, SystemClock};
use craton_guardrails::{Guardrails, GuardrailsParts};
use craton_iam::{Iam, Sts};
use craton_identity::directory::{Directory, DirectoryError, SECRETS_KEY, Vault, VaultError};
use craton_identity::{
    Authorizer, CredentialsError, Identity, Permissions, PolicyAuthorizer, PolicySource, RootCredentials,
    RootKeys, ServiceRoles,
};
use craton_inference::{Backends, Inference};
use craton_lambda::{EVENT_JOB, Lambda};
use craton_metering::Metering;
use craton_models::files::{FilesError, ModelFiles};
use craton_models::{Models, ModelsError, ModelsService};
use craton_objects::{ObjectError, Objects, RemoteError};
use craton_prompts::Prompts;
use craton_providers::SettingsError;
use craton_s3::Sides;
use craton_sandbox::Sandbox;
use craton_sessions::Sessions;
use craton_store::jobs::{Runner, Running};
use craton_store::{Store, StoreError};
use craton_wire::sigv4::Secret;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::access::Allowing;
use crate::audit::{Audit, RoleTrail};
use crate::banner;
use crate::compose::{self, Drivers, LocalModels, Upstreams, functions, guardrail_models};
use crate::config::{ConfigError, ServerConfig};
use crate::pipeline::Pipeline;
use crate::services::Services;
use crate::transport::{Listener, Shutdown, TlsError, TlsFiles, Transport, acceptor};

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can't listen on {listen}: {source}{}", listen_hint(.source))]
    Listen { listen: String, source: std::io::Error },
    #[error("the data directory {path} can't be used: {source}")]
    DataDir { path: PathBuf, source: std::io::Error },
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("root credentials: {0}")]
    Credentials(#[from] CredentialsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("records: {0}")]
    Store(#[from] StoreError),
    #[error("secrets: {0}")]
    Secrets(#[from] VaultError),
    #[error("users and roles: {0}")]
    Directory(#[from] DirectoryError),
    #[error("models: {0}")]
    Models(#[from] ModelsError),
    #[error(transparent)]
    Upstream(#[from] SettingsError),
    #[error("[[bucket]] {name}: {source}")]
    Bucket { name: String, source: RemoteError },
    #[error("objects: {0}")]
    Objects(#[from] ObjectError),
    #[error("metrics: {0}")]
    Metrics(String),
    #[error("audit log: {0}")]
    Audit(std::io::Error),
}

fn listen_hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; is a server running there already? --listen HOST:PORT picks another port"
        }
        _ => "",
    }
}

/// What a server takes from its surroundings; tests replace some of it.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// Root credentials that replace the file in the data directory.
    pub root_keys: RootKeys,
    /// Encrypts secrets, in place of the data directory's own key.
    pub secrets_key: Option<Secret>,
    pub files: ModelFiles,
    /// Answers for every model in place of the engine and the upstreams.
    pub backends: Option<Arc<dyn Backends>>,
    /// Decides in place of the policies.
    pub authorizer: Option<Arc<dyn Authorizer>>,
}

impl Surroundings {
    /// The machine's clock, random ids, and what the process's environment says.
    pub fn real() -> Result<Self, FilesError> {
        Ok(Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            root_keys: RootKeys::from_env(),
            secrets_key: std::env::var(SECRETS_KEY).ok().filter(|key| !key.is_empty()).map(Secret::new),
            files: ModelFiles::from_environment()?,
            backends: None,
            authorizer: None,
        })
    }
}

/// A running server. Dropping it without [`Server::stop`] leaves it running until the runtime ends.
pub struct Server {
    address: SocketAddr,
    credentials: RootCredentials,
    certificate: Option<PathBuf>,
    banner: String,
    store: Store,
    audit: Audit,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    jobs: Running,
    lambda: Lambda,
    upkeep: compose::Upkeep,
    /// What goes on besides requests; ends with the server.
    _background: Vec<AbortOnDropHandle<()>>,
}

impl Server {
    /// Binds, composes and begins to serve. Models load in the background; requests for them wait.
    pub async fn start(config: ServerConfig, surroundings: Surroundings) -> Result<Self, StartError> {
        config.check()?;
        let listener = Listener::bind(&config.listen)
            .await
            .map_err(|source| StartError::Listen { listen: config.listen.clone(), source })?;
        private_folder(&config.data_dir)
            .map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
        let address = listener.address();
        let credentials = RootCredentials::resolve(&config.data_dir, surroundings.root_keys.clone())?;
        let files = tls_files(&config)?;
        let client_ca = config.tls_client_ca.as_deref();
        let tls = files.as_ref().map(|files| acceptor(files, client_ca)).transpose()?;
        let networks = config.networks()?;
        let store = match &config.database_url {
            Some(url) => Store::connect(url).await?,
            None => Store::open(&config.data_dir).await?,
        };
        let vault = Vault::open(&config.data_dir, surroundings.secrets_key.as_ref())?;
        let directory = Directory::open(store.clone(), &config.account_id, vault).await?;
        let certificate = files.map(|files| files.certificate);
        let url = url(address, certificate.is_some());
        let own = (&credentials, url.as_str(), certificate.as_deref());
        let composed = compose(&config, surroundings, own, (&store, &directory))?;
        // Leases are about real time, whatever clock the services have.
        let jobs = Runner::new(store.clone(), Arc::new(SystemClock)).handle(
            EVENT_JOB,
            config.lambda.max_concurrency,
            Arc::new(composed.services.lambda.clone()),
        );
        let jobs = composed.services.agent_runs.handle_jobs(composed.services.flows.handle_jobs(jobs));
        let jobs = composed.services.knowledge_bases.handle_jobs(jobs).start().await?;
        let banner = banner::text(&config, &url, &credentials, composed.services.models.models());
        let shutdown = Shutdown::default();
        let audit = composed.services.audit.clone();
        let lambda = composed.services.lambda.clone();
        lambda.sweep_later();
        let upkeep = composed.upkeep;
        let pipeline =
            Pipeline::new(Arc::new(composed.services), config.limits.clone(), config.s3.domain.clone());
        let transport = Transport {
            handle: Arc::new(pipeline),
            limits: config.limits,
            tls,
            networks,
            shutdown: shutdown.clone(),
        };
        let serving = tokio::spawn(transport.serve(listener));
        let watching_users = AbortOnDropHandle::new(tokio::spawn(directory.watch()));
        let keeping = AbortOnDropHandle::new(tokio::spawn(upkeep.clone().keep()));
        let _background = vec![composed.watching, watching_users, keeping];
        Ok(Self {
            address,
            credentials,
            certificate,
            banner,
            store,
            audit,
            shutdown,
            serving,
            jobs,
            lambda,
            upkeep,
            _background,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:8473`; an unspecified address is named by its loopback one.
    pub fn url(&self) -> String {
        url(self.address, self.certificate.is_some())
    }

    pub fn credentials(&self) -> &RootCredentials {
        &self.credentials
    }

    /// The PEM file that clients of a TLS server trust.
    pub fn certificate(&self) -> Option<&PathBuf> {
        self.certificate.as_ref()
    }

    /// What an operator wants to see at start: address, folders, and what serves what.
    pub fn banner(&self) -> &str {
        &self.banner
    }

    /// Deletes what is kept for so long and no longer, as the server does each hour by itself.
    pub async fn forget_old(&self) {
        self.upkeep.once().await;
    }

    /// Stops: nothing new is accepted, what runs finishes or is ended after the grace period.
    pub async fn stop(self) {
        self.shutdown.stop();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the server ended badly");
        }
        drop(self._background);
        self.jobs.stop().await;
        self.lambda.stop();
        self.store.close().await;
        let audit = self.audit;
        if tokio::task::spawn_blocking(move || audit.close()).await.is_err() {
            tracing::error!("the audit log ended badly");
        }
    }
}

struct Composed {
    services: Services,
    upkeep: compose::Upkeep,
    /// Looks for models that are pulled, imported or removed.
    watching: AbortOnDropHandle<()>,
}

/// Puts the services together, and begins to open the models that will be asked for.
fn compose(
    config: &ServerConfig,
    surroundings: Surroundings,
    (credentials, url, certificate): (&RootCredentials, &str, Option<&Path>),
    (store, directory): (&Store, &Directory),
) -> Result<Composed, StartError> {
    let Surroundings { clock, ids, files, backends, authorizer, .. } = surroundings;
    let models = Models::open(config.models_config(), files, store.clone())?;
    let metering = Metering::new().map_err(|error| StartError::Metrics(error.to_string()))?;
    let drivers = drivers(config, &models, &metering)?;
    if backends.is_none() {
        drivers.local.preload(&needed_now(config, &models));
    }
    let watching = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&drivers.local).watch_store()));
    let backends = backends.unwrap_or_else(|| Arc::clone(&drivers) as Arc<_>);
    let account = Arc::new(Account { id: config.account_id.clone(), home_region: config.region.clone() });
    let prompts = Prompts::new(store.clone(), Arc::clone(&clock), Arc::clone(&ids));
    let guardrails = guardrails(config, (store, &models), (&backends, &account), (&clock, &ids), &metering);
    let vectors = craton_vectors::Drivers::new(store.clone(), config.data_dir.join("vectors"));
    let collections = collections((store, &vectors), directory, (&clock, &ids), url);
    let policies: Arc<dyn PolicySource> = Arc::new(directory.clone());
    let identity = Identity::new(credentials, &account).with_directory(directory.clone(), Arc::clone(&clock));
    let identity = Arc::new(identity.with_regions(config.regions()));
    let authorizer = authorizer.unwrap_or_else(|| Arc::new(PolicyAuthorizer::new(Arc::clone(&policies))));
    let objects = compose::objects(config, store, &clock)?;
    let audit = Audit::open(&config.audit, &config.data_dir).map_err(StartError::Audit)?;
    let roles = service_roles(config, &policies, (&account, &audit), (&clock, &ids));
    let sandbox = Sandbox::new(config.sandbox.clone(), &[config.data_dir.as_path()]);
    let (files, times) = ((models.files(), &sandbox), (&clock, &ids));
    let calling = (config, url, certificate);
    let lambda = functions(calling, (store, directory, &objects), files, (&account, &roles), times)?;
    let inference = inference((&models, &backends, &metering), times, (&prompts, &guardrails, &objects));
    let buckets = Sides::new(objects.clone());
    let deciding = (&authorizer, roles, config.tls);
    let permissions = permissions(deciding, (&lambda, &models, &prompts), (store, &buckets));
    let knowledge_bases = compose::knowledge_bases(
        config,
        (store, objects.clone(), vectors),
        (&models, backends),
        (&permissions, &metering, &collections),
        (&clock, &ids),
    )?;
    let retrieval = knowledge_bases.retrieval(inference.clone());
    let resources = (&models, &guardrails, &knowledge_bases);
    let called = (&inference, &prompts, &retrieval, (&lambda, &sandbox));
    let things = (store, &objects);
    let (agents, agent_runs, flows) =
        compose::orchestration(config, things, (&clock, &ids), &permissions, (resources, called));
    let services = Services {
        s3: compose::s3(config, (objects.clone(), buckets.clone()), (&identity, &authorizer, &account)),
        buckets,
        identity,
        authorizer,
        directory: directory.clone(),
        store: store.clone(),
        audit,
        secure: config.tls,
        inference,
        guardrails,
        prompts,
        flows,
        collections,
        lambda,
        knowledge_bases,
        agents,
        agent_runs,
        retrieval,
        sessions: Sessions::new(store.clone(), Arc::clone(&clock), Arc::clone(&ids), config.sessions.clone()),
        models: ModelsService::new(models, Arc::clone(&clock), Arc::clone(&ids)),
        iam: Iam::new(directory.clone()),
        sts: Sts::new(directory.clone(), credentials.access_key_id()),
        metering,
        health: drivers,
        account,
        clock,
        ids,
    };
    let upkeep = compose::Upkeep::of(&services, objects, config.s3.upload_expiry_days);
    Ok(Composed { services, upkeep, watching })
}

fn inference(
    (models, backends, metering): (&Models, &Arc<dyn Backends>, &Arc<Metering>),
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
    (prompts, guardrails, objects): (&Prompts, &Arc<Guardrails>, &Objects),
) -> Inference {
    let (catalogue, measured) = (Arc::new(models.clone()), Arc::clone(metering));
    Inference::new(catalogue, Arc::clone(backends), measured, Arc::clone(clock), Arc::clone(ids))
        .with_prompts(prompts.clone())
        .with_guardrails(Arc::clone(guardrails))
        .with_objects(Arc::new(objects.clone()))
}

/// What agents, flows and knowledge bases ask before they act for somebody.
fn permissions(
    (authorizer, roles, secure): (&Arc<dyn Authorizer>, ServiceRoles, bool),
    (lambda, models, prompts): (&Lambda, &Models, &Prompts),
    (store, buckets): (&Store, &Sides),
) -> Arc<dyn Permissions> {
    Arc::new(Allowing {
        authorizer: Arc::clone(authorizer),
        roles,
        lambda: lambda.clone(),
        buckets: buckets.clone(),
        models: models.clone(),
        prompts: prompts.clone(),
        store: store.clone(),
        secure,
    })
}

/// The check of what services do with the roles they were given, which the audit log is told of.
fn service_roles(
    config: &ServerConfig,
    policies: &Arc<dyn PolicySource>,
    (account, audit): (&Arc<Account>, &Audit),
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> ServiceRoles {
    let roles = ServiceRoles::new(Arc::clone(policies), &account.id, config.enforce_service_roles);
    roles.with_log(Arc::new(RoleTrail {
        audit: audit.clone(),
        account: Arc::clone(account),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
    }))
}

fn guardrails(
    config: &ServerConfig,
    (store, models): (&Store, &Models),
    (backends, account): (&Arc<dyn Backends>, &Arc<Account>),
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
    metering: &Arc<Metering>,
) -> Arc<Guardrails> {
    Arc::new(Guardrails::new(GuardrailsParts {
        store: store.clone(),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        metering: Arc::clone(metering),
        models: models.clone(),
        vectors: guardrail_models(&config.guardrails, models, backends, account),
    }))
}

/// Collections of OpenSearch Serverless, reached under this server's own URL.
fn collections(
    (store, vectors): (&Store, &craton_vectors::Drivers),
    principals: &Directory,
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
    url: &str,
) -> Collections {
    Collections::new(craton_aoss::Parts {
        store: store.clone(),
        drivers: vectors.clone(),
        principals: Arc::new(principals.clone()),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        url: url.to_owned(),
    })
}

/// What computes for the models of this server.
fn drivers(config: &ServerConfig, models: &Models, metering: &Metering) -> Result<Arc<Drivers>, StartError> {
    let drivers = Arc::new(Drivers {
        local: LocalModels::new(models.files().clone(), config.engine.clone(), metering.registry())
            .map_err(|error| StartError::Metrics(error.to_string()))?,
        upstreams: Upstreams::connect(&config.upstreams)?,
    });
    metering.add_queues(Arc::clone(&drivers.local) as Arc<_>);
    Ok(drivers)
}

/// Local models to open before anybody asks: those the configuration names, and the embedded ones where nothing else
/// is configured to answer. Beside upstreams the embedded ones may never be asked, and wait for their first request.
fn needed_now(config: &ServerConfig, models: &Models) -> Vec<String> {
    if config.upstreams.is_empty() {
        return models.needed_local_models();
    }
    config.models.iter().filter_map(|model| model.local.clone()).collect()
}

/// Makes a folder that only its owner may look into, and closes one that was open to others.
fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if std::fs::metadata(path)?.permissions().mode() & 0o077 != 0
        && let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
    {
        // Somebody else's folder, lent to this server: how open it is, is theirs to say.
        tracing::warn!(path = %path.display(), %error, "the data directory is open to other users");
    }
    Ok(())
}

fn url(mut address: SocketAddr, tls: bool) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{}://{address}", if tls { "https" } else { "http" })
}

fn tls_files(config: &ServerConfig) -> Result<Option<TlsFiles>, TlsError> {
    if !config.tls {
        return Ok(None);
    }
    if let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) {
        return Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }));
    }
    let host = config.listen.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    TlsFiles::self_signed(&config.data_dir, host, time::OffsetDateTime::now_utc()).map(Some)
}
