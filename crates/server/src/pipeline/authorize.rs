//! What IAM calls an operation and the resources it is on.

use craton_core::{Arn, RequestContext};
use craton_wire::route::Match;
use craton_wire::table::ServiceTable;

/// The IAM action of an operation. Where AWS gives an operation no action of its own, the one it is authorised by.
pub(super) fn action(table: &ServiceTable, operation: &str) -> String {
    let name = match operation {
        "Converse" => "InvokeModel",
        "ConverseStream" => "InvokeModelWithResponseStream",
        other => other,
    };
    format!("{}:{name}", table.signing_name)
}

/// The resources named in a request's path: a model, a profile or whatever an ARN says.
pub(super) fn resources(found: &Match, context: &RequestContext) -> Vec<Arn> {
    found
        .labels
        .iter()
        .filter_map(|(label, value)| {
            if value.starts_with("arn:") {
                return value.parse().ok();
            }
            let kind = match *label {
                "modelId" | "modelIdentifier" => "foundation-model",
                "inferenceProfileIdentifier" => "inference-profile",
                _ => return None,
            };
            let account = if kind == "foundation-model" { "" } else { &context.account.id };
            Some(Arn::new("bedrock", &context.region, account, format!("{kind}/{value}")))
        })
        .collect()
}
