//! The statements on the objects' tables, and what their rows say.

use craton_store::{Row, Store, Transaction, Value, values};
use serde::{Deserialize, Serialize};

use crate::checksum::{Algorithm, Checksum};
use crate::types::{Attributes, Bucket, ObjectMeta, Part, Tags, Versioning};
use crate::{ObjectError, Result};

/// The version id of what was written while versioning was not on.
pub(super) const NULL_VERSION: &str = "null";

/// A version of an object or a delete marker.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) seq: i64,
    pub(super) version_id: String,
    pub(super) latest: bool,
    pub(super) delete_marker: bool,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) modified_ms: i64,
    pub(super) blob: Option<Blob>,
    pub(super) upload_id: Option<String>,
    pub(super) detail: Detail,
    pub(super) tags: Tags,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Detail {
    pub(super) attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<Checksum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<u32>,
}

/// What an open upload remembers until it is completed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct UploadDetail {
    pub(super) attributes: Attributes,
    pub(super) tags: Tags,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) full_object: bool,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blob {
    /// A content file.
    File(String),
    /// A row of `object_contents`.
    Row(String),
}

impl Blob {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text.split_at_checked(1) {
            Some(("f", id)) => Ok(Self::File(id.to_owned())),
            Some(("i", id)) => Ok(Self::Row(id.to_owned())),
            _ => Err(ObjectError::Corrupt("a content's place is neither a file nor a row".into())),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::File(id) => format!("f{id}"),
            Self::Row(id) => format!("i{id}"),
        }
    }
}

/// A part of an upload with its place.
#[derive(Debug, Clone)]
pub(super) struct PlacedPart {
    pub(super) part: Part,
    pub(super) blob: Blob,
}

impl Version {
    pub(super) fn read(row: &Row) -> Result<Self> {
        let blob: Option<&str> = row.get("blob")?;
        let tags: Option<&str> = row.get("tags")?;
        Ok(Self {
            seq: row.get("seq")?,
            version_id: row.get("version_id")?,
            latest: row.get("latest")?,
            delete_marker: row.get("delete_marker")?,
            size: unsigned(row.get("size")?),
            etag: row.get("etag")?,
            modified_ms: row.get("modified_ms")?,
            blob: blob.map(Blob::parse).transpose()?,
            upload_id: row.get("upload_id")?,
            detail: serde_json::from_str(row.get("detail")?)?,
            tags: tags.map(serde_json::from_str).transpose()?.unwrap_or_default(),
        })
    }

    /// As the seam says it. `versioned`: the bucket's versioning is or was on.
    pub(super) fn meta(&self, key: &str, versioned: bool) -> ObjectMeta {
        ObjectMeta {
            key: key.to_owned(),
            version_id: versioned.then(|| self.version_id.clone()),
            size: self.size,
            etag: self.etag.clone(),
            modified_ms: self.modified_ms,
            attributes: self.detail.attributes.clone(),
            checksum: self.detail.checksum.clone(),
            parts: self.detail.parts,
            tag_count: u32::try_from(self.tags.len()).unwrap_or(u32::MAX),
        }
    }

    pub(super) async fn insert(&self, transaction: &mut Transaction, bucket: &str, key: &str) -> Result<()> {
        let tags = match self.tags.is_empty() {
            true => None,
            false => Some(serde_json::to_string(&self.tags)?),
        };
        transaction
            .execute(
                "INSERT INTO objects (bucket, object_key, seq, version_id, latest, delete_marker, size, etag, \
                 modified_ms, blob, upload_id, detail, tags) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                &values![
                    bucket,
                    key,
                    self.seq,
                    &self.version_id,
                    self.latest,
                    self.delete_marker,
                    signed(self.size),
                    &self.etag,
                    self.modified_ms,
                    self.blob.as_ref().map(Blob::text),
                    &self.upload_id,
                    serde_json::to_string(&self.detail)?,
                    tags
                ],
            )
            .await?;
        Ok(())
    }
}

pub(super) fn read_bucket(row: &Row) -> Result<Bucket> {
    let versioning = match row.get::<&str>("versioning")? {
        "off" => Versioning::Off,
        "enabled" => Versioning::Enabled,
        "suspended" => Versioning::Suspended,
        other => return Err(ObjectError::Corrupt(format!("a bucket's versioning is '{other}'"))),
    };
    Ok(Bucket {
        name: row.get("name")?,
        region: row.get("region")?,
        created_ms: row.get("created_ms")?,
        versioning,
    })
}

pub(super) fn versioning_text(versioning: Versioning) -> &'static str {
    match versioning {
        Versioning::Off => "off",
        Versioning::Enabled => "enabled",
        Versioning::Suspended => "suspended",
    }
}

const BUCKET: &str = "SELECT name, region, created_ms, versioning FROM object_buckets WHERE name = $1";

pub(super) async fn bucket(store: &Store, name: &str) -> Result<Bucket> {
    let row = store.fetch_optional(BUCKET, &values![name]).await?;
    row.as_ref().map(read_bucket).transpose()?.ok_or_else(|| ObjectError::NoSuchBucket(name.to_owned()))
}

pub(super) async fn bucket_in(transaction: &mut Transaction, name: &str) -> Result<Bucket> {
    let row = transaction.fetch_optional(BUCKET, &values![name]).await?;
    row.as_ref().map(read_bucket).transpose()?.ok_or_else(|| ObjectError::NoSuchBucket(name.to_owned()))
}

const LATEST: &str = "SELECT seq, version_id, latest, delete_marker, size, etag, modified_ms, blob, upload_id, detail, \
     tags FROM objects WHERE bucket = $1 AND object_key = $2 AND latest = 1";
