//! Objects: put, get, head, delete.

use craton_objects::{
    Attributes, Deleted, GetOptions, Object as Found, ObjectMeta, ObjectRef, ObjectStore as _, Put,
};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::access::Refused;
use crate::convert::{
    algorithm, blob, body, byte_range, checksum_type, etag, expect, expires_of, length, only_what_is_done,
    put_sum, read_conditions, sums, tagging_header, timestamp, write_condition,
};
use crate::error::told;
use crate::operations::Backend;

/// What an object's type is when nobody says.
pub(crate) const OCTETS: &str = "binary/octet-stream";

/// The headers that an input gives an object.
macro_rules! attributes {
    ($input:expr) => {
        craton_objects::Attributes {
            content_type: $input.content_type.take().filter(|kind| !kind.is_empty()),
            content_encoding: $crate::convert::content_encoding($input.content_encoding.take()),
            content_language: $input.content_language.take(),
            content_disposition: $input.content_disposition.take(),
            cache_control: $input.cache_control.take(),
            expires: $crate::convert::expires($input.expires.take()),
            website_redirect: $input.website_redirect_location.take(),
            user: $crate::convert::user_metadata($input.metadata.take()),
        }
    };
}
pub(crate) use attributes;

/// Fills in what GetObject and HeadObject both say of an object.
macro_rules! describe {
    ($output:ident, $meta:ident) => {{
        let ObjectMeta { attributes, etag: tag, modified_ms, version_id, .. } = $meta;
        $output.e_tag = etag(&tag);
        $output.last_modified = Some(timestamp(modified_ms));
        $output.version_id = version_id;
        $output.expires = expires_of(&attributes);
        let Attributes { content_type, content_encoding, content_language, content_disposition, .. } =
            attributes;
        $output.content_type = Some(content_type.unwrap_or_else(|| OCTETS.to_owned()));
        $output.content_encoding = content_encoding;
        $output.content_language = content_language;
        $output.content_disposition = content_disposition;
        $output.cache_control = attributes.cache_control;
        $output.website_redirect_location = attributes.website_redirect;
        $output.metadata = (!attributes.user.is_empty()).then(|| attributes.user.into_iter().collect());
    }};
}

