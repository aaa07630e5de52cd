//! Frames of `application/vnd.amazon.eventstream`.

use bytes::Bytes;

/// One message: string headers (the only kind Bedrock uses) and a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub headers: Vec<(String, String)>,
    pub payload: Bytes,
}
