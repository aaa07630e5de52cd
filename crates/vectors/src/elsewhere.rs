//! A search over chunks that a server elsewhere holds: the parts are the driver's, how they become one answer is here,
//! so that a score means the same in each of them.

use async_trait::async_trait;

use crate::bm25::{self, sort};
use crate::{Hit, Query, VectorError, Want};

/// A hit, and the number that says when its chunk was written.
pub(crate) type Numbered = (Hit, i64);

/// What a driver finds, best first. Of chunks with equal scores any may come first.
#[async_trait]
pub(crate) trait Parts: Sync {
    /// The chunks nearest to a vector, with scores as [`crate::fusion::semantic`] has them.
    async fn nearest(
        &self,
        query: &Query,
        vector: &[f32],
        limit: usize,
    ) -> Result<Vec<Numbered>, VectorError>;

    /// Chunks that share words with a text, scored by [`bm25::score`].
    async fn by_words(&self, query: &Query, text: &str, limit: usize) -> Result<Vec<Numbered>, VectorError>;

    /// Chunks near to a vector or sharing words with a text, at most the query's limit.
    async fn both(&self, query: &Query, vector: &[f32], text: &str) -> Result<Vec<Numbered>, VectorError>
    where
        Self: Sized,
    {
        fused(self, query, vector, text).await
    }

    /// What passes the query's filter, as it was written, with scores of 1.
    async fn everything(&self, query: &Query) -> Result<Vec<Numbered>, VectorError>;
}

/// The answer to a query that was checked.
pub(crate) async fn search(parts: &impl Parts, query: &Query) -> Result<Vec<Hit>, VectorError> {
    let mut hits = match &query.want {
        Want::Everything => parts.everything(query).await?,
        Want::Semantic { vector } => parts.nearest(query, vector, query.limit).await?,
        Want::Keywords { text } => parts.by_words(query, text, query.limit).await?,
        Want::Hybrid { vector, text } => parts.both(query, vector, text).await?,
    };
    sort(&mut hits);
    Ok(hits.into_iter().map(|hit| hit.0).collect())
}

/// Both parts of a hybrid search, asked for one beside the other and fused.
pub(crate) async fn fused(
    parts: &impl Parts,
    query: &Query,
    vector: &[f32],
    text: &str,
) -> Result<Vec<Numbered>, VectorError> {
    let wanted = bm25::candidates(query.limit);
    let near = parts.nearest(query, vector, wanted);
    let worded = parts.by_words(query, text, wanted);
    let (near, worded) = tokio::try_join!(near, worded)?;
    Ok(bm25::fuse(near, worded, query.limit))
}
