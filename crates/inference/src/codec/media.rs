//! Bytes inside JSON: base64 fields, `data:` URLs and the formats their media types name.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;

use super::reader::Node;
use craton_wire::ApiError;

/// The bytes of a base64 field, padded or not.
pub(crate) fn decode_base64(node: &Node<'_>) -> Result<Bytes, ApiError> {
    let text = node.string()?;
    base64_bytes(text).ok_or_else(|| node.refuse("Invalid base64 data"))
}

pub(crate) fn base64_bytes(text: &str) -> Option<Bytes> {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok().map(Bytes::from)
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Media type and bytes of a `data:TYPE;base64,…` URL; `None` for any other URL.
pub(crate) fn data_url(url: &str) -> Option<(&str, Bytes)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    let media_type = media_type.split(';').next()?;
    Some((media_type, base64_bytes(data)?))
}

/// The format of a file that a chat request of OpenAI's can carry.
pub(crate) fn file_format(media_type: &str) -> Option<&'static str> {
    craton_core::media::document_format(media_type)
        .filter(|format| matches!(*format, "pdf" | "txt" | "md" | "html" | "csv"))
}

/// `png` for `image/png`, for the formats a chat request can carry.
pub(crate) fn image_format(media_type: &str) -> Option<&'static str> {
    match media_type {
        "image/png" => Some("png"),
        "image/jpeg" | "image/jpg" => Some("jpeg"),
        "image/gif" => Some("gif"),
        "image/webp" => Some("webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_give_type_and_bytes() {
        let (kind, bytes) = data_url("data:image/png;base64,aGk=").unwrap();
        assert_eq!((kind, bytes.as_ref()), ("image/png", b"hi".as_slice()));
        let (kind, bytes) = data_url("data:image/png;name=a.png;base64,aGk").unwrap();
        assert_eq!((kind, bytes.as_ref()), ("image/png", b"hi".as_slice()));
        for bad in ["https://example.com/a.png", "data:image/png,raw", "data:image/png;base64,***"] {
            assert!(data_url(bad).is_none(), "{bad}");
        }
    }
}
