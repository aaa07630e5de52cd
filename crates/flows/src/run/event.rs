//! What happens in a run, and what InvokeFlow's traces and an execution's events call it.

use craton_api_bedrock_agent as definition;
use craton_api_bedrock_agent_runtime as api;
use craton_wire::types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that happened. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunEvent {
    FlowInput {
        node: String,
        name: String,
        value: Value,
        at_ms: i64,
    },
    FlowOutput {
        node: String,
        name: String,
        value: Value,
        at_ms: i64,
    },
    FlowFailed {
        code: FailureCode,
        message: String,
        at_ms: i64,
    },
    NodeInput {
        node: String,
        fields: Vec<InputField>,
        at_ms: i64,
    },
    NodeOutput {
        node: String,
        fields: Vec<OutputField>,
        at_ms: i64,
    },
    NodeFailed {
        node: String,
        code: FailureCode,
        message: String,
        at_ms: i64,
    },
    Condition {
        node: String,
        met: String,
        at_ms: i64,
    },
    Action {
        node: String,
        action: Action,
        at_ms: i64,
    },
    Traces {
        node: String,
        /// Not kept with an execution: their types can be written but not read back.
        #[serde(skip)]
        traces: Traces,
        at_ms: i64,
    },
}

pub(crate) type Traces = Vec<api::TracePart>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FailureCode {
    Validation,
    Dependency,
    Gateway,
    Internal,
}

impl FailureCode {
    pub(crate) fn of(error: &craton_wire::ApiError) -> Self {
        match error.code.as_ref() {
            "InternalServerException" => Self::Internal,
            "BadGatewayException" | "ServiceUnavailableException" => Self::Gateway,
            "ValidationException" => Self::Validation,
            _ => Self::Dependency,
        }
    }
}

/// A call that a node made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Action {
    pub service: String,
    pub operation: String,
    pub request_id: String,
    pub request: Value,
    pub response: Value,
}

