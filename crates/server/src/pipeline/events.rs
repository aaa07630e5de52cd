use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use craton_wire::ApiError;
use craton_wire::eventstream::Frame;
use futures::Stream;

use crate::body::BodyError;
use crate::transport::Shutdown;

type Finished = Box<dyn FnOnce(Option<&ApiError>) + Send>;
type Frames = Pin<Box<dyn Stream<Item = Result<Frame, ApiError>> + Send>>;

/// Frames on their way to the client. Whatever goes wrong becomes an exception frame, the last one: an error of the
/// handler, a panic in it, or the server's own end.
pub(crate) struct EventBody {
    /// `None` once the last frame is out.
    frames: Option<Frames>,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// What to run with the first error, if there is one, when the stream is over.
    finished: Option<Finished>,
}

impl EventBody {
    /// `finished` is told how the stream ended; it is dropped uncalled when the client goes away first.
    pub(crate) fn new(
        frames: Frames,
        shutdown: Shutdown,
        finished: impl FnOnce(Option<&ApiError>) + Send + 'static,
    ) -> Self {
        Self {
            frames: Some(frames),
            ending: Box::pin(shutdown.into_ending()),
            finished: Some(Box::new(finished)),
        }
    }

    fn finish(&mut self, error: Option<&ApiError>) {
        self.frames = None;
        if let Some(finished) = self.finished.take() {
            finished(error);
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, ApiError>>> {
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| frames.as_mut().poll_next(context)));
        match polled {
            Ok(Poll::Pending) => {
                ready!(self.ending.as_mut().poll(context));
                Poll::Ready(Some(Err(super::shutting_down())))
            }
            Ok(ready) => ready,
            Err(panic) => Poll::Ready(Some(Err(super::report(panic.as_ref())))),
        }
    }
}

impl Stream for EventBody {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frame = match ready!(self.poll_frame(context)) {
            None => {
                self.finish(None);
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                self.finish(Some(&error));
                error.to_frame()
            }
        };
        let encoded = frame.encode().or_else(|error| {
            // The client is told why its stream ends, as of any other error.
            let error = ApiError::internal(format!("An event of the answer can't be sent: {error}."));
            tracing::error!(error = error.message, "a stream ends early");
            self.finish(Some(&error));
            error.to_frame().encode()
        });
        Poll::Ready(Some(encoded.map_err(Into::into)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::StreamExt as _;

    use super::*;

    fn event(text: &'static str) -> Frame {
        Frame::json_event("chunk", text)
    }

    async fn failures(body: EventBody) -> (usize, Option<(String, String)>) {
        let mut decoder = craton_wire::eventstream::Decoder::new();
        let chunks: Vec<Bytes> = body.map(Result::unwrap).collect().await;
        let mut seen = Vec::new();
        for chunk in chunks {
            decoder.push(&chunk);
            seen.push(decoder.next_frame().unwrap().unwrap());
        }
        (seen.len(), seen.last().and_then(Frame::failure))
    }

    #[tokio::test]
    async fn an_error_is_the_last_frame() {
        let frames =
            futures::stream::iter([Ok(event("1")), Err(ApiError::throttling("full")), Ok(event("2"))]);
        let body = EventBody::new(Box::pin(frames), Shutdown::default(), |_| {});
        assert_eq!(failures(body).await, (2, Some(("throttlingException".into(), "full".into()))));
    }

    #[tokio::test]
    async fn an_event_that_is_too_large_is_an_error_of_the_stream() {
        let large = vec![b'x'; craton_wire::eventstream::MAX_MESSAGE_BYTES];
        let large = Frame::json_event("chunk", large);
        let frames = futures::stream::iter([Ok(event("1")), Ok(large), Ok(event("2"))]);
        let body = EventBody::new(Box::pin(frames), Shutdown::default(), |error| assert!(error.is_some()));
        let (count, failure) = failures(body).await;
        let (name, message) = failure.unwrap();
        assert_eq!((count, name.as_str()), (2, "internalServerException"));
        assert!(message.contains("over the limit"), "{message}");
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let frames =
            futures::stream::iter([1, 2]).map(|n| if n == 1 { Ok(event("1")) } else { panic!("boom") });
        let body = EventBody::new(Box::pin(frames), Shutdown::default(), |_| {});
        let (count, failure) = failures(body).await;
        assert_eq!((count, failure.unwrap().0.as_str()), (2, "internalServerException"));
    }

    #[tokio::test]
    async fn the_servers_end_ends_a_stream_that_still_runs() {
        let shutdown = Shutdown::default();
        let frames = futures::stream::iter([Ok(event("1"))]).chain(futures::stream::pending());
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let body = EventBody::new(Box::pin(frames), shutdown.for_connection(), move |error| {
            assert_eq!(error.unwrap().code, "ServiceUnavailableException");
            count.fetch_add(1, Ordering::Relaxed);
        });
        let reading = tokio::spawn(failures(body));
        tokio::task::yield_now().await;
        shutdown.end();
        assert_eq!(reading.await.unwrap().1.unwrap().0, "serviceUnavailableException");
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    }
}
