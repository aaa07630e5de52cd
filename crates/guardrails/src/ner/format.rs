//! The model's files: MessagePack, with arrays as maps of their shape and bytes.

use std::collections::HashMap;
use std::path::Path;

use super::NameModelError;
use super::model::{Layer, NameModel, Table, Weights};
use super::tokens::Tokenizer;
use crate::fnv::Quick;

/// Deepest nesting that is read.
const DEPTH: usize = 32;

/// A value of MessagePack, as far as the files use it.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Nothing,
    Int(i64),
    Unsigned(u64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    fn get(&self, key: &str) -> Option<&Value> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(it, _)| it.is(key)).map(|(_, value)| value)
    }

    fn is(&self, key: &str) -> bool {
        match self {
            Self::Text(text) => text == key,
            Self::Bytes(bytes) => bytes == key.as_bytes(),
            _ => false,
        }
    }

    fn list(&self) -> Option<&[Value]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self) -> Option<u64> {
        match self {
            Self::Int(value) => Some(value.cast_unsigned()),
            Self::Unsigned(value) => Some(*value),
            _ => None,
        }
    }

    /// An array of 32-bit floats with its shape.
    fn floats(&self) -> Option<(Vec<usize>, Vec<f32>)> {
        let shape =
            self.get("shape")?.list()?.iter().map(|it| it.number().and_then(|it| usize::try_from(it).ok()));
        let shape: Vec<usize> = shape.collect::<Option<_>>()?;
        let Value::Bytes(bytes) = self.get("data")? else { return None };
        let count = shape.iter().try_fold(1_usize, |product, it| product.checked_mul(*it))?;
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]])).collect();
        (values.len() == count).then_some((shape, values))
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    fn big_endian(&mut self, count: usize) -> Option<u64> {
        Some(self.take(count)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn length(&mut self, count: usize) -> Option<usize> {
        usize::try_from(self.big_endian(count)?).ok()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth == 0 {
            return None;
        }
        let tag = self.take(1)?[0];
        Some(match tag {
            0x00..=0x7F => Value::Int(i64::from(tag)),
            0x80..=0x8F => self.map(usize::from(tag & 0x0F), depth)?,
            0x90..=0x9F => self.list(usize::from(tag & 0x0F), depth)?,
            0xA0..=0xBF => self.text(usize::from(tag & 0x1F))?,
            0xC0 | 0xC2 => Value::Nothing,
            0xC3 => Value::Int(1),
            0xC4..=0xC6 => {
                let length = self.length(1 << (tag - 0xC4))?;
                Value::Bytes(self.take(length)?.to_vec())
            }
            0xCA => Value::Unsigned(self.big_endian(4)?),
            0xCB => Value::Unsigned(self.big_endian(8)?),
            0xCC..=0xCF => Value::Unsigned(self.big_endian(1 << (tag - 0xCC))?),
            0xD0 => Value::Int(i64::from(self.take(1)?[0].cast_signed())),
            0xD1 => Value::Int(i64::from((self.big_endian(2)? as u16).cast_signed())),
            0xD2 => Value::Int(i64::from((self.big_endian(4)? as u32).cast_signed())),
            0xD3 => Value::Int(self.big_endian(8)?.cast_signed()),
            0xD9..=0xDB => {
                let length = self.length(1 << (tag - 0xD9))?;
                self.text(length)?
            }
            0xDC | 0xDD => {
                let length = self.length(2 << (tag - 0xDC))?;
                self.list(length, depth)?
            }
            0xDE | 0xDF => {
                let length = self.length(2 << (tag - 0xDE))?;
                self.map(length, depth)?
            }
            0xE0..=0xFF => Value::Int(i64::from(tag.cast_signed())),
            _ => return None,
        })
    }

    fn text(&mut self, length: usize) -> Option<Value> {
        let bytes = self.take(length)?;
        Some(match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(bytes.to_vec()),
        })
    }

    fn list(&mut self, length: usize, depth: usize) -> Option<Value> {
        (0..length).map(|_| self.value(depth - 1)).collect::<Option<_>>().map(Value::List)
    }

    fn map(&mut self, length: usize, depth: usize) -> Option<Value> {
        let pair = |_| Some((self.value(depth - 1)?, self.value(depth - 1)?));
        (0..length).map(pair).collect::<Option<_>>().map(Value::Map)
    }
}

pub(super) fn parse(bytes: &[u8]) -> Option<Value> {
    Reader { rest: bytes }.value(DEPTH)
}

