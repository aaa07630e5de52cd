//! What a run decides by nothing but a node and its values: conditions, loops' ends, sizes, and how a failure is told.

use std::collections::BTreeMap;

use craton_api_bedrock_agent::{FlowNodeConfiguration, FlowNodeInputCategory as Category};
use craton_wire::ApiError;
use serde_json::Value;

use super::RunError;
use super::event::{FailureCode, RunEvent};
use crate::definition::Node;

/// Rounds of a loop whose controller names no number (AWS's default).
const DEFAULT_ITERATIONS: u32 = 10;

/// The first of a node's conditions that is met.
pub(super) fn met(node: &Node, inputs: &BTreeMap<String, Value>) -> Result<String, RunError> {
    for (name, condition) in &node.conditions {
        let Some(condition) = condition else { continue };
        match condition.holds(inputs) {
            Some(true) => return Ok(name.clone()),
            Some(false) => {}
            None => {
                let message = format!("the condition {name} can't be decided");
                return Err(RunError::of(node, ApiError::validation(message)));
            }
        }
    }
    Ok("default".to_owned())
}

pub(super) fn holds(controller: &Node, inputs: &BTreeMap<String, Value>) -> Result<bool, RunError> {
    let condition = controller.conditions.first().and_then(|(_, condition)| condition.as_ref());
    condition
        .and_then(|condition| condition.holds(inputs))
        .ok_or_else(|| RunError::of(controller, ApiError::validation("its condition can't be decided")))
}

pub(super) fn most_rounds(controller: &Node) -> u32 {
    let FlowNodeConfiguration::LoopController(configuration) = &controller.configuration else {
        return DEFAULT_ITERATIONS;
    };
    configuration.max_iterations.and_then(|most| u32::try_from(most).ok()).unwrap_or(DEFAULT_ITERATIONS)
}

pub(super) fn of_category(
    controller: &Node,
    inputs: &BTreeMap<String, Value>,
    category: Category,
) -> BTreeMap<String, Value> {
    let of = controller.inputs.iter().filter(|input| input.category == Some(category));
    of.filter_map(|input| inputs.get_key_value(&input.name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// About how many bytes a value takes.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 8,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 8,
        Value::Object(members) => {
            members.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>() + 8
        }
    }
}

/// The events of a failure, for an execution.
pub(crate) fn failure(error: &RunError, at_ms: i64) -> Vec<RunEvent> {
    let code = FailureCode::of(&error.error);
    let message = error.error.message.clone();
    let node = error.node.clone();
    let of_node = node.map(|node| RunEvent::NodeFailed { node, code, message: message.clone(), at_ms });
    of_node.into_iter().chain([RunEvent::FlowFailed { code, message, at_ms }]).collect()
}
