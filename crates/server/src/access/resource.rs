//! From what a request says to the ARN that policies speak of. A resource has one ARN here, however a client spells it:
//! as an id, as an ARN of whatever partition, with its version apart or within. Otherwise a `Deny` could be passed by
//! spelling its resource differently from the policy.

use craton_core::{Arn, RequestContext};
use serde_json::Value;

use super::{Lookups, Subject, text, vendor};

/// A resource from its template; `None` where the request names nothing that could be one. An identifier that is an ARN
/// is the resource, or the part of it that it stands for.
pub(super) fn fill(subject: &Subject<'_>, template: &str) -> Option<Arn> {
    if let Some(rest) = template.strip_prefix("function:{FunctionName}") {
        return Some(function(subject, rest.contains("{Qualifier}")));
    }
    let mut resource = String::new();
    // Region and account of the ARN that the rest is part of.
    let mut within: Option<Arn> = None;
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (path, after) = after.split_once('}')?;
        let value = value(subject, path);
        rest = after;
        if before == ":" {
            set_version(&mut resource, value.as_deref());
            continue;
        }
        let first = !resource.contains(['/', ':']) && within.is_none();
        resource.push_str(before);
        let value = match value {
            Some(value) => value,
            None if path == "Path" => "/".to_owned(),
            None if path == "UserName" => own_name(subject.context)?,
            None => "*".to_owned(),
        };
        match value.parse::<Arn>() {
            Ok(whole) if first => {
                resource.clone_from(&whole.resource);
                within = Some(whole);
            }
            Ok(part) => resource.push_str(part.resource.rsplit('/').next().unwrap_or_default()),
            // Only an ARN can stand alone.
            Err(_) if template.starts_with('{') => return None,
            Err(_) => resource.push_str(&value),
        }
    }
    resource.push_str(rest);
    if resource.ends_with(":DRAFT") {
        resource.truncate(resource.len() - ":DRAFT".len());
    }
    Some(match within {
        Some(whole) => Arn { resource, ..whole }.canonical(),
        None => arn(subject, &resource),
    })
}

/// Puts a version in the place of the one that the resource has. The draft is the resource itself.
fn set_version(resource: &mut String, version: Option<&str>) {
    let Some(version) = version else { return };
    if let Some(plain) = resource.find(':') {
        resource.truncate(plain);
    }
    if version != "DRAFT" {
        resource.push(':');
        resource.push_str(version);
    }
}

/// What stands at a path of the input, where that names a resource.
fn value(subject: &Subject<'_>, path: &str) -> Option<String> {
    let everybody = || subject.document.get("AllUsers") == Some(&Value::Bool(true));
    if path == "UserName" && everybody() {
        return Some("*".to_owned());
    }
    text(subject.document, path)
}

/// A function by its name, its ARN or part of it, as Lambda reads them.
fn function(subject: &Subject<'_>, qualified: bool) -> Arn {
    let named = text(subject.document, "FunctionName").unwrap_or_else(|| "*".to_owned());
    let qualifier = text(subject.document, "Qualifier").filter(|_| qualified);
    let found = craton_lambda::function_arn(subject.context, &named, qualifier.as_deref());
    let Some(mut found) = found else {
        // No function's name: Lambda will say so.
        return named.parse().map_or_else(|_| arn(subject, &format!("function:{named}")), Arn::canonical);
    };
    if !qualified {
        // What is done to the whole function is asked about the whole function.
        let end = found.resource.match_indices(':').nth(1).map_or(found.resource.len(), |(end, _)| end);
        found.resource.truncate(end);
    }
    found
}

/// The flow's alias, agent or the like that a later part of a template names by an ARN of its own. It is asked about
/// too, since it need not belong to what the earlier part names.
pub(super) fn named_within(subject: &Subject<'_>, template: &str) -> Option<Arn> {
    let mut later = super::placeholders(template).skip(1);
    later.find_map(|path| text(subject.document, path)?.parse().ok()).map(Arn::canonical)
}

/// The ARN of a user, role or group that a request names without its path, or by a key of the user's.
pub(super) fn with_path(lookups: Lookups<'_>, template: &str, arn: Arn) -> Arn {
    let Some((kind, name)) = arn.resource.split_once('/') else { return arn };
    let by_name =
        arn.service == "iam" && template.strip_prefix(kind).is_some_and(|rest| rest.starts_with("/{"));
    let kind = if template == "user/{AccessKeyId}" { "user-of-key" } else { kind };
    let known = by_name.then(|| lookups.authorizer.source().arn_of(kind, name)).flatten();
    known.and_then(|known| known.parse().ok()).unwrap_or(arn)
}

/// What a user or group that is moved or given another name will be; `None` where neither is asked for.
pub(super) fn moved(lookups: Lookups<'_>, subject: &Subject<'_>, kind: &str) -> Option<Arn> {
    let (own, new) = if kind == "user" { ("UserName", "NewUserName") } else { ("GroupName", "NewGroupName") };
    let (path, name) = (text(subject.document, "NewPath"), text(subject.document, new));
    if path.is_none() && name.is_none() {
        return None;
    }
    let own = text(subject.document, own).unwrap_or_default();
    let now = lookups.authorizer.source().arn_of(kind, &own).unwrap_or_else(|| format!("{kind}/{own}"));
    let (_, place) = now.split_once(&format!("{kind}/")).unwrap_or_default();
    let (own_path, own_name) = place.rsplit_once('/').unwrap_or(("", place));
    let own_path = if own_path.is_empty() { "/".to_owned() } else { format!("/{own_path}/") };
    let (path, name) = (path.unwrap_or(own_path), name.unwrap_or_else(|| own_name.to_owned()));
    Some(arn(subject, &format!("{kind}{path}{name}")))
}

/// The caller's own name, for operations of IAM that are about the caller unless they say otherwise.
fn own_name(context: &RequestContext) -> Option<String> {
    let (_, name) = context.principal.arn.split_once(":user/")?;
    Some(name.to_owned())
}

/// An ARN of the service that was asked.
pub(super) fn arn(subject: &Subject<'_>, resource: &str) -> Arn {
    let service = vendor(subject.table);
    let (region, account) = match (service, resource.split(['/', ':']).next()) {
        ("iam" | "sts", _) => ("", subject.context.account.id.as_str()),
        (_, Some("foundation-model")) => (subject.context.region.as_str(), ""),
        _ => (subject.context.region.as_str(), subject.context.account.id.as_str()),
    };
    let service = if service == "sts" { "iam" } else { service };
    Arn::new(service, region, account, resource)
}
