//! Whether a run may touch what its agent names: by the agent's role, or for an inline agent by its caller.

use craton_core::Arn;
use craton_identity::{AuthorizationRequest, ServiceUse};
use craton_wire::ApiError;

use super::turn::Run;

const SERVICE: &str = "bedrock.amazonaws.com";
/// How cross-region inference profiles' ids begin.
const PROFILES: &[&str] = &["us.", "eu.", "apac.", "global.", "us-gov.", "jp.", "au."];

impl Run {
    pub(super) fn permit(&self, action: &str, resource: &str) -> Result<(), ApiError> {
        match &self.agent.role_arn {
            Some(role_arn) => {
                let agent = format!(
                    "arn:aws:bedrock:{}:{}:agent/{}",
                    self.agent.region, self.agent.account, self.agent.agent_id
                );
                let usage = ServiceUse { role_arn, service: SERVICE, source_arn: Some(&agent) };
                self.runs.parts.roles.authorize_use(&usage, action, resource)
            }
            None => {
                let resources: Vec<Arn> = resource.parse().into_iter().collect();
                let request = AuthorizationRequest::new(action, &resources);
                self.runs.parts.authorizer.authorize(&self.context.principal, &request)
            }
        }
    }

    pub(super) fn permit_model(&self, model: &str) -> Result<(), ApiError> {
        self.permit("bedrock:InvokeModel", &model_arn(model, &self.context.region, &self.context.account.id))
    }

    pub(super) fn knowledge_base_arn(&self, id: &str) -> String {
        format!("arn:aws:bedrock:{}:{}:knowledge-base/{id}", self.context.region, self.context.account.id)
    }
}

fn model_arn(model: &str, region: &str, account: &str) -> String {
    if model.starts_with("arn:") {
        model.to_owned()
    } else if PROFILES.iter().any(|prefix| model.starts_with(prefix)) {
        format!("arn:aws:bedrock:{region}:{account}:inference-profile/{model}")
    } else {
        format!("arn:aws:bedrock:{region}::foundation-model/{model}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_the_arns_that_policies_name() {
        let of = |model: &str| model_arn(model, "us-east-1", "123456789012");
        assert_eq!(
            of("amazon.nova-pro-v1:0"),
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0"
        );
        assert_eq!(
            of("us.amazon.nova-pro-v1:0"),
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0"
        );
        assert_eq!(of("arn:aws:bedrock:x"), "arn:aws:bedrock:x");
    }
}
