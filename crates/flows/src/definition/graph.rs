//! A definition as it runs: names are places in a list, expressions are read, and every node knows what it waits for.
//!
//! An iterator's items go one after another through all that follows it, up to a collector. That region is the
//! iterator's scope: each node has the list of iterators around it, outermost first ([`Node::scope`]). Seen from
//! outside, an iterator and its region are one unit, which waits for whatever anything in the region needs from
//! outside ([`Node::waits_for`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use craton_api_bedrock_agent as api;
use craton_api_bedrock_agent::{
    FlowConnectionConfiguration, FlowDefinition, FlowNode, FlowNodeConfiguration, FlowNodeIODataType,
    FlowNodeInputCategory, FlowNodeType,
};

use super::parts;
use crate::expression::{Condition, Kind, Path};

/// What can be run.
#[derive(Debug)]
pub struct Graph {
    pub nodes: Vec<Node>,
}

#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub kind: FlowNodeType,
    pub configuration: FlowNodeConfiguration,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
    /// Conditions that must be met, all of them.
    pub gates: Vec<Gate>,
    /// Iterators around it, outermost first.
    pub scope: Vec<usize>,
    /// Nodes of the same scope that must have ended before it can begin.
    pub waits_for: Vec<usize>,
    /// Of a condition node, in order; the default has no condition. Of a loop's controller, its one.
    pub conditions: Vec<(String, Option<Condition>)>,
    /// What a loop repeats.
    pub body: Option<Arc<Graph>>,
}

#[derive(Debug)]
pub struct Input {
    pub name: String,
    pub data_type: FlowNodeIODataType,
    pub path: Path,
    pub category: Option<FlowNodeInputCategory>,
    /// None only for what a loop's entry takes in, which comes from outside its graph.
    pub source: Option<Source>,
}

/// Where an input's data come from.
#[derive(Debug)]
pub struct Source {
    pub node: usize,
    pub output: String,
}

#[derive(Debug)]
pub struct Output {
    pub name: String,
    pub data_type: FlowNodeIODataType,
    /// Nodes and inputs that it goes to.
    pub next: Vec<(String, String)>,
}

/// A condition on a node's way.
#[derive(Debug)]
pub struct Gate {
    pub node: usize,
    pub condition: String,
}

impl Graph {
    /// Fails with what is wrong where the definition has errors.
    pub fn compile(definition: &FlowDefinition) -> Result<Self, String> {
        let (nodes, connections) = parts(definition);
        let places: BTreeMap<&str, usize> =
            nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), at)).collect();
        let mut graph = Self { nodes: nodes.iter().map(compile).collect::<Result<_, _>>()? };
        for connection in connections {
            graph.connect(connection, &places)?;
        }
        let order = order(graph.nodes.len(), |at| graph.sources(at).collect()).ok_or("it has a cycle")?;
        graph.find_scopes(&order)?;
        graph.find_units();
        let units = order_of_units(&graph);
        units.ok_or("a node between an iterator and its collector needs what the collector collects")?;
        Ok(graph)
    }

    pub fn find(&self, kind: FlowNodeType) -> Option<usize> {
        self.nodes.iter().position(|node| node.kind == kind)
    }

    /// Nodes right within a scope.
    pub fn members<'g>(&'g self, scope: &'g [usize]) -> impl Iterator<Item = usize> + 'g {
        self.nodes.iter().enumerate().filter(move |(_, node)| node.scope == scope).map(|(at, _)| at)
    }

    fn connect(
        &mut self,
        connection: &api::FlowConnection,
        places: &BTreeMap<&str, usize>,
    ) -> Result<(), String> {
        let place = |name: &str| places.get(name).copied().ok_or_else(|| format!("there is no node {name}"));
        let (source, target) = (place(&connection.source)?, place(&connection.target)?);
        let missing = || format!("the connection {} is not complete", connection.name);
        match connection.configuration.as_ref().ok_or_else(missing)? {
            FlowConnectionConfiguration::Conditional(conditional) => {
                let condition = conditional.condition.clone();
                self.nodes[target].gates.push(Gate { node: source, condition });
            }
            FlowConnectionConfiguration::Data(data) => {
                let inputs = &mut self.nodes[target].inputs;
                let input = inputs.iter_mut().find(|input| input.name == data.target_input);
                let input = input.ok_or_else(missing)?;
                input.source = Some(Source { node: source, output: data.source_output.clone() });
                let outputs = &mut self.nodes[source].outputs;
                let output = outputs.iter_mut().find(|output| output.name == data.source_output);
                let next = &mut output.ok_or_else(missing)?.next;
                next.push((connection.target.clone(), data.target_input.clone()));
            }
        }
        Ok(())
    }

    /// Nodes that a node takes data from or depends on the conditions of.
    fn sources(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        let node = &self.nodes[at];
        let data = node.inputs.iter().filter_map(|input| input.source.as_ref()).map(|source| source.node);
        data.chain(node.gates.iter().map(|gate| gate.node))
    }

    /// The scope that a node's outputs are in.
    fn scope_after(&self, at: usize) -> Vec<usize> {
        let node = &self.nodes[at];
        let own = (node.kind == FlowNodeType::Iterator).then_some(at);
        node.scope.iter().copied().chain(own).collect()
    }

    fn find_scopes(&mut self, order: &[usize]) -> Result<(), String> {
        for &at in order {
            let scopes: Vec<Vec<usize>> = self.sources(at).map(|source| self.scope_after(source)).collect();
            let mut scope = scopes.iter().max_by_key(|scope| scope.len()).cloned().unwrap_or_default();
            let name = &self.nodes[at].name;
            if scopes.iter().any(|other| !scope.starts_with(other)) {
                return Err(format!(
                    "the node {name} takes items of two iterators that are not within each other"
                ));
            }
            if self.nodes[at].kind == FlowNodeType::Collector {
                let items = self.nodes[at].inputs.iter().find(|input| input.name == "arrayItem");
                let source = items.and_then(|input| input.source.as_ref());
                if source.is_none_or(|source| self.scope_after(source.node) != scope) || scope.pop().is_none()
                {
                    return Err(format!("the collector {name} collects nothing that an iterator gives out"));
                }
            }
            self.nodes[at].scope = scope;
        }
        Ok(())
    }

    fn find_units(&mut self) {
        let mut waits: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.nodes.len()];
        for at in 0..self.nodes.len() {
            let scope = &self.nodes[at].scope;
            for source in self.sources(at) {
                if let Some(unit) = self.unit(source, scope) {
                    waits[at].insert(unit);
                }
                for (depth, &iterator) in scope.iter().enumerate() {
                    let unit = self.unit(source, &scope[..depth]);
                    waits[iterator].extend(unit.filter(|unit| *unit != iterator));
                }
            }
        }
        for (node, waits) in self.nodes.iter_mut().zip(waits) {
            node.waits_for = waits.into_iter().collect();
        }
    }

    /// What stands for a node in a scope: itself, or the iterator that it is behind; none where it is outside.
    fn unit(&self, at: usize, scope: &[usize]) -> Option<usize> {
        let own = &self.nodes[at].scope;
        own.starts_with(scope).then(|| own.get(scope.len()).copied().unwrap_or(at))
    }
}

