use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use craton_core::{Arn, Principal};
use craton_wire::ApiError;
use smallvec::smallvec;

use crate::policy::{
    Denial, Keys, Policies, Policy, PolicyType, Request, Requester, RequesterKind, ResourceSide, Values,
    Verdict, evaluate,
};
use crate::request_keys::rfc3339;
use crate::source::{Attached, PolicySource, requester};

/// What a principal wants to do.
#[derive(Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// An IAM action, such as `bedrock:InvokeModel`.
    pub action: &'a str,
    /// Every one of them must be allowed. Operations on no resource pass none.
    pub resources: &'a [Arn],
    /// The request's context keys. Those of the principal are added by the authorizer and can't be overridden.
    pub context: &'a dyn Keys,
    /// The resources' own policy, such as a bucket's.
    pub resource_policy: Option<&'a Policy>,
    /// The resources are roles that are to be assumed: the trust policy of each decides, and a role that is not there is
    /// refused in the same words.
    pub assumes: bool,
}

impl<'a> AuthorizationRequest<'a> {
    /// Without context keys or a resource policy.
    pub fn new(action: &'a str, resources: &'a [Arn]) -> Self {
        Self { action, resources, context: &(), resource_policy: None, assumes: false }
    }

    /// The error that AWS gives for a denial.
    pub(crate) fn refusal(&self, arn: &str, resource: Option<&Arn>, denial: Denial) -> ApiError {
        let on = resource.map(|arn| format!(" on resource: {arn}")).unwrap_or_default();
        let action = self.action;
        if self.assumes {
            let message = format!("User: {arn} is not authorized to perform: {action}{on}");
            return ApiError::access_denied(message);
        }
        let reason = denial.reason(action);
        ApiError::access_denied(format!("User: {arn} is not authorized to perform: {action}{on} {reason}"))
    }
}

/// An authorizer's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny {
        /// The resource that is refused; `None` for actions on no resource.
        resource: Option<Arn>,
        denial: Denial,
    },
}

/// Decides whether a principal may perform an action on resources.
pub trait Authorizer: Send + Sync {
    fn decide(&self, principal: &Principal, request: &AuthorizationRequest<'_>) -> Decision;

    /// Whether a policy that applies to the principal asks for a context key that begins so, in lower case:
    /// `aws:resourcetag/`. What costs something to find out is found out only then.
    fn asks_for(&self, principal: &Principal, prefix: &str) -> bool;

    /// What it knows of users, roles and resources.
    fn source(&self) -> &dyn PolicySource;

    /// [`Self::decide`], with a denial as the error that AWS gives for it.
    fn authorize(&self, principal: &Principal, request: &AuthorizationRequest<'_>) -> Result<(), ApiError> {
        match self.decide(principal, request) {
            Decision::Allow => Ok(()),
            Decision::Deny { resource, denial } => {
                Err(request.refusal(&principal.arn, resource.as_ref(), denial))
            }
        }
    }
}

/// Decides by the policies that a [`PolicySource`] knows. The root may do everything.
pub struct PolicyAuthorizer {
    source: Arc<dyn PolicySource>,
}

impl PolicyAuthorizer {
    pub fn new(source: Arc<dyn PolicySource>) -> Self {
        Self { source }
    }
}

impl Authorizer for PolicyAuthorizer {
    fn decide(&self, principal: &Principal, request: &AuthorizationRequest<'_>) -> Decision {
        let requester = requester(principal);
        if requester.kind == RequesterKind::Root && !request.assumes {
            return Decision::Allow;
        }
        let attached = match requester.kind {
            RequesterKind::Root => Arc::default(),
            _ => self.source.attached(principal).unwrap_or_default(),
        };
        if !request.assumes {
            let side = request.resource_policy.map_or(ResourceSide::Silent, ResourceSide::Own);
            return decide(principal, &requester, (&attached, side), request);
        }
        for arn in request.resources {
            let role = self.source.role(&arn.to_string());
            let decision = role.as_ref().map(|role| {
                let one = AuthorizationRequest { resources: std::slice::from_ref(arn), ..*request };
                decide(principal, &requester, (&attached, ResourceSide::Trust(&role.trust)), &one)
            });
            let denial = Denial { explicit: false, by: PolicyType::Trust };
            let refused = || Decision::Deny { resource: Some(arn.clone()), denial };
            if let decision @ Decision::Deny { .. } = decision.unwrap_or_else(refused) {
                return decision;
            }
        }
        Decision::Allow
    }

    fn source(&self) -> &dyn PolicySource {
        self.source.as_ref()
    }

    fn asks_for(&self, principal: &Principal, prefix: &str) -> bool {
        !principal.is_root()
            && self.source.attached(principal).is_some_and(|attached| attached.asks_for(prefix))
    }
}

impl Attached {
    /// Whether one of the policies asks for a context key that begins so.
    pub fn asks_for(&self, prefix: &str) -> bool {
        let session = self.session.iter().flatten();
        self.identity.iter().chain(&self.boundary).chain(session).any(|policy| policy.mentions(prefix))
    }

