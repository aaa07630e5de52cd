//! Whether a caller may do what they ask, by IAM's actions and the bucket's own policy.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use craton_core::{Arn, Principal};
use craton_identity::policy::{
    Context, Keys as _, Policies, Policy, Request, Requester, RequesterKind, ResourceSide, Verdict, evaluate,
};
use craton_identity::{AuthorizationRequest, Authorizer, RequestKeys};
use craton_objects::ObjectRef;
use http::{HeaderMap, header};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{
    CopyObjectInput, CopySource, DeleteObjectsInput, ObjectCannedACL, ObjectLockLegalHoldStatus,
    ObjectLockMode, PostObjectInput, ServerSideEncryption, StorageClass, TimestampFormat,
    UploadPartCopyInput,
};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};

use crate::auth::Keys;
use crate::error::told;
use crate::front::Seen;
use crate::keys::{own_keys, set_age};
use crate::operations::Backend;
use crate::sides::OBJECT_TAG;

/// One request's check.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) keys: Arc<Keys>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) backend: Backend,
    pub(crate) peer: IpAddr,
    pub(crate) secure: bool,
    pub(crate) received_ms: i64,
    pub(crate) seen: Arc<Seen>,
}

/// Left in the request for checks that need its body.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// `None`: nobody signed.
    principal: Option<Arc<Principal>>,
    context: Context,
}

/// Keys (with versions) that the caller may not delete.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused(pub(crate) HashSet<(String, Option<String>)>);

/// The IAM action of an operation on a bucket or object. Where IAM names it otherwise than the API does.
fn action(operation: &str, version: bool) -> String {
    let name = match operation {
        "ListBuckets" => "ListAllMyBuckets",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "ListBucket",
        "ListObjectVersions" => "ListBucketVersions",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "ListParts" => "ListMultipartUploadParts",
        "GetObject" | "HeadObject" | "GetObjectAttributes" if version => "GetObjectVersion",
        "HeadObject" | "GetObjectAttributes" => "GetObject",
        "DeleteObject" if version => "DeleteObjectVersion",
        "GetObjectTagging" if version => "GetObjectVersionTagging",
        "PutObjectTagging" if version => "PutObjectVersionTagging",
        "DeleteObjectTagging" if version => "DeleteObjectVersionTagging",
        "GetObjectAcl" if version => "GetObjectVersionAcl",
        "PostObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => "PutObject",
        "GetBucketCors" => "GetBucketCORS",
        "PutBucketCors" | "DeleteBucketCors" => "PutBucketCORS",
        "DeleteBucketTagging" => "PutBucketTagging",
        "GetBucketEncryption" => "GetEncryptionConfiguration",
        "PutBucketEncryption" | "DeleteBucketEncryption" => "PutEncryptionConfiguration",
        "GetBucketLifecycle" | "GetBucketLifecycleConfiguration" => "GetLifecycleConfiguration",
        "PutBucketLifecycle" | "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => {
            "PutLifecycleConfiguration"
        }
        "GetPublicAccessBlock" => "GetBucketPublicAccessBlock",
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => "PutBucketPublicAccessBlock",
        "DeleteBucketOwnershipControls" => "PutBucketOwnershipControls",
        "GetBucketNotificationConfiguration" => "GetBucketNotification",
        "PutBucketNotificationConfiguration" => "PutBucketNotification",
        "GetBucketReplication" => "GetReplicationConfiguration",
        "PutBucketReplication" | "DeleteBucketReplication" => "PutReplicationConfiguration",
        "GetBucketAccelerateConfiguration" => "GetAccelerateConfiguration",
        "PutBucketAccelerateConfiguration" => "PutAccelerateConfiguration",
        "GetObjectLockConfiguration" => "GetBucketObjectLockConfiguration",
        "PutObjectLockConfiguration" => "PutBucketObjectLockConfiguration",
        other => other,
    };
    format!("s3:{name}")
}

fn arn(bucket: &str, key: Option<&str>) -> Arn {
    let resource = key.map_or_else(|| bucket.to_owned(), |key| format!("{bucket}/{key}"));
    Arn::new("s3", "", "", resource)
}

impl Access {
    /// Asks for one action on one resource.
    async fn ask(&self, caller: &Caller, action: &str, resource: Arn, bucket: Option<&str>) -> S3Result<()> {
        let policy = self.policy(caller, bucket).await?;
        self.ask_under(caller, action, resource, policy.as_ref()).await
    }

