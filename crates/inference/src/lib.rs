//! The inference crate; see ARCHITECTURE.md.
