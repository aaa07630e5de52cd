//! Context keys that only S3's requests have, for conditions in policies.

use craton_identity::policy::Context;
use http::{HeaderMap, Uri};

/// `context` with S3's own keys, and whether the request names a version.
pub(crate) fn own_keys(uri: &Uri, headers: &HeaderMap, mut context: Context) -> (Context, bool) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    for (name, key) in [
        ("x-amz-acl", "s3:x-amz-acl"),
        ("x-amz-copy-source", "s3:x-amz-copy-source"),
        ("x-amz-metadata-directive", "s3:x-amz-metadata-directive"),
        ("x-amz-server-side-encryption", "s3:x-amz-server-side-encryption"),
        ("x-amz-storage-class", "s3:x-amz-storage-class"),
        ("x-amz-content-sha256", "s3:x-amz-content-sha256"),
        ("if-none-match", "s3:if-none-match"),
        ("if-match", "s3:if-match"),
    ] {
        if let Some(value) = header(name) {
            context.set(key, value);
        }
    }
    if let Some(tags) =
        header("x-amz-tagging").and_then(|tags| crate::convert::tagging_header(Some(tags)).ok())
    {
        context.set_all("s3:RequestObjectTagKeys", tags.keys().cloned());
        for (key, value) in tags {
            context.set(&format!("s3:RequestObjectTag/{key}"), value);
        }
    }
    let version = query_keys(uri.query().unwrap_or_default(), &mut context);
    (context, version)
}

fn query_keys(query: &str, context: &mut Context) -> bool {
    let mut version = false;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = match name {
            "prefix" => "s3:prefix",
            "delimiter" => "s3:delimiter",
            "max-keys" => "s3:max-keys",
            "versionId" => "s3:VersionId",
            _ => continue,
        };
        let value = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value).decode_utf8_lossy();
        version |= name == "versionId" && !value.is_empty();
        context.set(key, value.into_owned());
    }
    version
}
