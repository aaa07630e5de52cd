use crate::support::{Home, stderr, stdout};

const MODEL: &str = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0";

fn home() -> Home {
    let home = Home::new();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write(
        "invoke.json",
        r#"{"Version":"2012-10-17","Statement":[
            {"Sid":"Invoke","Effect":"Allow","Action":"bedrock:InvokeModel","Resource":"arn:aws:bedrock:*::foundation-model/anthropic.*"},
            {"Sid":"Office","Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}"#,
    );
    write(
        "limits.json",
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#,
    );
    write(
        "bucket.json",
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/eve"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::docs/*"}}"#,
    );
    write("broken.json", r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*"}}"#);
    home
}

fn simulate(home: &Home, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["policy", "simulate"];
    all.extend(arguments);
    let output = home.craton(&all).current_dir(home.path()).output().unwrap();
    (output.status.code().unwrap(), stdout(&output) + &stderr(&output))
}

#[test]
fn files_are_tried_as_the_server_would_decide() {
    let home = home();
    let invoke = ["--policy", "invoke.json", "--action", "bedrock:InvokeModel", "--resource", MODEL];
    let with = |more: &[&str]| simulate(&home, &[&invoke[..], more].concat());
    let (code, text) = with(&["--context", "aws:SourceIp=10.1.2.3"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(
        text,
        format!("allowed bedrock:InvokeModel on {MODEL}\n  Allow by statement 0 of invoke.json (Invoke)\n")
    );
    let (code, text) = with(&["--context", "aws:SourceIp=192.0.2.1"]);
    assert_eq!(code, 1);
    assert!(text.starts_with("explicitDeny") && text.contains("(Office)"), "{text}");
    let (code, text) = with(&["--context", "aws:SourceIp=10.1.2.3", "--boundary", "limits.json"]);
    assert_eq!(code, 1);
    assert!(text.contains("because no permissions boundary allows the bedrock:InvokeModel action"), "{text}");
}

#[test]
fn a_resource_policy_decides_by_who_asks_and_json_is_for_programs() {
    let home = home();
    let bucket = [
        "--resource-policy",
        "bucket.json",
        "--action",
        "s3:GetObject",
        "--resource",
        "arn:aws:s3:::docs/a",
        "--json",
        "--principal",
    ];
    for (user, decision, expected) in [("eve", "allowed", 0), ("adam", "implicitDeny", 1)] {
        let arn = format!("arn:aws:iam::123456789012:user/{user}");
        let (code, text) = simulate(&home, &[&bucket[..], &[arn.as_str()]].concat());
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, &result["EvaluationResults"][0]["EvalDecision"]), (expected, &decision.into()));
    }
}

#[test]
fn a_malformed_policy_is_refused_with_iams_reason() {
    let (code, text) = simulate(&home(), &["--policy", "broken.json", "--action", "s3:GetObject"]);
    assert_eq!(code, 1);
    assert!(
        text.contains("broken.json is no policy")
            && text.contains("Policy statement must contain resources."),
        "{text}"
    );
}
