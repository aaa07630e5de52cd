//! The records as a client of the crate sees them.

#![allow(clippy::unwrap_used)]

mod crash;
mod records;
