//! Converse's guardrail configuration and trace.

use craton_api_bedrock_runtime as api;
use craton_wire::ApiError;

use crate::guarded::{Guarding, TraceLevel};

/// Converse's `guardrailConfig`.
pub(super) fn asked(config: api::GuardrailConfiguration) -> Result<Guarding, ApiError> {
    Guarding::asked(config.guardrail_identifier, config.guardrail_version, level(config.trace))
}

/// ConverseStream's, which also says whether text waits for its judgement.
pub(super) fn asked_stream(config: api::GuardrailStreamConfiguration) -> Result<Guarding, ApiError> {
    let asynchronous = config.stream_processing_mode == Some(api::GuardrailStreamProcessingMode::Async);
    let guarding =
        Guarding::asked(config.guardrail_identifier, config.guardrail_version, level(config.trace))?;
    Ok(Guarding { asynchronous, ..guarding })
}

fn level(trace: Option<api::GuardrailTrace>) -> TraceLevel {
    match trace {
        Some(api::GuardrailTrace::Enabled) => TraceLevel::Enabled,
        Some(api::GuardrailTrace::EnabledFull) => TraceLevel::Full,
        Some(api::GuardrailTrace::Disabled) | None => TraceLevel::Disabled,
    }
}

pub(super) fn trace(guardrail: api::GuardrailTraceAssessment) -> api::ConverseTrace {
    api::ConverseTrace { guardrail: Some(guardrail), ..api::ConverseTrace::default() }
}

pub(super) fn stream_trace(guardrail: api::GuardrailTraceAssessment) -> api::ConverseStreamTrace {
    api::ConverseStreamTrace { guardrail: Some(guardrail), ..api::ConverseStreamTrace::default() }
}
