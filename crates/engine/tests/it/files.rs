use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use craton_backend::BackendError;
use craton_engine::gguf::{GgufError, GgufHeader};
use craton_engine::{Engine, EngineConfig};
use proptest::prelude::*;

use crate::support::{ask, model_path};

/// The header of the real model and the size of its file.
fn real() -> &'static (Vec<u8>, u64) {
    static HEADER: OnceLock<(Vec<u8>, u64)> = OnceLock::new();
    HEADER.get_or_init(|| {
        let bytes = std::fs::read(model_path()).unwrap();
        let size = bytes.len() as u64;
        (bytes[..2 << 20].to_vec(), size)
    })
}

#[test]
fn the_real_header_is_read() {
    let header = GgufHeader::read(&model_path()).unwrap();
    assert_eq!(header.architecture(), "llama");
    assert_eq!(header.parameter("context_length"), Some(8192));
    assert_eq!(header.tensor_count, 272);
    assert!(header.text("tokenizer.chat_template").unwrap().contains("im_start"));
}

async fn load_error(path: &Path) -> String {
    let engine = Engine::open(EngineConfig::default());
    match engine.chat_model("bad", path).chat(ask("hi", 1)).await {
        Err(BackendError::NotReady(reason)) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{} was served", path.display()),
    }
}

#[tokio::test]
async fn bad_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    };
    let (header, _) = real();
    let mut counts = header.clone();
    counts[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut version = header.clone();
    version[4] = 9;
    for (path, reason) in [
        (write("text.gguf", b"hello, I am not a model"), "not a GGUF file"),
        (write("empty.gguf", b""), "not a GGUF file"),
        (write("cut.gguf", &header[..1000]), "ends early"),
        (write("headless.gguf", header), "tensor data"),
        (write("counts.gguf", &counts), "tensor count"),
        (write("version.gguf", &version), "version 9"),
        (folder.path().join("absent.gguf"), "can't be read"),
        (folder.path().to_owned(), "regular file"),
    ] {
        let got = load_error(&path).await;
        assert!(got.contains(reason), "{}: {got}", path.display());
    }
}

#[test]
fn a_vocabulary_whose_parts_disagree_is_refused() {
    let (header, size) = real();
    let key = b"tokenizer.ggml.token_type";
    let at = header.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 8;
    let mut bytes = header.clone();
    let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(length, 49152);
    // One type fewer, and the freed four bytes become an empty, then broken, rest: refused before or at the check.
    bytes[at..at + 8].copy_from_slice(&(length - 1).to_le_bytes());
    assert!(GgufHeader::parse(&bytes[..], *size).is_err());
    let bos = b"tokenizer.ggml.bos_token_id";
    let at = header.windows(bos.len()).position(|window| window == bos).unwrap() + bos.len() + 4;
    let mut bytes = header.clone();
    bytes[at..at + 4].copy_from_slice(&60_000_u32.to_le_bytes());
    assert!(matches!(GgufHeader::parse(&bytes[..], *size), Err(GgufError::Unusable(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_truncated_file_is_refused(keep in 0_usize..(2 << 20)) {
        let (header, _) = real();
        prop_assert!(GgufHeader::parse(&header[..keep], keep as u64).is_err());
    }

    /// Flipped bytes are read without a panic, in bounded time and memory, whatever comes of it.
    #[test]
    fn flipped_bytes_never_panic(flips in proptest::collection::vec((0_usize..1_800_000, 1_u8..=255), 1..8)) {
        let (header, size) = real();
        let mut bytes = header.clone();
        for (at, flip) in flips {
            bytes[at] ^= flip;
        }
        if let Ok(read) = GgufHeader::parse(&bytes[..], *size) {
            prop_assert!(read.tensor_bytes <= *size);
        }
    }

    #[test]
    fn noise_after_the_magic_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..4000), size in 0_u64..100_000) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(noise);
        let _ = GgufHeader::parse(&bytes[..], size);
    }
}

/// The default model's copy answers, and making it again does nothing.
#[tokio::test]
async fn a_faster_copy_answers_as_sensibly() {
    let folder = tempfile::tempdir().unwrap();
    let original = folder.path().join("model.gguf");
    std::fs::copy(crate::support::model_path(), &original).unwrap();
    let abandoned = std::fs::File::create(folder.path().join("model.fast-q8_0.77.part")).unwrap();
    abandoned.set_modified(SystemTime::now() - Duration::from_hours(1)).unwrap();
    let copy = craton_engine::fast_copy(&original).unwrap().unwrap();
    assert_ne!(copy, original);
    let made = std::fs::metadata(&copy).unwrap().modified().unwrap();
    assert_eq!(craton_engine::fast_copy(&original).unwrap().as_ref(), Some(&copy));
    assert_eq!(std::fs::metadata(&copy).unwrap().modified().unwrap(), made);
    // Nothing to gain for the copy itself, and no leftovers.
    assert_eq!(craton_engine::fast_copy(&copy).unwrap(), None);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);

    let engine = craton_engine::Engine::open(crate::support::small());
    let model = engine.chat_model("fast", &copy);
    let question = crate::support::ask("What is the capital of France? Answer in one sentence.", 40);
    let got = crate::support::answer(&model, question).await.unwrap();
    assert!(got.text().contains("Paris"), "{:?}", got.text());
}

#[test]
fn what_is_no_model_has_no_faster_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, b"GGUF").unwrap();
    assert!(craton_engine::fast_copy(&path).unwrap_err().contains("model.gguf"));
}
