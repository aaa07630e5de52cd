//! Prompts: drafts, immutable versions, and the templates in them.
