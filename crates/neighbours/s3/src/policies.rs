//! Bucket policies, and whether a bucket is open to the public.

use craton_identity::policy::{Policy, PolicyKind};
use craton_identity::warn_of_unserved_keys;
use craton_objects::ObjectStore as _;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use serde_json::Value;

use crate::error::{custom, told};
use crate::operations::Backend;

/// AWS's limit for a bucket policy.
const MAX_POLICY_BYTES: usize = 20 * 1024;
/// Which of the four blocks are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Block {
    block_public_acls: bool,
    ignore_public_acls: bool,
    block_public_policy: bool,
    restrict_public_buckets: bool,
}

impl Block {
    /// How new buckets are made.
    const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

const BLOCK: &str = "public-access-block";
/// The setting that has a bucket's policy.
pub(crate) const POLICY: &str = "policy";
/// The setting of a bucket whose block was taken away: none, and not the one that new buckets have.
const NO_BLOCK: &str = "none";

impl Backend {
    async fn block(&self, bucket: &str) -> S3Result<Option<Block>> {
        match self.objects.setting(bucket, BLOCK).await.map_err(told)?.as_deref() {
            None => Ok(Some(Block::ALL)),
            Some(NO_BLOCK) => Ok(None),
            Some(text) => serde_json::from_str(text)
                .map(Some)
                .map_err(|_| s3_error!(InternalError, "We encountered an internal error. Please try again.")),
        }
    }

    pub(crate) async fn is_closed_to_the_public(&self, bucket: &str) -> S3Result<bool> {
        Ok(self.block(bucket).await?.is_some_and(|block| block.restrict_public_buckets))
    }

    pub(crate) async fn put_bucket_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let PutBucketPolicyInput { bucket, policy, .. } = request.input;
        self.objects.bucket(&bucket).await.map_err(told)?;
        let malformed = |message: String| s3_error!(MalformedPolicy, "{message}");
        if policy.len() > MAX_POLICY_BYTES {
            return Err(malformed("Policies must not exceed 20 KB".into()));
        }
        let parsed = Policy::parse(&policy, PolicyKind::Resource);
        let parsed = parsed.map_err(|error| malformed(error.to_string()))?;
        let document: Value = serde_json::from_str(&policy)
            .map_err(|_| malformed("Policies must be valid JSON and the first byte must be '{'".into()))?;
        about_this_bucket(&document, &bucket)?;
        let blocked = self.block(&bucket).await?.is_some_and(|block| block.block_public_policy);
        if blocked && is_public(&document) {
            return Err(s3_error!(
                AccessDenied,
                "The policy is public, and public policies are prevented by the BlockPublicPolicy setting in S3 Block \
                 Public Access"
            ));
        }
        let bound = self.authorizer.source().bind_principals(&policy);
        let bound = bound.map_err(|_| malformed("Invalid principal in policy".into()))?;
        warn_of_unserved_keys(&parsed, &bucket);
        self.objects.set_setting(&bucket, POLICY, Some(bound)).await.map_err(told)?;
        Ok(S3Response::new(PutBucketPolicyOutput::default()))
    }

    pub(crate) async fn get_bucket_policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let policy = self.stored_policy(&request.input.bucket).await?;
        let policy = Some(self.authorizer.source().show_principals(&policy));
        Ok(S3Response::new(GetBucketPolicyOutput { policy }))
    }

    async fn stored_policy(&self, bucket: &str) -> S3Result<String> {
        self.objects.bucket(bucket).await.map_err(told)?;
        let policy = self.objects.setting(bucket, POLICY).await.map_err(told)?;
        policy.ok_or_else(|| s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist"))
    }

    pub(crate) async fn delete_bucket_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        let bucket = request.input.bucket;
        self.objects.bucket(&bucket).await.map_err(told)?;
        self.objects.set_setting(&bucket, POLICY, None).await.map_err(told)?;
        Ok(S3Response::new(DeleteBucketPolicyOutput {}))
    }

    pub(crate) async fn get_bucket_policy_status(
        &self,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        let policy = self.stored_policy(&request.input.bucket).await?;
        let is_public = serde_json::from_str(&policy).is_ok_and(|document: Value| is_public(&document));
        let policy_status = Some(PolicyStatus { is_public: Some(is_public) });
        Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
    }

    pub(crate) async fn get_public_access_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        self.objects.bucket(&request.input.bucket).await.map_err(told)?;
        let block = self.block(&request.input.bucket).await?.ok_or_else(|| {
            custom(
                "NoSuchPublicAccessBlockConfiguration",
                http::StatusCode::NOT_FOUND,
                "The public access block configuration was not found",
            )
        })?;
        let configuration = PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            block_public_policy: Some(block.block_public_policy),
            ignore_public_acls: Some(block.ignore_public_acls),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        };
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(configuration),
        }))
    }

    pub(crate) async fn put_public_access_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let PutPublicAccessBlockInput { bucket, public_access_block_configuration: wanted, .. } =
            request.input;
        self.objects.bucket(&bucket).await.map_err(told)?;
        let block = Block {
            block_public_acls: wanted.block_public_acls.unwrap_or_default(),
            ignore_public_acls: wanted.ignore_public_acls.unwrap_or_default(),
            block_public_policy: wanted.block_public_policy.unwrap_or_default(),
            restrict_public_buckets: wanted.restrict_public_buckets.unwrap_or_default(),
        };
        let text = serde_json::to_string(&block).map_err(s3s::S3Error::internal_error)?;
        self.objects.set_setting(&bucket, BLOCK, Some(text)).await.map_err(told)?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    pub(crate) async fn delete_public_access_block(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        let bucket = request.input.bucket;
        self.objects.bucket(&bucket).await.map_err(told)?;
        self.objects.set_setting(&bucket, BLOCK, Some(NO_BLOCK.into())).await.map_err(told)?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput {}))
    }
}

