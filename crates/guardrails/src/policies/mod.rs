//! The detectors, one module a policy. Each takes text and says what it found and where; none decides what happens.

pub mod content;
pub mod grounding;
pub mod pii;
pub mod statics;
pub mod topics;
pub mod words;
