//! What verifying a signature costs once the signing key is warm: parse, hash a 1 KB body, verify.
//!
//!     cargo run --release -p craton-wire --example sigv4_cost

use std::hint::black_box;
use std::time::Instant;

use craton_wire::sigv4::{
    Claim, PathEncoding, RequestHead, Rules, Secret, Signer, SigningSecret, sha256, sign_request,
};

const ROUNDS: u32 = 20_000;
const REPEATS: usize = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let body = vec![b'x'; 1024];
    let secret = SigningSecret::new(Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"));
    let signer = Signer {
        access_key_id: "AKIDEXAMPLE",
        secret: &secret,
        session_token: None,
        region: "us-east-1",
        service: "bedrock",
        path: PathEncoding::Double,
    };
    let request = http::Request::post("/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse")
        .header("host", "127.0.0.1:8473")
        .header("content-type", "application/json")
        .header("user-agent", "Boto3/1.44.5")
        .header("amz-sdk-invocation-id", "9eebf440-14d0-4e15-a200-d203040d4eb1")
        .body(())?;
    let mut parts = request.into_parts().0;
    sign_request(&mut parts, &sha256(&body), &signer, 0)?;
    let mut costs_us: Vec<f64> = Vec::new();
    for _ in 0..REPEATS {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let claim = Claim::parse(&RequestHead::from(&parts), &Rules::of_service("bedrock"))?;
            claim.verify(&secret, &sha256(black_box(&body)), 1000)?;
            black_box(&claim);
        }
        costs_us.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
    costs_us.sort_by(f64::total_cmp);
    let hash = Instant::now();
    for _ in 0..ROUNDS {
        black_box(sha256(black_box(&body)));
    }
    let hash_us = hash.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
    eprintln!(
        "warm verification of a 1 KB request: {:.2} µs (median of {REPEATS}), of which the body's hash {hash_us:.2} µs",
        costs_us[REPEATS / 2]
    );
    Ok(())
}
