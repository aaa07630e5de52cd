use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use craton_core::{Account, Clock, IdSource, RandomIds, SystemClock};
use craton_identity::{CredentialsError, Identity, RootAllowsAll, RootCredentials, RootKeys};
use craton_metering::Metering;
use tokio::task::JoinHandle;

use crate::config::ServerConfig;
use crate::health::{HealthSource, Readiness};
use crate::pipeline::Pipeline;
use crate::services::Services;
use crate::transport::{Listener, Shutdown, TlsError, TlsFiles, Transport, acceptor};

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can't listen on {listen}: {source}")]
    Listen { listen: String, source: std::io::Error },
    #[error("the data directory {path} can't be used: {source}")]
    DataDir { path: PathBuf, source: std::io::Error },
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("root credentials: {0}")]
    Credentials(#[from] CredentialsError),
    #[error("metrics: {0}")]
    Metrics(String),
}

/// What a server takes from its surroundings; tests replace some of it.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    /// Root credentials that replace the file in the data directory.
    pub root_keys: RootKeys,
}

impl Surroundings {
    /// The machine's clock, random ids and the process's environment.
    pub fn real() -> Self {
        Self { clock: Arc::new(SystemClock), ids: Arc::new(RandomIds), root_keys: RootKeys::from_env() }
    }
}

/// A running server. Dropping it without [`Server::stop`] leaves it running until the runtime ends.
pub struct Server {
    address: SocketAddr,
    credentials: RootCredentials,
    certificate: Option<PathBuf>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

impl Server {
    /// Binds, composes and begins to serve. Models load in the background; requests for them wait.
    pub async fn start(config: ServerConfig, surroundings: Surroundings) -> Result<Self, StartError> {
        let listener = Listener::bind(&config.listen)
            .await
            .map_err(|source| StartError::Listen { listen: config.listen.clone(), source })?;
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|source| StartError::DataDir { path: config.data_dir.clone(), source })?;
        let address = listener.address();
        let files = tls_files(&config)?;
        let tls = files.as_ref().map(acceptor).transpose()?;
        let credentials = RootCredentials::resolve(&config.data_dir, surroundings.root_keys)?;
        let account = Account { id: config.account_id, home_region: config.region };
        let services = Services {
            identity: Identity::new(&credentials, &account),
            account: Arc::new(account),
            clock: surroundings.clock,
            ids: surroundings.ids,
            authorizer: Arc::new(RootAllowsAll),
            metering: Metering::new().map_err(|error| StartError::Metrics(error.to_string()))?,
            health: Arc::new(Nothing),
        };
        let shutdown = Shutdown::default();
        let pipeline = Pipeline::new(Arc::new(services), config.limits.clone());
        let transport =
            Transport { handle: Arc::new(pipeline), limits: config.limits, tls, shutdown: shutdown.clone() };
        let serving = tokio::spawn(transport.serve(listener));
        Ok(Self {
            address,
            credentials,
            certificate: files.map(|files| files.certificate),
            shutdown,
            serving,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:8473`; an unspecified address is named by its loopback one.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("{scheme}://{address}")
    }

    pub fn credentials(&self) -> &RootCredentials {
        &self.credentials
    }

    /// The PEM file that clients of a TLS server trust.
    pub fn certificate(&self) -> Option<&PathBuf> {
        self.certificate.as_ref()
    }

    /// Stops: nothing new is accepted, what runs finishes or is ended after the grace period.
    pub async fn stop(self) {
        self.shutdown.stop();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the server ended badly");
        }
    }
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

struct Nothing;
impl HealthSource for Nothing {
    fn parts(&self) -> Vec<(String, Readiness)> {
        Vec::new()
    }
}
