//! Answers as server-sent events.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use craton_backend::ChatEvent;
use craton_inference::ActiveChat;
use craton_wire::ApiError;
use futures::Stream;
use http::{HeaderValue, Response, header};
use serde_json::Value;

use crate::body::{Body, BodyError};
use crate::pipeline::shutting_down;
use crate::transport::Shutdown;

/// Events that are ready together are sent together, up to about this many bytes.
const BATCH_BYTES: usize = 16 * 1024;

/// How one of the APIs writes a stream.
pub(super) trait Dialogue: Send + Unpin + 'static {
    /// The events that one of the backend's gives rise to.
    fn push(&mut self, event: &ChatEvent) -> Result<Vec<Value>, ApiError>;

    /// The event that ends a stream which can't go on.
    fn fail(&mut self, error: &ApiError) -> Value;

    /// The `event:` field of an event; None for APIs that have none.
    fn name(event: &Value) -> Option<&str>;

    /// Data of a last event after a whole answer.
    const END: Option<&'static str>;
}

/// The response to a streaming call.
pub(super) fn response<D: Dialogue>(chat: ActiveChat, dialogue: D, shutdown: Shutdown) -> Response<Body> {
    let events = EventStream { chat: Some(chat), dialogue, ending: Box::pin(shutdown.into_ending()) };
    let mut response = Response::new(Body::stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// An answer on its way to the client. Dropping it cancels the answer.
struct EventStream<D> {
    /// None once the last event is out.
    chat: Option<ActiveChat>,
    dialogue: D,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<D: Dialogue> EventStream<D> {
    /// Writes what one poll of the answer brought. True: the stream goes on.
    fn write(&mut self, polled: Option<Result<ChatEvent, ApiError>>, out: &mut String) -> bool {
        let pushed = match polled {
            Some(Ok(event)) => self.dialogue.push(&event),
            Some(Err(error)) => Err(error),
            None => {
                if let Some(end) = D::END {
                    // Writing to a string can't fail.
                    let _ = write!(out, "data: {end}\n\n");
                }
                return false;
            }
        };
        match pushed {
            Ok(events) => {
                events.iter().for_each(|event| write_event::<D>(event, out));
                true
            }
            Err(error) => {
                write_event::<D>(&self.dialogue.fail(&error), out);
                false
            }
        }
    }
}

fn write_event<D: Dialogue>(event: &Value, out: &mut String) {
    if let Some(name) = D::name(event) {
        let _ = writeln!(out, "event: {name}");
    }
    let _ = write!(out, "data: {event}\n\n");
}

impl<D: Dialogue> Stream for EventStream<D> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut out = String::new();
        while out.len() < BATCH_BYTES {
            let Some(chat) = &mut self.chat else { break };
            let polled = match Pin::new(chat).poll_next(context) {
                Poll::Ready(polled) => polled,
                Poll::Pending => match self.ending.as_mut().poll(context) {
                    Poll::Pending => break,
                    Poll::Ready(()) => Some(Err(shutting_down())),
                },
            };
            if !self.write(polled, &mut out) {
                self.chat = None;
            }
        }
        match (out.is_empty(), &self.chat) {
            (false, _) => Poll::Ready(Some(Ok(Bytes::from(out)))),
            (true, Some(_)) => Poll::Pending,
            (true, None) => Poll::Ready(None),
        }
    }
}
