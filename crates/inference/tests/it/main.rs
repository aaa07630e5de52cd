//! The inference path against a scripted model: no weights, no network, every event chosen by the test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod converse;
mod converse_rules;
mod converse_s3;
mod invoke;
mod scripted;
mod stream;
mod usage;
