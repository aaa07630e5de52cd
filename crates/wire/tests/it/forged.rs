//! A request that differs from the signed one in a single byte, anywhere, is refused.

use craton_wire::sigv4::{Claim, RequestHead, Rules, Secret, SigningSecret, parse_amz_date};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use crate::signed::{Received, recordings};

/// Whether two requests differ only in what the signature's own normal form leaves out: the case of hexadecimal
/// digits in the query, white space in header values.
fn same_meaning(a: &Received, b: &Received) -> bool {
    let query = |received: &Received| {
        let bytes = received.query.as_bytes();
        let mut out = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let escape = bytes.get(at..at + 3).filter(|escape| {
                escape[0] == b'%' && escape[1].is_ascii_hexdigit() && escape[2].is_ascii_hexdigit()
            });
            match escape {
                Some(escape) => out.extend(escape.to_ascii_uppercase()),
                None => out.push(bytes[at]),
            }
            at += escape.map_or(1, <[u8]>::len);
        }
        out
    };
    let headers = |received: &Received| -> Vec<(String, Vec<Vec<u8>>)> {
        let words = |value: &HeaderValue| {
            let words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t'));
            words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
        };
        received.headers.iter().map(|(name, value)| (name.to_string(), words(value))).collect()
    };
    a.method == b.method
        && a.path == b.path
        && query(a) == query(b)
        && headers(a) == headers(b)
        && a.authority == b.authority
        && a.body == b.body
}

/// Changes one byte of one part; `None` when the change can't be sent (or falls on an empty part).
fn change(original: &Received, part: usize, at: usize, by: u8) -> Option<Received> {
    let text = |text: &str| -> Option<String> {
        let mut bytes = text.as_bytes().to_vec();
        let at = at.checked_rem(bytes.len())?;
        bytes[at] ^= by;
        let sendable = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
        String::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| sendable(&byte)))
    };
    let mut changed = Received {
        method: original.method.clone(),
        path: original.path.clone(),
        query: original.query.clone(),
        headers: original.headers.clone(),
        authority: original.authority.clone(),
        body: original.body.clone(),
    };
    match part {
        0 => changed.method = text(&original.method)?,
        1 => changed.path = text(&original.path).filter(|path| !path.contains('?'))?,
        2 => changed.query = text(&original.query)?,
        3 => changed.authority = Some(text(original.authority.as_deref()?)?),
        4 => {
            let at = at.checked_rem(changed.body.len())?;
            changed.body[at] ^= by;
        }
        _ => {
            let name = original.headers.keys().nth(part - 5)?;
            let mut bytes = original.headers[name].as_bytes().to_vec();
            let at = at.checked_rem(bytes.len())?;
            bytes[at] ^= by;
            changed.headers.insert(name, HeaderValue::from_bytes(&bytes).ok()?);
        }
    }
    Some(changed)
}

/// Headers that the recorded client left unsigned: changing them changes nothing that was promised.
fn unsigned_header(received: &Received, part: usize) -> bool {
    let Some(name) = part.checked_sub(5).and_then(|index| received.headers.keys().nth(index)) else {
        return false;
    };
    let authorization = received.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let listed = authorization.unwrap_or_else(|| received.query.clone());
    name != "authorization" && !listed.to_ascii_lowercase().contains(name.as_str())
}

#[test]
fn every_single_byte_of_the_recorded_requests_counts() {
    let mut tried = 0;
    for recording in recordings() {
        let (secret, now_ms) = (recording.secret(), recording.now_ms());
        for recorded in &recording.requests {
            let original = Received::of(recorded);
            original.verify(&recorded.service, &secret, now_ms).unwrap();
            for part in 0..5 + original.headers.keys_len() {
                if unsigned_header(&original, part) {
                    continue;
                }
                for at in 0..part_len(&original, part) {
                    for by in [1, 2, 0x20] {
                        let Some(changed) = change(&original, part, at, by) else { continue };
                        if same_meaning(&original, &changed) {
                            continue;
                        }
                        tried += 1;
                        let result = changed.verify(&recorded.service, &secret, now_ms);
                        assert!(result.is_err(), "{}: part {part} byte {at} xor {by}", recorded.name);
                    }
                }
            }
        }
    }
    assert!(tried > 30_000, "{tried}");
}

