//! The records as a client of the crate sees them, on every database.

#![allow(clippy::unwrap_used)]

mod crash;
mod expiry;
mod full;
mod jobs;
mod jobs_crash;
mod records;
mod statements;
mod versions;
