//! A copy of a model in a format that computes faster.
//!
//! llama.cpp has interleaved kernels for Q4_0 weights and none for Q4_1. Rewriting a Q4_1 file as Q4_0 costs some
//! precision (the example `precision` measures how much) and gains speed, so it is the operator's choice. The original stays as it is, and answers whenever there is no copy.

use std::path::{Path, PathBuf};

use crate::gguf::GgufHeader;
use crate::model::backend;
use crate::raw::rewrite_as_q4_0;

/// `general.file_type` of files whose weights are mostly Q4_1.
const MOSTLY_Q4_1: u64 = 3;
const SUFFIX: &str = "fast-q4_0";

/// The faster copy of the model in the file at `original`, beside it, made now if there is none; `None` when this
/// model's format has nothing to gain. Reads and writes the whole file: call it on a thread that may block. The error
/// is for the person who runs the server.
pub fn fast_copy(original: &Path) -> Result<Option<PathBuf>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", original.display());
    let header = GgufHeader::read(original).map_err(|error| wrong(&error))?;
    if header.unsigned("general.file_type") != Some(MOSTLY_Q4_1) {
        return Ok(None);
    }
    let copy = original.with_extension(format!("{SUFFIX}.gguf"));
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let made_from = changed(original).map_err(|error| wrong(&error))?;
    if changed(&copy).is_ok_and(|made| made >= made_from) {
        return Ok(Some(copy));
    }
    backend()?;
    let unfinished = original.with_extension(format!("{SUFFIX}.{}.part", std::process::id()));
    let written = rewrite_as_q4_0(original, &unfinished)
        .and_then(|()| std::fs::File::open(&unfinished)?.sync_all())
        .and_then(|()| std::fs::rename(&unfinished, &copy));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&unfinished);
        return Err(wrong(&error));
    }
    Ok(Some(copy))
}
