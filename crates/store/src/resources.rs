use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use crate::tags::write_tags;
use crate::{Created, Idempotency, NewRecord, Range, Record, Scope, Store, StoreError};

/// What a name or id that is already there looks like to SQL, and what it means to us.
fn taken(error: sqlx::Error, scope: &Scope, name: &str) -> StoreError {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() => {
            StoreError::NameTaken { kind: scope.kind.to_owned(), name: name.to_owned() }
        }
        _ => StoreError::Database(error),
    }
}

fn not_found(scope: &Scope, id: &str) -> StoreError {
    StoreError::NotFound { kind: scope.kind.to_owned(), id: id.to_owned() }
}

fn read(row: &SqliteRow) -> Result<Record, StoreError> {
    Ok(Record {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        body: serde_json::from_str(row.try_get("body")?)?,
        created_ms: row.try_get("created_ms")?,
        updated_ms: row.try_get("updated_ms")?,
        version: row.try_get("version")?,
    })
}

impl Store {
    /// Creates a resource with its tags and its idempotency token, all or nothing.
    pub async fn create(&self, scope: &Scope, new: NewRecord) -> Result<Created, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(idempotency) = &new.idempotency
            && let Some(answer) = first_answer(&mut transaction, scope, idempotency).await?
        {
            return Ok(Created::Repeated(answer));
        }
        sqlx::query(
            "INSERT INTO resources (kind, account, region, id, name, body, created_ms, updated_ms, version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 1)",
        )
        .bind(scope.kind)
        .bind(&scope.account)
        .bind(&scope.region)
        .bind(&new.id)
        .bind(&new.name)
        .bind(serde_json::to_string(&new.body)?)
        .bind(new.now_ms)
        .execute(&mut *transaction)
        .await
        .map_err(|error| taken(error, scope, new.name.as_deref().unwrap_or(&new.id)))?;
        if let Some(idempotency) = &new.idempotency {
            remember(&mut transaction, scope, &new, idempotency).await?;
        }
        if let Some((resource, tags)) = &new.tags {
            write_tags(&mut transaction, resource, tags).await?;
        }
        transaction.commit().await?;
        let NewRecord { id, name, body, now_ms, .. } = new;
        Ok(Created::New(Record { id, name, body, created_ms: now_ms, updated_ms: now_ms, version: 1 }))
    }

    pub async fn get(&self, scope: &Scope, id: &str) -> Result<Option<Record>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
             WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4",
        )
        .bind(scope.kind)
        .bind(&scope.account)
        .bind(&scope.region)
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }

    pub async fn find_by_name(&self, scope: &Scope, name: &str) -> Result<Option<Record>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
             WHERE kind = $1 AND account = $2 AND region = $3 AND name = $4",
        )
        .bind(scope.kind)
        .bind(&scope.account)
        .bind(&scope.region)
        .bind(name)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Records of a scope in the order of their ids (by bytes).
    pub async fn list(&self, scope: &Scope, range: &Range) -> Result<Vec<Record>, StoreError> {
        let limit = if range.limit == 0 { i64::MAX } else { i64::from(range.limit) };
        let rows = sqlx::query(
            "SELECT id, name, body, created_ms, updated_ms, version FROM resources \
             WHERE kind = $1 AND account = $2 AND region = $3 \
             AND id > $4 AND id >= $5 AND substr(id, 1, length($5)) = $5 ORDER BY id LIMIT $6",
        )
        .bind(scope.kind)
        .bind(&scope.account)
        .bind(&scope.region)
        .bind(range.after.as_deref().unwrap_or_default())
        .bind(&range.prefix)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Replaces a record's name and body. With `expected_version`, only if nobody changed it since.
    pub async fn update(
        &self,
        scope: &Scope,
        record: &Record,
        expected_version: Option<i64>,
        now_ms: i64,
    ) -> Result<Record, StoreError> {
        let row = sqlx::query(
            "UPDATE resources SET name = $5, body = $6, updated_ms = $7, version = version + 1 \
             WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4 AND ($8 IS NULL OR version = $8) \
             RETURNING id, name, body, created_ms, updated_ms, version",
        )
        .bind(scope.kind)
        .bind(&scope.account)
        .bind(&scope.region)
        .bind(&record.id)
        .bind(&record.name)
        .bind(serde_json::to_string(&record.body)?)
        .bind(now_ms)
        .bind(expected_version)
        .fetch_optional(&self.writer)
        .await
        .map_err(|error| taken(error, scope, record.name.as_deref().unwrap_or(&record.id)))?;
        match row {
            Some(row) => read(&row),
            None if self.get(scope, &record.id).await?.is_none() => Err(not_found(scope, &record.id)),
            None => Err(StoreError::VersionMismatch { kind: scope.kind.to_owned(), id: record.id.clone() }),
        }
    }

    /// Deletes a resource with its tags (kept under `tags_of`) and its idempotency tokens. False when it is not there.
    pub async fn delete(&self, scope: &Scope, id: &str, tags_of: Option<&str>) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let deleted =
            sqlx::query("DELETE FROM resources WHERE kind = $1 AND account = $2 AND region = $3 AND id = $4")
                .bind(scope.kind)
                .bind(&scope.account)
                .bind(&scope.region)
                .bind(id)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        sqlx::query(
            "DELETE FROM idempotency_tokens \
             WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4",
        )
        .bind(scope.kind)
        .bind(&scope.account)
        .bind(&scope.region)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        if let Some(resource) = tags_of {
            sqlx::query("DELETE FROM tags WHERE resource = $1")
                .bind(resource)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(deleted > 0)
    }
}

/// The answer given when this token was first used, if it was.
async fn first_answer(
    transaction: &mut Transaction<'_, Sqlite>,
    scope: &Scope,
    idempotency: &Idempotency,
) -> Result<Option<serde_json::Value>, StoreError> {
    let row = sqlx::query(
        "SELECT request_hash, answer FROM idempotency_tokens \
         WHERE kind = $1 AND account = $2 AND region = $3 AND token = $4",
    )
    .bind(scope.kind)
    .bind(&scope.account)
    .bind(&scope.region)
    .bind(&idempotency.token)
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<String, _>("request_hash")? != idempotency.request_hash {
        return Err(StoreError::TokenReused);
    }
    Ok(Some(serde_json::from_str(row.try_get("answer")?)?))
}

async fn remember(
    transaction: &mut Transaction<'_, Sqlite>,
    scope: &Scope,
    new: &NewRecord,
    idempotency: &Idempotency,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO idempotency_tokens \
         (kind, account, region, token, request_hash, resource_id, answer, created_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(scope.kind)
    .bind(&scope.account)
    .bind(&scope.region)
    .bind(&idempotency.token)
    .bind(&idempotency.request_hash)
    .bind(&new.id)
    .bind(serde_json::to_string(&idempotency.answer)?)
    .bind(new.now_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
