//! The static table: operations, and the shapes of their inputs with every constraint.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, bail, ensure};

use super::code::{self, option};
use super::model::{Kind, Model, Operation, Reference, Shape};
use super::names;

pub(crate) fn generate(model: &Model) -> anyhow::Result<String> {
    let ids: BTreeMap<&str, u16> = model.inputs.iter().map(String::as_str).zip(0_u16..).collect();
    ensure!(ids.len() == model.inputs.len(), "{} has too many shapes for a u16", model.service);
    let mut patterns: Vec<&str> = Vec::new();
    let mut shapes = String::new();
    for name in &model.inputs {
        let shape = model.shape(name)?;
        if let Some(pattern) = &shape.pattern
            && !patterns.contains(&pattern.as_str())
        {
            patterns.push(pattern);
        }
        writeln!(shapes, "// {} {name}", ids[name.as_str()])?;
        writeln!(shapes, "{},", row(&ids, &patterns, name, shape)?)?;
    }
    let mut code =
        "use craton_wire::table::{Member, Method, Operation, Pattern, Protocol, ServiceTable, Shape, ShapeId};\n\n"
            .to_owned();
    writeln!(code, "pub static SERVICE: ServiceTable = ServiceTable {{")?;
    writeln!(code, "name: {:?}, signing_name: {:?},", model.service, model.signing_name())?;
    writeln!(code, "protocol: {},", protocol(model)?)?;
    code.push_str("operations: OPERATIONS, shapes: SHAPES, errors: ERRORS };\n\n");
    code.push_str("static ERRORS: &[(&str, u16)] = &[\n");
    let exceptions = model.shapes.iter().filter(|(_, shape)| shape.exception);
    let errors: BTreeMap<&str, u16> = exceptions.map(|(name, shape)| shape.error(name)).collect();
    for (name, status) in errors {
        writeln!(code, "({name:?}, {status}),")?;
    }
    code.push_str("];\n\nstatic OPERATIONS: &[Operation] = &[\n");
    for (name, (operation, typed)) in model.all_operations() {
        code.push_str(&match typed {
            true => operation_row(model, &ids, name, operation)?,
            false => untyped_row(name, operation),
        });
    }
    writeln!(code, "];\n\nstatic PATTERNS: [Pattern; {}] = [", patterns.len())?;
    for pattern in patterns {
        writeln!(code, "Pattern::new({pattern:?}),")?;
    }
    writeln!(code, "];\n\nstatic SHAPES: &[Shape] = &[\n{shapes}];")?;
    Ok(code)
}

fn protocol(model: &Model) -> anyhow::Result<String> {
    let metadata = &model.metadata;
    Ok(match metadata.protocol.as_str() {
        "rest-json" => "Protocol::RestJson".to_owned(),
        "json" => format!(
            "Protocol::Json {{ target_prefix: {:?}, version: {:?} }}",
            metadata.target_prefix.as_deref().context("a target prefix")?,
            metadata.json_version.as_deref().context("a version of JSON")?
        ),
        "query" => format!(
            "Protocol::Query {{ api_version: {:?}, xmlns: {:?} }}",
            metadata.api_version,
            metadata.xml_namespace.as_deref().context("a name space")?
        ),
        other => bail!("{} speaks {other}", model.service),
    })
}

fn untyped_row(name: &str, operation: &Operation) -> String {
    format!(
        "Operation::untyped({name:?}, Method::{}, {:?}),\n",
        names::pascal(&operation.http.method.to_ascii_lowercase()),
        operation.http.request_uri
    )
}

