//! Inline code nodes: Python behind walls, which sees the node's inputs as variables and gives its last line's value.

use craton_sandbox::{Exit, Program, SandboxError, Unfit};
use craton_wire::ApiError;
use serde_json::Value;

use super::{Nodes, gave};
use crate::run::{Call, Work};

/// Of a value that is shown in an error, in characters.
const MOST_SHOWN: usize = 200;

impl Nodes {
    pub(super) async fn code(&self, call: &Call<'_>, code: &str) -> Result<Work, ApiError> {
        let variables = call.inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let program = Program { code: code.to_owned(), variables, ..Program::default() };
        let mut limits = self.parts.sandbox.limits();
        limits.result_bytes = limits.result_bytes.max(self.parts.config.max_value_bytes);
        let most = limits.result_bytes;
        let outcome = self.parts.sandbox.run(program, limits).await.map_err(sandbox_error)?;
        if !outcome.exit.is_success() {
            return Err(ApiError::new("DependencyFailedException", outcome.exit.to_string()));
        }
        let value = outcome.result.filter(|value| *value != Value::Null).ok_or_else(|| {
            let shown = outcome.shown.as_deref().unwrap_or_default();
            ApiError::validation(match outcome.exit {
                Exit::Exited(status) => exited(status),
                _ => no_value(outcome.unfit, shown, most),
            })
        })?;
        Ok(gave("response", value, None))
    }
}

/// Why the code's last line gives the node nothing.
fn no_value(unfit: Option<Unfit>, shown: &str, most: usize) -> String {
    match unfit {
        Some(Unfit::TooLarge(length)) => format!(
            "the value of the code's last line has {length} characters as JSON, more than the {most} allowed"
        ),
        Some(Unfit::NoJson) => {
            let shown: String = shown.chars().take(MOST_SHOWN).collect();
            format!("the value of the code's last line does not fit JSON: {shown}")
        }
        None => {
            "the code's last line is no expression, or its value is None. End the code with what it gives"
                .to_owned()
        }
    }
}

fn exited(status: i32) -> String {
    format!(
        "the code ended its process with exit status {status} before its last line gave the node a value. End the code \
         with what it gives, and don't exit"
    )
}

fn sandbox_error(error: SandboxError) -> ApiError {
    ApiError::new("DependencyFailedException", error.public())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unusable_value_has_its_own_reason() {
        assert!(no_value(Some(Unfit::TooLarge(20_000_002)), "'xx…'", 8 << 20).contains("20000002"));
        assert!(no_value(Some(Unfit::NoJson), "{1, 2}", 1).ends_with("{1, 2}"));
        assert!(no_value(None, "", 1).contains("None"));
    }
}
