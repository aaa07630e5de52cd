//! What a browser posts as a form to a bucket: any bytes as the form, and any fields and policy under a good signature.
#![no_main]

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use craton_core::{Account, Principal, SystemClock};
use craton_identity::{
    AuthorizationRequest, Authorizer, Decision, Identity, NoPolicies, PolicySource, RootCredentials, RootKeys,
};
use craton_objects::{FileObjects, ObjectStore, Objects};
use craton_s3::{Call, S3Front, Sides};
use craton_store::Store;
use craton_wire::sigv4::Secret;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG";
const DATE: &str = "20261122";

struct Everybody;

impl Authorizer for Everybody {
    fn decide(&self, _: &Principal, _: &AuthorizationRequest<'_>) -> Decision {
        Decision::Allow
    }

    fn asks_for(&self, _: &Principal, _: &str) -> bool {
        false
    }

    fn source(&self) -> &dyn PolicySource {
        &NoPolicies
    }
}

struct World {
    runtime: Runtime,
    front: S3Front,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder").keep();
    let front = runtime.block_on(async {
        let store = Store::in_memory().await.expect("records");
        let home = FileObjects::open(store.clone(), &folder, Arc::new(SystemClock)).expect("objects");
        let objects = Objects::new(store, home);
        objects.create_bucket("bucket", "us-east-1").await.expect("a bucket");
        let keys = RootKeys { access_key_id: Some(KEY.into()), secret_access_key: Some(Secret::new(SECRET)) };
        let root = RootCredentials::resolve("/nonexistent".as_ref(), keys).expect("credentials");
        let account = Arc::new(Account::default());
        let identity = Arc::new(Identity::new(&root, &account));
        let sides = Sides::new(objects.clone());
        S3Front::new((objects, sides), identity, Arc::new(Everybody), account, "")
    });
    World { runtime, front }
});

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

/// A form whose policy has these conditions, signed.
fn signed(conditions: &str, fields: &str, file: &[u8]) -> Vec<u8> {
    let credential = format!("{KEY}/{DATE}/us-east-1/s3/aws4_request");
    let policy = format!(
        "{{\"expiration\":\"2999-01-01T00:00:00.000Z\",\"conditions\":[{{\"x-amz-algorithm\":\"AWS4-HMAC-SHA256\"}},\
         {{\"x-amz-credential\":\"{credential}\"}},{{\"x-amz-date\":\"{DATE}T000000Z\"}}{conditions}]}}"
    );
    let policy = STANDARD.encode(policy);
    let key = ["us-east-1", "s3", "aws4_request"]
        .iter()
        .fold(hmac(format!("AWS4{SECRET}").as_bytes(), DATE), |key, part| hmac(&key, part));
    let signature = hex::encode(hmac(&key, &policy));
    let mut body = Vec::new();
    let mut field = |name: &str, value: &str| {
        body.extend_from_slice(
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    };
    field("x-amz-algorithm", "AWS4-HMAC-SHA256");
    field("x-amz-credential", &credential);
    field("x-amz-date", &format!("{DATE}T000000Z"));
    field("policy", &policy);
    field("x-amz-signature", &signature);
    for line in fields.lines() {
        let (name, value) = line.split_once('=').unwrap_or(("key", line));
        field(name, value);
    }
    body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--b--\r\n");
    body
}

// First byte even: the rest is the whole body. Odd: conditions, fields and file of a signed form, a NUL between them.
fuzz_target!(|input: &[u8]| {
    let Some((selector, rest)) = input.split_first() else { return };
    let body = if selector & 1 == 0 {
        rest.to_vec()
    } else {
        let mut parts = rest.splitn(3, |byte| *byte == 0);
        let mut next = || parts.next().unwrap_or_default();
        let (conditions, fields, file) = (next(), next(), next());
        let (Ok(conditions), Ok(fields)) = (std::str::from_utf8(conditions), std::str::from_utf8(fields))
        else {
            return;
        };
        signed(conditions, fields, file)
    };
    let request = http::Request::post("http://localhost/bucket")
        .header("host", "localhost")
        .header("content-type", "multipart/form-data; boundary=b")
        .header("content-length", body.len());
    let Ok(request) = request.body(()) else { return };
    let world = &*WORLD;
    let call = Call {
        parts: request.into_parts().0,
        body: Bytes::from(body).into(),
        request_id: "r".into(),
        peer: [127, 0, 0, 1].into(),
        secure: true,
        received_ms: 1_795_305_600_000,
    };
    let answer = world.runtime.block_on(world.front.answer(call));
    let status = answer.response.status();
    assert!(!status.is_server_error() || status == 501, "{status} {:?}", answer.error);
});
