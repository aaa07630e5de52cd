//! Chunks as rows of the mapped table.

use craton_core::{IdSource as _, RandomIds};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row as _};

use super::unavailable;
use crate::chunk::Details;
use crate::{Chunk, PostgresTable, VectorError};

/// A table and its columns, checked and quoted.
#[derive(Debug)]
pub(super) struct Table {
    /// With its schema.
    pub name: String,
    id: String,
    pub vector: String,
    /// Unquoted, as the catalogue has it.
    pub vector_name: String,
    pub text: String,
    /// The JSON column as `jsonb`.
    pub json: String,
    json_column: String,
    custom: Option<String>,
}

impl Table {
    pub(super) fn new(table: &PostgresTable) -> Result<Self, VectorError> {
        let parts: Vec<String> = table.table.split('.').map(quoted).collect::<Result<_, _>>()?;
        let json_column = quoted(&table.metadata_field)?;
        Ok(Self {
            name: parts.join("."),
            id: quoted(&table.primary_key_field)?,
            vector: quoted(&table.vector_field)?,
            vector_name: table.vector_field.clone(),
            text: quoted(&table.text_field)?,
            json: format!("{json_column}::jsonb"),
            json_column,
            custom: table.custom_metadata_field.as_deref().map(quoted).transpose()?,
        })
    }

    /// What to select so that [`read`] understands it.
    pub(super) fn columns(&self) -> String {
        let Self { text, json, .. } = self;
        format!("{text} AS text, ({json})::text AS details, ({json} ->> 'number')::bigint AS number")
    }

    pub(super) fn definition(&self, dimensions: usize) -> Vec<String> {
        let Self { name, id, vector, text, json_column, custom, json, .. } = self;
        let custom = custom.as_ref().map(|custom| format!(", {custom} jsonb")).unwrap_or_default();
        vec![
            "CREATE EXTENSION IF NOT EXISTS vector".to_owned(),
            format!(
                "CREATE TABLE IF NOT EXISTS {name} ({id} uuid PRIMARY KEY, {vector} vector({dimensions}) NOT NULL, \
                 {text} text NOT NULL, {json_column} jsonb NOT NULL{custom})"
            ),
            format!("CREATE INDEX ON {name} USING hnsw ({vector} vector_cosine_ops)"),
            format!("CREATE INDEX ON {name} USING gin (to_tsvector('simple', {text}))"),
            format!(
                "CREATE INDEX ON {name} (({json} ->> 'owner'), ({json} ->> 'data_source'), ({json} ->> 'document'))"
            ),
        ]
    }
}

/// An identifier between quotes. Names that need escaping are refused.
fn quoted(name: &str) -> Result<String, VectorError> {
    let fine = !name.is_empty() && name.len() < 64 && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if fine {
        return Ok(format!("\"{name}\""));
    }
    Err(VectorError::Invalid(format!("'{name}' is not a name of a PostgreSQL table or column.")))
}

/// A vector as pgvector reads it.
pub(super) fn literal(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(","))
}

pub(super) fn from_literal(text: &str) -> Vec<f32> {
    text.trim_matches(['[', ']']).split(',').filter_map(|number| number.parse().ok()).collect()
}

/// An INSERT of chunks, whose numbers begin at `first`.
pub(super) fn write(
    table: &Table,
    first: i64,
    chunks: &[&Chunk],
) -> Result<QueryBuilder<Postgres>, VectorError> {
    let Table { name, id, vector, text, json_column, custom, .. } = table;
    let more = custom.as_ref().map(|custom| format!(", {custom}")).unwrap_or_default();
    let mut sql = QueryBuilder::new(format!(
        "INSERT INTO {name} ({id}, {vector}, {text}, {json_column}{more}) VALUES "
    ));
    for (n, (number, chunk)) in (first..).zip(chunks).enumerate() {
        let details = Details::of(chunk, number);
        sql.push(if n > 0 { ", (" } else { "(" });
        sql.push_bind(RandomIds.uuid()).push("::uuid, ");
        sql.push_bind(literal(&chunk.vector)).push("::vector, ");
        // PostgreSQL's text can't hold the character zero.
        sql.push_bind(chunk.text.replace('\0', "\u{FFFD}")).push(", ");
        sql.push_bind(json(&details)?).push("::jsonb");
        if custom.is_some() {
            sql.push(", ").push_bind(json(&chunk.metadata)?).push("::jsonb");
        }
        sql.push(")");
    }
    Ok(sql)
}

fn json(value: &impl Serialize) -> Result<String, VectorError> {
    let text = serde_json::to_string(value).map_err(|error| VectorError::Internal(error.to_string()))?;
    Ok(text.replace("\\u0000", "\\ufffd"))
}

/// A row of [`Table::columns`], without its vector.
pub(super) fn read(row: &PgRow) -> Result<Chunk, VectorError> {
    let details: &str = row.try_get("details").map_err(unavailable)?;
    let details: Details =
        serde_json::from_str(details).map_err(|error| VectorError::Corrupt(error.to_string()))?;
    Ok(details.into_chunk(row.try_get("text").map_err(unavailable)?))
}

pub(super) fn number_of(row: &PgRow) -> Result<i64, VectorError> {
    row.try_get("number").map_err(unavailable)
}
