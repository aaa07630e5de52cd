//! Putting, replacing and deleting versions.

use craton_store::{Transaction, values};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::blobs::{Content, Pending, Received};
use super::rows::{self, Blob, Detail, NULL_VERSION, Version};
use super::{FileObjects, read};
use crate::types::{
    Bucket, ByteStream, Copy, Deleted, Expect, GetOptions, ObjectMeta, ObjectRef, Put, Tags, Versioning,
    WriteCondition,
};
use crate::{ObjectError, Result, names};

/// How often a write is tried again that another one overtook (on PostgreSQL; SQLite has one writer).
const ATTEMPTS: usize = 50;

/// A version that is to be put on top of a key.
#[derive(Debug, Clone)]
pub(super) struct NewVersion {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) condition: WriteCondition,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) blob: Option<Blob>,
    /// Bytes to go with a [`Blob::Row`].
    pub(super) inline: Option<Vec<u8>>,
    pub(super) upload_id: Option<String>,
    pub(super) detail: Detail,
    pub(super) tags: Tags,
}

pub(super) async fn put(objects: &FileObjects, put: Put, body: ByteStream) -> Result<ObjectMeta> {
    names::check_key(&put.key)?;
    names::check_attributes(&put.attributes)?;
    names::check_tags(&put.tags, names::MAX_OBJECT_TAGS)?;
    // A body that can't be wanted is not taken in; the transaction looks again.
    let bucket = rows::bucket(&objects.store, &put.bucket).await?;
    let unconditional = put.condition == WriteCondition::default();
    if !unconditional {
        let current = rows::version(&objects.store, &bucket.name, &put.key, None).await?;
        check_condition(&put.condition, current.as_ref(), &put.key)?;
    }
    let Received { content, digests } = objects.blobs.receive(body, put.expect, names::MAX_PUT_BYTES).await?;
    let (blob, inline, pending) = place(content);
    let new = NewVersion {
        bucket: put.bucket,
        key: put.key,
        condition: put.condition,
        size: digests.length,
        etag: hex::encode(digests.md5),
        blob: Some(blob),
        inline,
        upload_id: None,
        detail: Detail { attributes: put.attributes, checksum: digests.checksum, parts: None },
        tags: put.tags,
    };
    commit(objects, new, pending).await
}

/// What a row says of received content.
pub(super) fn place(content: Content) -> (Blob, Option<Vec<u8>>, Option<Pending>) {
    match content {
        Content::Inline(bytes) => (Blob::Row(uuid::Uuid::new_v4().simple().to_string()), Some(bytes), None),
        Content::File(pending) => (Blob::File(pending.id().to_owned()), None, Some(pending)),
    }
}

/// Puts a version on top. Once begun it runs to its end, even when the caller goes away: the row may be there although
/// nobody waited for the news, and then the file must stay.
async fn commit(objects: &FileObjects, new: NewVersion, pending: Option<Pending>) -> Result<ObjectMeta> {
    let objects = objects.clone();
    to_the_end(async move {
        let bucket = new.bucket.clone();
        let inserting = (objects.clone(), new);
        let (done, may_have_committed) = retried(&objects, move |transaction| {
            let (objects, new) = inserting.clone();
            async move { insert(&objects, transaction, new).await }.boxed()
        })
        .await;
        let done = done.map_err(|error| match error {
            error if rows::is_reference(&error) => ObjectError::NoSuchBucket(bucket),
            error => error,
        });
        match pending {
            Some(pending) if may_have_committed => pending.settle(),
            // The file goes with `pending`.
            _ => {}
        }
        let (meta, files) = done?;
        objects.blobs.remove(files).await;
        Ok(meta)
    })
    .await
}

/// Runs a future on its own, so that dropping the caller does not drop it half-way.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.map_err(|error| ObjectError::Io(std::io::Error::other(error)))?
}

/// Work in a transaction, begun again when another write overtakes it (on PostgreSQL). The answer, and whether what was
/// written may be there although the answer is an error: a commit that ended in one.
pub(super) async fn retried<T: Send>(
    objects: &FileObjects,
    work: impl for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T>> + Send,
) -> (Result<T>, bool) {
    retried_on(objects, false, work).await
}

