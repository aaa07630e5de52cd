//! Any token is refused or parsed; none verifies that was not made with the secret.
#![no_main]

use craton_wire::api_key::KeyClaim;
use craton_wire::sigv4::{Secret, SigningSecret};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = KeyClaim::parse(text);
    // The same text as what the base64 of a key holds, which the fuzzer would not find by itself.
    let secret = SigningSecret::new(Secret::new("a secret that the fuzzer does not know"));
    if let Ok(claim) = KeyClaim::parse(&format!("bedrock-api-key-{}", base64(text.as_bytes()))) {
        assert!(claim.verify(&secret, claim.expires_ms() - 1).is_err());
    }
});

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().chain([0, 0].iter()).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for index in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
            out.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}
