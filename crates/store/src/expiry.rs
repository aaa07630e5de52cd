//! Records that nobody comes back to: conversations, sessions and runs of all kinds, which have an age at which they go.

use crate::resources::within;
use crate::{Record, Row, Scope, Store, StoreError, Transaction, values};

/// Records that are deleted together, and what one of them means to writers that wait.
const BATCH: i64 = 50;

type Lives<'a> = &'a (dyn Fn(&Record) -> bool + Send + Sync);
type TagsOf<'a> = &'a (dyn Fn(&Scope, &str) -> String + Send + Sync);

/// A kind of records that go some time after they were last written.
#[derive(Clone, Copy)]
pub struct Ageing<'a> {
    kind: &'static str,
    before_ms: i64,
    children: &'a [&'static str],
    lives: Option<Lives<'a>>,
    tags_of: Option<TagsOf<'a>>,
}

impl<'a> Ageing<'a> {
    /// What was last written before `before_ms`, milliseconds since the Unix epoch.
    pub fn of(kind: &'static str, before_ms: i64) -> Self {
        Self { kind, before_ms, children: &[], lives: None, tags_of: None }
    }

    /// With the records of these kinds whose ids begin with the record's own and a `/`.
    pub fn with_children(self, children: &'a [&'static str]) -> Self {
        Self { children, ..self }
    }

    /// Except what lives still, however old it is.
    pub fn unless(self, lives: Lives<'a>) -> Self {
        Self { lives: Some(lives), ..self }
    }

    /// With its tags, which are kept under this.
    pub fn with_tags(self, tags_of: TagsOf<'a>) -> Self {
        Self { tags_of: Some(tags_of), ..self }
    }
}

/// A record, and when it was last written.
#[derive(Debug, Clone)]
struct Old {
    scope: Scope,
    id: String,
    updated_ms: i64,
}

fn old(kind: &'static str, row: &Row) -> Result<Old, StoreError> {
    let (account, region): (String, String) = (row.get("account")?, row.get("region")?);
    let scope = Scope::new(kind, account, region);
    Ok(Old { scope, id: row.get("id")?, updated_ms: row.get("updated_ms")? })
}

impl Store {
    /// Deletes the old records of a kind, in every account and region, a few at a time until none is left. It is done
    /// now and then, beside everything else: what goes wrong is logged, and done the next time.
    pub async fn forget_old(&self, ageing: &Ageing<'_>) {
        if let Err(error) = self.try_forget_old(ageing).await {
            tracing::warn!(%error, kind = ageing.kind, "old records could not be deleted");
        }
    }

    async fn try_forget_old(&self, ageing: &Ageing<'_>) -> Result<(), StoreError> {
        let mut last = None;
        loop {
            let batch = self.old(ageing, last.as_ref()).await?;
            let Some(end) = batch.last().cloned() else { return Ok(()) };
            let mut over = Vec::with_capacity(batch.len());
            for old in batch {
                if self.is_over(ageing, &old).await {
                    over.push(old);
                }
            }
            if !over.is_empty() {
                let mut transaction = self.begin().await?;
                for old in &over {
                    transaction.forget(ageing, old).await?;
                }
                transaction.commit_unflushed().await?;
            }
            last = Some(end);
        }
    }

    /// The next of the old records, the oldest first; their bodies are not read.
    async fn old(&self, ageing: &Ageing<'_>, last: Option<&Old>) -> Result<Vec<Old>, StoreError> {
        let sql = "SELECT account, region, id, updated_ms FROM resources WHERE kind = $1 AND updated_ms < $2 \
                   AND (updated_ms, account, region, id) > ($3, $4, $5, $6) \
                   ORDER BY updated_ms, account, region, id LIMIT $7";
        let (updated_ms, account, region, id) = match last {
            Some(Old { scope, id, updated_ms }) => (*updated_ms, &*scope.account, &*scope.region, &**id),
            None => (i64::MIN, "", "", ""),
        };
        let values = values![ageing.kind, ageing.before_ms, updated_ms, account, region, id, BATCH];
        self.fetch_all(sql, &values).await?.iter().map(|row| old(ageing.kind, row)).collect()
    }

    async fn is_over(&self, ageing: &Ageing<'_>, old: &Old) -> bool {
        let Some(lives) = ageing.lives else { return true };
        match self.get(&old.scope, &old.id).await {
            Ok(record) => record.is_some_and(|record| !lives(&record)),
            Err(error) => {
                tracing::warn!(%error, kind = ageing.kind, id = old.id, "an old record could not be read");
                false
            }
        }
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

    /// Deletes all records of a scope whose ids begin so; how many there were. For kinds whose records have neither tags
    /// nor tokens nor versions.
    pub async fn delete_within(&mut self, scope: &Scope, prefix: &str) -> Result<u64, StoreError> {
        let sql = "DELETE FROM resources WHERE kind = $1 AND account = $2 AND region = $3 \
                   AND id >= $4 AND substr(id, 1, length($4)) = $4";
        self.execute(sql, &within(scope, values![prefix])).await
    }

    /// Deletes an old record with all that belongs to it, unless it was written meanwhile.
    async fn forget(&mut self, ageing: &Ageing<'_>, old: &Old) -> Result<(), StoreError> {
        let Old { scope, id, updated_ms } = old;
        let sql = "DELETE FROM resources WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4 \
                   AND updated_ms = $5";
        if self.execute(sql, &within(scope, values![id, *updated_ms])).await? == 0 {
            return Ok(());
        }
        for kind in ageing.children {
            let of = Scope::new(kind, &scope.account, &scope.region);
            self.delete_within(&of, &format!("{id}/")).await?;
        }
        let tags_of = ageing.tags_of.map(|tags_of| tags_of(scope, id));
        self.delete(scope, id, tags_of.as_deref()).await.map(drop)
    }
}
