//! What a parser may still spend.

use std::io::{self, Cursor, Read};
use std::time::Instant;

use zip::ZipArchive;

use crate::{DocumentError, Limits};

/// An office document has some dozens.
const MAX_ENTRIES: usize = 10_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub limits: Limits,
    pub deadline: Instant,
}

impl Budget {
    /// Errors once the time is up. Cheap enough for every element.
    pub(crate) fn check_time(&self) -> Result<(), DocumentError> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(DocumentError::TimedOut(self.limits.time)) }
    }

    /// Errors when `text` has outgrown its limit.
    pub(crate) fn check_output(&self, text: &str) -> Result<(), DocumentError> {
        if text.len() <= self.limits.output_bytes { Ok(()) } else { Err(self.output_too_large()) }
    }

    pub(crate) fn output_too_large(&self) -> DocumentError {
        DocumentError::TooLarge { what: "its text", limit_bytes: self.limits.output_bytes }
    }

    pub(crate) fn unpacked_too_large(&self) -> DocumentError {
        DocumentError::TooLarge { what: "what it unpacks to", limit_bytes: self.limits.unpacked_bytes }
    }

    /// Opens a zip archive after unpacking all of it once into nothing, because the sizes it states may be lies.
    pub(crate) fn open_zip<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<ZipArchive<Cursor<&'a [u8]>>, DocumentError> {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(DocumentError::malformed)?;
        if archive.len() > MAX_ENTRIES {
            return Err(DocumentError::TooComplex(format!("it has more than {MAX_ENTRIES} parts")));
        }
        let mut left = self.limits.unpacked_bytes as u64;
        for index in 0..archive.len() {
            self.check_time()?;
            let entry = archive.by_index(index).map_err(zip_error)?;
            let read =
                io::copy(&mut entry.take(left + 1), &mut io::sink()).map_err(DocumentError::malformed)?;
            left = left.checked_sub(read).ok_or_else(|| self.unpacked_too_large())?;
        }
        Ok(archive)
    }
}

fn zip_error(error: zip::result::ZipError) -> DocumentError {
    match error {
        zip::result::ZipError::UnsupportedArchive(reason)
            if reason.to_ascii_lowercase().contains("password") =>
        {
            DocumentError::Encrypted
        }
        error => DocumentError::malformed(error),
    }
}
