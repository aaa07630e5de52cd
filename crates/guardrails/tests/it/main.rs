//! Guardrails against data from elsewhere, and as a whole.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod definitions;
mod disguise;
mod hostile;
mod ner;
mod stream;
mod threats;
