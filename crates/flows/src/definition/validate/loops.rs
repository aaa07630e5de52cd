//! Loops: what must be in them, what can't be, and what ties the inside to the node around it.
//!
//! Names do that: an output of the LoopInput node is the loop's input of the same name, an input of the controller in
//! the category ExitLoop is the loop's output of the same name, and one in ReturnValueToLoopStart is the next
//! iteration's value of the LoopInput's output of the same name.

use std::collections::BTreeSet;

use craton_api_bedrock_agent::{
    FlowNode, FlowNodeInputCategory as Category, FlowNodeType, IncompatibleLoopNodeType as Incompatible,
};

use super::Level;
use super::findings::Findings;
use crate::ITERATION_COUNT;

/// `level` is what is in the loop `around`.
pub(super) fn check(level: &Level<'_>, around: &FlowNode, findings: &mut Findings) {
    let name = &around.name;
    for node in level.nodes {
        let kind = match node.r#type {
            FlowNodeType::Input => Incompatible::Input,
            FlowNodeType::Condition => Incompatible::Condition,
            FlowNodeType::Iterator => Incompatible::Iterator,
            FlowNodeType::Collector => Incompatible::Collector,
            _ => continue,
        };
        findings.incompatible_with_loops(name, kind, &node.name);
    }
    let of_kind = |kind| level.nodes.iter().filter(|node| node.r#type == kind).collect::<Vec<_>>();
    let (entries, controllers) = (of_kind(FlowNodeType::LoopInput), of_kind(FlowNodeType::LoopController));
    match entries.as_slice() {
        [] => findings.missing_loop_input(name, format!("The loop {name} has no LoopInput node.")),
        [entry] => check_entry(around, entry, findings),
        _ => {
            findings.multiple_loop_inputs(name, format!("The loop {name} has more than one LoopInput node."))
        }
    }
    match (controllers.as_slice(), entries.first()) {
        ([], _) => {
            findings.missing_loop_controller(name, format!("The loop {name} has no LoopController node."));
        }
        ([controller], Some(entry)) => check_controller(around, entry, controller, findings),
        ([_], None) => {}
        _ => {
            let message = format!("The loop {name} has more than one LoopController node.");
            findings.multiple_loop_controllers(name, message);
        }
    }
}

fn check_entry(around: &FlowNode, entry: &FlowNode, findings: &mut Findings) {
    let name = &around.name;
    let given = || around.inputs.iter().flatten();
    for output in entry.outputs.iter().flatten() {
        match given().find(|input| input.name == output.name) {
            None => {
                let message =
                    format!("The loop {name} lacks the input {} of its LoopInput node.", output.name);
                findings.missing_input(name, &output.name, message);
            }
            Some(input) if input.r#type != output.r#type => {
                findings.mismatched_input(name, &input.name, output.r#type);
            }
            Some(_) => {}
        }
    }
    let outputs: BTreeSet<&str> = entry.outputs.iter().flatten().map(|output| output.name.as_str()).collect();
    for input in given().filter(|input| !outputs.contains(input.name.as_str())) {
        let message =
            format!("The input {} of the loop {name} is no output of its LoopInput node.", input.name);
        findings.unknown_input(name, &input.name, message);
    }
}

fn check_controller(around: &FlowNode, entry: &FlowNode, controller: &FlowNode, findings: &mut Findings) {
    let name = &around.name;
    let inputs = || controller.inputs.iter().flatten();
    for output in around.outputs.iter().flatten().filter(|output| output.name != ITERATION_COUNT) {
        let exit =
            inputs().find(|input| input.category == Some(Category::ExitLoop) && input.name == output.name);
        match exit {
            None => {
                let message = format!(
                    "The output {} of the loop {name} is no input of its controller in the category ExitLoop.",
                    output.name
                );
                findings.unknown_output(name, &output.name, message);
            }
            Some(input) if input.r#type != output.r#type => {
                findings.mismatched_output(name, &output.name, input.r#type);
            }
            Some(_) => {}
        }
    }
    for input in inputs().filter(|input| input.category == Some(Category::ReturnValueToLoopStart)) {
        let start = entry.outputs.iter().flatten().find(|output| output.name == input.name);
        match start {
            None => {
                let message = format!(
                    "The input {} of the controller {} goes back to the start of the loop {name}, where the LoopInput \
                     node has no output of that name.",
                    input.name, controller.name
                );
                findings.unknown_input(&controller.name, &input.name, message);
            }
            Some(output) if output.r#type != input.r#type => {
                findings.mismatched_input(&controller.name, &input.name, output.r#type);
            }
            Some(_) => {}
        }
    }
}
