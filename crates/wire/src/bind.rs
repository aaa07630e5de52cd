//! A routed request → one JSON object with every member of the input, validated, then typed.
//!
//! Members travel in labels, the query, headers and the body; once bound they look alike. The body is parsed once and
//! its strings are moved into the typed input, not copied; a blob payload is never parsed at all.

use std::borrow::Cow;

use bytes::Bytes;
use craton_core::{IdSource as _, RandomIds};
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Number, Value};

use crate::error::ApiError;
use crate::operation::Input;
use crate::query;
use crate::route::Match;
use crate::table::{Location, Member, Operation, Protocol, ServiceTable, Shape, ShapeId};
use crate::validate::{serialization_error, validate};

/// Most `name=value` pairs a query may have.
const MAX_QUERY_PAIRS: usize = 1_000;

/// A request whose constraints hold, ready to become its operation's input.
#[derive(Debug)]
pub struct Bound {
    pub table: &'static ServiceTable,
    pub operation: &'static Operation,
    document: Map<String, Value>,
    payload: Option<Bytes>,
}

impl Bound {
    /// Every bound member by name; a blob payload is not among them.
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// The raw body, where the operation's payload is a blob or an event stream.
    pub fn payload(&self) -> Option<&Bytes> {
        self.payload.as_ref()
    }

    /// The typed input.
    ///
    /// An error only where a table and its types disagree, since validation has run.
    pub fn into_input<I: Input>(self) -> Result<I, ApiError> {
        let mut input: I = serde_json::from_value(Value::Object(self.document))
            .map_err(|error| ApiError::new("SerializationException", error.to_string()))?;
        if let Some(payload) = self.payload {
            input.set_payload(payload);
        }
        Ok(input)
    }
}

/// A request whose members are read, and not looked at any further.
#[derive(Debug)]
pub struct Unchecked {
    table: &'static ServiceTable,
    operation: &'static Operation,
    document: Map<String, Value>,
    payload: Option<Bytes>,
}

impl Unchecked {
    /// Every member that was sent, by name. Nothing is known of their values.
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// ValidationException if a constraint is broken.
    pub fn check(self) -> Result<Bound, ApiError> {
        let Self { table, operation, mut document, payload } = self;
        let members = table.input_members(operation);
        validate(table, members, &mut document, payload.as_ref().map(Bytes::len))?;
        Ok(Bound { table, operation, document, payload })
    }
}

/// Binds and validates a routed request. `query` is raw, without its question mark.
///
/// SerializationException if something cannot be read as its modelled type, ValidationException if a constraint is
/// broken.
pub fn bind(found: &Match, query: Option<&str>, headers: &HeaderMap, body: Bytes) -> Result<Bound, ApiError> {
    read(found, query, headers, body)?.check()
}

/// The first half of [`bind`]: collects the members from where they travel.
pub fn read(
    found: &Match,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Unchecked, ApiError> {
    let Match { table, operation, .. } = *found;
    let members = table.input_members(operation);
    let binder = Binder { table, query: query_pairs(query.unwrap_or_default())?, headers, found };
    let (mut document, payload) = match table.protocol {
        Protocol::Query { .. } => (query::document(table, members, query, &body)?, None),
        _ => read_body(table, operation, members, body)?,
    };
    for member in members {
        let value = match member.location {
            Location::Body(_) | Location::Payload => None,
            Location::Label(name) => binder.label(member, name)?,
            Location::Query(name) => binder.query(member, name)?,
            Location::Header(name) => binder.header(member, name)?,
        };
        if let Some(value) = value {
            document.insert(member.name.to_owned(), value);
        }
        if member.idempotency_token && document.get(member.name).is_none_or(Value::is_null) {
            document.insert(member.name.to_owned(), Value::String(RandomIds.uuid()));
        }
    }
    Ok(Unchecked { table, operation, document, payload })
}

/// The members that the body carries, and the body itself where it is a blob or a stream.
fn read_body(
    table: &'static ServiceTable,
    operation: &'static Operation,
    members: &'static [Member],
    body: Bytes,
) -> Result<(Map<String, Value>, Option<Bytes>), ApiError> {
    if let Some(name) = operation.payload {
        let member = members.iter().find(|member| member.name == name);
        return match member.map(|member| table.shape(member.shape)) {
            Some(Shape::Blob { .. } | Shape::EventStream) => Ok((Map::new(), Some(body))),
            _ => {
                let mut document = Map::new();
                if !is_blank(&body) {
                    document.insert(name.to_owned(), parse(&body)?);
                }
                Ok((document, None))
            }
        };
    }
    let in_body = |member: &Member| matches!(member.location, Location::Body(_));
    if is_blank(&body) || !members.iter().any(in_body) {
        return Ok((Map::new(), None));
    }
    match parse(&body)? {
        Value::Object(mut document) => {
            // What belongs elsewhere is not taken from the body.
            for member in members.iter().filter(|member| !in_body(member)) {
                document.shift_remove(member.name);
            }
            Ok((document, None))
        }
        _ => Err(ApiError::new("SerializationException", "The request body is not a JSON object")),
    }
}

fn is_blank(body: &[u8]) -> bool {
    body.iter().all(u8::is_ascii_whitespace)
}

/// JSON, at most 128 levels deep (serde_json's own limit).
fn parse(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::new("SerializationException", format!("Could not parse request body into json: {error}"))
    })
}

