//! What data access policies let a caller do on a collection's endpoint. Without one that names the caller, the role of
//! its session or the user behind it, nothing; the root needs none.

use craton_core::{Principal, RequestContext};
use craton_wire::ApiError;
use serde_json::Value;

use super::RestError;
use crate::Collections;
use crate::access::{Bound, names, rules, statements, texts};

/// What of an index a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    CreateIndex,
    DeleteIndex,
    UpdateIndex,
    DescribeIndex,
    ReadDocument,
    WriteDocument,
}

impl Right {
    fn name(self) -> &'static str {
        match self {
            Self::CreateIndex => "aoss:CreateIndex",
            Self::DeleteIndex => "aoss:DeleteIndex",
            Self::UpdateIndex => "aoss:UpdateIndex",
            Self::DescribeIndex => "aoss:DescribeIndex",
            Self::ReadDocument => "aoss:ReadDocument",
            Self::WriteDocument => "aoss:WriteDocument",
        }
    }
}

/// What a caller may do in one collection.
pub(super) enum Grants {
    Everything,
    Granted {
        caller: String,
        collection: String,
        /// Patterns of indexes and the permissions on them.
        rules: Vec<(String, Vec<String>)>,
    },
}

impl Grants {
    pub(super) fn allow(&self, right: Right, index: &str) -> bool {
        let Self::Granted { collection, rules, .. } = self else { return true };
        let resource = format!("index/{collection}/{index}");
        let permits = |given: &String| given == "aoss:*" || given == right.name();
        rules
            .iter()
            .any(|(pattern, permissions)| names(pattern, &resource) && permissions.iter().any(permits))
    }

