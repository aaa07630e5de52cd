//! The canonical request: the one text that signer and verifier must agree on.

use super::{PathEncoding, RequestHead};
use http::HeaderName;
use http::header::HOST;

pub(super) const AUTHORITY: &str = ":authority";

/// Appends the canonical request up to the line of the payload's hash, which the caller adds.
///
/// `signed_headers` is the list as written, `a;b;c`. `None` when one of them is not in the request.
pub(super) fn canonical_request(
    head: &RequestHead<'_>,
    path: PathEncoding,
    signed_headers: &str,
    leave_out_of_query: Option<&str>,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(512 + head.path.len() + 2 * head.query.len());
    out.extend_from_slice(head.method.as_bytes());
    out.push(b'\n');
    canonical_path(&mut out, head.path, path);
    out.push(b'\n');
    canonical_query(&mut out, head.query, leave_out_of_query);
    out.push(b'\n');
    for name in signed_headers.split(';') {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        // Over HTTP/2 the JavaScript SDK signs the pseudo-header by its own name.
        if name == HOST.as_str() || name == AUTHORITY {
            push_value(&mut out, host(head)?.as_bytes());
        } else {
            push_header(&mut out, head, name)?;
        }
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    Some(out)
}

/// The host a request was signed for. A Host header and an `:authority` that disagree are nobody's.
pub(super) fn host<'a>(head: &RequestHead<'a>) -> Option<&'a str> {
    let mut headers = head.headers.get_all(HOST).iter();
    let header = match headers.next() {
        Some(value) => Some(value.to_str().ok()?),
        None => None,
    };
    match (header, head.authority) {
        _ if headers.next().is_some() => None,
        (Some(header), Some(authority)) => (header == authority).then_some(header),
        (found, other) => found.or(other),
    }
}

fn push_header(out: &mut Vec<u8>, head: &RequestHead<'_>, name: &str) -> Option<()> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut values = head.headers.get_all(name).iter();
    push_value(out, values.next()?.as_bytes());
    for value in values {
        out.push(b',');
        push_value(out, value.as_bytes());
    }
    Some(())
}

/// Trims a value and makes one space of each run of white space in it.
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    let mut words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        out.extend_from_slice(first);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

fn canonical_path(out: &mut Vec<u8>, path: &str, encoding: PathEncoding) {
    if path.is_empty() {
        out.push(b'/');
        return;
    }
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        match encoding {
            PathEncoding::Double => segment.bytes().for_each(|byte| push_encoded(out, byte)),
            // S3 decodes `%2F` to a slash and leaves it one.
            PathEncoding::Once => decode(segment, false).for_each(|byte| match byte {
                b'/' => out.push(b'/'),
                byte => push_encoded(out, byte),
            }),
        }
    }
}

/// Whether a path is what normalising it would give: no empty segment but the last, no `.` and `..`.
pub(super) fn is_normal(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return path.is_empty() };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment == "." || segment == ".." || (segment.is_empty() && !last) {
            return false;
        }
    }
    true
}

/// Appends the query with names and values encoded one way and sorted by name, then value.
fn canonical_query(out: &mut Vec<u8>, query: &str, leave_out: Option<&str>) {
    if query.is_empty() {
        return;
    }
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = query_pairs(query)
        .map(|(name, value)| (normal(name), normal(value)))
        .filter(|(name, _)| leave_out.is_none_or(|left_out| name != left_out.as_bytes()))
        .collect();
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn query_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The decoded value of a query parameter that must occur once; `None` when it is absent, repeated or not UTF-8.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    let mut found = query_pairs(query).filter(|(raw, _)| decode(raw, true).eq(name.bytes()));
    let (_, value) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    String::from_utf8(decode(value, true).collect()).ok()
}

fn normal(raw: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    decode(raw, true).for_each(|byte| push_encoded(&mut out, byte));
    out
}

/// Percent-decodes; a `%` that begins no escape stands for itself.
fn decode(raw: &str, plus_is_space: bool) -> impl Iterator<Item = u8> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        at += 1;
        if byte == b'%'
            && let Some([high, low]) = bytes.get(at..at + 2)
            && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
        {
            at += 2;
            return Some(high << 4 | low);
        }
        Some(if byte == b'+' && plus_is_space { b' ' } else { byte })
    })
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Appends a byte, percent-encoded unless it is unreserved in RFC 3986.
pub(super) fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
        out.push(byte);
    } else {
        out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str, encoding: PathEncoding) -> String {
        let mut out = Vec::new();
        canonical_path(&mut out, raw, encoding);
        String::from_utf8(out).unwrap()
    }

    fn query(raw: &str) -> String {
        let mut out = Vec::new();
        canonical_query(&mut out, raw, Some("Left-Out"));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn paths_are_encoded_again_except_for_s3() {
        let raw = "/model/arn%3Aaws%3Abedrock%2Fx:0/converse";
        assert_eq!(path(raw, PathEncoding::Double), "/model/arn%253Aaws%253Abedrock%252Fx%3A0/converse");
        assert_eq!(path(raw, PathEncoding::Once), "/model/arn%3Aaws%3Abedrock/x%3A0/converse");
        assert_eq!(path("", PathEncoding::Double), "/");
        assert_eq!(path("/a b/ü", PathEncoding::Double), "/a%20b/%C3%BC");
    }

    #[test]
    fn queries_are_sorted_by_name_then_value() {
        assert_eq!(query("b=2&a=1&a=&a-=3&Left-Out=x&c"), "a=&a=1&a-=3&b=2&c=");
        assert_eq!(query("k=a%2fb+c%&&~=%7E"), "k=a%2Fb%20c%25&~=~");
    }

    #[test]
    fn only_normal_paths_are_normal() {
        for good in ["", "/", "/a", "/a/", "/a/b.c/..d", "/%2E%2E/x"] {
            assert!(is_normal(good), "{good}");
        }
        for bad in ["a", "//", "/a//b", "/./a", "/a/..", "/a/../b", "/."] {
            assert!(!is_normal(bad), "{bad}");
        }
    }

    #[test]
    fn values_are_trimmed_and_collapsed() {
        let mut out = Vec::new();
        push_value(&mut out, b"  a \t b  c ");
        assert_eq!(out, b"a b c");
    }
}
