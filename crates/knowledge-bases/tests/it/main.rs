//! Knowledge bases as a client of the crate sees them, with a cheap deterministic embedder and objects on disk.

#![allow(clippy::unwrap_used)]

mod control;
mod crash;
mod direct;
mod rds;
mod support;
mod sync;
mod trouble;
mod web;
