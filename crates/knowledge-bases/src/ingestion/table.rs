//! The rows of documents.

use std::collections::HashMap;

use craton_api_bedrock_agent::DocumentStatus;
use craton_store::{Row, Store, StoreError, Transaction, Value, values};

/// Rows read at a time.
const PAGE: i64 = 5_000;

/// What is known of a document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    pub(crate) document: String,
    pub(crate) status: DocumentStatus,
    pub(crate) status_reason: Option<String>,
    pub(crate) fingerprint: String,
    pub(crate) content_hash: String,
    pub(crate) metadata_fingerprint: String,
    pub(crate) settings: String,
    pub(crate) chunks: i64,
    pub(crate) ingestion_job: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub(crate) updated_ms: i64,
}

/// A document that waits to be put in, with what was sent of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    pub(crate) before: Document,
    pub(crate) request: String,
    pub(crate) content: Option<Vec<u8>>,
}

/// The rows of one data source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'a> {
    pub(crate) knowledge_base: &'a str,
    pub(crate) data_source: &'a str,
}

const COLUMNS: &str = "document, status, status_reason, fingerprint, content_hash, metadata_fingerprint, settings, \
                       chunks, ingestion_job, updated_ms";

fn read(row: &Row) -> Result<Document, StoreError> {
    let wrong = || StoreError::Column { name: "status".into() };
    Ok(Document {
        document: row.get("document")?,
        status: row.get::<&str>("status")?.parse().map_err(|_| wrong())?,
        status_reason: row.get("status_reason")?,
        fingerprint: row.get("fingerprint")?,
        content_hash: row.get("content_hash")?,
        metadata_fingerprint: row.get("metadata_fingerprint")?,
        settings: row.get("settings")?,
        chunks: row.get("chunks")?,
        ingestion_job: row.get("ingestion_job")?,
        updated_ms: row.get("updated_ms")?,
    })
}

fn select(columns: &str, rest: &str) -> craton_store::AssertSqlSafe<String> {
    craton_store::AssertSqlSafe(format!(
        "SELECT {columns} FROM kb_documents WHERE knowledge_base = $1 AND data_source = $2 {rest}"
    ))
}

