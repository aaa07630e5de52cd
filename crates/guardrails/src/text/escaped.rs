//! Characters that are written as what browsers and programs read for them: `&#105;`, `&#x69;`, `\u0069`, `\x69`.

use std::ops::Range;

/// The longest way to write a character, in bytes.
const LONGEST: usize = 10;

/// The characters of a text that are written so: where each stands, and what it is.
pub(super) fn escapes(text: &str) -> Vec<(Range<usize>, char)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = memchr::memchr2(b'&', b'\\', &bytes[at..]) {
        let start = at + next;
        at = start + 1;
        let rest = &bytes[start..bytes.len().min(start + LONGEST)];
        let Some((mut length, mut code)) = one(rest) else { continue };
        // What lies beyond the first 65,536 characters takes two of these.
        if matches!(code, 0xD800..=0xDBFF)
            && let rest = &bytes[start + length..bytes.len().min(start + length + LONGEST)]
            && let Some((second, low @ 0xDC00..=0xDFFF)) = one(rest)
        {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            length += second;
        }
        let Some(character) = char::from_u32(code).filter(|it| *it != '\0') else { continue };
        found.push((start..start + length, character));
        at = start + length;
    }
    found
}

/// What the text begins with, if that is an escape: its length and its character's number.
fn one(text: &[u8]) -> Option<(usize, u32)> {
    let (before, radix) = match text {
        [b'&', b'#', b'x' | b'X', ..] => (3, 16),
        [b'&', b'#', ..] => (2, 10),
        [b'\\', b'u', b'{', ..] => (3, 16),
        [b'\\', b'u', ..] => return fixed(text, 4),
        [b'\\', b'x', ..] => return fixed(text, 2),
        _ => return None,
    };
    let digits = text[before..].iter().take_while(|it| char::from(**it).is_digit(radix)).count();
    let code = number(&text[before..before + digits], radix)?;
    // Browsers take an entity without its end too.
    let end = match (text.get(before + digits), text[0]) {
        (Some(b';'), b'&') | (Some(b'}'), b'\\') => 1,
        (_, b'&') => 0,
        _ => return None,
    };
    Some((before + digits + end, code))
}

/// An escape with so many digits after its two signs.
fn fixed(text: &[u8], digits: usize) -> Option<(usize, u32)> {
    Some((2 + digits, number(text.get(2..2 + digits)?, 16)?))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_as_they_are_meant() {
        let of = |text: &str| -> Vec<(String, char)> {
            escapes(text).into_iter().map(|(range, it)| (text[range].to_owned(), it)).collect()
        };
        for (text, escape, character) in [
            ("a&#105;b", "&#105;", 'i'),
            ("a&#x69;b", "&#x69;", 'i'),
            ("a&#0000105;b", "&#0000105;", 'i'),
            ("a&#105 b", "&#105", 'i'),
            (r"a\u0069b", r"\u0069", 'i'),
            (r"a\x69b", r"\x69", 'i'),
            (r"a\u{69}b", r"\u{69}", 'i'),
            (r"\ud83d\ude00", r"\ud83d\ude00", '😀'),
        ] {
            assert_eq!(of(text), [(escape.to_owned(), character)], "{text}");
        }
        for text in [
            "AT&T",
            "&#;",
            "&#x;",
            "&amp;",
            r"C:\users\xavier",
            r"\u12",
            r"\u{110000}",
            r"\ud83d",
            "&#0;",
            "&#99999999;",
            r"\u+123",
            "&",
            r"\",
        ] {
            assert_eq!(of(text), [], "{text}");
        }
    }
}
