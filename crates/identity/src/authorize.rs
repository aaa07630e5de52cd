use craton_core::{Arn, Principal};
use craton_wire::ApiError;

/// An authorizer's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// With the reason, as a clause: `no identity-based policy allows the bedrock:InvokeModel action`.
    Deny {
        reason: String,
    },
}

/// Decides whether a principal may perform an action on resources.
pub trait Authorizer: Send + Sync {
    /// `action` is an IAM action such as `bedrock:InvokeModel`; every one of `resources` must be allowed. Operations
    /// on no resource pass none.
    fn decide(&self, principal: &Principal, action: &str, resources: &[Arn]) -> Decision;

    /// [`Self::decide`], with a denial as the error that AWS gives for it.
    fn authorize(&self, principal: &Principal, action: &str, resources: &[Arn]) -> Result<(), ApiError> {
        match self.decide(principal, action, resources) {
            Decision::Allow => Ok(()),
            Decision::Deny { reason } => {
                let on = resources.first().map(|arn| format!(" on resource: {arn}")).unwrap_or_default();
                Err(ApiError::access_denied(format!(
                    "User: {} is not authorized to perform: {action}{on} because {reason}",
                    principal.arn
                )))
            }
        }
    }
}

/// The account's root may do everything; nobody else exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct RootAllowsAll;

impl Authorizer for RootAllowsAll {
    fn decide(&self, principal: &Principal, action: &str, _resources: &[Arn]) -> Decision {
        if principal.arn.ends_with(":root") {
            Decision::Allow
        } else {
            Decision::Deny { reason: format!("no identity-based policy allows the {action} action") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_and_others_get_the_aws_message() {
        let principal = |arn: &str| Principal { arn: arn.into(), access_key_id: "AKIA".into() };
        let root = principal("arn:aws:iam::123456789012:root");
        assert_eq!(RootAllowsAll.decide(&root, "bedrock:InvokeModel", &[]), Decision::Allow);
        let user = principal("arn:aws:iam::123456789012:user/eve");
        let model = Arn::new("bedrock", "us-east-1", "", "foundation-model/m");
        let error = RootAllowsAll.authorize(&user, "bedrock:InvokeModel", &[model]).unwrap_err();
        assert_eq!(error.code, "AccessDeniedException");
        assert_eq!(
            error.message,
            "User: arn:aws:iam::123456789012:user/eve is not authorized to perform: bedrock:InvokeModel on resource: \
             arn:aws:bedrock:us-east-1::foundation-model/m because no identity-based policy allows the \
             bedrock:InvokeModel action"
        );
    }
}
