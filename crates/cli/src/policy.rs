//! `craton policy`: what policies come to, without a server.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use craton_core::{Arn, Principal};
use craton_identity::policy::{
    Context, Effect, Keys, Policies, Policy, PolicyKind, Request, ResourceSide, Values, Verdict, evaluate,
};
use craton_identity::{PrincipalKeys, is_served_key, requester};
use serde_json::{Value, json};

/// Try policies before they are attached
#[derive(Args)]
#[command(after_help = "Examples:
  craton policy simulate --policy invoke.json --action bedrock:ListFoundationModels")]
pub(crate) struct PolicyCommand {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    Simulate(Simulate),
}

/// Say what policy files allow
///
/// Decides as the server would, for every action on every resource, and names the statements that decided. What the
/// principal's ARN says of it (aws:username, aws:PrincipalArn and the like) is known; everything else of the request is
/// what --context says. Needs no server and changes nothing. Ends with status 0 when everything is allowed, else 1.
#[derive(Args)]
#[command(after_help = "Examples:
  craton policy simulate --policy invoke.json --action bedrock:InvokeModel \\
    --resource 'arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0'
  craton policy simulate --policy team.json --boundary limits.json --action s3:PutObject \\
    --resource arn:aws:s3:::docs/a.txt --context aws:SourceIp=10.1.2.3 --context aws:PrincipalTag/team=red
  craton policy simulate --resource-policy bucket.json --action s3:GetObject --resource arn:aws:s3:::docs/a.txt \\
    --principal arn:aws:iam::123456789012:user/eve --json")]
struct Simulate {
    /// A policy of the principal's [repeatable]
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,

    /// Its permissions boundary
    #[arg(long, value_name = "FILE")]
    boundary: Option<PathBuf>,

    /// A policy of its session [repeatable]
    #[arg(long, value_name = "FILE")]
    session: Vec<PathBuf>,

    /// The resource's own policy, such as a bucket's
    #[arg(long, value_name = "FILE")]
    resource_policy: Option<PathBuf>,

    /// The trust policy of the role to assume
    #[arg(long, value_name = "FILE", conflicts_with = "resource_policy")]
    trust: Option<PathBuf>,

    /// Who asks: the ARN of a user or a role's session, or a service's name
    #[arg(long, value_name = "ARN", default_value = "arn:aws:iam::123456789012:user/someone")]
    principal: String,

    /// What is asked for [repeatable]
    #[arg(long, value_name = "ACTION", required = true)]
    action: Vec<String>,

    /// On what [repeatable]
    #[arg(long, value_name = "ARN", default_value = "*")]
    resource: Vec<String>,

    /// A context key; the same key again gives it another value [repeatable]
    #[arg(long, value_name = "KEY=VALUE")]
    context: Vec<String>,

    /// One JSON document, as SimulateCustomPolicy's EvaluationResults
    #[arg(long)]
    json: bool,
}

impl PolicyCommand {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Commands::Simulate(command) => command.run(),
        }
    }
}

/// The context keys given, and beside them what the principal's ARN says of it, such as `aws:username`.
struct Tried<'a> {
    given: &'a Context,
    of_principal: PrincipalKeys<'a>,
}

impl Keys for Tried<'_> {
    fn values(&self, key: &str) -> Option<Values<'_>> {
        self.given.values(key).or_else(|| self.of_principal.values(key))
    }
}

/// The policies of one simulation, each with the name it is shown by.
struct Loaded {
    identity: Vec<(String, Arc<Policy>)>,
    boundary: Option<(String, Arc<Policy>)>,
    session: Vec<(String, Arc<Policy>)>,
    resource: Option<(String, Arc<Policy>)>,
}

