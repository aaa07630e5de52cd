//! The documents crate; see ARCHITECTURE.md.
