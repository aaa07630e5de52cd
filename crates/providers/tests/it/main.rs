//! Drivers against stand-in servers on this machine: good ones that behave like a model, and nasty ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod anthropic;
mod bedrock;
mod openai;
mod speaker;
mod standin;
