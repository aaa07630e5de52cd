//! Between `s3s`'s types and the objects' seam.

use craton_objects::checksum::{Algorithm, Checksum};
use craton_objects::{
    Attributes, ByteRange, ByteStream, EtagMatch, Expect, ObjectError, ReadConditions, Tags, WriteCondition,
};
use futures::StreamExt as _;
use s3s::dto;
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};
use time::OffsetDateTime;

use crate::error::custom;

pub(crate) fn timestamp(ms: i64) -> dto::Timestamp {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    at.unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

pub(crate) fn http_date(ms: i64) -> Option<String> {
    let mut date = Vec::new();
    timestamp(ms).format(dto::TimestampFormat::HttpDate, &mut date).ok()?;
    String::from_utf8(date).ok()
}

pub(crate) fn seconds(timestamp: Option<dto::Timestamp>) -> Option<i64> {
    timestamp.map(|timestamp| OffsetDateTime::from(timestamp).unix_timestamp())
}

pub(crate) fn etag(etag: &str) -> Option<dto::ETag> {
    (!etag.is_empty()).then(|| dto::ETag::Strong(etag.to_owned()))
}

pub(crate) fn length(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn etag_match(condition: Option<dto::ETagCondition>) -> Option<EtagMatch> {
    condition.map(|condition| match condition {
        dto::ETagCondition::Any => EtagMatch::Any,
        dto::ETagCondition::ETag(etag) => EtagMatch::OneOf(vec![etag.into_value()]),
    })
}

pub(crate) fn read_conditions(
    if_match: Option<dto::ETagCondition>,
    if_none_match: Option<dto::ETagCondition>,
    if_modified_since: Option<dto::Timestamp>,
    if_unmodified_since: Option<dto::Timestamp>,
) -> ReadConditions {
    ReadConditions {
        if_match: etag_match(if_match),
        if_none_match: etag_match(if_none_match),
        if_modified_since_s: seconds(if_modified_since),
        if_unmodified_since_s: seconds(if_unmodified_since),
    }
}

/// S3 takes only `*` for If-None-Match on a write.
pub(crate) fn write_condition(
    if_match: Option<dto::ETagCondition>,
    if_none_match: Option<dto::ETagCondition>,
) -> S3Result<WriteCondition> {
    let if_absent = match if_none_match {
        None => false,
        Some(dto::ETagCondition::Any) => true,
        Some(dto::ETagCondition::ETag(_)) => {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented: If-None-Match"
            ));
        }
    };
    Ok(WriteCondition { if_match: etag_match(if_match), if_absent })
}

pub(crate) fn byte_range(range: dto::Range) -> ByteRange {
    match range {
        dto::Range::Int { first, last: Some(last) } => ByteRange::FromTo(first, last),
        dto::Range::Int { first, last: None } => ByteRange::From(first),
        dto::Range::Suffix { length } => ByteRange::Last(length),
    }
}

/// The body of a request as the seam takes it.
pub(crate) fn body(blob: Option<dto::StreamingBlob>) -> ByteStream {
    blob.map_or_else(|| futures::stream::empty().boxed(), |blob| blob.boxed())
}

/// The content of an object as `s3s` sends it.
pub(crate) fn blob(stream: ByteStream) -> dto::StreamingBlob {
    let body = http_body_util::StreamBody::new(stream.map(|chunk| chunk.map(http_body::Frame::data)));
    dto::StreamingBlob::from(s3s::Body::http_body_unsync(body))
}

