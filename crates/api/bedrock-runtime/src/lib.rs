//! The api/bedrock-runtime crate; see ARCHITECTURE.md.
