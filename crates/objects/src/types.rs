//! Plain data that passes the seam.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};

use crate::ObjectError;
use crate::checksum::{Algorithm, Checksum, Digests};

/// Bytes on their way; an error ends them.
pub type ByteStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Whatever broke a body off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body that is at hand already.
pub fn bytes(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed()
}

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    pub name: String,
    pub region: String,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub versioning: Versioning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Versioning {
    /// Never turned on.
    #[default]
    Off,
    Enabled,
    /// New objects replace each other under the version `null`; older versions stay.
    Suspended,
}

/// What a client says of an object besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// As the client wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect: Option<String>,
    /// User metadata, names in lower case without `x-amz-meta-`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// Which object: the newest version unless one is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    pub bucket: String,
    pub key: String,
    /// A version id, or `null` for the one written while versioning was not on.
    pub version: Option<String>,
}

impl ObjectRef {
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), version: None }
    }

    /// What `s3://bucket/key` names.
    pub fn of_uri(uri: &str) -> Option<Self> {
        split_uri(uri).map(|(bucket, key)| Self::new(bucket, key))
    }
}

/// Bucket and key of `s3://bucket/key`. Keys are taken as they are, without any escaping.
pub fn split_uri(uri: &str) -> Option<(&str, &str)> {
    uri.strip_prefix("s3://")?.split_once('/').filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
}

#[derive(Debug, Clone, PartialEq)]
pub struct ObjectMeta {
    pub key: String,
    /// `None` in a bucket that was never versioned.
    pub version_id: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Without quotes. Changes whenever the content does.
    pub etag: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: i64,
    pub attributes: Attributes,
    pub checksum: Option<Checksum>,
    /// Parts of an object that was uploaded in parts.
    pub parts: Option<u32>,
    pub tag_count: u32,
}

/// An object and the content that was asked for.
pub struct Object {
    pub meta: ObjectMeta,
    /// Which bytes `body` has; the whole object unless a range or a part was asked for.
    pub range: Range<u64>,
    pub body: ByteStream,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

impl Object {
    /// The content in memory, if it is at most `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, ObjectError> {
        let length = self.range.end - self.range.start;
        if length > limit as u64 {
            return Err(ObjectError::EntityTooLarge { size: length, limit: limit as u64 });
        }
        let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk.map_err(ObjectError::Body)?;
            if all.is_empty() && chunk.len() as u64 == length {
                return Ok(chunk);
            }
            if all.len() + chunk.len() > limit {
                return Err(ObjectError::EntityTooLarge { size: length, limit: limit as u64 });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.into())
    }
}

/// An object to be stored.
#[derive(Debug, Default)]
pub struct Put {
    pub bucket: String,
    pub key: String,
    pub attributes: Attributes,
    pub tags: Tags,
    pub condition: WriteCondition,
    pub expect: Expect,
}

impl Put {
    pub fn new(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), key: key.into(), ..Self::default() }
    }
}

/// When a write may happen. Nothing set: always.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteCondition {
    /// Only if the object has this ETag (or exists at all).
    pub if_match: Option<EtagMatch>,
    /// Only if no object is there.
    pub if_absent: bool,
}

/// What a body must turn out to be.
#[derive(Default)]
pub struct Expect {
    pub size: Option<u64>,
    pub md5: Option<[u8; 16]>,
    pub checksum: Option<Checksum>,
    /// Computed and kept even where the client sends no value.
    pub algorithm: Option<Algorithm>,
    /// The checksum that follows the body, asked for once the body has ended. `Ok(None)`: none came.
    pub trailing: Option<Trailing>,
}

/// Asked for the checksum that came after a body.
pub type Trailing = Box<dyn FnOnce() -> Result<Option<Checksum>, ObjectError> + Send>;

