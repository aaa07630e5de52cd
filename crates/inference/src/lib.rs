//! The inference path: what a client asked, in whichever format it speaks, to one call of a backend and back.

pub mod answer;
pub mod error;

pub use answer::Answer;