    /// The policy that a bucket adds to what a caller may.
    async fn policy(&self, caller: &Caller, bucket: Option<&str>) -> S3Result<Option<BucketPolicy>> {
        let Some(bucket) = bucket.filter(|_| !is_root(caller)) else { return Ok(None) };
        let policy = self.backend.sides.policy(bucket).await.map_err(told)?;
        Ok(policy.map(|policy| BucketPolicy { bucket: bucket.to_owned(), policy }))
    }

    /// Asks for one action on one resource under a bucket's policy.
    async fn ask_under(
        &self,
        caller: &Caller,
        action: &str,
        resource: Arn,
        policy: Option<&BucketPolicy>,
    ) -> S3Result<()> {
        let decided = match self.tagged(caller, action, &resource, policy).await? {
            Some(caller) => self.decide(&caller, action, &resource, policy).await,
            None => self.decide(caller, action, &resource, policy).await,
        };
        self.seen.note(action, &resource, decided.is_ok());
        decided
    }

    async fn decide(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Arn,
        policy: Option<&BucketPolicy>,
    ) -> S3Result<()> {
        let Some(principal) = &caller.principal else {
            return self.ask_for_nobody(caller, action, resource, policy).await;
        };
        let request = AuthorizationRequest {
            context: &caller.context,
            resource_policy: policy.map(|found| &*found.policy),
            ..AuthorizationRequest::new(action, std::slice::from_ref(resource))
        };
        self.authorizer
            .authorize(principal, &request)
            .map_err(|error| s3_error!(AccessDenied, "{}", error.message))
    }

    /// The caller with the tags of the object among the context keys, where a policy asks for them.
    async fn tagged(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Arn,
        policy: Option<&BucketPolicy>,
    ) -> S3Result<Option<Caller>> {
        let asks = policy.is_some_and(|found| found.policy.mentions(OBJECT_TAG))
            || caller.principal.as_ref().is_some_and(|own| self.authorizer.asks_for(own, OBJECT_TAG));
        let Some((bucket, key)) = resource.resource.split_once('/').filter(|_| asks) else { return Ok(None) };
        let version =
            caller.context.values("s3:versionid").and_then(|own| own.first().map(|id| id.to_string()));
        let at = ObjectRef { bucket: bucket.to_owned(), key: key.to_owned(), version };
        let tags = self.backend.sides.tags(action, &at).await.map_err(told)?;
        let mut caller = caller.clone();
        for (name, value) in tags {
            caller.context.set(&format!("{OBJECT_TAG}{name}"), value);
        }
        Ok(Some(caller))
    }

    /// Whether the caller may know which keys a bucket has.
    pub(crate) async fn may_list(&self, caller: &Caller, bucket: &str) -> S3Result<()> {
        self.ask(caller, "s3:ListBucket", arn(bucket, None), Some(bucket)).await
    }

    fn request_keys<'a>(&'a self, headers: &'a HeaderMap) -> RequestKeys<'a> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        RequestKeys {
            source_ip: Some(self.peer),
            received_ms: self.received_ms,
            region: self.keys.region().unwrap_or(&self.backend.account.home_region),
            secure: self.secure,
            user_agent: text(header::USER_AGENT),
            referer: text(header::REFERER),
            bearer_token: None,
        }
    }

    /// An unsigned request needs a bucket policy that says everybody may, and a bucket that is not closed to the public.
    async fn ask_for_nobody(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Arn,
        policy: Option<&BucketPolicy>,
    ) -> S3Result<()> {
        let denied = || s3_error!(AccessDenied, "Access Denied");
        let Some(BucketPolicy { bucket, policy }) = policy else { return Err(denied()) };
        if self.backend.is_closed_to_the_public(bucket).await? {
            return Err(denied());
        }
        let requester =
            Requester { kind: RequesterKind::Anonymous, arn: "anonymous".into(), ..Requester::default() };
        let resource = resource.to_string();
        let request = Request { requester: &requester, action, resource: &resource, keys: &caller.context };
        let policies = Policies { resource: ResourceSide::Own(policy), ..Policies::default() };
        match evaluate(&request, &policies) {
            Verdict::Allow => Ok(()),
            Verdict::Deny(_) => Err(denied()),
        }
    }

    /// Clients may say whose bucket they think it is; all buckets here are this account's.
    fn is_owner(&self, headers: &HeaderMap) -> S3Result<()> {
        let account = self.backend.account.id.as_str();
        let other = ["x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"]
            .iter()
            .any(|name| headers.get(*name).is_some_and(|owner| owner != account));
        if other { Err(s3_error!(AccessDenied, "Access Denied")) } else { Ok(()) }
    }

    async fn may_read_source(&self, caller: Option<Caller>, source: &CopySource) -> S3Result<()> {
        let CopySource::Bucket { bucket, key, version_id } = source else { return Ok(()) };
        let caller = caller.ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let action = action("GetObject", version_id.is_some());
        let mut caller = caller;
        if let Some(version) = version_id {
            caller.context.set("s3:VersionId", &**version);
        }
        self.ask(&caller, &action, arn(bucket, Some(key)), Some(bucket)).await
    }
}

