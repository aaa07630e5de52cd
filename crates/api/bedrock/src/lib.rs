//! The api/bedrock crate; see ARCHITECTURE.md.