const NAMED: &str = "SELECT seq, version_id, latest, delete_marker, size, etag, modified_ms, blob, upload_id, detail, \
     tags FROM objects WHERE bucket = $1 AND object_key = $2 AND version_id = $3";

fn which(bucket: &str, key: &str, version: Option<&str>) -> (&'static str, Vec<Value>) {
    match version {
        None => (LATEST, values![bucket, key].into()),
        Some(version) => (NAMED, values![bucket, key, version].into()),
    }
}

/// The newest version, or the named one.
pub(super) async fn version(
    store: &Store,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Option<Version>> {
    let (sql, values) = which(bucket, key, version);
    store.fetch_optional(sql, &values).await?.as_ref().map(Version::read).transpose()
}

pub(super) async fn version_in(
    transaction: &mut Transaction,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Option<Version>> {
    let (sql, values) = which(bucket, key, version);
    transaction.fetch_optional(sql, &values).await?.as_ref().map(Version::read).transpose()
}

/// Removes a version's row and what hangs on it. Answers the files that no row names once this is committed.
pub(super) async fn remove_version(
    transaction: &mut Transaction,
    bucket: &str,
    key: &str,
    version: &Version,
) -> Result<Vec<String>> {
    transaction
        .execute(
            "DELETE FROM objects WHERE bucket = $1 AND object_key = $2 AND seq = $3",
            &values![bucket, key, version.seq],
        )
        .await?;
    let mut files = Vec::new();
    if let Some(blob) = &version.blob {
        drop_blob(transaction, blob.clone(), &mut files).await?;
    }
    if let Some(upload_id) = &version.upload_id {
        files.extend(remove_parts(transaction, upload_id).await?);
    }
    Ok(files)
}

/// Removes all parts of an upload. Answers their files.
pub(super) async fn remove_parts(transaction: &mut Transaction, upload_id: &str) -> Result<Vec<String>> {
    let rows = transaction
        .fetch_all("DELETE FROM object_parts WHERE upload_id = $1 RETURNING blob", &values![upload_id])
        .await?;
    let mut files = Vec::new();
    for row in rows {
        drop_blob(transaction, Blob::parse(row.get("blob")?)?, &mut files).await?;
    }
    Ok(files)
}

pub(super) async fn drop_blob(
    transaction: &mut Transaction,
    blob: Blob,
    files: &mut Vec<String>,
) -> Result<()> {
    match blob {
        Blob::File(id) => files.push(id),
        Blob::Row(id) => {
            transaction.execute("DELETE FROM object_contents WHERE blob = $1", &values![id]).await?;
        }
    }
    Ok(())
}

pub(super) async fn insert_content(transaction: &mut Transaction, id: &str, content: Vec<u8>) -> Result<()> {
    transaction
        .execute("INSERT INTO object_contents (blob, content) VALUES ($1, $2)", &values![id, content])
        .await?;
    Ok(())
}

/// Bytes that are in a row; `None` when they were replaced since.
pub(super) async fn content(store: &Store, id: &str) -> Result<Option<Vec<u8>>> {
    let row =
        store.fetch_optional("SELECT content FROM object_contents WHERE blob = $1", &values![id]).await?;
    Ok(row.map(|row| row.get("content")).transpose()?)
}

pub(super) fn read_part(row: &Row) -> Result<PlacedPart> {
    let checksum: Option<&str> = row.get("checksum")?;
    Ok(PlacedPart {
        part: Part {
            number: u32::try_from(row.get::<i64>("number")?).unwrap_or(u32::MAX),
            size: unsigned(row.get("size")?),
            etag: row.get("etag")?,
            checksum: checksum.map(serde_json::from_str).transpose()?,
            modified_ms: row.get("modified_ms")?,
        },
        blob: Blob::parse(row.get("blob")?)?,
    })
}

/// Parts of an upload or of the object that came of it, by number.
pub(super) async fn parts(store: &Store, upload_id: &str) -> Result<Vec<PlacedPart>> {
    let rows = store
        .fetch_all(
            "SELECT number, size, etag, checksum, blob, modified_ms FROM object_parts WHERE upload_id = $1 \
             ORDER BY number",
            &values![upload_id],
        )
        .await?;
    rows.iter().map(read_part).collect()
}

/// Whether any row names a content file.
pub(super) async fn names_file(store: &Store, id: &str) -> Result<bool> {
    let row = store
        .fetch_optional(
            "SELECT 1 AS found FROM objects WHERE blob = $1 UNION ALL SELECT 1 FROM object_parts WHERE blob = $1 LIMIT 1",
            &values![Blob::File(id.to_owned()).text()],
        )
        .await?;
    Ok(row.is_some())
}

pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(size: i64) -> u64 {
    u64::try_from(size).unwrap_or_default()
}

/// Whether another writer was faster: the statement would have made two newest versions, or two of one name, or
/// PostgreSQL gave it up for one that it was entangled with.
pub(super) fn is_race(error: &ObjectError) -> bool {
    let ObjectError::Store(craton_store::StoreError::Database(error)) = error else { return false };
    error.as_database_error().is_some_and(|error| {
        let given_up = error.code().is_some_and(|code| matches!(&*code, "40001" | "40P01"));
        error.is_unique_violation() || given_up
    })
}

/// Whether a row is still pointed at: the bucket is not empty, or is gone.
pub(super) fn is_reference(error: &ObjectError) -> bool {
    matches!(error, ObjectError::Store(craton_store::StoreError::Database(error))
        if error.as_database_error().is_some_and(|error| error.is_foreign_key_violation()))
}