/// The same. `makes_room`: where there is none, it may use what the records keep.
async fn retried_on<T: Send>(
    objects: &FileObjects,
    makes_room: bool,
    work: impl for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T>> + Send,
) -> (Result<T>, bool) {
    let (mut overtaken, mut reserve) = (0, false);
    loop {
        let begun = match reserve {
            true => objects.store.begin_on_reserve().await,
            false => objects.store.begin().await,
        };
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => return (Err(error.into()), false),
        };
        let (error, may_be_there) = match work(&mut transaction).await {
            Ok(done) => match transaction.commit().await {
                Ok(()) => return (Ok(done), true),
                Err(error) => (error.into(), true),
            },
            Err(error) => {
                drop(transaction);
                (error, false)
            }
        };
        if error.is_full() && makes_room && !reserve {
            reserve = true;
            continue;
        }
        if !rows::is_race(&error) || overtaken == ATTEMPTS {
            return (Err(error), may_be_there);
        }
        overtaken += 1;
        step_aside(overtaken).await;
    }
}

/// Lets the writers that were faster finish, so that many on one key do not keep each other from it.
async fn step_aside(overtaken: usize) {
    let spread = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) % 8;
    tokio::time::sleep(std::time::Duration::from_millis(spread * overtaken.min(10) as u64)).await;
}

/// Puts a version on top, within a transaction. Answers the files that no row names after it.
pub(super) async fn insert(
    objects: &FileObjects,
    transaction: &mut Transaction,
    new: NewVersion,
) -> Result<(ObjectMeta, Vec<String>)> {
    let bucket = rows::bucket_in(transaction, &new.bucket).await?;
    let current = rows::version_in(transaction, &new.bucket, &new.key, None).await?;
    check_condition(&new.condition, current.as_ref(), &new.key)?;
    let files = make_room(transaction, &bucket, &new.key, current.as_ref()).await?;
    if let (Some(Blob::Row(id)), Some(content)) = (&new.blob, new.inline) {
        rows::insert_content(transaction, id, content).await?;
    }
    let now_ms = objects.clock.now_ms();
    let seq = next_seq(now_ms, current.as_ref());
    let version = Version {
        seq,
        version_id: new_version_id(bucket.versioning, seq),
        latest: true,
        delete_marker: false,
        size: new.size,
        etag: new.etag,
        modified_ms: now_ms,
        blob: new.blob,
        upload_id: new.upload_id,
        detail: new.detail,
        tags: new.tags,
    };
    version.insert(transaction, &new.bucket, &new.key).await?;
    Ok((version.meta(&new.key, bucket.versioning != Versioning::Off), files))
}

/// Steps the newest version back, and removes the one that a new one replaces.
async fn make_room(
    transaction: &mut Transaction,
    bucket: &Bucket,
    key: &str,
    current: Option<&Version>,
) -> Result<Vec<String>> {
    if current.is_none() {
        return Ok(Vec::new());
    }
    if bucket.versioning != Versioning::Enabled {
        let replaced = match current {
            Some(current) if current.version_id == NULL_VERSION => Some(current.clone()),
            _ => rows::version_in(transaction, &bucket.name, key, Some(NULL_VERSION)).await?,
        };
        if let Some(replaced) = replaced {
            let files = rows::remove_version(transaction, &bucket.name, key, &replaced).await?;
            if replaced.latest {
                return Ok(files);
            }
            step_back(transaction, &bucket.name, key).await?;
            return Ok(files);
        }
    }
    step_back(transaction, &bucket.name, key).await?;
    Ok(Vec::new())
}

async fn step_back(transaction: &mut Transaction, bucket: &str, key: &str) -> Result<()> {
    let sql = "UPDATE objects SET latest = 0 WHERE bucket = $1 AND object_key = $2 AND latest = 1";
    transaction.execute(sql, &values![bucket, key]).await?;
    Ok(())
}

fn next_seq(now_ms: i64, current: Option<&Version>) -> i64 {
    let now = now_ms.saturating_mul(1000);
    current.map_or(now, |current| now.max(current.seq + 1))
}

/// Ids tell their place among a key's versions, so that a page can go on after a version that is gone since.
fn new_version_id(versioning: Versioning, seq: i64) -> String {
    match versioning {
        Versioning::Enabled => {
            let random = uuid::Uuid::new_v4().simple().to_string();
            format!("{seq:016x}{}", &random[..16])
        }
        Versioning::Off | Versioning::Suspended => NULL_VERSION.to_owned(),
    }
}

fn check_condition(condition: &WriteCondition, current: Option<&Version>, key: &str) -> Result<()> {
    let there = current.filter(|version| !version.delete_marker);
    if condition.if_absent && there.is_some() {
        return Err(ObjectError::PreconditionFailed { condition: "If-None-Match" });
    }
    match (&condition.if_match, there) {
        (None, _) => Ok(()),
        (Some(wanted), Some(version)) if wanted.matches(&version.etag) => Ok(()),
        (Some(_), Some(_)) => Err(ObjectError::PreconditionFailed { condition: "If-Match" }),
        (Some(_), None) => Err(ObjectError::NoSuchKey { key: key.to_owned(), delete_marker: None }),
    }
}

