//! Where a server is and who its client is: what `env` prints, `exec` sets and `chat` calls.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use craton_identity::{RootCredentials, RootKeys};
use craton_server::{Server, ServerConfig, Surroundings};
use craton_wire::sigv4::Secret;

use crate::client;
use crate::options::ServerOptions;

const ENDPOINT_VARIABLE: &str = "AWS_ENDPOINT_URL";

/// Everything an AWS client needs to call this server.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) region: String,
    pub(crate) keys: Keys,
    /// A certificate to trust besides the system's.
    pub(crate) certificate: Option<PathBuf>,
}

/// What a client signs with.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret: Secret,
    /// Of temporary keys.
    pub(crate) session_token: Option<String>,
}

impl Keys {
    /// Whose they are is up to whoever set the variables that AWS's own tools read.
    fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let read = |name| variable(name).filter(|value| !value.is_empty());
        Some(Self {
            access_key_id: read("AWS_ACCESS_KEY_ID")?,
            secret: Secret::new(read("AWS_SECRET_ACCESS_KEY")?),
            session_token: read("AWS_SESSION_TOKEN"),
        })
    }
}

impl From<RootCredentials> for Keys {
    fn from(root: RootCredentials) -> Self {
        let secret = root.secret().clone();
        Self { access_key_id: root.access_key_id().to_owned(), secret, session_token: None }
    }
}

impl Endpoint {
    /// The endpoint a server with this configuration has. Root credentials are made if there are none yet, so that
    /// they can be handed out before the first start.
    pub(crate) fn of(config: &ServerConfig) -> anyhow::Result<Self> {
        let (host, port) = config.listen.rsplit_once(':').context("the address has no port")?;
        if port == "0" {
            bail!("port 0 means any free port, so nobody can tell which; give --listen HOST:PORT");
        }
        let host = match host {
            "" | "0.0.0.0" => "127.0.0.1",
            "[::]" => "[::1]",
            host => host,
        };
        let scheme = if config.tls { "https" } else { "http" };
        let own = config.data_dir.join("tls").join("certificate.pem");
        Ok(Self {
            url: format!("{scheme}://{host}:{port}"),
            region: config.region.clone(),
            keys: RootCredentials::resolve(&config.data_dir, RootKeys::from_env())?.into(),
            // Clients run in folders of their own.
            certificate: config
                .tls
                .then(|| std::path::absolute(config.tls_certificate.clone().unwrap_or(own)))
                .transpose()?,
        })
    }

    /// With the keys, region and certificate that AWS's own tools would take from the environment.
    fn in_environment(self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let read = |name| variable(name).filter(|value| !value.is_empty());
        Self {
            url: self.url,
            region: read("AWS_REGION").or_else(|| read("AWS_DEFAULT_REGION")).unwrap_or(self.region),
            keys: Keys::of_environment(&variable).unwrap_or(self.keys),
            certificate: read("AWS_CA_BUNDLE").map(PathBuf::from).or(self.certificate),
        }
    }

    /// The variables that AWS's SDKs and CLI read.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            (ENDPOINT_VARIABLE, self.url.clone()),
            ("AWS_ACCESS_KEY_ID", self.keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.keys.secret.expose().to_owned()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
        ];
        if let Some(certificate) = &self.certificate {
            variables.push(("AWS_CA_BUNDLE", certificate.display().to_string()));
        }
        variables
    }

    /// What begins so names one service's own endpoint, which wins over the general one: calls there would be signed with
    /// this server's keys.
    const OF_ONE_SERVICE: &'static str = "AWS_ENDPOINT_URL_";

    /// What would send a client elsewhere, or send our keys along with its own: a session token goes into every request,
    /// a profile or bearer token replaces the keys, a service's own endpoint wins over the general one.
    const CLEARED: [&'static str; 5] = [
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    ];
    /// Those of [`Self::CLEARED`] that are cleared whether they are set now or not, since what `env` prints may be kept
    /// and read later.
    const ALWAYS_CLEARED: usize = 2;

    /// The variables to clear, of those that are `set` now.
    pub(crate) fn cleared(set: impl Iterator<Item = String>) -> Vec<String> {
        let is_cleared =
            |name: &String| Self::CLEARED.contains(&name.as_str()) || name.starts_with(Self::OF_ONE_SERVICE);
        let always = &Self::CLEARED[..Self::ALWAYS_CLEARED];
        let mut names: Vec<String> = always.iter().map(ToString::to_string).collect();
        names.extend(set.filter(|name| is_cleared(name) && !always.contains(&name.as_str())));
        names
    }

    /// [`Self::cleared`] of this process's own environment.
    pub(crate) fn cleared_here() -> Vec<String> {
        Self::cleared(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    }
}

/// A server to call: the one that runs at the configured address, or one in this process.
pub(crate) enum Attached {
    Running,
    Own(Box<Server>),
}

/// Which server a command calls.
#[derive(Args)]
pub(crate) struct EndpointOptions {
    /// Call this URL with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else this machine's root keys, and
    /// start nothing [default: AWS_ENDPOINT_URL, unless --listen is given]
    #[arg(long, value_name = "URL", conflicts_with = "listen")]
    endpoint: Option<String>,

    #[command(flatten)]
    server: ServerOptions,
}

