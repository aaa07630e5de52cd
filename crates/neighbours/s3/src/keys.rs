//! Context keys that only S3's requests have, for conditions in policies.

use craton_identity::policy::{Context, Keys as _};
use craton_wire::sigv4::parse_amz_date;
use http::{HeaderMap, Uri};

/// When a presigned request was signed, until [`set_age`] makes an age of it.
const SIGNED_AT: &str = "s3:signatureAge";

/// Milliseconds since a presigned request was signed, in place of when that was.
pub(crate) fn set_age(context: &mut Context, now_ms: i64) {
    let signed = context.values("s3:signatureage").and_then(|values| parse_amz_date(values.first()?));
    if let Some(signed_ms) = signed {
        context.set(SIGNED_AT, now_ms.saturating_sub(signed_ms).max(0).to_string());
    }
}

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
        ("x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption-aws-kms-key-id"),
        (
            "x-amz-server-side-encryption-customer-algorithm",
            "s3:x-amz-server-side-encryption-customer-algorithm",
        ),
        ("x-amz-website-redirect-location", "s3:x-amz-website-redirect-location"),
        ("x-amz-object-ownership", "s3:x-amz-object-ownership"),
        ("x-amz-object-lock-mode", "s3:object-lock-mode"),
        ("x-amz-object-lock-retain-until-date", "s3:object-lock-retain-until-date"),
        ("x-amz-object-lock-legal-hold", "s3:object-lock-legal-hold"),
        ("x-amz-grant-read", "s3:x-amz-grant-read"),
        ("x-amz-grant-write", "s3:x-amz-grant-write"),
        ("x-amz-grant-read-acp", "s3:x-amz-grant-read-acp"),
        ("x-amz-grant-write-acp", "s3:x-amz-grant-write-acp"),
        ("x-amz-grant-full-control", "s3:x-amz-grant-full-control"),
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
    let query = uri.query().unwrap_or_default();
    let version = query_keys(query, &mut context);
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let signed = if header("authorization").is_some() {
        Some(("REST-HEADER", "AWS4-HMAC-SHA256"))
    } else if has("X-Amz-Signature") {
        Some(("REST-QUERY-STRING", "AWS4-HMAC-SHA256"))
    } else if has("Signature") {
        Some(("REST-QUERY-STRING", "AWS"))
    } else {
        None
    };
    if let Some((how, version)) = signed {
        context.set("s3:authType", how);
        context.set("s3:signatureversion", version);
    }
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
            "X-Amz-Date" => SIGNED_AT,
            _ => continue,
        };
        let value = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value).decode_utf8_lossy();
        version |= name == "versionId" && !value.is_empty();
        context.set(key, value.into_owned());
    }
    version
}
