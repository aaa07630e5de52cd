//! The server's configuration: one struct, read once at start from a file, the environment and the command line, in
//! rising order of precedence. Keys nobody knows are refused, with the line they stand in.
//!
//! [`registry`] describes every key; `docs/configuration.md` is printed from it and a test keeps the two in step.

mod registry;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use craton_agents::run::RunsConfig;
use craton_engine::EngineConfig;
use craton_flows::FlowsConfig;
use craton_guardrails::GuardrailsConfig;
use craton_knowledge_bases::{KnowledgeBasesConfig, OpenSearchCluster, PostgresDatabase};
use craton_lambda::{LambdaConfig, MappedFunction};
use craton_models::{ModelConfig, ModelsConfig, UpstreamConfig};
use craton_objects::RemoteConfig;
use craton_sandbox::SandboxConfig;
use craton_sessions::SessionsConfig;
use serde::Deserialize;

pub use crate::audit::AuditConfig;
use crate::transport::Networks;
pub use registry::{Setting, VARIABLES, Variable, reference};
pub use settings::SETTINGS;

/// `craton.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// `host:port`; port 0 picks a free one.
    pub listen: String,
    /// Holds root credentials, the TLS certificate and records.
    pub data_dir: PathBuf,
    /// PostgreSQL to keep the records in instead of the data directory's SQLite.
    pub database_url: Option<String>,
    /// Twelve digits.
    pub account_id: String,
    /// The home region. Requests may be signed for others too, unless `allow_regions` says for which.
    pub region: String,
    /// Whether the embedded models answer for models that nothing is configured to serve.
    pub stand_ins: bool,
    /// Serve TLS, not plain HTTP, on the listening port.
    pub tls: bool,
    /// PEM chain to serve instead of a self-signed certificate.
    pub tls_certificate: Option<PathBuf>,
    /// PEM key of `tls_certificate`.
    pub tls_key: Option<PathBuf>,
    /// PEM certificates of the authorities that clients' certificates must come from.
    pub tls_client_ca: Option<PathBuf>,
    /// Listen beyond this machine without TLS.
    pub insecure_listen: bool,
    /// Networks that clients may come from, separated by commas; empty for all.
    pub allow_networks: String,
    /// Regions that requests may be signed for, separated by commas, the home region among them; empty for all.
    pub allow_regions: String,
    /// Check what components do against the roles given to them.
    pub enforce_service_roles: bool,
    pub audit: AuditConfig,
    /// What agents may use up.
    pub agents: RunsConfig,
    /// How documents are taken in.
    pub knowledge_bases: KnowledgeBasesConfig,
    /// What a run of a flow may use.
    pub flows: FlowsConfig,
    pub limits: Limits,
    /// Buckets and objects.
    pub s3: S3Config,
    /// Buckets that live in a real S3.
    #[serde(rename = "bucket")]
    pub buckets: Vec<RemoteConfig>,
    /// PostgreSQL servers that hold indexes of knowledge bases.
    #[serde(rename = "postgres")]
    pub databases: Vec<PostgresDatabase>,
    /// OpenSearch clusters that hold indexes of knowledge bases.
    #[serde(rename = "opensearch")]
    pub clusters: Vec<OpenSearchCluster>,
    /// How local models run.
    pub engine: EngineConfig,
    /// What guardrails use.
    pub guardrails: GuardrailsConfig,
    /// How functions run.
    pub lambda: LambdaConfig,
    /// How code of agents and flows is run.
    pub sandbox: SandboxConfig,
    /// How long the sessions of applications are kept.
    pub sessions: SessionsConfig,
    /// Functions that are somewhere else.
    #[serde(rename = "function")]
    pub functions: Vec<MappedFunction>,
    /// Which backend serves a model id.
    #[serde(rename = "model")]
    pub models: Vec<ModelConfig>,
    /// Other servers that models are served by.
    #[serde(rename = "upstream")]
    pub upstreams: Vec<UpstreamConfig>,
}

