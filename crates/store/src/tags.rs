use std::collections::BTreeMap;

use sqlx::{Row, Sqlite, Transaction};

use crate::{Store, StoreError};

/// Most tags a resource can carry.
pub const MAX_TAGS: usize = 200;

impl Store {
    /// Tags of a resource (by its ARN), in the order of their keys. Empty for a resource nobody tagged.
    pub async fn tags(&self, resource: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let rows = sqlx::query("SELECT tag_key, value FROM tags WHERE resource = $1 ORDER BY tag_key")
            .bind(resource)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("tag_key")?, row.try_get("value")?))).collect()
    }

    /// Adds tags; a key that is there gets the new value.
    pub async fn tag(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        write_tags(&mut transaction, resource, tags).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes tags by key; keys that are not there are no error.
    pub async fn untag(&self, resource: &str, keys: &[String]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        for key in keys {
            sqlx::query("DELETE FROM tags WHERE resource = $1 AND tag_key = $2")
                .bind(resource)
                .bind(key)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

pub(crate) async fn write_tags(
    transaction: &mut Transaction<'_, Sqlite>,
    resource: &str,
    tags: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    for (key, value) in tags {
        sqlx::query(
            "INSERT INTO tags (resource, tag_key, value) VALUES ($1, $2, $3) \
             ON CONFLICT (resource, tag_key) DO UPDATE SET value = excluded.value",
        )
        .bind(resource)
        .bind(key)
        .bind(value)
        .execute(&mut **transaction)
        .await?;
    }
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM tags WHERE resource = $1")
        .bind(resource)
        .fetch_one(&mut **transaction)
        .await?;
    if usize::try_from(count).unwrap_or(usize::MAX) > MAX_TAGS {
        return Err(StoreError::TooManyTags { limit: MAX_TAGS });
    }
    Ok(())
}
