use crate::{Chunk, Filter};

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
}

/// A chunk that was found. Its `vector` is left empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub chunk: Chunk,
    /// In 0..=1, best first, the same meaning in every driver:
    /// semantic (1 + cosine) / 2; keywords and hybrid see [`crate::fusion`].
    pub score: f64,
}

/// How much an index holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub documents: u64,
    pub chunks: u64,
}
