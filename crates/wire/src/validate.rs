//! The constraints of a service's model, checked on the bound JSON document with AWS's own messages.
//!
//! Types are checked first, as AWS's deserializer does: a wrong one ends with SerializationException. Broken
//! constraints are gathered, in the model's order, into one ValidationException. On the way the document is brought
//! to the form that typed deserialization expects: nulls and unknown members leave unions and maps, whole floats
//! become integers.

use std::fmt::{self, Write as _};

use serde_json::{Map, Number, Value};

use crate::error::ApiError;
use crate::table::{Location, Member, Pattern, ServiceTable, Shape, ShapeId};
use crate::types::Timestamp;

/// More broken constraints than this are not counted: a message is for people.
const MAX_VIOLATIONS: usize = 50;

/// Longest value a message quotes, in characters.
const MAX_QUOTED_LEN: usize = 1024;

/// Checks the members of an operation's input. `document` holds every member under its name, wherever it came from,
/// but for a payload that is a blob or a stream: of that only its length in bytes is known.
pub fn validate(
    table: &'static ServiceTable,
    members: &'static [Member],
    document: &mut Map<String, Value>,
    payload_len: Option<usize>,
) -> Result<(), ApiError> {
    let mut validator = Validator { table, payload_len, violations: Vec::new(), union_error: None };
    validator.structure(members, document, Path::ROOT)?;
    let Validator { violations, union_error, .. } = validator;
    match (violations.len(), union_error) {
        (0, None) => Ok(()),
        (0, Some(message)) => Err(ApiError::validation(message)),
        (1, _) => Err(ApiError::validation(format!("1 validation error detected: {}", violations[0]))),
        (count, _) => Err(ApiError::validation(format!(
            "{count} validation errors detected: {}",
            violations.join("; ")
        ))),
    }
}

/// A SerializationException that says where.
pub(crate) fn serialization_error(problem: &str, path: &dyn fmt::Display) -> ApiError {
    ApiError::new("SerializationException", format!("{problem} at '{path}'"))
}

struct Validator {
    table: &'static ServiceTable,
    payload_len: Option<usize>,
    violations: Vec<String>,
    /// The first union with no member or several; told only if nothing else is wrong.
    union_error: Option<String>,
}

/// Where in the document: a list on the stack, written out only for messages.
#[derive(Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Member(&'p str),
    /// Zero-based; constraint messages count from one and add `.member`.
    Index(usize),
    Key(&'p str),
}

impl Path<'_> {
    const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    fn then<'p>(&'p self, step: Step<'p>) -> Path<'p> {
        Path { parent: Some(self), step }
    }

    fn write(&self, out: &mut String, zero_based: bool) {
        if let Some(parent) = self.parent {
            parent.write(out, zero_based);
        }
        if !out.is_empty() {
            out.push('.');
        }
        // Writing to a String cannot fail.
        let _ = match self.step {
            Step::Root => Ok(()),
            Step::Member(name) => write!(out, "{name}"),
            Step::Index(index) if zero_based => write!(out, "{index}"),
            Step::Index(index) => write!(out, "{}.member", index + 1),
            Step::Key(key) if zero_based => write!(out, "{key}"),
            Step::Key(key) => write!(out, "{key}.member"),
        };
    }
}

/// The form of constraint messages: `tools.1.member.toolSpec.name`.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text, false);
        f.write_str(&text)
    }
}

type Checked = Result<(), ApiError>;

impl Validator {
    fn structure(
        &mut self,
        members: &'static [Member],
        object: &mut Map<String, Value>,
        path: Path<'_>,
    ) -> Checked {
        for member in members {
            let here = path.then(Step::Member(member.name));
            if member.location == Location::Payload
                && let Some(length) = self.payload_len
            {
                if let Shape::Blob { min, max } = self.table.shape(member.shape) {
                    self.length(Quoted::Hidden, length, (*min, *max), &here);
                }
                continue;
            }
            match object.get_mut(member.name) {
                None | Some(Value::Null) => {
                    if member.required {
                        self.broken(Quoted::Null, &here, "Member must not be null");
                    }
                }
                Some(value) => self.value(member.shape, value, here)?,
            }
        }
        Ok(())
    }