/// An order in which every node comes after those it depends on; none where they depend on each other in a circle.
fn order(count: usize, sources: impl Fn(usize) -> Vec<usize>) -> Option<Vec<usize>> {
    let mut left: Vec<BTreeSet<usize>> = (0..count).map(|at| sources(at).into_iter().collect()).collect();
    let mut order = Vec::with_capacity(count);
    let mut ready: Vec<usize> = (0..count).rev().filter(|at| left[*at].is_empty()).collect();
    while let Some(at) = ready.pop() {
        order.push(at);
        for (other, sources) in left.iter_mut().enumerate() {
            if sources.remove(&at) && sources.is_empty() {
                ready.push(other);
            }
        }
    }
    (order.len() == count).then_some(order)
}

fn order_of_units(graph: &Graph) -> Option<Vec<usize>> {
    order(graph.nodes.len(), |at| graph.nodes[at].waits_for.clone())
}

fn compile(node: &FlowNode) -> Result<Node, String> {
    let name = node.name.clone();
    let wrong = |error: &dyn std::fmt::Display| format!("the node {name}: {error}");
    let configuration = node.configuration.clone().ok_or_else(|| wrong(&"it has no configuration"))?;
    let inputs = node.inputs.iter().flatten().map(|input| {
        Ok(Input {
            name: input.name.clone(),
            data_type: input.r#type,
            path: input.expression.parse().map_err(|error| wrong(&error))?,
            category: input.category,
            source: None,
        })
    });
    let inputs = inputs.collect::<Result<Vec<_>, String>>()?;
    let outputs = node.outputs.iter().flatten();
    let outputs = outputs.map(|output| Output {
        name: output.name.clone(),
        data_type: output.r#type,
        next: Vec::new(),
    });
    let conditions = conditions(&configuration).iter().map(|condition| {
        let parsed =
            condition.expression.as_deref().map(|text| Condition::parse(text, &kinds(node))).transpose();
        Ok((condition.name.clone(), parsed.map_err(|error| wrong(&error))?))
    });
    let conditions = conditions.collect::<Result<_, String>>()?;
    let body = match &configuration {
        FlowNodeConfiguration::Loop(body) => Some(Arc::new(Graph::compile(&body.definition)?)),
        _ => None,
    };
    Ok(Node {
        name: node.name.clone(),
        kind: node.r#type,
        inputs,
        outputs: outputs.collect(),
        gates: Vec::new(),
        scope: Vec::new(),
        waits_for: Vec::new(),
        conditions,
        body,
        configuration,
    })
}

/// The conditions that a node decides by.
pub(super) fn conditions(configuration: &FlowNodeConfiguration) -> &[api::FlowCondition] {
    match configuration {
        FlowNodeConfiguration::Condition(condition) => &condition.conditions,
        FlowNodeConfiguration::LoopController(controller) => {
            std::slice::from_ref(&controller.continue_condition)
        }
        _ => &[],
    }
}

/// The types of a node's inputs, for its conditions.
pub(super) fn kinds(node: &FlowNode) -> BTreeMap<&str, Kind> {
    let kind = |data_type| match data_type {
        FlowNodeIODataType::String => Kind::Text,
        FlowNodeIODataType::Number => Kind::Number,
        FlowNodeIODataType::Boolean => Kind::Truth,
        FlowNodeIODataType::Object | FlowNodeIODataType::Array => Kind::Other,
    };
    node.inputs.iter().flatten().map(|input| (input.name.as_str(), kind(input.r#type))).collect()
}
