//! The policy language against a table of decisions written from IAM's documentation, and its laws.

use std::sync::Arc;

use craton_identity::policy::{
    Context, OPERATORS, Policies, Policy, PolicyKind, PolicyType, Request, Requester, RequesterKind,
    ResourceSide, Verdict, evaluate,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const ACCOUNT: &str = "123456789012";

/// A row: policies, a request, and what comes of it.
struct Row {
    value: Value,
}

impl Row {
    fn text(&self, name: &str) -> &str {
        self.value[name].as_str().unwrap()
    }

    /// The policies under a name: documents, or statements to make documents of.
    fn policies(&self, name: &str, kind: PolicyKind) -> Option<Vec<Arc<Policy>>> {
        let value = self.value.get(name)?;
        let all = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        Some(all.iter().map(|one| Arc::new(compile(one, kind))).collect())
    }

    /// Statements that stand in one policy together.
    fn policy(&self, name: &str, kind: PolicyKind) -> Option<Policy> {
        self.value.get(name).map(|value| compile(value, kind))
    }

    fn context(&self) -> Context {
        let mut context = Context::new();
        for (key, value) in self.value["keys"].as_object().into_iter().flatten() {
            match value {
                Value::Array(all) => {
                    context.set_all(key, all.iter().map(|one| one.as_str().unwrap().to_owned()));
                }
                one => context.set(key, one.as_str().unwrap()),
            }
        }
        context
    }
}

fn compile(value: &Value, kind: PolicyKind) -> Policy {
    let document = match value.get("Statement") {
        Some(_) => value.clone(),
        None => json!({"Version": "2012-10-17", "Statement": value}),
    };
    Policy::parse(&document.to_string(), kind).unwrap_or_else(|error| panic!("{error}: {document}"))
}

fn requester(who: &str) -> Requester {
    let (kind, arn, role_arn) = match who.split_once(' ') {
        Some(("session", name)) => {
            let role = name.split('/').next().unwrap();
            let role_arn = format!("arn:aws:iam::{ACCOUNT}:role/{role}");
            (
                RequesterKind::AssumedRole,
                format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}"),
                Some(role_arn),
            )
        }
        Some((_, service)) => (RequesterKind::Service, service.to_owned(), None),
        None if who == "anonymous" => (RequesterKind::Anonymous, String::new(), None),
        None if who == "root" => (RequesterKind::Root, format!("arn:aws:iam::{ACCOUNT}:root"), None),
        None => (RequesterKind::User, format!("arn:aws:iam::{ACCOUNT}:{who}"), None),
    };
    let nobody = matches!(kind, RequesterKind::Service | RequesterKind::Anonymous);
    let account = if nobody { String::new() } else { ACCOUNT.into() };
    Requester { kind, arn, role_arn, account, ..Requester::default() }
}

fn decide(row: &Row) -> String {
    let identity = row.policies("identity", PolicyKind::Inline).unwrap_or_default();
    let boundary = row.policy("boundary", PolicyKind::Managed);
    let session = row.policies("session", PolicyKind::Inline);
    let resource_policy = row.policy("resource_policy", PolicyKind::Resource);
    let trust = row.policy("trust", PolicyKind::Trust);
    let resource = match (&resource_policy, &trust) {
        (Some(policy), _) => ResourceSide::Own(policy),
        (None, Some(policy)) => ResourceSide::Trust(policy),
        (None, None) => ResourceSide::Silent,
    };
    let requester = requester(row.text("who"));
    let context = row.context();
    let request = Request {
        requester: &requester,
        action: row.text("action"),
        resource: row.text("resource"),
        keys: &context,
    };
    let policies =
        Policies { identity: &identity, boundary: boundary.as_ref(), session: session.as_deref(), resource };
    match evaluate(&request, &policies) {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Deny(denial) => {
            let by = match denial.by {
                PolicyType::Identity => "identity",
                PolicyType::Resource => "resource",
                PolicyType::Trust => "trust",
                PolicyType::Boundary => "boundary",
                PolicyType::Session => "session",
            };
            format!("{} {by}", if denial.explicit { "explicit" } else { "implicit" })
        }
    }
}