    fn union(
        &mut self,
        name: &'static str,
        members: &'static [Member],
        object: &mut Map<String, Value>,
        path: Path<'_>,
    ) -> Checked {
        let known = |key: &str| members.iter().find(|member| member.name == key);
        if object.len() != 1 || object.iter().any(|(key, value)| value.is_null() || known(key).is_none()) {
            object.retain(|key, value| !value.is_null() && known(key).is_some());
        }
        if object.len() != 1 && self.union_error.is_none() {
            let mut place = String::new();
            path.write(&mut place, true);
            let keys: Vec<_> = members.iter().map(|member| member.name).collect();
            let one = if object.is_empty() { "one" } else { "only one" };
            self.union_error = Some(format!(
                "The {name} object at {place} must set {one} of the following keys: {}.",
                keys.join(", ")
            ));
        }
        for (key, value) in object.iter_mut() {
            if let Some(member) = known(key) {
                self.value(member.shape, value, path.then(Step::Member(member.name)))?;
            }
        }
        Ok(())
    }

    fn value(&mut self, shape: ShapeId, value: &mut Value, path: Path<'_>) -> Checked {
        match self.table.shape(shape) {
            Shape::Structure { members } => self.structure(members, expect_object(value, &path)?, path),
            Shape::Union { name, members } => self.union(name, members, expect_object(value, &path)?, path),
            Shape::List { member, min, max } => {
                let items = expect_list(value, &path)?;
                self.length(Quoted::Hidden, items.len(), (*min, *max), &path);
                self.list(*member, items, path)
            }
            Shape::Map { key, value: item, min, max } => {
                let entries = expect_object(value, &path)?;
                entries.retain(|_, entry| {
                    !entry.is_null() || matches!(self.table.shape(*item), Shape::Document)
                });
                self.length(Quoted::Hidden, entries.len(), (*min, *max), &path);
                self.map((*key, *item), entries, path)
            }
            _ => {
                self.scalar(shape, value, &path)?;
                Ok(())
            }
        }
    }

    fn list(&mut self, member: ShapeId, items: &mut [Value], path: Path<'_>) -> Checked {
        let shape = self.table.shape(member);
        let mut item_is_broken = false;
        for (index, item) in items.iter_mut().enumerate() {
            let here = path.then(Step::Index(index));
            if item.is_null() && !matches!(shape, Shape::Document) {
                self.broken(Quoted::Null, &here, "Member must not be null");
            } else if matches!(shape, Shape::String { .. }) {
                let text = expect_string(item, &here)?;
                item_is_broken |= !string_constraints(shape, text).is_empty();
            } else {
                self.value(member, item, here)?;
            }
        }
        if item_is_broken {
            self.broken(
                Quoted::Hidden,
                &path,
                &format!("Member must satisfy constraint: [{}]", describe(shape)),
            );
        }
        Ok(())
    }

    fn map(
        &mut self,
        (key, item): (ShapeId, ShapeId),
        entries: &mut Map<String, Value>,
        path: Path<'_>,
    ) -> Checked {
        let (key_shape, item_shape) = (self.table.shape(key), self.table.shape(item));
        let mut key_is_broken = false;
        let mut item_is_broken = false;
        for (name, entry) in entries.iter_mut() {
            key_is_broken |= !string_constraints(key_shape, name).is_empty();
            let here = path.then(Step::Key(name));
            if matches!(item_shape, Shape::String { .. }) {
                item_is_broken |= !string_constraints(item_shape, expect_string(entry, &here)?).is_empty();
            } else {
                self.value(item, entry, here)?;
            }
        }
        if key_is_broken {
            let constraint = format!("Map keys must satisfy constraint: [{}]", describe(key_shape));
            self.broken(Quoted::Hidden, &path, &constraint);
        }
        if item_is_broken {
            let constraint = format!("Map value must satisfy constraint: [{}]", describe(item_shape));
            self.broken(Quoted::Hidden, &path, &constraint);
        }
        Ok(())
    }

