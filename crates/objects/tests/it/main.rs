//! The contract that every driver keeps, and what each driver promises besides.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contract;
mod crash;
mod files;
mod full;
mod remote;
