//! Settings of buckets that have one value here: answered as S3 answers for a bucket that has them so, and refused in
//! any other form.

use craton_objects::ObjectStore as _;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::convert::{only_what_is_done, owner};
use crate::error::told;
use crate::operations::Backend;

impl Backend {
    async fn is_there(&self, bucket: &str) -> S3Result<()> {
        self.objects.bucket(bucket).await.map(|_| ()).map_err(told)
    }

    fn full_control(&self) -> (Option<Owner>, Option<Vec<Grant>>) {
        let owner = owner(&self.account.id);
        let grantee = Grantee {
            display_name: None,
            email_address: None,
            id: owner.id.clone(),
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        };
        let permission = Some(Permission::from_static(Permission::FULL_CONTROL));
        (Some(owner), Some(vec![Grant { grantee: Some(grantee), permission }]))
    }

    pub(crate) async fn get_bucket_acl(
        &self,
        request: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        self.is_there(&request.input.bucket).await?;
        let (owner, grants) = self.full_control();
        Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
    }

    /// Only what is so anyway: the owner has everything.
    pub(crate) async fn put_bucket_acl(
        &self,
        request: S3Request<PutBucketAclInput>,
    ) -> S3Result<S3Response<PutBucketAclOutput>> {
        only_what_is_done(&request.headers)?;
        self.is_there(&request.input.bucket).await?;
        if request.input.access_control_policy.is_some() {
            return Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"));
        }
        Ok(S3Response::new(PutBucketAclOutput {}))
    }

    pub(crate) async fn get_object_acl(
        &self,
        request: S3Request<GetObjectAclInput>,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let GetObjectAclInput { bucket, key, version_id, .. } = request.input;
        let at = craton_objects::ObjectRef { bucket, key, version: version_id };
        self.objects.head(&at, Default::default()).await.map_err(told)?;
        let (owner, grants) = self.full_control();
        Ok(S3Response::new(GetObjectAclOutput { grants, owner, request_charged: None }))
    }

    pub(crate) async fn put_object_acl(
        &self,
        request: S3Request<PutObjectAclInput>,
    ) -> S3Result<S3Response<PutObjectAclOutput>> {
        only_what_is_done(&request.headers)?;
        let PutObjectAclInput { bucket, key, version_id, access_control_policy, .. } = request.input;
        if access_control_policy.is_some() {
            return Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"));
        }
        let at = craton_objects::ObjectRef { bucket, key, version: version_id };
        self.objects.head(&at, Default::default()).await.map_err(told)?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }

    /// Nothing is encrypted here; who needs that encrypts the disk.
    pub(crate) async fn get_bucket_encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        self.is_there(&request.input.bucket).await?;
        Err(s3_error!(
            ServerSideEncryptionConfigurationNotFoundError,
            "The server side encryption configuration was not found"
        ))
    }

    pub(crate) async fn get_bucket_ownership_controls(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        self.is_there(&request.input.bucket).await?;
        let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
        let ownership_controls =
            Some(OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] });
        Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
    }

    pub(crate) async fn put_bucket_ownership_controls(
        &self,
        request: S3Request<PutBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        self.is_there(&request.input.bucket).await?;
        let rules = request.input.ownership_controls.rules;
        let enforced = |rule: &OwnershipControlsRule| {
            rule.object_ownership.as_str() == ObjectOwnership::BUCKET_OWNER_ENFORCED
        };
        if rules.len() != 1 || !rules.iter().all(enforced) {
            return Err(s3_error!(
                NotImplemented,
                "Only BucketOwnerEnforced is served: the account owns every object, and ACLs are off."
            ));
        }
        Ok(S3Response::new(PutBucketOwnershipControlsOutput {}))
    }

    pub(crate) async fn get_bucket_lifecycle_configuration(
        &self,
        request: S3Request<GetBucketLifecycleConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
        self.is_there(&request.input.bucket).await?;
        Err(s3_error!(NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"))
    }

    pub(crate) async fn delete_bucket_lifecycle(
        &self,
        request: S3Request<DeleteBucketLifecycleInput>,
    ) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
        self.is_there(&request.input.bucket).await?;
        Ok(S3Response::with_status(DeleteBucketLifecycleOutput {}, http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn get_bucket_website(
        &self,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
        self.is_there(&request.input.bucket).await?;
        Err(s3_error!(
            NoSuchWebsiteConfiguration,
            "The specified bucket does not have a website configuration"
        ))
    }

    pub(crate) async fn get_bucket_replication(
        &self,
        request: S3Request<GetBucketReplicationInput>,
    ) -> S3Result<S3Response<GetBucketReplicationOutput>> {
        self.is_there(&request.input.bucket).await?;
        Err(s3_error!(ReplicationConfigurationNotFoundError, "The replication configuration was not found"))
    }

    pub(crate) async fn get_object_lock_configuration(
        &self,
        request: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        self.is_there(&request.input.bucket).await?;
        Err(s3_error!(
            ObjectLockConfigurationNotFoundError,
            "Object Lock configuration does not exist for this bucket"
        ))
    }

    pub(crate) async fn get_bucket_request_payment(
        &self,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
        self.is_there(&request.input.bucket).await?;
        let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
        Ok(S3Response::new(GetBucketRequestPaymentOutput { payer }))
    }

    pub(crate) async fn get_bucket_accelerate_configuration(
        &self,
        request: S3Request<GetBucketAccelerateConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
        self.is_there(&request.input.bucket).await?;
        Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()))
    }

    pub(crate) async fn get_bucket_logging(
        &self,
        request: S3Request<GetBucketLoggingInput>,
    ) -> S3Result<S3Response<GetBucketLoggingOutput>> {
        self.is_there(&request.input.bucket).await?;
        Ok(S3Response::new(GetBucketLoggingOutput::default()))
    }

    pub(crate) async fn get_bucket_notification_configuration(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        self.is_there(&request.input.bucket).await?;
        Ok(S3Response::new(GetBucketNotificationConfigurationOutput::default()))
    }
}
