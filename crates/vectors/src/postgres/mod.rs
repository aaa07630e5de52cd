//! pgvector: an index in a table of somebody's PostgreSQL, as RDS storage of a knowledge base has it.
//!
//! The table has the columns that the knowledge base's field mapping names: a primary key, `vector(n)`, the text, and
//! JSON. It is made when it is missing; one that is there is used as it is (give it an HNSW index with
//! `vector_cosine_ops`, and a GIN index on `to_tsvector('simple', text)`). What this crate needs to know of a chunk
//! besides its text and vector is in the JSON column.
//!
//! `hnsw.iterative_scan` is set on every connection: without it a filtered walk of the graph ends before it has found
//! enough rows, and loses some. It needs pgvector 0.8.
//!
//! PostgreSQL has no BM25. Words find candidates by its text search, and those are scored here as in the embedded
//! index, with the candidates' own statistics.

mod conditions;
mod rows;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Executor as _, Postgres, QueryBuilder, Row as _};

use self::conditions::push_conditions;
use self::rows::{Table, number_of, read, write};
use crate::bm25::{self, CANDIDATES, sort};
use crate::elsewhere::{self, Numbered, Parts};
use crate::query::check_documents;
use crate::{
    Chunk, Counts, DocumentChunks, DocumentKey, Hit, PostgresTable, Query, VectorError, VectorIndex, fusion,
};

/// Connections of one index.
const CONNECTIONS: u32 = 8;
/// Rows of one INSERT, five parameters each.
const INSERTED_TOGETHER: usize = 500;

pub(crate) struct PostgresIndex {
    pool: PgPool,
    table: Table,
    dimensions: usize,
}

impl PostgresIndex {
    pub(crate) async fn open(table: &PostgresTable, dimensions: usize) -> Result<Self, VectorError> {
        let mut options: PgConnectOptions = table.url.parse().map_err(unavailable)?;
        if let Some(password) = &table.password {
            options = options.password(password);
        }
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute("SET hnsw.iterative_scan = 'strict_order'").await?;
                    connection.execute("SET hnsw.ef_search = 128").await?;
                    Ok(())
                })
            })
            .connect_with(options.database(&table.database))
            .await
            .map_err(unavailable)?;
        let index = Self { pool, table: Table::new(table)?, dimensions };
        index.prepare().await?;
        Ok(index)
    }

    /// Makes the table when it is missing, and checks that its vectors have the right length.
    async fn prepare(&self) -> Result<(), VectorError> {
        let found = sqlx::query_scalar::<_, Option<String>>("SELECT to_regclass($1)::text")
            .bind(&self.table.name)
            .fetch_one(&self.pool)
            .await
            .map_err(unavailable)?;
        if found.is_none() {
            for statement in self.table.definition(self.dimensions) {
                self.pool.execute(AssertSqlSafe(statement)).await.map_err(unavailable)?;
            }
        }
        let length = "SELECT atttypmod FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2";
        let length: Option<i32> = sqlx::query_scalar(length)
            .bind(&self.table.name)
            .bind(&self.table.vector_name)
            .fetch_optional(&self.pool)
            .await
            .map_err(unavailable)?;
        match length.map(usize::try_from) {
            Some(Ok(found)) if found != self.dimensions => {
                Err(VectorError::Dimensions { expected: found, found: self.dimensions })
            }
            Some(_) => Ok(()),
            None => Err(VectorError::Refused(format!(
                "the table {} has no column {}",
                self.table.name, self.table.vector_name
            ))),
        }
    }

    /// Deletes rows by a condition on their JSON; answers how many documents they were of.
    async fn delete(&self, keys: &[(&str, &str)]) -> Result<u64, VectorError> {
        let Table { name, json, .. } = &self.table;
        let mut sql = QueryBuilder::<Postgres>::new(format!("WITH gone AS (DELETE FROM {name} WHERE true"));
        for (key, value) in keys {
            sql.push(format!(" AND {json} ->> '{key}' = ")).push_bind((*value).to_owned());
        }
        sql.push(format!(" RETURNING {json} ->> 'document' AS document) "));
        sql.push("SELECT COUNT(DISTINCT document) FROM gone");
        let gone: i64 = sql.build_query_scalar().fetch_one(&self.pool).await.map_err(unavailable)?;
        Ok(u64::try_from(gone).unwrap_or_default())
    }
}

