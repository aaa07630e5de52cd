//! A copy of a model in a format that computes faster.
//!
//! llama.cpp multiplies Q8_0 weights with many tokens at once, block by block, and Q4_1 weights one token after the other.
//! Eight bits hold what four and an offset say all but exactly (the example `precision` measures it), so a Q4_1 file
//! rewritten as Q8_0 answers the same, and a batch or a prompt is computed about half as fast again. It takes more memory,
//! and of a large model the memory is what costs time: only small ones have a copy. The original stays as it is, and
//! answers whenever there is no copy. Processors for which [`crate::multiplies_blocks`] holds need none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::gguf::GgufHeader;
use crate::model::backend;
use crate::raw::rewrite_as_q8_0;

/// `general.file_type` of files whose weights are mostly Q4_1.
const MOSTLY_Q4_1: u64 = 3;
/// Weights of more than this are read from memory for every token, and fewer bytes are what is fast.
const MOST_BYTES: u64 = 512 << 20;
const SUFFIX: &str = "fast-q8_0";
/// A copy takes seconds. One that nobody has written to for so long belongs to a process that ended meanwhile.
const ABANDONED: Duration = Duration::from_mins(10);

/// The faster copy of the model in the file at `original`, beside it, made now if there is none; `None` when this
/// model's format has nothing to gain. Reads and writes the whole file: call it on a thread that may block. The error
/// is for the person who runs the server.
pub fn fast_copy(original: &Path) -> Result<Option<PathBuf>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", original.display());
    let size = std::fs::metadata(original).map_err(|error| wrong(&error))?.len();
    if size > MOST_BYTES {
        return Ok(None);
    }
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
    remove_abandoned(original);
    let unfinished = original.with_extension(format!("{SUFFIX}.{}.part", std::process::id()));
    let written = rewrite_as_q8_0(original, &unfinished)
        .and_then(|()| std::fs::File::open(&unfinished)?.sync_all())
        .and_then(|()| std::fs::rename(&unfinished, &copy));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&unfinished);
        return Err(wrong(&error));
    }
    Ok(Some(copy))
}

/// Removes unfinished copies that nobody is at any more.
fn remove_abandoned(original: &Path) {
    let (Some(folder), Some(stem)) = (original.parent(), original.file_stem()) else { return };
    let begin = format!("{}.{SUFFIX}.", stem.to_string_lossy());
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_unfinished =
            name.to_str().is_some_and(|name| name.starts_with(&begin) && name.ends_with(".part"));
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let since = written.ok().and_then(|written| written.elapsed().ok());
        if is_unfinished && since.is_some_and(|since| since > ABANDONED) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
