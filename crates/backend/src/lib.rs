//! The seam between what Craton serves and what computes it.
//!
//! A backend is anything that can chat, embed or rerank: the embedded engine, a vLLM server, Anthropic, Bedrock
//! itself. This crate owns the plain data that crosses the seam and three small traits; it knows no HTTP, no AWS
//! and no model. The data is shaped like Converse, because that is the richest of the formats we speak: every
//! other request format is decoded into it and every answer is encoded from it.
//!
//! A chat answer is always a stream of [`ChatEvent`]s. Dropping the stream cancels the work behind it and must free
//! whatever it held (a batch slot, an upstream connection).

mod chat;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod dimensions;
mod error;
pub mod function;
mod geometry;
mod stops;
mod vectors;

pub use chat::*;
pub use dimensions::fit_dimensions;
pub use error::BackendError;
pub use geometry::{dot, length, normalise, unit};
pub use stops::{first_stop, possible_prefix};
pub use vectors::*;