/// What a bucket's own policy says.
struct BucketPolicy {
    bucket: String,
    policy: Arc<Policy>,
}

fn is_root(caller: &Caller) -> bool {
    caller.principal.as_ref().is_some_and(|principal| principal.is_root())
}

/// Actions besides the operation's own that its headers ask for.
fn further_actions(headers: &HeaderMap, operation: &str) -> &'static [&'static str] {
    let writes = matches!(operation, "PutObject" | "CopyObject" | "CreateMultipartUpload");
    let tags = writes && headers.contains_key("x-amz-tagging");
    let grants = |name: &http::HeaderName| name == "x-amz-acl" || name.as_str().starts_with("x-amz-grant-");
    match (tags, writes && headers.keys().any(grants)) {
        (true, true) => &["s3:PutObjectTagging", "s3:PutObjectAcl"],
        (true, false) => &["s3:PutObjectTagging"],
        (false, true) => &["s3:PutObjectAcl"],
        (false, false) => &[],
    }
}

/// The fields of a form that policies know as a PUT's headers.
fn form_headers(input: &PostObjectInput) -> S3Result<HeaderMap> {
    let mut retain_until = Vec::new();
    if let Some(date) = &input.object_lock_retain_until_date {
        let written = date.format(TimestampFormat::DateTime, &mut retain_until);
        written.map_err(|_| s3_error!(InvalidArgument, "A field of the form is not a time"))?;
    }
    let retain_until = std::str::from_utf8(&retain_until).ok().filter(|text| !text.is_empty());
    let said = [
        ("x-amz-acl", input.acl.as_ref().map(ObjectCannedACL::as_str)),
        ("x-amz-tagging", input.tagging.as_deref()),
        ("x-amz-storage-class", input.storage_class.as_ref().map(StorageClass::as_str)),
        (
            "x-amz-server-side-encryption",
            input.server_side_encryption.as_ref().map(ServerSideEncryption::as_str),
        ),
        ("x-amz-server-side-encryption-aws-kms-key-id", input.ssekms_key_id.as_deref()),
        ("x-amz-server-side-encryption-customer-algorithm", input.sse_customer_algorithm.as_deref()),
        ("x-amz-website-redirect-location", input.website_redirect_location.as_deref()),
        ("x-amz-object-lock-mode", input.object_lock_mode.as_ref().map(ObjectLockMode::as_str)),
        ("x-amz-object-lock-retain-until-date", retain_until),
        (
            "x-amz-object-lock-legal-hold",
            input.object_lock_legal_hold_status.as_ref().map(ObjectLockLegalHoldStatus::as_str),
        ),
        ("x-amz-grant-read", input.grant_read.as_deref()),
        ("x-amz-grant-read-acp", input.grant_read_acp.as_deref()),
        ("x-amz-grant-write-acp", input.grant_write_acp.as_deref()),
        ("x-amz-grant-full-control", input.grant_full_control.as_deref()),
    ];
    let said = said.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let read = |(name, value): (&'static str, &str)| {
        let value = http::HeaderValue::from_str(value);
        let value =
            value.map_err(|_| s3_error!(InvalidArgument, "The form's field {name} is not readable"))?;
        Ok((http::HeaderName::from_static(name), value))
    };
    said.map(read).collect()
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = name_of(cx.s3_op().name());
        let _ = self.seen.operation.set(operation);
        self.is_owner(cx.headers())?;
        let principal = match cx.credentials() {
            Some(credentials) => Some(self.keys.principal(&credentials.access_key)?),
            None => None,
        };
        if let Some(principal) = &principal {
            let _ = self.seen.principal.set(Arc::clone(principal));
        }
        let (mut context, version) =
            own_keys(cx.uri(), cx.headers(), self.request_keys(cx.headers()).context());
        set_age(&mut context, self.received_ms);
        for key in ["s3:ResourceAccount", "aws:ResourceAccount"] {
            context.set(key, self.backend.account.id.as_str());
        }
        if operation == "PostObject" {
            context.set("s3:authType", "POST");
            if let Some(signed) = self.keys.of_form() {
                let version = if signed.region.is_some() { "AWS4-HMAC-SHA256" } else { "AWS" };
                context.set("s3:signatureversion", version);
            }
        }
        let caller = Caller { principal, context };
        let _ = self.seen.caller.set(caller.clone());
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(&**bucket), None),
            S3Path::Object { bucket, key } => (Some(&**bucket), Some(&**key)),
        };
        // Each key of a DeleteObjects has its own answer, and a form's key is read later.
        if operation != "DeleteObjects" && operation != "PostObject" {
            let resource = bucket.map_or_else(|| arn("*", None), |bucket| arn(bucket, key));
            self.ask(&caller, &action(operation, version), resource.clone(), bucket).await?;
            for further in further_actions(cx.headers(), operation) {
                self.ask(&caller, further, resource.clone(), bucket).await?;
            }
        } else if caller.principal.is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        self.seen.checked.store(true, Ordering::Relaxed);
        cx.extensions_mut().insert(caller);
        Ok(())
    }

    async fn copy_object(&self, req: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        self.may_read_source(req.extensions.get().cloned(), &req.input.copy_source).await
    }

    async fn upload_part_copy(&self, req: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        self.may_read_source(req.extensions.get().cloned(), &req.input.copy_source).await
    }

    async fn post_object(&self, req: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        let caller: Option<Caller> = req.extensions.get().cloned();
        let caller = caller.ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let (bucket, key) = (&req.input.bucket, &req.input.key);
        if key.contains("${filename}") {
            return Err(s3_error!(NotImplemented, "${{filename}} in the key of a form is not served."));
        }
        // What a PUT says in headers, a form says in fields, for which the same permissions are needed.
        let headers = form_headers(&req.input)?;
        let (context, _) = own_keys(&http::Uri::default(), &headers, caller.context);
        let caller = Caller { context, ..caller };
        let further = further_actions(&headers, "PutObject");
        for action in ["s3:PutObject"].iter().chain(further) {
            self.ask(&caller, action, arn(bucket, Some(key)), Some(bucket)).await?;
        }
        Ok(())
    }

    async fn delete_objects(&self, req: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let caller: Option<Caller> = req.extensions.get().cloned();
        let caller = caller.ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))?;
        let mut refused = Refused::default();
        let bucket = &req.input.bucket;
        let policy = self.policy(&caller, Some(bucket)).await?;
        for object in req.input.delete.objects.iter().filter(|_| !is_root(&caller)) {
            let action = action("DeleteObject", object.version_id.is_some());
            let resource = arn(bucket, Some(&object.key));
            if self.ask_under(&caller, &action, resource, policy.as_ref()).await.is_err() {
                refused.0.insert((object.key.clone(), object.version_id.clone()));
            }
        }
        req.extensions.insert(refused);
        Ok(())
    }
}

/// The operation's name as a constant, so that metrics can keep it.
fn name_of(name: &str) -> &'static str {
    crate::operations::NAMES.iter().find(|known| **known == name).copied().unwrap_or("S3NotServed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_iam_s() {
        for (operation, version, expected) in [
            ("GetObject", false, "s3:GetObject"),
            ("HeadObject", true, "s3:GetObjectVersion"),
            ("ListObjectsV2", false, "s3:ListBucket"),
            ("UploadPart", false, "s3:PutObject"),
            ("DeleteObject", true, "s3:DeleteObjectVersion"),
            ("PutBucketPolicy", false, "s3:PutBucketPolicy"),
        ] {
            assert_eq!(action(operation, version), expected);
        }
    }
}
