//! Operations, and how their inputs and outputs meet HTTP.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};

use super::model::{Kind, Model, Shape};
use super::names;

/// `ops.rs`: one empty type an operation.
pub(crate) fn operations(model: &Model) -> String {
    let mut code =
        "//! One type an operation.\n\ncraton_wire::operations! {\n    crate::SERVICE;\n".to_owned();
    for (row, (name, (operation, typed))) in model.all_operations().into_iter().enumerate() {
        if !typed {
            continue;
        }
        let kind = |reference: &Option<super::model::Reference>, none: &str| {
            reference.as_ref().map_or(none.to_owned(), |r| format!("crate::{}", names::pascal(&r.shape)))
        };
        code.push_str(&format!(
            "    {row} {name}: {} => {},\n",
            kind(&operation.input, "craton_wire::operation::NoInput"),
            kind(&operation.output, "()")
        ));
    }
    code.push_str("}\n");
    code
}

/// `io.rs`: `Input`, `Output` and `Event` of every root shape.
pub(crate) fn bindings(model: &Model) -> anyhow::Result<String> {
    let mut plain_inputs = Vec::new();
    let mut plain_outputs = Vec::new();
    let mut special = String::new();
    for (name, shape) in &model.shapes {
        if model.is_input_root(name) {
            match blob_payload(model, shape)? {
                Some(payload) => input(&mut special, name, shape, payload)?,
                None => plain_inputs.push(names::pascal(name)),
            }
        }
        if model.is_output_root(name) {
            let has_headers = shape.fields.iter().any(|(_, reference)| reference.location.is_some());
            if shape.payload.is_none() && !has_headers {
                plain_outputs.push(names::pascal(name));
            } else {
                output(&mut special, model, name, shape)?;
            }
        }
        if shape.eventstream && model.outputs.contains(name) {
            event(&mut special, model, name, shape)?;
        }
    }
    let mut code = "use crate::types::*;\n\n".to_owned();
    writeln!(code, "craton_wire::plain_inputs! {{\n{}}}\n", lines(&plain_inputs))?;
    let outputs = if model.metadata.protocol == "query" { "xml_outputs" } else { "json_outputs" };
    writeln!(code, "craton_wire::{outputs}! {{\n{}}}\n", lines(&plain_outputs))?;
    if !special.is_empty() {
        let mut imports = vec!["Input", "Output", "Reply"];
        if special.contains("impl Event") {
            imports.push("Event");
            code.insert_str(0, "use craton_wire::eventstream::Frame;\n");
        }
        imports.retain(|name| special.contains(&format!("impl {name}")) || *name == "Reply");
        code.insert_str(0, &format!("use craton_wire::operation::{{{}}};\n", imports.join(", ")));
        code.insert_str(0, "use craton_wire::ApiError;\n");
        if special.contains("Bytes") {
            code.insert_str(0, "use bytes::Bytes;\n");
        }
        code.push_str(&special);
    }
    Ok(code)
}

fn lines(names: &[String]) -> String {
    names.iter().map(|name| format!("    {name},\n")).collect()
}

fn blob_payload<'m>(model: &'m Model, shape: &'m Shape) -> anyhow::Result<Option<&'m str>> {
    let is_blob = model.payload(shape)?.is_some_and(|(_, target)| target.kind == Kind::Blob);
    Ok(if is_blob { shape.payload.as_deref() } else { None })
}

fn input(code: &mut String, name: &str, shape: &Shape, payload: &str) -> anyhow::Result<()> {
    let value = if shape.is_required(payload) { "payload.into()" } else { "Some(payload.into())" };
    writeln!(
        code,
        "impl Input for {} {{\n    fn set_payload(&mut self, payload: Bytes) {{\n        self.{} = {value};\n    }}\n}}\n",
        names::pascal(name),
        names::field(payload),
    )?;
    Ok(())
}

fn output(code: &mut String, model: &Model, name: &str, shape: &Shape) -> anyhow::Result<()> {
    let reply = match (&shape.payload, model.payload(shape)?) {
        (Some(payload), Some((_, target))) => {
            let field = names::field(payload);
            let required = shape.is_required(payload);
            match target.kind {
                _ if target.eventstream => format!("Reply::events(self.{field})"),
                Kind::Blob if required => format!("Reply::bytes(self.{field}.0)"),
                Kind::Blob => format!("Reply::bytes(self.{field}.unwrap_or_default().0)"),
                Kind::Structure => format!("Reply::json(&self.{field})?"),
                other => bail!("{name} has a {other:?} payload"),
            }
        }
        _ => "Reply::json(&self)?".to_owned(),
    };
    writeln!(code, "impl Output for {} {{\n    #[inline]", names::pascal(name))?;
    code.push_str("    fn into_reply(self) -> Result<Reply, ApiError> {\n");
    let headers: Vec<_> = shape.fields.iter().filter(|(_, reference)| reference.location.is_some()).collect();
    let mut chain = String::new();
    for (member, reference) in headers {
        if reference.location.as_deref() == Some("statusCode") {
            write!(chain, ".with_status(self.{})?", names::field(member))?;
            continue;
        }
        let header = reference.location_name.as_ref().context("a header has a name")?.to_ascii_lowercase();
        let target = model.shape(&reference.shape)?;
        let is_header = reference.location.as_deref() == Some("header") && target.kind == Kind::String;
        if !is_header {
            bail!("{name}.{member} travels in a way outputs do not know yet");
        }
        // Header values are read before the payload is moved out.
        let field = names::field(member);
        let value = match (shape.is_required(member), target.values.is_empty()) {
            (true, true) => format!("Some(self.{field}.as_str())"),
            (true, false) => format!("Some(self.{field}.as_str())"),
            (false, true) => format!("self.{field}.as_deref()"),
            (false, false) => format!("self.{field}.map(|value| value.as_str())"),
        };
        write!(chain, ".with_header({header:?}, {value})?")?;
    }
    writeln!(code, "        Ok({reply}{chain})\n    }}\n}}\n")?;
    Ok(())
}

fn event(code: &mut String, model: &Model, name: &str, shape: &Shape) -> anyhow::Result<()> {
    writeln!(code, "impl Event for {} {{\n    #[inline]", names::pascal(name))?;
    code.push_str("    fn into_frame(self) -> Result<Frame, ApiError> {\n        match self {\n");
    for (member, reference) in &shape.fields {
        if !model.shape(&reference.shape)?.exception {
            writeln!(
                code,
                "            Self::{}(event) => craton_wire::reply::event({member:?}, &event),",
                names::pascal(member)
            )?;
        }
    }
    code.push_str("        }\n    }\n}\n\n");
    Ok(())
}
