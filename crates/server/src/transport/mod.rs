//! Sockets: one port for HTTP/1.1 and HTTP/2 (with prior knowledge on plain connections, by ALPN under TLS), bounded in
//! connections, header size and time, stopped without cutting anybody off.
//!
//! It knows nothing of AWS: every request goes to one [`Handle`].

mod connection;
mod networks;
mod shutdown;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::config::Limits;
pub(crate) use networks::Networks;
pub(crate) use shutdown::Shutdown;
pub use tls::TlsError;
pub(crate) use tls::{TlsFiles, acceptor};

/// Whatever answers requests.
pub(crate) trait Handle: Send + Sync + 'static {
    fn handle(
        self: Arc<Self>,
        request: Request<Body>,
        peer: IpAddr,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, Response<Body>>;
}

/// A bound port that has not accepted yet.
pub(crate) struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `listen` (`host:port`; port 0 picks a free one).
    pub(crate) async fn bind(listen: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the address names no host");
        for address in tokio::net::lookup_host(listen).await? {
            match bind_one(address) {
                Ok(listener) => return Ok(Self { address: listener.local_addr()?, listener }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// What every connection shares.
pub(crate) struct Transport {
    pub(crate) handle: Arc<dyn Handle>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<tokio_rustls::TlsAcceptor>,
    /// Where clients may come from.
    pub(crate) networks: Networks,
    pub(crate) shutdown: Shutdown,
}

impl Transport {
    /// Accepts until told to stop, then waits for open connections: they finish what they are doing, are told to end
    /// after the grace period, and are dropped a little later if they still hold on.
    pub(crate) async fn serve(self, listener: Listener) {
        let shared = Arc::new(self);
        let connections = TaskTracker::new();
        shared.accept(listener.listener, &connections).await;
        connections.close();
        let grace = Duration::from_millis(shared.limits.stop_grace_ms);
        if tokio::time::timeout(grace, connections.wait()).await.is_ok() {
            return;
        }
        tracing::info!(connections = connections.len(), "the grace period is over; ending what still runs");
        shared.shutdown.end();
        if tokio::time::timeout(Duration::from_secs(2), connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "connections dropped");
        }
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener, connections: &TaskTracker) {
        let slots = Arc::new(Semaphore::new(self.limits.max_connections));
        loop {
            // The slot comes first: over the cap, clients wait in the kernel's queue instead of being refused.
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.stopping() => return,
                accepted = accept_one(&listener, &slots) => accepted,
            };
            let Some((stream, peer, slot)) = accepted else { continue };
            if !self.networks.admit(peer.ip()) {
                tracing::debug!(%peer, "a connection from a network that is not allowed");
                continue;
            }
            let shared = Arc::clone(self);
            connections.spawn(async move {
                let _slot = slot;
                connection::serve(&shared, stream, peer).await;
            });
        }
    }
}

async fn accept_one(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, slot)),
        Err(error) => {
            // A client that hung up in the queue, or no file descriptors left: the latter needs a pause.
            if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            None
        }
    }
}