/// A round of an iterator or loop that a node runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub node: String,
    pub loops: bool,
    pub index: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InputField {
    pub name: String,
    pub value: Value,
    pub data_type: definition::FlowNodeIODataType,
    pub category: Option<definition::FlowNodeInputCategory>,
    pub chain: Vec<Link>,
    /// Node and output that the value is from, and the expression that found it.
    pub source: Option<(String, String, String)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OutputField {
    pub name: String,
    pub value: Value,
    pub data_type: definition::FlowNodeIODataType,
    /// Nodes and inputs that it goes to.
    pub next: Vec<(String, String)>,
}

/// The two services have their own types for the same names.
fn data_type(of: definition::FlowNodeIODataType) -> Option<api::FlowNodeIODataType> {
    of.as_str().parse().ok()
}

fn control(link: &Link) -> api::FlowControlNodeType {
    if link.loops { api::FlowControlNodeType::Loop } else { api::FlowControlNodeType::Iterator }
}

fn index(link: &Link) -> Option<i32> {
    i32::try_from(link.index).ok()
}

impl RunEvent {
    pub(crate) fn is_of_node(&self) -> bool {
        !matches!(self, Self::FlowInput { .. } | Self::FlowOutput { .. } | Self::FlowFailed { .. })
    }

    /// As a trace of InvokeFlow; none where traces don't tell of it.
    pub(crate) fn into_trace(self) -> Option<api::FlowTrace> {
        use api::FlowTrace;
        Some(match self {
            Self::NodeInput { node, fields, at_ms } => {
                FlowTrace::NodeInputTrace(api::FlowTraceNodeInputEvent {
                    fields: fields.into_iter().map(InputField::into_trace).collect(),
                    node_name: node,
                    timestamp: Timestamp::from_ms(at_ms),
                })
            }
            Self::NodeOutput { node, fields, at_ms } => {
                FlowTrace::NodeOutputTrace(api::FlowTraceNodeOutputEvent {
                    fields: fields.into_iter().map(OutputField::into_trace).collect(),
                    node_name: node,
                    timestamp: Timestamp::from_ms(at_ms),
                })
            }
            Self::Condition { node, met, at_ms } => {
                FlowTrace::ConditionNodeResultTrace(api::FlowTraceConditionNodeResultEvent {
                    node_name: node,
                    satisfied_conditions: vec![api::FlowTraceCondition { condition_name: met }],
                    timestamp: Timestamp::from_ms(at_ms),
                })
            }
            Self::Action { node, action, at_ms } => {
                FlowTrace::NodeActionTrace(api::FlowTraceNodeActionEvent {
                    node_name: node,
                    operation_name: action.operation,
                    operation_request: Some(action.request),
                    operation_response: Some(action.response),
                    request_id: action.request_id,
                    service_name: action.service,
                    timestamp: Timestamp::from_ms(at_ms),
                })
            }
            Self::Traces { node, traces, at_ms } => {
                FlowTrace::NodeDependencyTrace(api::FlowTraceDependencyEvent {
                    node_name: node,
                    timestamp: Timestamp::from_ms(at_ms),
                    trace_elements: api::TraceElements::AgentTraces(traces),
                })
            }
            Self::FlowInput { .. }
            | Self::FlowOutput { .. }
            | Self::FlowFailed { .. }
            | Self::NodeFailed { .. } => {
                return None;
            }
        })
    }

    /// As an event of an execution; none for what was not kept.
    pub(crate) fn into_execution_event(self) -> Option<api::FlowExecutionEvent> {
        use api::FlowExecutionEvent as Event;
        let time = Timestamp::from_ms;
        Some(match self {
            Self::FlowInput { node, name, value, at_ms } => {
                Event::FlowInputEvent(api::FlowExecutionInputEvent {
                    fields: vec![api::FlowInputField {
                        content: api::FlowExecutionContent::Document(value),
                        name,
                    }],
                    node_name: node,
                    timestamp: time(at_ms),
                })
            }
            Self::FlowOutput { node, name, value, at_ms } => {
                Event::FlowOutputEvent(api::FlowExecutionOutputEvent {
                    fields: vec![api::FlowOutputField {
                        content: api::FlowExecutionContent::Document(value),
                        name,
                    }],
                    node_name: node,
                    timestamp: time(at_ms),
                })
            }
            Self::FlowFailed { code, message, at_ms } => Event::FlowFailureEvent(api::FlowFailureEvent {
                error_code: match code {
                    FailureCode::Validation => api::FlowErrorCode::Validation,
                    FailureCode::Internal => api::FlowErrorCode::InternalServer,
                    FailureCode::Dependency | FailureCode::Gateway => api::FlowErrorCode::NodeExecutionFailed,
                },
                error_message: message,
                timestamp: time(at_ms),
            }),
            Self::NodeInput { node, fields, at_ms } => Event::NodeInputEvent(api::NodeInputEvent {
                fields: fields.into_iter().map(InputField::into_field).collect(),
                node_name: node,
                timestamp: time(at_ms),
            }),
            Self::NodeOutput { node, fields, at_ms } => Event::NodeOutputEvent(api::NodeOutputEvent {
                fields: fields.into_iter().map(OutputField::into_field).collect(),
                node_name: node,
                timestamp: time(at_ms),
            }),
            Self::NodeFailed { node, code, message, at_ms } => {
                Event::NodeFailureEvent(api::NodeFailureEvent {
                    error_code: match code {
                        FailureCode::Validation => api::NodeErrorCode::Validation,
                        FailureCode::Internal => api::NodeErrorCode::InternalServer,
                        FailureCode::Dependency => api::NodeErrorCode::DependencyFailed,
                        FailureCode::Gateway => api::NodeErrorCode::BadGateway,
                    },
                    error_message: message,
                    node_name: node,
                    timestamp: time(at_ms),
                })
            }
            Self::Condition { node, met, at_ms } => Event::ConditionResultEvent(api::ConditionResultEvent {
                node_name: node,
                satisfied_conditions: vec![api::SatisfiedCondition { condition_name: met }],
                timestamp: time(at_ms),
            }),
            Self::Action { node, action, at_ms } => Event::NodeActionEvent(api::NodeActionEvent {
                node_name: node,
                operation_name: action.operation,
                operation_request: Some(action.request),
                operation_response: Some(action.response),
                request_id: action.request_id,
                service_name: action.service,
                timestamp: time(at_ms),
            }),
            Self::Traces { .. } => return None,
        })
    }
}

impl InputField {
    fn into_trace(self) -> api::FlowTraceNodeInputField {
        let chain = self.chain.iter().map(|link| api::FlowTraceNodeInputExecutionChainItem {
            index: index(link),
            node_name: link.node.clone(),
            r#type: control(link),
        });
        let chain: Vec<_> = chain.collect();
        api::FlowTraceNodeInputField {
            category: self.category.and_then(|category| category.as_str().parse().ok()),
            content: api::FlowTraceNodeInputContent::Document(self.value),
            execution_chain: (!chain.is_empty()).then_some(chain),
            node_input_name: self.name,
            source: self.source.map(|(node_name, output_field_name, expression)| {
                api::FlowTraceNodeInputSource { expression, node_name, output_field_name }
            }),
            r#type: data_type(self.data_type),
        }
    }

    fn into_field(self) -> api::NodeInputField {
        let chain = self.chain.iter().map(|link| api::NodeInputExecutionChainItem {
            index: index(link),
            node_name: link.node.clone(),
            r#type: control(link),
        });
        let chain: Vec<_> = chain.collect();
        api::NodeInputField {
            category: self.category.and_then(|category| category.as_str().parse().ok()),
            content: api::NodeExecutionContent::Document(self.value),
            execution_chain: (!chain.is_empty()).then_some(chain),
            name: self.name,
            source: self.source.map(|(node_name, output_field_name, expression)| api::NodeInputSource {
                expression,
                node_name,
                output_field_name,
            }),
            r#type: data_type(self.data_type),
        }
    }
}

impl OutputField {
    fn into_trace(self) -> api::FlowTraceNodeOutputField {
        let next = self.next.into_iter();
        api::FlowTraceNodeOutputField {
            content: api::FlowTraceNodeOutputContent::Document(self.value),
            next: Some(
                next.map(|(node_name, input_field_name)| api::FlowTraceNodeOutputNext {
                    input_field_name,
                    node_name,
                })
                .collect(),
            ),
            node_output_name: self.name,
            r#type: data_type(self.data_type),
        }
    }

    fn into_field(self) -> api::NodeOutputField {
        let next = self.next.into_iter();
        api::NodeOutputField {
            content: api::NodeExecutionContent::Document(self.value),
            name: self.name,
            next: Some(
                next.map(|(node_name, input_field_name)| api::NodeOutputNext { input_field_name, node_name })
                    .collect(),
            ),
            r#type: data_type(self.data_type),
        }
    }
}
