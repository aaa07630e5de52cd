//! Uploads in parts.

use craton_objects::checksum::Algorithm;
use craton_objects::{CompletedPart as Chosen, Completion, NewUpload, ObjectStore as _, UploadRef};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::convert::{
    algorithm, body, checksum_type, encoder, etag, expect, length, only_what_is_done, owner, put_sum, sums,
    tagging_header, timestamp, write_condition,
};
use crate::error::told;
use crate::objects::{attributes, part_number};
use crate::operations::Backend;

const MOST: i32 = 1000;

fn page_size(wanted: Option<i32>, what: &str) -> S3Result<u32> {
    u32::try_from(wanted.unwrap_or(MOST).min(MOST)).map_err(|_| {
        s3_error!(InvalidArgument, "Argument {what} must be an integer between 0 and 2147483647")
    })
}

fn algorithm_of(algorithm: Option<Algorithm>) -> Option<ChecksumAlgorithm> {
    algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name()))
}

fn type_of(algorithm: Option<Algorithm>, full_object: bool) -> Option<ChecksumType> {
    let name = if full_object { ChecksumType::FULL_OBJECT } else { ChecksumType::COMPOSITE };
    algorithm.map(|_| ChecksumType::from_static(name))
}

/// Which kind of checksum the object of an upload gets: what is asked for, else what S3 chooses.
fn is_full_object(wanted: Option<&ChecksumType>, algorithm: Option<Algorithm>) -> S3Result<bool> {
    match wanted.map(ChecksumType::as_str) {
        None => Ok(algorithm == Some(Algorithm::Crc64nvme)),
        Some(ChecksumType::FULL_OBJECT) => Ok(true),
        Some(ChecksumType::COMPOSITE) if algorithm == Some(Algorithm::Crc64nvme) => Err(s3_error!(
            InvalidRequest,
            "The COMPOSITE checksum type cannot be used with the crc64nvme checksum algorithm."
        )),
        Some(ChecksumType::COMPOSITE) => Ok(false),
        Some(_) => Err(s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid.")),
    }
}

impl Backend {
    pub(crate) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        only_what_is_done(&request.headers)?;
        let mut input = request.input;
        let algorithm = algorithm(input.checksum_algorithm.as_ref())?;
        let full_object = is_full_object(input.checksum_type.as_ref(), algorithm)?;
        let upload = NewUpload {
            attributes: attributes!(input),
            tags: tagging_header(input.tagging.as_deref())?,
            algorithm,
            full_object,
            bucket: input.bucket.clone(),
            key: input.key.clone(),
        };
        let upload_id = self.objects.create_upload(upload).await.map_err(told)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            checksum_algorithm: algorithm_of(algorithm),
            checksum_type: type_of(algorithm, full_object),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(crate) async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        only_what_is_done(&request.headers)?;
        let sums = sums!(request.input);
        let wanted = algorithm(request.input.checksum_algorithm.as_ref())?;
        let (size, md5) = (request.input.content_length, request.input.content_md5.take());
        let expect = expect(&request, size, md5.as_deref(), sums, wanted)?;
        let input = request.input;
        let number = part_number(Some(input.part_number))?.unwrap_or_default();
        let upload = UploadRef { bucket: input.bucket, key: input.key, upload_id: input.upload_id };
        let part = self.objects.put_part(&upload, number, expect, body(input.body)).await.map_err(told)?;
        let mut output = UploadPartOutput { e_tag: etag(&part.etag), ..UploadPartOutput::default() };
        put_sum!(output, part.checksum.as_ref());
        Ok(S3Response::new(output))
    }

    pub(crate) async fn complete_multipart_upload(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        only_what_is_done(&request.headers)?;
        let checksum = sums!(request.input).one(true)?;
        let input = request.input;
        let size = input.mpu_object_size.map(u64::try_from).transpose();
        let size =
            size.map_err(|_| s3_error!(InvalidArgument, "x-amz-mp-object-size must not be negative"))?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        if parts.is_empty() {
            return Err(s3_error!(
                MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema"
            ));
        }
        let parts = parts.into_iter().map(chosen).collect::<S3Result<Vec<_>>>()?;
        let upload = UploadRef { bucket: input.bucket, key: input.key, upload_id: input.upload_id };
        let condition = write_condition(input.if_match, input.if_none_match)?;
        let completion = Completion { parts, condition, checksum, size };
        let meta = self.objects.complete_upload(&upload, completion).await.map_err(told)?;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", upload.bucket, crate::convert::url_encoded(&upload.key))),
            bucket: Some(upload.bucket),
            key: Some(upload.key),
            e_tag: etag(&meta.etag),
            version_id: meta.version_id,
            checksum_type: checksum_type(meta.checksum.as_ref()),
            ..CompleteMultipartUploadOutput::default()
        };
        put_sum!(output, meta.checksum.as_ref());
        Ok(S3Response::new(output))
    }

    pub(crate) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { bucket, key, upload_id, .. } = request.input;
        let upload = UploadRef { bucket, key, upload_id };
        self.objects.abort_upload(&upload).await.map_err(told)?;
        Ok(S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let limit = page_size(input.max_parts, "max-parts")?;
        let after = input.part_number_marker.unwrap_or_default();
        let after = u32::try_from(after)
            .map_err(|_| s3_error!(InvalidArgument, "part-number-marker must not be negative"))?;
        let upload = UploadRef { bucket: input.bucket, key: input.key, upload_id: input.upload_id };
        let page = self.objects.parts(&upload, after, limit).await.map_err(told)?;
        let part = |part: craton_objects::Part| {
            let mut listed = Part {
                e_tag: etag(&part.etag),
                last_modified: Some(timestamp(part.modified_ms)),
                part_number: i32::try_from(part.number).ok(),
                size: Some(length(part.size)),
                ..Part::default()
            };
            put_sum!(listed, part.checksum.as_ref());
            listed
        };
        let owner = owner(&self.account.id);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(upload.bucket),
            key: Some(upload.key),
            upload_id: Some(upload.upload_id),
            is_truncated: Some(page.next.is_some()),
            max_parts: i32::try_from(limit).ok(),
            part_number_marker: i32::try_from(after).ok(),
            next_part_number_marker: page.next.and_then(|next| i32::try_from(next).ok()),
            parts: Some(page.parts.into_iter().map(part).collect()),
            checksum_algorithm: algorithm_of(page.algorithm),
            checksum_type: type_of(page.algorithm, page.full_object),
            initiator: Some(Initiator { display_name: None, id: owner.id.clone() }),
            owner: Some(owner),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        }))
    }

    pub(crate) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "A delimiter is not served in a list of uploads."));
        }
        let encode = encoder(input.encoding_type.as_ref());
        let limit = page_size(input.max_uploads, "max-uploads")?;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.key_marker.clone().filter(|key| !key.is_empty()).map(|key| {
            // Without an upload's id, all uploads of the marker's key have been shown.
            let upload_id = input.upload_id_marker.clone().filter(|id| !id.is_empty());
            (key, upload_id.unwrap_or_else(|| char::MAX.to_string()))
        });
        let page = self.objects.uploads(&input.bucket, &prefix, after, limit).await.map_err(told)?;
        let owner = owner(&self.account.id);
        let upload = |upload: craton_objects::ListedUpload| MultipartUpload {
            key: Some(encode(&upload.key)),
            upload_id: Some(upload.upload_id),
            initiated: Some(timestamp(upload.created_ms)),
            initiator: Some(Initiator { display_name: None, id: owner.id.clone() }),
            owner: Some(owner.clone()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: algorithm_of(upload.algorithm),
            checksum_type: type_of(upload.algorithm, upload.full_object),
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            is_truncated: Some(page.next.is_some()),
            next_key_marker: page.next.as_ref().map(|(key, _)| encode(key)),
            next_upload_id_marker: page.next.map(|(_, id)| id),
            uploads: Some(page.uploads.into_iter().map(upload).collect()),
            key_marker: Some(encode(input.key_marker.as_deref().unwrap_or_default())),
            upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
            prefix: Some(encode(&prefix)),
            max_uploads: i32::try_from(limit).ok(),
            bucket: Some(input.bucket),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

fn chosen(mut part: CompletedPart) -> S3Result<Chosen> {
    let checksum = sums!(part).one(false)?;
    let number = part_number(part.part_number)?;
    let (Some(number), Some(etag)) = (number, part.e_tag) else {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    };
    Ok(Chosen { number, etag: etag.into_value(), checksum })
}
