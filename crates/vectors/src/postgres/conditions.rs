//! Filters as SQL over the JSON of a row. Every value is a parameter.

use sqlx::{Postgres, QueryBuilder};

use super::rows::Table;
use crate::{Filter, MetadataValue, Query};

/// Appends what a query lets through, as one boolean expression.
pub(super) fn push_conditions(sql: &mut QueryBuilder<Postgres>, table: &Table, query: &Query) {
    sql.push("true");
    if let Some(owner) = &query.owner {
        sql.push(format!(" AND {} ->> 'owner' IN (", table.json)).push_bind(owner.clone()).push(", '')");
    }
    if let Some(filter) = &query.filter {
        sql.push(" AND ");
        push_filter(sql, table, filter);
    }
}

fn push_filter(sql: &mut QueryBuilder<Postgres>, table: &Table, filter: &Filter) {
    match filter {
        Filter::AndAll(parts) => push_group(sql, table, parts, (" AND ", "true")),
        Filter::OrAll(parts) => push_group(sql, table, parts, (" OR ", "false")),
        Filter::Equals(key, value) => push_equals(sql, table, key, std::slice::from_ref(value)),
        Filter::In(key, values) => push_equals(sql, table, key, values),
        Filter::NotEquals(key, value) => push_differs(sql, table, key, std::slice::from_ref(value)),
        Filter::NotIn(key, values) => push_differs(sql, table, key, values),
        Filter::GreaterThan(key, bound) => push_compare(sql, table, key, (">", *bound)),
        Filter::GreaterThanOrEquals(key, bound) => push_compare(sql, table, key, (">=", *bound)),
        Filter::LessThan(key, bound) => push_compare(sql, table, key, ("<", *bound)),
        Filter::LessThanOrEquals(key, bound) => push_compare(sql, table, key, ("<=", *bound)),
        Filter::StartsWith(key, prefix) => {
            push_typed(sql, table, key, "string");
            sql.push("starts_with(");
            push_attribute(sql, table, key);
            sql.push(" #>> '{}', ").push_bind(text(prefix)).push(") ELSE false END");
        }
        Filter::ListContains(key, member) => {
            push_typed(sql, table, key, "array");
            push_attribute(sql, table, key);
            sql.push(" @> to_jsonb(ARRAY[").push_bind(text(member)).push("::text]) ELSE false END");
        }
        Filter::StringContains(key, part) => push_contains(sql, table, key, part),
    }
}

/// As it is kept: PostgreSQL's text can't hold the character zero.
fn text(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn push_group(
    sql: &mut QueryBuilder<Postgres>,
    table: &Table,
    parts: &[Filter],
    (word, empty): (&str, &str),
) {
    sql.push("(");
    if parts.is_empty() {
        sql.push(empty);
    }
    for (n, part) in parts.iter().enumerate() {
        sql.push(if n > 0 { word } else { "" });
        push_filter(sql, table, part);
    }
    sql.push(")");
}

/// The attribute as JSON; null when the row has none.
fn push_attribute(sql: &mut QueryBuilder<Postgres>, table: &Table, key: &str) {
    sql.push(format!("({} -> 'attributes' -> ", table.json)).push_bind(text(key)).push(")");
}

/// `CASE WHEN the attribute has this type THEN`: a cast beside an AND could be tried on values of other types.
fn push_typed(sql: &mut QueryBuilder<Postgres>, table: &Table, key: &str, kind: &str) {
    sql.push("CASE WHEN jsonb_typeof(");
    push_attribute(sql, table, key);
    sql.push(format!(") = '{kind}' THEN "));
}

fn push_values(sql: &mut QueryBuilder<Postgres>, values: &[MetadataValue]) {
    sql.push("(");
    for (n, value) in values.iter().enumerate() {
        sql.push(if n > 0 { ", " } else { "" });
        let text = value.to_json().to_string().replace("\\u0000", "\\ufffd");
        sql.push_bind(text).push("::jsonb");
    }
    sql.push(")");
}

fn push_equals(sql: &mut QueryBuilder<Postgres>, table: &Table, key: &str, values: &[MetadataValue]) {
    if values.is_empty() {
        sql.push("false");
        return;
    }
    sql.push("COALESCE(");
    push_attribute(sql, table, key);
    sql.push(" IN ");
    push_values(sql, values);
    sql.push(", false)");
}

fn push_differs(sql: &mut QueryBuilder<Postgres>, table: &Table, key: &str, values: &[MetadataValue]) {
    sql.push("(");
    push_attribute(sql, table, key);
    sql.push(" IS NOT NULL");
    if !values.is_empty() {
        sql.push(" AND ");
        push_attribute(sql, table, key);
        sql.push(" NOT IN ");
        push_values(sql, values);
    }
    sql.push(")");
}

fn push_compare(sql: &mut QueryBuilder<Postgres>, table: &Table, key: &str, (operator, bound): (&str, f64)) {
    push_typed(sql, table, key, "number");
    sql.push("(");
    push_attribute(sql, table, key);
    sql.push(format!(" #>> '{{}}')::double precision {operator} ")).push_bind(bound).push(" ELSE false END");
}

fn push_contains(sql: &mut QueryBuilder<Postgres>, table: &Table, key: &str, part: &str) {
    sql.push("CASE jsonb_typeof(");
    push_attribute(sql, table, key);
    sql.push(") WHEN 'string' THEN position(").push_bind(text(part)).push(" IN ");
    push_attribute(sql, table, key);
    sql.push(" #>> '{}') > 0 WHEN 'array' THEN EXISTS (SELECT 1 FROM jsonb_array_elements_text(");
    push_attribute(sql, table, key);
    sql.push(") AS member WHERE position(").push_bind(text(part)).push(" IN member) > 0) ELSE false END");
}
