//! Tags of objects and of buckets.

use craton_objects::{ObjectRef, ObjectStore as _, Tags, names};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::convert::{tag_set, tags};
use crate::error::told;
use crate::operations::Backend;

/// Most tags of a bucket.
const MAX_BUCKET_TAGS: usize = 50;
const TAGS: &str = "tags";

impl Backend {
    pub(crate) async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let GetObjectTaggingInput { bucket, key, version_id, .. } = request.input;
        let at = ObjectRef { bucket, key, version: version_id };
        let tags = self.objects.tags(&at).await.map_err(told)?;
        Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tag_set(tags), version_id: at.version }))
    }

    pub(crate) async fn put_object_tagging(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let PutObjectTaggingInput { bucket, key, version_id, tagging, .. } = request.input;
        let at = ObjectRef { bucket, key, version: version_id };
        self.objects.set_tags(&at, tags(tagging.tag_set)?).await.map_err(told)?;
        Ok(S3Response::new(PutObjectTaggingOutput { version_id: at.version }))
    }

    pub(crate) async fn delete_object_tagging(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let DeleteObjectTaggingInput { bucket, key, version_id, .. } = request.input;
        let at = ObjectRef { bucket, key, version: version_id };
        self.objects.set_tags(&at, Tags::new()).await.map_err(told)?;
        let output = DeleteObjectTaggingOutput { version_id: at.version };
        Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn get_bucket_tagging(
        &self,
        request: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let stored = self.bucket_setting(&request.input.bucket, TAGS).await?;
        let stored = stored.ok_or_else(|| s3_error!(NoSuchTagSet, "The TagSet does not exist"))?;
        let tags: Tags = serde_json::from_str(&stored).map_err(s3s::S3Error::internal_error)?;
        Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tag_set(tags) }))
    }

    pub(crate) async fn put_bucket_tagging(
        &self,
        request: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let PutBucketTaggingInput { bucket, tagging, .. } = request.input;
        let tags = tags(tagging.tag_set)?;
        names::check_tags(&tags, MAX_BUCKET_TAGS).map_err(told)?;
        let text = serde_json::to_string(&tags).map_err(s3s::S3Error::internal_error)?;
        self.set_bucket_setting(&bucket, TAGS, Some(text)).await?;
        Ok(S3Response::with_status(PutBucketTaggingOutput {}, http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn delete_bucket_tagging(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        self.set_bucket_setting(&request.input.bucket, TAGS, None).await?;
        Ok(S3Response::with_status(DeleteBucketTaggingOutput {}, http::StatusCode::NO_CONTENT))
    }

    /// A setting of a bucket that is there.
    pub(crate) async fn bucket_setting(&self, bucket: &str, name: &str) -> S3Result<Option<String>> {
        self.objects.bucket(bucket).await.map_err(told)?;
        self.objects.setting(bucket, name).await.map_err(told)
    }

    pub(crate) async fn set_bucket_setting(
        &self,
        bucket: &str,
        name: &str,
        body: Option<String>,
    ) -> S3Result<()> {
        self.objects.bucket(bucket).await.map_err(told)?;
        self.objects.set_setting(bucket, name, body).await.map_err(told)
    }
}
