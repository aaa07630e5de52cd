use craton_core::{Page, PageRequest};
use sqlx::SqlSafeStr;

use crate::tags::write_tags;
use crate::{
    Created, Idempotency, NewRecord, Range, Record, Row, Scope, Store, StoreError, Transaction, Value, values,
};

/// What a name or id that is already there looks like to SQL, and what it means to us.
fn taken(error: StoreError, scope: &Scope, name: &str) -> StoreError {
    if error.is_unique_violation() {
        return StoreError::NameTaken { kind: scope.kind.to_owned(), name: name.to_owned() };
    }
    error
}

fn not_found(scope: &Scope, id: &str) -> StoreError {
    StoreError::NotFound { kind: scope.kind.to_owned(), id: id.to_owned() }
}

pub(crate) fn read(row: &Row) -> Result<Record, StoreError> {
    Ok(Record {
        id: row.get("id")?,
        name: row.get("name")?,
        body: serde_json::from_str(row.get("body")?)?,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
        version: row.get("version")?,
    })
}

/// The scope's three columns, then `more`.
pub(crate) fn within<const N: usize>(scope: &Scope, more: [Value; N]) -> Vec<Value> {
    let scope = values![scope.kind, &scope.account, &scope.region];
    scope.into_iter().chain(more).collect()
}

const GET: &str = "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
                   WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4";
const GET_LOCKED: &str = "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
                          WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4 FOR UPDATE";
const FIND: &str = "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
                    WHERE kind = $1 AND account = $2 AND region = $3 AND name = $4";
const LIST: &str = "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
                    WHERE kind = $1 AND account = $2 AND region = $3 \
                    AND id > $4 AND id >= $5 AND substr(id, 1, length($5)) = $5 ORDER BY id LIMIT $6";

const REVISION: &str =
    "SELECT version FROM resources WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4";

const NEWEST: &str = "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
                      WHERE kind = $1 AND account = $2 AND region = $3 \
                      AND id >= $4 AND substr(id, 1, length($4)) = $4 \
                      AND (created_ms < $5 OR (created_ms = $5 AND id > $6)) \
                      ORDER BY created_ms DESC, id LIMIT $7";

fn range_values(scope: &Scope, range: &Range) -> Vec<Value> {
    let limit = if range.limit == 0 { i64::MAX } else { i64::from(range.limit) };
    within(scope, values![range.after.as_deref().unwrap_or_default(), &range.prefix, limit])
}

/// When the record of a page's token was made, and its id.
fn newest_place(key: &str) -> Option<(i64, String)> {
    let (sorted, id) = key.split_once('/')?;
    Some((i64::MAX.checked_sub(sorted.parse().ok()?)?, id.to_owned()))
}

impl Store {
    /// Creates a resource with its tags and its idempotency token, all or nothing.
    pub async fn create(&self, scope: &Scope, new: NewRecord) -> Result<Created, StoreError> {
        let mut transaction = self.begin().await?;
        let created = transaction.create(scope, new).await?;
        transaction.commit().await?;
        Ok(created)
    }

    pub async fn get(&self, scope: &Scope, id: &str) -> Result<Option<Record>, StoreError> {
        self.one(GET, &within(scope, values![id])).await
    }

    /// How often a record was written, without its body: whether what was read of it before still holds.
    pub async fn revision(&self, scope: &Scope, id: &str) -> Result<Option<i64>, StoreError> {
        let row = self.fetch_optional(REVISION, &within(scope, values![id])).await?;
        row.as_ref().map(|row| row.get("version")).transpose()
    }

    pub async fn find_by_name(&self, scope: &Scope, name: &str) -> Result<Option<Record>, StoreError> {
        self.one(FIND, &within(scope, values![name])).await
    }

    async fn one(&self, sql: impl SqlSafeStr, values: &[Value]) -> Result<Option<Record>, StoreError> {
        self.fetch_optional(sql, values).await?.as_ref().map(read).transpose()
    }

    /// Records of a scope in the order of their ids (by bytes).
    pub async fn list(&self, scope: &Scope, range: &Range) -> Result<Vec<Record>, StoreError> {
        self.fetch_all(LIST, &range_values(scope, range)).await?.iter().map(read).collect()
    }

