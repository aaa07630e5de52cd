//! The metering crate; see ARCHITECTURE.md.
