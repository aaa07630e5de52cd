use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::{Shutdown, Transport};
use crate::body::Body;

/// The first bytes of an HTTP/2 connection; no HTTP/1.1 request begins with the first three of them.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long sent bytes may stay unacknowledged.
const DEAD_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    Http1,
    Http2,
}

/// Serves one connection until either side is done with it.
pub(super) async fn serve(transport: &Arc<Transport>, stream: TcpStream, peer: SocketAddr) {
    // Answers are written whole; waiting to fill a packet only adds latency.
    let _ = stream.set_nodelay(true);
    notice_dead_peers(&stream);
    let patience = Duration::from_millis(transport.limits.header_timeout_ms);
    let shutdown = transport.shutdown.for_connection();
    let opening = async {
        match &transport.tls {
            None => Ok::<_, io::Error>((Io::Plain(stream), None)),
            Some(tls) => {
                let stream = tls.accept(stream).await?;
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
                Ok((Io::Tls(Box::new(stream)), Some(if h2 { Version::Http2 } else { Version::Http1 })))
            }
        }
    };
    let opened = tokio::select! {
        biased;
        opened = tokio::time::timeout(patience, async {
            let (io, version) = opening.await?;
            let version = match (&io, version) {
                (_, Some(version)) => version,
                (Io::Plain(stream), None) => detect(stream).await?,
                (Io::Tls(_), None) => Version::Http1,
            };
            Ok::<_, io::Error>((io, version))
        }) => opened,
        () = shutdown.stopping() => return,
    };
    let (io, version) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "connection not opened"),
        Err(_) => return tracing::debug!(%peer, "connection sent nothing in time"),
    };
    let served = match io {
        Io::Plain(stream) => speak(transport, version, TokioIo::new(stream), peer, shutdown).await,
        Io::Tls(stream) => speak(transport, version, TokioIo::new(*stream), peer, shutdown).await,
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection broke off");
    }
}

/// A client that vanished without a word is noticed within about a minute, also while nothing is being sent to it, so
/// that its streams don't hold their places for the quarter of an hour that TCP would wait.
fn notice_dead_peers(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let probes = socket2::TcpKeepalive::new().with_time(DEAD_AFTER / 2).with_interval(DEAD_AFTER / 6);
    let _ = socket.set_tcp_keepalive(&probes);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(DEAD_AFTER));
}

enum Io {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// Tells HTTP/2 with prior knowledge from HTTP/1.1 without taking a byte off the socket, so that afterwards each runs
/// on the bare stream at full speed.
async fn detect(stream: &TcpStream) -> io::Result<Version> {
    let mut head = [0_u8; H2_PREFACE.len()];
    loop {
        let count = stream.peek(&mut head).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head[..count] != H2_PREFACE[..count] {
            return Ok(Version::Http1);
        }
        if count == H2_PREFACE.len() {
            return Ok(Version::Http2);
        }
        // Part of a preface: peeking again is ready at once, so give the rest a moment to arrive.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn speak<I>(
    transport: &Arc<Transport>,
    version: Version,
    io: TokioIo<I>,
    peer: SocketAddr,
    shutdown: Shutdown,
) -> hyper::Result<()>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let limits = &transport.limits;
    let handle = Arc::clone(&transport.handle);
    let of_requests = shutdown.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let reply = Arc::clone(&handle).handle(request.map(Body::from), peer.ip(), of_requests.clone());
        async move { Ok::<_, Infallible>(reply.await) }
    });
    match version {
        Version::Http1 => {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
                .max_headers(limits.max_headers)
                .max_header_size(limits.max_header_bytes)
                .max_buf_size(limits.max_header_bytes.max(16 * 1024));
            drive(builder.serve_connection(io, service), &shutdown).await
        }
        Version::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
                .max_concurrent_streams(limits.max_streams)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(4 << 20)
                .keep_alive_interval(Duration::from_secs(30))
                .keep_alive_timeout(Duration::from_secs(20));
            drive(builder.serve_connection(io, service), &shutdown).await
        }
    }
}

/// A hyper connection that can be asked to finish.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<I, S, B> Graceful for http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<crate::body::BodyError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    B: http_body::Body + 'static,
    B::Error: Into<crate::body::BodyError>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, B, E> Graceful for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<crate::body::BodyError>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<crate::body::BodyError>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive(connection: impl Graceful, shutdown: &Shutdown) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        done = connection.as_mut() => return done,
        () = shutdown.stopping() => connection.as_mut().finish(),
    }
    connection.await
}