    /// A page of the records of a scope whose ids begin so, the newest first and those of one moment in the order of their
    /// ids. An index has them in this order: it is read from the page's beginning to its end, with the ids of others that
    /// are as new, and of the records those of the page alone. None where the page's token is none of these.
    pub async fn newest(
        &self,
        scope: &Scope,
        prefix: &str,
        page: &PageRequest,
    ) -> Result<Option<Page<Record>>, StoreError> {
        let Ok(after) = page.after() else { return Ok(None) };
        let after = match after.map(|key| newest_place(&key)) {
            None => (i64::MAX, String::new()),
            Some(Some(place)) => place,
            Some(None) => return Ok(None),
        };
        // One more than the page, to know whether there are more.
        let limit = i64::try_from(page.size() + 1).unwrap_or(i64::MAX);
        let more = values![prefix, after.0, &after.1, limit];
        let rows = self.fetch_all(NEWEST, &within(scope, more)).await?;
        let records: Vec<Record> = rows.iter().map(read).collect::<Result<_, _>>()?;
        let key = |record: &Record| format!("{:020}/{}", i64::MAX - record.created_ms, record.id);
        Ok(page.cut(records, key).ok())
    }

    /// Bodies of all records and versions of a kind, in every account and region: for what must know all that refers to
    /// something.
    pub async fn bodies(&self, kind: &str) -> Result<Vec<serde_json::Value>, StoreError> {
        let sql =
            "SELECT body FROM resources WHERE kind = $1 UNION ALL SELECT body FROM versions WHERE kind = $1";
        let rows = self.fetch_all(sql, &values![kind]).await?;
        rows.iter().map(|row| Ok(serde_json::from_str(row.get("body")?)?)).collect()
    }

    /// Replaces a record's name and body. With `expected_version`, only if nobody changed it since.
    pub async fn update(
        &self,
        scope: &Scope,
        record: &Record,
        expected_version: Option<i64>,
        now_ms: i64,
    ) -> Result<Record, StoreError> {
        let mut transaction = self.begin().await?;
        let updated = transaction.update(scope, record, expected_version, now_ms).await?;
        transaction.commit().await?;
        Ok(updated)
    }

    /// Deletes a resource with its versions, aliases, idempotency tokens and tags (kept under `tags_of`). False when it
    /// is not there.
    pub async fn delete(&self, scope: &Scope, id: &str, tags_of: Option<&str>) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let deleted = transaction.delete(scope, id, tags_of).await?;
        transaction.commit().await?;
        Ok(deleted)
    }
}

/// The same as [`Store`]'s, as part of a larger whole.
impl Transaction {
    pub async fn create(&mut self, scope: &Scope, new: NewRecord) -> Result<Created, StoreError> {
        if let Some(idempotency) = &new.idempotency
            && let Some(answer) = self.claim(scope, &new.id, idempotency, new.now_ms).await?
        {
            return Ok(Created::Repeated(answer));
        }
        self.execute(
            "INSERT INTO resources (kind, account, region, id, name, body, created_ms, updated_ms, version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 1)",
            &within(scope, values![&new.id, &new.name, serde_json::to_string(&new.body)?, new.now_ms]),
        )
        .await
        .map_err(|error| taken(error, scope, new.name.as_deref().unwrap_or(&new.id)))?;
        if let Some((resource, tags)) = &new.tags {
            write_tags(self, resource, tags).await?;
        }
        let NewRecord { id, name, body, now_ms, .. } = new;
        Ok(Created::New(Record { id, name, body, created_ms: now_ms, updated_ms: now_ms, version: 1 }))
    }

