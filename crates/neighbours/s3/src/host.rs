//! Buckets in host names: `bucket.s3.example.com`, `bucket.s3.eu-west-1.example.com`, `bucket.example.com`.

use std::borrow::Cow;

use http::request::Parts;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// Reads the bucket off a host name under one domain. Any other name is taken for path-style.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    domain: String,
}

impl Hosts {
    pub(crate) fn new(domain: &str) -> Self {
        Self { domain: domain.trim_matches('.').to_ascii_lowercase() }
    }
}

/// The bucket that a host name has, under this domain.
pub(crate) fn bucket_of<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let below = host.len().checked_sub(domain.len())?;
    let (rest, suffix) = host.split_at_checked(below)?;
    if domain.is_empty() || !suffix.eq_ignore_ascii_case(domain) {
        return None;
    }
    let rest = rest.strip_suffix('.')?;
    if is_service(rest) {
        return None;
    }
    // The service's own labels, where they are there: `.s3` or `.s3.REGION`.
    let bucket = rest.strip_suffix(".s3").or_else(|| {
        let (front, region) = rest.rsplit_once('.')?;
        let looks_like_one = region.contains('-') && region.ends_with(|letter: char| letter.is_ascii_digit());
        front.strip_suffix(".s3").filter(|_| looks_like_one)
    });
    Some(bucket.unwrap_or(rest))
}

/// `s3` or `s3.REGION`.
fn is_service(name: &str) -> bool {
    name == "s3" || name.strip_prefix("s3.").is_some_and(|region| !region.contains('.'))
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(Cow::Borrowed(self.domain.as_str()));
        Ok(match bucket_of(host, &self.domain) {
            // Buckets are lower case, host names are not.
            Some(bucket) => found.with_bucket(bucket.to_ascii_lowercase()),
            None => found,
        })
    }
}

fn host(parts: &Parts) -> Option<&str> {
    parts
        .uri
        .authority()
        .map(http::uri::Authority::as_str)
        .or_else(|| parts.headers.get("host")?.to_str().ok())
}

/// Whether the host name says `s3`: `s3.…` or `bucket.s3.…` under this domain.
pub fn is_virtual_host(parts: &Parts, domain: &str) -> bool {
    let Some(host) = host(parts) else { return false };
    let name = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let Some(rest) = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) else { return false };
    rest.split('.').any(|label| label == "s3")
}

/// Whether an unsigned or V2-signed request can only be meant for S3: it has a V2 signature or presigned query, or posts
/// a form.
pub fn matches_s3(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    if has("AWSAccessKeyId") && has("Signature") {
        return true;
    }
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    header("authorization").starts_with("AWS ")
        || (parts.method == http::Method::POST && header("content-type").starts_with("multipart/form-data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_read_off_the_host() {
        for (host, bucket) in [
            ("b.s3.localhost:8473", Some("b")),
            ("b.s3.us-east-1.localhost", Some("b")),
            ("b.c.s3.localhost", Some("b.c")),
            ("b.localhost:1", Some("b")),
            ("B.LOCALHOST", Some("B")),
            ("s3.localhost", None),
            ("s3.eu-west-1.localhost:8473", None),
            ("localhost:8473", None),
            ("example.com", None),
            ("notlocalhost", None),
        ] {
            assert_eq!(bucket_of(host, "localhost"), bucket, "{host}");
        }
    }
}
