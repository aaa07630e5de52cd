//! Reading and refusing GGUF files before llama.cpp sees them.
//!
//! A model file is untrusted input, and the C++ loader trusts some of what it reads: lengths of parallel arrays,
//! token ids, head counts. This module walks the whole header in safe Rust, with every count, length and offset
//! bounded by a limit and by the size of the file, and returns what the engine needs to know of it. It reads no
//! tensor data. Format: the GGUF specification, versions 2 and 3, little endian.

mod vocabulary;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use vocabulary::Vocabulary;

const MAX_TENSORS: u64 = 65_536;
const MAX_KEYS: u64 = 4_096;
const MAX_KEY_BYTES: u64 = 256;
const MAX_STRING_BYTES: u64 = 4 << 20;
/// llama.cpp's own; more than these end the process.
const MAX_LAYERS: u64 = 512;
const MAX_EXPERTS: u64 = 1024;
const MAX_TOKEN_BYTES: u64 = 64 << 10;
const MAX_ARRAY_ITEMS: u64 = 4 << 20;
const MAX_HEADER_BYTES: u64 = 256 << 20;
const MAX_TENSOR_NAME_BYTES: u64 = 63;
/// Longest string whose text is kept; longer ones (none that the engine reads) are only skipped.
const MAX_KEPT_STRING_BYTES: usize = 1 << 20;

/// Why a model file is refused. The text says what is wrong with it, for the person who imported it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    #[error("the model file can't be read: {0}")]
    Io(String),
    #[error("not a GGUF file")]
    NotGguf,
    #[error("GGUF version {0} is not supported (2 and 3 are)")]
    Version(u32),
    #[error("the GGUF file ends early: {what} needs {needed} bytes at {at}, the file has {size}")]
    Truncated { what: &'static str, at: u64, needed: u64, size: u64 },
    #[error("the GGUF header is over a limit: {what} is {value}, at most {limit} is accepted")]
    TooLarge { what: String, value: u64, limit: u64 },
    #[error("the GGUF header is malformed: {0}")]
    Malformed(String),
    #[error("the GGUF file can't be served: {0}")]
    Unusable(String),
}

/// A metadata value. Arrays are kept only as their element type and length.
#[derive(Debug, Clone, PartialEq)]
pub enum MetaValue {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Array { element_type: u32, length: u64 },
}

/// What a checked header says.
#[derive(Debug, Clone, Default)]
pub struct GgufHeader {
    pub version: u32,
    pub metadata: HashMap<String, MetaValue>,
    pub tensor_count: u64,
    /// Bytes of tensor data.
    pub tensor_bytes: u64,
}

