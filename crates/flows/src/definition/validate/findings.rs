//! What is found wrong, as the API says it.

use std::fmt::Display;

use craton_api_bedrock_agent as api;
use craton_api_bedrock_agent::{
    FlowNodeIODataType, FlowValidation, FlowValidationDetails as Details, FlowValidationSeverity as Severity,
    FlowValidationType as Type,
};

/// As many as the model lets an answer have.
pub(crate) const MOST_FINDINGS: usize = 100;

#[derive(Default)]
pub(super) struct Findings {
    list: Vec<FlowValidation>,
}

/// Findings whose details are a connection's name.
macro_rules! of_connection {
    ($($name:ident: $kind:ident, $details:ident, $severity:ident;)+) => {
        impl Findings {$(
            pub(super) fn $name(&mut self, connection: &str, message: impl Display) {
                let details = api::$details { connection: connection.to_owned() };
                self.add(Severity::$severity, Type::$kind, Details::$kind(details), message);
            }
        )+}
    };
}

/// Findings whose details are a node's name, under a name of its own.
macro_rules! of_node {
    ($($name:ident: $kind:ident, $details:ident, $field:ident;)+) => {
        impl Findings {$(
            pub(super) fn $name(&mut self, node: &str, message: impl Display) {
                let details = api::$details { $field: node.to_owned() };
                self.add(Severity::Error, Type::$kind, Details::$kind(details), message);
            }
        )+}
    };
}

/// Findings whose details are a node and one of its inputs or outputs.
macro_rules! of_port {
    ($($name:ident: $kind:ident, $details:ident, $field:ident;)+) => {
        impl Findings {$(
            pub(super) fn $name(&mut self, node: &str, port: &str, message: impl Display) {
                let details = api::$details { node: node.to_owned(), $field: port.to_owned() };
                self.add(Severity::Error, Type::$kind, Details::$kind(details), message);
            }
        )+}
    };
}

of_connection! {
    cycle: CyclicConnection, CyclicConnectionFlowValidationDetails, Error;
    unknown_source: UnknownConnectionSource, UnknownConnectionSourceFlowValidationDetails, Error;
    unknown_source_output: UnknownConnectionSourceOutput, UnknownConnectionSourceOutputFlowValidationDetails, Error;
    unknown_target: UnknownConnectionTarget, UnknownConnectionTargetFlowValidationDetails, Error;
    unknown_target_input: UnknownConnectionTargetInput, UnknownConnectionTargetInputFlowValidationDetails, Error;
    unknown_condition: UnknownConnectionCondition, UnknownConnectionConditionFlowValidationDetails, Error;
    incompatible_type: IncompatibleConnectionDataType, IncompatibleConnectionDataTypeFlowValidationDetails, Error;
    missing_connection_configuration: MissingConnectionConfiguration, MissingConnectionConfigurationFlowValidationDetails, Error;
    unsatisfied: UnsatisfiedConnectionConditions, UnsatisfiedConnectionConditionsFlowValidationDetails, Warning;
}

of_node! {
    unreachable: UnreachableNode, UnreachableNodeFlowValidationDetails, node;
    missing_default: MissingDefaultCondition, MissingDefaultConditionFlowValidationDetails, node;
    missing_configuration: MissingNodeConfiguration, MissingNodeConfigurationFlowValidationDetails, node;
    missing_loop_input: MissingLoopInputNode, MissingLoopInputNodeFlowValidationDetails, loop_node;
    missing_loop_controller: MissingLoopControllerNode, MissingLoopControllerNodeFlowValidationDetails, loop_node;
    multiple_loop_inputs: MultipleLoopInputNodes, MultipleLoopInputNodesFlowValidationDetails, loop_node;
    multiple_loop_controllers: MultipleLoopControllerNodes, MultipleLoopControllerNodesFlowValidationDetails, loop_node;
}

of_port! {
    missing_input: MissingNodeInput, MissingNodeInputFlowValidationDetails, input;
    missing_output: MissingNodeOutput, MissingNodeOutputFlowValidationDetails, output;
    unknown_input: UnknownNodeInput, UnknownNodeInputFlowValidationDetails, input;
    unknown_output: UnknownNodeOutput, UnknownNodeOutputFlowValidationDetails, output;
    unfulfilled: UnfulfilledNodeInput, UnfulfilledNodeInputFlowValidationDetails, input;
    multiple_connections: MultipleNodeInputConnections, MultipleNodeInputConnectionsFlowValidationDetails, input;
}

