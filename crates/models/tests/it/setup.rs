//! What the tests share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use craton_core::{Account, Principal, RandomIds, RequestContext, SystemClock};
use craton_models::files::ModelFiles;
use craton_models::{Models, ModelsConfig, ModelsService};
use craton_store::Store;

pub(crate) fn context() -> RequestContext {
    RequestContext {
        request_id: "1".into(),
        account: Arc::new(Account::default()),
        region: "us-east-1".into(),
        principal: Arc::new(Principal::new("arn:aws:iam::123456789012:root", "AKIA")),
        source_ip: None,
        received_ms: craton_core::Clock::now_ms(&SystemClock),
    }
}

pub(crate) fn in_region(region: &str) -> RequestContext {
    RequestContext { region: region.into(), ..context() }
}

/// Models configured by `config` (TOML), with an empty model store in `directory`.
pub(crate) async fn models(directory: &Path, config: &str) -> Models {
    let config: ModelsConfig = toml::from_str(config).unwrap();
    Models::open(config, ModelFiles::at(directory), Store::in_memory().await.unwrap()).unwrap()
}

pub(crate) async fn service(directory: &Path, config: &str) -> ModelsService {
    ModelsService::new(models(directory, config).await, Arc::new(SystemClock), Arc::new(RandomIds))
}

/// A file that passes for GGUF at a first look, with `marker` to tell it from others.
pub(crate) fn gguf(marker: &str) -> Vec<u8> {
    let counts = [1_u64.to_le_bytes(), 1_u64.to_le_bytes()].concat();
    [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &counts, marker.as_bytes()].concat()
}

pub(crate) fn write_gguf(directory: &Path, name: &str, marker: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, gguf(marker)).unwrap();
    path
}

/// A safetensors file with one tensor of two floats.
pub(crate) fn safetensors() -> Vec<u8> {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0_u8; 8]].concat()
}

/// Paths below `directory` that are not the store's own bookkeeping.
pub(crate) fn visible(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