    fn scalar(&mut self, id: ShapeId, value: &mut Value, path: &Path<'_>) -> Checked {
        let shape = self.table.shape(id);
        match shape {
            Shape::String { sensitive, .. } => {
                let text = expect_string(value, path)?;
                let quoted = if *sensitive { Quoted::Hidden } else { Quoted::Text(text) };
                for constraint in string_constraints(shape, text) {
                    self.broken(quoted, path, &constraint);
                }
            }
            Shape::Integer { min, max, long } => {
                let number = expect_integer(value, *long, path)?;
                let (low, high) = (min.filter(|min| number < *min), max.filter(|max| number > *max));
                self.range(
                    &number.to_string(),
                    (low.map(|n| n.to_string()), high.map(|n| n.to_string())),
                    path,
                );
            }
            Shape::Float { min, max } => {
                let number = value.as_f64().ok_or_else(|| wrong_type(value, "a Float", path))?;
                let (low, high) = (min.filter(|min| number < *min), max.filter(|max| number > *max));
                self.range(
                    &value.to_string(),
                    (low.map(|n| n.to_string()), high.map(|n| n.to_string())),
                    path,
                );
            }
            Shape::Boolean if !value.is_boolean() => return Err(wrong_type(value, "a Boolean", path)),
            Shape::Timestamp if !is_timestamp(value) => return Err(wrong_type(value, "a Timestamp", path)),
            Shape::Blob { min, max } => {
                let length = base64_len(expect_string(value, path)?)
                    .ok_or_else(|| serialization_error("The value is not valid base64", path))?;
                self.length(Quoted::Hidden, length, (*min, *max), path);
            }
            _ => {}
        }
        Ok(())
    }

    fn length(
        &mut self,
        quoted: Quoted<'_>,
        length: usize,
        (min, max): (Option<u64>, Option<u64>),
        path: &Path<'_>,
    ) {
        if let Some(constraint) = length_constraint(length, min, max) {
            self.broken(quoted, path, &constraint);
        }
    }

    /// `low` and `high` are the bounds that the number crosses.
    fn range(&mut self, number: &str, (low, high): (Option<String>, Option<String>), path: &Path<'_>) {
        if let Some(min) = low {
            let constraint = format!("Member must have value greater than or equal to {min}");
            self.broken(Quoted::Text(number), path, &constraint);
        }
        if let Some(max) = high {
            let constraint = format!("Member must have value less than or equal to {max}");
            self.broken(Quoted::Text(number), path, &constraint);
        }
    }

    fn broken(&mut self, quoted: Quoted<'_>, path: &Path<'_>, constraint: &str) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations
                .push(format!("Value{quoted} at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }
}

/// How a message shows the value.
#[derive(Clone, Copy)]
enum Quoted<'v> {
    Null,
    Text(&'v str),
    /// Lists, structures and secrets.
    Hidden,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str(" null"),
            Self::Hidden => Ok(()),
            Self::Text(text) => match text.char_indices().nth(MAX_QUOTED_LEN) {
                Some((end, _)) => write!(f, " '{}...'", &text[..end]),
                None => write!(f, " '{text}'"),
            },
        }
    }
}

/// The constraints that a string breaks, in the order AWS lists them. No allocation when there are none.
fn string_constraints(shape: &Shape, text: &str) -> Vec<String> {
    let Shape::String { min, max, pattern, values, .. } = shape else { return Vec::new() };
    let mut broken = Vec::new();
    if !values.is_empty() && !values.contains(&text) {
        broken.push(enum_constraint(values));
    }
    if let Some(pattern) = pattern
        && !pattern.is_match(text)
    {
        broken.push(pattern_constraint(pattern));
    }
    if min.is_some() || max.is_some() {
        broken.extend(length_constraint(text.chars().count(), *min, *max));
    }
    broken
}

