//! Local models, with the default models' own weights.

mod embed;
