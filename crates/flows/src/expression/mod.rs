//! The two small languages of a flow's definition.
//!
//! * [`Path`]: which part of what arrives at a node is an input (`$.data.orders[0].id`).
//! * [`Condition`]: comparisons of inputs (`(price > 10) and (kind == "produce")`).
//!
//! Both are read by recursive descent with bounded depth, and an error says at which character the trouble begins.

mod condition;
mod cursor;
mod path;

pub use condition::{Condition, Kind};
pub use path::Path;

/// Why an expression can't be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {at}")]
pub struct ExpressionError {
    /// Of the expression, counted from 1; one past the last where it ends too early.
    pub at: usize,
    pub message: String,
}
