//! Requests and API keys, signed and authenticated against the root of a data directory.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed step is a failed test

use craton_core::Account;
use craton_identity::{Identity, RootCredentials, RootKeys};
use craton_wire::ApiError;
use craton_wire::sigv4::{
    PathEncoding, RequestHead, Rules, Secret, Signer, SigningSecret, sha256, sign_request,
};
use http::request::Parts;

const NOW_MS: i64 = 1_790_000_000_000;
const BODY: &[u8] = b"{}";

fn identity() -> Identity {
    let keys = RootKeys {
        access_key_id: Some("AKIDEXAMPLE".into()),
        secret_access_key: Some(Secret::new("wJalrXUtnFEMI/K7MDENG")),
    };
    let root = RootCredentials::resolve("/nonexistent".as_ref(), keys).unwrap();
    Identity::new(&root, &Account::default())
}

fn signed(id: &str, secret: &str, token: Option<&str>) -> Parts {
    let request = http::Request::post("http://localhost:8473/model/m%3A0/converse").body(()).unwrap();
    let mut parts = request.into_parts().0;
    let secret = SigningSecret::new(Secret::new(secret));
    let signer = Signer {
        access_key_id: id,
        secret: &secret,
        session_token: token,
        region: "eu-west-1",
        service: "bedrock",
        path: PathEncoding::Double,
    };
    sign_request(&mut parts, &sha256(BODY), &signer, NOW_MS).unwrap();
    parts
}

fn authenticate(parts: &Parts, now_ms: i64) -> Result<craton_identity::Authenticated, ApiError> {
    let identity = identity();
    let pending = identity.begin(&RequestHead::from(parts), &Rules::of_service("bedrock"), None)?;
    pending.finish(&sha256(BODY), now_ms)
}

#[test]
fn the_root_is_recognised_with_the_region_it_signed_for() {
    let parts = signed("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", None);
    let found = authenticate(&parts, NOW_MS + 1000).unwrap();
    assert_eq!(found.principal.arn, "arn:aws:iam::123456789012:root");
    assert_eq!(found.principal.access_key_id, "AKIDEXAMPLE");
    assert_eq!(found.region, "eu-west-1");
}

#[test]
fn strangers_and_session_tokens_nobody_gave_are_refused() {
    for parts in [
        signed("AKIDOTHER", "wJalrXUtnFEMI/K7MDENG", None),
        signed("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", Some("stale-token")),
    ] {
        let error = authenticate(&parts, NOW_MS).unwrap_err();
        assert_eq!(error.code, "UnrecognizedClientException");
        assert_eq!(error.message, "The security token included in the request is invalid.");
    }
    let error = authenticate(&signed("AKIDEXAMPLE", "wrong-secret", None), NOW_MS).unwrap_err();
    assert_eq!(error.code, "InvalidSignatureException");
}

#[test]
fn api_keys_are_good_until_they_expire() {
    let identity = identity();
    let key = identity.new_api_key("us-west-2", 3600, NOW_MS).unwrap();
    assert_eq!(identity.api_key(&key, NOW_MS + 3_599_000, None).unwrap().region, "us-west-2");
    let error = identity.api_key(&key, NOW_MS + 3_601_000, None).unwrap_err();
    assert_eq!(
        (error.code.as_ref(), error.message.as_str()),
        ("AccessDeniedException", "Bearer Token has expired")
    );
    let error = identity.api_key("sk-something", NOW_MS, None).unwrap_err();
    assert_eq!(error.code, "AccessDeniedException");
}

#[test]
fn nothing_shows_the_secret() {
    let text = format!("{:?}", identity());
    assert!(text.contains("AKIDEXAMPLE") && !text.contains("wJalr"), "{text}");
}