impl Backend {
    pub(crate) async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        only_what_is_done(&request.headers)?;
        let sums = sums!(request.input);
        let wanted = algorithm(request.input.checksum_algorithm.as_ref())?;
        let (size, md5) = (request.input.content_length, request.input.content_md5.take());
        let expect = expect(&request, size, md5.as_deref(), sums, wanted)?;
        let mut input = request.input;
        let put = Put {
            attributes: attributes!(input),
            tags: tagging_header(input.tagging.as_deref())?,
            condition: write_condition(input.if_match.take(), input.if_none_match.take())?,
            expect,
            bucket: input.bucket,
            key: input.key,
        };
        let meta = self.objects.put(put, body(input.body)).await.map_err(told)?;
        let mut output = PutObjectOutput {
            e_tag: etag(&meta.etag),
            version_id: meta.version_id,
            checksum_type: checksum_type(meta.checksum.as_ref()),
            server_side_encryption: None,
            ..PutObjectOutput::default()
        };
        put_sum!(output, meta.checksum.as_ref());
        Ok(S3Response::new(output))
    }

    pub(crate) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        only_what_is_done(&request.headers)?;
        let input = request.input;
        if input.range.is_some() && input.part_number.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            ));
        }
        let at = ObjectRef { bucket: input.bucket, key: input.key, version: input.version_id };
        let options = GetOptions {
            range: input.range.map(byte_range),
            part: part_number(input.part_number)?,
            conditions: read_conditions(
                input.if_match,
                input.if_none_match,
                input.if_modified_since,
                input.if_unmodified_since,
            ),
        };
        let partial = options.range.is_some() || options.part.is_some();
        let by_part = options.part.is_some();
        let Found { meta, range, body } = self.objects.get(&at, options).await.map_err(told)?;
        let served = range.end - range.start;
        let whole = served == meta.size;
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            body: Some(blob(body)),
            content_length: Some(length(served)),
            content_range: (partial && meta.size > 0).then(|| content_range(&range, meta.size)),
            parts_count: meta.parts.filter(|_| by_part).and_then(|parts| i32::try_from(parts).ok()),
            tag_count: i32::try_from(meta.tag_count).ok().filter(|count| *count > 0),
            ..GetObjectOutput::default()
        };
        if input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && whole {
            put_sum!(output, meta.checksum.as_ref());
            output.checksum_type = checksum_type(meta.checksum.as_ref());
        }
        describe!(output, meta);
        Ok(S3Response::new(output))
    }

    pub(crate) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        only_what_is_done(&request.headers)?;
        let input = request.input;
        let at = ObjectRef { bucket: input.bucket, key: input.key, version: input.version_id };
        let conditions = read_conditions(
            input.if_match,
            input.if_none_match,
            input.if_modified_since,
            input.if_unmodified_since,
        );
        let range = input.range.map(byte_range);
        let part = part_number(input.part_number)?;
        let partial = range.is_some() || part.is_some();
        let (meta, range) = if partial {
            let options = GetOptions { range, part, conditions };
            let found = self.objects.get(&at, options).await.map_err(told)?;
            (found.meta, found.range)
        } else {
            let meta = self.objects.head(&at, conditions).await.map_err(told)?;
            let range = 0..meta.size;
            (meta, range)
        };
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: Some(length(range.end - range.start)),
            content_range: (partial && meta.size > 0).then(|| content_range(&range, meta.size)),
            parts_count: meta.parts.filter(|_| part.is_some()).and_then(|parts| i32::try_from(parts).ok()),
            ..HeadObjectOutput::default()
        };
        if input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && !partial {
            put_sum!(output, meta.checksum.as_ref());
            output.checksum_type = checksum_type(meta.checksum.as_ref());
        }
        describe!(output, meta);
        let mut response = S3Response::new(output);
        if partial {
            response.status = Some(http::StatusCode::PARTIAL_CONTENT);
        }
        Ok(response)
    }

    pub(crate) async fn get_object_attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let input = request.input;
        let at = ObjectRef { bucket: input.bucket, key: input.key, version: input.version_id };
        let meta = self.objects.head(&at, Default::default()).await.map_err(told)?;
        // One header may hold them all.
        let wanted =
            || input.object_attributes.iter().flat_map(|list| list.as_str().split(',').map(str::trim));
        let wants = |name: &str| wanted().any(|one| one == name);
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(timestamp(meta.modified_ms)),
            version_id: meta.version_id,
            ..GetObjectAttributesOutput::default()
        };
        if wants(ObjectAttributes::ETAG) {
            output.e_tag = etag(&meta.etag);
        }
        if wants(ObjectAttributes::OBJECT_SIZE) {
            output.object_size = Some(length(meta.size));
        }
        if wants(ObjectAttributes::STORAGE_CLASS) {
            output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
        }
        if wants(ObjectAttributes::CHECKSUM) && meta.checksum.is_some() {
            let mut checksum =
                Checksum { checksum_type: checksum_type(meta.checksum.as_ref()), ..Checksum::default() };
            put_sum!(checksum, meta.checksum.as_ref());
            output.checksum = Some(checksum);
        }
        if wants(ObjectAttributes::OBJECT_PARTS)
            && let Some(parts) = meta.parts
        {
            output.object_parts = Some(GetObjectAttributesParts {
                total_parts_count: i32::try_from(parts).ok(),
                ..GetObjectAttributesParts::default()
            });
        }
        Ok(S3Response::new(output))
    }

    pub(crate) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, version_id, if_match, .. } = request.input;
        if request.headers.contains_key("x-amz-if-match-size")
            || request.headers.contains_key("x-amz-if-match-last-modified-time")
        {
            return Err(s3_error!(NotImplemented, "Only If-Match is served as a condition of a deletion."));
        }
        let at = ObjectRef { bucket, key, version: version_id };
        let condition = write_condition(if_match, None)?;
        let Deleted { version_id, delete_marker } =
            self.objects.delete(&at, condition).await.map_err(told)?;
        let output = DeleteObjectOutput {
            delete_marker: delete_marker.then_some(true),
            version_id,
            ..DeleteObjectOutput::default()
        };
        Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
    }

    pub(crate) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let refused: Refused = request.extensions.get().cloned().unwrap_or_default();
        let DeleteObjectsInput { bucket, delete: Delete { objects, quiet }, .. } = request.input;
        if objects.is_empty() || objects.len() > 1000 {
            return Err(s3_error!(
                MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema"
            ));
        }
        if objects.iter().any(|object| object.e_tag.is_some() || object.size.is_some()) {
            return Err(s3_error!(
                NotImplemented,
                "Conditions are not served when several objects are deleted."
            ));
        }
        let asked = objects.into_iter().map(|object| (object.key, object.version_id));
        let (denied, allowed): (Vec<_>, Vec<_>) = asked.partition(|one| refused.0.contains(one));
        let answers = self.objects.delete_many(&bucket, allowed.clone()).await.map_err(told)?;
        let mut deleted = Vec::new();
        let mut errors: Vec<Error> =
            denied.into_iter().map(|one| failure(one, &s3_error!(AccessDenied, "Access Denied"))).collect();
        for (one, answer) in allowed.into_iter().zip(answers) {
            match answer {
                Ok(done) => deleted.push(deletion(one, done)),
                Err(error) => errors.push(failure(one, &told(error))),
            }
        }
        let loud = !quiet.unwrap_or_default();
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: loud.then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }
}

fn content_range(range: &std::ops::Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

pub(crate) fn part_number(number: Option<i32>) -> S3Result<Option<u32>> {
    number
        .map(|number| {
            u32::try_from(number).ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
                s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
            })
        })
        .transpose()
}

fn deletion((key, version): (String, Option<String>), done: Deleted) -> DeletedObject {
    let marker_made = done.delete_marker && version.is_none();
    DeletedObject {
        delete_marker: done.delete_marker.then_some(true),
        delete_marker_version_id: done.version_id.filter(|_| marker_made || done.delete_marker),
        key: Some(key),
        version_id: version,
    }
}

fn failure((key, version_id): (String, Option<String>), error: &s3s::S3Error) -> Error {
    Error {
        code: Some(error.code().as_str().to_owned()),
        key: Some(key),
        message: error.message().map(str::to_owned),
        version_id,
    }
}
