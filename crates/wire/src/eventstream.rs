//! Frames of `application/vnd.amazon.eventstream`: what a streaming answer is made of.
//!
//! A frame is `total length, headers length, CRC-32 of those 8 bytes; headers; payload; CRC-32 of all before it`, all
//! integers big-endian. Bedrock writes string headers only, yet a peer may send any of the ten types, so the decoder
//! reads them all. Everything a peer sends is bounded: a message, its headers, one name and one value each have a
//! limit, and the buffer never grows beyond one message.

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde_json::{Map, Value};

/// Bytes around headers and payload: prelude (8), its checksum (4), the message's checksum (4).
const OVERHEAD: usize = 16;
const PRELUDE: usize = 12;
/// AWS's limit on one message.
pub const MAX_MESSAGE_BYTES: usize = 24 * 1024 * 1024;
/// AWS's limit on a message's headers.
pub const MAX_HEADERS_BYTES: usize = 128 * 1024;
/// Values carry a 15-bit length.
const MAX_VALUE_BYTES: usize = 32_767;
const MAX_NAME_BYTES: usize = 255;

/// One message: headers and a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub headers: Vec<(Cow<'static, str>, HeaderValue)>,
    pub payload: Bytes,
}

/// A header's value, one variant a wire type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    Bool(bool),
    Byte(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Bytes(Bytes),
    String(Cow<'static, str>),
    /// Milliseconds since the Unix epoch.
    Timestamp(i64),
    Uuid([u8; 16]),
}

impl From<&'static str> for HeaderValue {
    fn from(value: &'static str) -> Self {
        Self::String(Cow::Borrowed(value))
    }
}

impl From<String> for HeaderValue {
    fn from(value: String) -> Self {
        Self::String(Cow::Owned(value))
    }
}

impl From<Cow<'static, str>> for HeaderValue {
    fn from(value: Cow<'static, str>) -> Self {
        Self::String(value)
    }
}

