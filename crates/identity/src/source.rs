//! Which policies apply to whom. The directory of users, groups and roles answers; this crate only asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use craton_core::{Arn, Principal};

use crate::policy::{Malformed, Policy, Requester, RequesterKind};

/// What applies to a principal at this moment.
#[derive(Debug, Clone, Default)]
pub struct Attached {
    /// Inline and managed policies: a user's own and those of its groups, or a role's.
    pub identity: Vec<Arc<Policy>>,
    pub boundary: Option<Arc<Policy>>,
    /// Policies passed when the session began; `None` where none were passed.
    pub session: Option<Vec<Arc<Policy>>>,
    /// Tags of the user or the role, for `aws:PrincipalTag/…`. Those of the session are added to them.
    pub tags: BTreeMap<String, String>,
}

/// A role as what uses it needs to know it.
#[derive(Debug, Clone)]
pub struct RolePolicies {
    /// With its path: `arn:aws:iam::123456789012:role/service-role/R`.
    pub arn: String,
    /// `AROA…`.
    pub id: String,
    pub trust: Arc<Policy>,
    pub attached: Arc<Attached>,
}

/// Knows the policies of every principal. Asked at each decision, so an answer is a look-up, and a change counts from
/// the next question on.
pub trait PolicySource: Send + Sync {
    /// What applies to a principal; `None` for one that is there no longer. Never asked about the root.
    fn attached(&self, principal: &Principal) -> Option<Arc<Attached>>;

    /// The role with this ARN.
    fn role(&self, role_arn: &str) -> Option<RolePolicies>;

    /// The ARN, with its path, of the `user`, `role` or `group` of this name, or of the `user-of-key` with this id, if
    /// there is one.
    fn arn_of(&self, _kind: &str, _name: &str) -> Option<String> {
        None
    }

    /// The tags of the user, role or managed policy with this ARN.
    fn tags_of(&self, _arn: &str) -> Option<BTreeMap<String, String>> {
        None
    }

    /// A policy's text with the unique ids of the users and roles that it names as principals, so that whoever gets a
    /// name later does not get what the policy gives. Refuses the names of nobody; a source that knows nobody, all.
    fn bind_principals(&self, _text: &str) -> Result<String, Malformed> {
        Err(Malformed::NOBODY)
    }

    /// The same backwards, for showing a policy: the id of somebody who is there no longer stays.
    fn show_principals(&self, text: &str) -> String {
        text.to_owned()
    }

    /// The ARN of the policy that bounds the user or role with this ARN.
    fn boundary_of(&self, _arn: &str) -> Option<String> {
        None
    }

    /// The policy of the Bedrock resource with this ARN, if it has one of its own.
    fn resource_policy(&self, _arn: &str) -> Option<Arc<Policy>> {
        None
    }
}

/// Nobody but the root exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPolicies;

impl PolicySource for NoPolicies {
    fn attached(&self, _principal: &Principal) -> Option<Arc<Attached>> {
        None
    }

    fn role(&self, _role_arn: &str) -> Option<RolePolicies> {
        None
    }
}

/// A principal as policies see it.
pub fn requester(principal: &Principal) -> Requester {
    let nobody = |kind| Requester { kind, arn: principal.arn.clone(), ..Requester::default() };
    let Ok(arn) = principal.arn.parse::<Arn>() else {
        let service = principal.arn.ends_with(".amazonaws.com");
        return nobody(if service { RequesterKind::Service } else { RequesterKind::Anonymous });
    };
    let (kind, rest) = arn.resource.split_once('/').unwrap_or((&arn.resource, ""));
    let (kind, role_arn) = match (arn.service.as_str(), kind) {
        ("iam", "root") => (RequesterKind::Root, None),
        ("iam", "user") => (RequesterKind::User, None),
        ("sts", "assumed-role") => {
            // The session knows its role with the path, which its own ARN leaves out.
            let issuer = principal.session.as_ref().map(|session| session.issuer_arn.clone());
            let role = rest.split('/').next().unwrap_or_default();
            let role_arn =
                issuer.unwrap_or_else(|| format!("arn:{}:iam::{}:role/{role}", arn.partition, arn.account));
            (RequesterKind::AssumedRole, Some(role_arn))
        }
        ("sts", "federated-user") => (RequesterKind::FederatedUser, None),
        _ => return nobody(RequesterKind::Anonymous),
    };
    let (id, own) = (principal.user_id.clone(), principal.arn.clone());
    Requester { kind, role_arn, account: arn.account, arn: own, id }
}
