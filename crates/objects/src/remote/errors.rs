//! What a real S3 says, as the seam says it.

use http::response::Parts;

use super::client::Call;
use super::read;
use crate::{ObjectError, names};

/// The error of an answer that is no success. Answers to HEAD have no body: there the status must do.
pub(super) fn told(call: &Call, parts: &Parts, code: &str, message: &str) -> ObjectError {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let key = || call.key.clone();
    let version = || call.version().unwrap_or_default();
    let marker = header("x-amz-delete-marker") == Some("true");
    let marker_version = || header("x-amz-version-id").map(str::to_owned);
    let status = parts.status.as_u16();
    match (code, status) {
        (_, 304) => ObjectError::NotModified {
            etag: header("etag").unwrap_or_default().trim_matches('"').to_owned(),
            modified_ms: header("last-modified").and_then(read::http_date).unwrap_or_default(),
        },
        ("NoSuchBucket", _) => ObjectError::NoSuchBucket(call.bucket.clone()),
        ("NoSuchUpload", _) => ObjectError::NoSuchUpload(call.upload().unwrap_or_default()),
        ("NoSuchVersion", _) => ObjectError::NoSuchVersion { key: key(), version: version() },
        ("InvalidArgument", _) if message.contains("ersion") && call.version().is_some() => {
            ObjectError::NoSuchVersion { key: key(), version: version() }
        }
        ("MethodNotAllowed", _) | ("", 405) => {
            ObjectError::IsDeleteMarker { key: key(), version: version(), modified_ms: 0 }
        }
        ("NoSuchKey", _) => ObjectError::NoSuchKey {
            key: key(),
            delete_marker: marker.then(|| marker_version().unwrap_or_default()),
        },
        ("", 404) if call.key.is_empty() => ObjectError::NoSuchBucket(call.bucket.clone()),
        ("", 404) if call.version().is_some() && !marker => {
            ObjectError::NoSuchVersion { key: key(), version: version() }
        }
        ("", 404) => ObjectError::NoSuchKey {
            key: key(),
            delete_marker: marker.then(|| marker_version().unwrap_or_default()),
        },
        ("BucketAlreadyOwnedByYou" | "BucketAlreadyExists", _) => {
            ObjectError::BucketExists(call.bucket.clone())
        }
        ("BucketNotEmpty", _) => ObjectError::BucketNotEmpty(call.bucket.clone()),
        ("InvalidBucketName", _) => ObjectError::InvalidBucketName(call.bucket.clone()),
        ("PreconditionFailed" | "ConditionalRequestConflict", _) | ("", 412) => {
            ObjectError::PreconditionFailed { condition: "If-Match or If-None-Match" }
        }
        ("InvalidRange", _) | ("", 416) => ObjectError::InvalidRange { size: 0 },
        ("BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch", _) => {
            ObjectError::BadDigest { what: "checksum" }
        }
        ("InvalidPart", _) => ObjectError::InvalidPart(0),
        ("InvalidPartOrder", _) => ObjectError::InvalidPartOrder,
        ("EntityTooSmall", _) => ObjectError::EntityTooSmall { number: 0, limit: names::MIN_PART_BYTES },
        ("KeyTooLongError", _) => ObjectError::KeyTooLong { limit: names::MAX_KEY_BYTES },
        ("MetadataTooLarge", _) => ObjectError::MetadataTooLarge { limit: names::MAX_USER_METADATA_BYTES },
        ("InvalidTag" | "BadRequest", 400) => ObjectError::InvalidTag(message.to_owned()),
        ("InvalidArgument", _) => ObjectError::InvalidArgument(message.to_owned()),
        _ => ObjectError::Remote { status, code: code.to_owned(), message: message.to_owned() },
    }
}
