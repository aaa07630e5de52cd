//! The models crate; see ARCHITECTURE.md.
