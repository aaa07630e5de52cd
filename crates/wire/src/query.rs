//! The query protocol's requests: a form (or, in a GET, the query string) whose names are paths into the input:
//! `Tags.member.1.Key=team`. The table's shapes say which part of a path is a member, an index or a map's entry.
//!
//! Sizes are bounded before anything is built: pairs, the depth of a path and, through the body's limit, the rest.

use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::{Map, Number, Value};

use crate::bind::query_pairs;
use crate::error::ApiError;
use crate::route::Match;
use crate::table::{Location, Member, Protocol, ServiceTable, Shape, ShapeId};
use crate::validate::serialization_error;

/// Most parts of one name.
const MAX_DEPTH: usize = 32;

/// The operation that a request to a query service names, in its body or its query string.
///
/// UnknownOperationException for an action nobody has heard of, MissingAction for none at all.
pub fn find(table: &'static ServiceTable, query: Option<&str>, body: &Bytes) -> Result<Match, ApiError> {
    let mut action = None;
    let mut version = None;
    for (name, value) in query_pairs(text(query, body)?)? {
        match name.as_ref() {
            "Action" => action = Some(value),
            "Version" => version = Some(value),
            _ => {}
        }
    }
    let Some(action) = action else {
        return Err(ApiError::new("MissingAction", "The request names no Action."));
    };
    let shown = |text: &str| text.chars().filter(char::is_ascii_graphic).take(128).collect::<String>();
    let known = match (table.protocol, &version) {
        (Protocol::Query { api_version, .. }, Some(version)) => version == api_version,
        _ => true,
    };
    let operation = table.operation(&action).filter(|_| known).ok_or_else(|| {
        let version = version.map(|version| shown(&version)).unwrap_or_default();
        ApiError::unknown_operation(format!(
            "Could not find operation {} for version {version}",
            shown(&action)
        ))
    })?;
    Ok(Match::named(table, operation))
}

/// The input that the form spells, in the form that validation expects. Names that are no members are passed over.
pub(crate) fn document(
    table: &'static ServiceTable,
    members: &'static [Member],
    query: Option<&str>,
    body: &Bytes,
) -> Result<Map<String, Value>, ApiError> {
    let mut root = Node::default();
    for (name, value) in query_pairs(text(query, body)?)? {
        root.insert(&name, &value)?;
    }
    structure(table, members, &root)
}

/// The form: the body, or the query string of a request without one.
fn text<'r>(query: Option<&'r str>, body: &'r Bytes) -> Result<&'r str, ApiError> {
    if body.is_empty() {
        return Ok(query.unwrap_or_default());
    }
    std::str::from_utf8(body)
        .map_err(|_| ApiError::new("SerializationException", "The request body is not UTF-8."))
}

/// A tree of the names' parts.
#[derive(Default)]
struct Node {
    value: Option<String>,
    children: IndexMap<String, Node>,
}

impl Node {
    fn insert(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        let mut at = self;
        for (depth, part) in name.split('.').enumerate() {
            if depth == MAX_DEPTH {
                return Err(ApiError::new(
                    "SerializationException",
                    "A parameter's name has too many parts.",
                ));
            }
            at = at.children.entry(part.to_owned()).or_default();
        }
        at.value = Some(value.to_owned());
        Ok(())
    }

    /// The items of a list in their order: below `member` or, flattened, right here.
    fn items(&self, wrapper: &str) -> Result<Vec<&Node>, ApiError> {
        let list = self.children.get(wrapper).unwrap_or(self);
        let mut items = Vec::with_capacity(list.children.len());
        for (index, child) in &list.children {
            let number: u32 = index
                .parse()
                .ok()
                .filter(|_| !index.starts_with(['0', '+']))
                .ok_or_else(|| serialization_error("A list's items are numbered from 1", &wrapper))?;
            items.push((number, child));
        }
        items.sort_by_key(|(number, _)| *number);
        Ok(items.into_iter().map(|(_, child)| child).collect())
    }
}

fn structure(
    table: &'static ServiceTable,
    members: &'static [Member],
    node: &Node,
) -> Result<Map<String, Value>, ApiError> {
    let mut object = Map::new();
    for member in members {
        let name = match member.location {
            Location::Body(name) => name,
            _ => member.name,
        };
        if let Some(child) = node.children.get(name) {
            object.insert(member.name.to_owned(), value(table, member.shape, child, member.name)?);
        }
    }
    Ok(object)
}

fn value(table: &'static ServiceTable, id: ShapeId, node: &Node, name: &str) -> Result<Value, ApiError> {
    let shape = table.shape(id);
    match shape {
        Shape::Structure { members } | Shape::Union { members, .. } => {
            structure(table, members, node).map(Value::Object)
        }
        Shape::List { member, .. } => {
            let items = node.items("member")?.into_iter().map(|item| value(table, *member, item, name));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        Shape::Map { value: item, .. } => {
            let mut map = Map::new();
            for entry in node.items("entry")? {
                let key = entry.children.get("key").and_then(|key| key.value.clone());
                let key = key.ok_or_else(|| serialization_error("A map's entry has no key", &name))?;
                if let Some(child) = entry.children.get("value") {
                    map.insert(key, value(table, *item, child, name)?);
                }
            }
            Ok(Value::Object(map))
        }
        _ => {
            let Some(text) = &node.value else {
                return Err(serialization_error(
                    "A parameter with parts stands where a value belongs",
                    &name,
                ));
            };
            scalar(shape, text, name)
        }
    }
}

fn scalar(shape: &Shape, text: &str, name: &str) -> Result<Value, ApiError> {
    let parsed = match shape {
        Shape::Integer { .. } => text.parse().ok().map(|number: i64| Value::Number(number.into())),
        Shape::Float { .. } => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
        Shape::Boolean => match text {
            "true" | "True" => Some(Value::Bool(true)),
            "false" | "False" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => Some(Value::String(text.to_owned())),
    };
    parsed.ok_or_else(|| serialization_error("The value has not the type that is expected", &name))
}