/// The tags of an `x-amz-tagging` header: a query string.
pub(crate) fn tagging_header(header: Option<&str>) -> S3Result<Tags> {
    let mut tags = Tags::new();
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let text = percent_encoding::percent_decode_str(&text).decode_utf8().map(|text| text.into_owned());
        text.map_err(|_| s3_error!(InvalidArgument, "The header 'x-amz-tagging' shall be encoded as UTF-8"))
    };
    for pair in header.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if tags.insert(decode(key)?, decode(value)?).is_some() {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

pub(crate) fn tags(set: Vec<dto::Tag>) -> S3Result<Tags> {
    let mut tags = Tags::new();
    for tag in set {
        let (key, value) = (tag.key.unwrap_or_default(), tag.value.unwrap_or_default());
        if tags.insert(key, value).is_some() {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

pub(crate) fn tag_set(tags: Tags) -> Vec<dto::Tag> {
    tags.into_iter().map(|(key, value)| dto::Tag { key: Some(key), value: Some(value) }).collect()
}

pub(crate) fn user_metadata(metadata: Option<dto::Metadata>) -> std::collections::BTreeMap<String, String> {
    metadata.unwrap_or_default().into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

/// The headers that say how a body was sent, not what it is.
pub(crate) fn content_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|one| !one.is_empty() && *one != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub(crate) fn expires(expires: Option<dto::Timestamp>) -> Option<String> {
    let mut text = Vec::new();
    expires?.format(dto::TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

pub(crate) fn expires_of(attributes: &Attributes) -> Option<dto::Timestamp> {
    dto::Timestamp::parse(dto::TimestampFormat::HttpDate, attributes.expires.as_deref()?).ok()
}

pub(crate) fn algorithm(name: Option<&dto::ChecksumAlgorithm>) -> S3Result<Option<Algorithm>> {
    name.map(|name| {
        Algorithm::from_name(name.as_str()).ok_or_else(|| {
            s3_error!(
                InvalidRequest,
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, \
                 CRC32C, CRC64NVME, SHA1, SHA256]"
            )
        })
    })
    .transpose()
}

/// The five fields that a checksum can be in.
pub(crate) struct Sums {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
}

/// Takes the five fields out of an input.
macro_rules! sums {
    ($input:expr) => {
        $crate::convert::Sums {
            crc32: $input.checksum_crc32.take(),
            crc32c: $input.checksum_crc32c.take(),
            crc64nvme: $input.checksum_crc64nvme.take(),
            sha1: $input.checksum_sha1.take(),
            sha256: $input.checksum_sha256.take(),
        }
    };
}
pub(crate) use sums;

/// Puts a checksum into the right one of an output's five fields.
macro_rules! put_sum {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            use craton_objects::checksum::Algorithm as A;
            let value = Some(checksum.value.clone());
            match checksum.algorithm {
                A::Crc32 => $output.checksum_crc32 = value,
                A::Crc32c => $output.checksum_crc32c = value,
                A::Crc64nvme => $output.checksum_crc64nvme = value,
                A::Sha1 => $output.checksum_sha1 = value,
                A::Sha256 => $output.checksum_sha256 = value,
            }
        }
    };
}
pub(crate) use put_sum;

impl Sums {
    fn each(self) -> [(Algorithm, Option<String>); 5] {
        [
            (Algorithm::Crc32, self.crc32),
            (Algorithm::Crc32c, self.crc32c),
            (Algorithm::Crc64nvme, self.crc64nvme),
            (Algorithm::Sha1, self.sha1),
            (Algorithm::Sha256, self.sha256),
        ]
    }

    /// The one that is given. `composite`: values that end in the number of parts are taken too.
    pub(crate) fn one(self, composite: bool) -> S3Result<Option<Checksum>> {
        let mut found = None;
        for (algorithm, value) in self.each() {
            let Some(value) = value else { continue };
            if found.is_some() {
                return Err(s3_error!(
                    InvalidRequest,
                    "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
                ));
            }
            let whole = composite.then(|| value.split_once('-')).flatten();
            let checked = Checksum::parse(algorithm, whole.map_or(value.as_str(), |(sum, _)| sum));
            let header = algorithm.header();
            let mut sum =
                checked.ok_or_else(|| s3_error!(InvalidRequest, "Value for {header} header is invalid."))?;
            sum.value = value;
            found = Some(sum);
        }
        Ok(found)
    }
}

pub(crate) fn checksum_type(checksum: Option<&Checksum>) -> Option<dto::ChecksumType> {
    checksum.map(|checksum| {
        let name = if checksum.is_composite() {
            dto::ChecksumType::COMPOSITE
        } else {
            dto::ChecksumType::FULL_OBJECT
        };
        dto::ChecksumType::from_static(name)
    })
}

/// What a body was promised to be.
pub(crate) fn expect<T>(
    request: &S3Request<T>,
    length: Option<i64>,
    md5: Option<&str>,
    sums: Sums,
    algorithm: Option<Algorithm>,
) -> S3Result<Expect> {
    let checksum = sums.one(false)?;
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let announced = header("x-amz-trailer").and_then(|trailer| {
        let names = trailer.split(',').map(str::trim);
        names
            .filter_map(|name| Algorithm::ALL.into_iter().find(|one| one.header().eq_ignore_ascii_case(name)))
            .next()
    });
    let trailing = announced.zip(request.trailing_headers.clone());
    let decoded = header("x-amz-decoded-content-length").map(|length| {
        length
            .parse::<u64>()
            .map_err(|_| s3_error!(InvalidArgument, "x-amz-decoded-content-length is not a number"))
    });
    let size = match decoded.transpose()? {
        Some(decoded) => Some(decoded),
        None => length.and_then(|length| u64::try_from(length).ok()),
    };
    Ok(Expect {
        size,
        md5: md5.map(md5_of).transpose()?,
        checksum,
        algorithm: announced.or(algorithm),
        trailing: trailing.map(|(algorithm, headers)| {
            Box::new(move || trailing_sum(algorithm, &headers)) as craton_objects::types::Trailing
        }),
    })
}

fn md5_of(text: &str) -> S3Result<[u8; 16]> {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok();
    let digest: Option<[u8; 16]> = decoded.and_then(|digest| digest.try_into().ok());
    digest.ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))
}

fn trailing_sum(algorithm: Algorithm, headers: &TrailingHeaders) -> Result<Option<Checksum>, ObjectError> {
    let value = headers.read(|headers| {
        headers.get(algorithm.header()).and_then(|value| value.to_str().ok()).map(str::to_owned)
    });
    let missing = || ObjectError::BadDigest { what: algorithm.name() };
    let value = value.flatten().ok_or_else(missing)?;
    Checksum::parse(algorithm, &value).map(Some).ok_or_else(missing)
}

/// Refuses headers that ask for what is not done: encryption with keys of the client's or KMS, locks, ACLs that open.
pub(crate) fn only_what_is_done(headers: &http::HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        let refused = match name {
            // Nothing is encrypted here, so nobody is told that it was.
            "x-amz-server-side-encryption" => true,
            "x-amz-acl" => value != "private" && value != "bucket-owner-full-control",
            "x-amz-storage-class" => value != "STANDARD",
            "x-amz-write-offset-bytes" | "x-amz-bucket-object-lock-enabled" => value != "false",
            _ => {
                name.starts_with("x-amz-server-side-encryption-customer-")
                    || name.starts_with("x-amz-copy-source-server-side-encryption-")
                    || name == "x-amz-server-side-encryption-aws-kms-key-id"
                    || name.starts_with("x-amz-object-lock-")
                    || name.starts_with("x-amz-grant-")
            }
        };
        if refused && (name == "x-amz-acl" || name.starts_with("x-amz-grant-")) {
            return Err(s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs"));
        }
        if refused {
            return Err(custom(
                "NotImplemented",
                http::StatusCode::NOT_IMPLEMENTED,
                format!("A header you provided implies functionality that is not implemented: {name}"),
            ));
        }
    }
    Ok(())
}

/// An account's canonical user id: AWS's is 64 hexadecimal digits that stand for the account.
pub(crate) fn owner(account_id: &str) -> dto::Owner {
    let digest = craton_wire::sigv4::sha256(format!("canonical user of {account_id}").as_bytes());
    dto::Owner { display_name: None, id: Some(hex::encode(digest)) }
}

/// As clients that asked for `encoding-type=url` read names.
pub(crate) fn url_encoded(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b'*');
    percent_encoding::utf8_percent_encode(text, KEPT).to_string()
}

/// Whether names in a list are to be percent-encoded.
pub(crate) fn encoder(encoding: Option<&dto::EncodingType>) -> impl Fn(&str) -> String + use<> {
    let url = encoding.is_some_and(|encoding| encoding.as_str() == dto::EncodingType::URL);
    move |text| if url { url_encoded(text) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_encodings_are_not_kept() {
        assert_eq!(content_encoding(Some("aws-chunked".into())), None);
        assert_eq!(content_encoding(Some("gzip, aws-chunked".into())).as_deref(), Some("gzip"));
        assert_eq!(content_encoding(Some("gzip".into())).as_deref(), Some("gzip"));
    }

    #[test]
    fn tagging_headers_are_query_strings() {
        let tags = tagging_header(Some("a=1&b+c=%C3%A9&d")).unwrap();
        let found: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(found, [("a", "1"), ("b c", "é"), ("d", "")]);
        assert!(tagging_header(Some("a=1&a=2")).is_err());
    }

    #[test]
    fn headers_that_ask_for_what_is_not_done_are_refused() {
        let with = |name: &'static str, value: &'static str| {
            [(http::HeaderName::from_static(name), http::HeaderValue::from_static(value))]
                .into_iter()
                .collect()
        };
        assert!(only_what_is_done(&with("x-amz-acl", "private")).is_ok());
        for (name, value) in [
            ("x-amz-server-side-encryption", "AES256"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-customer-key", "k"),
            ("x-amz-acl", "public-read"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
            ("x-amz-storage-class", "GLACIER"),
        ] {
            assert!(only_what_is_done(&with(name, value)).is_err(), "{name}");
        }
    }
}
