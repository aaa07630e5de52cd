use std::sync::Arc;

use sqlx::{Postgres, SqlSafeStr, Sqlite};
use tokio::sync::Notify;

use crate::connection::{execute_postgres, execute_sqlite, fetch_postgres, fetch_sqlite};
use crate::flush::Flush;
use crate::reserve::Lent;
use crate::{Database, Row, StoreError, Value};

/// Writes that happen together or not at all; dropped without [`Transaction::commit`], they never happened.
///
/// After a statement failed, PostgreSQL refuses all further ones: give the transaction up.
#[derive(Debug)]
pub struct Transaction {
    inner: Inner,
    flush: Option<Arc<Flush>>,
    wake: Arc<Notify>,
    enqueued: bool,
    /// Given back when the transaction is over.
    lent: Option<Lent>,
}

#[derive(Debug)]
enum Inner {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(crate) async fn begin(
        database: &Database,
        wake: &Arc<Notify>,
        lent: Option<Lent>,
    ) -> Result<Self, StoreError> {
        let (inner, flush) = match database {
            Database::Sqlite { writer, flush, reserve, .. } => {
                let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
                if let Some(reserve) = reserve {
                    if lent.is_none() {
                        reserve.closed().await;
                    }
                    if let Some(told) = reserve.before_writing(lent.as_ref()) {
                        sqlx::query(told).execute(&mut *transaction).await?;
                    }
                }
                (Inner::Sqlite(transaction), flush.clone())
            }
            Database::Postgres(pool) => (Inner::Postgres(pool.begin().await?), None),
        };
        Ok(Self { inner, flush, wake: Arc::clone(wake), enqueued: false, lent })
    }

    /// Runs a statement. Answers how many rows it changed.
    pub async fn execute(&mut self, sql: impl SqlSafeStr, values: &[Value]) -> Result<u64, StoreError> {
        let sql = sql.into_sql_str();
        match &mut self.inner {
            Inner::Sqlite(transaction) => execute_sqlite(&mut **transaction, sql, values).await,
            Inner::Postgres(transaction) => execute_postgres(&mut **transaction, sql, values).await,
        }
    }

    /// Runs a statement and reads its rows, those of `RETURNING` too.
    pub async fn fetch_all(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let sql = sql.into_sql_str();
        match &mut self.inner {
            Inner::Sqlite(transaction) => fetch_sqlite(&mut **transaction, sql, values).await,
            Inner::Postgres(transaction) => fetch_postgres(&mut **transaction, sql, values).await,
        }
    }

    pub async fn fetch_optional(
        &mut self,
        sql: impl SqlSafeStr,
        values: &[Value],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.fetch_all(sql, values).await?.into_iter().next())
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.inner, Inner::Postgres(_))
    }

    pub(crate) fn has_enqueued(&mut self) {
        self.enqueued = true;
    }

    /// Makes the writes happen. They have reached the disk when this returns.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(transaction) => transaction.commit().await?,
            Inner::Postgres(transaction) => transaction.commit().await?,
        }
        if let Some(flush) = self.flush {
            flush.flush().await?;
        }
        drop(self.lent);
        if self.enqueued {
            self.wake.notify_waiters();
        }
        Ok(())
    }

    /// Makes the writes happen, and does not wait until they have reached the disk: they outlive this process however it
    /// ends, but not the machine's power until something else is committed. For what is written with every request and
    /// is worth less than the wait, such as a conversation's state.
    pub async fn commit_unflushed(mut self) -> Result<(), StoreError> {
        self.flush = None;
        self.commit().await
    }

    /// Undoes everything, and returns when it is undone.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(transaction) => transaction.rollback().await?,
            Inner::Postgres(transaction) => transaction.rollback().await?,
        }
        Ok(())
    }
}
