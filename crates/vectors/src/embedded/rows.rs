//! The truth: chunks and their vectors as rows of the records (`0004_chunks.sql`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use craton_core::{IdSource as _, RandomIds};
use craton_store::{AssertSqlSafe, Store, Transaction, Value, values};
use serde::{Deserialize, Serialize};

use crate::{
    Chunk, Counts, DocumentChunks, DocumentKey, IndexSpec, MetadataValue, Parent, SourceLocation, VectorError,
};

/// Rows of one INSERT; nine parameters each, within what both databases take.
const INSERTED_TOGETHER: usize = 200;
/// Rows read together when an index is loaded.
const LOADED_TOGETHER: i64 = 2_000;

/// The rows of one index.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    store: Store,
    id: String,
}

/// A chunk under its number.
#[derive(Debug)]
pub(super) struct Numbered {
    pub number: u64,
    pub chunk: Chunk,
}

/// What a write did.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub sequence: i64,
    /// Chunks taken out.
    pub removed: Vec<u64>,
    /// Documents that had any of those.
    pub removed_documents: u64,
    /// The number of the first chunk put in; the others follow it.
    pub first_added: u64,
}

/// What a write takes out.
pub(super) enum Removal<'a> {
    Documents(&'a [DocumentKey]),
    DataSource { owner: &'a str, data_source: &'a str },
}

/// The parts of a chunk that SQL does not look at.
#[derive(Serialize, Deserialize)]
struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, MetadataValue>,
    location: SourceLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
}

impl Rows {
    /// The rows of an index and its incarnation; begun when there are none.
    pub(super) async fn open(store: &Store, spec: &IndexSpec) -> Result<(Self, String), VectorError> {
        let rows = Self { store: store.clone(), id: spec.id.clone() };
        let dimensions = i64::try_from(spec.dimensions).unwrap_or(i64::MAX);
        let new = values![&spec.id, RandomIds.uuid(), dimensions];
        let begin = "INSERT INTO vector_indexes (id, incarnation, dimensions, last_number, sequence) \
                     VALUES ($1, $2, $3, 0, 0) ON CONFLICT (id) DO NOTHING";
        store.execute(begin, &new).await?;
        let find = "SELECT incarnation, dimensions FROM vector_indexes WHERE id = $1";
        let row = store.fetch_optional(find, &values![&spec.id]).await?.ok_or_else(removed)?;
        let found = usize::try_from(row.get::<i64>("dimensions")?).unwrap_or_default();
        if found != spec.dimensions {
            return Err(VectorError::Dimensions { expected: found, found: spec.dimensions });
        }
        Ok((rows, row.get("incarnation")?))
    }

    /// Names of a collection's indexes, with the length of their vectors.
    pub(super) async fn of_collection(
        store: &Store,
        collection_id: &str,
    ) -> Result<Vec<(String, usize)>, VectorError> {
        // In the order of bytes `0` is next to `/`.
        let within = values![format!("{collection_id}/"), format!("{collection_id}0")];
        let sql = "SELECT id, dimensions FROM vector_indexes WHERE id > $1 AND id < $2 ORDER BY id";
        let rows = store.fetch_all(sql, &within).await?;
        let read = |row: &craton_store::Row| {
            let dimensions = usize::try_from(row.get::<i64>("dimensions")?).unwrap_or_default();
            let name = row.get::<&str>("id")?[collection_id.len() + 1..].to_owned();
            Ok((name, dimensions))
        };
        rows.iter().map(read).collect()
    }

    /// Removes an index. Returns the incarnation whose caches can go.
    pub(super) async fn remove(store: &Store, id: &str) -> Result<Option<String>, VectorError> {
        let mut transaction = store.begin().await?;
        let gone = "DELETE FROM vector_indexes WHERE id = $1 RETURNING incarnation";
        let row = transaction.fetch_optional(gone, &values![id]).await?;
        transaction.execute("DELETE FROM chunks WHERE index_id = $1", &values![id]).await?;
        transaction.commit().await?;
        row.map(|row| row.get("incarnation").map_err(Into::into)).transpose()
    }

    /// The number of changes so far. An index that was removed is an error.
    pub(super) async fn sequence(&self) -> Result<i64, VectorError> {
        let sql = "SELECT sequence FROM vector_indexes WHERE id = $1";
        let row = self.store.fetch_optional(sql, &values![&self.id]).await?.ok_or_else(removed)?;
        Ok(row.get("sequence")?)
    }

