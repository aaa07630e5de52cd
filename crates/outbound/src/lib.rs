//! Calls to servers that the operator configured: whom they trust, connections that stay open, and the keys of AWS
//! accounts to sign with.
//!
//! * [`tls_config`]: the trust that every such connection has.
//! * [`pool`]: an HTTP/1.1 client with it, for whoever needs no more than requests and answers.
//! * [`CredentialSource`]: the keys of an account, read again as they change.
//!
//! Not for addresses that somebody else chooses: the crawler has a client of its own, which keeps to the public network.

mod credentials;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

pub use credentials::{AwsCredentials, CredentialSource, Credentials, CredentialsError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Age after which an unused connection is closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(20);

/// Connections to whatever servers requests name, over TLS or not.
pub type Pool<B> = Client<HttpsConnector<HttpConnector>, B>;

/// TLS can't be set up on this machine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Trusts the machine's own roots, or Mozilla's where the machine has none. Read once, and only when somebody asks,
/// because it takes longer than the rest of a start.
pub fn tls_config() -> Result<ClientConfig, TlsError> {
    static CONFIG: OnceLock<Result<ClientConfig, TlsError>> = OnceLock::new();
    CONFIG.get_or_init(rooted).clone()
}

fn rooted() -> Result<ClientConfig, TlsError> {
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))
    };
    let rooted = match builder()?.with_native_roots() {
        Ok(rooted) => rooted,
        Err(_) => builder()?.with_webpki_roots(),
    };
    Ok(rooted.with_no_client_auth())
}

/// An HTTP/1.1 client that keeps its connections open between requests.
pub fn pool<B: Body + Send>() -> Result<Pool<B>, TlsError>
where
    B::Data: Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config()?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(MAX_IDLE_TIME);
    Ok(builder.build(https))
}
