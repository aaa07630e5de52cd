//! Converse's guardrail configuration and trace.

use craton_api_bedrock_runtime as api;
use craton_guardrails::GuardReference;
use craton_wire::ApiError;

use crate::guarded::{Guarding, TraceLevel};

/// Converse's `guardrailConfig`.
pub(super) fn asked(config: api::GuardrailConfiguration) -> Result<Guarding, ApiError> {
    guarding(config.guardrail_identifier, config.guardrail_version, config.trace)
}

/// ConverseStream's, which also says whether text waits for its judgement.
pub(super) fn asked_stream(config: api::GuardrailStreamConfiguration) -> Result<Guarding, ApiError> {
    let asynchronous = config.stream_processing_mode == Some(api::GuardrailStreamProcessingMode::Async);
    let guarding = guarding(config.guardrail_identifier, config.guardrail_version, config.trace)?;
    Ok(Guarding { asynchronous, ..guarding })
}

fn guarding(
    identifier: Option<String>,
    version: Option<String>,
    trace: Option<api::GuardrailTrace>,
) -> Result<Guarding, ApiError> {
    let reference = match (identifier, version) {
        (Some(identifier), Some(version)) if !identifier.is_empty() && !version.is_empty() => {
            Some(GuardReference { identifier, version: Some(version) })
        }
        (None, None) => None,
        _ => {
            return Err(ApiError::validation(
                "The guardrailConfig needs both guardrailIdentifier and guardrailVersion. Add what is missing and try again.",
            ));
        }
    };
    let trace = match trace {
        Some(api::GuardrailTrace::Enabled) => TraceLevel::Enabled,
        Some(api::GuardrailTrace::EnabledFull) => TraceLevel::Full,
        Some(api::GuardrailTrace::Disabled) | None => TraceLevel::Disabled,
    };
    Ok(Guarding { guardrail: reference, trace, ..Guarding::default() })
}

pub(super) fn trace(guardrail: api::GuardrailTraceAssessment) -> api::ConverseTrace {
    api::ConverseTrace { guardrail: Some(guardrail), ..api::ConverseTrace::default() }
}

pub(super) fn stream_trace(guardrail: api::GuardrailTraceAssessment) -> api::ConverseStreamTrace {
    api::ConverseStreamTrace { guardrail: Some(guardrail), ..api::ConverseStreamTrace::default() }
}
