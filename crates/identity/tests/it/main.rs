//! Signed requests and API keys; policies and their decisions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed step is a failed test

mod directory;
mod policy;
mod principals;
mod service_roles;
mod signed;