#[async_trait]
impl Parts for PostgresIndex {
    async fn nearest(
        &self,
        query: &Query,
        vector: &[f32],
        limit: usize,
    ) -> Result<Vec<Numbered>, VectorError> {
        let Table { name, vector: column, .. } = &self.table;
        let literal = rows::literal(vector);
        let mut sql =
            QueryBuilder::<Postgres>::new(format!("SELECT {}, 1 - ({column} <=> ", self.table.columns()));
        sql.push_bind(literal.clone()).push(format!("::vector) AS cosine FROM {name} WHERE "));
        push_conditions(&mut sql, &self.table, query);
        sql.push(format!(" ORDER BY {column} <=> ")).push_bind(literal).push("::vector");
        sql.push(" LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = sql.build().fetch_all(&self.pool).await.map_err(unavailable)?;
        let hit = |row: &PgRow| {
            let cosine: f64 = row.try_get("cosine").map_err(unavailable)?;
            #[expect(clippy::cast_possible_truncation, reason = "a cosine")]
            let score = fusion::semantic(if cosine.is_finite() { cosine as f32 } else { 0.0 });
            Ok((Hit { chunk: read(row)?, score }, number_of(row)?))
        };
        rows.iter().map(hit).collect()
    }

    async fn by_words(&self, query: &Query, text: &str, limit: usize) -> Result<Vec<Numbered>, VectorError> {
        let asked = bm25::distinct(text);
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let Table { name, text: column, .. } = &self.table;
        let mut sql = QueryBuilder::<Postgres>::new("WITH asked AS (SELECT ");
        for (n, word) in bm25::looked_up(text, &asked).into_iter().enumerate() {
            sql.push(if n > 0 { " || " } else { "" });
            sql.push("plainto_tsquery('simple', ").push_bind(word).push(")");
        }
        sql.push(format!(" AS words) SELECT {} FROM {name}, asked WHERE ", self.table.columns()));
        sql.push(format!("to_tsvector('simple', {column}) @@ asked.words AND "));
        push_conditions(&mut sql, &self.table, query);
        sql.push(format!(" ORDER BY ts_rank(to_tsvector('simple', {column}), asked.words, 1) DESC LIMIT "));
        sql.push_bind(i64::try_from(limit.max(CANDIDATES)).unwrap_or(i64::MAX));
        let rows = sql.build().fetch_all(&self.pool).await.map_err(unavailable)?;
        let found: Result<Vec<(Chunk, i64)>, VectorError> =
            rows.iter().map(|row| Ok((read(row)?, number_of(row)?))).collect();
        let mut hits = bm25::score(found?, &asked, None);
        sort(&mut hits);
        hits.truncate(limit);
        Ok(hits)
    }

    async fn everything(&self, query: &Query) -> Result<Vec<Numbered>, VectorError> {
        let mut sql = QueryBuilder::<Postgres>::new(format!(
            "SELECT {} FROM {} WHERE ",
            self.table.columns(),
            self.table.name
        ));
        push_conditions(&mut sql, &self.table, query);
        sql.push(" ORDER BY number LIMIT ").push_bind(i64::try_from(query.limit).unwrap_or(i64::MAX));
        let rows = sql.build().fetch_all(&self.pool).await.map_err(unavailable)?;
        rows.iter().map(|row| Ok((Hit { chunk: read(row)?, score: 1.0 }, number_of(row)?))).collect()
    }
}

#[async_trait]
impl VectorIndex for PostgresIndex {
    fn dimensions(&self) -> usize {
        self.dimensions
    }

