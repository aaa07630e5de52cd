use crate::{Chunk, DocumentChunks, Filter, VectorError};

/// Most hits one search returns.
pub const MAX_LIMIT: usize = 10_000;

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub want: Want,
    pub filter: Option<Filter>,
    /// Only chunks of this owner and those without one. None: chunks of everyone.
    pub owner: Option<String>,
    /// Most hits to return, 1 to [`MAX_LIMIT`].
    pub limit: usize,
}

/// How chunks are compared with the question.
#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    /// By meaning: the cosine of the vectors.
    Semantic { vector: Vec<f32> },
    /// By words: BM25.
    Keywords { text: String },
    /// By both.
    Hybrid { vector: Vec<f32>, text: String },
    /// Every chunk that passes the filter, in the order they were written; scores are 1.
    Everything,
}

impl Query {
    pub fn new(want: Want, limit: usize) -> Self {
        Self { want, filter: None, owner: None, limit }
    }

    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    #[must_use]
    pub fn of_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Whether an index of vectors of this length can answer it.
    pub(crate) fn check(&self, dimensions: usize) -> Result<(), VectorError> {
        if self.limit == 0 || self.limit > MAX_LIMIT {
            return Err(VectorError::Invalid(format!("A search returns 1 to {MAX_LIMIT} chunks.")));
        }
        if let Some(filter) = &self.filter {
            filter.check()?;
        }
        match &self.want {
            Want::Semantic { vector } | Want::Hybrid { vector, .. } => check_vector(vector, dimensions),
            Want::Keywords { .. } | Want::Everything => Ok(()),
        }
    }
}

/// Whether an index of vectors of this length can take the documents in.
pub(crate) fn check_documents(documents: &[DocumentChunks], dimensions: usize) -> Result<(), VectorError> {
    let mut chunks = documents.iter().flat_map(|document| &document.chunks);
    chunks.try_for_each(|chunk| check_vector(&chunk.vector, dimensions))
}

fn check_vector(vector: &[f32], dimensions: usize) -> Result<(), VectorError> {
    if vector.len() != dimensions {
        return Err(VectorError::Dimensions { expected: dimensions, found: vector.len() });
    }
    if vector.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(VectorError::Invalid("A vector's values must be finite.".into()))
}

/// A chunk that was found. Its `vector` is left empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub chunk: Chunk,
    /// In 0..=1, best first, the same meaning in every driver:
    /// semantic (1 + cosine) / 2; keywords and hybrid see [`crate::fusion`]. Hybrid hits of an OpenSearch with a search
    /// pipeline are scored by how they compare with what else was found.
    pub score: f64,
}

/// How much an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub documents: u64,
    pub chunks: u64,
}
