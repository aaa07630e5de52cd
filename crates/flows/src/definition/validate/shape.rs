//! What nodes and connections make together: where it starts and ends, circles, and places that nothing can reach.

use std::collections::{BTreeMap, BTreeSet};

use craton_api_bedrock_agent::{FlowConnection, FlowConnectionConfiguration, FlowNodeType};

use super::Level;
use super::findings::Findings;

/// Of the flow itself; a loop's are checked with the loop.
pub(super) fn check_ends(level: &Level<'_>, findings: &mut Findings) {
    let count = |kind| level.nodes.iter().filter(|node| node.r#type == kind).count();
    match count(FlowNodeType::Input) {
        0 => findings.missing_start(),
        1 => {}
        _ => findings.unspecified("The flow has more than one Input node. Leave one of them."),
    }
    if count(FlowNodeType::Output) == 0 {
        findings.missing_end();
    }
    for node in level.nodes {
        if matches!(node.r#type, FlowNodeType::LoopInput | FlowNodeType::LoopController) {
            let (name, kind) = (&node.name, node.r#type.as_str());
            findings.unspecified(format!("The node {name} is a {kind}, and not in a loop."));
        }
    }
}

pub(super) fn check(level: &Level<'_>, findings: &mut Findings) {
    let mut leaving: BTreeMap<&str, Vec<&FlowConnection>> = BTreeMap::new();
    for connection in level.connections {
        if level.source(connection).is_some() && level.target(connection).is_some() {
            leaving.entry(&connection.source).or_default().push(connection);
        }
    }
    let circular = cycles(level, &leaving, findings);
    unreachable(level, &leaving, findings);
    if !circular {
        unsatisfied(level, findings);
    }
}

/// Reports a connection for each way back that a walk through the graph finds.
fn cycles(
    level: &Level<'_>,
    leaving: &BTreeMap<&str, Vec<&FlowConnection>>,
    findings: &mut Findings,
) -> bool {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    let mut found = false;
    for start in level.nodes {
        // Each step of the way, and how many of its connections were followed.
        let mut way: Vec<(&str, usize)> = vec![(&start.name, 0)];
        while let Some((name, followed)) = way.last_mut() {
            let name = *name;
            let next = leaving.get(name).and_then(|connections| connections.get(*followed));
            *followed += 1;
            match next {
                _ if done.contains(name) => {
                    way.pop();
                }
                None => {
                    done.insert(name);
                    way.pop();
                }
                Some(connection) if way.iter().any(|(step, _)| *step == connection.target) => {
                    found = true;
                    let message = format!("The connection {} closes a circle.", connection.name);
                    findings.cycle(&connection.name, message);
                }
                Some(connection) => way.push((&connection.target, 0)),
            }
        }
    }
    found
}

fn unreachable(level: &Level<'_>, leaving: &BTreeMap<&str, Vec<&FlowConnection>>, findings: &mut Findings) {
    let starts = |kind| matches!(kind, FlowNodeType::Input | FlowNodeType::LoopInput);
    let mut left: Vec<&str> =
        level.nodes.iter().filter(|node| starts(node.r#type)).map(|node| node.name.as_str()).collect();
    if left.is_empty() {
        // That nothing starts is said already.
        return;
    }
    let mut reached: BTreeSet<&str> = left.iter().copied().collect();
    while let Some(name) = left.pop() {
        for connection in leaving.get(name).into_iter().flatten() {
            if reached.insert(&connection.target) {
                left.push(&connection.target);
            }
        }
    }
    for node in level.nodes.iter().filter(|node| !reached.contains(node.name.as_str())) {
        findings.unreachable(&node.name, format!("No way from the start leads to the node {}.", node.name));
    }
}

/// Reports connections whose end could only run if two conditions of one node were met, which are never met together.
fn unsatisfied(level: &Level<'_>, findings: &mut Findings) {
    let mut arriving: BTreeMap<&str, Vec<&FlowConnection>> = BTreeMap::new();
    for connection in level.connections.iter().filter(|it| level.source(it).is_some()) {
        arriving.entry(&connection.target).or_default().push(connection);
    }
    let mut known = BTreeMap::new();
    for node in level.nodes {
        needs(&node.name, &arriving, &mut known, findings);
    }
}

/// Which condition of which node must be met for a node to run.
type Needs<'d> = BTreeMap<&'d str, &'d str>;

/// The graph has no circles, and is as deep as it has nodes at most.
fn needs<'d>(
    name: &'d str,
    arriving: &BTreeMap<&str, Vec<&'d FlowConnection>>,
    known: &mut BTreeMap<&'d str, Needs<'d>>,
    findings: &mut Findings,
) -> Needs<'d> {
    if let Some(needed) = known.get(name) {
        return needed.clone();
    }
    let mut all = Needs::new();
    for connection in arriving.get(name).into_iter().flatten() {
        let mut these = needs(&connection.source, arriving, known, findings);
        if let Some(FlowConnectionConfiguration::Conditional(conditional)) = &connection.configuration {
            these.insert(&connection.source, &conditional.condition);
        }
        let conflict =
            these.iter().find(|(node, condition)| all.get(*node).is_some_and(|other| other != *condition));
        if let Some((node, condition)) = conflict {
            let message = format!(
                "The node {name} never runs: the connection {} needs the condition {condition} of the node {node}, \
                 and another one needs another condition of it. A condition node meets one condition at a time.",
                connection.name
            );
            findings.unsatisfied(&connection.name, message);
        }
        all.extend(these);
    }
    known.insert(name, all.clone());
    all
}
