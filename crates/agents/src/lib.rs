//! Agents: orchestration that calls models, functions and knowledge bases, one bounded step after another.
