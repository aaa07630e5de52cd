//! Records that nobody comes back to: conversations and sessions of all kinds, which have an age at which they go.

use crate::resources::{read, within};
use crate::{Record, Scope, Store, StoreError, Transaction, values};

impl Store {
    /// Deletes the records of a kind that were last written before `before_ms`, in every account and region. For kinds
    /// whose records have neither tags nor tokens nor versions. It is done beside something else, which does not fail
    /// because of it: what goes wrong is logged, and done the next time.
    pub async fn forget(&self, kind: &str, before_ms: i64) {
        let forget = "DELETE FROM resources WHERE kind = $1 AND updated_ms < $2";
        if let Err(error) = self.execute(forget, &values![kind, before_ms]).await {
            tracing::warn!(%error, kind, "old records could not be deleted");
        }
    }

    /// Records of a kind that were last written before `before_ms`, in every account and region, the oldest first, at most
    /// `limit`.
    pub async fn untouched(
        &self,
        kind: &'static str,
        before_ms: i64,
        limit: u32,
    ) -> Result<Vec<(Scope, Record)>, StoreError> {
        let sql = "SELECT account, region, id, name, body, created_ms, updated_ms, version FROM resources \
                   WHERE kind = $1 AND updated_ms < $2 ORDER BY updated_ms, id LIMIT $3";
        let rows = self.fetch_all(sql, &values![kind, before_ms, i64::from(limit)]).await?;
        let place = |row| -> Result<(Scope, Record), StoreError> {
            let row: &crate::Row = row;
            let (account, region): (String, String) = (row.get("account")?, row.get("region")?);
            Ok((Scope::new(kind, account, region), read(row)?))
        };
        rows.iter().map(place).collect()
    }
}

impl Transaction {
    /// How many records a scope has.
    pub async fn count(&mut self, scope: &Scope) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) AS count FROM resources WHERE kind = $1 AND account = $2 AND region = $3";
        let rows = self.fetch_all(sql, &within(scope, values![])).await?;
        let count: Option<i64> = rows.first().map(|row| row.get("count")).transpose()?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }

    /// Deletes all records of a scope whose ids begin so; how many there were. For the same kinds as [`Store::forget`].
    pub async fn delete_within(&mut self, scope: &Scope, prefix: &str) -> Result<u64, StoreError> {
        let sql = "DELETE FROM resources WHERE kind = $1 AND account = $2 AND region = $3 \
                   AND id >= $4 AND substr(id, 1, length($4)) = $4";
        self.execute(sql, &within(scope, values![prefix])).await
    }
}
