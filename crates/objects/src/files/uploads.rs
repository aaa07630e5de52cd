//! Uploads in parts. A completed upload's parts stay where they are and become the object: completing costs one
//! transaction, whatever the size.

use craton_store::{Transaction, values};
use futures::FutureExt as _;

use super::FileObjects;
use super::blobs::Received;
use super::rows::{self, Detail, PlacedPart, UploadDetail};
use super::write::{NewVersion, insert, place, retried, to_the_end};
use crate::checksum::{self, Checksum};
use crate::types::{
    ByteStream, CompletedPart, Completion, Expect, ListedUpload, NewUpload, ObjectMeta, Part, PartListing,
    UploadListing, UploadRef, Versioning, WriteCondition,
};
use crate::{ObjectError, Result, names};

pub(super) async fn create(objects: &FileObjects, upload: NewUpload) -> Result<String> {
    names::check_key(&upload.key)?;
    names::check_attributes(&upload.attributes)?;
    names::check_tags(&upload.tags, names::MAX_OBJECT_TAGS)?;
    let NewUpload { bucket, key, attributes, tags, algorithm, full_object } = upload;
    if full_object && algorithm.is_some_and(|algorithm| !algorithm.combines()) {
        let message = "The FULL_OBJECT checksum type can't be used with SHA1 or SHA256";
        return Err(ObjectError::InvalidArgument(message.into()));
    }
    rows::bucket(&objects.store, &bucket).await?;
    let upload_id = uuid::Uuid::new_v4().simple().to_string();
    let detail = serde_json::to_string(&UploadDetail { attributes, tags, algorithm, full_object })?;
    let sql = "INSERT INTO object_uploads (upload_id, bucket, object_key, created_ms, detail) \
               VALUES ($1, $2, $3, $4, $5)";
    let values = values![&upload_id, &bucket, key, objects.clock.now_ms(), detail];
    match objects.store.execute(sql, &values).await.map_err(ObjectError::from) {
        Err(error) if rows::is_reference(&error) => Err(ObjectError::NoSuchBucket(bucket)),
        Err(error) => Err(error),
        Ok(_) => Ok(upload_id),
    }
}

const OPEN: &str =
    "SELECT detail FROM object_uploads WHERE upload_id = $1 AND bucket = $2 AND object_key = $3";

async fn open(objects: &FileObjects, upload: &UploadRef) -> Result<UploadDetail> {
    let values = values![&upload.upload_id, &upload.bucket, &upload.key];
    match objects.store.fetch_optional(OPEN, &values).await? {
        Some(row) => Ok(serde_json::from_str(row.get("detail")?)?),
        None => {
            rows::bucket(&objects.store, &upload.bucket).await?;
            Err(ObjectError::NoSuchUpload(upload.upload_id.clone()))
        }
    }
}

pub(super) async fn put_part(
    objects: &FileObjects,
    upload: &UploadRef,
    number: u32,
    mut expect: Expect,
    body: ByteStream,
) -> Result<Part> {
    if !(1..=names::MAX_PARTS).contains(&number) {
        let message = "Part number must be an integer between 1 and 10000, inclusive";
        return Err(ObjectError::InvalidArgument(message.into()));
    }
    let opened = open(objects, upload).await?;
    expect.algorithm = expect.algorithm.or(opened.algorithm);
    let Received { content, digests } = objects.blobs.receive(body, expect, names::MAX_PUT_BYTES).await?;
    let (blob, inline, pending) = place(content);
    let part = Part {
        number,
        size: digests.length,
        etag: hex::encode(digests.md5),
        checksum: digests.checksum,
        modified_ms: objects.clock.now_ms(),
    };
    let (objects, upload_id) = (objects.clone(), upload.upload_id.clone());
    to_the_end(async move {
        let placed = PlacedPart { part, blob };
        let mut transaction = objects.store.begin().await?;
        let files = replace_part(&mut transaction, &upload_id, &placed, inline).await?;
        let committed = transaction.commit().await;
        if let Some(pending) = pending {
            pending.settle();
        }
        committed?;
        objects.blobs.remove(files).await;
        Ok(placed.part)
    })
    .await
}