/// What one client may ask of the server.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub max_connections: usize,
    /// HTTP/2 streams open at once on one connection.
    pub max_streams: u32,
    pub max_headers: usize,
    /// All header lines of a request together.
    pub max_header_bytes: usize,
    pub max_body_bytes: usize,
    /// A connection that sends no complete request head for this long is closed, idle or not.
    pub header_timeout_ms: u64,
    /// Time for a request's body to arrive.
    pub body_timeout_ms: u64,
    /// Time that open requests have to finish after SIGTERM.
    pub stop_grace_ms: u64,
}

/// How S3 is served.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Config {
    /// Host names under it may name buckets: `BUCKET.s3.DOMAIN`, `BUCKET.DOMAIN`.
    pub domain: String,
    /// Days after which an upload in parts that nobody completed is aborted; 0 keeps them.
    pub upload_expiry_days: u32,
}

impl Default for S3Config {
    fn default() -> Self {
        Self { domain: "localhost".into(), upload_expiry_days: 7 }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8473".into(),
            data_dir: default_data_dir(),
            database_url: None,
            account_id: "123456789012".into(),
            region: "us-east-1".into(),
            stand_ins: true,
            tls: false,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            insecure_listen: false,
            allow_networks: String::new(),
            allow_regions: String::new(),
            enforce_service_roles: false,
            audit: AuditConfig::default(),
            agents: RunsConfig::default(),
            knowledge_bases: KnowledgeBasesConfig::default(),
            flows: FlowsConfig::default(),
            limits: Limits::default(),
            s3: S3Config::default(),
            buckets: Vec::new(),
            databases: Vec::new(),
            clusters: Vec::new(),
            engine: EngineConfig::default(),
            guardrails: GuardrailsConfig::default(),
            lambda: LambdaConfig::default(),
            sandbox: SandboxConfig::default(),
            sessions: SessionsConfig::default(),
            functions: Vec::new(),
            models: Vec::new(),
            upstreams: Vec::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_streams: 256,
            max_headers: 100,
            max_header_bytes: 64 * 1024,
            // Lambda's own limit of a function's code, 50 MB of zip file as base64 in JSON, fits.
            max_body_bytes: 67 << 20,
            header_timeout_ms: 75_000,
            body_timeout_ms: 120_000,
            stop_grace_ms: 20_000,
        }
    }
}