/// Decoded names and values, in order.
pub(crate) type QueryPairs<'q> = Vec<(Cow<'q, str>, Cow<'q, str>)>;

struct Binder<'r> {
    table: &'static ServiceTable,
    query: QueryPairs<'r>,
    headers: &'r HeaderMap,
    found: &'r Match,
}

impl Binder<'_> {
    fn label(&self, member: &'static Member, name: &str) -> Result<Option<Value>, ApiError> {
        self.found.label(name).map(|text| self.parse(member, member.shape, text)).transpose()
    }

    fn query(&self, member: &'static Member, name: &str) -> Result<Option<Value>, ApiError> {
        let mut values = self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
        if let Shape::List { member: item, .. } = self.table.shape(member.shape) {
            let items = values.map(|text| self.parse(member, *item, text)).collect::<Result<Vec<_>, _>>()?;
            return Ok((!items.is_empty()).then_some(Value::Array(items)));
        }
        values.next().map(|text| self.parse(member, member.shape, text)).transpose()
    }

    fn header(&self, member: &'static Member, name: &str) -> Result<Option<Value>, ApiError> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| serialization_error("The header is not UTF-8", &member.name))?
            .trim();
        if let Shape::List { member: item, .. } = self.table.shape(member.shape) {
            let items = text.split(',').map(|text| self.parse(member, *item, text.trim()));
            return Ok(Some(Value::Array(items.collect::<Result<Vec<_>, _>>()?)));
        }
        self.parse(member, member.shape, text).map(Some)
    }

    /// Text from outside the body as the JSON of its shape.
    fn parse(&self, member: &'static Member, shape: ShapeId, text: &str) -> Result<Value, ApiError> {
        let parsed = match self.table.shape(shape) {
            Shape::Integer { .. } => {
                text.parse().ok().map(|number: i64| Value::Number(number.into())).ok_or("an Integer")
            }
            Shape::Float { .. } => {
                text.parse().ok().and_then(Number::from_f64).map(Value::Number).ok_or("a Float")
            }
            Shape::Boolean => match text {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err("a Boolean"),
            },
            // Strings, and timestamps, which validation parses.
            _ => Ok(Value::String(text.to_owned())),
        };
        parsed.map_err(|expected| {
            serialization_error(&format!("STRING_VALUE can not be converted to {expected}"), &member.name)
        })
    }
}

pub(crate) fn query_pairs(query: &str) -> Result<QueryPairs<'_>, ApiError> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut decoded = Vec::new();
    for pair in pairs {
        if decoded.len() == MAX_QUERY_PAIRS {
            return Err(ApiError::validation("The query has too many parameters."));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decoded.push((decode_query(name)?, decode_query(value)?));
    }
    Ok(decoded)
}

fn decode_query(text: &str) -> Result<Cow<'_, str>, ApiError> {
    let invalid = |_| ApiError::new("SerializationException", "The query is not valid: it is not UTF-8.");
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Ok(Cow::Owned(percent_decode_str(&spaced).decode_utf8().map_err(invalid)?.into_owned()));
    }
    percent_decode_str(text).decode_utf8().map_err(invalid)
}
