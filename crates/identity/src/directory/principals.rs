//! The users and roles that policies name as principals: kept by their unique ids, shown by their ARNs.
//!
//! As at AWS. A policy that trusts `user/ada` trusts that Ada: were her name kept, whoever may delete and make users
//! could make another Ada and have what the policy gives. Trust policies, and the policies of resources here, of buckets
//! and of functions are all written and shown through this.

use std::borrow::Cow;

use serde_json::Value;

use super::state::State;
use crate::policy::{Malformed, is_unique_id};

impl State {
    /// A policy's text with the ids of this account's users and roles in place of their ARNs. Refuses an ARN or id of
    /// nobody who is here. Principals of other accounts stay as they are.
    pub fn bind_principals<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, Malformed> {
        rewritten(text, &mut |value| self.id_of(value))
    }

    /// The same backwards. The id of somebody who is here no longer stays.
    pub fn show_principals<'t>(&self, text: &'t str) -> Cow<'t, str> {
        rewritten(text, &mut |value| Ok(self.arn_of_id(value))).unwrap_or(Cow::Borrowed(text))
    }

    /// The unique id of the user, role or session that a principal names; `None` where it names none of this account.
    fn id_of(&self, value: &str) -> Result<Option<String>, Malformed> {
        let unknown = || Malformed::principal("AWS", value);
        if is_unique_id(value) {
            return if self.arn_of_id(value).is_some() { Ok(None) } else { Err(unknown()) };
        }
        let mut parts = value.splitn(6, ':').skip(2);
        let (service, account, resource) = (parts.next(), parts.nth(1), parts.next().unwrap_or_default());
        if account != Some(self.account()) {
            return Ok(None);
        }
        let (kind, path) = resource.split_once('/').unwrap_or((resource, ""));
        let name = path.rsplit('/').next().unwrap_or_default();
        let found = match (service, kind) {
            (Some("iam"), "user") => {
                let user = self.user(name).ok().filter(|user| user.arn(self.account()) == value);
                user.map(|user| user.id.clone())
            }
            (Some("iam"), "role") => {
                let role = self.role(name).ok().filter(|role| role.arn(self.account()) == value);
                role.map(|role| role.id.clone())
            }
            (Some("sts"), "assumed-role") => {
                let (role, session) = path.split_once('/').ok_or_else(unknown)?;
                let role = self.role(role).ok().filter(|own| own.name == role && !session.contains('/'));
                role.map(|role| format!("{}:{session}", role.id))
            }
            _ => return Ok(None),
        };
        found.map(Some).ok_or_else(unknown)
    }

    /// Whose id it is: the ARN of the user, the role, or the role's session.
    fn arn_of_id(&self, value: &str) -> Option<String> {
        let account = self.account();
        let (id, session) = value.split_once(':').map_or((value, None), |(id, name)| (id, Some(name)));
        let role = || self.roles().find(|role| role.id == id);
        match session {
            _ if !is_unique_id(value) => None,
            Some(session) => {
                role().map(|role| format!("arn:aws:sts::{account}:assumed-role/{}/{session}", role.name))
            }
            None => {
                let user = self.users().find(|user| user.id == id).map(|user| user.arn(account));
                user.or_else(|| role().map(|role| role.arn(account)))
            }
        }
    }
}

type Change<'c> = &'c mut dyn FnMut(&str) -> Result<Option<String>, Malformed>;

/// A policy's text with its principals of the kind `AWS` changed; as it is where none is.
fn rewritten<'t>(text: &'t str, change: Change<'_>) -> Result<Cow<'t, str>, Malformed> {
    let mut document: Value = serde_json::from_str(text).map_err(|_| Malformed::SYNTAX)?;
    let mut changed = false;
    for statement in each(document.get_mut("Statement")) {
        for name in ["Principal", "NotPrincipal"] {
            for value in each(statement.get_mut(name).and_then(|own| own.get_mut("AWS"))) {
                let Value::String(own) = value else { continue };
                if let Some(other) = change(own)? {
                    *own = other;
                    changed = true;
                }
            }
        }
    }
    Ok(if changed { Cow::Owned(document.to_string()) } else { Cow::Borrowed(text) })
}

/// The members of a list, or the one that stands alone.
fn each(value: Option<&mut Value>) -> &mut [Value] {
    match value {
        Some(Value::Array(list)) => list,
        Some(one) => std::slice::from_mut(one),
        None => &mut [],
    }
}
