//! The embedded index against the contract of all drivers, on every kind of records, and over restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod embedded;
