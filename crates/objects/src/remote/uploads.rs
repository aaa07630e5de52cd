//! Uploads in parts, and deletions of many objects at once.

use std::collections::HashMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use super::client::Call;
use super::client::now_ms;
use super::xml::escaped;
use super::{S3Objects, read, upload};
use crate::checksum::{Algorithm, Hasher};
use crate::types::{
    ByteStream, Completion, Deleted, Expect, ListedUpload, ObjectMeta, ObjectRef, Part, PartListing,
    ReadConditions, UploadListing, UploadRef,
};
use crate::{ObjectError, ObjectStore as _, Result, names};

/// Bytes of a part of unknown length that are taken into memory.
const MAX_BUFFERED_PART_BYTES: usize = 64 << 20;

impl S3Objects {
    pub(super) fn of_upload(&self, method: Method, upload: &UploadRef) -> Call {
        self.call(method, &upload.bucket, &upload.key).query("uploadId", &upload.upload_id)
    }

    pub(super) async fn upload_part(
        &self,
        upload: &UploadRef,
        number: u32,
        mut expect: Expect,
        mut body: ByteStream,
    ) -> Result<Part> {
        if !(1..=names::MAX_PARTS).contains(&number) {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            return Err(ObjectError::InvalidArgument(message.into()));
        }
        let size = match expect.size {
            Some(size) => size,
            None => {
                let (whole, ended) = upload::fill(&mut body, &mut None, MAX_BUFFERED_PART_BYTES).await?;
                let size = whole.len() as u64;
                if !ended {
                    let limit = MAX_BUFFERED_PART_BYTES as u64;
                    return Err(ObjectError::EntityTooLarge { size, limit });
                }
                body = crate::types::bytes(whole);
                expect.size = Some(size);
                size
            }
        };
        let call = self.of_upload(Method::PUT, upload).query("partNumber", &number.to_string());
        let (answer, digests) = self.send_checked(call, body, expect, size).await?;
        let checksum = read::checksum(answer.headers()).or(digests.checksum);
        Ok(Part { number, size, etag: read::etag(answer.headers()), checksum, modified_ms: now_ms() })
    }

    pub(super) async fn upload_parts(
        &self,
        upload: &UploadRef,
        after: u32,
        limit: u32,
    ) -> Result<PartListing> {
        let call = self
            .of_upload(Method::GET, upload)
            .query("part-number-marker", &after.to_string())
            .query("max-parts", &limit.to_string());
        let answer = self.ask(call, "").await?;
        let parts: Vec<Part> = answer.all("Part").map(read::part).collect();
        let next = parts.last().filter(|_| answer.is_true("IsTruncated")).map(|part| part.number);
        Ok(PartListing {
            next,
            parts,
            algorithm: answer.text_of("ChecksumAlgorithm").and_then(Algorithm::from_name),
            full_object: answer.text_of("ChecksumType") == Some("FULL_OBJECT"),
        })
    }

    pub(super) async fn open_uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(String, String)>,
        limit: u32,
    ) -> Result<UploadListing> {
        let (key, id) = after.unzip();
        let call = self
            .call(Method::GET, bucket, "")
            .query("uploads", "")
            .query("prefix", prefix)
            .query("encoding-type", "url")
            .query("max-uploads", &limit.to_string())
            .maybe_query("key-marker", key.as_deref())
            .maybe_query("upload-id-marker", id.as_deref());
        let answer = self.ask(call, "").await?;
        let uploads: Vec<ListedUpload> = answer
            .all("Upload")
            .map(|upload| ListedUpload {
                key: read::name(upload, "Key"),
                upload_id: upload.text_of("UploadId").unwrap_or_default().to_owned(),
                created_ms: read::xml_date(upload.text_of("Initiated")),
                algorithm: upload.text_of("ChecksumAlgorithm").and_then(Algorithm::from_name),
                full_object: upload.text_of("ChecksumType") == Some("FULL_OBJECT"),
            })
            .collect();
        let last = uploads.last().filter(|_| answer.is_true("IsTruncated"));
        let next = last.map(|upload| (upload.key.clone(), upload.upload_id.clone()));
        Ok(UploadListing { uploads, next })
    }

    pub(super) async fn finish_upload(
        &self,
        upload: &UploadRef,
        completion: Completion,
    ) -> Result<ObjectMeta> {
        if completion.parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(ObjectError::InvalidPartOrder);
        }
        let mut body =
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
        for part in &completion.parts {
            let (number, etag) = (part.number, escaped(&part.etag));
            let _ = write!(body, "<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag>");
            if let Some(sum) = &part.checksum {
                let (name, value) = (sum.algorithm.name(), escaped(&sum.value));
                let _ = write!(body, "<Checksum{name}>{value}</Checksum{name}>");
            }
            body.push_str("</Part>");
        }
        body.push_str("</CompleteMultipartUpload>");
        let call = self.of_upload(Method::POST, upload).condition(&completion.condition)?;
        let call = match &completion.checksum {
            Some(sum) => call.header(sum.algorithm.header(), &sum.value)?,
            None => call,
        };
        let size = completion.size.map(|size| size.to_string());
        let call = call.maybe_header("x-amz-mp-object-size", size)?;
        self.ask(call, body).await?;
        let at = ObjectRef::new(&upload.bucket, &upload.key);
        self.head(&at, ReadConditions::default()).await
    }

    /// Deletes up to a thousand objects.
    pub(super) async fn delete_some(
        &self,
        bucket: &str,
        objects: &[(String, Option<String>)],
    ) -> Result<Vec<Result<Deleted>>> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let mut body = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">".to_owned();
        for (key, version) in objects {
            let _ = write!(body, "<Object><Key>{}</Key>", escaped(key));
            if let Some(version) = version {
                let _ = write!(body, "<VersionId>{}</VersionId>", escaped(version));
            }
            body.push_str("</Object>");
        }
        body.push_str("</Delete>");
        let mut hasher = Hasher::new(None);
        hasher.update(body.as_bytes());
        let md5 = STANDARD.encode(hasher.finish().md5);
        let call = self.call(Method::POST, bucket, "").query("delete", "").header("content-md5", md5)?;
        let answer = self.ask(call, body).await?;
        type One = (String, Option<String>);
        let one = |element: &super::xml::Element| -> One {
            let text = |name| element.text_of(name).map(str::to_owned);
            (text("Key").unwrap_or_default(), text("VersionId"))
        };
        let mut answers: HashMap<One, Result<Deleted>> = HashMap::new();
        for deleted in answer.all("Deleted") {
            let delete_marker = deleted.is_true("DeleteMarker");
            let marker = deleted.text_of("DeleteMarkerVersionId").map(str::to_owned);
            let version_id = deleted.text_of("VersionId").map(str::to_owned).or(marker);
            answers.insert(one(deleted), Ok(Deleted { version_id, delete_marker }));
        }
        for error in answer.all("Error") {
            let text = |name| error.text_of(name).unwrap_or_default().to_owned();
            let told = ObjectError::Remote { status: 403, code: text("Code"), message: text("Message") };
            answers.insert(one(error), Err(told));
        }
        let missing = || Err(ObjectError::Unreachable("it does not say what came of a deletion".into()));
        Ok(objects.iter().map(|object| answers.remove(object).unwrap_or_else(missing)).collect())
    }
}
