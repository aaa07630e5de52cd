//! All buckets of a server, wherever each of them lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use craton_store::{Store, values};

use crate::types::{
    Bucket, ByteStream, Completion, Copy, Deleted, Expect, GetOptions, ListQuery, Listing, NewUpload, Object,
    ObjectMeta, ObjectRef, Part, PartListing, Put, ReadConditions, Tags, UploadListing, UploadRef,
    VersionListing, Versioning, VersionsQuery, WriteCondition,
};
use crate::{FileObjects, ObjectStore, Result};

/// Settings of one bucket that are at most this long; policies and rules are shorter.
const MAX_SETTING_BYTES: usize = 256 * 1024;

/// Sends each bucket to its driver, and keeps the buckets' settings.
#[derive(Clone)]
pub struct Objects {
    store: Store,
    home: FileObjects,
    away: Arc<BTreeMap<String, Arc<dyn ObjectStore>>>,
    /// For buckets that are named nowhere; the file system unless the configuration says otherwise.
    elsewhere: Option<Arc<dyn ObjectStore>>,
}

impl Objects {
    pub fn new(store: Store, home: FileObjects) -> Self {
        Self { store, home, away: Arc::default(), elsewhere: None }
    }

    /// With buckets that live in other stores; under the name `*`, all that are not named.
    pub fn with_away(mut self, mut away: BTreeMap<String, Arc<dyn ObjectStore>>) -> Self {
        self.elsewhere = away.remove("*");
        self.away = Arc::new(away);
        self
    }

    fn of(&self, bucket: &str) -> &dyn ObjectStore {
        match (self.away.get(bucket), &self.elsewhere) {
            (Some(away), _) => &**away,
            (None, Some(elsewhere)) => &**elsewhere,
            (None, None) => &self.home,
        }
    }

    fn together(&self, one: &str, other: &str) -> bool {
        std::ptr::addr_eq(self.of(one), self.of(other))
    }

    /// The buckets' driver on this machine's file system, for its upkeep.
    pub fn home(&self) -> &FileObjects {
        &self.home
    }

    /// A bucket's setting, such as `policy`.
    pub async fn setting(&self, bucket: &str, name: &str) -> Result<Option<String>> {
        let sql = "SELECT body FROM object_settings WHERE bucket = $1 AND name = $2";
        let row = self.store.fetch_optional(sql, &values![bucket, name]).await?;
        Ok(row.map(|row| row.get("body")).transpose()?)
    }

    /// Replaces a bucket's setting; `None` removes it.
    pub async fn set_setting(&self, bucket: &str, name: &str, body: Option<String>) -> Result<()> {
        let Some(body) = body else {
            let sql = "DELETE FROM object_settings WHERE bucket = $1 AND name = $2";
            self.store.execute(sql, &values![bucket, name]).await?;
            return Ok(());
        };
        if body.len() > MAX_SETTING_BYTES {
            let (size, limit) = (body.len() as u64, MAX_SETTING_BYTES as u64);
            return Err(crate::ObjectError::EntityTooLarge { size, limit });
        }
        let sql = "INSERT INTO object_settings (bucket, name, body) VALUES ($1, $2, $3) \
                   ON CONFLICT (bucket, name) DO UPDATE SET body = excluded.body";
        self.store.execute(sql, &values![bucket, name, body]).await?;
        Ok(())
    }

    /// From one store to another: the bytes pass through here.
    async fn copy_across(&self, copy: Copy) -> Result<ObjectMeta> {
        let options = GetOptions { conditions: copy.conditions.clone(), ..GetOptions::default() };
        let from = self.get(&copy.from, options).await?;
        let tags = match copy.tags {
            Some(tags) => tags,
            None if from.meta.tag_count == 0 => Tags::new(),
            None => self.tags(&copy.from).await?,
        };
        let had = from.meta.checksum.map(|checksum| checksum.algorithm);
        let expect =
            Expect { size: Some(from.meta.size), algorithm: copy.algorithm.or(had), ..Expect::default() };
        let put = Put {
            bucket: copy.bucket,
            key: copy.key,
            attributes: copy.attributes.unwrap_or(from.meta.attributes),
            tags,
            condition: copy.condition,
            expect,
        };
        self.put(put, from.body).await
    }
}

