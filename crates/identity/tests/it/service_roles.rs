//! What a service may do with a role: confused deputies, other accounts' roles, roles without trust.

use std::sync::Arc;

use craton_core::{Arn, Principal};
use craton_identity::policy::{Context, Policy, PolicyKind};
use craton_identity::{Attached, AuthorizationRequest, PolicySource, RolePolicies, ServiceRoles, ServiceUse};

const ACCOUNT: &str = "123456789012";
const KB: &str = "arn:aws:iam::123456789012:role/service-role/KB";
const SOURCE: &str = "arn:aws:bedrock:us-east-1:123456789012:knowledge-base/K1";

/// One role: for Bedrock, on behalf of knowledge bases of the account, reading one bucket.
struct Roles;

fn policy(statement: &str, kind: PolicyKind) -> Arc<Policy> {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    Arc::new(Policy::parse(&document, kind).unwrap())
}

impl PolicySource for Roles {
    fn attached(&self, _principal: &Principal) -> Option<Arc<Attached>> {
        None
    }

    fn role(&self, role_arn: &str) -> Option<RolePolicies> {
        // A source that forgets to look at the account must not matter.
        role_arn.ends_with("role/service-role/KB").then(|| RolePolicies {
            arn: KB.into(),
            id: "AROAEXAMPLE".into(),
            trust: policy(
                r#"{"Effect":"Allow","Principal":{"Service":"bedrock.amazonaws.com"},"Action":"sts:AssumeRole",
                    "Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"},
                                 "ArnLike":{"aws:SourceArn":"arn:aws:bedrock:*:123456789012:knowledge-base/*"}}}"#,
                PolicyKind::Trust,
            ),
            attached: Arc::new(Attached {
                identity: vec![policy(
                    r#"[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::docs/*"},
                        {"Effect":"Allow","Action":"s3:ListBucket","Resource":"*",
                         "Condition":{"StringEquals":{"aws:ResourceAccount":"123456789012"}}},
                        {"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::docs/private/*"}]"#,
                    PolicyKind::Inline,
                )],
                ..Attached::default()
            }),
        })
    }
}

fn ask(usage: &ServiceUse<'_>, action: &str, resource: &str) -> Result<(), (String, String)> {
    let roles = ServiceRoles::new(Arc::new(Roles), ACCOUNT, true);
    let resources: Vec<Arn> = resource.parse().into_iter().collect();
    let mut request = AuthorizationRequest::new(action, &resources);
    let context = Context::new().with("aws:ResourceAccount", ACCOUNT);
    if !resources.is_empty() {
        request.context = &context;
    }
    roles.using(*usage).authorize(&request).map_err(|error| (error.code.to_string(), error.message))
}

const USAGE: ServiceUse<'_> =
    ServiceUse { role_arn: KB, service: "bedrock.amazonaws.com", source_arn: Some(SOURCE) };

#[test]
fn a_role_may_do_what_its_policies_say() {
    ask(&USAGE, "s3:GetObject", "arn:aws:s3:::docs/a.txt").unwrap();
    let (code, message) = ask(&USAGE, "s3:PutObject", "arn:aws:s3:::docs/a.txt").unwrap_err();
    assert_eq!(code, "AccessDeniedException");
    assert_eq!(
        message,
        "User: arn:aws:sts::123456789012:assumed-role/KB/bedrock is not authorized to perform: s3:PutObject on \
         resource: arn:aws:s3:::docs/a.txt because no identity-based policy allows the s3:PutObject action"
    );
    let (_, message) = ask(&USAGE, "s3:GetObject", "arn:aws:s3:::docs/private/x").unwrap_err();
    assert!(message.ends_with("with an explicit deny in an identity-based policy"), "{message}");
}

