//! What a reply's body is made of: nothing, bytes at hand, or a stream that ends when the client goes away.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body::{Frame, SizeHint};

/// Any error that breaks a body off; the connection (HTTP/1.1) or the stream (HTTP/2) is then reset.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or a reply. Dropping it drops the stream inside, which is how a client that went away cancels
/// the work behind its answer.
pub(crate) struct Body(Kind);

enum Kind {
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>),
    Incoming(hyper::body::Incoming),
    Other(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self(Kind::Empty)
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Full(bytes)) }
    }

    /// Runs `done` when the body has been sent whole; it is dropped uncalled when the client goes away before.
    pub(crate) fn when_done(self, done: impl FnOnce() + Send + 'static) -> Self {
        match self.0 {
            Kind::Stream(stream) => {
                let mut done = Some(done);
                let mut stream = stream;
                Self::stream(futures::stream::poll_fn(move |context| {
                    let next = std::task::ready!(stream.as_mut().poll_next(context));
                    if next.is_none()
                        && let Some(done) = done.take()
                    {
                        done();
                    }
                    Poll::Ready(next)
                }))
            }
            Kind::Other(body) => Self(Kind::Other(Box::pin(Watched { body, done: Some(Box::new(done)) }))),
            _ => {
                done();
                self
            }
        }
    }

    /// Another library's body.
    pub(crate) fn other<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        use http_body_util::BodyExt as _;
        if body.is_end_stream() {
            Self::empty()
        } else {
            Self(Kind::Other(Box::pin(body.map_err(Into::into))))
        }
    }

    /// A body of unknown length; each item is flushed to the client as soon as no other is ready.
    pub(crate) fn stream(stream: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Self {
        Self(Kind::Stream(Box::pin(stream)))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<hyper::body::Incoming> for Body {
    fn from(incoming: hyper::body::Incoming) -> Self {
        Self(Kind::Incoming(incoming))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Stream(stream) => {
                stream.as_mut().poll_next(context).map(|next| Some(next?.map(Frame::data)))
            }
            Kind::Incoming(incoming) => {
                Pin::new(incoming).poll_frame(context).map(|next| Some(next?.map_err(Into::into)))
            }
            Kind::Other(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) | Kind::Stream(_) => false,
            Kind::Incoming(incoming) => incoming.is_end_stream(),
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(_) => SizeHint::default(),
            Kind::Incoming(incoming) => incoming.size_hint(),
            Kind::Other(body) => body.size_hint(),
        }
    }
}

/// A body that tells when it has been sent whole. A length known beforehand stays known.
struct Watched {
    body: Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>,
    done: Option<Box<dyn FnOnce() + Send>>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = std::task::ready!(self.body.as_mut().poll_frame(context));
        // Whoever sends a body of known length may stop asking with its last bytes.
        let ended = next.is_none() || (self.body.is_end_stream() && matches!(next, Some(Ok(_))));
        if ended && let Some(done) = self.done.take() {
            done();
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a request's body was not read whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the request body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the request body did not arrive within {0:?}")]
    Timeout(std::time::Duration),
    #[error("the request body could not be read: {0}")]
    Broken(BodyError),
}

/// Reads a body of at most `limit` bytes. A body known beforehand to be too long is not read at all.
pub(crate) async fn read(mut body: Body, limit: usize) -> Result<Bytes, ReadError> {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    if body.size_hint().lower() > limit as u64 {
        discard(body).await;
        return Err(ReadError::TooLarge { limit });
    }
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ReadError::Broken)?.into_data() else { continue };
        if first.len() + rest.len() + data.len() > limit {
            discard(body).await;
            return Err(ReadError::TooLarge { limit });
        }
        // Nearly every body is one frame and is then passed on without a copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                let hint = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limit);
                rest.reserve(first.len() + data.len() + hint);
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

/// Swallows what a client is still sending, for a moment: a client that is cut off while it writes never reads the
/// error it is sent.
async fn discard(mut body: Body) {
    use http_body_util::BodyExt as _;
    let swallow = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), swallow).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(parts: &'static [&'static str]) -> Body {
        Body::stream(futures::stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes())))))
    }

    #[tokio::test]
    async fn reads_whole_bodies_in_order() {
        assert_eq!(read(chunks(&["ab", "c", "", "de"]), 5).await.unwrap(), "abcde");
        assert_eq!(read(Body::full("abcde"), 5).await.unwrap(), "abcde");
        assert_eq!(read(Body::empty(), 0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn refuses_one_byte_too_many() {
        for body in [chunks(&["ab", "c", "def"]), Body::full("abcdef")] {
            assert!(matches!(read(body, 5).await, Err(ReadError::TooLarge { limit: 5 })));
        }
    }
}