impl EndpointOptions {
    /// The server at the URL given, else the one [`Attached::find_or_start`] comes to.
    pub(crate) async fn attach(&self) -> anyhow::Result<(Attached, Endpoint)> {
        let config = self.server.load()?;
        let variable = |name: &str| std::env::var(name).ok();
        let Some((source, url)) = self.url(variable) else {
            return Attached::find_or_start(config).await;
        };
        let url = url.trim_end_matches('/').to_owned();
        let parts = url.parse::<http::Uri>().map(http::Uri::into_parts);
        let whole = parts.is_ok_and(|parts| parts.scheme.is_some() && parts.authority.is_some());
        anyhow::ensure!(whole, "{source} {url} is no URL; it must be like http://127.0.0.1:8473");
        let own = Endpoint::of(&config);
        // The address that `env` prints before anything runs there.
        let is_own = own.as_ref().is_ok_and(|own| own.url == url);
        let endpoint = Endpoint { url, ..own? }.in_environment(variable);
        if source == ENDPOINT_VARIABLE && is_own && !client::is_craton(&endpoint).await {
            return Attached::find_or_start(config).await;
        }
        Ok((Attached::Running, endpoint))
    }

    /// The URL that is called, and what names it.
    fn url(&self, variable: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
        let of_environment = || variable(ENDPOINT_VARIABLE).filter(|url| !url.is_empty());
        match (&self.endpoint, &self.server.listen) {
            (Some(url), _) => Some(("--endpoint", url.clone())),
            (None, Some(_)) => None,
            (None, None) => of_environment().map(|url| (ENDPOINT_VARIABLE, url)),
        }
    }
}

impl Attached {
    /// Uses the server at the address if one answers there, else starts one that lives as long as this command.
    pub(crate) async fn find_or_start(config: ServerConfig) -> anyhow::Result<(Self, Endpoint)> {
        let endpoint = Endpoint::of(&config)?;
        if client::is_craton(&endpoint).await {
            let strange = client::refuses_keys(&endpoint).await;
            anyhow::ensure!(
                !strange,
                "the server at {} does not know the keys in {}: give the --data-dir it was started with, or its keys in \
                 CRATON_ROOT_ACCESS_KEY_ID and CRATON_ROOT_SECRET_ACCESS_KEY, or another --listen to start a server there",
                endpoint.url,
                config.data_dir.display()
            );
            return Ok((Self::Running, endpoint));
        }
        let listen = config.listen.clone();
        let server = Server::start(config, Surroundings::real()?).await.with_context(|| {
            format!("no Craton server answers at {}, and none could be started on {listen}", endpoint.url)
        })?;
        Ok((Self::Own(Box::new(server)), endpoint))
    }

    pub(crate) async fn detach(self) {
        if let Self::Own(server) = self {
            server.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(listen: &str, tls: bool) -> anyhow::Result<Endpoint> {
        let folder = tempfile::tempdir()?;
        Endpoint::of(&ServerConfig {
            listen: listen.into(),
            data_dir: folder.path().into(),
            tls,
            ..ServerConfig::default()
        })
    }

    #[test]
    fn urls_name_an_address_that_can_be_connected_to() {
        for (listen, url) in [
            ("0.0.0.0:8473", "http://127.0.0.1:8473"),
            ("[::]:1", "http://[::1]:1"),
            ("localhost:80", "http://localhost:80"),
        ] {
            assert_eq!(endpoint(listen, false).unwrap().url, url);
        }
        assert!(endpoint("127.0.0.1:0", false).is_err());
    }

    #[test]
    fn no_service_has_an_endpoint_of_its_own() {
        let set = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_PROFILE", "PATH"];
        let cleared = Endpoint::cleared(set.into_iter().map(str::to_owned));
        let expected = ["AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS"];
        assert_eq!(cleared, expected);
    }

    #[test]
    fn the_environment_says_what_is_called_unless_the_command_line_does() {
        let set = |name: &str| (name == ENDPOINT_VARIABLE).then(|| "http://10.0.0.7:1/".to_owned());
        let options = |endpoint: Option<&str>, listen: Option<&str>| EndpointOptions {
            endpoint: endpoint.map(str::to_owned),
            server: ServerOptions { listen: listen.map(str::to_owned), ..ServerOptions::default() },
        };
        let url = |options: EndpointOptions| options.url(set).map(|(_, url)| url);
        assert_eq!(url(options(None, None)).as_deref(), Some("http://10.0.0.7:1/"));
        assert_eq!(url(options(Some("http://a"), None)).as_deref(), Some("http://a"));
        assert_eq!(url(options(None, Some("127.0.0.1:1"))), None);
        assert_eq!(options(None, None).url(|_| Some(String::new())), None);
        let region = |name: &str| (name == "AWS_DEFAULT_REGION").then(|| "eu-west-1".to_owned());
        assert_eq!(endpoint("localhost:80", false).unwrap().in_environment(region).region, "eu-west-1");
    }

    #[test]
    fn keys_of_the_environment_come_whole() {
        let keys = |set: &[(&str, &str)]| {
            Keys::of_environment(|name| set.iter().find(|it| it.0 == name).map(|it| it.1.to_owned()))
        };
        assert!(keys(&[("AWS_ACCESS_KEY_ID", "AKIA1")]).is_none());
        assert!(keys(&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "s")]).is_none());
        let temporary =
            [("AWS_ACCESS_KEY_ID", "ASIA1"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
        assert!(keys(&temporary[..2]).is_some_and(|it| it.session_token.is_none()));
        assert_eq!(keys(&temporary).and_then(|it| it.session_token).as_deref(), Some("t"));
    }

    #[test]
    fn tls_comes_with_the_certificate_to_trust() {
        let variables = endpoint("127.0.0.1:1", true).unwrap().variables();
        assert_eq!(variables[0].1, "https://127.0.0.1:1");
        assert!(variables.iter().any(|(name, value)| *name == "AWS_CA_BUNDLE" && value.ends_with(".pem")));
    }
}