/// Why a frame could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("an event stream message of {0} bytes is over the limit")]
    MessageTooLong(usize),
    #[error("event stream headers of {0} bytes are over the limit")]
    HeadersTooLong(usize),
    #[error("the event stream header '{0}' is too long")]
    HeaderTooLong(String),
    #[error("event stream lengths contradict each other")]
    Lengths,
    #[error("the checksum of an event stream {0} does not match")]
    Checksum(&'static str),
    #[error("an event stream header is malformed: {0}")]
    Header(&'static str),
    #[error("the event stream ended inside a message")]
    Truncated,
}

impl Frame {
    /// An event of a modelled stream. `event_type` is the member's name in the stream's union.
    pub fn event(event_type: &'static str, content_type: &'static str, payload: Bytes) -> Self {
        Self {
            headers: vec![
                (Cow::Borrowed(":event-type"), event_type.into()),
                (Cow::Borrowed(":content-type"), content_type.into()),
                (Cow::Borrowed(":message-type"), "event".into()),
            ],
            payload,
        }
    }

    /// An event with a JSON payload, which all of Bedrock's are.
    pub fn json_event(event_type: &'static str, payload: impl Into<Bytes>) -> Self {
        Self::event(event_type, "application/json", payload.into())
    }

    /// A modelled exception that ends the stream. `exception_type` is the member's name, lower camel case
    /// (`throttlingException`).
    pub fn exception(exception_type: impl Into<Cow<'static, str>>, payload: Bytes) -> Self {
        Self {
            headers: vec![
                (Cow::Borrowed(":exception-type"), HeaderValue::String(exception_type.into())),
                (Cow::Borrowed(":content-type"), "application/json".into()),
                (Cow::Borrowed(":message-type"), "exception".into()),
            ],
            payload,
        }
    }

    /// An error outside the model.
    pub fn error(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            headers: vec![
                (Cow::Borrowed(":error-code"), HeaderValue::String(code.into())),
                (Cow::Borrowed(":error-message"), HeaderValue::String(message.into())),
                (Cow::Borrowed(":message-type"), "error".into()),
            ],
            payload: Bytes::new(),
        }
    }

    /// The value of a string header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).and_then(|(_, value)| match value {
            HeaderValue::String(text) => Some(text.as_ref()),
            _ => None,
        })
    }

    /// `event`, `exception` or `error`.
    pub fn message_type(&self) -> Option<&str> {
        self.header(":message-type")
    }

    /// What a frame that reports a failure says: its code or type, and the message. `None` for events.
    pub fn failure(&self) -> Option<(String, String)> {
        match self.message_type()? {
            "error" => Some((
                self.header(":error-code").unwrap_or_default().to_owned(),
                self.header(":error-message").unwrap_or_default().to_owned(),
            )),
            "exception" => {
                let body: Map<String, Value> = serde_json::from_slice(&self.payload).unwrap_or_default();
                let text = ["message", "Message"].iter().find_map(|key| body.get(*key)?.as_str());
                let code = self.header(":exception-type").unwrap_or_default();
                Some((code.to_owned(), text.unwrap_or_default().to_owned()))
            }
            _ => None,
        }
    }

    /// The frame's bytes, in one allocation.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode_into(&mut out)?;
        Ok(out.freeze())
    }

    /// Bytes that [`Self::encode`] gives.
    pub fn encoded_len(&self) -> usize {
        OVERHEAD + self.headers_len() + self.payload.len()
    }

    /// Appends the frame's bytes; on an error nothing has been appended.
    pub fn encode_into(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        let headers_len = self.headers_len();
        let total = self.encoded_len();
        if headers_len > MAX_HEADERS_BYTES {
            return Err(FrameError::HeadersTooLong(headers_len));
        }
        if total > MAX_MESSAGE_BYTES {
            return Err(FrameError::MessageTooLong(total));
        }
        for (name, value) in &self.headers {
            if name.is_empty() || name.len() > MAX_NAME_BYTES || value.wire_len() > MAX_VALUE_BYTES + 3 {
                return Err(FrameError::HeaderTooLong(name.chars().take(64).collect()));
            }
        }
        out.reserve(total);
        let start = out.len();
        // Both fit: the limits above are far below 2^32.
        out.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
        out.put_u32(u32::try_from(headers_len).unwrap_or(u32::MAX));
        out.put_u32(crc32fast::hash(&out[start..]));
        for (name, value) in &self.headers {
            out.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.put_slice(name.as_bytes());
            value.put(out);
        }
        out.put_slice(&self.payload);
        out.put_u32(crc32fast::hash(&out[start..]));
        Ok(())
    }

    fn headers_len(&self) -> usize {
        self.headers.iter().map(|(name, value)| 1 + name.len() + value.wire_len()).sum()
    }
}

impl HeaderValue {
    /// Bytes on the wire, the type's own byte included.
    fn wire_len(&self) -> usize {
        1 + match self {
            Self::Bool(_) => 0,
            Self::Byte(_) => 1,
            Self::Int16(_) => 2,
            Self::Int32(_) => 4,
            Self::Int64(_) | Self::Timestamp(_) => 8,
            Self::Bytes(bytes) => 2 + bytes.len(),
            Self::String(text) => 2 + text.len(),
            Self::Uuid(_) => 16,
        }
    }

    /// Lengths were checked by the caller.
    fn put(&self, out: &mut BytesMut) {
        match self {
            Self::Bool(true) => out.put_u8(0),
            Self::Bool(false) => out.put_u8(1),
            Self::Byte(value) => {
                out.put_u8(2);
                out.put_i8(*value);
            }
            Self::Int16(value) => {
                out.put_u8(3);
                out.put_i16(*value);
            }
            Self::Int32(value) => {
                out.put_u8(4);
                out.put_i32(*value);
            }
            Self::Int64(value) => {
                out.put_u8(5);
                out.put_i64(*value);
            }
            Self::Bytes(bytes) => put_sized(out, 6, bytes),
            Self::String(text) => put_sized(out, 7, text.as_bytes()),
            Self::Timestamp(value) => {
                out.put_u8(8);
                out.put_i64(*value);
            }
            Self::Uuid(bytes) => {
                out.put_u8(9);
                out.put_slice(bytes);
            }
        }
    }
}

fn put_sized(out: &mut BytesMut, kind: u8, bytes: &[u8]) {
    out.put_u8(kind);
    out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
    out.put_slice(bytes);
}

