//! Streams of events that are the work itself: it goes on only while somebody reads, and dropping the stream ends it and
//! all that it waits for. Nothing of it runs elsewhere, but for a watch that ends work nobody reads any more: its own
//! limits are looked at only while somebody does, and it may hold a model, a session and a sandbox.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::ApiError;

/// Events that wait to be taken. Clones share them.
#[derive(Debug)]
pub struct Feed<E>(Arc<Mutex<VecDeque<E>>>);

impl<E> Clone for Feed<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> Default for Feed<E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<E> Feed<E> {
    pub fn send(&self, event: E) {
        self.0.lock().push_back(event);
    }

    fn take(&self) -> Option<E> {
        self.0.lock().pop_front()
    }
}

/// Work and what it tells.
pub struct Driven<E> {
    feed: Feed<E>,
    state: Arc<Mutex<State>>,
    _watch: AbortOnDropHandle<()>,
}

struct State {
    work: Option<BoxFuture<'static, Result<(), ApiError>>>,
    failure: Option<ApiError>,
    /// Of a reader who waits: what else would wake them goes with the work.
    reader: Option<Waker>,
}

impl<E> Driven<E> {
    /// After the given time the work ends with the given error, even where nobody reads.
    pub fn new(
        feed: Feed<E>,
        work: BoxFuture<'static, Result<(), ApiError>>,
        (limit, failure): (Duration, ApiError),
    ) -> Self {
        let state = Arc::new(Mutex::new(State { work: Some(work), failure: None, reader: None }));
        let watched = Arc::clone(&state);
        let watch = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            let mut state = watched.lock();
            let work = state.work.take();
            if work.is_some() {
                state.failure = Some(failure);
            }
            let reader = state.reader.take();
            drop(state);
            drop(work);
            if let Some(reader) = reader {
                reader.wake();
            }
        });
        Self { feed, state, _watch: AbortOnDropHandle::new(watch) }
    }
}

impl<E> Drop for Driven<E> {
    /// The watch may hold the state for a moment longer; the work goes now.
    fn drop(&mut self) {
        let work = self.state.lock().work.take();
        drop(work);
    }
}

impl<E> Stream for Driven<E> {
    type Item = Result<E, ApiError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.feed.take() {
            return Poll::Ready(Some(Ok(event)));
        }
        let mut waiting = false;
        let mut state = self.state.lock();
        if let Some(work) = &mut state.work {
            match work.as_mut().poll(context) {
                Poll::Pending => {
                    waiting = true;
                    state.reader = Some(context.waker().clone());
                }
                Poll::Ready(done) => {
                    state.work = None;
                    state.failure = done.err();
                }
            }
        }
        match (self.feed.take(), waiting) {
            (Some(event), _) => Poll::Ready(Some(Ok(event))),
            (None, true) => Poll::Pending,
            (None, false) => Poll::Ready(state.failure.take().map(Err)),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    fn late(seconds: u64) -> (Duration, ApiError) {
        (Duration::from_secs(seconds), ApiError::throttling("late"))
    }

    #[tokio::test]
    async fn events_come_in_order_and_a_failure_last() {
        let feed: Feed<String> = Feed::default();
        let told = feed.clone();
        let work = async move {
            told.send("a".to_owned());
            tokio::task::yield_now().await;
            told.send("b".to_owned());
            Err(ApiError::throttling("full"))
        };
        let mut seen = Vec::new();
        let mut stream = Driven::new(feed, work.boxed(), late(60));
        while let Some(event) = stream.next().await {
            seen.push(match event {
                Ok(text) => text,
                Err(error) => error.code.into_owned(),
            });
        }
        assert_eq!(seen, ["a", "b", "ThrottlingException"]);
    }

    /// A stream whose work never ends, and what that work holds.
    fn endless(limit: (Duration, ApiError)) -> (Driven<String>, Arc<()>) {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let work = async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        };
        (Driven::new(Feed::default(), work.boxed(), limit), held)
    }

    #[tokio::test]
    async fn dropping_the_stream_drops_the_work() {
        let (mut stream, held) = endless(late(60));
        assert!(stream.next().now_or_never().is_none());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(stream);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn a_caller_who_does_not_read_holds_the_work_only_so_long() {
        let (mut stream, held) = endless((Duration::from_millis(200), ApiError::throttling("late")));
        assert!(stream.next().now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(Arc::strong_count(&held), 2);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(Arc::strong_count(&held), 1, "it is let go though the stream is there");
        assert_eq!(stream.next().await.expect("an end").unwrap_err().code, "ThrottlingException");
    }

    #[tokio::test]
    async fn a_reader_who_waits_is_told_that_the_time_is_over() {
        let (mut stream, held) = endless((Duration::from_millis(50), ApiError::throttling("late")));
        // A task of its own: nothing but the stream wakes it.
        let reader = tokio::spawn(async move { stream.next().await });
        let told = tokio::time::timeout(Duration::from_secs(10), reader).await;
        let told = told.expect("woken").expect("a reader").expect("an end");
        assert_eq!(told.unwrap_err().code, "ThrottlingException");
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
