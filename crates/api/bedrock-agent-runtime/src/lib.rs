//! The api/bedrock-agent-runtime crate; see ARCHITECTURE.md.
