use std::collections::BTreeMap;
use std::time::Duration;

use craton_backend::BackendError;
use craton_models::config::{UpstreamConfig, UpstreamKind};
use craton_providers::{ApiKey, SettingsError, Upstream, UpstreamSettings};

/// The configured upstreams by name. They are prepared at start, and called only when a request needs them.
pub(crate) struct Upstreams(BTreeMap<String, Upstream>);

impl Upstreams {
    pub(crate) fn connect(configs: &[UpstreamConfig]) -> Result<Self, SettingsError> {
        let connect =
            |config| Ok((UpstreamConfig::clone(config).name, Upstream::connect(&settings(config)?)?));
        configs.iter().map(connect).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn find(&self, name: &str) -> Result<&Upstream, BackendError> {
        // The configuration was checked, so this is a fault of ours.
        self.0.get(name).ok_or_else(|| BackendError::Internal(format!("there is no upstream {name:?}")))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn settings(config: &UpstreamConfig) -> Result<UpstreamSettings, SettingsError> {
    let kind = match config.kind {
        UpstreamKind::OpenAi => craton_providers::UpstreamKind::OpenAi,
        UpstreamKind::Anthropic => craton_providers::UpstreamKind::Anthropic,
        UpstreamKind::Bedrock => craton_providers::UpstreamKind::Bedrock,
    };
    let mut settings = UpstreamSettings::new(&config.name, kind, &config.base_url);
    settings.api_key = config.api_key_env.as_deref().map(ApiKey::from_env).transpose()?;
    settings.timeouts.connect = Duration::from_millis(config.connect_timeout_ms);
    settings.timeouts.first_byte = Duration::from_millis(config.first_byte_timeout_ms);
    settings.timeouts.idle = Duration::from_millis(config.idle_timeout_ms);
    settings.max_idle_connections = config.max_idle_connections;
    settings.max_in_flight = config.max_in_flight;
    settings.headers = config.headers.clone().into_iter().collect();
    settings.aws_region.clone_from(&config.region);
    let wrong = |message: &str| SettingsError::Aws { name: config.name.clone(), message: message.into() };
    settings.aws_credentials = config.credentials().map_err(wrong)?;
    Ok(settings)
}
