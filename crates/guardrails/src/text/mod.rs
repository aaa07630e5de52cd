//! Text as detectors see it, with the way back to the text as it was given.
//!
//! Whoever wants to get something past a guardrail writes it so that people can read it and programs can't: full-width
//! letters, accents, letters of another alphabet that look the same, invisible characters, spaces between letters,
//! escapes, base64. [`View`] undoes that and keeps, for every byte, where in the original it came from.

mod encoded;
mod escaped;
mod lookalike;
mod sentences;
mod spaced;
mod spoken;
mod view;

pub use encoded::decoded_runs;
pub use lookalike::is_imitated;
pub use sentences::{first_sentences, sentences};
pub use spaced::{Spelled, closed, spaced_words, spelled_runs};
pub use spoken::{ONES, TENS, spoken};
pub use view::{View, is_telling};
