//! The store crate; see ARCHITECTURE.md.
