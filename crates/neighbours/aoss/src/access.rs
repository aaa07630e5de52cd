//! What policies say, and whom data access policies mean: their principals are kept by unique id beside the text, so that
//! a user or role that is deleted and made again has none of what its predecessor was given.

use std::collections::BTreeMap;

use craton_core::Arn;
use craton_identity::PolicySource;
use craton_identity::policy::matches_wildcards;
use serde_json::{Value, json};

/// The unique ids of principals that were there when a policy was stored, by what it calls them.
pub(crate) type Bound = BTreeMap<String, String>;

/// What may be given on resources of a type.
const PERMISSIONS: [(&str, &[&str]); 3] = [
    (
        "collection",
        &[
            "aoss:CreateCollectionItems",
            "aoss:DeleteCollectionItems",
            "aoss:UpdateCollectionItems",
            "aoss:DescribeCollectionItems",
            "aoss:*",
        ],
    ),
    (
        "index",
        &[
            "aoss:CreateIndex",
            "aoss:DeleteIndex",
            "aoss:UpdateIndex",
            "aoss:DescribeIndex",
            "aoss:ReadDocument",
            "aoss:WriteDocument",
            "aoss:*",
        ],
    ),
    // There are none here: what is said of them is kept, and gives nothing.
    (
        "model",
        &[
            "aoss:CreateMLResource",
            "aoss:DeleteMLResource",
            "aoss:UpdateMLResource",
            "aoss:DescribeMLResource",
            "aoss:ExecuteMLResource",
            "aoss:*",
        ],
    ),
];

/// The statements of a policy, which may be one without a list.
pub(crate) fn statements(policy: &Value) -> &[Value] {
    match policy {
        Value::Array(statements) => statements,
        one => std::slice::from_ref(one),
    }
}

/// The rules of a statement.
pub(crate) fn rules(statement: &Value) -> impl Iterator<Item = &Value> {
    statement["Rules"].as_array().into_iter().flatten()
}

/// The texts in a list of a statement or a rule.
pub(crate) fn texts<'v>(of: &'v Value, field: &str) -> impl Iterator<Item = &'v str> {
    of[field].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether a rule's pattern, with `*` for any characters, names a resource.
pub(crate) fn names(pattern: &str, resource: &str) -> bool {
    // Nothing has such a name, and it is no wildcard here.
    !pattern.contains('?') && matches_wildcards(pattern, resource)
}

/// Whether one of a policy's rules names `resource`.
pub(crate) fn covers(policy: &Value, resource: &str) -> bool {
    let rules = statements(policy).iter().flat_map(rules);
    rules.flat_map(|rule| texts(rule, "Resource")).any(|pattern| names(pattern, resource))
}

/// Whether a field is a list of texts, and of one at least.
fn listed(of: &Value, field: &str) -> bool {
    of[field].as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
}

/// What is wrong with a security policy of this type, if anything is.
pub(crate) fn security_problem(r#type: &str, policy: &Value) -> Option<String> {
    if r#type == "encryption" {
        if !policy.is_object() {
            return Some("$: an encryption policy is one object".into());
        }
        if policy["AWSOwnedKey"] != true && !policy["KmsARN"].is_string() {
            return Some("$: AWSOwnedKey, which is true, or KmsARN is required".into());
        }
        return security_rules(policy, "$", &["collection"]);
    }
    let wrong = |(at, statement): (usize, &Value)| {
        let at = format!("$[{at}]");
        let opened = ["SourceVPCEs", "SourceServices"].iter().any(|field| listed(statement, field));
        if statement["AllowFromPublic"] != true && !opened {
            return Some(format!(
                "{at}: AllowFromPublic, which is true, or a list of SourceVPCEs or SourceServices is required"
            ));
        }
        security_rules(statement, &at, &["collection", "dashboard"])
    };
    let none = || Some("$: a network policy is a list of at least one statement".to_owned());
    if statements(policy).is_empty() { none() } else { statements(policy).iter().enumerate().find_map(wrong) }
}

