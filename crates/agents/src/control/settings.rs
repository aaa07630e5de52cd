//! From the requests that create and change an agent to its settings, and what those must be beyond what the API's
//! model says.

use craton_api_bedrock_agent as api;
use craton_wire::ApiError;

use super::prompt_overrides;
use super::records::Settings;

/// Seconds that a session lives without a request, where the agent doesn't say.
const IDLE_SESSION_TTL_S: i32 = 600;

/// Days that summaries of sessions are kept, and how many go into a prompt, where the agent doesn't say.
pub(crate) const STORAGE_DAYS: i32 = 30;
pub(crate) const MAX_RECENT_SESSIONS: i32 = 20;

/// The two requests have the same fields, but for what is required.
macro_rules! settings {
    ($input:ident, $foundation_model:expr, $role_arn:expr) => {{
        let custom = $input.orchestration_type == Some(api::OrchestrationType::CustomOrchestration);
        refuse_custom(custom || $input.custom_orchestration.is_some())?;
        checked(Settings {
            name: $input.agent_name,
            instruction: $input.instruction,
            foundation_model: $foundation_model,
            description: $input.description,
            idle_session_ttl_s: $input.idle_session_ttl_in_seconds.unwrap_or(IDLE_SESSION_TTL_S),
            role_arn: $role_arn,
            customer_encryption_key_arn: $input.customer_encryption_key_arn,
            prompt_overrides: $input.prompt_override_configuration,
            guardrail: $input.guardrail_configuration,
            memory: $input.memory_configuration,
            collaboration: $input.agent_collaboration.unwrap_or(api::AgentCollaboration::Disabled),
        })
    }};
}

impl TryFrom<api::CreateAgentRequest> for Settings {
    type Error = ApiError;

    fn try_from(input: api::CreateAgentRequest) -> Result<Self, ApiError> {
        settings!(input, input.foundation_model, input.agent_resource_role_arn)
    }
}

impl TryFrom<api::UpdateAgentRequest> for Settings {
    type Error = ApiError;

    fn try_from(input: api::UpdateAgentRequest) -> Result<Self, ApiError> {
        settings!(input, Some(input.foundation_model), Some(input.agent_resource_role_arn))
    }
}

/// Of stored agents and of those that come with their call.
pub(crate) fn refuse_custom(custom_orchestration: bool) -> Result<(), ApiError> {
    if !custom_orchestration {
        return Ok(());
    }
    Err(ApiError::validation(
        "This server does not serve custom orchestration. Leave customOrchestration out, and use the \
         orchestrationType DEFAULT.",
    ))
}

fn checked(mut settings: Settings) -> Result<Settings, ApiError> {
    if let Some(guardrail) = &settings.guardrail {
        match (&guardrail.guardrail_identifier, &guardrail.guardrail_version) {
            (Some(_), Some(_)) => {}
            // An empty configuration takes the guardrail away.
            (None, None) => settings.guardrail = None,
            _ => {
                return Err(ApiError::validation(
                    "The guardrailConfiguration needs both a guardrailIdentifier and a guardrailVersion.",
                ));
            }
        }
    }
    if let Some(memory) = &mut settings.memory {
        memory.storage_days.get_or_insert(STORAGE_DAYS);
        let summary = memory.session_summary_configuration.get_or_insert_default();
        summary.max_recent_sessions.get_or_insert(MAX_RECENT_SESSIONS);
    }
    if let Some(overrides) = &settings.prompt_overrides {
        prompt_overrides::check(overrides)?;
    }
    Ok(settings)
}
