//! AWS's quotas of flows, as far as they are fixed there: what no account can have raised, no flow here has either, so
//! that what works here works there.

use craton_api_bedrock_agent::{FlowDefinition, FlowNodeConfiguration, FlowNodeType as Kind};
use craton_wire::ApiError;

use crate::definition::parts;

/// Aliases and versions of a flow.
pub(crate) const MOST_ALIASES: usize = 10;
pub(crate) const MOST_VERSIONS: usize = 10;

/// Nodes of a kind that a flow may have, those in loops included.
const NODES: &[(Kind, usize)] = &[
    (Kind::Agent, 20),
    (Kind::Collector, 1),
    (Kind::Condition, 5),
    (Kind::Iterator, 1),
    (Kind::KnowledgeBase, 20),
    (Kind::LambdaFunction, 20),
    (Kind::Lex, 5),
    (Kind::Output, 20),
    (Kind::Retrieval, 10),
    (Kind::Storage, 10),
];

/// Refuses a definition that has more of something than flows can have.
pub(crate) fn check(definition: &FlowDefinition) -> Result<(), ApiError> {
    let mut kinds = Vec::new();
    let mut waiting = vec![definition];
    while let Some(definition) = waiting.pop() {
        for node in parts(definition).0 {
            kinds.push(node.r#type);
            if let Some(FlowNodeConfiguration::Loop(body)) = &node.configuration {
                waiting.push(&body.definition);
            }
        }
    }
    for (kind, most) in NODES {
        let count = kinds.iter().filter(|it| *it == kind).count();
        if count > *most {
            return Err(ApiError::quota_exceeded(format!(
                "The flow has {count} nodes of the type {}, and flows can have {most}.",
                kind.as_str()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_are_counted_by_kind_on_all_levels() {
        let node = |name: &str, kind: &str, configuration: serde_json::Value| json!({"name": name, "type": kind, "configuration": configuration});
        let conditions = |count: usize| {
            let one = json!({"condition": {"conditions": [{"name": "default"}]}});
            (0..count).map(|n| node(&format!("C{n}"), "Condition", one.clone())).collect::<Vec<_>>()
        };
        let read = |nodes: Vec<serde_json::Value>| -> FlowDefinition {
            serde_json::from_value(json!({"nodes": nodes})).unwrap()
        };
        assert!(check(&read(conditions(5))).is_ok());
        assert_eq!(check(&read(conditions(6))).unwrap_err().code, "ServiceQuotaExceededException");
        let mut nested = conditions(5);
        nested.push(node("L", "Loop", json!({"loop": {"definition": {"nodes": [conditions(1)[0]]}}})));
        assert!(check(&read(nested)).is_err());
    }
}
