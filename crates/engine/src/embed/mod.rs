//! Sentence embeddings and reranking on this machine, from a folder as sentence-transformers writes it.
//!
//! Owns the whole way from text to vector: checking the folder's files ([`LoadError`] says what is wrong with one),
//! word pieces, a BERT encoder, pooling, unit length. Threads of its own do an open model's arithmetic; requests reach
//! them through a bounded queue and take turns, so that a long one does not hold up the short ones behind it.
//!
//! The encoder is written out here, with products of our own (`craton-kernels`): texts are computed side by side without
//! padding, and weights are packed once for the processor's widest vectors. `bench/embeddings` shows what it gains.
//!
//! # Long texts
//! An encoder reads a window of tokens (256 for all-MiniLM-L6-v2). A longer text is read window by window, up to
//! [`MAX_TEXT_TOKENS`], and its vector is the mean over all its tokens; a text of one window gets exactly the vector
//! that sentence-transformers gives it.
//!
//! # Reranking
//! No cross-encoder can be had where the default models come from, so [`RerankModel`](craton_backend::RerankModel) is
//! a stand-in: the cosine between the query and the best window of each document, put through a logistic curve so
//! that scores spread over 0..=1 as a cross-encoder's do. The order is that of cosine similarity.
//!
//! # Other widths
//! [`craton_backend::fit_dimensions`] gives vectors the width of the model that is stood in for.
//!
//! Weights are read into memory, not mapped: a mapped file that is truncated while in use kills the process, and the
//! numbers are packed into another order either way.

mod embedder;
mod encoder;
mod files;
#[cfg(test)]
mod tests;
mod worker;

pub use embedder::{BertEmbedder, MAX_TEXT_TOKENS};
pub use files::LoadError;
