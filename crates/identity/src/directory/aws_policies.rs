//! AWS's managed policies for the services that are here. Their names and ARNs are AWS's; what they allow is written
//! from what they are for.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::entities::{Document, ManagedPolicy, PolicyVersion, Tags};
use super::keys::LETTERS;
use crate::policy::PolicyKind;

/// `{name: {path, description, document}}`.
const TEXT: &str = include_str!("../../data/aws_managed_policies.json");

/// When they say they were made: 2024-01-01.
const CREATED_MS: i64 = 1_704_067_200_000;

#[derive(Deserialize)]
struct Written {
    path: String,
    description: String,
    document: Box<RawValue>,
}

static POLICIES: LazyLock<BTreeMap<String, Arc<ManagedPolicy>>> = LazyLock::new(|| {
    let written: BTreeMap<String, Written> = serde_json::from_str(TEXT).unwrap_or_default();
    written
        .into_iter()
        .filter_map(|(name, written)| {
            let policy = read(name, written)?;
            Some((policy.arn.clone(), Arc::new(policy)))
        })
        .collect()
});

fn read(name: String, written: Written) -> Option<ManagedPolicy> {
    let document = Document::parse(written.document.get(), PolicyKind::Managed).ok()?;
    Some(ManagedPolicy {
        arn: format!("arn:aws:iam::aws:policy{}{name}", written.path),
        id: id_of(&name),
        name,
        path: written.path,
        description: Some(written.description),
        created_ms: CREATED_MS,
        updated_ms: CREATED_MS,
        versions: vec![PolicyVersion { number: 1, document, created_ms: CREATED_MS }],
        default_version: 1,
        next_version: 2,
        tags: Tags::new(),
    })
}

/// An id that is the same at every start.
fn id_of(name: &str) -> String {
    let digest = craton_wire::sigv4::sha256(name.as_bytes());
    let letters = digest.iter().take(17).map(|byte| char::from(LETTERS[usize::from(byte & 31)]));
    "ANPA".chars().chain(letters).collect()
}

/// Every one of them, by ARN.
pub fn all<'a>() -> impl Iterator<Item = &'a Arc<ManagedPolicy>> {
    POLICIES.values()
}

pub(super) fn find(arn: &str) -> Option<&'static Arc<ManagedPolicy>> {
    POLICIES.get(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_readable() {
        let written: BTreeMap<String, Written> = serde_json::from_str(TEXT).unwrap();
        assert!(written.len() > 25);
        for (name, written) in written {
            let text = written.document.get().to_owned();
            assert!(
                read(name.clone(), written).is_some(),
                "{name}: {:?}",
                Document::parse(&text, PolicyKind::Managed)
            );
        }
        assert!(find("arn:aws:iam::aws:policy/AmazonBedrockFullAccess").is_some());
        assert!(find("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole").is_some());
    }
}
