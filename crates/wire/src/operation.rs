//! Ties a generated operation to its types, so that a route is one line and a handler is a plain function.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use crate::error::ApiError;
use crate::eventstream::Frame;
use crate::table::{Operation, ServiceTable};

/// A modelled operation. Generated code implements it on one empty type an operation.
pub trait ModelledOperation: Send + Sync + 'static {
    type Input: Input;
    type Output: Output;
    const NAME: &'static str;
    fn service() -> &'static ServiceTable;
    /// Its row in the service's table.
    fn operation() -> &'static Operation;
}

/// Declares the empty types of a service's operations, each with its row in the table.
#[macro_export]
macro_rules! operations {
    ($table:path; $($row:literal $name:ident: $input:ty => $output:ty,)+) => {$(
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl $crate::operation::ModelledOperation for $name {
            type Input = $input;
            type Output = $output;
            const NAME: &'static str = stringify!($name);

            fn service() -> &'static $crate::table::ServiceTable {
                &$table
            }

            fn operation() -> &'static $crate::table::Operation {
                &$table.operations[$row]
            }
        }
    )+

        /// Whether a bound request becomes the input of the operation of this name; `None` if there is no such
        /// operation. For tests that walk the tables. Inline, so that nobody else compiles every input.
        #[inline]
        pub fn read_input(name: &str, bound: $crate::bind::Bound) -> Option<Result<(), $crate::ApiError>> {
            match name {
                $(stringify!($name) => Some(bound.into_input::<$input>().map(drop)),)+
                _ => None,
            }
        }
    };
}

/// An operation's input: labels, query, headers and JSON body, deserialized together.
pub trait Input: DeserializeOwned + Send + 'static {
    /// Receives the raw body when the operation's payload is a blob.
    fn set_payload(&mut self, _payload: Bytes) {}
}

/// An operation's output, ready to be written.
pub trait Output: Send + 'static {
    fn into_reply(self) -> Result<Reply, ApiError>;
}

/// The input of an operation that takes none.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
pub struct NoInput {}

impl Input for NoInput {}

/// The output of an operation that answers nothing.
impl Output for () {
    fn into_reply(self) -> Result<Reply, ApiError> {
        Ok(Reply { status: None, headers: Vec::new(), body: ReplyBody::Empty })
    }
}

/// An output with headers that the service's model does not name, such as InvokeModel's token counts.
pub struct WithHeaders<O> {
    pub output: O,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl<O: Output> Output for WithHeaders<O> {
    fn into_reply(self) -> Result<Reply, ApiError> {
        let mut reply = self.output.into_reply()?;
        reply.headers.extend(self.headers);
        Ok(reply)
    }
}

/// What a handler of an operation may return: its output, with further headers or without.
pub trait OutputOf<O: Output>: Output {}
impl<O: Output> OutputOf<O> for O {}
impl<O: Output> OutputOf<O> for WithHeaders<O> {}

/// What a handler's answer comes down to. Its envelope, request id and usual status are the pipeline's.
pub struct Reply {
    /// Where the output says it; else the operation's own.
    pub status: Option<u16>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: ReplyBody,
}

pub enum ReplyBody {
    Empty,
    /// JSON unless the `content-type` header says otherwise; for the query protocol what goes inside the result.
    Bytes(Bytes),
    /// Sent as an event stream; an error becomes an exception frame and ends it.
    Events(Pin<Box<dyn Stream<Item = Result<Frame, ApiError>> + Send>>),
}

/// Inputs that are one JSON object.
#[macro_export]
macro_rules! plain_inputs {
    ($($name:ident),* $(,)?) => {$(
        impl $crate::operation::Input for $name {}
    )*};
}

/// Outputs that are one JSON object.
#[macro_export]
macro_rules! json_outputs {
    ($($name:ident),* $(,)?) => {$(
        impl $crate::operation::Output for $name {
            #[inline]
            fn into_reply(self) -> Result<$crate::operation::Reply, $crate::ApiError> {
                $crate::operation::Reply::json(&self)
            }
        }
    )*};
}

/// Outputs that are the result of a query.
#[macro_export]
macro_rules! xml_outputs {
    ($($name:ident),* $(,)?) => {$(
        impl $crate::operation::Output for $name {
            #[inline]
            fn into_reply(self) -> Result<$crate::operation::Reply, $crate::ApiError> {
                $crate::operation::Reply::xml(&self)
            }
        }
    )*};
}

/// The member of an output that is a stream of modelled events.
pub type EventStream<E> = Pin<Box<dyn Stream<Item = Result<E, ApiError>> + Send>>;

/// One event of a modelled stream.
pub trait Event: Send + 'static {
    fn into_frame(self) -> Result<Frame, ApiError>;
}
