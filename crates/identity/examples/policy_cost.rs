//! What a decision costs, in microseconds, as one line of JSON: a user with ten attached policies asks to invoke a model.
//! Part of `make bench-authorise`.
//!
//!     cargo run --release -p craton-identity --example policy_cost

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use craton_core::{Arn, Principal};
use craton_identity::policy::{Policy, PolicyKind};
use craton_identity::{
    Attached, AuthorizationRequest, Authorizer as _, Decision, PolicyAuthorizer, PolicySource, RequestKeys,
    RolePolicies,
};

const ROUNDS: u32 = 100_000;
const REPEATS: usize = 9;

/// Ten policies as accounts have them; the last one allows.
const POLICIES: [&str; 10] = [
    r#"{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":["arn:aws:s3:::docs","arn:aws:s3:::docs/*"]}"#,
    r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::home/${aws:username}/*"}"#,
    r#"{"Effect":"Allow","Action":["iam:Get*","iam:List*","iam:Simulate*"],"Resource":"*"}"#,
    r#"{"Effect":"Allow","Action":["lambda:Invoke*","lambda:Get*"],"Resource":"arn:aws:lambda:*:*:function:team-*"}"#,
    r#"{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::123456789012:role/dev-*"}"#,
    r#"{"Effect":"Deny","Action":["iam:*","organizations:*","account:*"],"Resource":"*",
        "Condition":{"StringNotEquals":{"aws:PrincipalTag/admin":"true"}}}"#,
    r#"{"Effect":"Deny","Action":"bedrock:*","Resource":"*",
        "Condition":{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","127.0.0.0/8"]}}}"#,
    r#"{"Effect":"Deny","NotAction":"iam:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2099-01-01"}}}"#,
    r#"{"Effect":"Allow","Action":["bedrock:List*","bedrock:Get*","bedrock:Retrieve*"],"Resource":"*"}"#,
    r#"{"Effect":"Allow","Action":["bedrock:InvokeModel","bedrock:InvokeModelWithResponseStream"],
        "Resource":["arn:aws:bedrock:*::foundation-model/anthropic.*","arn:aws:bedrock:*:*:inference-profile/us.*"]}"#,
];

struct One(Arc<Attached>);

impl PolicySource for One {
    fn attached(&self, _principal: &Principal) -> Option<Arc<Attached>> {
        Some(Arc::clone(&self.0))
    }

    fn role(&self, _role_arn: &str) -> Option<RolePolicies> {
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let documents = POLICIES.map(|one| format!(r#"{{"Version":"2012-10-17","Statement":{one}}}"#));
    let started = Instant::now();
    let compiled = documents.iter().map(|text| Policy::parse(text, PolicyKind::Managed).map(Arc::new));
    let identity = compiled.collect::<Result<Vec<_>, _>>()?;
    let compiling_us = started.elapsed().as_secs_f64() * 1e6 / 10.0;
    let authorizer =
        PolicyAuthorizer::new(Arc::new(One(Arc::new(Attached { identity, ..Attached::default() }))));
    let eve = Principal::new("arn:aws:iam::123456789012:user/eve", "AKIAEVE");
    let root = Principal::new("arn:aws:iam::123456789012:root", "AKIAROOT");
    let keys = RequestKeys {
        source_ip: Some("127.0.0.1".parse()?),
        received_ms: 1_790_000_000_000,
        region: "us-east-1",
        ..RequestKeys::default()
    };
    let model =
        [Arn::new("bedrock", "us-east-1", "", "foundation-model/anthropic.claude-3-haiku-20240307-v1:0")];
    let asked =
        AuthorizationRequest { context: &keys, ..AuthorizationRequest::new("bedrock:InvokeModel", &model) };
    let cost_us = |who: &Principal| {
        let mut costs: Vec<f64> = (0..REPEATS)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..ROUNDS {
                    let decision = authorizer.decide(black_box(who), black_box(&asked));
                    assert_eq!(decision, Decision::Allow);
                }
                start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
            })
            .collect();
        costs.sort_by(f64::total_cmp);
        costs[REPEATS / 2]
    };
    writeln!(
        std::io::stdout(),
        r#"{{"ten_policies_us":{:.2},"root_us":{:.2},"compiling_us":{compiling_us:.1}}}"#,
        cost_us(&eve),
        cost_us(&root)
    )?;
    Ok(())
}
