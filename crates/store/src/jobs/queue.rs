//! The statements of the queue.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::{Ended, Job, JobStatus, NewJob};
use crate::{AssertSqlSafe, Row, Store, StoreError, Transaction, Value, values};

fn read(row: &Row) -> Result<Job, StoreError> {
    let wrong = |name: &str| StoreError::Column { name: name.to_owned() };
    let count = |name: &str| u32::try_from(row.get::<i64>(name)?).map_err(|_| wrong(name));
    let progress: Option<&str> = row.get("progress")?;
    Ok(Job {
        id: row.get("id")?,
        kind: row.get("kind")?,
        exclusive_key: row.get("exclusive_key")?,
        payload: serde_json::from_str(row.get("payload")?)?,
        status: JobStatus::parse(row.get("status")?).ok_or_else(|| wrong("status"))?,
        attempts: count("attempts")?,
        max_attempts: count("max_attempts")?,
        stop_requested: row.get("stop_requested")?,
        progress: progress.map(serde_json::from_str).transpose()?,
        error: row.get("error")?,
        created_ms: row.get("created_ms")?,
        updated_ms: row.get("updated_ms")?,
    })
}

impl Store {
    /// A job by itself; most belong to a row and are enqueued in its transaction.
    pub async fn enqueue(&self, new: NewJob) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.enqueue(new).await?;
        transaction.commit().await
    }

    pub async fn job(&self, id: &str) -> Result<Option<Job>, StoreError> {
        let row = self.fetch_optional("SELECT * FROM jobs WHERE id = $1", &values![id]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Asks a job to stop. False when it is not there or has ended.
    pub async fn request_stop(&self, id: &str) -> Result<bool, StoreError> {
        self.must_write(|mut transaction| async move {
            let asked = transaction.request_stop(id).await?;
            transaction.commit().await?;
            Ok(asked)
        })
        .await
    }

    /// Whether a job of the kind could be claimed now. Cheap: it does not touch the writer.
    pub(super) async fn has_due(&self, kind: &str, now_ms: i64) -> Result<bool, StoreError> {
        let due = self
            .fetch_optional(
                "SELECT id FROM jobs WHERE kind = $1 AND status IN ('queued', 'running') AND due_ms <= $2 LIMIT 1",
                &values![kind, now_ms],
            )
            .await?;
        Ok(due.is_some())
    }

    /// Whether a job of the kind waits for its turn and was asked to stop.
    pub(super) async fn has_stopped(&self, kind: &str) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM jobs WHERE kind = $1 AND status = 'queued' AND stop_requested = 1 LIMIT 1";
        Ok(self.fetch_optional(sql, &values![kind]).await?.is_some())
    }

    /// Takes a job that waits for its turn and was asked to stop, until `until_ms`.
    pub(super) async fn claim_stopped(
        &self,
        kind: &str,
        owner: &str,
        (now_ms, until_ms): (i64, i64),
    ) -> Result<Option<Job>, StoreError> {
        const CLAIM: &str = "UPDATE jobs SET status = 'running', owner = $2, due_ms = $4, updated_ms = $3 \
             WHERE id = (SELECT id FROM jobs WHERE kind = $1 AND status = 'queued' AND stop_requested = 1 \
             ORDER BY id LIMIT 1{SKIP}) RETURNING *";
        self.claim_by(CLAIM.to_owned(), &values![kind, owner, now_ms, until_ms]).await
    }

    /// `{SKIP}` in the statement passes over jobs that another server is taking at this moment.
    async fn claim_by(&self, sql: String, values: &[Value]) -> Result<Option<Job>, StoreError> {
        let sql = sql.replace("{SKIP}", if self.is_shared() { " FOR UPDATE SKIP LOCKED" } else { "" });
        let sql = &sql;
        self.must_write(|mut transaction| async move {
            let row = transaction.fetch_optional(AssertSqlSafe(sql.clone()), values).await?;
            let job = row.as_ref().map(read).transpose()?;
            transaction.commit().await?;
            Ok(job)
        })
        .await
    }

    async fn must_execute(&self, sql: &'static str, values: &[Value]) -> Result<u64, StoreError> {
        self.must_write(|mut transaction| async move {
            let changed = transaction.execute(sql, values).await?;
            transaction.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// Takes the job that has been due longest until `until_ms`, unless it is one of `at_work`. Where that is another
    /// worker's, which fell silent, it says so.
    pub(super) async fn claim(
        &self,
        kind: &str,
        owner: &str,
        (now_ms, until_ms): (i64, i64),
        (at_work, silent): (&[String], &str),
    ) -> Result<Option<Job>, StoreError> {
        const TAKE: &str = "UPDATE jobs SET status = 'running', owner = $2, due_ms = $4, attempts = attempts + 1, \
             updated_ms = $3, error = CASE status WHEN 'running' THEN $5 ELSE error END WHERE id = (SELECT id \
             FROM jobs WHERE kind = $1 AND status IN ('queued', 'running') AND due_ms <= $3";
        const FIRST: &str = " ORDER BY due_ms, id LIMIT 1{SKIP}) RETURNING *";
        let mut parameters = values![kind, owner, now_ms, until_ms, silent].to_vec();
        let mut sql = TAKE.to_owned();
        for id in at_work {
            parameters.push(id.as_str().into());
            let _ = write!(sql, " AND id <> ${}", parameters.len());
        }
        self.claim_by(sql + FIRST, &parameters).await
    }

    /// Makes every lease end now: for a store that nobody else can have open.
    pub(super) async fn end_leases(&self) -> Result<u64, StoreError> {
        self.must_execute("UPDATE jobs SET due_ms = 0 WHERE status = 'running'", &[]).await
    }

    /// Forgets jobs that ended before `before_ms`.
    pub(super) async fn forget_ended(&self, before_ms: i64) -> Result<u64, StoreError> {
        self.must_execute(
            "DELETE FROM jobs WHERE status IN ('succeeded', 'failed', 'stopped') AND updated_ms < $1",
            &values![before_ms],
        )
        .await
    }
}

impl Transaction {
    /// Writes a job that begins once this transaction is committed. JobActive when its exclusive key is taken.
    pub async fn enqueue(&mut self, new: NewJob) -> Result<(), StoreError> {
        let written = self
            .execute(
                "INSERT INTO jobs (id, kind, exclusive_key, payload, status, attempts, max_attempts, due_ms, \
                 stop_requested, created_ms, updated_ms) VALUES ($1, $2, $3, $4, 'queued', 0, $5, $6, 0, $7, $7)",
                &values![
                    &new.id,
                    new.kind,
                    &new.exclusive_key,
                    serde_json::to_string(&new.payload)?,
                    new.max_attempts,
                    new.due_ms,
                    new.now_ms
                ],
            )
            .await;
        self.has_enqueued();
        match (written, new.exclusive_key) {
            (Err(error), Some(key)) if error.is_unique_violation() => {
                Err(StoreError::JobActive { kind: new.kind.to_owned(), key })
            }
            (written, _) => written.map(drop),
        }
    }

    /// Asks a job to stop. False when it is not there or has ended. One that waits for its turn stops at once: a runner
    /// looks for those whatever else it has to do.
    pub async fn request_stop(&mut self, id: &str) -> Result<bool, StoreError> {
        let asked = self
            .execute(
                "UPDATE jobs SET stop_requested = 1 WHERE id = $1 AND status IN ('queued', 'running')",
                &values![id],
            )
            .await?;
        self.has_enqueued();
        Ok(asked > 0)
    }

    /// Jobs of a kind that have not ended.
    pub async fn unfinished(&mut self, kind: &str) -> Result<Vec<Job>, StoreError> {
        let sql = "SELECT * FROM jobs WHERE kind = $1 AND status IN ('queued', 'running') ORDER BY id";
        self.fetch_all(sql, &values![kind]).await?.iter().map(read).collect()
    }

    /// Fails unless `owner` still has the job, and keeps it so until this transaction ends.
    pub(super) async fn hold(&mut self, id: &str, owner: &str) -> Result<(), StoreError> {
        let held = self
            .execute(
                "UPDATE jobs SET owner = owner WHERE id = $1 AND owner = $2 AND status = 'running'",
                &values![id, owner],
            )
            .await?;
        if held == 0 { Err(StoreError::LeaseLost { id: id.to_owned() }) } else { Ok(()) }
    }

    /// Writes how a job ended. LeaseLost when it is not `owner`'s.
    pub(super) async fn end(
        &mut self,
        id: &str,
        owner: &str,
        ended: &Ended,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (status, error) = match ended {
            Ended::Succeeded => (JobStatus::Succeeded, None),
            Ended::Failed(reason) => (JobStatus::Failed, Some(reason.as_str())),
            Ended::Stopped => (JobStatus::Stopped, None),
        };
        let written = self
            .execute(
                "UPDATE jobs SET status = $3, error = $4, owner = NULL, updated_ms = $5 \
                 WHERE id = $1 AND owner = $2 AND status = 'running'",
                &values![id, owner, status.name(), error, now_ms],
            )
            .await?;
        if written == 0 { Err(StoreError::LeaseLost { id: id.to_owned() }) } else { Ok(()) }
    }
}

/// What a worker does with a job that it has.
pub(super) struct Lease<'a> {
    pub(super) store: &'a Store,
    pub(super) id: &'a str,
    pub(super) owner: &'a str,
}

impl Lease<'_> {
    /// Has the lease end at `until_ms`. Answers whether the job was asked to stop; None when the lease is lost.
    pub(super) async fn renew(&self, until_ms: i64) -> Result<Option<bool>, StoreError> {
        let sql = "UPDATE jobs SET due_ms = $3 WHERE id = $1 AND owner = $2 AND status = 'running' \
                   RETURNING stop_requested";
        let values = &values![self.id, self.owner, until_ms];
        let renewed = self.store.must_write(|mut transaction| async move {
            let row = transaction.fetch_optional(sql, values).await?;
            transaction.commit().await?;
            Ok(row)
        });
        renewed.await?.map(|row| row.get("stop_requested")).transpose()
    }

    /// Whether the job was asked to stop, read without touching the writer.
    pub(super) async fn stop_requested(&self) -> Result<bool, StoreError> {
        let row = self
            .store
            .fetch_optional("SELECT stop_requested FROM jobs WHERE id = $1", &values![self.id])
            .await?;
        row.map_or(Ok(false), |row| row.get("stop_requested"))
    }

    pub(super) async fn progress(&self, progress: &Json, now_ms: i64) -> Result<(), StoreError> {
        let written = self
            .store
            .execute(
                "UPDATE jobs SET progress = $3, updated_ms = $4 WHERE id = $1 AND owner = $2 AND status = 'running'",
                &values![self.id, self.owner, serde_json::to_string(progress)?, now_ms],
            )
            .await?;
        if written == 0 { Err(StoreError::LeaseLost { id: self.id.to_owned() }) } else { Ok(()) }
    }

    /// Gives the job back to the queue with what went wrong, if anything did. An attempt that never began its work is
    /// not counted.
    pub(super) async fn give_back(
        &self,
        (error, counted): (Option<&str>, bool),
        (now_ms, due_ms): (i64, i64),
    ) -> Result<(), StoreError> {
        let uncounted = i64::from(!counted);
        self.store
            .must_execute(
                "UPDATE jobs SET status = 'queued', owner = NULL, error = $3, due_ms = $4, updated_ms = $5, \
                 attempts = attempts - $6 WHERE id = $1 AND owner = $2 AND status = 'running'",
                &values![self.id, self.owner, error, due_ms, now_ms, uncounted],
            )
            .await
            .map(drop)
    }
}