pub(super) async fn delete(
    objects: &FileObjects,
    at: ObjectRef,
    condition: WriteCondition,
) -> Result<Deleted> {
    let objects = objects.clone();
    to_the_end(async move {
        let deleting = (objects.clone(), at, condition);
        let (deleted, _) = retried_on(&objects, true, move |transaction| {
            let (objects, at, condition) = deleting.clone();
            async move {
                let bucket = rows::bucket_in(transaction, &at.bucket).await?;
                delete_in(&objects, transaction, &bucket, &at, &condition).await
            }
            .boxed()
        })
        .await;
        let (deleted, files) = deleted?;
        objects.blobs.remove(files).await;
        Ok(deleted)
    })
    .await
}

pub(super) async fn delete_many(
    objects: &FileObjects,
    bucket: &str,
    keys: Vec<(String, Option<String>)>,
) -> Result<Vec<Result<Deleted>>> {
    let objects = objects.clone();
    let bucket = bucket.to_owned();
    to_the_end(async move {
        let mut transaction = objects.store.begin().await?;
        let found = rows::bucket_in(&mut transaction, &bucket).await?;
        let mut answers = Vec::with_capacity(keys.len());
        let mut files = Vec::new();
        let mut broken = None;
        for (key, version) in &keys {
            let at = ObjectRef { bucket: bucket.clone(), key: key.clone(), version: version.clone() };
            let condition = WriteCondition::default();
            match delete_in(&objects, &mut transaction, &found, &at, &condition).await {
                Ok((deleted, more)) => {
                    files.extend(more);
                    answers.push(Ok(deleted));
                }
                // After a statement that failed the transaction is lost; what was refused before it is not.
                Err(error @ ObjectError::Store(_)) => {
                    broken = Some(error);
                    break;
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        let committed = match broken {
            Some(error) => Err(error),
            None => transaction.commit().await.map_err(ObjectError::from),
        };
        match committed {
            Ok(()) => {
                objects.blobs.remove(files).await;
                Ok(answers)
            }
            Err(error) => {
                tracing::debug!(%error, "deleting one by one");
                let mut answers = Vec::with_capacity(keys.len());
                for (key, version) in keys {
                    let at = ObjectRef { bucket: bucket.clone(), key, version };
                    answers.push(Box::pin(delete(&objects, at, WriteCondition::default())).await);
                }
                Ok(answers)
            }
        }
    })
    .await
}

/// Deletes within a transaction. Answers the files that no row names after it.
async fn delete_in(
    objects: &FileObjects,
    transaction: &mut Transaction,
    bucket: &Bucket,
    at: &ObjectRef,
    condition: &WriteCondition,
) -> Result<(Deleted, Vec<String>)> {
    names::check_key(&at.key)?;
    let current = rows::version_in(transaction, &bucket.name, &at.key, None).await?;
    if *condition != WriteCondition::default() {
        check_condition(condition, current.as_ref(), &at.key)?;
    }
    if let Some(name) = &at.version {
        return delete_version(transaction, bucket, &at.key, name).await;
    }
    let files = match bucket.versioning {
        Versioning::Off => {
            let Some(current) = current else { return Ok((Deleted::default(), Vec::new())) };
            let files = rows::remove_version(transaction, &bucket.name, &at.key, &current).await?;
            return Ok((Deleted::default(), files));
        }
        Versioning::Enabled | Versioning::Suspended => {
            make_room(transaction, bucket, &at.key, current.as_ref()).await?
        }
    };
    let now_ms = objects.clock.now_ms();
    let seq = next_seq(now_ms, current.as_ref());
    let marker = Version {
        seq,
        version_id: new_version_id(bucket.versioning, seq),
        latest: true,
        delete_marker: true,
        size: 0,
        etag: String::new(),
        modified_ms: now_ms,
        blob: None,
        upload_id: None,
        detail: Detail::default(),
        tags: Tags::new(),
    };
    marker.insert(transaction, &bucket.name, &at.key).await?;
    Ok((Deleted { version_id: Some(marker.version_id), delete_marker: true }, files))
}

async fn delete_version(
    transaction: &mut Transaction,
    bucket: &Bucket,
    key: &str,
    name: &str,
) -> Result<(Deleted, Vec<String>)> {
    let version_id = Some(name.to_owned());
    let Some(version) = rows::version_in(transaction, &bucket.name, key, Some(name)).await? else {
        return Ok((Deleted { version_id, delete_marker: false }, Vec::new()));
    };
    let files = rows::remove_version(transaction, &bucket.name, key, &version).await?;
    if version.latest {
        transaction
            .execute(
                "UPDATE objects SET latest = 1 WHERE bucket = $1 AND object_key = $2 AND seq = \
                 (SELECT MAX(seq) FROM objects WHERE bucket = $1 AND object_key = $2)",
                &values![&bucket.name, key],
            )
            .await?;
    }
    Ok((Deleted { version_id, delete_marker: version.delete_marker }, files))
}

pub(super) async fn copy(objects: &FileObjects, copy: Copy) -> Result<ObjectMeta> {
    names::check_key(&copy.key)?;
    for _ in 0..ATTEMPTS {
        let (source, _) = read::find(objects, &copy.from).await?;
        copy.conditions.check(&source.etag, source.modified_ms)?;
        let attributes = copy.attributes.clone().unwrap_or_else(|| source.detail.attributes.clone());
        let tags = copy.tags.clone().unwrap_or_else(|| source.tags.clone());
        names::check_attributes(&attributes)?;
        names::check_tags(&tags, names::MAX_OBJECT_TAGS)?;
        let had = source.detail.checksum.as_ref().map(|checksum| checksum.algorithm);
        let same_sum = copy.algorithm.is_none_or(|algorithm| had == Some(algorithm));
        let Some(Blob::File(id)) = source.blob.as_ref().filter(|_| same_sum) else {
            // Small, or in parts: the bytes are read and written again, and get one sum.
            let options = GetOptions { conditions: copy.conditions.clone(), ..GetOptions::default() };
            let from = read::get(objects, &copy.from, options).await?;
            let size = from.meta.size;
            if size > names::MAX_PUT_BYTES {
                return Err(ObjectError::EntityTooLarge { size, limit: names::MAX_PUT_BYTES });
            }
            let had = from.meta.checksum.map(|checksum| checksum.algorithm);
            let algorithm = copy.algorithm.or(had);
            let expect = Expect { size: Some(size), algorithm, ..Expect::default() };
            let Copy { bucket, key, condition, .. } = copy;
            return put(objects, Put { bucket, key, attributes, tags, condition, expect }, from.body).await;
        };
        let pending = match objects.blobs.link(id).await {
            Ok(pending) => pending,
            Err(ObjectError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let new = NewVersion {
            bucket: copy.bucket,
            key: copy.key,
            condition: copy.condition,
            size: source.size,
            etag: source.etag,
            blob: Some(Blob::File(pending.id().to_owned())),
            inline: None,
            upload_id: None,
            detail: Detail { attributes, checksum: source.detail.checksum, parts: None },
            tags,
        };
        return commit(objects, new, Some(pending)).await;
    }
    Err(ObjectError::Corrupt(format!("the content of '{}' is missing", copy.from.key)))
}

pub(super) async fn set_tags(objects: &FileObjects, at: &ObjectRef, tags: Tags) -> Result<()> {
    names::check_tags(&tags, names::MAX_OBJECT_TAGS)?;
    let (version, _) = read::find(objects, at).await?;
    let tags = match tags.is_empty() {
        true => None,
        false => Some(serde_json::to_string(&tags)?),
    };
    let sql = "UPDATE objects SET tags = $4 WHERE bucket = $1 AND object_key = $2 AND seq = $3";
    match objects.store.execute(sql, &values![&at.bucket, &at.key, version.seq, tags]).await? {
        0 => Err(ObjectError::NoSuchKey { key: at.key.clone(), delete_marker: None }),
        _ => Ok(()),
    }
}

pub(super) async fn delete_bucket(objects: &FileObjects, name: &str) -> Result<()> {
    let objects = objects.clone();
    let name = name.to_owned();
    to_the_end(async move {
        let mut transaction = objects.store.begin().await?;
        rows::bucket_in(&mut transaction, &name).await?;
        let object = "SELECT version_id FROM objects WHERE bucket = $1 LIMIT 1";
        if transaction.fetch_optional(object, &values![&name]).await?.is_some() {
            return Err(ObjectError::BucketNotEmpty(name));
        }
        let mut files = Vec::new();
        let open = "DELETE FROM object_uploads WHERE bucket = $1 RETURNING upload_id";
        for row in transaction.fetch_all(open, &values![&name]).await? {
            files.extend(rows::remove_parts(&mut transaction, row.get("upload_id")?).await?);
        }
        let gone = transaction.execute("DELETE FROM object_buckets WHERE name = $1", &values![&name]).await;
        let gone = match gone.map_err(ObjectError::from) {
            Ok(_) => transaction.commit().await.map_err(ObjectError::from),
            Err(error) => Err(error),
        };
        match gone {
            Err(error) if rows::is_reference(&error) => Err(ObjectError::BucketNotEmpty(name)),
            Err(error) => Err(error),
            Ok(()) => {
                objects.blobs.remove(files).await;
                Ok(())
            }
        }
    })
    .await
}
