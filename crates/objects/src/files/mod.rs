//! Objects in files, with everything about them in the records.
//!
//! Order of a write: content to a temporary file, synced; renamed to its place and the directory synced; then one
//! transaction puts the row that names it (and removes the row it replaces); then the replaced file is removed. A
//! crash at any point leaves the old object or the new one, and at worst a file that no row names, which
//! [`FileObjects::sweep`] removes. Once the transaction has begun it is finished even when the client goes away, so
//! that nobody removes the file under a row that made it.
//!
//! Content of up to [`INLINE_BYTES`] goes into the records instead: one flush, shared with other writers, in place of
//! three.

mod blobs;
mod list;
mod read;
mod rows;
mod uploads;
mod write;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use craton_core::Clock;
use craton_store::{Store, values};

use crate::types::{
    Bucket, ByteStream, Completion, Copy, Deleted, Expect, GetOptions, ListQuery, Listing, NewUpload, Object,
    ObjectMeta, ObjectRef, Part, PartListing, Put, ReadConditions, Tags, UploadListing, UploadRef,
    VersionListing, Versioning, VersionsQuery, WriteCondition,
};
use crate::{ObjectError, ObjectStore, Result, names};
use blobs::Blobs;

/// Content up to this size is kept in the records.
pub const INLINE_BYTES: usize = 8 * 1024;

/// Buckets of one data directory.
#[derive(Clone)]
pub struct FileObjects {
    store: Store,
    blobs: Arc<Blobs>,
    clock: Arc<dyn Clock>,
}

impl FileObjects {
    /// Objects whose rows are in `store` and whose content is in files under `directory`, which is made if missing.
    /// Only one process may use a directory at a time.
    pub fn open(store: Store, directory: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(store, directory, clock, INLINE_BYTES)
    }

    /// [`Self::open`] with another limit for content that is kept in the records.
    pub fn open_with(
        store: Store,
        directory: &Path,
        clock: Arc<dyn Clock>,
        inline_bytes: usize,
    ) -> Result<Self> {
        let blobs = Arc::new(Blobs::open(directory, inline_bytes)?);
        Ok(Self { store, blobs, clock })
    }

    /// Removes content files that no row names: what crashes left behind. Answers how many.
    pub async fn sweep(&self) -> Result<u64> {
        let mut removed = 0;
        for directory in 0..=u8::MAX {
            let mut orphans = Vec::new();
            for id in self.blobs.files(directory).await? {
                if !rows::names_file(&self.store, &id).await? {
                    orphans.push(id);
                }
            }
            removed += orphans.len() as u64;
            self.blobs.remove(orphans).await;
        }
        Ok(removed)
    }

    /// Aborts uploads that were opened before `before_ms` and never completed. Answers how many.
    pub async fn expire_uploads(&self, before_ms: i64) -> Result<u64> {
        uploads::expire(self, before_ms).await
    }
}

#[async_trait]
impl ObjectStore for FileObjects {
    async fn create_bucket(&self, name: &str, region: &str) -> Result<Bucket> {
        names::check_bucket(name)?;
        let created_ms = self.clock.now_ms();
        let inserted = self
            .store
            .execute(
                "INSERT INTO object_buckets (name, region, created_ms, versioning) VALUES ($1, $2, $3, 'off') \
                 ON CONFLICT (name) DO NOTHING",
                &values![name, region, created_ms],
            )
            .await?;
        if inserted == 0 {
            return Err(ObjectError::BucketExists(name.to_owned()));
        }
        Ok(Bucket { name: name.into(), region: region.into(), created_ms, versioning: Versioning::Off })
    }

    async fn bucket(&self, name: &str) -> Result<Bucket> {
        rows::bucket(&self.store, name).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let sql = "SELECT name, region, created_ms, versioning FROM object_buckets ORDER BY name";
        self.store.fetch_all(sql, &[]).await?.iter().map(rows::read_bucket).collect()
    }

    async fn delete_bucket(&self, name: &str) -> Result<()> {
        write::delete_bucket(self, name).await
    }

    async fn set_versioning(&self, bucket: &str, versioning: Versioning) -> Result<()> {
        if versioning == Versioning::Off {
            return Err(ObjectError::InvalidArgument(
                "versioning can be suspended, but not turned off".into(),
            ));
        }
        let sql = "UPDATE object_buckets SET versioning = $2 WHERE name = $1";
        match self.store.execute(sql, &values![bucket, rows::versioning_text(versioning)]).await? {
            0 => Err(ObjectError::NoSuchBucket(bucket.to_owned())),
            _ => Ok(()),
        }
    }

    async fn put(&self, put: Put, body: ByteStream) -> Result<ObjectMeta> {
        write::put(self, put, body).await
    }

    async fn get(&self, at: &ObjectRef, options: GetOptions) -> Result<Object> {
        read::get(self, at, options).await
    }

    async fn head(&self, at: &ObjectRef, conditions: ReadConditions) -> Result<ObjectMeta> {
        let (version, versioned) = read::find(self, at).await?;
        conditions.check(&version.etag, version.modified_ms)?;
        Ok(version.meta(&at.key, versioned))
    }

    async fn list(&self, bucket: &str, query: ListQuery) -> Result<Listing> {
        list::list(self, bucket, query).await
    }

    async fn list_versions(&self, bucket: &str, query: VersionsQuery) -> Result<VersionListing> {
        list::list_versions(self, bucket, query).await
    }

    async fn delete(&self, at: &ObjectRef, condition: WriteCondition) -> Result<Deleted> {
        write::delete(self, at.clone(), condition).await
    }

    async fn delete_many(
        &self,
        bucket: &str,
        objects: Vec<(String, Option<String>)>,
    ) -> Result<Vec<Result<Deleted>>> {
        write::delete_many(self, bucket, objects).await
    }

    async fn copy(&self, copy: Copy) -> Result<ObjectMeta> {
        write::copy(self, copy).await
    }

    async fn tags(&self, at: &ObjectRef) -> Result<Tags> {
        Ok(read::find(self, at).await?.0.tags)
    }

    async fn set_tags(&self, at: &ObjectRef, tags: Tags) -> Result<()> {
        write::set_tags(self, at, tags).await
    }

    async fn create_upload(&self, upload: NewUpload) -> Result<String> {
        uploads::create(self, upload).await
    }

    async fn put_part(
        &self,
        upload: &UploadRef,
        number: u32,
        expect: Expect,
        body: ByteStream,
    ) -> Result<Part> {
        uploads::put_part(self, upload, number, expect, body).await
    }

    async fn parts(&self, upload: &UploadRef, after: u32, limit: u32) -> Result<PartListing> {
        uploads::parts(self, upload, after, limit).await
    }

    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(String, String)>,
        limit: u32,
    ) -> Result<UploadListing> {
        uploads::list(self, bucket, prefix, after, limit).await
    }

    async fn complete_upload(&self, upload: &UploadRef, completion: Completion) -> Result<ObjectMeta> {
        uploads::complete(self, upload, completion).await
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        uploads::abort(self, upload).await
    }
}