impl Simulate {
    fn run(self) -> anyhow::Result<ExitCode> {
        self.check()?;
        let loaded = self.load()?;
        let principal = Principal::new(self.principal.clone(), "");
        let requester = requester(&principal);
        let (given, unserved) = context(&self.context)?;
        for key in &unserved {
            eprintln!("note: no request here has {key}; it is left out, since the server decides without it");
        }
        let nothing = BTreeMap::new();
        let of_principal =
            PrincipalKeys { principal: &principal, requester: &requester, tags: &nothing, request: &() };
        let keys = Tried { given: &given, of_principal };
        let mut results = Vec::new();
        for action in &self.action {
            for resource in &self.resource {
                let request = Request { requester: &requester, action, resource, keys: &keys };
                results.push(self.result(&loaded, &request));
            }
        }
        let all_allowed = results.iter().all(|result| result["EvalDecision"] == "allowed");
        let text = if self.json {
            format!("{:#}\n", json!({"EvaluationResults": results}))
        } else {
            results.iter().map(line).collect()
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(if all_allowed { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn check(&self) -> anyhow::Result<()> {
        let given = self.policy.len() + self.session.len();
        let whole = [&self.boundary, &self.resource_policy, &self.trust];
        if given == 0 && whole.iter().all(|file| file.is_none()) {
            anyhow::bail!(
                "no policy was given: --policy, --resource-policy or --trust names a file with one"
            );
        }
        if let Some(action) = self.action.iter().find(|action| !action.contains(':') && *action != "*") {
            anyhow::bail!("{action} is no action: write it with its service, as in s3:GetObject");
        }
        if let Some(resource) = self.resource.iter().find(|one| *one != "*" && one.parse::<Arn>().is_err()) {
            anyhow::bail!("{resource} is no resource: write its ARN, as in arn:aws:s3:::docs/a.txt, or *");
        }
        let principal = self.principal.parse::<Arn>().is_ok_and(|arn| matches!(&*arn.service, "iam" | "sts"));
        if !principal && !self.principal.ends_with(".amazonaws.com") {
            anyhow::bail!(
                "{} is no principal: write the ARN of a user or a role's session, or a service's name",
                self.principal
            );
        }
        Ok(())
    }

    fn load(&self) -> anyhow::Result<Loaded> {
        let all = |paths: &[PathBuf], kind| {
            paths.iter().map(|path| read(path, kind)).collect::<anyhow::Result<Vec<_>>>()
        };
        let one = |path: &Option<PathBuf>, kind| path.as_ref().map(|path| read(path, kind)).transpose();
        let resource = one(&self.resource_policy, PolicyKind::Resource)?;
        let trust = one(&self.trust, PolicyKind::Trust)?;
        Ok(Loaded {
            identity: all(&self.policy, PolicyKind::Inline)?,
            boundary: one(&self.boundary, PolicyKind::Managed)?,
            session: all(&self.session, PolicyKind::Inline)?,
            resource: resource.or(trust),
        })
    }

    fn result(&self, loaded: &Loaded, request: &Request<'_>) -> Value {
        let plain = |list: &[(String, Arc<Policy>)]| -> Vec<Arc<Policy>> {
            list.iter().map(|(_, policy)| Arc::clone(policy)).collect()
        };
        let (identity, session) = (plain(&loaded.identity), plain(&loaded.session));
        let resource = match &loaded.resource {
            None => ResourceSide::Silent,
            Some((_, policy)) if self.trust.is_some() => ResourceSide::Trust(policy),
            Some((_, policy)) => ResourceSide::Own(policy),
        };
        let policies = Policies {
            identity: &identity,
            boundary: loaded.boundary.as_ref().map(|(_, policy)| policy.as_ref()),
            session: (!session.is_empty()).then_some(session.as_slice()),
            resource,
        };
        let (decision, reason) = match evaluate(request, &policies) {
            Verdict::Allow => ("allowed", String::new()),
            Verdict::Deny(denial) => {
                let decision = if denial.explicit { "explicitDeny" } else { "implicitDeny" };
                (decision, denial.reason(request.action).to_string())
            }
        };
        json!({"EvalActionName": request.action, "EvalResourceName": request.resource, "EvalDecision": decision,
               "Reason": reason, "MatchedStatements": matched(loaded, request)})
    }
}

/// Every statement that matches, of whatever policy.
fn matched(loaded: &Loaded, request: &Request<'_>) -> Vec<Value> {
    let single = loaded.boundary.iter().chain(&loaded.resource);
    let all = loaded.identity.iter().chain(&loaded.session).chain(single);
    all.flat_map(|(name, policy)| {
        policy.matching(request).map(move |(index, sid, effect)| {
            let effect = if effect == Effect::Allow { "Allow" } else { "Deny" };
            json!({"SourcePolicyId": name, "Statement": index, "Sid": sid, "Effect": effect})
        })
    })
    .collect()
}

fn line(result: &Value) -> String {
    let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
    let mut line =
        format!("{} {} on {}", text("EvalDecision"), text("EvalActionName"), text("EvalResourceName"));
    if !text("Reason").is_empty() {
        line.push_str(&format!(" {}", text("Reason")));
    }
    for statement in result["MatchedStatements"].as_array().into_iter().flatten() {
        let sid = statement["Sid"].as_str().map(|sid| format!(" ({sid})")).unwrap_or_default();
        line.push_str(&format!(
            "\n  {} by statement {} of {}{sid}",
            statement["Effect"].as_str().unwrap_or_default(),
            statement["Statement"],
            statement["SourcePolicyId"].as_str().unwrap_or_default(),
        ));
    }
    line + "\n"
}

fn read(path: &PathBuf, kind: PolicyKind) -> anyhow::Result<(String, Arc<Policy>)> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("{name} can't be read"))?;
    let policy = Policy::parse(&text, kind).with_context(|| format!("{name} is no policy"))?;
    Ok((name, Arc::new(policy)))
}

/// Refuses a value that no request could have: a condition on it would say nothing of the server's decisions.
fn check_value(key: &str, value: &str) -> anyhow::Result<()> {
    let fit = match key.to_ascii_lowercase().as_str() {
        "aws:sourceip" => value.parse::<std::net::IpAddr>().is_ok(),
        "aws:securetransport"
        | "aws:multifactorauthpresent"
        | "aws:viaawsservice"
        | "aws:principalisawsservice" => matches!(value, "true" | "false"),
        "aws:epochtime" | "s3:max-keys" | "s3:signatureage" => value.parse::<u64>().is_ok(),
        "aws:currenttime" | "aws:tokenissuetime" => {
            time::OffsetDateTime::parse(value, &time::format_description::well_known::Rfc3339).is_ok()
        }
        _ => true,
    };
    anyhow::ensure!(fit, "{value} is no value that {key} can have");
    Ok(())
}

/// The context keys that are given, and those among them that no request here has: the server would decide as if they
/// were absent.
fn context(pairs: &[String]) -> anyhow::Result<(Context, Vec<String>)> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in pairs {
        let (key, value) = pair.split_once('=').with_context(|| format!("{pair} is not KEY=VALUE"))?;
        check_value(key, value)?;
        keys.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    let (mut context, mut unserved) = (Context::new(), Vec::new());
    for (key, values) in keys {
        if is_served_key(&key) {
            context.set_all(&key, values);
        } else {
            unserved.push(key);
        }
    }
    Ok((context, unserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_request_could_have_is_refused() {
        for (key, good, bad) in [
            ("aws:SourceIp", "10.0.0.1", "banana"),
            ("aws:SecureTransport", "true", "yes"),
            ("aws:CurrentTime", "2026-01-01T00:00:00Z", "soon"),
            ("aws:EpochTime", "1", "-"),
            ("aws:PrincipalTag/team", "red", ""),
        ] {
            assert!(context(&[format!("{key}={good}")]).is_ok(), "{key}");
            assert!(bad.is_empty() || context(&[format!("{key}={bad}")]).is_err(), "{key}");
        }
        let asked = |resource: &str, principal: &str| Simulate {
            policy: vec!["p.json".into()],
            boundary: None,
            session: Vec::new(),
            resource_policy: None,
            trust: None,
            principal: principal.into(),
            action: vec!["s3:GetObject".into()],
            resource: vec![resource.into()],
            context: Vec::new(),
            json: true,
        };
        let user = "arn:aws:iam::123456789012:user/eve";
        assert!(asked("arn:aws:s3:::docs/a", user).check().is_ok());
        assert!(asked("*", "lambda.amazonaws.com").check().is_ok());
        assert!(asked("notanarn", user).check().is_err() && asked("*", "nonsense").check().is_err());
    }

    #[test]
    fn the_principals_own_keys_are_known_and_can_be_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.json");
        let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:*",
            "Resource":"arn:aws:iam::123456789012:user/${aws:username}",
            "Condition":{"StringEqualsIfExists":{"aws:PrincipalTag/team":"red"}}}}"#;
        std::fs::write(&file, text).unwrap();
        let decide = |user: &str, context: &[&str]| {
            let command = Simulate {
                policy: vec![file.clone()],
                boundary: None,
                session: Vec::new(),
                resource_policy: None,
                trust: None,
                principal: format!("arn:aws:iam::123456789012:user/{user}"),
                action: vec!["iam:CreateAccessKey".into()],
                resource: vec!["arn:aws:iam::123456789012:user/eve".into()],
                context: context.iter().map(ToString::to_string).collect(),
                json: true,
            };
            command.run().unwrap() == ExitCode::SUCCESS
        };
        assert!(decide("eve", &[]) && !decide("adam", &[]));
        assert!(decide("adam", &["aws:username=eve"]));
        assert!(decide("eve", &["aws:PrincipalTag/team=red"]));
        assert!(!decide("eve", &["aws:PrincipalTag/team=blue"]));
    }
}
