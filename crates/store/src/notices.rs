//! Word between servers that share a PostgreSQL database: one says that something has changed, the others hear it at
//! once. A notice is a hint and may be lost with a connection; who depends on it looks now and then by itself.

use sqlx::postgres::PgListener;

use crate::{Database, Store, StoreError, Transaction, values};

/// What others have said on one channel since this began to listen.
#[derive(Debug)]
pub struct Notices(PgListener);

impl Store {
    /// Begins to listen; `None` where the records are this process's alone. Holds one connection.
    pub async fn notices(&self, channel: &str) -> Result<Option<Notices>, StoreError> {
        let Database::Postgres(pool) = &self.database else { return Ok(None) };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(channel).await?;
        Ok(Some(Notices(listener)))
    }
}

impl Notices {
    /// Waits for the next notice. A connection that broke is made anew and counts as one, for what was missed.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        self.0.try_recv().await?;
        Ok(())
    }
}

impl Transaction {
    /// Says on a channel, when and if this is committed, that something has changed.
    pub async fn notify(&mut self, channel: &str) -> Result<(), StoreError> {
        if self.is_shared() {
            self.fetch_all("SELECT CAST(pg_notify($1, '') AS TEXT) AS said", &values![channel]).await?;
        }
        Ok(())
    }
}