fn enum_constraint(values: &[&str]) -> String {
    format!("Member must satisfy enum value set: [{}]", values.join(", "))
}

fn pattern_constraint(pattern: &Pattern) -> String {
    format!("Member must satisfy regular expression pattern: {}", pattern.source())
}

fn min_length_constraint(min: u64) -> String {
    format!("Member must have length greater than or equal to {min}")
}

fn max_length_constraint(max: u64) -> String {
    format!("Member must have length less than or equal to {max}")
}

fn length_constraint(length: usize, min: Option<u64>, max: Option<u64>) -> Option<String> {
    let length = length as u64;
    match (min, max) {
        (Some(min), _) if length < min => Some(min_length_constraint(min)),
        (_, Some(max)) if length > max => Some(max_length_constraint(max)),
        _ => None,
    }
}

/// Everything the shape asks of a list's or map's strings, in the order AWS lists it there.
fn describe(shape: &Shape) -> String {
    let Shape::String { min, max, pattern, values, .. } = shape else { return String::new() };
    let mut all = Vec::new();
    if !values.is_empty() {
        all.push(enum_constraint(values));
    }
    all.extend(max.map(max_length_constraint));
    all.extend(min.map(min_length_constraint));
    all.extend(pattern.map(pattern_constraint));
    all.join(", ")
}

fn expect_object<'v>(value: &'v mut Value, path: &Path<'_>) -> Result<&'v mut Map<String, Value>, ApiError> {
    match value {
        Value::Object(object) => Ok(object),
        Value::Array(_) => Err(serialization_error("Start of list found where not expected", path)),
        _ => Err(serialization_error("Expected a structure or map", path)),
    }
}

fn expect_list<'v>(value: &'v mut Value, path: &Path<'_>) -> Result<&'v mut Vec<Value>, ApiError> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(_) => {
            Err(serialization_error("Start of structure or map found where not expected", path))
        }
        _ => Err(serialization_error("Expected a list", path)),
    }
}

fn expect_string<'v>(value: &'v Value, path: &Path<'_>) -> Result<&'v str, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(other, "a String", path)),
    }
}

/// An integer of 32 or 64 bits; a float without a fraction counts and becomes one.
fn expect_integer(value: &mut Value, long: bool, path: &Path<'_>) -> Result<i64, ApiError> {
    let kind = if long { "a Long" } else { "an Integer" };
    let mut integer = value.as_i64();
    if integer.is_none()
        && let Some(float) = value.as_f64()
        && float.fract() == 0.0
        && float.abs() < 9.0e15
    {
        #[allow(clippy::cast_possible_truncation)] // whole and below 2^53
        let whole = float as i64;
        *value = Value::Number(Number::from(whole));
        integer = Some(whole);
    }
    match integer {
        Some(integer) if long || i32::try_from(integer).is_ok() => Ok(integer),
        _ => Err(wrong_type(value, kind, path)),
    }
}

fn is_timestamp(value: &Value) -> bool {
    match value {
        Value::String(text) => Timestamp::parse(text).is_some(),
        Value::Number(number) => number.as_f64().and_then(Timestamp::from_epoch_s).is_some(),
        _ => false,
    }
}

/// Length in bytes of what standard base64 encodes, padded or not; `None` if the text is not base64.
fn base64_len(text: &str) -> Option<usize> {
    let data = text.trim_end_matches('=').as_bytes();
    let padding = text.len() - data.len();
    let fits = match data.len() % 4 {
        0 => padding == 0,
        1 => false,
        rest => padding == 0 || rest + padding == 4,
    };
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    (fits && data.iter().all(alphabet)).then_some(data.len() / 4 * 3 + (data.len() % 4).saturating_sub(1))
}

fn wrong_type(value: &Value, expected: &str, path: &Path<'_>) -> ApiError {
    let token = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => return serialization_error("Start of list found where not expected", path),
        Value::Object(_) => {
            return serialization_error("Start of structure or map found where not expected", path);
        }
    };
    serialization_error(&format!("{token} can not be converted to {expected}"), path)
}