    pub(super) fn check(&self, right: Right, index: &str) -> Result<(), RestError> {
        match self {
            Self::Granted { caller, collection, .. } if !self.allow(right, index) => Err(RestError {
                status: 403,
                kind: "security_exception",
                reason: format!(
                    "no data access policy gives {caller} {} on index/{collection}/{index}",
                    right.name()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The rules on indexes of the policies that name the caller.
    fn of(caller: &Principal, collection: &str, policies: &[(Value, Bound)]) -> Self {
        let about = policies.iter().flat_map(|(policy, bound)| {
            let names = move |named: &str| match bound.get(named) {
                Some(id) => has_id(id, caller),
                None => is_named(named, caller),
            };
            statements(policy).iter().filter(move |one| texts(one, "Principal").any(names))
        });
        let on_indexes = about.flat_map(rules).filter(|rule| rule["ResourceType"] == "index");
        let rules = on_indexes.flat_map(|rule| {
            let permissions: Vec<_> = texts(rule, "Permission").map(str::to_owned).collect();
            texts(rule, "Resource").map(move |pattern| (pattern.to_owned(), permissions.clone()))
        });
        Self::Granted {
            caller: caller.arn.clone(),
            collection: collection.to_owned(),
            rules: rules.collect(),
        }
    }
}

impl Collections {
    pub(super) async fn grants(
        &self,
        context: &RequestContext,
        collection: &str,
    ) -> Result<Grants, ApiError> {
        if context.principal.is_root() {
            return Ok(Grants::Everything);
        }
        let policies = self.data_access_policies(context).await?;
        Ok(Grants::of(&context.principal, collection, &policies))
    }
}

/// Whether a policy's principal is the caller: its own ARN, the role that its session is of or all sessions of it, or the
/// user that it got temporary credentials as.
fn is_named(named: &str, caller: &Principal) -> bool {
    let of_all_sessions = || {
        let role = named.strip_suffix("/*").filter(|role| role.contains(":assumed-role/"))?;
        caller.arn.strip_prefix(role)?.strip_prefix('/')
    };
    let issuer = caller.session.as_ref().map(|session| session.issuer_arn.as_str());
    named == caller.arn || issuer == Some(named) || of_all_sessions().is_some()
}

/// The same by a unique id: a user's or a role's, or `AROA…:SESSION`, where `*` is all of them.
fn has_id(id: &str, caller: &Principal) -> bool {
    let issuer = caller.session.as_ref().map(|session| session.issuer_id.as_str());
    let issued = id.strip_suffix(":*").unwrap_or(id);
    id == caller.user_id || issuer == Some(issued)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use craton_core::{Session, SessionKind};
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/path/Reader";

    fn user() -> Principal {
        Principal::new("arn:aws:iam::123456789012:user/ann", "AK")
    }

    fn of_role(name: &str) -> Principal {
        let session = Session {
            kind: SessionKind::AssumedRole,
            issuer_arn: ROLE.into(),
            issuer_id: "AROA".into(),
            name: name.into(),
            policies: Vec::new(),
            policy_arns: Vec::new(),
            tags: BTreeMap::new(),
            transitive_tags: Vec::new(),
            source_identity: None,
            issued_ms: 0,
            expires_ms: 0,
        };
        let arn = format!("arn:aws:sts::123456789012:assumed-role/Reader/{name}");
        Principal { session: Some(Arc::new(session)), ..Principal::new(arn, "AS") }
    }

    fn policy(principal: &str, resource: &str, permission: &str) -> (Value, Bound) {
        let policy = json!([{"Principal": [principal], "Rules": [
            {"ResourceType": "collection", "Resource": ["collection/vectors"], "Permission": ["aoss:*"]},
            {"ResourceType": "index", "Resource": [resource], "Permission": [permission]}]}]);
        (policy, Bound::new())
    }

    #[test]
    fn only_who_is_named_may_do_only_what_is_said_where_it_is_said() {
        let policies = [
            policy(&user().arn, "index/vec*/notes-*", "aoss:ReadDocument"),
            (json!({"Principal": 7}), Bound::new()),
        ];
        let grants = Grants::of(&user(), "vectors", &policies);
        assert!(grants.allow(Right::ReadDocument, "notes-1"));
        assert!(!grants.allow(Right::WriteDocument, "notes-1"));
        assert!(!grants.allow(Right::ReadDocument, "other"));
        assert!(!Grants::of(&user(), "others", &policies).allow(Right::ReadDocument, "notes-1"));
        assert!(!Grants::of(&of_role("s"), "vectors", &policies).allow(Right::ReadDocument, "notes-1"));
        assert!(!Grants::of(&user(), "vectors", &[]).allow(Right::DescribeIndex, "notes-1"));
        let all = [policy(&user().arn, "index/vectors/*", "aoss:*")];
        assert!(Grants::of(&user(), "vectors", &all).allow(Right::DeleteIndex, "notes-1"));
        assert!(!Grants::of(&user(), "vectors-2", &all).allow(Right::DeleteIndex, "notes-1"));
    }

    #[test]
    fn a_role_is_named_by_its_arn_one_session_or_all_of_them() {
        let may = |named: &str, session: &str| {
            let policies = [policy(named, "index/vectors/*", "aoss:*")];
            Grants::of(&of_role(session), "vectors", &policies).allow(Right::ReadDocument, "a")
        };
        assert!(may(ROLE, "one") && may(ROLE, "two"));
        let session = "arn:aws:sts::123456789012:assumed-role/Reader/one";
        assert!(may(session, "one") && !may(session, "two"));
        let all = "arn:aws:sts::123456789012:assumed-role/Reader/*";
        assert!(may(all, "one") && may(all, "two"));
        assert!(!may("arn:aws:sts::123456789012:assumed-role/Read/*", "one"));
        assert!(!may("arn:aws:iam::123456789012:role/*", "one") && !may("*", "one"));
    }

    #[test]
    fn who_has_a_name_after_another_has_none_of_their_rights() {
        let may = |caller: &Principal, named: &str, id: &str| {
            let bound = Bound::from([(named.to_owned(), id.to_owned())]);
            let policies = [(policy(named, "index/vectors/*", "aoss:*").0, bound)];
            Grants::of(caller, "vectors", &policies).allow(Right::ReadDocument, "a")
        };
        let ann = Principal { user_id: "AIDA1".into(), ..user() };
        assert!(may(&ann, &user().arn, "AIDA1") && !may(&ann, &user().arn, "AIDA0"));
        let session = Principal { user_id: "AROA:one".into(), ..of_role("one") };
        let of_one = "arn:aws:sts::123456789012:assumed-role/Reader/one";
        for (named, id) in [(ROLE, "AROA"), (of_one, "AROA:one"), (of_one, "AROA:*")] {
            assert!(may(&session, named, id), "{id}");
        }
        for (named, id) in [(ROLE, "AROB"), (of_one, "AROA:two"), (of_one, "AROB:*")] {
            assert!(!may(&session, named, id), "{id}");
        }
    }
}
