//! Local models, with the default models' own weights.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed step is a failed test

mod embed;
