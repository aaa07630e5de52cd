//! Drafts, numbered immutable versions, and aliases: one mechanism for guardrails, prompts, flows and agents.
//!
//! The resource itself (its row in the records) is the draft. [`Transaction::publish`] copies a body under the next
//! number; a number is never given twice, and a version never changes. An alias is a named pointer to a version or to
//! the draft. Everything goes with the resource when that is deleted.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::resources::within;
use crate::{Row, Scope, Store, StoreError, Transaction, values};

/// One immutable version of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// From 1.
    pub number: i64,
    pub body: Json,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
}

/// A named pointer to a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Alias {
    pub id: String,
    /// Unique among the resource's aliases.
    pub name: String,
    /// None: the draft.
    pub number: Option<i64>,
    /// Description and whatever else its kind has.
    pub body: Json,
    /// Milliseconds since the Unix epoch.
    pub created_ms: i64,
    pub updated_ms: i64,
}

fn version(row: &Row) -> Result<Version, StoreError> {
    Ok(Version {
        number: row.get("number")?,
        body: serde_json::from_str(row.get("body")?)?,
        created_ms: row.get("created_ms")?,
    })
}

fn alias(row: &Row) -> Result<Alias, StoreError> {
    Ok(Alias {
        id: row.get("id")?,
        name: row.get("name")?,
        number: row.get("number")?,
        body: serde_json::from_str(row.get("body")?)?,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
    })
}

fn missing(what: &str, id: &str) -> StoreError {
    StoreError::NotFound { kind: what.to_owned(), id: id.to_owned() }
}

fn name_taken(error: StoreError, alias: &Alias) -> StoreError {
    if error.is_unique_violation() {
        return StoreError::NameTaken { kind: "alias".into(), name: alias.name.clone() };
    }
    error
}

impl Store {
    /// Publishes the draft as it is now. NotFound when there is none.
    pub async fn publish_draft(&self, scope: &Scope, id: &str, now_ms: i64) -> Result<Version, StoreError> {
        let mut transaction = self.begin().await?;
        let draft = transaction.get(scope, id).await?.ok_or_else(|| missing(scope.kind, id))?;
        let version = transaction.publish(scope, id, draft.body, now_ms).await?;
        transaction.commit().await?;
        Ok(version)
    }

    pub async fn version(&self, scope: &Scope, id: &str, number: i64) -> Result<Option<Version>, StoreError> {
        let row = self
            .fetch_optional(
                "SELECT number, body, created_ms FROM versions \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND number = $5",
                &within(scope, values![id, number]),
            )
            .await?;
        row.as_ref().map(version).transpose()
    }

    /// Whether there is a version, without its body.
    pub async fn has_version(&self, scope: &Scope, id: &str, number: i64) -> Result<bool, StoreError> {
        let sql = "SELECT number FROM versions \
                   WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND number = $5";
        Ok(self.fetch_optional(sql, &within(scope, values![id, number])).await?.is_some())
    }

    /// All versions, the oldest first.
    pub async fn list_versions(&self, scope: &Scope, id: &str) -> Result<Vec<Version>, StoreError> {
        let rows = self
            .fetch_all(
                "SELECT number, body, created_ms FROM versions \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 ORDER BY number",
                &within(scope, values![id]),
            )
            .await?;
        rows.iter().map(version).collect()
    }

    /// The highest number of each resource of a scope that has versions.
    pub async fn latest_versions(&self, scope: &Scope) -> Result<BTreeMap<String, i64>, StoreError> {
        let sql = "SELECT resource_id, MAX(number) AS number FROM versions \
                   WHERE kind = $1 AND account = $2 AND region = $3 GROUP BY resource_id";
        let rows = self.fetch_all(sql, &within(scope, values![])).await?;
        rows.iter().map(|row| Ok((row.get("resource_id")?, row.get("number")?))).collect()
    }

    pub async fn create_alias(&self, scope: &Scope, id: &str, new: &Alias) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.create_alias(scope, id, new).await?;
        transaction.commit().await
    }

    pub async fn alias(&self, scope: &Scope, id: &str, alias_id: &str) -> Result<Option<Alias>, StoreError> {
        let row = self
            .fetch_optional(
                "SELECT id, name, number, body, created_ms, updated_ms FROM aliases \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND id = $5",
                &within(scope, values![id, alias_id]),
            )
            .await?;
        row.as_ref().map(alias).transpose()
    }

    /// Aliases in the order of their ids.
    pub async fn list_aliases(&self, scope: &Scope, id: &str) -> Result<Vec<Alias>, StoreError> {
        let rows = self.fetch_all(ALIASES, &within(scope, values![id])).await?;
        rows.iter().map(alias).collect()
    }

    /// Replaces an alias's name, pointer and body. NotFound when there is none.
    pub async fn update_alias(&self, scope: &Scope, id: &str, new: &Alias) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.update_alias(scope, id, new).await?;
        transaction.commit().await
    }

    /// False when it is not there.
    pub async fn delete_alias(&self, scope: &Scope, id: &str, alias_id: &str) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let deleted = transaction.delete_alias(scope, id, alias_id).await?;
        transaction.commit().await?;
        Ok(deleted)
    }

    /// The numbers of all versions, ascending, without their bodies.
    pub async fn version_numbers(&self, scope: &Scope, id: &str) -> Result<Vec<i64>, StoreError> {
        numbers(&self.fetch_all(NUMBERS, &within(scope, values![id])).await?)
    }
}

