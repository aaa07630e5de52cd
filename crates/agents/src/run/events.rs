//! What a run tells its caller on its way, and the stream that carries it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use craton_api_bedrock_agent_runtime as api;
use craton_wire::ApiError;
use craton_wire::types::Blob;
use futures::Stream;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

/// One event of either operation's stream.
#[derive(Debug)]
pub(super) enum RunEvent {
    /// A piece of the answer, and what it rests on.
    Chunk {
        text: String,
        citations: Vec<api::Citation>,
    },
    Trace(Box<api::TracePart>),
    ReturnControl(api::ReturnControlPayload),
    Files(Vec<api::OutputFile>),
}

/// Events that wait to be taken. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Feed(Arc<Mutex<VecDeque<RunEvent>>>);

impl Feed {
    pub(super) fn send(&self, event: RunEvent) {
        self.0.lock().push_back(event);
    }

    fn take(&self) -> Option<RunEvent> {
        self.0.lock().pop_front()
    }
}

/// A run and what it tells. The run goes on only while somebody reads, and dropping the stream ends it and all that it
/// waits for: nothing of it runs elsewhere.
pub(super) struct RunStream {
    feed: Feed,
    state: Arc<Mutex<State>>,
    _watch: AbortOnDropHandle<()>,
}

struct State {
    work: Option<BoxFuture<'static, Result<(), ApiError>>>,
    failure: Option<ApiError>,
}

impl RunStream {
    /// After `limit` the run ends even where nobody reads: a run's own limits are looked at only while somebody does,
    /// and it may hold a model, a session and a sandbox.
    pub(super) fn new(
        feed: Feed,
        work: BoxFuture<'static, Result<(), ApiError>>,
        (limit, failure): (Duration, ApiError),
    ) -> Self {
        let state = Arc::new(Mutex::new(State { work: Some(work), failure: None }));
        let watched = Arc::clone(&state);
        let watch = tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            let work = watched.lock().work.take();
            if work.is_some() {
                watched.lock().failure = Some(failure);
            }
        });
        Self { feed, state, _watch: AbortOnDropHandle::new(watch) }
    }
}

impl Drop for RunStream {
    /// The watch may hold the state for a moment longer; the work goes now.
    fn drop(&mut self) {
        let work = self.state.lock().work.take();
        drop(work);
    }
}

impl Stream for RunStream {
    type Item = Result<RunEvent, ApiError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.feed.take() {
            return Poll::Ready(Some(Ok(event)));
        }
        let mut waiting = false;
        let mut state = self.state.lock();
        if let Some(work) = &mut state.work {
            match work.as_mut().poll(context) {
                Poll::Pending => waiting = true,
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

fn bytes(text: String) -> Option<Blob> {
    Some(Blob(Bytes::from(text)))
}

fn attribution(citations: Vec<api::Citation>) -> Option<api::Attribution> {
    (!citations.is_empty()).then_some(api::Attribution { citations: Some(citations) })
}

impl From<RunEvent> for api::ResponseStream {
    fn from(event: RunEvent) -> Self {
        match event {
            RunEvent::Chunk { text, citations } => {
                Self::Chunk(api::PayloadPart { attribution: attribution(citations), bytes: bytes(text) })
            }
            RunEvent::Trace(trace) => Self::Trace(*trace),
            RunEvent::ReturnControl(payload) => Self::ReturnControl(payload),
            RunEvent::Files(files) => Self::Files(api::FilePart { files: Some(files) }),
        }
    }
}

/// The same events as InvokeInlineAgent names them.
impl From<RunEvent> for api::InlineAgentResponseStream {
    fn from(event: RunEvent) -> Self {
        match event {
            RunEvent::Chunk { text, citations } => Self::Chunk(api::InlineAgentPayloadPart {
                attribution: attribution(citations),
                bytes: bytes(text),
            }),
            RunEvent::Trace(trace) => Self::Trace(api::InlineAgentTracePart {
                caller_chain: trace.caller_chain,
                collaborator_name: trace.collaborator_name,
                event_time: trace.event_time,
                session_id: trace.session_id,
                trace: trace.trace,
            }),
            RunEvent::ReturnControl(payload) => Self::ReturnControl(api::InlineAgentReturnControlPayload {
                invocation_id: payload.invocation_id,
                invocation_inputs: payload.invocation_inputs,
            }),
            RunEvent::Files(files) => Self::Files(api::InlineAgentFilePart { files: Some(files) }),
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

    fn chunk(text: &str) -> RunEvent {
        RunEvent::Chunk { text: text.into(), citations: Vec::new() }
    }

    #[tokio::test]
    async fn events_come_in_order_and_a_failure_last() {
        let feed = Feed::default();
        let told = feed.clone();
        let work = async move {
            told.send(chunk("a"));
            tokio::task::yield_now().await;
            told.send(chunk("b"));
            Err(ApiError::throttling("full"))
        };
        let mut seen = Vec::new();
        let mut stream = RunStream::new(feed, work.boxed(), late(60));
        while let Some(event) = stream.next().await {
            seen.push(match event {
                Ok(RunEvent::Chunk { text, .. }) => text,
                Ok(other) => format!("{other:?}"),
                Err(error) => error.code.into_owned(),
            });
        }
        assert_eq!(seen, ["a", "b", "ThrottlingException"]);
    }

    #[tokio::test]
    async fn dropping_the_stream_drops_the_work() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let work = async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        };
        let mut stream = RunStream::new(Feed::default(), work.boxed(), late(60));
        assert!(stream.next().now_or_never().is_none());
        assert_eq!(Arc::strong_count(&held), 2);
        drop(stream);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn a_caller_who_does_not_read_holds_the_work_only_so_long() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let work = async move {
            std::future::pending::<()>().await;
            drop(inside);
            Ok(())
        };
        let limit = (Duration::from_millis(200), ApiError::throttling("late"));
        let mut stream = RunStream::new(Feed::default(), work.boxed(), limit);
        assert!(stream.next().now_or_never().is_none());
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(Arc::strong_count(&held), 2);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(Arc::strong_count(&held), 1, "it is let go though the stream is there");
        assert_eq!(stream.next().await.expect("an end").unwrap_err().code, "ThrottlingException");
    }
}
