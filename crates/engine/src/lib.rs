//! The engine crate; see ARCHITECTURE.md.