/// `~/.local/share/craton`, or `./craton-data` for a user without a home.
pub fn default_data_dir() -> PathBuf {
    std::env::home_dir().map_or_else(|| PathBuf::from("craton-data"), |home| home.join(".local/share/craton"))
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {path} can't be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("{variable}={value}: {message}")]
    Variable { variable: String, value: String, message: String },
    #[error("{key}: {message}")]
    Value { key: &'static str, message: String },
    #[error(transparent)]
    Models(craton_models::config::ConfigError),
}

impl ServerConfig {
    /// Reads `file` (or `craton.toml` in the data directory, where there is one), then lets `CRATON_*` variables
    /// override it. `data_dir` is the command line's, if it gave one.
    pub fn load(
        file: Option<&Path>,
        data_dir: Option<&Path>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let config = Self::read(file, data_dir, variables)?;
        config.check()?;
        Ok(config)
    }

    /// [`Self::load`] without the check, for a command line that still changes something.
    pub fn read(
        file: Option<&Path>,
        data_dir: Option<&Path>,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let data_dir_now = data_dir
            .map(Path::to_owned)
            .or_else(|| variables.get("CRATON_DATA_DIR").map(PathBuf::from))
            .unwrap_or_else(default_data_dir);
        let named = file.map(Path::to_owned).or_else(|| variables.get("CRATON_CONFIG").map(PathBuf::from));
        let found = named.or_else(|| Some(data_dir_now.join("craton.toml")).filter(|path| path.exists()));
        let (text, path) = match found {
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => (text, path),
                Err(source) => return Err(ConfigError::Read { path, source }),
            },
            None => (String::new(), PathBuf::new()),
        };
        let mut config = Self::parse(&text, &path, variables)?;
        if let Some(data_dir) = data_dir {
            config.data_dir = data_dir.to_owned();
        }
        Ok(config)
    }

    fn parse(text: &str, path: &Path, variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let refused = |error: toml::de::Error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        };
        let mut config: Self = toml::from_str(text).map_err(refused)?;
        let mut table: toml::Table = toml::from_str(text).map_err(refused)?;
        for setting in SETTINGS.iter().filter(|setting| setting.scalar()) {
            let variable = setting.variable();
            let Some(value) = variables.get(&variable) else { continue };
            let wrong = |message: String| ConfigError::Variable {
                variable: variable.clone(),
                value: value.clone(),
                message,
            };
            put(&mut table, setting.key, setting.read(value).map_err(wrong)?);
            // The file alone was fine, so what is wrong now is this variable's.
            config = Self::deserialize(table.clone()).map_err(|error| wrong(error.message().to_owned()))?;
        }
        Ok(config)
    }

    /// What the crate of the models is told.
    pub(crate) fn models_config(&self) -> ModelsConfig {
        ModelsConfig {
            models: self.models.clone(),
            upstreams: self.upstreams.clone(),
            stand_ins: self.stand_ins,
        }
    }

    /// Checks what the types can't.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, message: &str| Err(ConfigError::Value { key, message: message.to_owned() });
        if self.account_id.len() != 12 || !self.account_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return wrong("account_id", "must be twelve digits");
        }
        if self.region.is_empty()
            || !self.region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return wrong("region", "must be a region's name, such as us-east-1");
        }
        if self.listen.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return wrong("listen", "must be HOST:PORT, such as 127.0.0.1:8473");
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return wrong("tls_certificate", "needs tls_key, and tls_key needs it");
        }
        self.check_posture()?;
        if self.limits.max_connections == 0 || self.limits.max_body_bytes == 0 {
            return wrong("limits", "max_connections and max_body_bytes must be more than 0");
        }
        let wrong = |key| move |message| ConfigError::Value { key, message };
        self.agents.check().map_err(wrong("agents"))?;
        self.lambda.check().map_err(wrong("lambda"))?;
        self.sandbox.check().map_err(wrong("sandbox"))?;
        self.functions.iter().try_for_each(MappedFunction::check).map_err(wrong("function"))?;
        self.clusters.iter().try_for_each(OpenSearchCluster::check).map_err(wrong("opensearch"))?;
        self.models_config().check().map_err(ConfigError::Models)
    }
}

impl ServerConfig {
    /// The networks that clients may come from.
    pub(crate) fn networks(&self) -> Result<Networks, ConfigError> {
        Networks::parse(&self.allow_networks).map_err(|part| ConfigError::Value {
            key: "allow_networks",
            message: format!("{part:?} is no address and no range such as 10.0.0.0/8 or 2001:db8::/32"),
        })
    }

    /// The regions that requests may be signed for; none stands for all.
    pub(crate) fn regions(&self) -> Vec<String> {
        let regions = self.allow_regions.split(',').map(str::trim);
        regions.filter(|region| !region.is_empty()).map(str::to_owned).collect()
    }

