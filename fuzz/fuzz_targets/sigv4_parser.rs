//! Any head of a request is refused or parsed; nothing but the right signature verifies.
#![no_main]

use craton_wire::sigv4::{
    Claim, EMPTY_SHA256, PathEncoding, RequestHead, Rules, Secret, SigningSecret, scope_service,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const S3: Rules<'static> = Rules { service: "s3", path: PathEncoding::Once, unsigned_payload: true };

fuzz_target!(|data: &[u8]| {
    // Lines: method, path, query, authority, then `name: value` headers.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (method, path, query, authority) = (next(), next(), next(), next());
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.append(name, value);
        }
    }
    let authority = (!authority.is_empty()).then_some(authority);
    let head = RequestHead { method, path, query, headers: &headers, authority };
    let _ = scope_service(&head);
    let secret = SigningSecret::new(Secret::new("a secret that the fuzzer does not know"));
    for rules in [Rules::of_service("bedrock"), S3] {
        if let Ok(claim) = Claim::parse(&head, &rules) {
            assert!(claim.verify(&secret, &EMPTY_SHA256, claim.signed_ms).is_err());
        }
    }
});