fn operation_row(
    model: &Model,
    ids: &BTreeMap<&str, u16>,
    name: &str,
    operation: &Operation,
) -> anyhow::Result<String> {
    let input = operation.input.as_ref().map(|reference| model.shape(&reference.shape)).transpose()?;
    let output = operation.output.as_ref().map(|reference| model.shape(&reference.shape)).transpose()?;
    let streams = |root: Option<&Shape>| -> anyhow::Result<bool> {
        Ok(root
            .map(|root| model.payload(root))
            .transpose()?
            .flatten()
            .is_some_and(|(_, shape)| shape.eventstream))
    };
    let mut errors = Vec::new();
    for reference in &operation.errors {
        errors.push(model.shape(&reference.shape)?.error(&reference.shape).0);
    }
    errors.sort_unstable();
    let id = operation.input.as_ref().map(|reference| format!("ShapeId({})", ids[reference.shape.as_str()]));
    let payload = input.and_then(|shape| shape.payload.as_deref()).map(|payload| format!("{payload:?}"));
    Ok(format!(
        "Operation {{ name: {name:?}, method: Method::{}, uri: {:?}, status: {}, input: {}, payload: {}, \
         streams: {}, streams_input: {}, errors: &{errors:?} }},\n",
        names::pascal(&operation.http.method.to_ascii_lowercase()),
        operation.http.request_uri,
        operation.http.response_code.unwrap_or(200),
        option(id),
        option(payload),
        streams(output)?,
        streams(input)?,
    ))
}

fn row(ids: &BTreeMap<&str, u16>, patterns: &[&str], name: &str, shape: &Shape) -> anyhow::Result<String> {
    let id = |reference: Option<&Reference>| -> anyhow::Result<String> {
        Ok(format!("ShapeId({})", ids[code::part(reference)?]))
    };
    let (min, max) = (option(shape.min.as_ref()), option(shape.max.as_ref()));
    Ok(match shape.kind {
        Kind::Structure if shape.document => "Shape::Document".to_owned(),
        Kind::Structure if shape.eventstream => "Shape::EventStream".to_owned(),
        Kind::Structure if shape.union => {
            format!("Shape::Union {{ name: {name:?}, members: &[{}] }}", members(ids, shape)?)
        }
        Kind::Structure => format!("Shape::Structure {{ members: &[{}] }}", members(ids, shape)?),
        Kind::List => {
            format!("Shape::List {{ member: {}, min: {min}, max: {max} }}", id(shape.member.as_ref())?)
        }
        Kind::Map => format!(
            "Shape::Map {{ key: {}, value: {}, min: {min}, max: {max} }}",
            id(shape.key.as_ref())?,
            id(shape.value.as_ref())?
        ),
        Kind::String => {
            let pattern = shape.pattern.as_ref().and_then(|text| patterns.iter().position(|p| p == text));
            format!(
                "Shape::String {{ min: {min}, max: {max}, pattern: {}, values: &{:?}, sensitive: {} }}",
                option(pattern.map(|index| format!("&PATTERNS[{index}]"))),
                shape.values,
                shape.sensitive
            )
        }
        Kind::Integer | Kind::Long => {
            format!("Shape::Integer {{ min: {min}, max: {max}, long: {} }}", shape.kind == Kind::Long)
        }
        Kind::Float | Kind::Double => format!(
            "Shape::Float {{ min: {}, max: {} }}",
            option(shape.min.as_ref().map(code::float)),
            option(shape.max.as_ref().map(code::float))
        ),
        Kind::Boolean => "Shape::Boolean".to_owned(),
        Kind::Timestamp => "Shape::Timestamp".to_owned(),
        Kind::Blob => format!("Shape::Blob {{ min: {min}, max: {max} }}"),
    })
}

fn members(ids: &BTreeMap<&str, u16>, shape: &Shape) -> anyhow::Result<String> {
    let mut code = String::new();
    for (name, reference) in &shape.fields {
        let wire_name = reference.location_name.as_deref().unwrap_or(name);
        let id = ids[reference.shape.as_str()];
        let member = match reference.location.as_deref() {
            Some("uri") => format!("Member::label({name:?}, {wire_name:?}, {id})"),
            Some("querystring") => format!("Member::query({name:?}, {wire_name:?}, {id})"),
            Some("header") => format!("Member::header({name:?}, {:?}, {id})", wire_name.to_ascii_lowercase()),
            None if shape.payload.as_deref() == Some(name) => format!("Member::payload({name:?}, {id})"),
            None if wire_name == name => format!("Member::body({name:?}, {id})"),
            other => bail!("{name} travels in {other:?} as {wire_name}"),
        };
        code.push_str(&member);
        if shape.is_required(name) {
            code.push_str(".required()");
        }
        if reference.idempotency_token {
            code.push_str(".idempotency_token()");
        }
        code.push_str(", ");
    }
    Ok(code)
}
