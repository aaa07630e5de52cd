//! Options that several commands share, and how they become a configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use craton_server::ServerConfig;
use craton_server::config::ConfigError;

/// Where the server is, or is to be.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerOptions {
    /// Address and port of the server [default: 127.0.0.1:8473]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,

    /// Directory of root credentials, certificate and records [default: ~/.local/share/craton]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Configuration file [default: craton.toml in the data directory, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// TLS, with a self-signed certificate unless the configuration names one
    #[arg(long)]
    pub(crate) tls: bool,

    /// Listen beyond this machine without TLS, where something else protects the connection
    #[arg(long)]
    pub(crate) insecure_listen: bool,
}

impl ServerOptions {
    /// The configuration: command line over environment over file.
    pub(crate) fn load(&self) -> Result<ServerConfig, ConfigError> {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut config = ServerConfig::read(self.config.as_deref(), self.data_dir.as_deref(), &variables)?;
        if let Some(listen) = &self.listen {
            config.listen.clone_from(listen);
        }
        config.tls |= self.tls;
        config.insecure_listen |= self.insecure_listen;
        config.check()?;
        Ok(config)
    }
}

/// Sends the server's log to standard error. `quiet` shows warnings only, for commands whose own output matters more.
pub(crate) fn start_log(quiet: bool) {
    use std::io::IsTerminal as _;
    // Fetching a model takes long enough to be told about.
    // llama.cpp reports every tensor and buffer; what goes wrong with a model is told by the engine. s3s reports every
    // refused request as an error of its own; what goes wrong in S3 is told by its front.
    let fallback = match quiet {
        true => "warn,craton_server::compose=info,llama-cpp-2=error,llama_cpp_2=error,s3s=off",
        false => "info,llama-cpp-2=error,llama_cpp_2=error,s3s=off",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CRATON_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(fallback));
    // A second call in one process changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}
