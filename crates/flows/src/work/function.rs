//! Lambda function nodes, with the event that AWS documents for flows.

use craton_backend::function::{FunctionCall, FunctionError};
use craton_wire::ApiError;
use serde_json::{Value, json};

use super::{Nodes, gave};
use crate::run::{Call, Work};

impl Nodes {
    pub(super) async fn function(&self, call: &Call<'_>, arn: &str) -> Result<Work, ApiError> {
        self.allowed("lambda:InvokeFunction", arn).await?;
        let inputs = call.node.inputs.iter().map(|input| {
            json!({
                "name": input.name,
                "type": input.data_type,
                "expression": input.path.to_string(),
                "value": call.inputs.get(&input.name),
            })
        });
        let event = json!({
            "messageVersion": "1.0",
            "flow": {"flowArn": self.flow_arn, "flowAliasArn": self.alias_arn},
            "node": {"name": call.node.name, "inputs": inputs.collect::<Vec<_>>()},
        });
        let request = FunctionCall { arn: arn.to_owned(), payload: event.to_string().into() };
        let answer = self.parts.functions.invoke(request).await.map_err(function_error)?;
        let value: Value = serde_json::from_slice(&answer.payload)
            .map_err(|error| failed(format!("the function answered with what is no JSON: {error}")))?;
        if answer.failed {
            let text = |name: &str| value[name].as_str().unwrap_or("no reason given").to_owned();
            return Err(failed(format!(
                "the function failed: {}: {}",
                text("errorType"),
                text("errorMessage")
            )));
        }
        let action = self.action(("Lambda", "Invoke"), event, value.clone());
        Ok(gave("functionResponse", value, Some(action)))
    }
}

fn failed(message: String) -> ApiError {
    ApiError::new("DependencyFailedException", message)
}

fn function_error(error: FunctionError) -> ApiError {
    match error {
        FunctionError::NotFound(_) => ApiError::not_found(error.to_string()),
        FunctionError::Throttled(message) => ApiError::throttling(message),
        FunctionError::Invalid(message) => ApiError::validation(message),
        FunctionError::Unavailable(message) => failed(message),
    }
}
