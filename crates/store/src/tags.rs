use std::collections::BTreeMap;

use crate::{Store, StoreError, Transaction, values};

/// Most tags a resource can carry.
pub const MAX_TAGS: usize = 200;

impl Store {
    /// Tags of a resource (by its ARN), in the order of their keys. Empty for a resource nobody tagged.
    pub async fn tags(&self, resource: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let rows = self
            .fetch_all(
                "SELECT tag_key, value FROM tags WHERE resource = $1 ORDER BY tag_key",
                &values![resource],
            )
            .await?;
        rows.iter().map(|row| Ok((row.get("tag_key")?, row.get("value")?))).collect()
    }

    /// Adds tags; a key that is there gets the new value.
    pub async fn tag(&self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        write_tags(&mut transaction, resource, tags).await?;
        transaction.commit().await
    }

    /// Removes tags by key; keys that are not there are no error.
    pub async fn untag(&self, resource: &str, keys: &[String]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for key in keys {
            transaction
                .execute("DELETE FROM tags WHERE resource = $1 AND tag_key = $2", &values![resource, key])
                .await?;
        }
        transaction.commit().await
    }
}

impl Transaction {
    /// As [`Store::tag`], as part of a larger whole.
    pub async fn tag(&mut self, resource: &str, tags: &BTreeMap<String, String>) -> Result<(), StoreError> {
        write_tags(self, resource, tags).await
    }

    /// Removes all tags of a resource that goes.
    pub async fn forget_tags(&mut self, resource: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM tags WHERE resource = $1", &values![resource]).await?;
        Ok(())
    }
}

pub(crate) async fn write_tags(
    transaction: &mut Transaction,
    resource: &str,
    tags: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    for (key, value) in tags {
        transaction
            .execute(
                "INSERT INTO tags (resource, tag_key, value) VALUES ($1, $2, $3) \
                 ON CONFLICT (resource, tag_key) DO UPDATE SET value = excluded.value",
                &values![resource, key, value],
            )
            .await?;
    }
    let rows = transaction
        .fetch_all("SELECT COUNT(*) AS tags FROM tags WHERE resource = $1", &values![resource])
        .await?;
    let count: i64 = rows.first().map_or(Ok(0), |row| row.get("tags"))?;
    if usize::try_from(count).unwrap_or(usize::MAX) > MAX_TAGS {
        return Err(StoreError::TooManyTags { limit: MAX_TAGS });
    }
    Ok(())
}
