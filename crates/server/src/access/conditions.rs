//! The services' own context keys, as the service authorization reference has them, from what a request says.
//! Keys of S3 are in its own crate; what every request has is in `craton_identity::RequestKeys`. The names that are
//! supplied here are in `craton_identity::is_served_key`.

use craton_core::{Arn, first_chars};
use craton_identity::Authorizer;
use serde_json::{Map, Value};

use super::{Subject, text, texts};

type Keys = Vec<(&'static str, String)>;

/// The keys of the service that was asked, for every question about the request.
pub(super) fn of(authorizer: &dyn Authorizer, subject: &Subject<'_>) -> Keys {
    match subject.table.name {
        "iam" => of_iam(authorizer, subject),
        "lambda" => of_lambda(subject.document),
        "bedrock-agent" => of_stores(subject.document),
        "bedrock-agent-runtime" => from(subject.document, &[("bedrock:inlineagentname", "agentName")]),
        _ => Keys::new(),
    }
}

fn from(document: &Map<String, Value>, named: &[(&'static str, &str)]) -> Keys {
    named.iter().filter_map(|(key, member)| Some((*key, plain(document, member)?))).collect()
}

/// A member's text, or its number as text.
fn plain(document: &Map<String, Value>, member: &str) -> Option<String> {
    match document.get(member)? {
        Value::Number(number) => Some(number.to_string()),
        _ => text(document, member),
    }
}

fn of_iam(authorizer: &dyn Authorizer, subject: &Subject<'_>) -> Keys {
    let document = subject.document;
    match subject.operation.name {
        "CreateServiceSpecificCredential" => from(
            document,
            &[
                ("iam:servicespecificcredentialservicename", "ServiceName"),
                ("iam:servicespecificcredentialagedays", "CredentialAgeDays"),
            ],
        ),
        "CreateServiceLinkedRole" => from(document, &[("iam:awsservicename", "AWSServiceName")]),
        "CreateUser" | "CreateRole" | "PutUserPermissionsBoundary" | "PutRolePermissionsBoundary" => {
            from(document, &[("iam:permissionsboundary", "PermissionsBoundary")])
        }
        name => {
            let mut keys = Keys::new();
            if name.starts_with("Attach") || name.starts_with("Detach") {
                keys = from(document, &[("iam:policyarn", "PolicyArn")]);
            }
            if changes_permissions(name) {
                let boundary =
                    holder(authorizer, document).and_then(|arn| authorizer.source().boundary_of(&arn));
                keys.extend(boundary.map(|arn| ("iam:permissionsboundary", arn)));
            }
            keys
        }
    }
}

/// Whether it changes what a user or role may, who may be bounded already.
fn changes_permissions(operation: &str) -> bool {
    ["User", "Role"].iter().any(|kind| {
        let Some((verb, what)) = operation.split_once(kind) else { return false };
        matches!(
            (verb, what),
            ("Attach" | "Detach" | "Put" | "Delete", "Policy") | ("Delete", "PermissionsBoundary")
        )
    })
}

fn holder(authorizer: &dyn Authorizer, document: &Map<String, Value>) -> Option<String> {
    [("user", "UserName"), ("role", "RoleName")]
        .iter()
        .find_map(|(kind, member)| authorizer.source().arn_of(kind, &text(document, member)?))
}

fn of_lambda(document: &Map<String, Value>) -> Keys {
    let mut keys = from(document, &[("lambda:functionurlauthtype", "FunctionUrlAuthType")]);
    if let Some(principal) = text(document, "Principal") {
        keys.extend(spellings(principal).into_iter().map(|spelled| ("lambda:principal", spelled)));
    }
    for (key, path) in [
        ("lambda:layer", "Layers[]"),
        ("lambda:subnetids", "VpcConfig.SubnetIds[]"),
        ("lambda:securitygroupids", "VpcConfig.SecurityGroupIds[]"),
    ] {
        keys.extend(texts(document, path).into_iter().map(|value| (key, value)));
    }
    keys
}

/// An account has two names that give the same permission: its id, and the ARN of its root.
fn spellings(principal: String) -> Vec<String> {
    let arn: Option<Arn> = principal.parse().ok();
    let root = arn.filter(|arn| (arn.service.as_str(), arn.resource.as_str()) == ("iam", "root"));
    let account = root.map_or_else(|| principal.clone(), |arn| arn.account);
    if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
        let root = Arn::new("iam", "", &account, "root").to_string();
        return vec![account, root];
    }
    vec![principal]
}

/// The secret of a store beside Bedrock that a knowledge base is given.
fn of_stores(document: &Map<String, Value>) -> Keys {
    let stores = document.get("storageConfiguration").and_then(Value::as_object);
    let secrets = stores.into_iter().flat_map(Map::values).filter_map(|store| {
        let arn = store.get("credentialsSecretArn")?.as_str()?;
        Some(("bedrock:thirdpartyknowledgebasecredentialssecretarn", first_chars(arn, 2048).to_owned()))
    });
    secrets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_principal_however_it_is_spelled() {
        let both = ["999999999999", "arn:aws:iam::999999999999:root"];
        for spelled in [both[0], both[1], "arn:aws-cn:iam::999999999999:root"] {
            assert_eq!(spellings(spelled.into()), both, "{spelled}");
        }
        for other in ["*", "s3.amazonaws.com", "arn:aws:iam::999999999999:user/root", "99"] {
            assert_eq!(spellings(other.into()), [other]);
        }
    }

    #[test]
    fn what_changes_the_permissions_of_users_and_roles() {
        for name in [
            "AttachUserPolicy",
            "DetachRolePolicy",
            "PutUserPolicy",
            "DeleteRolePolicy",
            "DeleteUserPermissionsBoundary",
        ] {
            assert!(changes_permissions(name), "{name}");
        }
        for name in ["AttachGroupPolicy", "DeleteUser", "UpdateAssumeRolePolicy", "GetUserPolicy"] {
            assert!(!changes_permissions(name), "{name}");
        }
    }
}
