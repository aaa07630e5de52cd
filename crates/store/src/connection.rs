//! Statements outside of transactions, and the one place that runs a statement on either database.

use sqlx::{Executor, Postgres, SqlSafeStr, SqlStr, Sqlite};

use crate::{Database, Row, Store, StoreError, Transaction, Value, row, value};

impl Store {
    /// Runs one writing statement by itself, durably. Answers how many rows it changed.
    pub async fn execute(&self, sql: impl SqlSafeStr, values: &[Value]) -> Result<u64, StoreError> {
        let sql = sql.into_sql_str();
        match &self.database {
            Database::Sqlite { writer, flush, reserve, .. } => {
                let mut connection = writer.acquire().await?;
                if let Some(reserve) = reserve {
                    reserve.closed().await;
                }
                let changed = execute_sqlite(&mut *connection, sql, values).await?;
                drop(connection);
                if let Some(flush) = flush {
                    flush.flush().await?;
                }
                Ok(changed)
            }
            Database::Postgres(pool) => execute_postgres(pool, sql, values).await,
        }
    }

    /// Runs one reading statement (a writing one with `RETURNING` belongs in a transaction).
    pub async fn fetch_all(&self, sql: impl SqlSafeStr, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into_sql_str();
        match &self.database {
            Database::Sqlite { readers, .. } => fetch_sqlite(readers, sql, values).await,
            Database::Postgres(pool) => fetch_postgres(pool, sql, values).await,
        }
    }

    /// The first row of a reading statement, if it has one.
    pub async fn fetch_optional(
        &self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch_all(sql, values).await?.into_iter().next())
    }

    /// Begins a transaction that writes. On SQLite it holds the one writer: keep it short, and do nothing else that
    /// writes before it ends.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        Transaction::begin(&self.database, &self.enqueued, None).await
    }
}

pub(crate) async fn execute_sqlite<'e, E>(on: E, sql: SqlStr, values: &[Value]) -> Result<u64, StoreError>
where
    E: Executor<'e, Database = Sqlite>,
{
    let query = sqlx::query_with(sql, value::for_sqlite(values)?);
    Ok(query.execute(on).await?.rows_affected())
}

pub(crate) async fn execute_postgres<'e, E>(on: E, sql: SqlStr, values: &[Value]) -> Result<u64, StoreError>
where
    E: Executor<'e, Database = Postgres>,
{
    let query = sqlx::query_with(sql, value::for_postgres(values)?);
    Ok(query.execute(on).await?.rows_affected())
}

pub(crate) async fn fetch_sqlite<'e, E>(on: E, sql: SqlStr, values: &[Value]) -> Result<Vec<Row>, StoreError>
where
    E: Executor<'e, Database = Sqlite>,
{
    let rows = sqlx::query_with(sql, value::for_sqlite(values)?).fetch_all(on).await?;
    Ok(row::from_sqlite(&rows)?)
}

pub(crate) async fn fetch_postgres<'e, E>(
    on: E,
    sql: SqlStr,
    values: &[Value],
) -> Result<Vec<Row>, StoreError>
where
    E: Executor<'e, Database = Postgres>,
{
    let rows = sqlx::query_with(sql, value::for_postgres(values)?).fetch_all(on).await?;
    Ok(row::from_postgres(&rows)?)
}
