//! A server in the test's own process, with a model that plays a script, a clock that stands still and ids that count.
//!
//! Requests go over a real socket, signed by the same code that AWS clients' signatures are checked against; answers
//! come back as [`Answer`]s that print as one text for snapshots. A dev-dependency only.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc)]

mod client;
mod scripted;
mod surroundings;

use std::sync::Arc;

use craton_core::Clock as _;
use craton_identity::Authorizer;
use craton_identity::RootKeys;
use craton_models::files::ModelFiles;
use craton_server::{Server, ServerConfig, Surroundings};
use craton_wire::sigv4::{PathEncoding, Secret, Signer, SigningSecret};

pub use client::{Answer, Client, Open};
pub use scripted::{Scripted, Step, calls, text};
pub use surroundings::{CountingIds, FixedClock};

/// The root keys of every test server.
pub const ACCESS_KEY_ID: &str = "AKIATESTKIT000000001";
pub const SECRET_ACCESS_KEY: &str = "testkit-secret-access-key-0000000000001";

/// A running server and what it stands on.
pub struct TestServer {
    pub server: Server,
    pub clock: Arc<FixedClock>,
    /// The model behind every local target.
    pub model: Arc<Scripted>,
    folder: tempfile::TempDir,
}

impl TestServer {
    /// A server whose model says "Hello there." to everything.
    pub async fn start() -> Self {
        Self::with(Scripted::saying("Hello there."), |_| {}).await
    }

    /// A server with this model and a configuration changed by `configure`.
    pub async fn with(model: Scripted, configure: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::decided(model, configure, None).await
    }

    /// As [`Self::with`], with this authorizer in place of the policies.
    pub async fn decided(
        model: Scripted,
        configure: impl FnOnce(&mut ServerConfig),
        authorizer: Option<Arc<dyn Authorizer>>,
    ) -> Self {
        Self::open(model, configure, |surroundings| surroundings.authorizer = authorizer).await
    }

    /// A server that calls the upstreams of its configuration.
    pub async fn with_upstreams(configure: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::open(Scripted::saying("Nobody asks me."), configure, |surroundings| {
            surroundings.backends = None;
        })
        .await
    }

    async fn open(
        model: Scripted,
        configure: impl FnOnce(&mut ServerConfig),
        surround: impl FnOnce(&mut Surroundings),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = ServerConfig {
            listen: "127.0.0.1:0".into(),
            data_dir: folder.path().join("data"),
            ..ServerConfig::default()
        };
        configure(&mut config);
        let (model, clock) = (Arc::new(model), Arc::new(FixedClock::default()));
        let mut surroundings = Surroundings {
            clock: clock.clone(),
            ids: Arc::new(CountingIds::default()),
            root_keys: RootKeys {
                access_key_id: Some(ACCESS_KEY_ID.into()),
                secret_access_key: Some(Secret::new(SECRET_ACCESS_KEY)),
            },
            secrets_key: None,
            files: ModelFiles::at(folder.path().join("models")),
            backends: Some(model.clone()),
            authorizer: None,
        };
        surround(&mut surroundings);
        let server = Server::start(config, surroundings).await.expect("the server starts");
        Self { server, clock, model, folder }
    }

    /// A client with the root's keys, over HTTP/1.1.
    pub fn client(&self) -> Client {
        Client::new(
            &self.server.url(),
            self.server.certificate().map(std::path::PathBuf::as_path),
            self.clock.clone(),
        )
    }

    /// A Bedrock API key of the root's, good for so many seconds.
    pub fn api_key(&self, expires_s: u32) -> String {
        let secret = SigningSecret::new(Secret::new(SECRET_ACCESS_KEY));
        let signer = Signer {
            access_key_id: ACCESS_KEY_ID,
            secret: &secret,
            session_token: None,
            region: "us-east-1",
            service: "bedrock",
            path: PathEncoding::Double,
        };
        craton_wire::api_key::generate(&signer, expires_s, self.clock.now_ms()).expect("a key")
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}
