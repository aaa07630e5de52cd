//! From the bytes of a response to a stream of chat events, for every upstream that streams.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use craton_backend::{BackendError, ChatEvent};
use futures::Stream;

use crate::http::Body;

/// Turns an upstream's own stream format into chat events.
pub(crate) trait Decoder: Send + Unpin {
    /// Takes the next piece of the response and adds the events it completes. True: the answer is complete, and what
    /// may follow is of no interest.
    fn push(&mut self, piece: Bytes, events: &mut VecDeque<ChatEvent>) -> Result<bool, BackendError>;

    /// The response has ended. Errors if the answer had not.
    fn end(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<(), BackendError>;
}

/// A chat stream over a response body. Dropping it closes the connection unless the answer was complete.
pub(crate) struct Pump<D> {
    body: Option<Body>,
    decoder: D,
    events: VecDeque<ChatEvent>,
    /// Comes after the events.
    error: Option<BackendError>,
}

impl<D: Decoder> Pump<D> {
    pub(crate) fn new(body: Body, decoder: D) -> Self {
        Self { body: Some(body), decoder, events: VecDeque::new(), error: None }
    }
}

impl<D: Decoder> Stream for Pump<D> {
    type Item = Result<ChatEvent, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.events.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if let Some(error) = this.error.take() {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            let done = match body.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(piece))) => this.decoder.push(piece, &mut this.events),
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(None) => this.decoder.end(&mut this.events).map(|()| true),
            };
            match done {
                Ok(false) => {}
                Ok(true) => {
                    if let Some(body) = this.body.take() {
                        body.finish(cx);
                    }
                }
                Err(error) => {
                    this.body = None;
                    this.error = Some(error);
                }
            }
        }
    }
}

/// Feeds a decoder a whole response, a few bytes at a time, and panics unless its events are in the order that
/// [`ChatEvent`] promises, up to the error or the end.
#[cfg(test)]
pub(crate) fn check_order(mut decoder: impl Decoder, response: &[u8]) {
    let mut events = VecDeque::new();
    let mut ended = Ok(false);
    for piece in response.chunks(11) {
        ended = decoder.push(Bytes::copy_from_slice(piece), &mut events);
        if !matches!(ended, Ok(false)) {
            break;
        }
    }
    if matches!(ended, Ok(false)) {
        ended = decoder.end(&mut events).map(|()| true);
    }
    let mut order = craton_backend::contract::Order::default();
    for event in events {
        order.event(event).unwrap();
    }
    if ended.is_ok() {
        order.end().unwrap();
    }
}
