//! What generated outputs use to become a [`Reply`] and generated events a [`Frame`].

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::error::ApiError;
use crate::eventstream::Frame;
use crate::operation::{Event, EventStream, Reply, ReplyBody};

impl Reply {
    /// A JSON document.
    pub fn json<T: Serialize>(value: &T) -> Result<Self, ApiError> {
        Ok(Self { status: None, headers: Vec::new(), body: ReplyBody::Bytes(to_json(value)?) })
    }

    /// The inside of a query's result.
    pub fn xml<T: Serialize>(value: &T) -> Result<Self, ApiError> {
        let text = crate::xml::to_string(value)?;
        Ok(Self { status: None, headers: Vec::new(), body: ReplyBody::Bytes(text.into()) })
    }

    /// Raw bytes; their content type is one of the headers.
    pub fn bytes(body: Bytes) -> Self {
        Self { status: None, headers: Vec::new(), body: ReplyBody::Bytes(body) }
    }

    /// A stream of modelled events.
    pub fn events<E: Event>(events: EventStream<E>) -> Self {
        let frames = events.map(|event| event.and_then(Event::into_frame));
        Self { status: None, headers: Vec::new(), body: ReplyBody::Events(Box::pin(frames)) }
    }

    /// Takes the status from the output, where it has one.
    pub fn with_status(mut self, status: Option<i32>) -> Result<Self, ApiError> {
        if let Some(status) = status {
            let valid = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
            let valid =
                valid.ok_or_else(|| ApiError::internal(format!("The status {status} cannot be sent.")))?;
            self.status = Some(valid);
        }
        Ok(self)
    }

    /// Adds a header where the output has a value for it. `name` is in lower case.
    ///
    /// An error if the value has characters that no header can carry.
    pub fn with_header(mut self, name: &'static str, value: Option<&str>) -> Result<Self, ApiError> {
        if let Some(value) = value {
            let value = HeaderValue::from_str(value)
                .map_err(|_| ApiError::internal(format!("The value of header {name} cannot be sent.")))?;
            self.headers.push((HeaderName::from_static(name), value));
        }
        Ok(self)
    }
}

/// The frame of one event whose payload is JSON.
pub fn event<T: Serialize>(event_type: &'static str, payload: &T) -> Result<Frame, ApiError> {
    Ok(Frame::json_event(event_type, to_json(payload)?))
}

fn to_json<T: Serialize>(value: &T) -> Result<Bytes, ApiError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| ApiError::internal(format!("The answer cannot be written as JSON: {error}")))
}
