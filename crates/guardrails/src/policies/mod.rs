//! The detectors, one module a policy. Each takes text and says what it found and where; none decides what happens.

mod acronyms;
pub mod content;
pub mod content_full;
pub mod grounding;
pub mod judge;
mod lexical;
pub mod pii;
pub mod statics;
pub mod topics;
pub mod words;
