use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use craton_backend::BackendError;
use futures::future::poll_fn;
use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::conn::Conn;
use super::{Http, broken};
use crate::errors::told;

/// How long a finished answer's connection may take to reach its end before it is closed instead of kept.
const DRAIN_TIME: Duration = Duration::from_secs(1);
const DRAIN_BYTES: usize = 64 * 1024;

/// The body of a response, together with the connection it arrives on.
///
/// Read to its end, the connection goes back to the pool; dropped before, the connection closes, which is how an
/// upstream learns that nobody wants the rest.
pub(crate) struct Body {
    /// None once the connection has been given back.
    exchange: Option<(Conn, Incoming)>,
    http: Arc<Http>,
    idle_timer: Pin<Box<Sleep>>,
    /// Counts as one call in flight.
    permit: Option<OwnedSemaphorePermit>,
}

impl Body {
    pub(super) fn new(
        conn: Conn,
        incoming: Incoming,
        http: Arc<Http>,
        mut timer: Pin<Box<Sleep>>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        timer.as_mut().reset(Instant::now() + http.timeouts.idle);
        Self { exchange: Some((conn, incoming)), http, idle_timer: timer, permit: Some(permit) }
    }

    /// The next piece, or None at the end. Errors: the upstream broke off, or was silent for too long.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BackendError>>> {
        let Some((conn, incoming)) = &mut self.exchange else { return Poll::Ready(None) };
        match conn.poll_data(incoming, cx) {
            Poll::Ready(Some(Ok(data))) => {
                let deadline = Instant::now() + self.http.timeouts.idle;
                self.idle_timer.as_mut().reset(deadline);
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.exchange = None;
                Poll::Ready(Some(Err(broken(&self.http.name, &error))))
            }
            Poll::Ready(None) => {
                if let Some((mut conn, _)) = self.exchange.take()
                    && conn.poll_usable(cx)
                {
                    self.http.keep(conn);
                }
                Poll::Ready(None)
            }
            Poll::Pending => match self.idle_timer.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    self.exchange = None;
                    Poll::Ready(Some(Err(BackendError::Timeout(self.http.timeouts.idle))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    pub(crate) async fn data(&mut self) -> Option<Result<Bytes, BackendError>> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    /// The whole body, which may have at most `limit` bytes. One piece is handed on without a copy.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Bytes, BackendError> {
        let hint = self.exchange.as_ref().and_then(|(_, incoming)| incoming.size_hint().exact());
        if hint.is_some_and(|size| size > limit as u64) {
            return Err(self.too_large(limit));
        }
        let Some(first) = self.data().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = self.data().await.transpose()? else { return Ok(first) };
        let mut whole = BytesMut::with_capacity(hint.unwrap_or(0) as usize);
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(piece) = next {
            if whole.len() + piece.len() > limit {
                return Err(self.too_large(limit));
            }
            whole.extend_from_slice(&piece);
            next = self.data().await.transpose()?;
        }
        Ok(whole.freeze())
    }

    /// For a body whose content is complete although its end has not been seen: keeps the connection if the end
    /// comes soon, and closes it otherwise. The call no longer counts as in flight.
    pub(crate) fn finish(mut self, cx: &mut Context<'_>) {
        self.permit = None;
        let mut drained = 0;
        loop {
            match self.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) if drained <= DRAIN_BYTES => drained += data.len(),
                Poll::Ready(_) => return,
                Poll::Pending => break,
            }
        }
        if tokio::runtime::Handle::try_current().is_ok() {
            tokio::spawn(tokio::time::timeout(DRAIN_TIME, async move {
                while let Some(Ok(data)) = self.data().await {
                    drained += data.len();
                    if drained > DRAIN_BYTES {
                        break;
                    }
                }
            }));
        }
    }

    fn too_large(&self, limit: usize) -> BackendError {
        BackendError::Upstream {
            status: 502,
            message: told(&self.http.name, format!("the upstream sent more than {limit} bytes")),
        }
    }
}
