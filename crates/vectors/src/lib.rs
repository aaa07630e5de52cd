//! Hybrid search over chunks: the seam, and its drivers (embedded, pgvector, OpenSearch).
//!
//! * [`VectorIndex`]: the seam. Plain data in and out; no AWS types, no models. Whoever fills an index brings vectors.
//! * [`Chunk`], [`Filter`], [`Query`], [`Hit`]: the data.
//! * [`Drivers`]: opens the index that an [`IndexSpec`] names.
//! * [`fusion`]: how word and meaning scores become one.
//! * [`contract`]: what every driver must do, as functions for their tests.
//!
//! Scores are in 0..=1 whichever driver answers, and mean the same in each of them, but for hybrid searches by an OpenSearch's
//! own search pipeline.

mod bm25;
mod chunk;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod drivers;
mod elsewhere;
mod embedded;
mod error;
mod filter;
pub mod fusion;
mod index;
mod opensearch;
mod postgres;
mod query;
mod words;

pub use chunk::{
    CHUNK_ID, Chunk, DATA_SOURCE_ID, DocumentKey, MetadataValue, PAGE_NUMBER, Parent, SOURCE_URI,
    SourceLocation,
};
pub use drivers::{
    Drivers, IndexSpec, OpenSearchAccess, OpenSearchIndex, PostgresTable, Storage, is_index_name,
};
pub use error::VectorError;
pub use filter::{Filter, MAX_DEPTH, MAX_LEAVES};
pub use index::{DocumentChunks, VectorIndex};
pub use query::{Counts, Hit, MAX_LIMIT, Query, Want};
