//! Objects: bytes under (bucket, key), on the file system with metadata in the records, or in a real S3.
//!
//! The seam that the S3 front, ingestion and every job read and write through is [`ObjectStore`]: plain data in
//! [`types`], bodies as streams both ways, so that no object is ever in memory whole. Its semantics are S3's (keys in
//! the order of their UTF-8 bytes, versions with delete markers, conditional reads and writes, multipart uploads), and
//! every driver passes one suite (`tests/it/contract.rs`).
//!
//! * [`FileObjects`]: content in files, metadata in rows. Content is written to a temporary file, synced, renamed and
//!   its directory synced before the row that names it commits; files that no row names are swept up. So a crash
//!   leaves the old object or the new one, never a torn one.
//! * [`S3Objects`]: buckets of a real S3, reached over HTTP with our own signer.
//! * [`Objects`]: what the server hands out. It sends each bucket to the driver that the configuration names, and
//!   keeps the buckets' settings (policy, CORS, tags, …) in the records.

pub mod checksum;
mod error;
mod files;
mod hub;
pub mod names;
mod remote;
pub mod types;

use async_trait::async_trait;

pub use error::ObjectError;
pub use files::{FileObjects, INLINE_BYTES};
pub use hub::Objects;
pub use remote::{RemoteConfig, RemoteError, S3Objects};
pub use types::{
    After, Attributes, BodyError, Bucket, ByteRange, ByteStream, CompletedPart, Completion, Copy, Deleted,
    EtagMatch, Expect, GetOptions, ListQuery, Listed, ListedUpload, ListedVersion, Listing, NewUpload,
    Object, ObjectMeta, ObjectRef, Part, PartListing, Put, ReadConditions, Tags, UploadListing, UploadRef,
    VersionListing, Versioning, VersionsQuery, WriteCondition, split_uri,
};

/// What every operation gives or why not.
pub type Result<T, E = ObjectError> = std::result::Result<T, E>;

/// Buckets and the objects in them.
///
/// All operations but [`create_bucket`](Self::create_bucket) and [`buckets`](Self::buckets) answer
/// [`ObjectError::NoSuchBucket`] for a bucket that is not there.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    async fn create_bucket(&self, name: &str, region: &str) -> Result<Bucket>;

    async fn bucket(&self, name: &str) -> Result<Bucket>;

    /// All buckets, by name.
    async fn buckets(&self) -> Result<Vec<Bucket>>;

    /// Removes an empty bucket: one without objects, versions and delete markers. Its open uploads are aborted.
    async fn delete_bucket(&self, name: &str) -> Result<()>;

    /// Turns versioning on or suspends it; it can never be turned off again.
    async fn set_versioning(&self, bucket: &str, versioning: Versioning) -> Result<()>;

    /// Stores an object. When it returns, the object survives a crash. A body that breaks off, is of another size or
    /// digest than was promised, or a condition that does not hold leaves everything as it was.
    async fn put(&self, put: Put, body: ByteStream) -> Result<ObjectMeta>;

    /// An object with its content, or the part of it that was asked for.
    async fn get(&self, at: &ObjectRef, options: GetOptions) -> Result<Object>;

    /// An object without its content.
    async fn head(&self, at: &ObjectRef, conditions: ReadConditions) -> Result<ObjectMeta>;

    /// A page of a bucket's keys, in the order of their bytes.
    async fn list(&self, bucket: &str, query: ListQuery) -> Result<Listing>;

    /// A page of a bucket's versions: keys in the order of their bytes, newest version first.
    async fn list_versions(&self, bucket: &str, query: VersionsQuery) -> Result<VersionListing>;

    /// Deletes an object (in a versioned bucket: puts a delete marker on top) or, where a version is named, that
    /// version for good. Deleting what is not there is no error.
    async fn delete(&self, at: &ObjectRef, condition: WriteCondition) -> Result<Deleted>;

    /// Deletes many objects, each on its own; answers are in the order of `objects`.
    async fn delete_many(
        &self,
        bucket: &str,
        objects: Vec<(String, Option<String>)>,
    ) -> Result<Vec<Result<Deleted>>> {
        let mut answers = Vec::with_capacity(objects.len());
        for (key, version) in objects {
            let at = ObjectRef { bucket: bucket.to_owned(), key, version };
            answers.push(self.delete(&at, WriteCondition::default()).await);
        }
        Ok(answers)
    }

    /// Copies an object within this store.
    async fn copy(&self, copy: Copy) -> Result<ObjectMeta>;

    async fn tags(&self, at: &ObjectRef) -> Result<Tags>;

    /// Replaces all tags of an object; an empty set removes them.
    async fn set_tags(&self, at: &ObjectRef, tags: Tags) -> Result<()>;

    /// Opens a multipart upload and answers its id.
    async fn create_upload(&self, upload: NewUpload) -> Result<String>;

    /// Stores a part; one with the same number is replaced. Numbers are 1 to 10,000.
    async fn put_part(
        &self,
        upload: &UploadRef,
        number: u32,
        expect: Expect,
        body: ByteStream,
    ) -> Result<Part>;

    /// Parts of an open upload after `after`, at most `limit`.
    async fn parts(&self, upload: &UploadRef, after: u32, limit: u32) -> Result<PartListing>;

    /// Open uploads of a bucket, by key and id, after (key, id), at most `limit`.
    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(String, String)>,
        limit: u32,
    ) -> Result<UploadListing>;

    /// Makes one object of the named parts, in order, and forgets the upload and its other parts.
    async fn complete_upload(&self, upload: &UploadRef, completion: Completion) -> Result<ObjectMeta>;

    /// Forgets an upload and its parts.
    async fn abort_upload(&self, upload: &UploadRef) -> Result<()>;
}
