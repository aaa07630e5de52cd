//! Pages over HTTP, from the public network only unless configured otherwise.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(30);

/// What a page answered.
#[derive(Debug, Clone)]
pub(super) enum Fetched {
    Page {
        content_type: String,
        body: Bytes,
    },
    Redirect(Url),
    /// It is not there, or not for us.
    Gone,
}

/// Why a page could not be had this time.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it is not on the public network")]
    Private,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer within {TIMEOUT:?}")]
    Timeout,
}

/// Resolves names to addresses that may be reached.
#[derive(Debug, Clone)]
struct Resolver {
    private: bool,
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let private = self.private;
        let resolve = move || -> io::Result<Vec<SocketAddr>> {
            let found = (name.as_str(), 0).to_socket_addrs()?;
            Ok(found.filter(|address| private || is_public(address.ip())).collect())
        };
        async move {
            let found = tokio::task::spawn_blocking(resolve).await.map_err(io::Error::other)??;
            if found.is_empty() {
                return Err(io::Error::other(FetchError::Private));
            }
            Ok(found.into_iter())
        }
        .boxed()
    }
}

/// Whether an address is one of the public network.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => {
            let [first, second, third, ..] = v6.segments();
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public_v4(v4);
            }
            // Addresses that carry an IPv4 address: translated (64:ff9b::/32) and 6to4 (2002::/16).
            let carries_v4 = (first, second) == (0x64, 0xff9b) || first == 0x2002;
            // Of what is handed out (2000::/3), Teredo and the like (2001:0::/23) and documentation are not the network.
            let special = first == 0x2001 && (second < 0x200 || second == 0xdb8)
                || (first, second, third) == (0x3fff, 0, 0);
            (0x2000..0x4000).contains(&first) && !carries_v4 && !special
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarks = a == 198 && (b == 18 || b == 19);
    let protocols = (a, b, c) == (192, 0, 0);
    !(a == 0
        || a >= 224
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || shared
        || benchmarks
        || protocols)
}

/// An HTTP client for crawling.
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Empty<Bytes>>,
    private: bool,
    user_agent: String,
    max_bytes: usize,
}

impl Fetcher {
    pub(super) fn new(private: bool, user_agent: &str, max_bytes: usize) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver { private });
        http.enforce_http(false);
        http.set_connect_timeout(Some(Duration::from_secs(10)));
        let https = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new()).build(https);
        Self { client, private, user_agent: user_agent.to_owned(), max_bytes }
    }

    pub(super) async fn fetch(&self, url: &Url) -> Result<Fetched, FetchError> {
        // Addresses written as such are never resolved.
        let literal = match url.host() {
            Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if !self.private && literal.is_some_and(|address| !is_public(address)) {
            return Err(FetchError::Private);
        }
        tokio::time::timeout(TIMEOUT, self.request(url)).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn request(&self, url: &Url) -> Result<Fetched, FetchError> {
        let unreachable = |error: &dyn std::error::Error| {
            let cause = std::iter::successors(Some(error), |error| error.source()).last();
            FetchError::Unreachable(cause.map_or_else(|| error.to_string(), ToString::to_string))
        };
        let request = Request::get(url.as_str())
            .header(USER_AGENT, &self.user_agent)
            .header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
            .body(Empty::new())
            .map_err(|error| unreachable(&error))?;
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if status.is_redirection() {
            let target = url.join(header(LOCATION)).map_err(|error| unreachable(&error))?;
            return Ok(Fetched::Redirect(target));
        }
        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            return Ok(Fetched::Gone);
        }
        if !status.is_success() {
            return Err(FetchError::Status(status));
        }
        let content_type = header(CONTENT_TYPE).to_owned();
        let body = Limited::new(response.into_body(), self.max_bytes).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                FetchError::TooLarge(self.max_bytes)
            } else {
                FetchError::Unreachable(error.to_string())
            }
        })?;
        Ok(Fetched::Page { content_type, body: body.to_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::is_public;

    #[test]
    fn only_the_public_network_is_public() {
        for address in ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "::127.0.0.1",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
