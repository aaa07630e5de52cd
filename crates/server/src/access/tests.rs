use std::sync::Arc;

use craton_core::{Account, Principal};
use craton_wire::table::{Member, Shape};
use serde_json::json;

use super::*;
use crate::routes::TABLES;

#[test]
fn every_operation_of_every_service_has_a_rule() {
    let mut missing = Vec::new();
    for table in TABLES {
        for operation in table.operations {
            if rule_of(table, operation).is_none() {
                missing.push(format!("{} {}", table.name, operation.name));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn rules_name_operations_and_members_that_exist() {
    for (name, rules) in [
        ("bedrock", bedrock::BEDROCK),
        ("bedrock-runtime", bedrock::RUNTIME),
        ("bedrock-agent", agents::AGENT),
        ("bedrock-agent-runtime", agents::AGENT_RUNTIME),
        ("sts", neighbours::STS),
        ("iam", neighbours::IAM),
        ("lambda", neighbours::LAMBDA),
        ("opensearchserverless", neighbours::AOSS),
    ] {
        let table = TABLES.iter().find(|table| table.name == name).unwrap();
        assert!(rules.is_sorted_by_key(|rule| rule.operation), "{name}");
        for rule in rules {
            let operation = table.operation(rule.operation);
            let operation = operation.unwrap_or_else(|| panic!("{name} has no {}", rule.operation));
            // Operations without types are not served; their rules wait for them.
            if operation.input.is_none() {
                continue;
            }
            let templates = rule.on.iter().chain(rule.also.iter().map(|(_, template)| template));
            for path in templates.flat_map(|template| placeholders(template)) {
                assert!(has_text(table, operation, path), "{name} {}: {path}", rule.operation);
            }
        }
    }
}

fn has_text(table: &ServiceTable, operation: &Operation, path: &str) -> bool {
    let mut members = table.input_members(operation);
    let mut names = path.split('.').peekable();
    while let Some(part) = names.next() {
        let name = part.trim_end_matches("[]");
        let Some(member) = members.iter().find(|member| member.name == name) else { return false };
        let shape = match table.shape(member.shape) {
            Shape::List { member, .. } if name.len() < part.len() => table.shape(*member),
            shape => shape,
        };
        match shape {
            Shape::Structure { members: inner } | Shape::Union { members: inner, .. } => members = inner,
            shape => return names.peek().is_none() && matches!(shape, Shape::String { .. }),
        }
    }
    false
}

/// The paths of members that hold roles, as deep as structures go.
fn roles(table: &ServiceTable, members: &[Member], prefix: &str, depth: usize, found: &mut Vec<String>) {
    for member in members {
        let path = format!("{prefix}{}", member.name);
        match table.shape(member.shape) {
            Shape::String { .. } => {
                let name = member.name.to_lowercase();
                if name.ends_with("rolearn") || name == "role" || name == "executionrole" {
                    found.push(path);
                }
            }
            Shape::Structure { members } | Shape::Union { members, .. } if depth > 0 => {
                roles(table, members, &format!("{path}."), depth - 1, found);
            }
            _ => {}
        }
    }
}

#[test]
fn no_role_is_handed_over_without_pass_role() {
    let mut missing = Vec::new();
    for table in TABLES.iter().filter(|table| !matches!(table.name, "sts" | "iam")) {
        for operation in table.operations {
            let mut found = Vec::new();
            roles(table, table.input_members(operation), "", 5, &mut found);
            let rule = rule_of(table, operation).unwrap();
            for path in found {
                if !rule.also.contains(&("iam:PassRole", format!("{{{path}}}").as_str())) {
                    missing.push(format!("{} {} {path}", table.name, operation.name));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn an_object_is_asked_about_as_it_is_named() {
    let document = json!({"S3Bucket": "secrets", "S3Key": "arn:aws:s3:::public/x"});
    let document = document.as_object().unwrap();
    let named = "object/{S3Bucket}/{S3Key}?{S3ObjectVersion}";
    let question = object(document, named).unwrap();
    assert_eq!(question.resource.as_ref().unwrap().to_string(), "arn:aws:s3:::secrets/arn:aws:s3:::public/x");
    let at = question.object().unwrap();
    assert_eq!((question.action.as_str(), at.bucket.as_str(), at.version), ("s3:GetObject", "secrets", None));
    assert_eq!(object(document, "object/{S3Bucket}/{Other}"), None);
    let mut document = document.clone();
    document.insert("S3ObjectVersion".into(), json!("v1"));
    let question = object(&document, named).unwrap();
    assert_eq!(question.action, "s3:GetObjectVersion");
    assert_eq!(question.object().unwrap().version.as_deref(), Some("v1"));
}

fn context(who: &str) -> RequestContext {
    RequestContext {
        request_id: "r".into(),
        account: Arc::new(Account::default()),
        region: "eu-west-1".into(),
        principal: Arc::new(Principal::new(format!("arn:aws:iam::123456789012:{who}"), "AKIA")),
        source_ip: None,
        received_ms: 0,
    }
}

#[test]
fn templates_become_arns() {
    let context = context("user/a/eve");
    for (service, operation, document, expected) in [
        (
            "bedrock-agent-runtime",
            "InvokeAgent",
            json!({"agentId": "A", "agentAliasId": "B"}),
            "bedrock:eu-west-1:123456789012:agent-alias/A/B",
        ),
        (
            "bedrock-agent-runtime",
            "InvokeFlow",
            json!({"flowIdentifier": "arn:aws:bedrock:eu-west-1:123456789012:flow/F", "flowAliasIdentifier": "X"}),
            "bedrock:eu-west-1:123456789012:flow/F/alias/X",
        ),
        (
            "bedrock",
            "GetGuardrail",
            json!({"guardrailIdentifier": "arn:aws:bedrock:us-east-1:123456789012:guardrail/g"}),
            "bedrock:us-east-1:123456789012:guardrail/g",
        ),
        (
            "bedrock-agent",
            "GetPrompt",
            json!({"promptIdentifier": "P"}),
            "bedrock:eu-west-1:123456789012:prompt/P",
        ),
        (
            "bedrock-agent",
            "GetPrompt",
            json!({"promptIdentifier": "P", "promptVersion": "3"}),
            "bedrock:eu-west-1:123456789012:prompt/P:3",
        ),
        (
            "bedrock",
            "GetFoundationModel",
            json!({"modelIdentifier": "m"}),
            "bedrock:eu-west-1::foundation-model/m",
        ),
        ("iam", "CreateUser", json!({"UserName": "u", "Path": "/x/"}), "iam::123456789012:user/x/u"),
        ("iam", "CreateAccessKey", json!({}), "iam::123456789012:user/a/eve"),
        ("lambda", "Invoke", json!({"FunctionName": "f"}), "lambda:eu-west-1:123456789012:function:f"),
    ] {
        check(&context, (service, operation), &document, expected);
    }
}

#[test]
fn a_resource_has_one_arn_however_it_is_spelled() {
    let context = context("user/eve");
    for (service, operation, document, expected) in [
        (
            "lambda",
            "Invoke",
            json!({"FunctionName": "us-east-1:123456789012:function:f", "Qualifier": "live"}),
            "lambda:eu-west-1:123456789012:function:f:live",
        ),
        (
            "lambda",
            "UpdateFunctionCode",
            json!({"FunctionName": "function:f:live"}),
            "lambda:eu-west-1:123456789012:function:f",
        ),
        (
            "bedrock-agent",
            "GetPrompt",
            json!({"promptIdentifier": "arn:aws-x:bedrock:us-east-1:123456789012:prompt/P:2", "promptVersion": "3"}),
            "bedrock:us-east-1:123456789012:prompt/P:3",
        ),
        (
            "bedrock-agent",
            "GetPrompt",
            json!({"promptIdentifier": "P", "promptVersion": "DRAFT"}),
            "bedrock:eu-west-1:123456789012:prompt/P",
        ),
        (
            "bedrock-agent-runtime",
            "InvokeFlow",
            json!({"flowIdentifier": "arn:aws:bedrock:us-east-1:123456789012:flow/F",
                   "flowAliasIdentifier": "arn:aws:bedrock:us-east-1:123456789012:flow/G/alias/X"}),
            "bedrock:us-east-1:123456789012:flow/F/alias/X",
        ),
    ] {
        check(&context, (service, operation), &document, expected);
    }
}

/// What the first template of an operation's rule comes to.
fn check(context: &RequestContext, (service, operation): (&str, &str), document: &Value, expected: &str) {
    let table = TABLES.iter().find(|table| table.name == service).unwrap();
    let operation = table.operation(operation).unwrap();
    let document = document.as_object().unwrap();
    let subject = Subject { table, operation, document, context };
    let template = rule_of(table, operation).unwrap().on[0];
    let arn = resource::fill(&subject, template).unwrap().to_string();
    assert_eq!(arn, format!("arn:aws:{expected}"), "{}", operation.name);
}

#[test]
fn what_a_list_names_is_asked_about_one_by_one() {
    let document =
        json!({"a": {"b": [{"c": "1"}, {"d": "x"}, {"c": "2"}, {"c": ""}]}, "e": ["3", "4"], "f": "5"});
    let document = document.as_object().unwrap();
    assert_eq!(texts(document, "a.b[].c"), ["1", "2"]);
    assert_eq!(texts(document, "e[]"), ["3", "4"]);
    assert_eq!((texts(document, "f"), texts(document, "e").len()), (vec!["5".to_owned()], 0));
}
