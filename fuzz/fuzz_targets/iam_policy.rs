//! Any text as a policy of every kind: compiled or refused, and what is compiled decides.
#![no_main]

use std::sync::{Arc, LazyLock};

use craton_identity::policy::{
    Context, Policies, Policy, PolicyKind, Request, Requester, RequesterKind, ResourceSide, evaluate,
};
use libfuzzer_sys::fuzz_target;

static REQUESTER: LazyLock<Requester> = LazyLock::new(|| Requester {
    kind: RequesterKind::User,
    arn: "arn:aws:iam::123456789012:user/team/ada".into(),
    id: "AIDAEXAMPLEEXAMPLE23".into(),
    role_arn: None,
    account: "123456789012".into(),
});

static KEYS: LazyLock<Context> = LazyLock::new(|| {
    Context::new()
        .with("aws:username", "ada")
        .with("aws:sourceip", "203.0.113.7")
        .with("aws:currenttime", "2026-11-22T12:00:00Z")
        .with("aws:epochtime", "1795348800")
        .with("aws:securetransport", "true")
        .with("aws:principaltag/team", "blue")
        .with("s3:max-keys", "12")
});

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for kind in [PolicyKind::Managed, PolicyKind::Inline, PolicyKind::Trust, PolicyKind::Resource] {
        let Ok(policy) = Policy::parse(text, kind) else { continue };
        let policy = Arc::new(policy);
        for (action, resource) in [
            ("s3:GetObject", "arn:aws:s3:::b/ada/x"),
            ("sts:AssumeRole", "arn:aws:iam::123456789012:role/r"),
            ("a:B", "*"),
        ] {
            let request = Request { requester: &REQUESTER, action, resource, keys: &*KEYS };
            let none: &[Arc<Policy>] = &[];
            let (identity, side) = match kind {
                PolicyKind::Managed | PolicyKind::Inline => {
                    (std::slice::from_ref(&policy), ResourceSide::Silent)
                }
                PolicyKind::Trust => (none, ResourceSide::Trust(&policy)),
                PolicyKind::Resource => (none, ResourceSide::Own(&policy)),
            };
            let alone = Policies { identity, boundary: None, session: None, resource: side };
            let verdict = evaluate(&request, &alone);
            // The same twice.
            assert_eq!(format!("{verdict:?}"), format!("{:?}", evaluate(&request, &alone)));
        }
    }
});
