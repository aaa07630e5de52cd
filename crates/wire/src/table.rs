//! What a generated crate says about its service: one [`ServiceTable`] of plain static data.

pub use crate::pattern::Pattern;

/// A service as its model describes it.
#[derive(Debug)]
pub struct ServiceTable {
    /// The client's name for it: `bedrock-runtime`.
    pub name: &'static str,
    /// The service in a credential scope: `bedrock`.
    pub signing_name: &'static str,
    pub protocol: Protocol,
    /// Sorted by name.
    pub operations: &'static [Operation],
    /// Shapes that inputs are made of, addressed by [`ShapeId`].
    pub shapes: &'static [Shape],
    /// Modelled exceptions and their HTTP statuses, sorted by name.
    pub errors: &'static [(&'static str, u16)],
}

impl ServiceTable {
    /// The operation of this name.
    pub fn operation(&self, name: &str) -> Option<&'static Operation> {
        let operations = self.operations;
        let index = operations.binary_search_by(|operation| operation.name.cmp(name)).ok()?;
        operations.get(index)
    }

    /// The HTTP status this service gives the exception, if it models it.
    pub fn error_status(&self, code: &str) -> Option<u16> {
        let index = self.errors.binary_search_by(|(name, _)| (*name).cmp(code)).ok()?;
        self.errors.get(index).map(|(_, status)| *status)
    }

    /// The shape with this id. Ids come from the same generated table, so a missing one reads as any JSON.
    pub fn shape(&self, id: ShapeId) -> &'static Shape {
        let shapes = self.shapes;
        shapes.get(usize::from(id.0)).unwrap_or(&Shape::Document)
    }

    /// The members of the operation's input structure; empty when it has none.
    pub fn input_members(&self, operation: &Operation) -> &'static [Member] {
        match operation.input.map(|id| self.shape(id)) {
            Some(Shape::Structure { members } | Shape::Union { members, .. }) => members,
            _ => &[],
        }
    }
}

/// How a service names an operation, and the form of its requests, answers and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Method and path; JSON.
    RestJson,
    /// `X-Amz-Target: PREFIX.Operation`; JSON.
    Json { target_prefix: &'static str, version: &'static str },
    /// `Action=Operation&Version=…` in a form; XML.
    Query { api_version: &'static str, xmlns: &'static str },
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

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }

    /// The method of a request line; `None` for methods no operation uses.
    pub fn parse(method: &str) -> Option<Self> {
        [Self::Get, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Head]
            .into_iter()
            .find(|candidate| candidate.as_str() == method)
    }
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

impl Operation {
    /// An operation that is named and not served: it has no types.
    pub const fn untyped(name: &'static str, method: Method, uri: &'static str) -> Self {
        Self {
            name,
            method,
            uri,
            status: 200,
            input: None,
            payload: None,
            streams: false,
            streams_input: false,
            errors: &[],
        }
    }
}

/// A shape with the constraints that a server must check.
#[derive(Debug)]
pub enum Shape {
    Structure {
        members: &'static [Member],
    },
    /// Exactly one member must be set.
    Union {
        name: &'static str,
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
        pattern: Option<&'static Pattern>,
        /// The enum's values; empty when it is not one.
        values: &'static [&'static str],
        /// Its value is kept out of messages.
        sensitive: bool,
    },
    Integer {
        min: Option<i64>,
        max: Option<i64>,
        /// 64 bits; otherwise 32.
        long: bool,
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

/// Where a member travels, with its name there. Header names are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    Body(&'static str),
    Label(&'static str),
    Query(&'static str),
    Header(&'static str),
    /// The whole body.
    Payload,
}

/// How generated tables spell members.
impl Member {
    const fn at(name: &'static str, shape: u16, location: Location) -> Self {
        Self { name, shape: ShapeId(shape), required: false, location, idempotency_token: false }
    }

    pub const fn body(name: &'static str, shape: u16) -> Self {
        Self::at(name, shape, Location::Body(name))
    }

    pub const fn label(name: &'static str, wire_name: &'static str, shape: u16) -> Self {
        Self::at(name, shape, Location::Label(wire_name))
    }

    pub const fn query(name: &'static str, wire_name: &'static str, shape: u16) -> Self {
        Self::at(name, shape, Location::Query(wire_name))
    }

    pub const fn header(name: &'static str, wire_name: &'static str, shape: u16) -> Self {
        Self::at(name, shape, Location::Header(wire_name))
    }

    pub const fn payload(name: &'static str, shape: u16) -> Self {
        Self::at(name, shape, Location::Payload)
    }

    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    #[must_use]
    pub const fn idempotency_token(mut self) -> Self {
        self.idempotency_token = true;
        self
    }
}