#[test]
fn every_documented_decision() {
    let table: Vec<Value> = serde_json::from_str(include_str!("decisions.json")).unwrap();
    let wrong: Vec<String> = table
        .into_iter()
        .map(|value| Row { value })
        .filter_map(|row| {
            let (expected, decided) = (row.text("expect"), decide(&row));
            (decided != expected)
                .then(|| format!("{} ({}): {decided}, not {expected}", row.text("name"), row.text("source")))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_tests_every_operator() {
    let table = include_str!("decisions.json");
    for operator in OPERATORS {
        assert!(table.contains(&format!("\"{operator}\"")), "{operator}");
    }
}

fn refused(document: &str, kind: PolicyKind) -> String {
    Policy::parse(document, kind).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn malformed_documents_are_refused_with_iams_reasons() {
    const SYNTAX: &str = "Syntax errors in policy.";
    let identity = |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    let with = |rest: &str| identity(&format!(r#"{{"Effect":"Allow",{rest}}}"#));
    for (document, reason) in [
        ("not json".to_owned(), SYNTAX),
        ("[]".to_owned(), SYNTAX),
        ("{}".to_owned(), SYNTAX),
        (identity("[]"), SYNTAX),
        (identity("7"), SYNTAX),
        (r#"{"Version":"2013-10-17","Statement":[]}"#.to_owned(), SYNTAX),
        (r#"{"Version":"2012-10-17","Statements":[]}"#.to_owned(), SYNTAX),
        (identity(r#"{"Action":"*","Resource":"*"}"#), SYNTAX),
        (identity(r#"{"Effect":"Maybe","Action":"*","Resource":"*"}"#), SYNTAX),
        (identity(r#"{"Effect":"allow","Action":"*","Resource":"*"}"#), "The policy failed legacy parsing"),
        (with(r#""Resource":"*""#), "Policy statement must contain actions."),
        (with(r#""Action":[],"Resource":"*""#), "Policy statement must contain actions."),
        (with(r#""Action":"s3:*""#), "Policy statement must contain resources."),
        (with(r#""Action":"s3:*","Resource":[]"#), "Policy statement must contain resources."),
        (with(r#""Action":"s3:*","NotAction":"s3:*","Resource":"*""#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":"*","Resource":"arn:aws:s3:::a""#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":7"#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":"*","Extra":1"#), SYNTAX),
        (
            with(r#""Action":"list","Resource":"*""#),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (with(r#""Action":"a:b:c","Resource":"*""#), "Actions/Condition can contain only one colon."),
        (with(r#""Action":"a_b:c","Resource":"*""#), "Vendor a_b is not valid"),
        (with(r#""Action":"s3:*","Resource":"bucket""#), "Resource bucket must be in ARN format or \"*\"."),
        (
            with(r#""Action":"s3:*","Resource":"arn:nowhere:s3:::b""#),
            "Partition \"nowhere\" is not valid for resource \"arn:nowhere:s3:::b\".",
        ),
        (
            with(r#""Action":"s3:*","Resource":"*","Principal":"*""#),
            "Policy document should not specify a principal.",
        ),
        (with(r#""Action":"s3:*","Resource":"arn:aws:s3:::${aws:username""#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":"arn:aws:s3:::${aws:username, x}""#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":"*","Condition":{"StringSame":{"aws:x":"1"}}"#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":"*","Condition":{"NumericEquals":{"aws:x":"one"}}"#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":"*","Condition":{"NullIfExists":{"aws:x":"true"}}"#), SYNTAX),
        (with(r#""Action":"s3:*","Resource":"*","Condition":{"IpAddress":{"aws:x":"10.0.0.0/40"}}"#), SYNTAX),
        (
            with(r#""Action":"s3:*","Resource":"*","Condition":{"DateEquals":{"aws:x":"soon"}}"#),
            "The policy failed legacy parsing",
        ),
        (
            with(r#""Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"x":"1"}}"#),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (
            identity(
                r#"[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},
                    {"Sid":"a","Effect":"Deny","Action":"*","Resource":"*"}]"#,
            ),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
        (
            r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#.to_owned(),
            "Policy document must be version 2012-10-17 or greater.",
        ),
    ] {
        assert_eq!(refused(&document, PolicyKind::Managed), reason, "{document}");
    }
}

#[test]
fn trust_and_resource_policies_have_their_own_rules() {
    let policy =
        |rest: &str| format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",{rest}}}}}"#);
    for (kind, rest, reason) in [
        (PolicyKind::Trust, r#""Action":"sts:AssumeRole""#, "Missing required field Principal"),
        (
            PolicyKind::Trust,
            r#""Action":"sts:AssumeRole","Principal":"*","Resource":"*""#,
            "Has prohibited field Resource",
        ),
        (
            PolicyKind::Trust,
            r#""Action":"s3:*","Principal":"*""#,
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (
            PolicyKind::Trust,
            r#""Action":"sts:AssumeRole","Principal":{"AWS":"eve"}"#,
            r#"Invalid principal in policy: "AWS":"eve""#,
        ),
        (
            PolicyKind::Trust,
            r#""Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws:iam::123456789012:user/*"}"#,
            r#"Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:user/*""#,
        ),
        (
            PolicyKind::Trust,
            r#""Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws-cn:iam::123456789012:root"}"#,
            r#"Invalid principal in policy: "AWS":"arn:aws-cn:iam::123456789012:root""#,
        ),
        (PolicyKind::Resource, r#""Action":"s3:*","Resource":"*""#, "Missing required field Principal"),
        (PolicyKind::Resource, r#""Action":"s3:*","Principal":"*""#, "Missing required field Resource"),
    ] {
        assert_eq!(refused(&policy(rest), kind), reason, "{rest}");
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(refused(&deep, PolicyKind::Inline), "Syntax errors in policy.");
    let long = policy(&format!(r#""Action":"s3:*","Resource":"arn:aws:s3:::{}""#, "a".repeat(140_000)));
    assert!(refused(&long, PolicyKind::Inline).contains("131072"));
}

#[test]
fn a_policy_knows_the_keys_it_asks_for() {
    let policy = compile(
        &json!({"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:PrincipalTag/Team}",
                "Condition": {"StringEquals": {"aws:ResourceTag/Owner": "${aws:username}"}}}),
        PolicyKind::Inline,
    );
    let keys: Vec<&str> = policy.keys().collect();
    assert_eq!(keys, ["aws:principaltag/team", "aws:resourcetag/owner", "aws:username"]);
    assert!(policy.mentions("aws:resourcetag/") && !policy.mentions("aws:requesttag/"));
}

/// Statements from small alphabets, so that they often match.
fn statements() -> impl Strategy<Value = Vec<Value>> {
    let action =
        prop::sample::select(vec!["*", "s3:*", "s3:Get*", "s3:GetObject", "bedrock:*", "s3:?utObject"]);
    let resource = prop::sample::select(vec![
        "*",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/${aws:username}",
        "arn:aws:s3:::b/x",
        "arn:aws:s3",
    ]);
    let operator = prop::sample::select(vec![
        "StringEquals",
        "StringNotEquals",
        "StringLikeIfExists",
        "ForAllValues:StringLike",
        "ForAnyValue:StringNotLike",
    ]);
    let value =
        prop::sample::select(vec!["x", "y", "*", "${aws:username}", "${aws:nobody, 'x'}", "${aws:nobody}"]);
    let condition = prop::option::of((operator, value));
    let one = (any::<bool>(), action, any::<bool>(), resource, any::<bool>(), condition).prop_map(
        |(deny, action, not_action, resource, not_resource, condition)| {
            let mut statement = json!({"Effect": if deny { "Deny" } else { "Allow" }});
            statement[if not_action { "NotAction" } else { "Action" }] = action.into();
            statement[if not_resource { "NotResource" } else { "Resource" }] = resource.into();
            if let Some((operator, value)) = condition {
                statement["Condition"] = json!({operator: {"aws:k": value}});
            }
            statement
        },
    );
    prop::collection::vec(one, 1..5)
}

fn allowed(statements: &[Value], keys: &Context) -> bool {
    let identity: Vec<Arc<Policy>> =
        statements.iter().map(|one| Arc::new(compile(one, PolicyKind::Inline))).collect();
    let requester = requester("user/x");
    let request =
        Request { requester: &requester, action: "s3:GetObject", resource: "arn:aws:s3:::b/x", keys };
    evaluate(&request, &Policies { identity: &identity, ..Policies::default() }) == Verdict::Allow
}

fn keys() -> impl Strategy<Value = Context> {
    let value = prop::sample::select(vec!["x", "y", "*"]);
    (prop::option::of(prop::collection::vec(value.clone(), 0..3)), prop::option::of(value)).prop_map(
        |(k, name)| {
            let mut context = Context::new();
            if let Some(values) = k {
                context.set_all("aws:k", values.into_iter().map(str::to_owned));
            }
            if let Some(name) = name {
                context.set("aws:username", name);
            }
            context
        },
    )
}

proptest! {
    #[test]
    fn a_further_deny_never_widens_access(
        mut own in statements(),
        more in statements(),
        keys in keys(),
        at in any::<prop::sample::Index>(),
    ) {
        let before = allowed(&own, &keys);
        for mut deny in more {
            deny["Effect"] = "Deny".into();
            own.insert(at.index(own.len() + 1), deny);
        }
        prop_assert!(before || !allowed(&own, &keys));
    }

    #[test]
    fn a_further_allow_never_narrows_it(own in statements(), more in statements(), keys in keys()) {
        let before = allowed(&own, &keys);
        let mut all = own;
        for mut allow in more {
            allow["Effect"] = "Allow".into();
            all.push(allow);
        }
        prop_assert!(!before || allowed(&all, &keys));
    }

    #[test]
    fn order_never_matters(own in statements(), keys in keys(), by in any::<prop::sample::Index>()) {
        let before = allowed(&own, &keys);
        let mut turned = own.clone();
        turned.rotate_left(by.index(own.len()));
        prop_assert_eq!(allowed(&turned, &keys), before);
        turned.reverse();
        prop_assert_eq!(allowed(&turned, &keys), before);
        // One document of all statements decides as one document a statement does.
        let together = [Value::Array(own)];
        prop_assert_eq!(allowed(&together, &keys), before);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        for kind in [PolicyKind::Managed, PolicyKind::Inline, PolicyKind::Trust, PolicyKind::Resource] {
            let _ = Policy::parse(&text, kind);
        }
    }

    #[test]
    fn no_json_panics(
        text in "[{]\"Version\":\"2012-10-17\",\"Statement\":[{]\"Effect\":\"Allow\",\"(Not)?Action\":\"[a:*?]{0,4}\",\
                 \"(Not)?Resource\":\"(arn:aws:[a:*?$é{}',]{0,8}|[*])\"(,\"Condition\":[{]\"(Date|Numeric|String|Arn)\
                 (Equals|Like|LessThan)\":[{]\"a:b\":\"[0-9:TZ+.$é{}*-]{0,12}\"[}][}])?[}][}]",
        value in "[0-9a:TZ+.é*-]{0,12}",
    ) {
        if let Ok(policy) = Policy::parse(&text, PolicyKind::Inline) {
            let requester = requester("user/x");
            let keys = Context::new().with("a:b", value.clone());
            let request = Request { requester: &requester, action: &value, resource: &value, keys: &keys };
            let _ = policy.matching(&request).count();
        }
    }
}
