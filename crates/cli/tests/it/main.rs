//! The `craton` binary as its users run it. Nothing here needs model files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chat;
mod commands;
mod policy;
mod support;
