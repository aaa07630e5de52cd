//! Inline code nodes: Python behind walls, which sees the node's inputs as variables and gives its last line's value.

use craton_sandbox::{Program, SandboxError};
use craton_wire::ApiError;
use serde_json::Value;

use super::{Nodes, gave};
use crate::run::{Call, Work};

impl Nodes {
    pub(super) async fn code(&self, call: &Call<'_>, code: &str) -> Result<Work, ApiError> {
        let variables = call.inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let program = Program { code: code.to_owned(), variables, ..Program::default() };
        let mut limits = self.parts.sandbox.limits();
        limits.result_bytes = limits.result_bytes.max(self.parts.config.max_value_bytes);
        let outcome = self.parts.sandbox.run(program, limits).await.map_err(sandbox_error)?;
        if !outcome.exit.is_success() {
            return Err(ApiError::new("DependencyFailedException", outcome.exit.to_string()));
        }
        let result = outcome.result.filter(|value| *value != Value::Null);
        let value = result.ok_or_else(|| {
            ApiError::validation(
                "the last line of the code has no value that fits JSON. End it with an expression",
            )
        })?;
        Ok(gave("response", value, None))
    }
}

fn sandbox_error(error: SandboxError) -> ApiError {
    ApiError::new("DependencyFailedException", error.to_string())
}
