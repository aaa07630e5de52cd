//! The api/bedrock-agent crate; see ARCHITECTURE.md.
