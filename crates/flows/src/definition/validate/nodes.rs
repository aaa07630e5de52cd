//! Nodes by themselves: names, configuration, inputs, outputs, expressions and conditions.

use std::collections::BTreeSet;

use craton_api_bedrock_agent::{
    FlowConnectionConfiguration, FlowNode, FlowNodeConfiguration, FlowNodeInputCategory, FlowNodeType,
    KnowledgeBaseFlowNodeConfiguration,
};

use super::super::{contract, graph};
use super::Level;
use super::findings::Findings;
use crate::expression::{Condition, Path};

/// The condition that is met where no other is.
pub(super) const DEFAULT: &str = "default";

pub(super) fn check(level: &Level<'_>, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for node in level.nodes {
        let name = &node.name;
        if !names.insert(name.as_str()) {
            findings.unspecified(format!("The name {name} is given to more than one node."));
        }
        if !contract::is_configured(node) {
            findings
                .missing_configuration(name, format!("The node {name} lacks the configuration of its type."));
        }
        if node.r#type == FlowNodeType::Lex {
            findings
                .unspecified(format!("The node {name} can't run: this server does not serve Amazon Lex."));
        }
        if let Some(FlowNodeConfiguration::KnowledgeBase(base)) = &node.configuration
            && !contract::generates(node)
        {
            check_unused(name, base, findings);
        }
        check_inputs(node, findings);
        check_outputs(node, findings);
        check_conditions(level, node, findings);
    }
}

/// Without a model there is nothing that these settings act on. Whoever made them believes that they do.
fn check_unused(name: &str, base: &KnowledgeBaseFlowNodeConfiguration, findings: &mut Findings) {
    let guardrail = base.guardrail_configuration.as_ref();
    let settings = [
        ("guardrailConfiguration", guardrail.is_some_and(|it| it.guardrail_identifier.is_some())),
        ("promptTemplate", base.prompt_template.is_some()),
        ("inferenceConfiguration", base.inference_configuration.is_some()),
        ("orchestrationConfiguration", base.orchestration_configuration.is_some()),
    ];
    let unused: Vec<&str> = settings.into_iter().filter(|(_, is_set)| *is_set).map(|(it, _)| it).collect();
    if !unused.is_empty() {
        findings.unspecified(format!(
            "The node {name} has no modelId, and without one nothing uses its {}. Give it a modelId or leave that out.",
            unused.join(", ")
        ));
    }
}

fn check_inputs(node: &FlowNode, findings: &mut Findings) {
    let name = &node.name;
    let mut seen = BTreeSet::new();
    for input in node.inputs.iter().flatten() {
        if !seen.insert(input.name.as_str()) {
            findings.unspecified(format!("The node {name} has more than one input named {}.", input.name));
        }
        if let Err(error) = input.expression.parse::<Path>() {
            findings.malformed_input(name, &input.name, error);
        }
        if input.category.is_some() && node.r#type != FlowNodeType::LoopController {
            findings.unspecified(format!(
                "The input {} of the node {name} has a category. Only inputs of a LoopController have one.",
                input.name
            ));
        }
    }
    compare_inputs(node, &contract::of(node).inputs, findings);
    if node.r#type == FlowNodeType::Condition && seen.is_empty() {
        findings.unspecified(format!("The condition node {name} has no inputs to decide by."));
    }
}

/// Compares the inputs that a node has with those that it should have.
pub(super) fn compare_inputs(node: &FlowNode, expected: &contract::Ports, findings: &mut Findings) {
    let name = &node.name;
    let mut seen = BTreeSet::new();
    for input in node.inputs.iter().flatten() {
        seen.insert(input.name.as_str());
        match expected.find(&input.name) {
            None if !expected.open => {
                let message = format!("The node {name} can't have an input named {}.", input.name);
                findings.unknown_input(name, &input.name, message);
            }
            Some(port) if port.data_type.is_some_and(|expected| expected != input.r#type) => {
                findings.mismatched_input(name, &input.name, port.data_type.unwrap_or(input.r#type));
            }
            _ => {}
        }
    }
    for port in expected.known.iter().filter(|port| port.required && !seen.contains(port.name.as_str())) {
        findings.missing_input(name, &port.name, format!("The node {name} lacks the input {}.", port.name));
    }
}

fn check_outputs(node: &FlowNode, findings: &mut Findings) {
    let name = &node.name;
    let expected = contract::of(node).outputs;
    let mut seen = BTreeSet::new();
    for output in node.outputs.iter().flatten() {
        if !seen.insert(output.name.as_str()) {
            findings.unspecified(format!("The node {name} has more than one output named {}.", output.name));
        }
        match expected.find(&output.name) {
            None if !expected.open => {
                let message = format!("The node {name} can't have an output named {}.", output.name);
                findings.unknown_output(name, &output.name, message);
            }
            Some(port) if port.data_type.is_some_and(|expected| expected != output.r#type) => {
                findings.mismatched_output(name, &output.name, port.data_type.unwrap_or(output.r#type));
            }
            _ => {}
        }
    }
    for port in expected.known.iter().filter(|port| port.required && !seen.contains(port.name.as_str())) {
        findings.missing_output(name, &port.name, format!("The node {name} lacks the output {}.", port.name));
    }
}

fn check_conditions(level: &Level<'_>, node: &FlowNode, findings: &mut Findings) {
    let Some(configuration) = &node.configuration else { return };
    let (name, kinds) = (&node.name, graph::kinds(node));
    let conditions = graph::conditions(configuration);
    let decides = matches!(configuration, FlowNodeConfiguration::Condition(_));
    let (mut names, mut expressions) = (BTreeSet::new(), BTreeSet::new());
    for condition in conditions {
        if !names.insert(condition.name.as_str()) {
            findings.unspecified(format!(
                "The node {name} has more than one condition named {}.",
                condition.name
            ));
        }
        match condition.expression.as_deref() {
            None if decides && condition.name == DEFAULT => {}
            None => findings.malformed_condition(name, &condition.name, "it has no expression"),
            Some(_) if decides && condition.name == DEFAULT => {
                findings.malformed_condition(name, DEFAULT, "the default condition can't have an expression");
            }
            Some(expression) => {
                if !expressions.insert(expression.trim()) {
                    findings.duplicate_condition(name, expression);
                }
                if let Err(error) = Condition::parse(expression, &kinds) {
                    findings.malformed_condition(name, &condition.name, error);
                }
            }
        }
    }
    if decides && !names.contains(DEFAULT) && !leads_to_default(level, name) {
        findings
            .missing_default(name, format!("The condition node {name} has no condition named {DEFAULT}."));
    }
    if matches!(configuration, FlowNodeConfiguration::LoopController(_)) {
        let inputs = node.inputs.iter().flatten();
        let mut categories = inputs.map(|input| input.category);
        if !categories.any(|category| category == Some(FlowNodeInputCategory::LoopCondition)) {
            findings.unspecified(format!(
                "The loop controller {name} has no input of the category LoopCondition."
            ));
        }
    }
}

/// The default may be named by a connection alone.
fn leads_to_default(level: &Level<'_>, name: &str) -> bool {
    level.connections.iter().any(|connection| {
        connection.source == name
            && matches!(
                &connection.configuration,
                Some(FlowConnectionConfiguration::Conditional(conditional)) if conditional.condition == DEFAULT
            )
    })
}
