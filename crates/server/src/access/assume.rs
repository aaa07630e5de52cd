//! Beginning a session of a role: what is asked of the role's trust policy and of the caller's own policies.

use craton_core::Arn;
use serde_json::{Map, Value};

use super::{Question, Subject, resource, text};

/// The questions of an AssumeRole: tags and a source identity each need a permission of their own.
pub(super) fn questions(subject: &Subject<'_>) -> Vec<Question> {
    let document = subject.document;
    let role = text(document, "RoleArn").and_then(|arn| arn.parse().ok()).map(Arn::canonical);
    let role = role.unwrap_or_else(|| resource::arn(subject, "role/*"));
    let is_given = |name: &str| match document.get(name) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Null) | None => false,
        Some(_) => true,
    };
    let mut actions = vec!["sts:AssumeRole"];
    actions.extend(is_given("Tags").then_some("sts:TagSession"));
    actions.extend(is_given("SourceIdentity").then_some("sts:SetSourceIdentity"));
    let keys = keys(document);
    let ask = |action: &str| Question {
        keys: keys.clone(),
        assumes: true,
        ..Question::on(action, Some(role.clone()))
    };
    actions.into_iter().map(ask).collect()
}

/// STS's own context keys.
fn keys(document: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let named = [
        ("sts:rolesessionname", "RoleSessionName"),
        ("sts:externalid", "ExternalId"),
        ("sts:sourceidentity", "SourceIdentity"),
    ];
    let named = named.into_iter().filter_map(|(key, member)| Some((key, text(document, member)?)));
    let transitive = document.get("TransitiveTagKeys").and_then(Value::as_array).into_iter().flatten();
    let transitive =
        transitive.filter_map(Value::as_str).map(|tag| ("sts:transitivetagkeys", tag.to_owned()));
    named.chain(transitive).collect()
}
