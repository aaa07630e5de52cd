//! The identity crate; see ARCHITECTURE.md.
