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

/// By byte order mark, else UTF-8 where it is valid but for some damage, else UTF-16 where every other byte is mostly
/// zero, else what Windows calls ANSI, which gives every byte a meaning.
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
        _ if is_utf_8(bytes) => UTF_8,
        _ => WINDOWS_1252,
    }
}

/// Letters of several bytes hardly come about by chance, so that a few bytes that are none are damage.
fn is_utf_8(bytes: &[u8]) -> bool {
    let (mut letters, mut faults) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        letters += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
        faults += usize::from(!chunk.invalid().is_empty());
    }
    faults == 0 || letters > 4 * faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_costs_no_more_than_what_is_damaged() {
        let read = |bytes: &[u8]| decode(bytes, &Limits::default()).unwrap();
        let mut damaged = "Ärger über Öl, größer als früher.".as_bytes().to_vec();
        damaged.extend(b" \xff end");
        assert_eq!(read(&damaged), "Ärger über Öl, größer als früher. \u{fffd} end");
        assert_eq!(read(b"M\xfcller, caf\xe9"), "Müller, café");
        assert_eq!(read(b"only \xa9"), "only ©");
    }
}