async fn replace_part(
    transaction: &mut Transaction,
    upload_id: &str,
    placed: &PlacedPart,
    inline: Option<Vec<u8>>,
) -> Result<Vec<String>> {
    // Also holds the upload's row, so that nobody completes or aborts it in between.
    let held = "UPDATE object_uploads SET created_ms = created_ms WHERE upload_id = $1";
    if transaction.execute(held, &values![upload_id]).await? == 0 {
        return Err(ObjectError::NoSuchUpload(upload_id.to_owned()));
    }
    let mut files = Vec::new();
    let old = "DELETE FROM object_parts WHERE upload_id = $1 AND number = $2 RETURNING blob";
    for row in transaction.fetch_all(old, &values![upload_id, placed.part.number]).await? {
        rows::drop_blob(transaction, rows::Blob::parse(row.get("blob")?)?, &mut files).await?;
    }
    if let (rows::Blob::Row(id), Some(content)) = (&placed.blob, inline) {
        rows::insert_content(transaction, id, content).await?;
    }
    let Part { number, size, etag, checksum, modified_ms } = &placed.part;
    let checksum = checksum.as_ref().map(serde_json::to_string).transpose()?;
    transaction
        .execute(
            "INSERT INTO object_parts (upload_id, number, size, etag, checksum, blob, modified_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &values![
                upload_id,
                *number,
                rows::signed(*size),
                etag,
                checksum,
                placed.blob.text(),
                *modified_ms
            ],
        )
        .await?;
    Ok(files)
}

pub(super) async fn parts(
    objects: &FileObjects,
    upload: &UploadRef,
    after: u32,
    limit: u32,
) -> Result<PartListing> {
    let opened = open(objects, upload).await?;
    let rows = objects
        .store
        .fetch_all(
            "SELECT number, size, etag, checksum, blob, modified_ms FROM object_parts \
             WHERE upload_id = $1 AND number > $2 ORDER BY number LIMIT $3",
            &values![&upload.upload_id, after, limit.saturating_add(1)],
        )
        .await?;
    let parts: Result<Vec<Part>> = rows.iter().map(|row| Ok(rows::read_part(row)?.part)).collect();
    let mut parts = parts?;
    let more = parts.len() > limit as usize;
    parts.truncate(limit as usize);
    let next = parts.last().filter(|_| more).map(|part| part.number);
    Ok(PartListing { parts, next, algorithm: opened.algorithm, full_object: opened.full_object })
}

pub(super) async fn list(
    objects: &FileObjects,
    bucket: &str,
    prefix: &str,
    after: Option<(String, String)>,
    limit: u32,
) -> Result<UploadListing> {
    rows::bucket(&objects.store, bucket).await?;
    let (key, upload_id) = after.unwrap_or_default();
    let texts = [prefix, &key, &upload_id];
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(ObjectError::InvalidArgument("a prefix or marker must not contain NUL".into()));
    }
    let rows = objects
        .store
        .fetch_all(
            "SELECT upload_id, object_key, created_ms, detail FROM object_uploads \
             WHERE bucket = $1 AND substr(object_key, 1, length($2)) = $2 \
             AND (object_key > $3 OR (object_key = $3 AND upload_id > $4)) \
             ORDER BY object_key, upload_id LIMIT $5",
            &values![bucket, prefix, key, upload_id, limit.saturating_add(1)],
        )
        .await?;
    let read = |row: &craton_store::Row| {
        let detail: UploadDetail = serde_json::from_str(row.get("detail")?)?;
        Ok(ListedUpload {
            key: row.get("object_key")?,
            upload_id: row.get("upload_id")?,
            created_ms: row.get("created_ms")?,
            algorithm: detail.algorithm,
            full_object: detail.full_object,
        })
    };
    let mut uploads = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    let more = uploads.len() > limit as usize;
    uploads.truncate(limit as usize);
    let next = uploads.last().filter(|_| more).map(|last| (last.key.clone(), last.upload_id.clone()));
    Ok(UploadListing { uploads, next })
}

