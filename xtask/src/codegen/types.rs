//! Structures, unions and sets of strings.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::ensure;

use super::code;
use super::model::{Kind, Model, Reference, Shape};
use super::names;

/// Whether there are sets of strings at all.
pub(crate) fn has_enums(model: &Model) -> bool {
    used(model).any(|(_, shape)| !shape.values.is_empty())
}

/// `enums.rs`: every set of strings.
pub(crate) fn enums(model: &Model) -> anyhow::Result<String> {
    let mut code = "use craton_wire::string_enum;\n\nstring_enum! {\n".to_owned();
    for (name, shape) in used(model) {
        if shape.kind != Kind::String || shape.values.is_empty() {
            continue;
        }
        writeln!(code, "    {} {{", names::pascal(name))?;
        let mut seen = BTreeSet::new();
        for value in &shape.values {
            let variant = names::variant(value);
            ensure!(seen.insert(variant.clone()), "two values of {name} would both be {variant}");
            writeln!(code, "        {variant} = {value:?},")?;
        }
        code.push_str("    }\n");
    }
    code.push_str("}\n");
    Ok(code)
}

/// `types.rs`: every structure, union and event stream.
pub(crate) fn structures(model: &Model) -> anyhow::Result<String> {
    let mut body = String::new();
    for (name, shape) in used(model) {
        if shape.kind != Kind::Structure || shape.document {
            continue;
        }
        if shape.eventstream {
            if model.outputs.contains(name) {
                event_stream(&mut body, model, name, shape)?;
            }
        } else if shape.union {
            union(&mut body, model, name, shape)?;
        } else {
            structure(&mut body, model, name, shape)?;
        }
    }
    let mut wire = Vec::new();
    for name in ["Blob", "Map", "Timestamp"] {
        if mentions(&body, name) {
            wire.push(name);
        }
    }
    let mut code = String::new();
    if mentions(&body, "EventStream") {
        code.push_str("use craton_wire::operation::EventStream;\n");
    }
    if !wire.is_empty() {
        writeln!(code, "use craton_wire::types::{{{}}};", wire.join(", "))?;
    }
    code.push_str("use serde::{Deserialize, Serialize};\n");
    if mentions(&body, "Value") {
        code.push_str("use serde_json::Value;\n");
    }
    if has_enums(model) {
        code.push_str("\nuse crate::enums::*;\n");
    }
    code.push('\n');
    code.push_str(&body);
    Ok(code)
}

/// Whether the code uses this name as a word of its own.
fn mentions(code: &str, name: &str) -> bool {
    code.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .any(|word| word == name)
}

/// How most member names of a structure are spelt.
#[derive(Clone, Copy)]
enum Case {
    Camel,
    Pascal,
}

impl Case {
    fn of(shape: &Shape) -> Self {
        let upper =
            shape.fields.iter().filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_uppercase()));
        if upper.count() * 2 > shape.fields.len() { Self::Pascal } else { Self::Camel }
    }

    /// Serde's word for it.
    fn name(self) -> &'static str {
        match self {
            Self::Camel => "camelCase",
            Self::Pascal => "PascalCase",
        }
    }

    fn spell(self, snake: &str) -> String {
        let camel = names::camel_of_snake(snake);
        match self {
            Self::Camel => camel,
            Self::Pascal => names::pascal(&camel),
        }
    }
}

fn used(model: &Model) -> impl Iterator<Item = (&String, &Shape)> {
    model.shapes.iter().filter(|(name, _)| model.inputs.contains(*name) || model.outputs.contains(*name))
}

/// `Deserialize` for what clients send, `Serialize` for what they get.
fn directions(model: &Model, name: &str) -> Vec<&'static str> {
    let mut derives = Vec::new();
    if model.inputs.contains(name) {
        derives.push("Deserialize");
    }
    if model.outputs.contains(name) {
        derives.push("Serialize");
    }
    derives
}

