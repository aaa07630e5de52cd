//! What a generated crate says about its service: one [`ServiceTable`] of plain static data.

/// A service as its model describes it.
#[derive(Debug)]
pub struct ServiceTable {
    /// The client's name for it: `bedrock-runtime`.
    pub name: &'static str,
    /// The service in a credential scope: `bedrock`.
    pub signing_name: &'static str,
    /// Sorted by name.
    pub operations: &'static [Operation],
    /// Shapes, addressed by [`ShapeId`].
    pub shapes: &'static [Shape],
    /// Modelled exceptions and their HTTP statuses, sorted by name.
    pub errors: &'static [(&'static str, u16)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShapeId(pub u16);

#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub method: Method,
    /// `/model/{modelId}/converse`; trailing slashes are significant.
    pub uri: &'static str,
    pub status: u16,
    pub input: Option<ShapeId>,
    /// The member that is the whole request body, if one is.
    pub payload: Option<&'static str>,
    /// The response is an event stream.
    pub streams: bool,
    /// The request is an event stream too (HTTP/2 only).
    pub streams_input: bool,
    /// Exceptions the model lists for it.
    pub errors: &'static [&'static str],
}

/// A shape with the constraints that a server must check.
#[derive(Debug)]
pub enum Shape {
    Structure {
        members: &'static [Member],
    },
    /// Exactly one member must be set.
    Union {
        members: &'static [Member],
    },
    List {
        member: ShapeId,
        min: Option<u64>,
        max: Option<u64>,
    },
    Map {
        key: ShapeId,
        value: ShapeId,
        min: Option<u64>,
        max: Option<u64>,
    },
    String {
        min: Option<u64>,
        max: Option<u64>,
        pattern: Option<&'static str>,
        values: &'static [&'static str],
    },
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    Float {
        min: Option<f64>,
        max: Option<f64>,
    },
    Boolean,
    Timestamp,
    Blob {
        min: Option<u64>,
        max: Option<u64>,
    },
    /// Any JSON.
    Document,
    /// An event stream union: not validated here.
    EventStream,
}

#[derive(Debug)]
pub struct Member {
    /// The member's name in messages and in code.
    pub name: &'static str,
    pub shape: ShapeId,
    pub required: bool,
    pub location: Location,
    /// Filled with a random value when the client leaves it out.
    pub idempotency_token: bool,
}

/// Where a member travels, with its name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    Body(&'static str),
    Label(&'static str),
    Query(&'static str),
    Header(&'static str),
    /// The whole body.
    Payload,
}
