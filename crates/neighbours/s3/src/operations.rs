//! Which function answers which operation.

use std::sync::Arc;

use craton_core::Account;
use craton_identity::Authorizer;
use craton_objects::Objects;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::sides::Sides;

/// What the operations work on.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) objects: Objects,
    pub(crate) account: Arc<Account>,
    pub(crate) sides: Sides,
    /// Knows the users and roles that bucket policies name.
    pub(crate) authorizer: Arc<dyn Authorizer>,
}

impl Backend {
    pub(crate) fn new(
        objects: Objects,
        sides: Sides,
        account: Arc<Account>,
        authorizer: Arc<dyn Authorizer>,
    ) -> Self {
        Self { objects, account, sides, authorizer }
    }
}

/// A form posted by a browser, which `s3s` turns into a PutObject.
const POST_OBJECT: &str = "PostObject";

/// One line an operation: its name, the function, and what goes in and out.
macro_rules! operations {
    ($($operation:literal $name:ident $input:ty => $output:ty;)*) => {
        /// Every operation that is served.
        pub(crate) const NAMES: &[&str] = &[POST_OBJECT, $($operation),*];

        #[async_trait::async_trait]
        impl S3 for Backend {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                // The inherent function of that name.
                Backend::$name(self, request).await
            })*
        }
    };
}

operations! {
    "ListBuckets" list_buckets ListBucketsInput => ListBucketsOutput;
    "CreateBucket" create_bucket CreateBucketInput => CreateBucketOutput;
    "HeadBucket" head_bucket HeadBucketInput => HeadBucketOutput;
    "DeleteBucket" delete_bucket DeleteBucketInput => DeleteBucketOutput;
    "GetBucketLocation" get_bucket_location GetBucketLocationInput => GetBucketLocationOutput;
    "GetBucketVersioning" get_bucket_versioning GetBucketVersioningInput => GetBucketVersioningOutput;
    "PutBucketVersioning" put_bucket_versioning PutBucketVersioningInput => PutBucketVersioningOutput;

    "PutObject" put_object PutObjectInput => PutObjectOutput;
    "GetObject" get_object GetObjectInput => GetObjectOutput;
    "HeadObject" head_object HeadObjectInput => HeadObjectOutput;
    "GetObjectAttributes" get_object_attributes GetObjectAttributesInput => GetObjectAttributesOutput;
    "CopyObject" copy_object CopyObjectInput => CopyObjectOutput;
    "DeleteObject" delete_object DeleteObjectInput => DeleteObjectOutput;
    "DeleteObjects" delete_objects DeleteObjectsInput => DeleteObjectsOutput;
    "ListObjects" list_objects ListObjectsInput => ListObjectsOutput;
    "ListObjectsV2" list_objects_v2 ListObjectsV2Input => ListObjectsV2Output;
    "ListObjectVersions" list_object_versions ListObjectVersionsInput => ListObjectVersionsOutput;

    "CreateMultipartUpload" create_multipart_upload CreateMultipartUploadInput => CreateMultipartUploadOutput;
    "UploadPart" upload_part UploadPartInput => UploadPartOutput;
    "UploadPartCopy" upload_part_copy UploadPartCopyInput => UploadPartCopyOutput;
    "CompleteMultipartUpload" complete_multipart_upload CompleteMultipartUploadInput => CompleteMultipartUploadOutput;
    "AbortMultipartUpload" abort_multipart_upload AbortMultipartUploadInput => AbortMultipartUploadOutput;
    "ListParts" list_parts ListPartsInput => ListPartsOutput;
    "ListMultipartUploads" list_multipart_uploads ListMultipartUploadsInput => ListMultipartUploadsOutput;

    "GetObjectTagging" get_object_tagging GetObjectTaggingInput => GetObjectTaggingOutput;
    "PutObjectTagging" put_object_tagging PutObjectTaggingInput => PutObjectTaggingOutput;
    "DeleteObjectTagging" delete_object_tagging DeleteObjectTaggingInput => DeleteObjectTaggingOutput;
    "GetBucketTagging" get_bucket_tagging GetBucketTaggingInput => GetBucketTaggingOutput;
    "PutBucketTagging" put_bucket_tagging PutBucketTaggingInput => PutBucketTaggingOutput;
    "DeleteBucketTagging" delete_bucket_tagging DeleteBucketTaggingInput => DeleteBucketTaggingOutput;

    "GetBucketPolicy" get_bucket_policy GetBucketPolicyInput => GetBucketPolicyOutput;
    "PutBucketPolicy" put_bucket_policy PutBucketPolicyInput => PutBucketPolicyOutput;
    "DeleteBucketPolicy" delete_bucket_policy DeleteBucketPolicyInput => DeleteBucketPolicyOutput;
    "GetBucketPolicyStatus" get_bucket_policy_status GetBucketPolicyStatusInput => GetBucketPolicyStatusOutput;
    "GetPublicAccessBlock" get_public_access_block GetPublicAccessBlockInput => GetPublicAccessBlockOutput;
    "PutPublicAccessBlock" put_public_access_block PutPublicAccessBlockInput => PutPublicAccessBlockOutput;
    "DeletePublicAccessBlock" delete_public_access_block DeletePublicAccessBlockInput => DeletePublicAccessBlockOutput;

    "GetBucketCors" get_bucket_cors GetBucketCorsInput => GetBucketCorsOutput;
    "PutBucketCors" put_bucket_cors PutBucketCorsInput => PutBucketCorsOutput;
    "DeleteBucketCors" delete_bucket_cors DeleteBucketCorsInput => DeleteBucketCorsOutput;

    "GetBucketAcl" get_bucket_acl GetBucketAclInput => GetBucketAclOutput;
    "PutBucketAcl" put_bucket_acl PutBucketAclInput => PutBucketAclOutput;
    "GetObjectAcl" get_object_acl GetObjectAclInput => GetObjectAclOutput;
    "PutObjectAcl" put_object_acl PutObjectAclInput => PutObjectAclOutput;
    "GetBucketEncryption" get_bucket_encryption GetBucketEncryptionInput => GetBucketEncryptionOutput;
    "GetBucketOwnershipControls" get_bucket_ownership_controls GetBucketOwnershipControlsInput => GetBucketOwnershipControlsOutput;
    "PutBucketOwnershipControls" put_bucket_ownership_controls PutBucketOwnershipControlsInput => PutBucketOwnershipControlsOutput;
    "GetBucketLifecycleConfiguration" get_bucket_lifecycle_configuration GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput;
    "DeleteBucketLifecycle" delete_bucket_lifecycle DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput;
    "GetBucketWebsite" get_bucket_website GetBucketWebsiteInput => GetBucketWebsiteOutput;
    "GetBucketReplication" get_bucket_replication GetBucketReplicationInput => GetBucketReplicationOutput;
    "GetObjectLockConfiguration" get_object_lock_configuration GetObjectLockConfigurationInput => GetObjectLockConfigurationOutput;
    "GetBucketRequestPayment" get_bucket_request_payment GetBucketRequestPaymentInput => GetBucketRequestPaymentOutput;
    "GetBucketAccelerateConfiguration" get_bucket_accelerate_configuration GetBucketAccelerateConfigurationInput => GetBucketAccelerateConfigurationOutput;
    "GetBucketLogging" get_bucket_logging GetBucketLoggingInput => GetBucketLoggingOutput;
    "GetBucketNotificationConfiguration" get_bucket_notification_configuration GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput;
}