fn security_rules(statement: &Value, at: &str, types: &[&str]) -> Option<String> {
    if statement["Rules"].as_array().is_none_or(Vec::is_empty) {
        return Some(format!("{at}.Rules: a list of rules is required"));
    }
    rules(statement).enumerate().find_map(|(place, rule)| {
        let at = format!("{at}.Rules[{place}]");
        if !rule["ResourceType"].as_str().is_some_and(|named| types.contains(&named)) {
            return Some(format!("{at}.ResourceType: must be {}", types.join(" or ")));
        }
        if !listed(rule, "Resource") {
            return Some(format!("{at}: Resource is a list of at least one text"));
        }
        let other = texts(rule, "Resource").find(|resource| !resource.starts_with("collection/"))?;
        Some(format!("{at}.Resource: {other} does not begin with collection/"))
    })
}

/// What is wrong with a data access policy, if anything is.
pub(crate) fn problem(policy: &Value) -> Option<String> {
    for (at, statement) in statements(policy).iter().enumerate() {
        if !listed(statement, "Principal") {
            return Some(format!("$[{at}].Principal: a list of principals is required"));
        }
        if let Some(named) = texts(statement, "Principal").find(|named| !is_principal(named)) {
            return Some(format!("$[{at}].Principal: {named} is not the ARN of a user, a role or a session"));
        }
        if statement["Rules"].as_array().is_none_or(Vec::is_empty) {
            return Some(format!("$[{at}].Rules: a list of rules is required"));
        }
        for (place, rule) in rules(statement).enumerate() {
            let at = format!("$[{at}].Rules[{place}]");
            let kind = rule["ResourceType"].as_str().unwrap_or_default();
            let Some((kind, permissions)) = PERMISSIONS.iter().find(|(known, _)| *known == kind) else {
                return Some(format!("{at}.ResourceType: must be collection, index or model"));
            };
            if !listed(rule, "Resource") || !listed(rule, "Permission") {
                return Some(format!("{at}: Resource and Permission are lists of at least one text"));
            }
            let prefix = format!("{kind}/");
            if let Some(other) = texts(rule, "Resource").find(|resource| !resource.starts_with(&prefix)) {
                return Some(format!("{at}.Resource: {other} does not begin with {prefix}"));
            }
            if let Some(other) = texts(rule, "Permission").find(|one| !permissions.contains(one)) {
                return Some(format!("{at}.Permission: {other} is none of {}", permissions.join(", ")));
            }
        }
    }
    None
}

/// Whether somebody could be called so, here or in another account: nobody is found by a pattern but the sessions of a
/// role.
fn is_principal(named: &str) -> bool {
    let Ok(arn) = named.parse::<Arn>() else { return false };
    let of_role =
        |rest: &str| rest.split_once('/').is_some_and(|(role, session)| is_name(role) && !session.is_empty());
    let account = arn.account.len() == 12 && arn.account.bytes().all(|byte| byte.is_ascii_digit());
    let named = match (arn.service.as_str(), arn.resource.split_once('/')) {
        ("iam", None) => arn.resource == "root",
        ("iam", Some(("user" | "role", name))) => is_name(name),
        ("sts", Some(("assumed-role", rest))) => of_role(rest),
        _ => false,
    };
    account && named && arn.region.is_empty()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['*', '?'])
}