impl Expect {
    /// Whether the body turned out as it must be. Its checksum after the body is asked for here.
    pub(crate) fn verify(self, digests: &Digests) -> Result<(), ObjectError> {
        if let Some(expected) = self.size
            && expected != digests.length
        {
            return Err(ObjectError::IncompleteBody { expected, received: digests.length });
        }
        if self.md5.is_some_and(|md5| md5 != digests.md5) {
            return Err(ObjectError::BadDigest { what: "Content-MD5" });
        }
        let trailing = self.trailing.map_or(Ok(None), |trailing| trailing())?;
        for promised in self.checksum.into_iter().chain(trailing) {
            if digests.checksum.as_ref() != Some(&promised) {
                return Err(ObjectError::BadDigest { what: promised.algorithm.name() });
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expect")
            .field("size", &self.size)
            .field("md5", &self.md5)
            .field("checksum", &self.checksum)
            .field("algorithm", &self.algorithm)
            .field("trailing", &self.trailing.is_some())
            .finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`: whatever is there.
    Any,
    /// One of these, without quotes.
    OneOf(Vec<String>),
}

impl EtagMatch {
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(etags) => etags.iter().any(|one| one == etag),
        }
    }
}

/// When a read is answered. Nothing set: always. Times count in whole seconds, as HTTP's do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadConditions {
    pub if_match: Option<EtagMatch>,
    pub if_none_match: Option<EtagMatch>,
    pub if_modified_since_s: Option<i64>,
    pub if_unmodified_since_s: Option<i64>,
}

impl ReadConditions {
    /// Whether an object may be served, in HTTP's order of precedence.
    pub fn check(&self, etag: &str, modified_ms: i64) -> Result<(), ObjectError> {
        let modified_s = modified_ms.div_euclid(1000);
        match &self.if_match {
            Some(wanted) if !wanted.matches(etag) => {
                return Err(ObjectError::PreconditionFailed { condition: "If-Match" });
            }
            Some(_) => {}
            None if self.if_unmodified_since_s.is_some_and(|since| modified_s > since) => {
                return Err(ObjectError::PreconditionFailed { condition: "If-Unmodified-Since" });
            }
            None => {}
        }
        let unchanged = match &self.if_none_match {
            Some(known) => known.matches(etag),
            None => self.if_modified_since_s.is_some_and(|since| modified_s <= since),
        };
        if unchanged {
            return Err(ObjectError::NotModified { etag: etag.to_owned(), modified_ms });
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GetOptions {
    pub range: Option<ByteRange>,
    /// One part of an object that was uploaded in parts (1 also for one that was not).
    pub part: Option<u32>,
    pub conditions: ReadConditions,
}

/// A range of bytes as HTTP has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`, both included; an end beyond the object is cut.
    FromTo(u64, u64),
    /// `first-`.
    From(u64),
    /// `-count`: the last bytes.
    Last(u64),
}

impl ByteRange {
    /// Which bytes of an object of `size` these are, end excluded.
    pub fn within(self, size: u64) -> Result<Range<u64>, ObjectError> {
        let range = match self {
            Self::FromTo(first, last) if first <= last => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(count) if count > 0 => size.saturating_sub(count)..size,
            _ => return Err(ObjectError::InvalidRange { size }),
        };
        if range.start >= size { Err(ObjectError::InvalidRange { size }) } else { Ok(range) }
    }
}

/// Which page of a list of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    pub prefix: String,
    /// Keys that have it after the prefix are rolled up into one common prefix.
    pub delimiter: Option<String>,
    /// Where the page before ended.
    pub after: Option<After>,
    /// Keys and common prefixes together.
    pub limit: u32,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// With this key.
    Key(String),
    /// With this common prefix and all that is under it.
    Prefix(String),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Listing {
    pub objects: Vec<Listed>,
    pub prefixes: Vec<String>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<After>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionsQuery {
    pub prefix: String,
    pub delimiter: Option<String>,
    pub after: Option<After>,
    /// With [`After::Key`]: the version of that key that the page before ended with.
    pub after_version: Option<String>,
    pub limit: u32,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct VersionListing {
    pub versions: Vec<ListedVersion>,
    pub prefixes: Vec<String>,
    pub next: Option<After>,
    pub next_version: Option<String>,
}

/// A version or a delete marker in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    pub key: String,
    pub version_id: String,
    pub latest: bool,
    pub delete_marker: bool,
    pub size: u64,
    pub etag: String,
    pub modified_ms: i64,
}

/// What came of a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    /// The version that was removed, or the id of the delete marker that was put.
    pub version_id: Option<String>,
    /// A delete marker was put, or the removed version was one.
    pub delete_marker: bool,
}

/// A copy within one store.
#[derive(Debug, Clone, PartialEq)]
pub struct Copy {
    pub from: ObjectRef,
    pub bucket: String,
    pub key: String,
    /// `None` keeps the source's.
    pub attributes: Option<Attributes>,
    /// `None` keeps the source's.
    pub tags: Option<Tags>,
    /// On the source.
    pub conditions: ReadConditions,
    /// On what is at the destination.
    pub condition: WriteCondition,
    /// A checksum to have besides the source's own.
    pub algorithm: Option<Algorithm>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadRef {
    pub bucket: String,
    pub key: String,
    pub upload_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewUpload {
    pub bucket: String,
    pub key: String,
    pub attributes: Attributes,
    pub tags: Tags,
    pub algorithm: Option<Algorithm>,
    /// The checksum of the whole object is the sum over its bytes, not over its parts' sums.
    pub full_object: bool,
}

/// A stored part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub number: u32,
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    pub checksum: Option<Checksum>,
    pub modified_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartListing {
    pub parts: Vec<Part>,
    /// The last number of this page, when another follows.
    pub next: Option<u32>,
    pub algorithm: Option<Algorithm>,
    pub full_object: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct UploadListing {
    pub uploads: Vec<ListedUpload>,
    pub next: Option<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUpload {
    pub key: String,
    pub upload_id: String,
    pub created_ms: i64,
    pub algorithm: Option<Algorithm>,
    pub full_object: bool,
}

/// What an upload is to become.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// In ascending order.
    pub parts: Vec<CompletedPart>,
    pub condition: WriteCondition,
    /// What the whole object's checksum must be.
    pub checksum: Option<Checksum>,
    /// How many bytes the whole object must have.
    pub size: Option<u64>,
}

/// A part as the client names it when it completes an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedPart {
    pub number: u32,
    /// Without quotes.
    pub etag: String,
    pub checksum: Option<Checksum>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_object() {
        assert_eq!(ByteRange::FromTo(0, 4).within(10).unwrap(), 0..5);
        assert_eq!(ByteRange::FromTo(8, 99).within(10).unwrap(), 8..10);
        assert_eq!(ByteRange::FromTo(0, u64::MAX).within(10).unwrap(), 0..10);
        assert_eq!(ByteRange::From(9).within(10).unwrap(), 9..10);
        assert_eq!(ByteRange::Last(3).within(10).unwrap(), 7..10);
        assert_eq!(ByteRange::Last(30).within(10).unwrap(), 0..10);
        for range in
            [ByteRange::FromTo(10, 12), ByteRange::FromTo(5, 4), ByteRange::From(10), ByteRange::Last(0)]
        {
            assert!(matches!(range.within(10), Err(ObjectError::InvalidRange { size: 10 })), "{range:?}");
        }
        assert!(ByteRange::Last(1).within(0).is_err());
    }

    #[test]
    fn uris_name_a_bucket_and_a_key() {
        assert_eq!(ObjectRef::of_uri("s3://b/k/l m.txt"), Some(ObjectRef::new("b", "k/l m.txt")));
        for not_one in ["s3://b", "s3://b/", "s3:///k", "https://b/k"] {
            assert_eq!(ObjectRef::of_uri(not_one), None, "{not_one}");
        }
    }

    #[test]
    fn conditions_have_http_s_order() {
        let conditions =
            |if_match: Option<&str>, if_none_match: Option<&str>, modified, unmodified| ReadConditions {
                if_match: if_match.map(|etag| EtagMatch::OneOf(vec![etag.into()])),
                if_none_match: if_none_match.map(|etag| EtagMatch::OneOf(vec![etag.into()])),
                if_modified_since_s: modified,
                if_unmodified_since_s: unmodified,
            };
        let check = |conditions: ReadConditions| match conditions.check("e", 10_500) {
            Ok(()) => 200,
            Err(ObjectError::NotModified { .. }) => 304,
            Err(ObjectError::PreconditionFailed { .. }) => 412,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(check(ReadConditions::default()), 200);
        assert_eq!(check(conditions(Some("e"), None, None, Some(5))), 200);
        assert_eq!(check(conditions(Some("x"), None, None, None)), 412);
        assert_eq!(check(conditions(None, None, None, Some(9))), 412);
        assert_eq!(check(conditions(None, None, None, Some(10))), 200);
        assert_eq!(check(conditions(None, Some("e"), Some(5), None)), 304);
        assert_eq!(check(conditions(None, Some("x"), Some(99), None)), 200);
        assert_eq!(check(conditions(None, None, Some(10), None)), 304);
        assert_eq!(check(conditions(None, None, Some(9), None)), 200);
    }
}