    /// Who can reach the server, and what they can overhear.
    fn check_posture(&self) -> Result<(), ConfigError> {
        let wrong = |key, message: String| Err(ConfigError::Value { key, message });
        if !self.tls && !self.insecure_listen && !is_loopback(&self.listen) {
            return wrong(
                "listen",
                format!(
                    "{} can be reached from other machines, and without TLS they can read and change what clients \
                     send. Set tls = true (--tls), or insecure_listen = true (--insecure-listen) where something else \
                     protects the connection",
                    self.listen
                ),
            );
        }
        if self.tls_client_ca.is_some() && !self.tls {
            return wrong("tls_client_ca", "needs tls = true".into());
        }
        self.networks()?;
        let regions = self.regions();
        if !regions.is_empty() && !regions.contains(&self.region) {
            return wrong("allow_regions", format!("must have {}, the home region, too", self.region));
        }
        if self.audit.enabled && (self.audit.queued_events == 0 || self.audit.max_file_bytes == 0) {
            return wrong("audit", "queued_events and max_file_bytes must be more than 0".into());
        }
        Ok(())
    }
}

/// Whether only this machine can reach the address.
pub(crate) fn is_loopback(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn put(table: &mut toml::Table, key: &str, value: toml::Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let section =
                table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new())).as_table_mut();
            if let Some(section) = section {
                put(section, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<ServerConfig, String> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = ServerConfig::parse(text, Path::new("craton.toml"), &variables);
        config.and_then(|config| config.check().map(|()| config)).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_override_the_file() {
        let text =
            "listen = \"0.0.0.0:1\"\nregion = \"eu-west-1\"\n[limits]\nmax_body_bytes = 5\nmax_streams = 7\n";
        let config = load(
            text,
            &[("CRATON_LISTEN", "[::1]:2"), ("CRATON_LIMITS_MAX_BODY_BYTES", "6"), ("CRATON_TLS", "true")],
        )
        .unwrap();
        assert_eq!((config.listen.as_str(), config.region.as_str()), ("[::1]:2", "eu-west-1"));
        assert_eq!((config.limits.max_body_bytes, config.limits.max_streams, config.tls), (6, 7, true));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = load("listen = \"127.0.0.1:0\"\nlisten_on = 3\n", &[]).unwrap_err();
        assert!(
            error.contains("craton.toml") && error.contains("line 2") && error.contains("listen_on"),
            "{error}"
        );
        let error = load("[limits]\nmax_body = 3\n", &[]).unwrap_err();
        assert!(error.contains("line 2") && error.contains("max_body"), "{error}");
    }

    #[test]
    fn beyond_this_machine_only_with_tls_or_a_word_for_it() {
        for listen in ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.8.8.8:1"] {
            load(&format!("listen = \"{listen}\""), &[]).unwrap();
        }
        for word in ["tls = true", "insecure_listen = true"] {
            load(&format!("listen = \"0.0.0.0:1\"\n{word}"), &[]).unwrap();
        }
        let error = load("listen = \"0.0.0.0:1\"", &[]).unwrap_err();
        assert!(error.contains("--tls") && error.contains("--insecure-listen"), "{error}");
    }

    #[test]
    fn a_bad_variable_is_named() {
        let error = load("", &[("CRATON_LIMITS_MAX_CONNECTIONS", "many")]).unwrap_err();
        assert!(error.starts_with("CRATON_LIMITS_MAX_CONNECTIONS=many: "), "{error}");
        let error = load("", &[("CRATON_TLS", "perhaps")]).unwrap_err();
        assert!(error.contains("true or false"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (text, key) in [
            ("account_id = \"1\"", "account_id"),
            ("listen = \"localhost\"", "listen"),
            ("region = \"\"", "region"),
            ("tls_key = \"k.pem\"", "tls_certificate"),
            ("listen = \"0.0.0.0:1\"", "listen"),
            ("listen = \"[::]:1\"", "listen"),
            ("listen = \"models.example.com:1\"", "listen"),
            ("tls_client_ca = \"ca.pem\"", "tls_client_ca"),
            ("allow_networks = \"10.0.0.0/8, office\"", "allow_networks"),
            ("allow_regions = \"eu-west-1, eu-west-2\"", "allow_regions"),
            ("[audit]\nqueued_events = 0", "audit"),
        ] {
            assert!(load(text, &[]).unwrap_err().starts_with(key), "{text}");
        }
    }
}