    /// Puts documents in place of what was there of them, in one transaction.
    pub(super) async fn put(&self, documents: &[DocumentChunks]) -> Result<Change, VectorError> {
        let keys: Vec<DocumentKey> = documents.iter().map(|document| document.key.clone()).collect();
        let added: Vec<&Chunk> = documents.iter().flat_map(|document| &document.chunks).collect();
        self.change(&Removal::Documents(&keys), &added).await
    }

    /// Takes chunks out, in one transaction.
    pub(super) async fn take_out(&self, removal: &Removal<'_>) -> Result<Change, VectorError> {
        self.change(removal, &[]).await
    }

    async fn change(&self, removal: &Removal<'_>, added: &[&Chunk]) -> Result<Change, VectorError> {
        let count = i64::try_from(added.len()).unwrap_or(i64::MAX);
        let mut transaction = self.store.begin().await?;
        // First, because it makes writers of one index wait for each other: numbers are committed in their order.
        let claim = "UPDATE vector_indexes SET sequence = sequence + 1, last_number = last_number + $2 \
                     WHERE id = $1 RETURNING sequence, last_number";
        let row = transaction.fetch_optional(claim, &values![&self.id, count]).await?.ok_or_else(removed)?;
        let first = row.get::<i64>("last_number")? - count + 1;
        let mut change = Change {
            sequence: row.get("sequence")?,
            first_added: u64::try_from(first).unwrap_or_default(),
            ..Change::default()
        };
        self.delete(&mut transaction, removal, &mut change).await?;
        for (batch, chunks) in (0_i64..).zip(added.chunks(INSERTED_TOGETHER)) {
            let first = first + batch * i64::try_from(INSERTED_TOGETHER).unwrap_or_default();
            self.insert(&mut transaction, first, chunks).await?;
        }
        transaction.commit().await?;
        Ok(change)
    }

    async fn delete(
        &self,
        transaction: &mut Transaction,
        removal: &Removal<'_>,
        change: &mut Change,
    ) -> Result<(), VectorError> {
        match removal {
            Removal::Documents(keys) => {
                let sql = "DELETE FROM chunks WHERE index_id = $1 AND owner = $2 AND data_source = $3 \
                           AND document = $4 RETURNING number";
                for key in *keys {
                    let which = values![&self.id, &key.owner, &key.data_source, &key.document];
                    let rows = transaction.fetch_all(sql, &which).await?;
                    change.removed_documents += u64::from(!rows.is_empty());
                    for row in rows {
                        change.removed.push(unsigned(row.get("number")?));
                    }
                }
            }
            Removal::DataSource { owner, data_source } => {
                let sql = "DELETE FROM chunks WHERE index_id = $1 AND owner = $2 AND data_source = $3 \
                           RETURNING number, document";
                let rows = transaction.fetch_all(sql, &values![&self.id, *owner, *data_source]).await?;
                let mut documents = BTreeSet::new();
                for row in &rows {
                    change.removed.push(unsigned(row.get("number")?));
                    documents.insert(row.get::<&str>("document")?);
                }
                change.removed_documents = u64::try_from(documents.len()).unwrap_or_default();
            }
        }
        Ok(())
    }

    async fn insert(
        &self,
        transaction: &mut Transaction,
        first: i64,
        chunks: &[&Chunk],
    ) -> Result<(), VectorError> {
        let mut sql = "INSERT INTO chunks (index_id, number, owner, data_source, document, chunk_id, text, \
                       details, vector) VALUES "
            .to_owned();
        let mut parameters: Vec<Value> = Vec::with_capacity(chunks.len() * 8 + 1);
        parameters.push(self.id.as_str().into());
        for (number, chunk) in (first..).zip(chunks) {
            let at = parameters.len();
            let separator = if at > 1 { ", " } else { "" };
            let _ = write!(sql, "{separator}($1");
            (at + 1..=at + 8).for_each(|n| {
                let _ = write!(sql, ", ${n}");
            });
            sql.push(')');
            let key = &chunk.document;
            parameters.extend(values![
                number,
                &key.owner,
                &key.data_source,
                &key.document,
                &chunk.id,
                // PostgreSQL's text can't hold the character zero.
                chunk.text.replace('\0', "\u{FFFD}"),
                details(chunk)?,
                to_bytes(&chunk.vector),
            ]);
        }
        transaction.execute(AssertSqlSafe(sql), &parameters).await?;
        Ok(())
    }

