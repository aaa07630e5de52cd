use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::poll_fn;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A socket to the upstream, which remembers whether anything was read from it.
pub(super) struct Socket {
    stream: Stream,
    heard: Arc<AtomicBool>,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

type Driver = http1::Connection<TokioIo<Socket>, Full<Bytes>>;

/// An HTTP/1.1 connection that is driven by whoever uses it, in the same task.
///
/// A connection task of its own, as most clients have, costs two task switches a request and leaves the socket open
/// for a while after the caller has gone. Here dropping the exchange drops the socket.
pub(super) struct Conn {
    sender: SendRequest<Full<Bytes>>,
    /// None once the connection has ended.
    driver: Option<Box<Driver>>,
    heard: Arc<AtomicBool>,
    pub(super) reused: bool,
}

/// Why no response head arrived.
pub(super) struct SendFailure {
    pub(super) error: hyper::Error,
    /// Whether any byte of an answer had arrived.
    pub(super) heard: bool,
    /// The pooled connection was closed before the upstream can have begun to answer.
    pub(super) stale: bool,
}

impl Conn {
    pub(super) async fn new(stream: Stream) -> Result<Self, hyper::Error> {
        let heard = Arc::new(AtomicBool::new(false));
        let socket = TokioIo::new(Socket { stream, heard: heard.clone() });
        let (sender, driver) = http1::Builder::new().max_headers(100).handshake(socket).await?;
        Ok(Self { sender, driver: Some(Box::new(driver)), heard, reused: false })
    }

    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(ended) = Pin::new(driver.as_mut()).poll(cx)
        {
            if let Err(error) = ended {
                tracing::trace!(%error, "upstream connection ended");
            }
            self.driver = None;
        }
    }

    /// Whether another request can be sent, after having looked at the socket.
    pub(super) fn poll_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        self.driver.is_some() && self.sender.is_ready()
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendFailure> {
        self.heard.store(false, Ordering::Relaxed);
        let mut answer = pin!(self.sender.try_send_request(request));
        let sent = poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await;
        sent.map_err(|failure| {
            let heard = self.heard.load(Ordering::Relaxed);
            SendFailure { heard, stale: self.reused && !heard, error: failure.into_error() }
        })
    }

    /// The next piece of a response body.
    pub(super) fn poll_data(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        let mut driven = false;
        loop {
            match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(_trailers) => {}
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if driven => return Poll::Pending,
                Poll::Pending => {
                    self.drive(cx);
                    driven = true;
                }
            }
        }
    }
}
