//! The providers crate; see ARCHITECTURE.md.
