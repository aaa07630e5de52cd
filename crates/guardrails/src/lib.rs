//! Guardrails: words, sensitive information, content filters, denied topics, contextual grounding.