/// The unique ids of those of a policy's principals that are there.
pub(crate) fn bind(policy: &Value, source: &dyn PolicySource) -> Bound {
    let principals = statements(policy).iter().flat_map(|statement| texts(statement, "Principal"));
    let id_of = |named: &str| {
        let asked = json!({"Statement": [{"Principal": {"AWS": named}}]}).to_string();
        let bound: Value = serde_json::from_str(&source.bind_principals(&asked).ok()?).ok()?;
        let id = bound["Statement"][0]["Principal"]["AWS"].as_str()?;
        (id != named).then(|| id.to_owned())
    };
    principals.filter_map(|named| Some((named.to_owned(), id_of(named)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(principal: &str, kind: &str, resource: &str, permission: &str) -> Value {
        json!([{"Principal": [principal], "Description": "d", "Rules":
            [{"ResourceType": kind, "Resource": [resource], "Permission": [permission]}]}])
    }

    #[test]
    fn principals_and_permissions_that_nobody_can_have_are_refused() {
        let role = "arn:aws:iam::123456789012:role/path/R";
        let of = |named: &str| problem(&policy(named, "index", "index/v/*", "aoss:ReadDocument"));
        for named in [
            role,
            "arn:aws:iam::999999999999:user/ann",
            "arn:aws:iam::123456789012:root",
            "arn:aws:sts::123456789012:assumed-role/R/s",
            "arn:aws:sts::123456789012:assumed-role/R/*",
        ] {
            assert_eq!(of(named), None, "{named}");
        }
        for named in [
            "*",
            "",
            "ann",
            "ARN:AWS:IAM::123456789012:user/ann",
            "arn:aws:iam::123456789012:user/*",
            "arn:aws:iam::123456789012:group/g",
            "arn:aws:iam::1234:user/ann",
            "arn:aws:sts::123456789012:assumed-role/*/s",
            "arn:aws:sts::123456789012:assumed-role/R",
            "saml/123456789012/p/user/u",
        ] {
            assert!(of(named).is_some_and(|told| told.contains("Principal")), "{named}");
        }
        for (kind, resource, permission) in [
            ("index", "index/v/*", "aoss:Nope"),
            ("index", "index/v/*", "aoss:CreateCollectionItems"),
            ("index", "collection/v", "aoss:*"),
            ("collection", "collection/v", "aoss:ReadDocument"),
            ("dashboard", "dashboard/v", "aoss:*"),
        ] {
            assert!(problem(&policy(role, kind, resource, permission)).is_some(), "{kind} {permission}");
        }
        for broken in [json!([{}]), json!({"Principal": [role]}), json!([{"Principal": [7], "Rules": []}])] {
            assert!(problem(&broken).is_some(), "{broken}");
        }
        assert_eq!(problem(&json!([])), None);
    }

    #[test]
    fn security_policies_that_say_nothing_are_refused() {
        let rules = json!([{"ResourceType": "collection", "Resource": ["collection/a"]}]);
        let dashboard = json!([{"ResourceType": "dashboard", "Resource": ["collection/a"]}]);
        let index = json!([{"ResourceType": "collection", "Resource": ["index/a"]}]);
        for (kind, policy, part) in [
            ("encryption", json!({"Foo": 1}), "AWSOwnedKey"),
            ("encryption", json!([{"Rules": rules, "AWSOwnedKey": true}]), "one object"),
            ("encryption", json!({"Rules": rules, "AWSOwnedKey": false}), "AWSOwnedKey"),
            ("encryption", json!({"AWSOwnedKey": true}), "$.Rules"),
            ("encryption", json!({"Rules": dashboard, "AWSOwnedKey": true}), "ResourceType"),
            ("network", json!([]), "at least one"),
            ("network", json!([{"Rules": rules}]), "AllowFromPublic"),
            ("network", json!([{"AllowFromPublic": true}]), "$[0].Rules"),
            ("network", json!([{"AllowFromPublic": true, "Rules": index}]), "begin with collection/"),
        ] {
            let problem = security_problem(kind, &policy).unwrap_or_default();
            assert!(problem.contains(part), "{policy}: {problem}");
        }
        let key = "arn:aws:kms:us-east-1:123456789012:key/a";
        for (kind, policy) in [
            ("encryption", json!({"Rules": rules, "AWSOwnedKey": true})),
            ("encryption", json!({"Rules": rules, "AWSOwnedKey": false, "KmsARN": key})),
            ("network", json!([{"Rules": dashboard, "AllowFromPublic": false, "SourceVPCEs": ["vpce-1"]}])),
        ] {
            assert_eq!(security_problem(kind, &policy), None, "{policy}");
        }
    }

    #[test]
    fn stars_stand_for_any_characters_and_nothing_else_does() {
        let policy = policy("a", "index", "index/v*/notes-*", "aoss:*");
        assert!(covers(&policy, "index/vec/notes-1") && !covers(&policy, "index/vec/other"));
        assert!(!names("index/v/a?", "index/v/ab"));
    }
}