fn each(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::Array(items)) => items.iter().collect::<Vec<_>>().into_iter(),
        Some(other) => vec![other].into_iter(),
        None => Vec::new().into_iter(),
    }
}

/// A bucket's policy speaks of that bucket and what is in it, and of S3's actions: each of something that the statement
/// names.
fn about_this_bucket(document: &Value, bucket: &str) -> S3Result<()> {
    let (own, inside) = (format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/"));
    let malformed = |message: &str| Err(s3_error!(MalformedPolicy, "{message}"));
    for statement in each(document.get("Statement")) {
        let named: Vec<&str> = each(statement.get("Resource")).filter_map(Value::as_str).collect();
        let others = each(statement.get("NotResource")).filter_map(Value::as_str);
        if named.iter().copied().chain(others).any(|one| one != own && !one.starts_with(&inside)) {
            return malformed("Policy has invalid resource");
        }
        let actions = each(statement.get("Action")).chain(each(statement.get("NotAction")));
        for action in actions.filter_map(Value::as_str).map(str::to_ascii_lowercase) {
            let Some(name) = action.strip_prefix("s3:") else {
                if action == "*" {
                    continue;
                }
                return malformed("Policy has invalid action");
            };
            let applies =
                |resource: &&str| if is_of_objects(name) { **resource != own } else { **resource == own };
            let plain = !name.contains(['*', '?']) && statement.get("Action").is_some();
            if plain && !named.is_empty() && !named.iter().any(applies) {
                return malformed("Action does not apply to any resource(s) in statement");
            }
        }
    }
    Ok(())
}

/// Whether an action, in lower case, is on objects and not on buckets.
fn is_of_objects(name: &str) -> bool {
    const BEGINNINGS: [&str; 7] = [
        "getobject",
        "putobject",
        "deleteobject",
        "restoreobject",
        "replicate",
        "abortmultipartupload",
        "listmultipartuploadparts",
    ];
    BEGINNINGS.iter().any(|own| name.starts_with(own))
        || matches!(
            name,
            "bypassgovernanceretention"
                | "objectowneroverridetobucketowner"
                | "initiatereplication"
                | "updateobjectencryption"
        )
}

/// Whether a statement lets everybody in: its principal is everybody, and no condition ties it to somebody.
fn is_public(document: &Value) -> bool {
    const TIES: [&str; 9] = [
        "aws:sourceip",
        "aws:sourcearn",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:sourceaccount",
        "aws:principalorgid",
        "aws:principalarn",
        "aws:principalaccount",
        "aws:userid",
    ];
    /// Those that hold only where the key has one of the values; not their opposites, nor what holds without the key.
    const TYING: [&str; 6] =
        ["stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"];
    each(document.get("Statement")).any(|statement| {
        let everybody = |principal: &Value| match principal {
            Value::String(text) => text == "*",
            Value::Object(kinds) => each(kinds.get("AWS")).any(|one| one == "*"),
            _ => false,
        };
        let all =
            statement.get("Principal").is_some_and(everybody) || statement.get("NotPrincipal").is_some();
        let tied = statement.get("Condition").and_then(Value::as_object).is_some_and(|operators| {
            operators.iter().filter(|(operator, _)| TYING.contains(&operator.to_lowercase().as_str())).any(
                |(_, keys)| {
                    keys.as_object().into_iter().flatten().any(|(key, values)| {
                        TIES.contains(&key.to_lowercase().as_str()) && each(Some(values)).all(is_narrow)
                    })
                },
            )
        });
        statement.get("Effect").and_then(Value::as_str) == Some("Allow") && all && !tied
    })
}

/// Whether a condition's value stands for somebody: no wildcard or variable, and no range of addresses wider than /8
/// (/32 of IPv6).
fn is_narrow(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let wide = text.split_once('/').is_some_and(|(address, bits)| {
        let least = match address.parse() {
            Ok(std::net::IpAddr::V4(_)) => 8,
            Ok(std::net::IpAddr::V6(_)) => 32,
            Err(_) => return false,
        };
        bits.parse::<u8>().is_ok_and(|bits| bits < least)
    });
    !text.is_empty() && !text.contains(['*', '?', '$']) && !wide
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everybody_is_everybody_however_it_is_written() {
        let policy = |principal: Value, condition: Value| {
            is_public(
                &json!({"Statement": {"Effect": "Allow", "Principal": principal, "Condition": condition}}),
            )
        };
        assert!(policy(json!("*"), json!({})));
        assert!(policy(json!({"AWS": ["*"]}), json!({"StringLike": {"aws:Referer": "x"}})));
        assert!(!policy(json!({"AWS": "arn:aws:iam::1:root"}), json!({})));
        assert!(!policy(json!("*"), json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})));
        for public in [
            json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
            json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::/0"]}}),
            json!({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
            json!({"StringNotEquals": {"aws:PrincipalAccount": "123456789012"}}),
            json!({"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}),
            json!({"StringLike": {"aws:PrincipalArn": "*"}}),
        ] {
            assert!(policy(json!("*"), public.clone()), "{public}");
        }
        assert!(!policy(json!("*"), json!({"StringEquals": {"aws:SourceVpc": ["vpc-1", "vpc-2"]}})));
        assert!(!is_public(&json!({"Statement": [{"Effect": "Deny", "Principal": "*"}]})));
    }
}
