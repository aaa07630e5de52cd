//! The context keys that requests have here: the one list behind the warnings about policies that ask for others, and
//! behind what is documented. A condition on a key that is never there is harmless in an `Allow`, and worthless in a
//! `Deny`.

use crate::policy::Policy;

/// In lower case, sorted. A name that ends in `/` stands for all that begin so.
const SERVED: &[&str] = &[
    "aoss:resourcetag/",
    "aws:currenttime",
    "aws:epochtime",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principaltag/",
    "aws:principaltype",
    "aws:referer",
    "aws:requestedregion",
    "aws:requesttag/",
    "aws:resourceaccount",
    "aws:resourcetag/",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceip",
    "aws:tagkeys",
    "aws:tokenissuetime",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "aws:viaawsservice",
    "bedrock:bearertokentype",
    "bedrock:guardrailidentifier",
    "bedrock:inferenceprofilearn",
    "bedrock:inlineagentname",
    "bedrock:resourcetag/",
    "bedrock:servicetier",
    "bedrock:thirdpartyknowledgebasecredentialssecretarn",
    "iam:awsservicename",
    "iam:passedtoservice",
    "iam:permissionsboundary",
    "iam:policyarn",
    "iam:resourcetag/",
    "iam:servicespecificcredentialagedays",
    "iam:servicespecificcredentialservicename",
    "lambda:functionurlauthtype",
    "lambda:layer",
    "lambda:principal",
    "lambda:resourcetag/",
    "lambda:securitygroupids",
    "lambda:subnetids",
    "s3:authtype",
    "s3:delimiter",
    "s3:existingobjecttag/",
    "s3:if-match",
    "s3:if-none-match",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-retain-until-date",
    "s3:prefix",
    "s3:requestobjecttag/",
    "s3:requestobjecttagkeys",
    "s3:resourceaccount",
    "s3:signatureage",
    "s3:signatureversion",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read",
    "s3:x-amz-grant-read-acp",
    "s3:x-amz-grant-write",
    "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-object-ownership",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
    "sts:externalid",
    "sts:rolesessionname",
    "sts:sourceidentity",
    "sts:transitivetagkeys",
];

/// Whether requests that have to do with the key have it here.
pub fn is_served_key(key: &str) -> bool {
    let key = key.to_lowercase();
    match key.split_once('/') {
        Some((family, _)) => SERVED.binary_search(&format!("{family}/").as_str()).is_ok(),
        None => SERVED.binary_search(&key.as_str()).is_ok(),
    }
}

/// Says in the log what a policy that is stored asks for in vain. `of`: whose policy it is.
pub fn warn_of_unserved_keys(policy: &Policy, of: &str) {
    let unserved: Vec<&str> = policy.keys().filter(|key| !is_served_key(key)).collect();
    if !unserved.is_empty() {
        tracing::warn!(
            of,
            keys = unserved.join(", "),
            "a policy asks for context keys that no request has here: its conditions find them absent"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_whatever_their_case_and_tag() {
        assert!(SERVED.is_sorted());
        for key in ["aws:SourceIp", "s3:ExistingObjectTag/class", "aws:PrincipalTag/a/b", "iam:PolicyARN"] {
            assert!(is_served_key(key), "{key}");
        }
        for key in ["aws:SourceVpc", "s3:TlsVersion", "aws:PrincipalTag", "aws:SourceIp/x", ""] {
            assert!(!is_served_key(key), "{key}");
        }
    }

    #[test]
    fn the_documentation_has_every_key() {
        let text = include_str!("../../../docs/security.md").to_lowercase();
        for key in SERVED {
            let named = if key.ends_with('/') { format!("`{key}…`") } else { format!("`{key}`") };
            assert!(text.contains(&named), "docs/security.md does not name {key}");
        }
    }
}
