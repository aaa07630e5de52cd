//! The records as a client of the crate sees them.

mod crash;
mod records;
