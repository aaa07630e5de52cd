//! Drivers against stand-in servers on this machine: good ones that behave like a model, and nasty ones.

mod anthropic;
mod bedrock;
mod openai;
mod speaker;
mod standin;
