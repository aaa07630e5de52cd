//! The wire formats against other people's implementations of them.

mod eventstream;
mod forged;
mod signed;