    /// What decides together with a resource.
    pub(crate) fn policies<'a>(&'a self, resource: ResourceSide<'a>) -> Policies<'a> {
        Policies {
            identity: &self.identity,
            boundary: self.boundary.as_deref(),
            session: self.session.as_deref(),
            resource,
        }
    }
}

/// Asks about one resource after the other.
pub(crate) fn decide(
    principal: &Principal,
    requester: &Requester,
    (attached, side): (&Attached, ResourceSide<'_>),
    request: &AuthorizationRequest<'_>,
) -> Decision {
    let policies = attached.policies(side);
    let keys = PrincipalKeys { principal, requester, tags: &attached.tags, request: request.context };
    let ask = |resource: &str| {
        evaluate(&Request { requester, action: request.action, resource, keys: &keys }, &policies)
    };
    if request.resources.is_empty() {
        return match ask("*") {
            Verdict::Allow => Decision::Allow,
            Verdict::Deny(denial) => Decision::Deny { resource: None, denial },
        };
    }
    for resource in request.resources {
        if let Verdict::Deny(denial) = ask(&resource.to_string()) {
            return Decision::Deny { resource: Some(resource.clone()), denial };
        }
    }
    Decision::Allow
}

/// The keys of the principal, then those of the request.
pub struct PrincipalKeys<'a> {
    pub principal: &'a Principal,
    /// What the principal is to policies.
    pub requester: &'a Requester,
    /// Those of the user or the role.
    pub tags: &'a BTreeMap<String, String>,
    pub request: &'a dyn Keys,
}

impl Keys for PrincipalKeys<'_> {
    fn values(&self, key: &str) -> Option<Values<'_>> {
        let one = |value: &str| -> Option<Values<'_>> { Some(smallvec![Cow::Owned(value.to_owned())]) };
        let Some(name) = key.strip_prefix("aws:") else { return self.request.values(key) };
        if let Some(tag) = name.strip_prefix("principaltag/") {
            // Tag keys are compared without regard to case; keys are in lower case already.
            let session = self.principal.session.iter().flat_map(|session| &session.tags);
            let mut tags = session.chain(self.tags);
            return tags.find(|(own, _)| own.to_lowercase() == tag).and_then(|(_, value)| one(value));
        }
        match name {
            // A session's principal is its role.
            "principalarn" => one(self.requester.role_arn.as_deref().unwrap_or(&self.principal.arn)),
            "principalaccount" => one(&self.requester.account).filter(|_| !self.requester.account.is_empty()),
            "principaltype" => match self.requester.kind {
                RequesterKind::Root => one("Account"),
                RequesterKind::User => one("User"),
                RequesterKind::AssumedRole => one("AssumedRole"),
                RequesterKind::FederatedUser => one("FederatedUser"),
                RequesterKind::Service => one("Service"),
                RequesterKind::Anonymous => one("Anonymous"),
            },
            "username" if self.requester.kind == RequesterKind::User => {
                self.principal.arn.rsplit('/').next().and_then(one)
            }
            "username" => None,
            "userid" => one(&self.principal.user_id).filter(|_| !self.principal.user_id.is_empty()),
            "sourceidentity" => self.principal.session.as_ref()?.source_identity.as_deref().and_then(one),
            "tokenissuetime" => one(&rfc3339(self.principal.session.as_ref()?.issued_ms)?),
            // There are no second factors here; only temporary credentials say so.
            "multifactorauthpresent" => self.principal.session.as_ref().and_then(|_| one("false")),
            _ => self.request.values(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyKind;
    use crate::source::{NoPolicies, RolePolicies};

    struct Everyone(Arc<Attached>);

    impl PolicySource for Everyone {
        fn attached(&self, _principal: &Principal) -> Option<Arc<Attached>> {
            Some(Arc::clone(&self.0))
        }

        fn role(&self, _role_arn: &str) -> Option<RolePolicies> {
            None
        }
    }

    fn principal(arn: &str) -> Principal {
        Principal::new(arn, "AKIA")
    }

    #[test]
    fn root_may_and_others_get_the_aws_message() {
        let nobody = PolicyAuthorizer::new(Arc::new(NoPolicies));
        let model = [Arn::new("bedrock", "us-east-1", "", "foundation-model/m")];
        let request = AuthorizationRequest::new("bedrock:InvokeModel", &model);
        let root = principal("arn:aws:iam::123456789012:root");
        assert_eq!(nobody.decide(&root, &request), Decision::Allow);
        let error = nobody.authorize(&principal("arn:aws:iam::123456789012:user/eve"), &request).unwrap_err();
        assert_eq!(error.code, "AccessDeniedException");
        assert_eq!(
            error.message,
            "User: arn:aws:iam::123456789012:user/eve is not authorized to perform: bedrock:InvokeModel on resource: \
             arn:aws:bedrock:us-east-1::foundation-model/m because no identity-based policy allows the \
             bedrock:InvokeModel action"
        );
    }

    #[test]
    fn the_principals_own_keys_come_from_nowhere_else() {
        let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"bedrock:*","Resource":"*",
            "Condition":{"StringEquals":{"aws:PrincipalTag/Team":"red","aws:username":"eve"}}}}"#;
        let policy = Arc::new(Policy::parse(text, PolicyKind::Managed).unwrap());
        let forged = crate::policy::Context::new().with("aws:PrincipalTag/team", "red");
        for (tag, user, expected) in
            [("red", "user/x/eve", true), ("blue", "user/eve", false), ("red", "user/adam", false)]
        {
            let tags = BTreeMap::from([("team".to_owned(), tag.to_owned())]);
            let attached = Attached { identity: vec![Arc::clone(&policy)], tags, ..Attached::default() };
            let authorizer = PolicyAuthorizer::new(Arc::new(Everyone(Arc::new(attached))));
            let mut request = AuthorizationRequest::new("bedrock:ListGuardrails", &[]);
            request.context = &forged;
            let who = principal(&format!("arn:aws:iam::123456789012:{user}"));
            assert_eq!(authorizer.decide(&who, &request) == Decision::Allow, expected, "{tag} {user}");
            assert!(authorizer.asks_for(&who, "aws:principaltag/") && !authorizer.asks_for(&who, "aws:res"));
        }
    }
}
