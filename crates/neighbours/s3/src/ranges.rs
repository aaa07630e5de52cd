//! `Range` headers that `s3s` refuses: S3 answers with the whole object to one that it can't read, and reads numbers of
//! any length. The signature may cover the header, so it is mended once the request was checked with what was sent.

use http::header::{AUTHORIZATION, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, dto};

use crate::access::Caller;

/// What of a query is its signature, of either version.
const SIGNATURE: [&str; 10] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "AWSAccessKeyId",
    "Expires",
    "Signature",
];
/// The greatest position that `s3s` reads, and past the end of every object.
const FARTHEST: u64 = i64::MAX as u64;

/// Lets a request through whose caller was checked before.
pub(crate) struct Checked(pub(crate) Caller);

#[async_trait::async_trait]
impl S3Access for Checked {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        context.extensions_mut().insert(self.0.clone());
        Ok(())
    }
}

/// The request with a range that `s3s` reads, or none, and without its signature. `None` where the range is fine.
pub(crate) fn mended(parts: &Parts) -> Option<Parts> {
    if !matches!(parts.method, http::Method::GET | http::Method::HEAD) {
        return None;
    }
    let range = mended_range(&parts.headers)?;
    let mut parts = parts.clone();
    parts.headers.remove(RANGE);
    if let Some(range) = range {
        parts.headers.insert(RANGE, range);
    }
    parts.headers.remove(AUTHORIZATION);
    parts.uri = unsigned(&parts.uri)?;
    Some(parts)
}

/// What a range should have been, `None` inside for none at all.
fn mended_range(headers: &HeaderMap) -> Option<Option<HeaderValue>> {
    let mut all = headers.get_all(RANGE).iter();
    let (first, second) = (all.next()?, all.next());
    let (Ok(text), None) = (first.to_str(), second) else { return Some(None) };
    // `s3s` takes the second for the last zero bytes.
    let is_fine = text.is_empty() || text != "bytes=-" && dto::Range::parse(text).is_ok();
    (!is_fine).then(|| readable(text).and_then(|range| HeaderValue::from_str(&range).ok()))
}

/// A range that only has numbers too long for `s3s`, or its unit in other letters. `None` for one that is none.
fn readable(text: &str) -> Option<String> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    let range = match (position(first)?, position(last)?) {
        (None, None) => return None,
        (None, Some(length)) => format!("bytes=-{length}"),
        (Some(first), None) => format!("bytes={first}-"),
        (Some(first), Some(last)) if first <= last => format!("bytes={first}-{last}"),
        // As if nobody had asked for a range.
        (Some(_), Some(_)) => return None,
    };
    Some(range)
}

/// A number, cut to the farthest there is; `None` inside for an empty one.
fn position(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = || digits.parse().map_or(FARTHEST, |number: u64| number.min(FARTHEST));
    Some((!digits.is_empty()).then(number))
}

/// The URI without what signs it.
fn unsigned(uri: &Uri) -> Option<Uri> {
    let Some(query) = uri.query() else { return Some(uri.clone()) };
    let is_signature = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        let name = percent_decode_str(name).decode_utf8_lossy();
        SIGNATURE.contains(&&*name)
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_signature(pair)).collect();
    let mut parts = uri.clone().into_parts();
    let path =
        if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_s3_reads_them() {
        let mended = |range: &str| {
            let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_str(range).unwrap())]);
            mended_range(&headers).map(|range| range.map(|range| range.to_str().unwrap().to_owned()))
        };
        for fine in ["bytes=0-4", "bytes=4-", "bytes=-4", "bytes=-0", ""] {
            assert_eq!(mended(fine), None, "{fine}");
        }
        for none in [
            "lines=1-2",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "bytes=5-4",
            "bytes=+1-2",
            "é",
        ] {
            assert_eq!(mended(none), Some(None), "{none}");
        }
        let farthest = format!("bytes={FARTHEST}-");
        for (range, read) in [
            ("Bytes=0-4", "bytes=0-4"),
            ("bytes=99999999999999999999-", &farthest),
            ("bytes=1-99999999999999999999", &format!("bytes=1-{FARTHEST}")),
            ("bytes=-99999999999999999999", &format!("bytes=-{FARTHEST}")),
        ] {
            assert_eq!(mended(range), Some(Some(read.to_owned())), "{range}");
            assert!(dto::Range::parse(read).is_ok());
        }
    }

    #[test]
    fn signatures_leave_the_query_and_nothing_else_does() {
        for (uri, left) in [
            ("/b/k", "/b/k"),
            ("/b/k?X-Amz-Signature=s&versionId=3&X%2dAmz-Date=d", "/b/k?versionId=3"),
            ("http://h/b/k%20?AWSAccessKeyId=a&Expires=1&Signature=s", "http://h/b/k%20"),
            ("/b/k?response-expires=x&partNumber=1", "/b/k?response-expires=x&partNumber=1"),
        ] {
            assert_eq!(unsigned(&uri.parse().unwrap()).unwrap(), left);
        }
    }
}