fn part_len(received: &Received, part: usize) -> usize {
    match part {
        0 => received.method.len(),
        1 => received.path.len(),
        2 => received.query.len(),
        3 => received.authority.as_ref().map_or(0, String::len),
        4 => received.body.len(),
        _ => received.headers.keys().nth(part - 5).map_or(0, |name| received.headers[name].len()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 50_000, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_change_of_a_byte_is_refused(
        which in 0_usize..1000, part in 0_usize..16, at in 0_usize..4096, by in 1_u8..=255,
    ) {
        let recording = &recordings()[which % 2];
        let recorded = &recording.requests[which / 2 % recording.requests.len()];
        let original = Received::of(recorded);
        prop_assume!(!unsigned_header(&original, part));
        let changed = change(&original, part, at, by);
        prop_assume!(changed.as_ref().is_some_and(|changed| !same_meaning(&original, changed)));
        let result = changed.unwrap().verify(&recorded.service, &recording.secret(), recording.now_ms());
        prop_assert!(result.is_err(), "{}", recorded.name);
    }

    #[test]
    fn the_parser_takes_any_text(
        authorization in ".{0,300}", path in ".{0,80}", query in ".{0,300}", date in ".{0,20}",
    ) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(authorization.as_bytes()) {
            headers.insert("authorization", value);
        }
        if let Ok(value) = HeaderValue::from_bytes(date.as_bytes()) {
            headers.insert("x-amz-date", value);
        }
        let head = RequestHead { method: "GET", path: &path, query: &query, headers: &headers, authority: Some("h") };
        let _ = craton_wire::sigv4::scope_service(&head);
        prop_assert!(Claim::parse(&head, &Rules::of_service("bedrock")).is_err());
    }
}

/// The error for a head with these headers.
fn refusal(headers: &[(&'static str, &str)], path: &str) -> (String, String) {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let head =
        RequestHead { method: "GET", path, query: "", headers: &headers, authority: Some("localhost") };
    let secret = SigningSecret::new(Secret::new("secret-key"));
    let error = Claim::parse(&head, &Rules::of_service("bedrock"))
        .and_then(|claim| claim.verify(&secret, &[0; 32], parse_amz_date("20240102T000000Z").unwrap()))
        .unwrap_err();
    (error.code.into_owned(), error.message)
}

#[test]
fn malformed_heads_get_aws_errors() {
    const DATE: (&str, &str) = ("x-amz-date", "20240102T000000Z");
    let signature = "0".repeat(64);
    let auth = |scope: &str, signed: &str| {
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}")
    };
    let check = |headers: &[(&'static str, &str)], code: &str, message: &str| {
        let (found_code, found) = refusal(headers, "/");
        assert!(
            found_code == code && found.contains(message),
            "{found_code}: {found}\nexpected {code}: {message}"
        );
    };
    check(&[], "MissingAuthenticationTokenException", "Missing Authentication Token");
    check(
        &[("authorization", "AWS4-HMAC-SHA256 SignedHeaders=host"), DATE],
        "IncompleteSignatureException",
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter.",
    );
    check(
        &[("authorization", "AWS4-HMAC-SHA256 abc"), DATE],
        "IncompleteSignatureException",
        "missing equal-sign",
    );
    check(&[("authorization", "Bearer abc"), DATE], "IncompleteSignatureException", "AWS4-HMAC-SHA256");
    let good = auth("AKID/20240102/us-east-1/bedrock/aws4_request", "host;x-amz-date");
    check(&[("authorization", &good)], "IncompleteSignatureException", "'X-Amz-Date' or a 'Date' header");
    check(
        &[("authorization", &good), ("x-amz-date", "2024-01-02")],
        "IncompleteSignatureException",
        "ISO-8601",
    );
    check(
        &[("authorization", &good), DATE],
        "InvalidSignatureException",
        "does not match the signature you provided",
    );
    for (scope, message) in [
        ("AKID/20240102/us-east-1/bedrock", "5 slash-delimited"),
        ("AKID/20240102/us-east-1/bedrock/aws4_request/x", "5 slash-delimited"),
        ("AKID//us-east-1/bedrock/aws4_request", "5 slash-delimited"),
    ] {
        let header = auth(scope, "host;x-amz-date");
        check(&[("authorization", &header), DATE], "IncompleteSignatureException", message);
    }
    for (scope, message) in [
        ("AKID/20240102/us-east-1/s3/aws4_request", "correct service: 'bedrock'"),
        ("AKID/20240102/us-east-1/bedrock/aws5_request", "valid terminator: 'aws4_request'"),
        (
            "AKID/20240101/us-east-1/bedrock/aws4_request",
            "'20240101' != '20240102', from '20240102T000000Z'.",
        ),
    ] {
        let header = auth(scope, "host;x-amz-date");
        check(&[("authorization", &header), DATE], "InvalidSignatureException", message);
    }
    let scope = "AKID/20240102/us-east-1/bedrock/aws4_request";
    check(
        &[("authorization", &auth(scope, "x-amz-date")), DATE],
        "InvalidSignatureException",
        "'Host' or ':authority'",
    );
    check(
        &[("authorization", &auth(scope, "host")), DATE],
        "InvalidSignatureException",
        "'x-amz-date' must be",
    );
    for unsorted in ["x-amz-date;host", "Host;x-amz-date", "host;host;x-amz-date"] {
        check(&[("authorization", &auth(scope, unsorted)), DATE], "IncompleteSignatureException", "sorted");
    }
    assert!(refusal(&[("authorization", &good), DATE], "/a/../b").1.contains("dot segments"));
}
