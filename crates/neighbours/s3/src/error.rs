//! The one place where the objects' errors become S3's.

use craton_objects::ObjectError;
use craton_wire::ApiError;
use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, s3_error};

/// An error under a name that `s3s` has no code for.
pub(crate) fn custom(name: &'static str, status: StatusCode, message: impl Into<String>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(name.into()), message.into());
    error.set_status_code(status);
    error
}

/// As S3 tells it.
pub(crate) fn told(error: ObjectError) -> S3Error {
    use ObjectError as E;
    match error {
        E::NoSuchBucket(_) => s3_error!(NoSuchBucket, "The specified bucket does not exist"),
        E::BucketExists(_) => s3_error!(
            BucketAlreadyOwnedByYou,
            "Your previous request to create the named bucket succeeded and you already own it."
        ),
        E::BucketNotEmpty(_) => s3_error!(
            BucketNotEmpty,
            "The bucket you tried to delete is not empty. You must delete all versions in the bucket."
        ),
        E::InvalidBucketName(_) => s3_error!(InvalidBucketName, "The specified bucket is not valid."),
        E::NoSuchKey { delete_marker, .. } => {
            let mut error = s3_error!(NoSuchKey, "The specified key does not exist.");
            if let Some(version) = delete_marker {
                error.set_headers(delete_marker_headers(&version));
            }
            error
        }
        E::NoSuchVersion { .. } => s3_error!(NoSuchVersion, "The specified version does not exist."),
        E::IsDeleteMarker { version, .. } => {
            let mut error =
                s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.");
            let mut headers = delete_marker_headers(&version);
            headers.insert("allow", HeaderValue::from_static("DELETE"));
            error.set_headers(headers);
            error
        }
        E::Body(source) => body(source),
        E::Remote { status, code, message } => remote(status, code, message),
        E::Unreachable(message) => {
            tracing::warn!(%message, "the object store behind a bucket can't be reached");
            s3_error!(ServiceUnavailable, "The object store behind this bucket can't be reached.")
        }
        full if full.is_full() => {
            tracing::error!(error = %full, "the disk is full");
            s3_error!(ServiceUnavailable, "There is no space left on the server. Please try again.")
        }
        error @ (E::Io(_) | E::Store(_) | E::Corrupt(_)) => {
            tracing::error!(%error, "an object operation failed");
            s3_error!(InternalError, "We encountered an internal error. Please try again.")
        }
        refused => of_the_request(refused),
    }
}

/// What a client did wrong in a request.
fn of_the_request(error: ObjectError) -> S3Error {
    use ObjectError as E;
    match error {
        E::NoSuchUpload(_) => s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted \
             or completed."
        ),
        E::KeyTooLong { .. } => s3_error!(KeyTooLongError, "Your key is too long"),
        E::MetadataTooLarge { .. } => {
            s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size")
        }
        E::InvalidTag(message) => s3_error!(InvalidTag, "{message}"),
        E::InvalidArgument(message) => s3_error!(InvalidArgument, "{message}"),
        E::PreconditionFailed { condition } => precondition_failed(condition),
        E::NotModified { etag, modified_ms } => not_modified(&etag, modified_ms),
        E::InvalidRange { size } => {
            let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                error.set_headers([(http::header::CONTENT_RANGE, value)].into_iter().collect());
            }
            error
        }
        E::InvalidPartNumber(_) => custom(
            "InvalidPartNumber",
            StatusCode::RANGE_NOT_SATISFIABLE,
            "The requested partnumber is not satisfiable",
        ),
        E::BadDigest { what: "Content-MD5" } => {
            s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received.")
        }
        E::BadDigest { what } => {
            s3_error!(BadDigest, "The {what} you specified did not match the calculated checksum.")
        }
        E::IncompleteBody { .. } => s3_error!(
            IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header"
        ),
        E::EntityTooLarge { .. } => {
            s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size")
        }
        E::EntityTooSmall { .. } => {
            s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size")
        }
        E::WrongObjectSize { .. } => s3_error!(
            InvalidRequest,
            "The object size of the completed upload is not the one that x-amz-mp-object-size specifies"
        ),
        E::InvalidPart(_) => s3_error!(
            InvalidPart,
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
             specified entity tag may not match the part's entity tag."
        ),
        E::InvalidPartOrder => s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ),
        other => {
            tracing::error!(error = %other, "an object operation failed");
            s3_error!(InternalError, "We encountered an internal error. Please try again.")
        }
    }
}

/// Errors that `s3s` puts into a body's stream (a wrong signature or hash of a chunk) come back out as themselves.
fn body(source: craton_objects::BodyError) -> S3Error {
    match source.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(source) => {
            tracing::debug!(error = %source, "a body broke off");
            let text = source.to_string().to_lowercase();
            if text.contains("signature") {
                s3_error!(
                    SignatureDoesNotMatch,
                    "The signature of a chunk does not match the signature that was calculated."
                )
            } else if text.contains("checksum") || text.contains("sha256") {
                custom(
                    "XAmzContentSHA256Mismatch",
                    StatusCode::BAD_REQUEST,
                    "The provided 'x-amz-content-sha256' header does not match what was computed.",
                )
            } else {
                s3_error!(IncompleteBody, "The request body terminated unexpectedly")
            }
        }
    }
}

fn remote(status: u16, code: String, message: String) -> S3Error {
    // What a store behind us refuses us is not the client's to mend, except for what it says of the object itself.
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    if status == StatusCode::FORBIDDEN || status == StatusCode::UNAUTHORIZED {
        tracing::warn!(%code, %message, "the object store behind a bucket refuses its configured credentials");
        return s3_error!(AccessDenied, "The object store behind this bucket refused the server's access.");
    }
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(status);
    error
}

fn delete_marker_headers(version: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::from_str(version) {
        headers.insert("x-amz-version-id", version);
    }
    headers
}

fn precondition_failed(condition: &str) -> S3Error {
    s3_error!(
        PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold (condition {condition})"
    )
}

fn not_modified(etag: &str, modified_ms: i64) -> S3Error {
    let mut error = s3_error!(NotModified, "Not Modified");
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        headers.insert(http::header::ETAG, etag);
    }
    if let Some(date) =
        crate::convert::http_date(modified_ms).and_then(|date| HeaderValue::from_str(&date).ok())
    {
        headers.insert(http::header::LAST_MODIFIED, date);
    }
    error.set_headers(headers);
    error
}

/// What identity says of a key, in S3's names.
pub(crate) fn unknown_key(error: &ApiError) -> S3Error {
    match &*error.code {
        "ExpiredTokenException" => s3_error!(ExpiredToken, "The provided token has expired."),
        "InvalidClientTokenId" | "UnrecognizedClientException" => {
            s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
        }
        "ThrottlingException" => s3_error!(SlowDown, "{}", error.message),
        _ => s3_error!(AccessDenied, "{}", error.message),
    }
}
