//! Plain text in the encodings it comes in.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::{DocumentError, Limits};

/// Text of `txt`, `md` and `csv` documents.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<String, DocumentError> {
    let text = decode_as(bytes, guess(bytes))?;
    if text.len() > limits.output_bytes {
        return Err(DocumentError::TooLarge { what: "its text", limit_bytes: limits.output_bytes });
    }
    Ok(text)
}

/// Decodes and refuses what is no text: control characters that no text has.
pub(crate) fn decode_as(bytes: &[u8], encoding: &'static Encoding) -> Result<String, DocumentError> {
    let (text, _, _) = encoding.decode(bytes);
    let odd = |character: &char| {
        character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\x0c' | '\x1b')
    };
    // Windows-1252 leaves five bytes undefined, which decode to control characters; one in a hundred is no text.
    let found = text.chars().filter(odd).count();
    if text.contains('\0') || found * 100 > text.len() {
        return Err(DocumentError::Binary);
    }
    Ok(text.into_owned())
}

/// By byte order mark, else UTF-8 where it is valid, else UTF-16 where every other byte is mostly zero, else what
/// Windows calls ANSI, which gives every byte a meaning.
pub(crate) fn guess(bytes: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return encoding;
    }
    let head = &bytes[..bytes.len().min(8192)];
    let zeros = |parity: usize| head.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let half = head.len() / 2;
    match (zeros(0), zeros(1)) {
        (even, odd) if half >= 2 && odd * 10 > half * 7 && even * 10 < half => UTF_16LE,
        (even, odd) if half >= 2 && even * 10 > half * 7 && odd * 10 < half => UTF_16BE,
        _ if std::str::from_utf8(bytes).is_ok() => UTF_8,
        _ => WINDOWS_1252,
    }
}
