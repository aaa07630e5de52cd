//! A first look at weights: the header must be what the format says, so that a truncated download or a web page saved
//! under the wrong name is refused at installation. The engine checks the rest when it loads a model.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};

use super::{FilesError, Format};

/// The format's own limit on a safetensors header.
const SAFETENSORS_HEADER_MAX_BYTES: u64 = 100_000_000;
/// Far above any real model; stops absurd counts.
const GGUF_MAX_COUNT: u64 = 1 << 24;
/// Magic, version, two counts.
const GGUF_HEADER_BYTES: usize = 24;

/// Checks the weights at `path`.
pub(super) fn weights(path: &Path, format: Format) -> Result<(), FilesError> {
    let bad = |reason: String| FilesError::BadModel { file: path.display().to_string(), reason };
    let mut file = File::open(path).map_err(|error| FilesError::io(path, error))?;
    let length = file.metadata().map_err(|error| FilesError::io(path, error))?.len();
    match format {
        Format::Gguf => gguf(&mut file, length).map_err(bad),
        Format::Safetensors => safetensors(&mut file, length).map_err(bad),
        Format::Spacy => Ok(()),
    }
}

fn gguf(file: &mut impl Read, length: u64) -> Result<(), String> {
    let mut header = [0_u8; GGUF_HEADER_BYTES];
    let got = read_up_to(file, &mut header).map_err(|error| error.to_string())?;
    if got < 4 || header[..4] != *b"GGUF" {
        return Err(format!("it is not a GGUF file: it begins with {}", describe(&header[..got])));
    }
    if got < GGUF_HEADER_BYTES {
        return Err(format!("it is cut off after {length} bytes"));
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let version = word(4);
    if version.swap_bytes() == 2 || version.swap_bytes() == 3 {
        return Err("it is a big-endian GGUF file, which this machine can't use".to_owned());
    }
    if !(2..=3).contains(&version) {
        return Err(format!("its GGUF version is {version}; 2 and 3 can be read"));
    }
    let (tensors, pairs) = (long(8), long(16));
    if tensors > GGUF_MAX_COUNT || pairs == 0 || pairs > GGUF_MAX_COUNT {
        return Err(format!("its header is damaged: {tensors} tensors, {pairs} metadata entries"));
    }
    Ok(())
}

fn safetensors(file: &mut impl Read, length: u64) -> Result<(), String> {
    let mut prefix = [0_u8; 8];
    let got = read_up_to(file, &mut prefix).map_err(|error| error.to_string())?;
    if got < prefix.len() {
        return Err(format!("it is cut off after {length} bytes"));
    }
    let header_bytes = u64::from_le_bytes(prefix);
    if !(2..=SAFETENSORS_HEADER_MAX_BYTES).contains(&header_bytes) {
        return Err(format!("it is not a safetensors file: it begins with {}", describe(&prefix)));
    }
    if header_bytes > length - 8 {
        return Err(format!("it is cut off: {length} bytes, and its header alone has {header_bytes}"));
    }
    let mut header = Vec::new();
    file.take(header_bytes).read_to_end(&mut header).map_err(|error| error.to_string())?;
    let header: Map<String, Value> = serde_json::from_slice(&header)
        .map_err(|error| format!("its safetensors header is not JSON: {error}"))?;
    let mut end = 0;
    let mut tensors = 0_usize;
    for (name, tensor) in header.iter().filter(|(name, _)| *name != "__metadata__") {
        let offsets = tensor.get("data_offsets").and_then(Value::as_array);
        let offset = |at: usize| offsets.and_then(|offsets| offsets.get(at)).and_then(Value::as_u64);
        match (offset(0), offset(1)) {
            (Some(from), Some(to)) if from <= to => end = end.max(to),
            _ => return Err(format!("its safetensors header is damaged at {name:?}")),
        }
        tensors += 1;
    }
    if tensors == 0 {
        return Err("it holds no tensors".to_owned());
    }
    let data_bytes = length - 8 - header_bytes;
    if end > data_bytes {
        return Err(format!("it is cut off: {data_bytes} bytes of tensors, {end} expected"));
    }
    Ok(())
}

/// Fills as much of `buffer` as there is.
fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The first bytes as a person would recognise them.
fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing (it is empty)".to_owned();
    }
    let text: String = bytes.iter().take(8).map(|byte| byte.escape_ascii().to_string()).collect();
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gguf_header(version: u32, tensors: u64, pairs: u64) -> Vec<u8> {
        [b"GGUF".as_slice(), &version.to_le_bytes(), &tensors.to_le_bytes(), &pairs.to_le_bytes()].concat()
    }

    fn check_gguf(bytes: &[u8]) -> Result<(), String> {
        gguf(&mut &bytes[..], bytes.len() as u64)
    }

    fn safetensors_file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    fn check_safetensors(bytes: &[u8]) -> Result<(), String> {
        safetensors(&mut &bytes[..], bytes.len() as u64)
    }

    #[test]
    fn a_gguf_header_must_be_whole_and_sane() {
        assert_eq!(check_gguf(&gguf_header(3, 10, 5)), Ok(()));
        let whole = gguf_header(3, 10, 5);
        for length in 0..whole.len() {
            assert!(check_gguf(&whole[..length]).is_err(), "{length}");
        }
        assert!(check_gguf(b"<!DOCTYPE html><html>....").unwrap_err().contains("<!DOCTYP"));
        assert!(check_gguf(&gguf_header(1, 10, 5)).unwrap_err().contains("version is 1"));
        assert!(check_gguf(&gguf_header(3_u32.swap_bytes(), 10, 5)).unwrap_err().contains("big-endian"));
        assert!(check_gguf(&gguf_header(3, u64::MAX, 5)).is_err());
        assert!(check_gguf(&gguf_header(3, 1, 0)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(tail: Vec<u8>, header in ".{0,60}") {
            let _ = check_gguf(&tail);
            let _ = check_gguf(&[b"GGUF".as_slice(), &tail].concat());
            let _ = check_safetensors(&tail);
            let _ = check_safetensors(&safetensors_file(&header, tail.len()));
        }

        #[test]
        fn a_safetensors_file_is_good_exactly_when_its_tensors_fit(from in 0_u64..32, to in 0_u64..32, data in 0_usize..32) {
            let header = format!(r#"{{"a":{{"data_offsets":[{from},{to}]}}}}"#);
            let good = from <= to && to <= data as u64;
            proptest::prop_assert_eq!(check_safetensors(&safetensors_file(&header, data)).is_ok(), good);
        }
    }

    #[test]
    fn a_safetensors_header_must_agree_with_the_file() {
        let header = r#"{"__metadata__":{},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        let whole = safetensors_file(header, 8);
        assert_eq!(check_safetensors(&whole), Ok(()));
        for length in 0..whole.len() {
            assert!(check_safetensors(&whole[..length]).is_err(), "{length}");
        }
        assert!(check_safetensors(&safetensors_file("{}", 0)).unwrap_err().contains("no tensors"));
        assert!(check_safetensors(&safetensors_file(r#"{"a":{"data_offsets":[8,0]}}"#, 8)).is_err());
        assert!(check_safetensors(&safetensors_file(r#"{"a":1}"#, 8)).is_err());
        assert!(check_safetensors(&[0xff; 64]).unwrap_err().contains("not a safetensors"));
    }
}
