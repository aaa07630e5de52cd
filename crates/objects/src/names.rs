//! Names and sizes that S3 allows.

use crate::types::{Attributes, Tags};
use crate::{ObjectError, Result};

/// Bytes of a key's UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;
/// Bytes of all user metadata, names and values.
pub const MAX_USER_METADATA_BYTES: usize = 2048;
/// Bytes of all other headers that are kept with an object.
pub const MAX_HEADERS_BYTES: usize = 8 * 1024;
/// Bytes of one PUT, or of one part.
pub const MAX_PUT_BYTES: u64 = 5 << 30;
/// Bytes of an object.
pub const MAX_OBJECT_BYTES: u64 = 5 << 40;
/// Bytes of a part that is not the last.
pub const MIN_PART_BYTES: u64 = 5 << 20;
pub const MAX_PARTS: u32 = 10_000;
pub const MAX_OBJECT_TAGS: usize = 10;

/// A bucket's name: 3 to 63 of `a-z 0-9 . -`, starting and ending with a letter or digit, no `..`, no IPv4 address.
pub fn check_bucket(name: &str) -> Result<()> {
    let letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    let fine = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| letter_or_digit(*byte) || matches!(byte, b'-' | b'.'))
        && bytes.first().is_some_and(|byte| letter_or_digit(*byte))
        && bytes.last().is_some_and(|byte| letter_or_digit(*byte))
        && !name.contains("..")
        && !name.starts_with("xn--")
        && !name.ends_with("-s3alias")
        && name.parse::<std::net::Ipv4Addr>().is_err();
    if fine { Ok(()) } else { Err(ObjectError::InvalidBucketName(name.chars().take(100).collect())) }
}

/// A key: 1 to 1,024 bytes, no NUL (PostgreSQL can't keep one).
pub fn check_key(key: &str) -> Result<()> {
    match key.len() {
        0 => Err(ObjectError::InvalidArgument("a key must not be empty".into())),
        1..=MAX_KEY_BYTES if !key.contains('\0') => Ok(()),
        1..=MAX_KEY_BYTES => Err(ObjectError::InvalidArgument("a key must not contain NUL".into())),
        _ => Err(ObjectError::KeyTooLong { limit: MAX_KEY_BYTES }),
    }
}

pub fn check_attributes(attributes: &Attributes) -> Result<()> {
    let user: usize = attributes.user.iter().map(|(name, value)| name.len() + value.len()).sum();
    if user > MAX_USER_METADATA_BYTES {
        return Err(ObjectError::MetadataTooLarge { limit: MAX_USER_METADATA_BYTES });
    }
    let Attributes {
        content_type,
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires,
        website_redirect,
        user: _,
    } = attributes;
    let headers = [
        content_type,
        content_encoding,
        content_language,
        content_disposition,
        cache_control,
        expires,
        website_redirect,
    ];
    let headers: usize = headers.into_iter().flatten().map(String::len).sum();
    if headers > MAX_HEADERS_BYTES {
        return Err(ObjectError::MetadataTooLarge { limit: MAX_HEADERS_BYTES });
    }
    Ok(())
}

/// An object's tags: at most ten, keys 1 to 128 characters, values up to 256, of the characters that AWS allows.
pub fn check_tags(tags: &Tags, most: usize) -> Result<()> {
    let wrong = |message: &str| Err(ObjectError::InvalidTag(message.to_owned()));
    if tags.len() > most {
        return wrong(&format!("Object tags cannot be greater than {most}"));
    }
    let allowed = |text: &str| {
        text.chars().all(|c| {
            c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c) || (c as u32 > 127 && !c.is_control())
        })
    };
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 || !allowed(key) || key.starts_with("aws:") {
            return wrong("The TagKey you have provided is invalid");
        }
        if value.chars().count() > 256 || !allowed(value) {
            return wrong("The TagValue you have provided is invalid");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names() {
        for name in ["abc", "my-bucket.2", "0-0", &"a".repeat(63)] {
            assert!(check_bucket(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "ab",
            "Abc",
            "a..b",
            "-abc",
            "abc-",
            ".abc",
            "a_b",
            "192.168.1.1",
            "xn--abc",
            &"a".repeat(64),
        ] {
            assert!(check_bucket(name).is_err(), "{name}");
        }
    }

    #[test]
    fn keys_are_bounded_in_bytes() {
        assert!(check_key(&"é".repeat(512)).is_ok());
        assert!(matches!(check_key(&"é".repeat(513)), Err(ObjectError::KeyTooLong { .. })));
        assert!(check_key("").is_err());
        assert!(check_key("a\0b").is_err());
    }
}