impl GgufHeader {
    /// Reads and checks the header of the file at `path`.
    pub fn read(path: &Path) -> Result<Self, GgufError> {
        let io = |error: std::io::Error| GgufError::Io(error.to_string());
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            return Err(GgufError::Io("not a regular file".to_owned()));
        }
        Self::parse(BufReader::with_capacity(1 << 16, file), metadata.len())
    }

    /// Checks a header read from `reader`, the first bytes of a file that is `file_bytes` long.
    pub fn parse(reader: impl Read, file_bytes: u64) -> Result<Self, GgufError> {
        let mut cursor = Cursor { reader, at: 0, size: file_bytes, vocabulary: Vocabulary::new() };
        if file_bytes < 4 || cursor.bytes::<4>("magic")? != *b"GGUF" {
            return Err(GgufError::NotGguf);
        }
        let version = cursor.u32("version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensor_count = bounded(cursor.u64("tensor count")?, MAX_TENSORS, "the tensor count")?;
        let key_count = bounded(cursor.u64("key count")?, MAX_KEYS, "the metadata key count")?;
        let mut header = Self { version, tensor_count, ..Self::default() };
        for _ in 0..key_count {
            let key = cursor.string("metadata key", MAX_KEY_BYTES)?;
            let value_type = cursor.u32("metadata type")?;
            let value = cursor.value(&key, value_type)?;
            if header.metadata.insert(key.clone(), value).is_some() {
                return Err(GgufError::Malformed(format!("the key {key:?} appears twice")));
            }
        }
        header.check_meaning()?;
        cursor.vocabulary.check(header.text("tokenizer.ggml.model").unwrap_or_default())?;
        header.read_tensors(&mut cursor)?;
        Ok(header)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(MetaValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn unsigned(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(MetaValue::Unsigned(value)) => Some(*value),
            Some(MetaValue::Signed(value)) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    pub fn float(&self, key: &str) -> Option<f64> {
        match self.metadata.get(key) {
            Some(MetaValue::Float(value)) => Some(*value),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(MetaValue::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    fn array_length(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(MetaValue::Array { length, .. }) => Some(*length),
            _ => None,
        }
    }

    /// `general.architecture`, checked to be present.
    pub fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    /// The architecture's own parameter, such as `context_length`.
    pub fn parameter(&self, name: &str) -> Option<u64> {
        self.unsigned(&format!("{}.{name}", self.architecture()))
    }

    /// Values that llama.cpp indexes or divides by without looking.
    fn check_meaning(&self) -> Result<(), GgufError> {
        let unusable = |reason: String| Err(GgufError::Unusable(reason));
        if self.architecture().is_empty() {
            return unusable("general.architecture is missing".to_owned());
        }
        for (name, limit) in [
            ("block_count", MAX_LAYERS),
            ("context_length", 16 << 20),
            ("embedding_length", 1 << 20),
            ("attention.head_count", 65_536),
            ("attention.head_count_kv", 65_536),
        ] {
            match self.parameter(name) {
                Some(value) if value == 0 || value > limit => {
                    return unusable(format!("{name} is {value}, expected 1 to {limit}"));
                }
                None if matches!(name, "block_count" | "context_length" | "embedding_length") => {
                    return unusable(format!("{name} is missing"));
                }
                _ => {}
            }
        }
        self.check_experts()?;
        self.check_floats()?;
        self.check_vocabulary()
    }

    /// Experts are used where there are some, and not more than there are. Some files say it layer by layer.
    fn check_experts(&self) -> Result<(), GgufError> {
        let experts = self.parameter("expert_count").unwrap_or(0);
        let used_key = format!("{}.expert_used_count", self.architecture());
        let used = match self.metadata.get(&used_key) {
            Some(MetaValue::Array { .. }) => experts.min(1),
            _ => self.unsigned(&used_key).unwrap_or(0),
        };
        if experts > MAX_EXPERTS || used > experts || (experts > 0) != (used > 0) {
            return Err(GgufError::Unusable(format!("it uses {used} of {experts} experts")));
        }
        Ok(())
    }

    /// llama.cpp computes with these as they are, and ends the process at an epsilon below zero.
    fn check_floats(&self) -> Result<(), GgufError> {
        for (key, value) in &self.metadata {
            let MetaValue::Float(value) = value else { continue };
            let right = match key.rsplit('.').next() {
                Some(name) if name.ends_with("epsilon") => (0.0..=1.0).contains(value),
                Some("freq_base") => value.is_finite() && *value > 0.0,
                _ => value.is_finite(),
            };
            if !right {
                return Err(GgufError::Unusable(format!("{key} is {value}")));
            }
        }
        Ok(())
    }

    fn check_vocabulary(&self) -> Result<(), GgufError> {
        let unusable = |reason: String| Err(GgufError::Unusable(reason));
        let text_array = Some(&MetaValue::Array { element_type: STRING, length: 0 });
        if self.text("tokenizer.ggml.model").is_none() {
            return unusable("tokenizer.ggml.model is missing".to_owned());
        }
        let tokens = match self.metadata.get("tokenizer.ggml.tokens") {
            Some(MetaValue::Array { element_type: STRING, length }) if *length > 0 => *length,
            other => {
                return unusable(format!("tokenizer.ggml.tokens is {other:?}, expected like {text_array:?}"));
            }
        };
        for (key, kinds) in
            [("tokenizer.ggml.token_type", &[INT32, UINT32][..]), ("tokenizer.ggml.scores", &[FLOAT32][..])]
        {
            let Some(value) = self.metadata.get(key) else { continue };
            let right = matches!(value, MetaValue::Array { element_type, length }
                if *length == tokens && kinds.contains(element_type));
            if !right {
                return unusable(format!("{key} does not match the {tokens} tokens: {value:?}"));
            }
        }
        if let Some(MetaValue::Array { element_type, .. }) = self.metadata.get("tokenizer.ggml.merges")
            && *element_type != STRING
        {
            return unusable("tokenizer.ggml.merges is not a list of strings".to_owned());
        }
        for (key, value) in &self.metadata {
            if key.starts_with("tokenizer.ggml.") && key.ends_with("_token_id") {
                let id = match value {
                    MetaValue::Unsigned(id) => *id,
                    MetaValue::Signed(-1) => continue,
                    MetaValue::Signed(_) => u64::MAX,
                    _ => return unusable(format!("{key} is not a number")),
                };
                // 0xffff_ffff is how writers say "none".
                if id >= tokens && id != u64::from(u32::MAX) {
                    return unusable(format!("{key} is {id}, beyond the {tokens} tokens"));
                }
            }
        }
        if let Some(size) = self.parameter("vocab_size")
            && size != tokens
            && self.array_length("tokenizer.ggml.tokens").is_some()
            && size < tokens
        {
            return unusable(format!("vocab_size is {size}, fewer than the {tokens} tokens"));
        }
        Ok(())
    }

    fn read_tensors(&mut self, cursor: &mut Cursor<impl Read>) -> Result<(), GgufError> {
        let alignment = self.unsigned("general.alignment").unwrap_or(32);
        if !alignment.is_power_of_two() || !(8..=65_536).contains(&alignment) {
            return Err(GgufError::Malformed(format!("general.alignment is {alignment}")));
        }
        let mut names = HashSet::new();
        let mut end_of_data = 0_u64;
        for _ in 0..self.tensor_count {
            let name = cursor.string("tensor name", MAX_TENSOR_NAME_BYTES)?;
            let bytes = cursor.tensor_bytes(&name)?;
            let offset = cursor.u64("tensor offset")?;
            if offset % alignment != 0 {
                return Err(GgufError::Malformed(format!(
                    "tensor {name:?} is not aligned to {alignment} bytes"
                )));
            }
            let end = offset.checked_add(bytes).ok_or_else(|| overflow(&name))?;
            end_of_data = end_of_data.max(end);
            if !names.insert(name.clone()) {
                return Err(GgufError::Malformed(format!("tensor {name:?} appears twice")));
            }
        }
        if names.is_empty() {
            return Err(GgufError::Unusable("it has no tensors".to_owned()));
        }
        let data_at = cursor.at.next_multiple_of(alignment);
        let needed = end_of_data;
        if data_at.checked_add(needed).is_none_or(|end| end > cursor.size) {
            return Err(GgufError::Truncated { what: "tensor data", at: data_at, needed, size: cursor.size });
        }
        self.tensor_bytes = end_of_data;
        Ok(())
    }
}

fn overflow(name: &str) -> GgufError {
    GgufError::Malformed(format!("the size of tensor {name:?} overflows"))
}

fn bounded(value: u64, limit: u64, what: &str) -> Result<u64, GgufError> {
    if value > limit {
        return Err(GgufError::TooLarge { what: what.to_owned(), value, limit });
    }
    Ok(value)
}

const UINT32: u32 = 4;
const INT32: u32 = 5;
const FLOAT32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Bytes of a metadata scalar of this type.
fn scalar_bytes(value_type: u32) -> Option<u64> {
    match value_type {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Tensor types that llama.cpp reads and has no arithmetic for: I8, I16, I32, I64, F64.
const NOT_WEIGHTS: std::ops::RangeInclusive<u32> = 24..=28;

/// (values a block, bytes a block) of a tensor type, by its number in ggml.h.
fn block_layout(tensor_type: u32) -> Option<(u64, u64)> {
    Some(match tensor_type {
        0 => (1, 4),
        1 | 30 => (1, 2),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        29 => (256, 56),
        34 => (256, 54),
        39 => (32, 17),
        _ => return None,
    })
}

/// A reader that knows where it is and never reads past the declared size or the header limit.
struct Cursor<R> {
    reader: R,
    at: u64,
    size: u64,
    vocabulary: Vocabulary,
}

impl<R: Read> Cursor<R> {
    fn claim(&mut self, what: &'static str, needed: u64) -> Result<(), GgufError> {
        let end = self.at.saturating_add(needed);
        if end > self.size {
            return Err(GgufError::Truncated { what, at: self.at, needed, size: self.size });
        }
        bounded(end, MAX_HEADER_BYTES, "the header's size in bytes")?;
        self.at = end;
        Ok(())
    }

    fn fill(&mut self, what: &'static str, buffer: &mut [u8]) -> Result<(), GgufError> {
        let at = self.at;
        self.claim(what, buffer.len() as u64)?;
        self.reader.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                GgufError::Truncated { what, at, needed: buffer.len() as u64, size: self.size }
            }
            _ => GgufError::Io(error.to_string()),
        })
    }

    fn skip(&mut self, what: &'static str, bytes: u64) -> Result<(), GgufError> {
        self.claim(what, bytes)?;
        let copied = std::io::copy(&mut self.reader.by_ref().take(bytes), &mut std::io::sink())
            .map_err(|error| GgufError::Io(error.to_string()))?;
        if copied < bytes {
            return Err(GgufError::Truncated { what, at: self.at, needed: bytes, size: self.size });
        }
        Ok(())
    }

    fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let mut buffer = [0; N];
        self.fill(what, &mut buffer)?;
        Ok(buffer)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    fn string(&mut self, what: &'static str, limit: u64) -> Result<String, GgufError> {
        let length = bounded(self.u64(what)?, limit, what)?;
        if self.at.saturating_add(length) > self.size {
            return Err(GgufError::Truncated { what, at: self.at, needed: length, size: self.size });
        }
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
        self.fill(what, &mut buffer)?;
        String::from_utf8(buffer).map_err(|_| GgufError::Malformed(format!("a {what} is not UTF-8")))
    }

    fn value(&mut self, key: &str, value_type: u32) -> Result<MetaValue, GgufError> {
        Ok(match value_type {
            0 => MetaValue::Unsigned(u64::from(u8::from_le_bytes(self.bytes("value")?))),
            1 => MetaValue::Signed(i64::from(i8::from_le_bytes(self.bytes("value")?))),
            2 => MetaValue::Unsigned(u64::from(u16::from_le_bytes(self.bytes("value")?))),
            3 => MetaValue::Signed(i64::from(i16::from_le_bytes(self.bytes("value")?))),
            UINT32 => MetaValue::Unsigned(u64::from(self.u32("value")?)),
            INT32 => MetaValue::Signed(i64::from(i32::from_le_bytes(self.bytes("value")?))),
            FLOAT32 => MetaValue::Float(f64::from(f32::from_le_bytes(self.bytes("value")?))),
            7 => match self.bytes::<1>("value")?[0] {
                0 => MetaValue::Bool(false),
                1 => MetaValue::Bool(true),
                other => {
                    return Err(GgufError::Malformed(format!("{key:?} is a flag with the value {other}")));
                }
            },
            STRING => {
                let text = self.string("metadata string", MAX_STRING_BYTES)?;
                if text.len() > MAX_KEPT_STRING_BYTES {
                    let value = text.len() as u64;
                    return Err(GgufError::TooLarge { what: key.to_owned(), value, limit: 1 << 20 });
                }
                MetaValue::Text(text)
            }
            ARRAY => self.array(key)?,
            10 => MetaValue::Unsigned(self.u64("value")?),
            11 => MetaValue::Signed(i64::from_le_bytes(self.bytes("value")?)),
            12 => MetaValue::Float(f64::from_le_bytes(self.bytes("value")?)),
            other => return Err(GgufError::Malformed(format!("{key:?} has the unknown type {other}"))),
        })
    }

    fn array(&mut self, key: &str) -> Result<MetaValue, GgufError> {
        let element_type = self.u32("array type")?;
        let length = bounded(self.u64("array length")?, MAX_ARRAY_ITEMS, "an array's length")?;
        if key == "tokenizer.ggml.token_type" && matches!(element_type, INT32 | UINT32) {
            for index in 0..length {
                let kind = i32::from_le_bytes(self.bytes("token type")?);
                self.vocabulary.kind(usize::try_from(index).unwrap_or(usize::MAX), kind);
            }
        } else if key == "tokenizer.ggml.tokens" && element_type == STRING {
            let mut text = Vec::new();
            for _ in 0..length {
                let bytes = bounded(self.u64("token")?, MAX_TOKEN_BYTES, "a token's length")?;
                text.resize(usize::try_from(bytes).unwrap_or(0), 0);
                self.fill("token", &mut text)?;
                self.vocabulary.token(&text);
            }
        } else if let Some(bytes) = scalar_bytes(element_type) {
            self.skip("array", length * bytes)?;
        } else if element_type == STRING {
            for _ in 0..length {
                let bytes = bounded(self.u64("array string")?, MAX_STRING_BYTES, "a string's length")?;
                self.skip("array string", bytes)?;
            }
        } else {
            return Err(GgufError::Malformed(format!("{key:?} is an array of type {element_type}")));
        }
        Ok(MetaValue::Array { element_type, length })
    }

    /// Reads a tensor's dimensions and type; its size in bytes.
    fn tensor_bytes(&mut self, name: &str) -> Result<u64, GgufError> {
        let dimensions = self.u32("tensor dimensions")?;
        if !(1..=4).contains(&dimensions) {
            return Err(GgufError::Malformed(format!("tensor {name:?} has {dimensions} dimensions")));
        }
        let mut values = 1_u64;
        let mut row = 0;
        for index in 0..dimensions {
            let length = self.u64("tensor dimension")?;
            if length == 0 || i64::try_from(length).is_err() {
                return Err(GgufError::Malformed(format!("tensor {name:?} has a dimension of {length}")));
            }
            if index == 0 {
                row = length;
            }
            values = values.checked_mul(length).ok_or_else(|| overflow(name))?;
        }
        let tensor_type = self.u32("tensor type")?;
        if NOT_WEIGHTS.contains(&tensor_type) {
            return Err(GgufError::Unusable(format!(
                "tensor {name:?} is of type {tensor_type}: integers or doubles, with which no model computes"
            )));
        }
        let (block_values, block_bytes) = block_layout(tensor_type).ok_or_else(|| {
            GgufError::Unusable(format!("tensor {name:?} has the unknown type {tensor_type}"))
        })?;
        if row % block_values != 0 {
            return Err(GgufError::Malformed(format!(
                "rows of tensor {name:?} have {row} values, not a multiple of {block_values}"
            )));
        }
        (values / block_values).checked_mul(block_bytes).ok_or_else(|| overflow(name))
    }
}
