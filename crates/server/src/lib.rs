//! The server crate; see ARCHITECTURE.md.