fn structure(code: &mut String, model: &Model, name: &str, shape: &Shape) -> anyhow::Result<()> {
    let payload = model.payload(shape)?;
    let streams = payload.as_ref().is_some_and(|(_, shape)| shape.eventstream) && model.is_output_root(name);
    // An output with a payload is written by hand-picked members (see `io.rs`), not as one JSON object.
    let whole_json = payload.is_none() || !model.is_output_root(name);
    let mut derives = Vec::new();
    if !streams {
        derives.extend(["Clone", "Debug"]);
        if code::has_default(model, name)? {
            derives.push("Default");
        }
        if whole_json {
            derives.extend(directions(model, name));
        }
    }
    if !derives.is_empty() {
        writeln!(code, "#[derive({})]", derives.join(", "))?;
    }
    if whole_json && !streams && !shape.fields.is_empty() {
        writeln!(code, "#[serde(rename_all = \"{}\")]", Case::of(shape).name())?;
    }
    writeln!(code, "pub struct {} {{", names::pascal(name))?;
    for (member, reference) in &shape.fields {
        field(code, model, name, (member, reference), whole_json && !streams)?;
    }
    code.push_str("}\n\n");
    Ok(())
}

fn field(
    code: &mut String,
    model: &Model,
    owner: &str,
    (member, reference): (&str, &Reference),
    serde: bool,
) -> anyhow::Result<()> {
    let shape = model.shape(owner)?;
    let target = model.shape(&reference.shape)?;
    if target.eventstream && model.is_input_root(owner) {
        return Ok(()); // a request stream is not part of the input document
    }
    let required = shape.is_required(member);
    let mut kind = if target.eventstream {
        format!("EventStream<{}>", names::pascal(&reference.shape))
    } else {
        code::member_type(model, owner, &reference.shape)?
    };
    // A streaming operation always answers with its stream.
    if !required && !target.eventstream {
        kind = format!("Option<{kind}>");
    }
    let mut attributes = Vec::new();
    if serde {
        if Case::of(shape).spell(&names::snake(member)) != member {
            attributes.push(format!("rename = {member:?}"));
        }
        let is_blob_payload = shape.payload.as_deref() == Some(member) && target.kind == Kind::Blob;
        let travels_apart = reference.location.is_some() && model.is_output_root(owner);
        if is_blob_payload || travels_apart {
            attributes.push("skip".to_owned());
        } else if !required && model.outputs.contains(owner) {
            attributes.push("skip_serializing_if = \"Option::is_none\"".to_owned());
        }
    }
    if !attributes.is_empty() {
        writeln!(code, "    #[serde({})]", attributes.join(", "))?;
    }
    writeln!(code, "    pub {}: {kind},", names::field(member))?;
    Ok(())
}

fn union(code: &mut String, model: &Model, name: &str, shape: &Shape) -> anyhow::Result<()> {
    let mut derives = vec!["Clone", "Debug"];
    derives.extend(directions(model, name));
    writeln!(code, "#[derive({})]", derives.join(", "))?;
    writeln!(code, "#[serde(rename_all = \"camelCase\")]\npub enum {} {{", names::pascal(name))?;
    for (member, reference) in &shape.fields {
        let variant = names::pascal(member);
        if names::camel_of_pascal(&variant) != *member {
            writeln!(code, "    #[serde(rename = {member:?})]")?;
        }
        writeln!(code, "    {variant}({}),", code::member_type(model, name, &reference.shape)?)?;
    }
    code.push_str("}\n\n");
    Ok(())
}

/// The events of a response stream; exceptions travel as the stream's errors.
fn event_stream(code: &mut String, model: &Model, name: &str, shape: &Shape) -> anyhow::Result<()> {
    writeln!(code, "#[derive(Clone, Debug)]\npub enum {} {{", names::pascal(name))?;
    for (member, reference) in &shape.fields {
        if !model.shape(&reference.shape)?.exception {
            let kind = code::rust_type(model, &reference.shape)?;
            writeln!(code, "    {}({kind}),", names::pascal(member))?;
        }
    }
    code.push_str("}\n\n");
    Ok(())
}
