//! Knowledge bases: ingestion from bytes to indexed chunks, retrieval, and answers with citations.

pub mod retrieval;
