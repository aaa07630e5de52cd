//! The engine crate; see ARCHITECTURE.md.

pub mod embed;