    /// Takes the token for this request, or answers what was answered when it was first used. Of two requests at the
    /// same time the second waits here until the first is committed. TokenReused when the first asked for something
    /// else. The token goes with the resource it is kept under.
    ///
    /// [`Self::create`] does this itself. For anything else whose answer is known only once it is done (a published
    /// version's number): do it, claim, and give the transaction up where there is a first answer.
    pub async fn claim(
        &mut self,
        scope: &Scope,
        resource_id: &str,
        idempotency: &Idempotency,
        now_ms: i64,
    ) -> Result<Option<serde_json::Value>, StoreError> {
        let answer = serde_json::to_string(&idempotency.answer)?;
        let claimed = self
            .execute(
                "INSERT INTO idempotency_tokens \
                 (kind, account, region, token, request_hash, resource_id, answer, created_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (kind, account, region, token) DO NOTHING",
                &within(
                    scope,
                    values![&idempotency.token, &idempotency.request_hash, resource_id, answer, now_ms],
                ),
            )
            .await?;
        if claimed > 0 {
            return Ok(None);
        }
        let first = self
            .fetch_optional(
                "SELECT request_hash, answer FROM idempotency_tokens \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND token = $4",
                &within(scope, values![&idempotency.token]),
            )
            .await?;
        let Some(first) = first else { return Err(not_found(scope, resource_id)) };
        if first.get::<&str>("request_hash")? != idempotency.request_hash {
            return Err(StoreError::TokenReused);
        }
        Ok(Some(serde_json::from_str(first.get("answer")?)?))
    }

    /// Forgets the tokens kept under a resource that were first used before `before_ms`: for requests that are many, and
    /// whose answers nobody repeats for long.
    pub async fn forget_tokens(
        &mut self,
        scope: &Scope,
        resource_id: &str,
        before_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM idempotency_tokens WHERE kind = $1 AND account = $2 AND region = $3 \
                   AND resource_id = $4 AND created_ms < $5";
        self.execute(sql, &within(scope, values![resource_id, before_ms])).await.map(drop)
    }

    /// The record, kept from changing until this transaction ends.
    pub async fn get(&mut self, scope: &Scope, id: &str) -> Result<Option<Record>, StoreError> {
        // SQLite's transactions hold the whole database already, and don't know the clause.
        let sql = if self.is_shared() { GET_LOCKED } else { GET };
        self.fetch_optional(sql, &within(scope, values![id])).await?.as_ref().map(read).transpose()
    }

    pub async fn revision(&mut self, scope: &Scope, id: &str) -> Result<Option<i64>, StoreError> {
        let row = self.fetch_optional(REVISION, &within(scope, values![id])).await?;
        row.as_ref().map(|row| row.get("version")).transpose()
    }

    pub async fn list(&mut self, scope: &Scope, range: &Range) -> Result<Vec<Record>, StoreError> {
        self.fetch_all(LIST, &range_values(scope, range)).await?.iter().map(read).collect()
    }

    pub async fn update(
        &mut self,
        scope: &Scope,
        record: &Record,
        expected_version: Option<i64>,
        now_ms: i64,
    ) -> Result<Record, StoreError> {
        let body = serde_json::to_string(&record.body)?;
        let rows = self
            .fetch_all(
                "UPDATE resources SET name = $5, body = $6, updated_ms = $7, version = version + 1 \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4 AND ($8 = 0 OR version = $8) \
                 RETURNING id, name, body, created_ms, updated_ms, version",
                &within(
                    scope,
                    values![&record.id, &record.name, body, now_ms, expected_version.unwrap_or_default()],
                ),
            )
            .await
            .map_err(|error| taken(error, scope, record.name.as_deref().unwrap_or(&record.id)))?;
        match rows.first() {
            Some(row) => read(row),
            None if self.get(scope, &record.id).await?.is_none() => Err(not_found(scope, &record.id)),
            None => Err(StoreError::VersionMismatch { kind: scope.kind.to_owned(), id: record.id.clone() }),
        }
    }

    pub async fn delete(
        &mut self,
        scope: &Scope,
        id: &str,
        tags_of: Option<&str>,
    ) -> Result<bool, StoreError> {
        let of = within(scope, values![id]);
        let deleted = self
            .execute(
                "DELETE FROM resources WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4",
                &of,
            )
            .await?;
        for sql in [
            "DELETE FROM idempotency_tokens \
             WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4",
            "DELETE FROM versions WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4",
            "DELETE FROM version_counters \
             WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4",
            "DELETE FROM aliases WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4",
        ] {
            self.execute(sql, &of).await?;
        }
        if let Some(resource) = tags_of {
            self.forget_tags(resource).await?;
        }
        Ok(deleted > 0)
    }
}