#[test]
fn nobody_borrows_a_role_that_does_not_trust_them() {
    for (what, usage) in [
        ("another service", ServiceUse { service: "lambda.amazonaws.com", ..USAGE }),
        (
            "a component that the trust policy does not name",
            ServiceUse { source_arn: Some("arn:aws:bedrock:us-east-1:123456789012:agent/A"), ..USAGE },
        ),
        ("a component that does not say which it is", ServiceUse { source_arn: None, ..USAGE }),
        (
            "another account's role of the same name",
            ServiceUse { role_arn: "arn:aws:iam::999999999999:role/service-role/KB", ..USAGE },
        ),
        ("a role that is not there", ServiceUse { role_arn: "arn:aws:iam::123456789012:role/None", ..USAGE }),
        ("no role at all", ServiceUse { role_arn: "KB", ..USAGE }),
    ] {
        let (code, message) = ask(&usage, "s3:GetObject", "arn:aws:s3:::docs/a.txt").unwrap_err();
        assert_eq!(code, "ValidationException", "{what}");
        assert!(message.contains("can't assume the role"), "{what}: {message}");
    }
}

/// As the policy that AWS documents for knowledge bases' roles asks.
#[test]
fn the_account_of_a_bucket_is_known() {
    ask(&USAGE, "s3:ListBucket", "arn:aws:s3:::docs").unwrap();
    // Without a resource there is no account either.
    assert_eq!(ask(&USAGE, "s3:ListBucket", "*").unwrap_err().0, "AccessDeniedException");
}

/// As functions let agents in: by a policy for the service, on behalf of a component, without a word of the role.
#[test]
fn a_service_is_let_in_by_the_resource_on_behalf_of_a_component() {
    let function: Arn = "arn:aws:lambda:us-east-1:123456789012:function:f".parse().unwrap();
    let roles = ServiceRoles::new(Arc::new(Roles), ACCOUNT, true);
    let lets = |usage: &ServiceUse<'_>, condition: &str| {
        let policy = policy(
            &format!(
                r#"{{"Effect":"Allow","Principal":{{"Service":"bedrock.amazonaws.com"}},"Resource":"{function}",
                    "Action":"lambda:InvokeFunction","Condition":{condition}}}"#
            ),
            PolicyKind::Resource,
        );
        let resources = [function.clone()];
        let asked = AuthorizationRequest::new("lambda:InvokeFunction", &resources);
        let used = roles.using(*usage);
        assert!(!used.lets_service(&asked), "without a policy the service may nothing");
        used.lets_service(&AuthorizationRequest { resource_policy: Some(&policy), ..asked })
    };
    let ours = format!(
        r#"{{"StringEquals":{{"AWS:SourceAccount":"{ACCOUNT}"}},"ArnLike":{{"AWS:SourceArn":"{SOURCE}"}}}}"#
    );
    assert!(lets(&USAGE, &ours) && lets(&USAGE, "{}"));
    for (usage, condition) in [
        (ServiceUse { source_arn: Some("arn:aws:bedrock:us-east-1:123456789012:agent/A"), ..USAGE }, &*ours),
        (ServiceUse { source_arn: None, ..USAGE }, &ours),
        (ServiceUse { service: "lambda.amazonaws.com", ..USAGE }, &ours),
        (USAGE, r#"{"StringEquals":{"AWS:SourceAccount":"999999999999"}}"#),
    ] {
        assert!(!lets(&usage, condition), "{usage:?} {condition}");
    }
}

#[test]
fn without_enforcement_invented_roles_do() {
    let roles = ServiceRoles::new(Arc::new(Roles), ACCOUNT, false);
    let invented = ServiceUse { role_arn: "arn:aws:iam::123456789012:role/Invented", ..USAGE };
    roles.using(invented).authorize(&AuthorizationRequest::new("s3:GetObject", &[])).unwrap();
    assert!(roles.check_trust(&ServiceUse { role_arn: "?", ..USAGE }).is_ok());
    // A role's own credentials go to nobody whom it does not trust.
    assert!(roles.trusts(&USAGE).is_ok() && roles.trusts(&invented).is_err());
    assert!(roles.trusts(&ServiceUse { service: "lambda.amazonaws.com", ..USAGE }).is_err());
}