#[async_trait]
impl ObjectStore for Objects {
    async fn create_bucket(&self, name: &str, region: &str) -> Result<Bucket> {
        self.of(name).create_bucket(name, region).await
    }

    async fn bucket(&self, name: &str) -> Result<Bucket> {
        self.of(name).bucket(name).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let mut all: BTreeMap<String, Bucket> = BTreeMap::new();
        let mut add = |buckets: Vec<Bucket>| {
            all.extend(buckets.into_iter().map(|bucket| (bucket.name.clone(), bucket)));
        };
        // What has moved elsewhere is not here any more, whatever the records still say.
        if self.elsewhere.is_none() {
            let home = self.home.buckets().await?;
            add(home.into_iter().filter(|bucket| !self.away.contains_key(&bucket.name)).collect());
        }
        if let Some(elsewhere) = &self.elsewhere {
            add(elsewhere.buckets().await?);
        }
        for (name, away) in &*self.away {
            // One that its owner has not made, or does not let us see, is not listed.
            match away.bucket(name).await {
                Ok(bucket) => add(vec![bucket]),
                Err(error) => tracing::debug!(bucket = %name, %error, "not listed"),
            }
        }
        Ok(all.into_values().collect())
    }

    async fn delete_bucket(&self, name: &str) -> Result<()> {
        self.of(name).delete_bucket(name).await?;
        self.store.execute("DELETE FROM object_settings WHERE bucket = $1", &values![name]).await?;
        Ok(())
    }

    async fn set_versioning(&self, bucket: &str, versioning: Versioning) -> Result<()> {
        self.of(bucket).set_versioning(bucket, versioning).await
    }

    async fn put(&self, put: Put, body: ByteStream) -> Result<ObjectMeta> {
        self.of(&put.bucket).put(put, body).await
    }

    async fn get(&self, at: &ObjectRef, options: GetOptions) -> Result<Object> {
        self.of(&at.bucket).get(at, options).await
    }

    async fn head(&self, at: &ObjectRef, conditions: ReadConditions) -> Result<ObjectMeta> {
        self.of(&at.bucket).head(at, conditions).await
    }

    async fn list(&self, bucket: &str, query: ListQuery) -> Result<Listing> {
        self.of(bucket).list(bucket, query).await
    }

    async fn list_versions(&self, bucket: &str, query: VersionsQuery) -> Result<VersionListing> {
        self.of(bucket).list_versions(bucket, query).await
    }

    async fn delete(&self, at: &ObjectRef, condition: WriteCondition) -> Result<Deleted> {
        self.of(&at.bucket).delete(at, condition).await
    }

    async fn delete_many(
        &self,
        bucket: &str,
        objects: Vec<(String, Option<String>)>,
    ) -> Result<Vec<Result<Deleted>>> {
        self.of(bucket).delete_many(bucket, objects).await
    }

    async fn copy(&self, copy: Copy) -> Result<ObjectMeta> {
        if self.together(&copy.from.bucket, &copy.bucket) {
            self.of(&copy.bucket).copy(copy).await
        } else {
            self.copy_across(copy).await
        }
    }

    async fn tags(&self, at: &ObjectRef) -> Result<Tags> {
        self.of(&at.bucket).tags(at).await
    }

    async fn set_tags(&self, at: &ObjectRef, tags: Tags) -> Result<()> {
        self.of(&at.bucket).set_tags(at, tags).await
    }

    async fn create_upload(&self, upload: NewUpload) -> Result<String> {
        self.of(&upload.bucket).create_upload(upload).await
    }

    async fn put_part(
        &self,
        upload: &UploadRef,
        number: u32,
        expect: Expect,
        body: ByteStream,
    ) -> Result<Part> {
        self.of(&upload.bucket).put_part(upload, number, expect, body).await
    }

    async fn parts(&self, upload: &UploadRef, after: u32, limit: u32) -> Result<PartListing> {
        self.of(&upload.bucket).parts(upload, after, limit).await
    }

    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<(String, String)>,
        limit: u32,
    ) -> Result<UploadListing> {
        self.of(bucket).uploads(bucket, prefix, after, limit).await
    }

    async fn complete_upload(&self, upload: &UploadRef, completion: Completion) -> Result<ObjectMeta> {
        self.of(&upload.bucket).complete_upload(upload, completion).await
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.of(&upload.bucket).abort_upload(upload).await
    }
}
