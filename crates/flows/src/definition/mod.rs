//! What a flow's definition says, whether it can run, and the graph that runs.
//!
//! * `contract`: which inputs and outputs a kind of node has.
//! * [`validate`]: everything that is wrong with a definition.
//! * [`Graph`]: a definition without errors, ready to run.

mod contract;
mod graph;
mod validate;

use craton_api_bedrock_agent::{FlowConnection, FlowDefinition, FlowNode, FlowNodeIODataType};
use serde_json::Value;

pub use graph::{Gate, Graph, Input, Node, Output, Source};
pub use validate::validate;
pub(crate) use validate::{MOST_FINDINGS, validate_stored};

/// Nodes and connections of a definition, where there are any.
pub(crate) fn parts(definition: &FlowDefinition) -> (&[FlowNode], &[FlowConnection]) {
    let nodes = definition.nodes.as_deref().unwrap_or_default();
    (nodes, definition.connections.as_deref().unwrap_or_default())
}

/// The modelled type of a value; none for null.
pub fn type_of(value: &Value) -> Option<FlowNodeIODataType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => FlowNodeIODataType::Boolean,
        Value::Number(_) => FlowNodeIODataType::Number,
        Value::String(_) => FlowNodeIODataType::String,
        Value::Array(_) => FlowNodeIODataType::Array,
        Value::Object(_) => FlowNodeIODataType::Object,
    })
}
