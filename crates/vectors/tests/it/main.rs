//! The drivers against their contract: the embedded index on every kind of records and over restarts, pgvector and OpenSearch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded;
mod opensearch;
mod postgres;