impl Table<'_> {
    fn with<const N: usize>(self, more: [Value; N]) -> Vec<Value> {
        values![self.knowledge_base, self.data_source].into_iter().chain(more).collect()
    }

    /// All documents, by name.
    pub(crate) async fn all(self, store: &Store) -> Result<HashMap<String, Document>, StoreError> {
        let mut all = HashMap::new();
        let mut after = String::new();
        loop {
            let page = self.page(store, &after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after.clone_from(&last.document);
            all.extend(page.into_iter().map(|document| (document.document.clone(), document)));
        }
    }

    /// Documents after one, in the order of their names.
    pub(crate) async fn page(
        self,
        store: &Store,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Document>, StoreError> {
        let sql = select(COLUMNS, "AND document > $3 ORDER BY document LIMIT $4");
        store.fetch_all(sql, &self.with(values![after, limit])).await?.iter().map(read).collect()
    }

    pub(crate) async fn get(self, store: &Store, document: &str) -> Result<Option<Document>, StoreError> {
        let row =
            store.fetch_optional(select(COLUMNS, "AND document = $3"), &self.with(values![document])).await?;
        row.as_ref().map(read).transpose()
    }

    /// Documents in a status, the oldest first.
    pub(crate) async fn in_status(
        self,
        store: &Store,
        status: DocumentStatus,
        limit: i64,
    ) -> Result<Vec<Waiting>, StoreError> {
        let columns = format!("{COLUMNS}, request, content");
        let sql = select(&columns, "AND status = $3 ORDER BY updated_ms, document LIMIT $4");
        let rows = store.fetch_all(sql, &self.with(values![status.as_str(), limit])).await?;
        let waiting = |row: &Row| {
            Ok(Waiting {
                before: read(row)?,
                request: row.get::<Option<String>>("request")?.unwrap_or_default(),
                content: row.get("content")?,
            })
        };
        rows.iter().map(waiting).collect()
    }

    /// Writes a document's row; what was sent of it is no longer needed.
    pub(crate) async fn put(
        self,
        transaction: &mut Transaction,
        document: &Document,
    ) -> Result<(), StoreError> {
        let row = values![
            &document.document,
            document.status.as_str(),
            &document.status_reason,
            &document.fingerprint,
            &document.content_hash,
            &document.metadata_fingerprint,
            &document.settings,
            document.chunks,
            &document.ingestion_job,
            document.updated_ms
        ];
        transaction
            .execute(
                "INSERT INTO kb_documents (knowledge_base, data_source, document, status, status_reason, \
                 fingerprint, content_hash, metadata_fingerprint, settings, chunks, ingestion_job, updated_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                 ON CONFLICT (knowledge_base, data_source, document) DO UPDATE SET status = excluded.status, \
                 status_reason = excluded.status_reason, fingerprint = excluded.fingerprint, \
                 content_hash = excluded.content_hash, metadata_fingerprint = excluded.metadata_fingerprint, \
                 settings = excluded.settings, chunks = excluded.chunks, ingestion_job = excluded.ingestion_job, \
                 request = NULL, content = NULL, updated_ms = excluded.updated_ms",
                &self.with(row),
            )
            .await
            .map(drop)
    }

    /// Has a document wait: what is in the index of it stays until its turn.
    pub(crate) async fn wait(
        self,
        transaction: &mut Transaction,
        document: &str,
        request: (&str, Option<&[u8]>),
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (request, content) = request;
        let row = values![document, DocumentStatus::Starting.as_str(), request, content, now_ms];
        transaction
            .execute(
                "INSERT INTO kb_documents (knowledge_base, data_source, document, status, fingerprint, \
                 content_hash, metadata_fingerprint, settings, chunks, request, content, updated_ms) \
                 VALUES ($1, $2, $3, $4, '', '', '', '', 0, $5, $6, $7) \
                 ON CONFLICT (knowledge_base, data_source, document) DO UPDATE SET status = excluded.status, \
                 status_reason = NULL, request = excluded.request, content = excluded.content, \
                 updated_ms = excluded.updated_ms",
                &self.with(row),
            )
            .await
            .map(drop)
    }

    /// Whether a document still waits for what was read of it, and nothing else was asked of it since.
    pub(crate) async fn still_waits(
        self,
        transaction: &mut Transaction,
        waiting: &Waiting,
    ) -> Result<bool, StoreError> {
        let Waiting { before, request, content } = waiting;
        let row = transaction
            .fetch_optional(
                select("status, request, content", "AND document = $3"),
                &self.with(values![&before.document]),
            )
            .await?;
        let Some(row) = row else { return Ok(false) };
        Ok(row.get::<&str>("status")? == before.status.as_str()
            && row.get::<Option<&str>>("request")?.unwrap_or_default() == request
            && row.get::<Option<&[u8]>>("content")? == content.as_deref())
    }

    /// Nothing is in the index any more of what was.
    pub(crate) async fn lose_index(
        self,
        transaction: &mut Transaction,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        transaction
            .execute(
                "UPDATE kb_documents SET chunks = 0, settings = '', content_hash = '', updated_ms = $3, \
                 status_reason = CASE WHEN status = 'INDEXED' THEN 'its index was deleted' ELSE status_reason END, \
                 status = CASE WHEN status = 'INDEXED' THEN 'FAILED' ELSE status END \
                 WHERE knowledge_base = $1 AND data_source = $2 AND chunks > 0",
                &self.with(values![now_ms]),
            )
            .await
            .map(drop)
    }

    /// Gives a document another status. False when it is not there.
    pub(crate) async fn set_status(
        self,
        transaction: &mut Transaction,
        document: &str,
        status: DocumentStatus,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let changed = transaction
            .execute(
                "UPDATE kb_documents SET status = $4, updated_ms = $5 \
                 WHERE knowledge_base = $1 AND data_source = $2 AND document = $3",
                &self.with(values![document, status.as_str(), now_ms]),
            )
            .await?;
        Ok(changed > 0)
    }

    pub(crate) async fn remove(
        self,
        transaction: &mut Transaction,
        document: &str,
    ) -> Result<(), StoreError> {
        transaction
            .execute(
                "DELETE FROM kb_documents WHERE knowledge_base = $1 AND data_source = $2 AND document = $3",
                &self.with(values![document]),
            )
            .await
            .map(drop)
    }
}