    async fn put(&self, documents: Vec<DocumentChunks>) -> Result<(), VectorError> {
        check_documents(&documents, self.dimensions)?;
        let Table { name, json, .. } = &self.table;
        let mut transaction = self.pool.begin().await.map_err(unavailable)?;
        let delete = format!(
            "DELETE FROM {name} WHERE {json} ->> 'owner' = $1 AND {json} ->> 'data_source' = $2 \
             AND {json} ->> 'document' = $3"
        );
        for DocumentChunks { key, .. } in &documents {
            sqlx::query(AssertSqlSafe(delete.clone()))
                .bind(&key.owner)
                .bind(&key.data_source)
                .bind(&key.document)
                .execute(&mut *transaction)
                .await
                .map_err(unavailable)?;
        }
        let first: i64 =
            sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
                .fetch_one(&mut *transaction)
                .await
                .map_err(unavailable)?;
        let chunks: Vec<&Chunk> = documents.iter().flat_map(|document| &document.chunks).collect();
        for (batch, chunks) in (0_i64..).zip(chunks.chunks(INSERTED_TOGETHER)) {
            let first = first + batch * i64::try_from(INSERTED_TOGETHER).unwrap_or_default();
            let mut insert = write(&self.table, first, chunks)?;
            insert.build().execute(&mut *transaction).await.map_err(unavailable)?;
        }
        transaction.commit().await.map_err(unavailable)
    }

    async fn delete_documents(&self, keys: &[DocumentKey]) -> Result<u64, VectorError> {
        let mut gone = 0;
        for DocumentKey { owner, data_source, document } in keys {
            gone += self
                .delete(&[("owner", owner), ("data_source", data_source), ("document", document)])
                .await?;
        }
        Ok(gone)
    }

    async fn delete_data_source(&self, owner: &str, data_source: &str) -> Result<u64, VectorError> {
        self.delete(&[("owner", owner), ("data_source", data_source)]).await
    }

    async fn document(&self, key: &DocumentKey) -> Result<Vec<Chunk>, VectorError> {
        let Table { name, vector, json, .. } = &self.table;
        let sql = format!(
            "SELECT {}, {vector}::text AS embedding FROM {name} WHERE {json} ->> 'owner' = $1 \
             AND {json} ->> 'data_source' = $2 AND {json} ->> 'document' = $3 ORDER BY number",
            self.table.columns()
        );
        let found =
            sqlx::query(AssertSqlSafe(sql)).bind(&key.owner).bind(&key.data_source).bind(&key.document);
        let rows = found.fetch_all(&self.pool).await.map_err(unavailable)?;
        rows.iter().map(read_with_vector).collect()
    }

    async fn search(&self, query: &Query) -> Result<Vec<Hit>, VectorError> {
        query.check(self.dimensions)?;
        elsewhere::search(self, query).await
    }

    async fn counts(&self) -> Result<Counts, VectorError> {
        let Table { name, json, .. } = &self.table;
        let sql = format!(
            "SELECT COUNT(*) AS chunks, COUNT(DISTINCT ({json} ->> 'owner', {json} ->> 'data_source', \
             {json} ->> 'document')) AS documents FROM {name}"
        );
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&self.pool).await.map_err(unavailable)?;
        let count = |column: &str| {
            let count: i64 = row.try_get(column).map_err(unavailable)?;
            Ok::<u64, VectorError>(u64::try_from(count).unwrap_or_default())
        };
        Ok(Counts { documents: count("documents")?, chunks: count("chunks")? })
    }

    async fn export(&self) -> Result<Vec<Chunk>, VectorError> {
        let Table { name, vector, .. } = &self.table;
        let sql = format!(
            "SELECT {}, {vector}::text AS embedding FROM {name} ORDER BY number",
            self.table.columns()
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&self.pool).await.map_err(unavailable)?;
        let mut chunks: Vec<Chunk> = rows.iter().map(read_with_vector).collect::<Result<_, VectorError>>()?;
        chunks.sort_by(|a, b| a.document.cmp(&b.document));
        Ok(chunks)
    }
}

/// A row that has its vector as the text `embedding`.
fn read_with_vector(row: &PgRow) -> Result<Chunk, VectorError> {
    let vector: &str = row.try_get("embedding").map_err(unavailable)?;
    Ok(Chunk { vector: rows::from_literal(vector), ..read(row)? })
}

/// What the database itself says of a statement, a login or a name stays until somebody changes it; but that it is
/// starting, stopping, full of connections or of conflicts passes.
fn unavailable(error: sqlx::Error) -> VectorError {
    const PASSING: [&str; 5] = ["08", "40", "53", "57", "58"];
    let code = error.as_database_error().and_then(|error| error.code());
    match code.is_some_and(|code| !PASSING.iter().any(|class| code.starts_with(class))) {
        true => VectorError::Refused(error.to_string()),
        false => VectorError::Unavailable(error.to_string()),
    }
}
