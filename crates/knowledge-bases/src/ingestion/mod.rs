//! Documents into the index.
//!
//! A sync is a durable job ([`SYNC`]); documents put in directly are worked off by another ([`DIRECT`]). Both go
//! through the same steps: read, parse (`parse`), take in metadata (`metadata`), cut ([`chunking`]), embed, index.
//!
//! Each document has a row (`table`) that says what of it is in the index. The index is written first and the row
//! second, both idempotent: chunk ids follow from the document and their place in it, and the index replaces a document
//! as a whole. So a crash between the two costs one more reading, and neither a duplicate nor a hole. The row is
//! written together with the job's counters; a document that this job has written is not done again when it resumes.

pub(crate) mod chunking;
mod direct;
mod failure;
mod handler;
pub(crate) mod metadata;
mod pace;
pub(crate) mod parse;
pub(crate) mod pipeline;
pub(crate) mod source;
mod sync;
pub(crate) mod table;

pub(crate) use direct::{DirectHandler, DirectJob, Request, RequestMetadata, RequestSource};
pub(crate) use failure::{from_api, from_index};
pub(crate) use handler::{SyncHandler, SyncJob};

/// Kind of the jobs that sync a data source.
pub(crate) const SYNC: &str = "knowledge-base-sync";
/// Kind of the jobs that work off documents put in or deleted directly.
pub(crate) const DIRECT: &str = "knowledge-base-documents";
