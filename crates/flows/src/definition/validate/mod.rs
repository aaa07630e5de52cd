//! Everything that is wrong with a flow's definition.
//!
//! A definition is looked at level by level: the flow itself, then the definition within each loop. At each level the
//! nodes by themselves (`nodes`), the connections (`connections`), what both together make (`shape`), and for a loop
//! what ties it to the node around it (`loops`). Only a definition in which none of these finds an error is compiled;
//! what then still can't run is found by that.
//!
//! Errors keep a flow from being prepared. Warnings are about parts that can never be used.

mod connections;
mod findings;
mod loops;
mod nodes;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use craton_api_bedrock_agent::{
    FlowConnection, FlowDefinition, FlowNode, FlowNodeConfiguration, FlowValidation,
};

use super::{Graph, contract, parts};
use findings::Findings;
pub(crate) use findings::MOST_FINDINGS;

/// Loops within loops.
const DEEPEST: usize = 5;

/// What is wrong; empty where nothing is.
pub fn validate(definition: &FlowDefinition) -> Vec<FlowValidation> {
    let mut findings = Findings::default();
    let mut everywhere = BTreeSet::new();
    names(definition, 0, &mut everywhere);
    Level::of(definition, None, &everywhere).check(0, &mut findings);
    if !findings.has_errors()
        && let Err(reason) = Graph::compile(definition)
    {
        findings.unspecified(format!("The flow can't run: {reason}."));
    }
    findings.into_list()
}

/// What is wrong with the inputs of a node that asks a stored prompt with these variables.
pub(crate) fn validate_stored(node: &FlowNode, variables: &BTreeSet<String>) -> Vec<FlowValidation> {
    let mut findings = Findings::default();
    let expected = contract::required(variables.iter().map(String::as_str));
    nodes::compare_inputs(node, &expected, &mut findings);
    findings.into_list()
}

/// Names of the nodes of all levels.
fn names<'d>(definition: &'d FlowDefinition, depth: usize, found: &mut BTreeSet<&'d str>) {
    for node in parts(definition).0 {
        found.insert(&node.name);
        if let (Some(FlowNodeConfiguration::Loop(body)), true) = (&node.configuration, depth < DEEPEST) {
            names(&body.definition, depth + 1, found);
        }
    }
}

/// One definition, of the flow or of a loop in it.
struct Level<'d> {
    nodes: &'d [FlowNode],
    connections: &'d [FlowConnection],
    by_name: BTreeMap<&'d str, &'d FlowNode>,
    /// The node that the definition is the body of.
    around: Option<&'d FlowNode>,
    /// Names of the nodes of all levels.
    everywhere: &'d BTreeSet<&'d str>,
}

impl<'d> Level<'d> {
    fn of(
        definition: &'d FlowDefinition,
        around: Option<&'d FlowNode>,
        everywhere: &'d BTreeSet<&'d str>,
    ) -> Self {
        let (nodes, connections) = parts(definition);
        let by_name = nodes.iter().rev().map(|node| (node.name.as_str(), node)).collect();
        Self { nodes, connections, by_name, around, everywhere }
    }

    fn check(&self, depth: usize, findings: &mut Findings) {
        nodes::check(self, findings);
        match self.around {
            None => shape::check_ends(self, findings),
            Some(around) => loops::check(self, around, findings),
        }
        connections::check(self, findings);
        shape::check(self, findings);
        for node in self.nodes {
            let Some(FlowNodeConfiguration::Loop(body)) = &node.configuration else { continue };
            if depth == DEEPEST {
                findings.unspecified(format!("Loops are more than {DEEPEST} deep within each other."));
                return;
            }
            Level::of(&body.definition, Some(node), self.everywhere).check(depth + 1, findings);
        }
    }

    fn source(&self, connection: &FlowConnection) -> Option<&'d FlowNode> {
        self.by_name.get(connection.source.as_str()).copied()
    }

    fn target(&self, connection: &FlowConnection) -> Option<&'d FlowNode> {
        self.by_name.get(connection.target.as_str()).copied()
    }
}