pub(super) async fn complete(
    objects: &FileObjects,
    upload: &UploadRef,
    completion: Completion,
) -> Result<ObjectMeta> {
    let wanted = &completion.parts;
    if wanted.is_empty() {
        return Err(ObjectError::InvalidArgument("at least one part must be specified".into()));
    }
    if wanted.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(ObjectError::InvalidPartOrder);
    }
    let (objects, upload) = (objects.clone(), upload.clone());
    to_the_end(async move {
        if let Some(done) = completed_before(&objects, &upload).await? {
            return Ok(done);
        }
        let completing = (objects.clone(), upload.clone(), completion);
        let (completed, _) = retried(&objects, move |transaction| {
            let (objects, upload, completion) = completing.clone();
            async move { complete_in(&objects, transaction, (&upload, completion)).await }.boxed()
        })
        .await;
        match completed {
            Ok((meta, files)) => {
                objects.blobs.remove(files).await;
                Ok(meta)
            }
            // Another call has completed it meanwhile.
            Err(error @ ObjectError::NoSuchUpload(_)) => {
                completed_before(&objects, &upload).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    })
    .await
}

/// Makes an object of an upload, within a transaction. Answers the files that no row names after it.
async fn complete_in(
    objects: &FileObjects,
    transaction: &mut Transaction,
    (upload, completion): (&UploadRef, Completion),
) -> Result<(ObjectMeta, Vec<String>)> {
    let Completion { parts: wanted, condition, checksum, size } = completion;
    // The row goes first: whoever else completes or aborts this upload waits, and then finds nothing.
    let take = "DELETE FROM object_uploads WHERE upload_id = $1 AND bucket = $2 AND object_key = $3 RETURNING detail";
    let values = values![&upload.upload_id, &upload.bucket, &upload.key];
    let row = transaction.fetch_optional(take, &values).await?;
    let row = row.ok_or_else(|| ObjectError::NoSuchUpload(upload.upload_id.clone()))?;
    let detail: UploadDetail = serde_json::from_str(row.get("detail")?)?;
    let rows = transaction
        .fetch_all(
            "SELECT number, size, etag, checksum, blob, modified_ms FROM object_parts WHERE upload_id = $1 \
             ORDER BY number",
            &values![&upload.upload_id],
        )
        .await?;
    let stored = rows.iter().map(rows::read_part).collect::<Result<Vec<_>>>()?;
    let (chosen, dropped) = choose(stored, &wanted)?;
    let mut files = Vec::new();
    for PlacedPart { part, blob } in dropped {
        let gone = "DELETE FROM object_parts WHERE upload_id = $1 AND number = $2";
        transaction.execute(gone, &values![&upload.upload_id, part.number]).await?;
        rows::drop_blob(transaction, blob, &mut files).await?;
    }
    let new = whole(upload, detail, &chosen, condition)?;
    if let Some(expected) = size.filter(|expected| *expected != new.size) {
        return Err(ObjectError::WrongObjectSize { expected, found: new.size });
    }
    if checksum.as_ref().is_some_and(|sum| new.detail.checksum.as_ref() != Some(sum)) {
        return Err(ObjectError::BadDigest { what: "the whole object's checksum" });
    }
    let (meta, replaced) = insert(objects, transaction, new).await?;
    files.extend(replaced);
    Ok((meta, files))
}

/// The object that this upload has become already: a client that did not hear so asks again.
async fn completed_before(objects: &FileObjects, upload: &UploadRef) -> Result<Option<ObjectMeta>> {
    let sql = "SELECT version_id FROM objects WHERE upload_id = $1 AND bucket = $2 AND object_key = $3";
    let values = values![&upload.upload_id, &upload.bucket, &upload.key];
    let Some(row) = objects.store.fetch_optional(sql, &values).await? else { return Ok(None) };
    let name: String = row.get("version_id")?;
    let version = rows::version(&objects.store, &upload.bucket, &upload.key, Some(&name)).await?;
    let versioned = rows::bucket(&objects.store, &upload.bucket).await?.versioning != Versioning::Off;
    Ok(version.map(|version| version.meta(&upload.key, versioned)))
}

/// The parts that were named, in order, and the others.
fn choose(stored: Vec<PlacedPart>, wanted: &[CompletedPart]) -> Result<(Vec<PlacedPart>, Vec<PlacedPart>)> {
    let (mut chosen, mut dropped) = (Vec::with_capacity(wanted.len()), Vec::new());
    let mut wanted = wanted.iter().peekable();
    for placed in stored {
        let Some(one) = wanted.next_if(|one| one.number == placed.part.number) else {
            if let Some(one) = wanted.peek().filter(|one| one.number < placed.part.number) {
                return Err(ObjectError::InvalidPart(one.number));
            }
            dropped.push(placed);
            continue;
        };
        let same_sum = one.checksum.as_ref().is_none_or(|sum| placed.part.checksum.as_ref() == Some(sum));
        if one.etag != placed.part.etag || !same_sum {
            return Err(ObjectError::InvalidPart(one.number));
        }
        chosen.push(placed);
    }
    if let Some(one) = wanted.next() {
        return Err(ObjectError::InvalidPart(one.number));
    }
    let all_but_last = &chosen[..chosen.len().saturating_sub(1)];
    if let Some(small) = all_but_last.iter().find(|placed| placed.part.size < names::MIN_PART_BYTES) {
        return Err(ObjectError::EntityTooSmall { number: small.part.number, limit: names::MIN_PART_BYTES });
    }
    Ok((chosen, dropped))
}

/// The object made of parts.
fn whole(
    upload: &UploadRef,
    detail: UploadDetail,
    parts: &[PlacedPart],
    condition: WriteCondition,
) -> Result<NewVersion> {
    let size = parts.iter().map(|placed| placed.part.size).sum();
    if size > names::MAX_OBJECT_BYTES {
        return Err(ObjectError::EntityTooLarge { size, limit: names::MAX_OBJECT_BYTES });
    }
    let etag = checksum::multipart_etag(parts.iter().map(|placed| placed.part.etag.as_str()));
    let etag = etag.ok_or_else(|| ObjectError::Corrupt("a part's entity tag is not an MD5".into()))?;
    Ok(NewVersion {
        bucket: upload.bucket.clone(),
        key: upload.key.clone(),
        condition,
        size,
        etag,
        blob: None,
        inline: None,
        upload_id: Some(upload.upload_id.clone()),
        detail: Detail {
            checksum: sum_of(&detail, parts),
            attributes: detail.attributes,
            parts: u32::try_from(parts.len()).ok(),
        },
        tags: detail.tags,
    })
}

fn sum_of(detail: &UploadDetail, parts: &[PlacedPart]) -> Option<Checksum> {
    let algorithm = detail.algorithm?;
    let sums = parts.iter().map(|placed| placed.part.checksum.as_ref());
    if detail.full_object {
        checksum::combine(algorithm, sums.zip(parts.iter().map(|placed| placed.part.size)))
    } else {
        checksum::composite(algorithm, sums)
    }
}

pub(super) async fn abort(objects: &FileObjects, upload: &UploadRef) -> Result<()> {
    open(objects, upload).await?;
    abort_by_id(objects, &upload.upload_id).await
}

async fn abort_by_id(objects: &FileObjects, upload_id: &str) -> Result<()> {
    let (objects, upload_id) = (objects.clone(), upload_id.to_owned());
    to_the_end(async move {
        let mut transaction = objects.store.begin().await?;
        let gone = "DELETE FROM object_uploads WHERE upload_id = $1";
        if transaction.execute(gone, &values![&upload_id]).await? == 0 {
            return Err(ObjectError::NoSuchUpload(upload_id));
        }
        let files = rows::remove_parts(&mut transaction, &upload_id).await?;
        transaction.commit().await?;
        objects.blobs.remove(files).await;
        Ok(())
    })
    .await
}

pub(super) async fn expire(objects: &FileObjects, before_ms: i64) -> Result<u64> {
    let sql = "SELECT upload_id FROM object_uploads WHERE created_ms < $1";
    let mut aborted = 0;
    for row in objects.store.fetch_all(sql, &values![before_ms]).await? {
        match abort_by_id(objects, row.get("upload_id")?).await {
            Ok(()) => aborted += 1,
            // Completed or aborted by its owner meanwhile.
            Err(ObjectError::NoSuchUpload(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(aborted)
}
