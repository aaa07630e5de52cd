//! What the first bytes of an image say: its format and its size. Untrusted input; nothing is decoded.

/// The format of an image, as image blocks name it.
pub fn format_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [0xFF, 0xD8, 0xFF, ..] => Some("jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

/// Width and height in pixels, from the head of a file of this format.
pub fn size(format: &str, bytes: &[u8]) -> Option<(u32, u32)> {
    let at = |from: usize, count: usize| bytes.get(from..from.checked_add(count)?);
    let big = |from, count| {
        at(from, count).map(|part| part.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    let little = |from, count| {
        at(from, count).map(|part| part.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    match format {
        "png" if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => Some((big(16, 4)?, big(20, 4)?)),
        "gif" if bytes.starts_with(b"GIF8") => Some((little(6, 2)?, little(8, 2)?)),
        "webp" if bytes.starts_with(b"RIFF") && at(8, 4)? == b"WEBP" => match at(12, 4)? {
            b"VP8X" => Some((little(24, 3)? + 1, little(27, 3)? + 1)),
            b"VP8L" => {
                let bits = little(21, 4)?;
                Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
            }
            b"VP8 " => Some((little(26, 2)? & 0x3fff, little(28, 2)? & 0x3fff)),
            _ => None,
        },
        "jpeg" if bytes.starts_with(b"\xff\xd8") => {
            let mut place = 2;
            // Segments, each with a marker and its length, until the frame's.
            loop {
                let marker = big(place, 2)?;
                match marker {
                    0xffc0..=0xffc3 | 0xffc5..=0xffc7 | 0xffc9..=0xffcb | 0xffcd..=0xffcf => {
                        return Some((big(place + 7, 2)?, big(place + 5, 2)?));
                    }
                    0xffff => place += 1,
                    0xff00.. => place += 2 + (big(place + 2, 2)? as usize).max(2),
                    _ => return None,
                }
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        assert_eq!(format_of(b"\x89PNG\r\n\x1a\n"), Some("png"));
        assert_eq!(format_of(b"RIFF\0\0\0\0WEBPVP8 "), Some("webp"));
        assert_eq!(format_of(b"RIFF\0\0\0\0WAVE"), None);
    }

    #[test]
    fn sizes_are_read_from_the_heads_of_files() {
        let png = [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice(), &[0, 0, 1, 0, 0, 0, 0, 9]].concat();
        assert_eq!(size("png", &png), Some((256, 9)));
        assert_eq!(size("gif", b"GIF89a\x03\0\x04\0"), Some((3, 4)));
        let webp = [b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".as_slice(), &[9, 0, 0, 4, 1, 0]].concat();
        assert_eq!(size("webp", &webp), Some((10, 261)));
        let jpeg = [b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08".as_slice(), &[0, 16, 1, 0, 1]].concat();
        assert_eq!(size("jpeg", &jpeg), Some((256, 16)));
        for format in ["png", "gif", "webp", "jpeg"] {
            assert_eq!(size(format, b""), None);
            assert_eq!(size(format, b"\xff\xd8\xff"), None);
        }
        let endless = [b"\xff\xd8".to_vec(), vec![0xff; 1000]].concat();
        assert_eq!(size("jpeg", &endless), None);
    }
}
