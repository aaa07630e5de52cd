//! The wire formats against other people's implementations of them.

mod bind;
mod eventstream;
mod forged;
mod signed;
mod tables;
