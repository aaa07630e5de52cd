//! Copies, of objects and into parts.

use craton_objects::{Attributes, Copy, GetOptions, ObjectRef, ObjectStore as _, ReadConditions, UploadRef};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::convert::{
    algorithm, etag, only_what_is_done, put_sum, read_conditions, tagging_header, timestamp, write_condition,
};
use crate::error::told;
use crate::objects::{attributes, part_number};
use crate::operations::Backend;

fn source(source: CopySource) -> S3Result<ObjectRef> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            Ok(ObjectRef { bucket: bucket.into(), key: key.into(), version: version_id.map(Into::into) })
        }
        _ => Err(s3_error!(NotImplemented, "Copies from access points are not served.")),
    }
}

impl Backend {
    pub(crate) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        only_what_is_done(&request.headers)?;
        let condition = write_condition(
            condition_header(&request.headers, "if-match")?,
            condition_header(&request.headers, "if-none-match")?,
        )?;
        let mut input = request.input;
        let replaced = |name: Option<&str>| name.is_some_and(|name| name.eq_ignore_ascii_case("REPLACE"));
        let new_attributes = replaced(input.metadata_directive.as_ref().map(MetadataDirective::as_str));
        let new_tags = replaced(input.tagging_directive.as_ref().map(TaggingDirective::as_str));
        let attributes: Attributes = attributes!(input);
        let tags = tagging_header(input.tagging.as_deref())?;
        let mut from = source(input.copy_source)?;
        let onto_itself = from.bucket == input.bucket && from.key == input.key && from.version.is_none();
        let sum = algorithm(input.checksum_algorithm.as_ref())?;
        if onto_itself
            && !new_attributes
            && !new_tags
            && sum.is_none()
            && attributes.website_redirect.is_none()
        {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        if from.version.is_none() {
            // The answer says which version was copied, so that is settled first.
            let found = self.objects.head(&from, ReadConditions::default()).await;
            from.version = found.map_err(told_of_source)?.version_id;
        }
        let from_version = from.version.clone();
        let copy = Copy {
            from,
            bucket: input.bucket,
            key: input.key,
            attributes: new_attributes.then_some(attributes),
            tags: new_tags.then_some(tags),
            conditions: read_conditions(
                input.copy_source_if_match,
                input.copy_source_if_none_match,
                input.copy_source_if_modified_since,
                input.copy_source_if_unmodified_since,
            ),
            condition,
            algorithm: sum,
        };
        let meta = self.objects.copy(copy).await.map_err(told_of_source)?;
        let mut result = CopyObjectResult {
            e_tag: etag(&meta.etag),
            last_modified: Some(timestamp(meta.modified_ms)),
            ..CopyObjectResult::default()
        };
        put_sum!(result, meta.checksum.as_ref());
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: from_version,
            version_id: meta.version_id,
            ..CopyObjectOutput::default()
        }))
    }

    pub(crate) async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        only_what_is_done(&request.headers)?;
        let input = request.input;
        let from = source(input.copy_source)?;
        let number = part_number(Some(input.part_number))?.unwrap_or_default();
        let range = input.copy_source_range.as_deref().map(source_range).transpose()?;
        let options = GetOptions {
            range,
            part: None,
            conditions: read_conditions(
                input.copy_source_if_match,
                input.copy_source_if_none_match,
                input.copy_source_if_modified_since,
                input.copy_source_if_unmodified_since,
            ),
        };
        let found = self.objects.get(&from, options).await.map_err(told_of_source)?;
        let from_version = found.meta.version_id.clone();
        let upload = UploadRef { bucket: input.bucket, key: input.key, upload_id: input.upload_id };
        let size = Some(found.range.end - found.range.start);
        let expect = craton_objects::Expect { size, ..craton_objects::Expect::default() };
        let part = self.objects.put_part(&upload, number, expect, found.body).await.map_err(told)?;
        let mut result = CopyPartResult {
            e_tag: etag(&part.etag),
            last_modified: Some(timestamp(part.modified_ms)),
            ..CopyPartResult::default()
        };
        put_sum!(result, part.checksum.as_ref());
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: from_version,
            ..UploadPartCopyOutput::default()
        }))
    }
}

/// A source that has not changed is no 304 here: there is nothing to send.
fn told_of_source(error: craton_objects::ObjectError) -> s3s::S3Error {
    match error {
        craton_objects::ObjectError::NotModified { .. } => {
            told(craton_objects::ObjectError::PreconditionFailed {
                condition: "x-amz-copy-source-If-None-Match",
            })
        }
        other => told(other),
    }
}

fn condition_header(headers: &http::HeaderMap, name: &str) -> S3Result<Option<ETagCondition>> {
    let condition =
        headers.get(name).map(|value| ETagCondition::parse_http_header(value.as_bytes())).transpose();
    condition.map_err(|_| s3_error!(InvalidArgument, "The {name} header is not an entity tag"))
}

/// `bytes=first-last`, both there.
fn source_range(text: &str) -> S3Result<craton_objects::ByteRange> {
    let parsed = text.strip_prefix("bytes=").and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some(craton_objects::ByteRange::FromTo(first.parse().ok()?, last.parse().ok()?))
    });
    parsed.ok_or_else(|| {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy"
        )
    })
}