/// Reads frames from a stream of bytes that arrive in pieces of any size.
///
/// After an error the stream is lost: frames have no marker to find the next one by.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they arrived. Take all frames with [`Self::next_frame`] before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.buffer.len() < PRELUDE {
            return Ok(None);
        }
        let (total, headers_len) = read_prelude(&self.buffer)?;
        if self.buffer.len() < total {
            self.buffer.reserve(total - self.buffer.len());
            return Ok(None);
        }
        let mut message = self.buffer.split_to(total).freeze();
        let checked = message.len() - 4;
        if crc32fast::hash(&message[..checked]) != read_u32(&message[checked..]) {
            return Err(FrameError::Checksum("message"));
        }
        message.truncate(checked);
        message.advance(PRELUDE);
        let headers = read_headers(message.split_to(headers_len))?;
        Ok(Some(Frame { headers, payload: message }))
    }

    /// To be called when the bytes have ended: a rest that is no whole frame is an error.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.buffer.is_empty() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

/// Total and headers lengths of the message that `bytes` (at least [`PRELUDE`] long) begins with.
fn read_prelude(bytes: &[u8]) -> Result<(usize, usize), FrameError> {
    if crc32fast::hash(&bytes[..8]) != read_u32(&bytes[8..]) {
        return Err(FrameError::Checksum("prelude"));
    }
    let total = read_u32(bytes) as usize;
    let headers_len = read_u32(&bytes[4..]) as usize;
    if total > MAX_MESSAGE_BYTES {
        return Err(FrameError::MessageTooLong(total));
    }
    if headers_len > MAX_HEADERS_BYTES {
        return Err(FrameError::HeadersTooLong(headers_len));
    }
    if total < OVERHEAD + headers_len {
        return Err(FrameError::Lengths);
    }
    Ok((total, headers_len))
}

fn read_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn read_headers(mut rest: Bytes) -> Result<Vec<(Cow<'static, str>, HeaderValue)>, FrameError> {
    let mut headers = Vec::with_capacity(4);
    while rest.has_remaining() {
        let length = usize::from(rest.get_u8());
        if length == 0 || rest.remaining() <= length {
            return Err(FrameError::Header("bad name length"));
        }
        let name = text(rest.split_to(length))?;
        headers.push((name, read_value(&mut rest)?));
    }
    Ok(headers)
}

fn read_value(rest: &mut Bytes) -> Result<HeaderValue, FrameError> {
    let kind = rest.get_u8();
    let fixed = match kind {
        0 | 1 => 0,
        2 => 1,
        3 | 6 | 7 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        _ => return Err(FrameError::Header("unknown type")),
    };
    if rest.remaining() < fixed {
        return Err(FrameError::Header("value cut short"));
    }
    Ok(match kind {
        0 => HeaderValue::Bool(true),
        1 => HeaderValue::Bool(false),
        2 => HeaderValue::Byte(rest.get_i8()),
        3 => HeaderValue::Int16(rest.get_i16()),
        4 => HeaderValue::Int32(rest.get_i32()),
        5 => HeaderValue::Int64(rest.get_i64()),
        6 => HeaderValue::Bytes(read_sized(rest)?),
        7 => HeaderValue::String(text(read_sized(rest)?)?),
        8 => HeaderValue::Timestamp(rest.get_i64()),
        _ => {
            let mut uuid = [0; 16];
            rest.copy_to_slice(&mut uuid);
            HeaderValue::Uuid(uuid)
        }
    })
}

/// A value behind its 16-bit length, which the caller has seen to be there.
fn read_sized(rest: &mut Bytes) -> Result<Bytes, FrameError> {
    let length = usize::from(rest.get_u16());
    if length > MAX_VALUE_BYTES || length > rest.remaining() {
        return Err(FrameError::Header("bad value length"));
    }
    Ok(rest.split_to(length))
}

fn text(bytes: Bytes) -> Result<Cow<'static, str>, FrameError> {
    // Known names and values cost no allocation.
    const COMMON: [&str; 8] = [
        ":event-type",
        ":content-type",
        ":message-type",
        "event",
        "application/json",
        "chunk",
        "contentBlockDelta",
        ":exception-type",
    ];
    let text = std::str::from_utf8(&bytes).map_err(|_| FrameError::Header("not UTF-8"))?;
    Ok(match COMMON.iter().find(|common| **common == text) {
        Some(common) => Cow::Borrowed(*common),
        None => Cow::Owned(text.to_owned()),
    })
}
