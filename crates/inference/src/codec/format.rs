//! What a family defines, over parsed JSON; [`ChatCodec`] follows from it.

use bytes::Bytes;
use craton_wire::ApiError;
use serde_json::Value;

use super::{ChatCodec, Decoded, StreamEncoder, reader};
use crate::answer::Answer;

/// A family's body format.
pub trait BodyFormat: Send + Sync {
    /// # Errors
    /// `ValidationException` in the family's wording.
    fn read(&self, body: &Value) -> Result<Decoded, ApiError>;
    fn whole(&self, decoded: &Decoded, answer: &Answer) -> Value;
    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder>;
}

impl<F: BodyFormat> ChatCodec for F {
    fn decode(&self, body: &[u8]) -> Result<Decoded, ApiError> {
        self.read(&reader::parse(body)?)
    }

    fn encode(&self, decoded: &Decoded, answer: &Answer) -> Result<Bytes, ApiError> {
        serde_json::to_vec(&self.whole(decoded, answer))
            .map(Bytes::from)
            .map_err(|error| ApiError::internal(format!("the answer could not be written: {error}")))
    }

    fn stream(&self, decoded: &Decoded) -> Box<dyn StreamEncoder> {
        BodyFormat::stream(self, decoded)
    }
}
