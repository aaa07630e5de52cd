//! What answers say of objects.

use http::HeaderMap;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

use super::xml::Element;
use crate::checksum::{Algorithm, Checksum};
use crate::types::{Attributes, ListedVersion, ObjectMeta, Part};

/// Milliseconds of an HTTP date.
pub(super) fn http_date(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    Some(at.unix_timestamp() * 1000)
}

/// Milliseconds of a date in XML.
pub(super) fn xml_date(text: Option<&str>) -> i64 {
    let at = text.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    at.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()).unwrap_or_default()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?;
    value.to_str().ok().or_else(|| std::str::from_utf8(value.as_bytes()).ok())
}

pub(super) fn etag(headers: &HeaderMap) -> String {
    header(headers, "etag").unwrap_or_default().trim_matches('"').to_owned()
}

pub(super) fn version(headers: &HeaderMap) -> Option<String> {
    header(headers, "x-amz-version-id").map(str::to_owned)
}

pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    header(headers, name)?.parse().ok()
}

pub(super) fn checksum(headers: &HeaderMap) -> Option<Checksum> {
    Algorithm::ALL.into_iter().find_map(|algorithm| {
        let value = header(headers, algorithm.header())?.to_owned();
        Some(Checksum { algorithm, value })
    })
}

/// The size of the whole object, which a partial answer names in its range.
pub(super) fn whole_size(headers: &HeaderMap) -> u64 {
    let ranged = header(headers, "content-range").and_then(|range| range.rsplit('/').next()?.parse().ok());
    ranged.or_else(|| number(headers, "content-length")).unwrap_or_default()
}

/// Which bytes an answer has.
pub(super) fn range(headers: &HeaderMap, size: u64) -> std::ops::Range<u64> {
    let ranged = header(headers, "content-range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes ")?.split('/').next()?.split_once('-')?;
        Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
    });
    ranged.unwrap_or(0..size)
}

pub(super) fn meta(key: &str, headers: &HeaderMap) -> ObjectMeta {
    let text = |name: &str| header(headers, name).map(str::to_owned);
    let user = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-amz-meta-")?;
        Some((name.to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    let etag = etag(headers);
    let counted = number(headers, "x-amz-mp-parts-count").and_then(|parts| u32::try_from(parts).ok());
    ObjectMeta {
        key: key.to_owned(),
        version_id: version(headers),
        size: whole_size(headers),
        modified_ms: header(headers, "last-modified").and_then(http_date).unwrap_or_default(),
        attributes: Attributes {
            content_type: text("content-type"),
            content_encoding: text("content-encoding"),
            content_language: text("content-language"),
            content_disposition: text("content-disposition"),
            cache_control: text("cache-control"),
            expires: text("expires"),
            website_redirect: text("x-amz-website-redirect-location"),
            user: user.collect(),
        },
        checksum: checksum(headers),
        parts: counted.or_else(|| etag.rsplit_once('-').and_then(|(_, parts)| parts.parse().ok())),
        tag_count: number(headers, "x-amz-tagging-count")
            .and_then(|tags| u32::try_from(tags).ok())
            .unwrap_or(0),
        etag,
    }
}

/// Names in lists are asked for percent-encoded, since XML can't hold every one.
pub(super) fn name(element: &Element, child: &str) -> String {
    let text = element.text_of(child).unwrap_or_default();
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

pub(super) fn unquoted(element: &Element) -> String {
    element.text_of("ETag").unwrap_or_default().trim_matches('"').to_owned()
}

pub(super) fn listed_version(element: &Element) -> ListedVersion {
    ListedVersion {
        key: name(element, "Key"),
        version_id: element.text_of("VersionId").unwrap_or("null").to_owned(),
        latest: element.is_true("IsLatest"),
        delete_marker: element.name() == "DeleteMarker",
        size: element.number("Size"),
        etag: unquoted(element),
        modified_ms: xml_date(element.text_of("LastModified")),
    }
}

pub(super) fn part(element: &Element) -> Part {
    let sum = |algorithm: Algorithm| {
        let value = element.text_of(&format!("Checksum{}", algorithm.name()))?.to_owned();
        Some(Checksum { algorithm, value })
    };
    Part {
        number: u32::try_from(element.number("PartNumber")).unwrap_or_default(),
        size: element.number("Size"),
        etag: unquoted(element),
        checksum: Algorithm::ALL.into_iter().find_map(sum),
        modified_ms: xml_date(element.text_of("LastModified")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_ranges_are_read() {
        assert_eq!(http_date("Sun, 30 Aug 2015 12:36:00 GMT"), Some(1_440_938_160_000));
        assert_eq!(xml_date(Some("2015-08-30T12:36:00.250Z")), 1_440_938_160_250);
        let headers: HeaderMap = [
            (http::header::CONTENT_RANGE, http::HeaderValue::from_static("bytes 5-9/20")),
            (http::header::CONTENT_LENGTH, http::HeaderValue::from_static("5")),
        ]
        .into_iter()
        .collect();
        assert_eq!((whole_size(&headers), range(&headers, 20)), (20, 5..10));
    }
}
