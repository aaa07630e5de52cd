//! The wire formats against other people's implementations of them.

#![allow(clippy::unwrap_used)] // tests

mod bind;
mod eventstream;
mod forged;
mod outputs;
mod requests;
mod signed;
mod tables;
