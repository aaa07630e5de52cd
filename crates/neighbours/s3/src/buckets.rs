//! Buckets themselves.

use craton_objects::{ObjectStore as _, Versioning};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::convert::{only_what_is_done, owner, timestamp};
use crate::error::told;
use crate::operations::Backend;

/// Buckets in one answer when the client names no number.
const PAGE: usize = 10_000;

impl Backend {
    pub(crate) async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let ListBucketsInput { bucket_region, continuation_token, max_buckets, prefix } = request.input;
        let most = match max_buckets {
            None => PAGE,
            Some(most @ 1..=10_000) => usize::try_from(most).unwrap_or(PAGE),
            Some(_) => return Err(s3_error!(InvalidArgument, "max-buckets must be between 1 and 10000")),
        };
        let wanted = |bucket: &craton_objects::Bucket| {
            prefix.as_ref().is_none_or(|prefix| bucket.name.starts_with(prefix.as_str()))
                && bucket_region.as_ref().is_none_or(|region| bucket.region == region.as_str())
                && continuation_token.as_ref().is_none_or(|after| bucket.name > *after)
        };
        let all = self.objects.buckets().await.map_err(told)?;
        let mut buckets: Vec<_> = all.into_iter().filter(wanted).collect();
        let more = buckets.len() > most;
        buckets.truncate(most);
        let continuation_token = buckets.last().filter(|_| more).map(|bucket| bucket.name.clone());
        let buckets = buckets.into_iter().map(|bucket| Bucket {
            bucket_region: Some(bucket.region),
            creation_date: Some(timestamp(bucket.created_ms)),
            name: Some(bucket.name),
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            continuation_token,
            owner: Some(owner(&self.account.id)),
            prefix,
        }))
    }

    pub(crate) async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        only_what_is_done(&request.headers)?;
        let signed_for = request.region.as_ref().map(|region| region.as_str().to_owned());
        let CreateBucketInput { bucket, create_bucket_configuration, object_ownership, .. } = request.input;
        if object_ownership.is_some_and(|kind| kind.as_str() != ObjectOwnership::BUCKET_OWNER_ENFORCED) {
            return Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"));
        }
        let asked = create_bucket_configuration.and_then(|configuration| {
            configuration.location_constraint.map(|region| region.as_str().to_owned())
        });
        if asked.as_deref() == Some("us-east-1") {
            return Err(s3_error!(
                InvalidLocationConstraint,
                "The specified location-constraint is not valid"
            ));
        }
        let region = asked.map(|region| if region == "EU" { "eu-west-1".to_owned() } else { region });
        let region = region.or(signed_for).unwrap_or_else(|| self.account.home_region.clone());
        if region.is_empty()
            || region.len() > 40
            || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(s3_error!(
                InvalidLocationConstraint,
                "The specified location-constraint is not valid"
            ));
        }
        match self.objects.create_bucket(&bucket, &region).await {
            Ok(_) => {}
            // Making one's own bucket again has always been fine in us-east-1.
            Err(craton_objects::ObjectError::BucketExists(_)) if region == "us-east-1" => {
                let there = self.objects.bucket(&bucket).await.map_err(told)?;
                if there.region != region {
                    return Err(told(craton_objects::ObjectError::BucketExists(bucket)));
                }
            }
            Err(error) => return Err(told(error)),
        }
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
    }

    pub(crate) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let bucket = self.objects.bucket(&request.input.bucket).await.map_err(told)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(bucket.region),
            ..HeadBucketOutput::default()
        }))
    }

    pub(crate) async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.objects.delete_bucket(&request.input.bucket).await.map_err(told)?;
        Ok(S3Response::with_status(DeleteBucketOutput {}, http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let bucket = self.objects.bucket(&request.input.bucket).await.map_err(told)?;
        // The first region has no name here, for S3 is older than regions.
        let region = if bucket.region == "us-east-1" { String::new() } else { bucket.region };
        let location_constraint = Some(BucketLocationConstraint::from(region));
        Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
    }

    pub(crate) async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let bucket = self.objects.bucket(&request.input.bucket).await.map_err(told)?;
        let status = match bucket.versioning {
            Versioning::Off => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        let status = status.map(BucketVersioningStatus::from_static);
        Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
    }

    pub(crate) async fn put_bucket_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let PutBucketVersioningInput { bucket, versioning_configuration: wanted, .. } = request.input;
        if wanted.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
            return Err(s3_error!(NotImplemented, "MFA delete is not served here."));
        }
        let versioning = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => {
                return Err(s3_error!(
                    IllegalVersioningConfigurationException,
                    "The Versioning element must be specified"
                ));
            }
        };
        self.objects.set_versioning(&bucket, versioning).await.map_err(told)?;
        Ok(S3Response::new(PutBucketVersioningOutput {}))
    }
}
