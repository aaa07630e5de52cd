//! The engine against real models. Every test here fails, and says how to get them, when they are not there.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed step is a failed test

mod answers;
mod constraints;
mod damage;
mod embed;
mod files;
mod prompts;
mod scheduling;
mod support;