    /// The numbers of all chunks, ascending.
    pub(super) async fn numbers(&self) -> Result<Vec<u64>, VectorError> {
        let sql = "SELECT number FROM chunks WHERE index_id = $1 ORDER BY number";
        let rows = self.store.fetch_all(sql, &values![&self.id]).await?;
        rows.iter().map(|row| Ok(unsigned(row.get("number")?))).collect()
    }

    /// Some chunks after a number, in order, with vectors. Empty when there are no more.
    pub(super) async fn after(&self, number: u64) -> Result<Vec<Numbered>, VectorError> {
        let sql = "SELECT number, owner, data_source, document, chunk_id, text, details, vector FROM chunks \
                   WHERE index_id = $1 AND number > $2 ORDER BY number LIMIT $3";
        let rows = self.store.fetch_all(sql, &values![&self.id, signed(number), LOADED_TOGETHER]).await?;
        rows.iter().map(|row| read(row, from_bytes(row.get("vector")?))).collect()
    }

    /// The chunks of a document, in order, with vectors.
    pub(super) async fn of_document(&self, key: &DocumentKey) -> Result<Vec<Numbered>, VectorError> {
        let sql = "SELECT number, owner, data_source, document, chunk_id, text, details, vector FROM chunks \
                   WHERE index_id = $1 AND owner = $2 AND data_source = $3 AND document = $4 ORDER BY number";
        let which = values![&self.id, &key.owner, &key.data_source, &key.document];
        let rows = self.store.fetch_all(sql, &which).await?;
        rows.iter().map(|row| read(row, from_bytes(row.get("vector")?))).collect()
    }

    /// The chunks of these numbers that are still there, without vectors, in any order.
    pub(super) async fn get(&self, numbers: &[u64]) -> Result<Vec<Numbered>, VectorError> {
        let mut found = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(1024) {
            // Few statements, so that the database keeps them prepared: the last number fills up to a power of two.
            let width = numbers.len().next_power_of_two();
            let padded = numbers.iter().chain(std::iter::repeat(&numbers[numbers.len() - 1])).take(width);
            let mut parameters: Vec<Value> = vec![self.id.as_str().into()];
            parameters.extend(padded.map(|number| Value::from(signed(*number))));
            let mut sql = "SELECT number, owner, data_source, document, chunk_id, text, details FROM chunks \
                           WHERE index_id = $1 AND number IN ("
                .to_owned();
            for n in 0..width {
                let _ = write!(sql, "{}${}", if n > 0 { ", " } else { "" }, n + 2);
            }
            sql.push(')');
            let rows = self.store.fetch_all(AssertSqlSafe(sql), &parameters).await?;
            for row in &rows {
                found.push(read(row, Vec::new())?);
            }
        }
        Ok(found)
    }

    pub(super) async fn counts(&self) -> Result<Counts, VectorError> {
        let sql = "SELECT COUNT(*) AS documents, CAST(COALESCE(SUM(chunks), 0) AS BIGINT) AS chunks FROM \
                   (SELECT COUNT(*) AS chunks FROM chunks WHERE index_id = $1 \
                   GROUP BY owner, data_source, document) AS grouped";
        let Some(row) = self.store.fetch_optional(sql, &values![&self.id]).await? else {
            return Ok(Counts::default());
        };
        Ok(Counts { documents: unsigned(row.get("documents")?), chunks: unsigned(row.get("chunks")?) })
    }
}

fn removed() -> VectorError {
    VectorError::Unavailable("the index has been removed".into())
}

fn details(chunk: &Chunk) -> Result<String, VectorError> {
    let details = Details {
        parent: chunk.parent.clone(),
        metadata: chunk.metadata.clone(),
        location: chunk.location.clone(),
        payload: chunk.payload.clone(),
    };
    serde_json::to_string(&details).map_err(|error| VectorError::Internal(error.to_string()))
}

fn read(row: &craton_store::Row, vector: Vec<f32>) -> Result<Numbered, VectorError> {
    let number = unsigned(row.get("number")?);
    let details: Details = serde_json::from_str(row.get("details")?)
        .map_err(|error| VectorError::Corrupt(format!("chunk {number}: {error}")))?;
    let document = DocumentKey {
        owner: row.get("owner")?,
        data_source: row.get("data_source")?,
        document: row.get("document")?,
    };
    let chunk = Chunk {
        id: row.get("chunk_id")?,
        document,
        text: row.get("text")?,
        parent: details.parent,
        metadata: details.metadata,
        vector,
        location: details.location,
        payload: details.payload,
    };
    Ok(Numbered { number, chunk })
}

fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
