//! Connections: what they connect, and whether what comes out of one end can go into the other.

use std::collections::{BTreeMap, BTreeSet};

use craton_api_bedrock_agent::{
    FlowConnection, FlowConnectionConfiguration, FlowConnectionType, FlowDataConnectionConfiguration,
    FlowNode, FlowNodeIODataType, FlowNodeInput, FlowNodeType,
};

use super::super::graph;
use super::Level;
use super::findings::Findings;
use super::nodes::DEFAULT;
use crate::expression::Path;

pub(super) fn check(level: &Level<'_>, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    let mut ways = BTreeSet::new();
    let mut fulfilled: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for connection in level.connections {
        if !names.insert(connection.name.as_str()) {
            findings
                .unspecified(format!("The name {} is given to more than one connection.", connection.name));
        }
        if !ways.insert((&connection.source, &connection.target, way(connection))) {
            findings.duplicate_connection(connection);
            continue;
        }
        if !check_ends(level, connection, findings) {
            continue;
        }
        match &connection.configuration {
            Some(FlowConnectionConfiguration::Data(data))
                if connection.r#type == FlowConnectionType::Data =>
            {
                *fulfilled.entry((&connection.target, &data.target_input)).or_default() += 1;
                check_data(level, connection, data, findings);
            }
            Some(FlowConnectionConfiguration::Conditional(conditional))
                if connection.r#type == FlowConnectionType::Conditional =>
            {
                check_condition(level, connection, &conditional.condition, findings);
            }
            _ => {
                let (name, kind) = (&connection.name, connection.r#type.as_str());
                let message = format!("The connection {name} lacks the configuration of its type, {kind}.");
                findings.missing_connection_configuration(name, message);
            }
        }
    }
    for node in level.nodes.iter().filter(|node| node.r#type != FlowNodeType::LoopInput) {
        check_fulfilment(node, &fulfilled, findings);
    }
}

/// What tells connections between the same two nodes apart.
fn way(connection: &FlowConnection) -> (&str, &str) {
    match &connection.configuration {
        Some(FlowConnectionConfiguration::Data(data)) => (&data.source_output, &data.target_input),
        Some(FlowConnectionConfiguration::Conditional(conditional)) => (&conditional.condition, ""),
        None => ("", ""),
    }
}

/// Whether both ends are at this level.
fn check_ends(level: &Level<'_>, connection: &FlowConnection, findings: &mut Findings) -> bool {
    let (source, target) = (level.source(connection).is_some(), level.target(connection).is_some());
    let elsewhere = |name: &String| level.everywhere.contains(name.as_str());
    let name = &connection.name;
    if (!source && elsewhere(&connection.source)) || (!target && elsewhere(&connection.target)) {
        findings.loop_boundary(connection);
        return false;
    }
    if !source {
        let message =
            format!("The connection {name} begins at a node that is not there, {}.", connection.source);
        findings.unknown_source(name, message);
    }
    if !target {
        let message =
            format!("The connection {name} ends at a node that is not there, {}.", connection.target);
        findings.unknown_target(name, message);
    }
    source && target
}

fn check_data(
    level: &Level<'_>,
    connection: &FlowConnection,
    data: &FlowDataConnectionConfiguration,
    findings: &mut Findings,
) {
    let (Some(source), Some(target)) = (level.source(connection), level.target(connection)) else { return };
    let name = &connection.name;
    let output = source.outputs.iter().flatten().find(|output| output.name == data.source_output);
    if output.is_none() {
        let message = format!(
            "The connection {name} begins at the output {}, which the node {} does not have.",
            data.source_output, source.name
        );
        findings.unknown_source_output(name, message);
    }
    let input = target.inputs.iter().flatten().find(|input| input.name == data.target_input);
    if input.is_none() {
        let message = format!(
            "The connection {name} ends at the input {}, which the node {} does not have.",
            data.target_input, target.name
        );
        findings.unknown_target_input(name, message);
    }
    if let (Some(output), Some(input)) = (output, input)
        && let Some(reason) = incompatible(output.r#type, input)
    {
        findings.incompatible_type(name, format!("The connection {name} can't carry its data: {reason}."));
    }
}

/// Why what comes out as one type can't go into an input, where that is certain.
fn incompatible(given: FlowNodeIODataType, input: &FlowNodeInput) -> Option<String> {
    let path: Path = input.expression.parse().ok()?;
    let (given_name, wanted) = (given.as_str(), input.r#type);
    if path.is_whole() {
        let differ = given != wanted;
        return differ.then(|| format!("{given_name} comes out where {} goes in", wanted.as_str()));
    }
    let fits = match path.starts_in_object() {
        Some(true) => given == FlowNodeIODataType::Object,
        Some(false) => given == FlowNodeIODataType::Array,
        None => matches!(given, FlowNodeIODataType::Object | FlowNodeIODataType::Array),
    };
    (!fits).then(|| format!("{} finds nothing in {given_name}", input.expression))
}

fn check_condition(level: &Level<'_>, connection: &FlowConnection, condition: &str, findings: &mut Findings) {
    let Some(source) = level.source(connection) else { return };
    let conditions = source.configuration.as_ref().map(graph::conditions).unwrap_or_default();
    let known = source.r#type == FlowNodeType::Condition
        && (condition == DEFAULT || conditions.iter().any(|known| known.name == condition));
    if !known {
        let (name, source) = (&connection.name, &source.name);
        let message = format!(
            "The connection {name} depends on the condition {condition}, which the node {source} does not have."
        );
        findings.unknown_condition(name, message);
    }
}

fn check_fulfilment(node: &FlowNode, fulfilled: &BTreeMap<(&str, &str), usize>, findings: &mut Findings) {
    let name = &node.name;
    for input in node.inputs.iter().flatten() {
        match fulfilled.get(&(name.as_str(), input.name.as_str())) {
            Some(1) => {}
            None => {
                let message = format!("Nothing is connected to the input {} of the node {name}.", input.name);
                findings.unfulfilled(name, &input.name, message);
            }
            Some(_) => {
                let message =
                    format!("More than one connection leads to the input {} of the node {name}.", input.name);
                findings.multiple_connections(name, &input.name, message);
            }
        }
    }
}
