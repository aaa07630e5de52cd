//! Small pieces of Rust source.

use super::model::{Kind, Model, Shape};
use super::names;

/// `Some(3)` or `None`.
pub(crate) fn option<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| format!("Some({value})"))
}

/// A float literal.
pub(crate) fn float(number: &serde_json::Number) -> String {
    let text = number.to_string();
    if text.contains(['.', 'e', 'E']) { text } else { format!("{text}.0") }
}

/// The Rust type that stands for a shape.
pub(crate) fn rust_type(model: &Model, name: &str) -> anyhow::Result<String> {
    let shape = model.shape(name)?;
    Ok(match shape.kind {
        Kind::Structure if shape.document => "Value".to_owned(),
        Kind::Structure => names::pascal(name),
        Kind::String if !shape.values.is_empty() => names::pascal(name),
        Kind::String => "String".to_owned(),
        Kind::Integer => "i32".to_owned(),
        Kind::Long => "i64".to_owned(),
        Kind::Float => "f32".to_owned(),
        Kind::Double => "f64".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Timestamp => "Timestamp".to_owned(),
        Kind::Blob => "Blob".to_owned(),
        Kind::List => format!("Vec<{}>", rust_type(model, part(shape.member.as_ref())?)?),
        Kind::Map => format!("Map<{}>", rust_type(model, part(shape.value.as_ref())?)?),
    })
}

/// The type of a member of `owner`: boxed where the structures contain each other.
pub(crate) fn member_type(model: &Model, owner: &str, member: &str) -> anyhow::Result<String> {
    let plain = rust_type(model, member)?;
    let nested = model.shape(member)?.kind == Kind::Structure && !model.shape(member)?.document;
    Ok(if nested && model.contains(member, owner) { format!("Box<{plain}>") } else { plain })
}

/// Whether the Rust type of the shape has a `Default` that is not an invented value.
pub(crate) fn has_default(model: &Model, name: &str) -> anyhow::Result<bool> {
    let shape = model.shape(name)?;
    Ok(match shape.kind {
        Kind::Structure if shape.document => true,
        Kind::Structure if shape.union || shape.eventstream => false,
        Kind::Structure => structure_has_default(model, shape)?,
        Kind::String => shape.values.is_empty(),
        _ => true,
    })
}

fn structure_has_default(model: &Model, shape: &Shape) -> anyhow::Result<bool> {
    for (member, reference) in &shape.fields {
        if shape.is_required(member) && !has_default(model, &reference.shape)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(crate) fn part(reference: Option<&super::model::Reference>) -> anyhow::Result<&str> {
    reference
        .map(|reference| reference.shape.as_str())
        .ok_or_else(|| anyhow::anyhow!("a list or map has parts"))
}