const NUMBERS: &str = "SELECT number FROM versions \
                       WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 ORDER BY number";
const ALIASES: &str = "SELECT id, name, number, body, created_ms, updated_ms FROM aliases \
                       WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 ORDER BY id";

fn numbers(rows: &[Row]) -> Result<Vec<i64>, StoreError> {
    rows.iter().map(|row| row.get("number")).collect()
}

impl Transaction {
    /// Keeps `body` as the resource's next version.
    pub async fn publish(
        &mut self,
        scope: &Scope,
        id: &str,
        body: Json,
        now_ms: i64,
    ) -> Result<Version, StoreError> {
        let rows = self
            .fetch_all(
                "INSERT INTO version_counters (kind, account, region, resource_id, last) VALUES ($1, $2, $3, $4, 1) \
                 ON CONFLICT (kind, account, region, resource_id) DO UPDATE SET last = version_counters.last + 1 \
                 RETURNING last",
                &within(scope, values![id]),
            )
            .await?;
        let number: i64 = rows.first().map_or(Ok(1), |row| row.get("last"))?;
        self.execute(
            "INSERT INTO versions (kind, account, region, resource_id, number, body, created_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &within(scope, values![id, number, serde_json::to_string(&body)?, now_ms]),
        )
        .await?;
        Ok(Version { number, body, created_ms: now_ms })
    }

    /// False when it is not there. Aliases that point at it are the caller's to ask for first.
    pub async fn delete_version(&mut self, scope: &Scope, id: &str, number: i64) -> Result<bool, StoreError> {
        let deleted = self
            .execute(
                "DELETE FROM versions \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND number = $5",
                &within(scope, values![id, number]),
            )
            .await?;
        Ok(deleted > 0)
    }

    /// Ids of the aliases that point at a version.
    pub async fn aliases_of(
        &mut self,
        scope: &Scope,
        id: &str,
        number: i64,
    ) -> Result<Vec<String>, StoreError> {
        let rows = self
            .fetch_all(
                "SELECT id FROM aliases \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND number = $5 ORDER BY id",
                &within(scope, values![id, number]),
            )
            .await?;
        rows.iter().map(|row| row.get("id")).collect()
    }

    /// NotFound when the version it points at is not there, NameTaken when another alias has the name.
    pub async fn create_alias(&mut self, scope: &Scope, id: &str, new: &Alias) -> Result<(), StoreError> {
        self.check_target(scope, id, new.number).await?;
        let body = serde_json::to_string(&new.body)?;
        self.execute(
            "INSERT INTO aliases (kind, account, region, resource_id, id, name, number, body, created_ms, updated_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &within(
                scope,
                values![id, &new.id, &new.name, new.number, body, new.created_ms, new.updated_ms],
            ),
        )
        .await
        .map_err(|error| name_taken(error, new))?;
        Ok(())
    }

    /// As [`Store::list_aliases`].
    pub async fn list_aliases(&mut self, scope: &Scope, id: &str) -> Result<Vec<Alias>, StoreError> {
        self.fetch_all(ALIASES, &within(scope, values![id])).await?.iter().map(alias).collect()
    }

    /// As [`Store::version_numbers`].
    pub async fn version_numbers(&mut self, scope: &Scope, id: &str) -> Result<Vec<i64>, StoreError> {
        numbers(&self.fetch_all(NUMBERS, &within(scope, values![id])).await?)
    }

    /// As [`Store::update_alias`].
    pub async fn update_alias(&mut self, scope: &Scope, id: &str, new: &Alias) -> Result<(), StoreError> {
        self.check_target(scope, id, new.number).await?;
        let body = serde_json::to_string(&new.body)?;
        let updated = self
            .execute(
                "UPDATE aliases SET name = $6, number = $7, body = $8, updated_ms = $9 \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND id = $5",
                &within(scope, values![id, &new.id, &new.name, new.number, body, new.updated_ms]),
            )
            .await
            .map_err(|error| name_taken(error, new))?;
        if updated == 0 { Err(missing("alias", &new.id)) } else { Ok(()) }
    }

    /// False when it is not there.
    pub async fn delete_alias(
        &mut self,
        scope: &Scope,
        id: &str,
        alias_id: &str,
    ) -> Result<bool, StoreError> {
        let deleted = self
            .execute(
                "DELETE FROM aliases \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND id = $5",
                &within(scope, values![id, alias_id]),
            )
            .await?;
        Ok(deleted > 0)
    }

    async fn check_target(&mut self, scope: &Scope, id: &str, number: Option<i64>) -> Result<(), StoreError> {
        let Some(number) = number else { return Ok(()) };
        let found = self
            .fetch_optional(
                "SELECT number FROM versions \
                 WHERE kind = $1 AND account = $2 AND region = $3 AND resource_id = $4 AND number = $5",
                &within(scope, values![id, number]),
            )
            .await?;
        found.map(|_| ()).ok_or_else(|| missing("version", &number.to_string()))
    }
}