impl Findings {
    fn add(&mut self, severity: Severity, kind: Type, details: Details, message: impl Display) {
        if self.list.len() < MOST_FINDINGS {
            let message = message.to_string();
            self.list.push(FlowValidation { message, severity, details: Some(details), r#type: Some(kind) });
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    pub(super) fn into_list(self) -> Vec<FlowValidation> {
        self.list
    }

    pub(super) fn unspecified(&mut self, message: impl Display) {
        let details = Details::Unspecified(api::UnspecifiedFlowValidationDetails {});
        self.add(Severity::Error, Type::Unspecified, details, message);
    }

    pub(super) fn missing_start(&mut self) {
        let details = Details::MissingStartingNodes(api::MissingStartingNodesFlowValidationDetails {});
        self.add(
            Severity::Error,
            Type::MissingStartingNodes,
            details,
            "The flow has no Input node to start from.",
        );
    }

    pub(super) fn missing_end(&mut self) {
        let details = Details::MissingEndingNodes(api::MissingEndingNodesFlowValidationDetails {});
        self.add(
            Severity::Error,
            Type::MissingEndingNodes,
            details,
            "The flow has no Output node to end in.",
        );
    }

    pub(super) fn duplicate_connection(&mut self, connection: &api::FlowConnection) {
        let (source, target) = (connection.source.clone(), connection.target.clone());
        let message = format!(
            "The connection {} connects {source} and {target} in the same way as another one.",
            connection.name
        );
        let details = api::DuplicateConnectionsFlowValidationDetails { source, target };
        self.add(
            Severity::Error,
            Type::DuplicateConnections,
            Details::DuplicateConnections(details),
            message,
        );
    }

    pub(super) fn duplicate_condition(&mut self, node: &str, expression: &str) {
        let message = format!(
            "Two conditions of the node {node} have the expression {expression}. The earlier one is always taken."
        );
        let details = api::DuplicateConditionExpressionFlowValidationDetails {
            node: node.to_owned(),
            expression: expression.to_owned(),
        };
        let details = Details::DuplicateConditionExpression(details);
        self.add(Severity::Warning, Type::DuplicateConditionExpression, details, message);
    }

    pub(super) fn malformed_condition(&mut self, node: &str, condition: &str, cause: impl Display) {
        let message = format!("The condition {condition} of the node {node} can't be read: {cause}.");
        let details = api::MalformedConditionExpressionFlowValidationDetails {
            node: node.to_owned(),
            condition: condition.to_owned(),
            cause: cause.to_string(),
        };
        let details = Details::MalformedConditionExpression(details);
        self.add(Severity::Error, Type::MalformedConditionExpression, details, message);
    }

    pub(super) fn malformed_input(&mut self, node: &str, input: &str, cause: impl Display) {
        let message =
            format!("The expression of the input {input} of the node {node} can't be read: {cause}.");
        let details = api::MalformedNodeInputExpressionFlowValidationDetails {
            node: node.to_owned(),
            input: input.to_owned(),
            cause: cause.to_string(),
        };
        let details = Details::MalformedNodeInputExpression(details);
        self.add(Severity::Error, Type::MalformedNodeInputExpression, details, message);
    }

    pub(super) fn mismatched_input(&mut self, node: &str, input: &str, expected: FlowNodeIODataType) {
        let message =
            format!("The input {input} of the node {node} must be of the type {}.", expected.as_str());
        let details = api::MismatchedNodeInputTypeFlowValidationDetails {
            node: node.to_owned(),
            input: input.to_owned(),
            expected_type: expected,
        };
        self.add(
            Severity::Error,
            Type::MismatchedNodeInputType,
            Details::MismatchedNodeInputType(details),
            message,
        );
    }

    pub(super) fn mismatched_output(&mut self, node: &str, output: &str, expected: FlowNodeIODataType) {
        let message =
            format!("The output {output} of the node {node} must be of the type {}.", expected.as_str());
        let details = api::MismatchedNodeOutputTypeFlowValidationDetails {
            node: node.to_owned(),
            output: output.to_owned(),
            expected_type: expected,
        };
        let details = Details::MismatchedNodeOutputType(details);
        self.add(Severity::Error, Type::MismatchedNodeOutputType, details, message);
    }

    pub(super) fn incompatible_with_loops(
        &mut self,
        node: &str,
        kind: api::IncompatibleLoopNodeType,
        inner: &str,
    ) {
        let message = format!(
            "The loop {node} contains {inner}. Nodes of the type {} can't be in a loop.",
            kind.as_str()
        );
        let details = api::LoopIncompatibleNodeTypeFlowValidationDetails {
            node: node.to_owned(),
            incompatible_node_type: kind,
            incompatible_node_name: inner.to_owned(),
        };
        let details = Details::LoopIncompatibleNodeType(details);
        self.add(Severity::Error, Type::LoopIncompatibleNodeType, details, message);
    }

    pub(super) fn loop_boundary(&mut self, connection: &api::FlowConnection) {
        let api::FlowConnection { name, source, target, .. } = connection;
        let message = format!(
            "The connection {name} from {source} to {target} crosses a loop's boundary. Data pass it through the loop \
             node alone."
        );
        let details = api::InvalidLoopBoundaryFlowValidationDetails {
            connection: name.clone(),
            source: source.clone(),
            target: target.clone(),
        };
        self.add(Severity::Error, Type::InvalidLoopBoundary, Details::InvalidLoopBoundary(details), message);
    }
}