pub(super) fn load(folder: &Path) -> Result<NameModel, NameModelError> {
    let read = |name: &str| {
        let path = folder.join(name);
        let bytes =
            std::fs::read(&path).map_err(|error| NameModelError::Io(path.display().to_string(), error))?;
        let wrong = |what: &str| NameModelError::Format(path.display().to_string(), what.to_owned());
        parse(&bytes).ok_or_else(|| wrong("it is not MessagePack"))
    };
    let wrong = |name: &str, what: &str| NameModelError::Format(name.to_owned(), what.to_owned());
    let weights = weights(&read("ner/model")?).ok_or_else(|| wrong("ner/model", "a layer is missing"))?;
    let labels = labels(&read("ner/moves")?).ok_or_else(|| wrong("ner/moves", "the labels are missing"))?;
    let exceptions =
        exceptions(&read("tokenizer")?).ok_or_else(|| wrong("tokenizer", "the exceptions are missing"))?;
    let norms = norms(&read("vocab/lookups.bin")?)
        .ok_or_else(|| wrong("vocab/lookups.bin", "the norms are missing"))?;
    NameModel::new(weights, labels, Tokenizer::new(exceptions, norms))
        .ok_or_else(|| wrong("ner/model", "the layers do not fit together"))
}

/// Layers in the order of the file, which is that of the network's nodes, breadth first.
fn weights(file: &Value) -> Option<Weights> {
    let names = file.get("nodes")?.list()?;
    let params = file.get("params")?.list()?;
    let attrs = file.get("attrs")?.list()?;
    let mut weights = Weights::default();
    for ((node, params), attrs) in names.iter().zip(params).zip(attrs) {
        let floats = |key: &str| params.get(key).and_then(Value::floats);
        match node.get("name")?.text()? {
            "hashembed" => {
                let seed = match attrs.get("seed")? {
                    Value::Bytes(bytes) => parse(bytes)?.number()?,
                    // A one-byte seed reads as text.
                    Value::Text(text) => u64::from(*text.as_bytes().first()?),
                    other => other.number()?,
                };
                let (shape, vectors) = floats("E")?;
                weights.tables.push(Table { seed: u32::try_from(seed).ok()?, count: shape[0], vectors });
            }
            "maxout" => {
                let ((shape, matrix), (_, bias)) = (floats("W")?, floats("b")?);
                weights.layers.push(Layer { inputs: *shape.get(2)?, matrix, bias, ..Layer::default() });
            }
            "layernorm" => {
                let ((_, gain), (_, offset)) = (floats("G")?, floats("b")?);
                let layer = weights.layers.iter_mut().find(|layer| layer.gain.is_empty())?;
                (layer.gain, layer.offset) = (gain, offset);
            }
            "precomputable_affine" => {
                let ((_, lower), (_, bias), (_, pad)) = (floats("W")?, floats("b")?, floats("pad")?);
                (weights.lower, weights.lower_bias, weights.pad) = (lower, bias, pad);
            }
            "linear" => {
                let ((shape, matrix), (_, bias)) = (floats("W")?, floats("b")?);
                match *shape.get(1)? {
                    96 => (weights.project, weights.project_bias) = (matrix, bias),
                    _ => (weights.upper, weights.upper_bias) = (matrix, bias),
                }
            }
            _ => {}
        }
    }
    Some(weights)
}

/// The entity labels in the order of the transitions: by how often they were seen.
fn labels(file: &Value) -> Option<Vec<String>> {
    let moves: serde_json::Value = serde_json::from_str(file.get("moves")?.text()?).ok()?;
    let begin = moves.get("1")?.as_object()?;
    let mut labels: Vec<(&String, u64)> =
        begin.iter().map(|(label, count)| (label, count.as_u64().unwrap_or(0))).collect();
    labels.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some(labels.into_iter().map(|(label, _)| label.clone()).collect())
}

pub(super) type Exceptions = HashMap<String, Vec<(String, Option<String>)>, Quick>;

/// Strings that are cut in a way of their own: each token's text and, where it has one, its norm.
fn exceptions(file: &Value) -> Option<Exceptions> {
    const ORTH: u64 = 65;
    const NORM: u64 = 67;
    let Value::Map(pairs) = file.get("exceptions")? else { return None };
    let mut exceptions = HashMap::with_capacity_and_hasher(pairs.len(), Quick);
    for (string, tokens) in pairs {
        let mut cut = Vec::new();
        for token in tokens.list()? {
            let Value::Map(fields) = token else { return None };
            let field = |id| {
                fields.iter().find(|(key, _)| key.number() == Some(id)).and_then(|(_, value)| value.text())
            };
            cut.push((field(ORTH)?.to_owned(), field(NORM).map(str::to_owned)));
        }
        exceptions.insert(string.text()?.to_owned(), cut);
    }
    Some(exceptions)
}

/// Norms of words by the hash of the word.
fn norms(file: &Value) -> Option<HashMap<u64, String, Quick>> {
    let Value::Map(pairs) = file.get("lexeme_norm")? else { return None };
    let pair = |(key, norm): &(Value, Value)| Some((key.number()?, norm.text()?.to_owned()));
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
