//! What the chunks of one document may come to.
//!
//! A chunk repeats what its neighbours say (overlap), the passage around it (hierarchical chunking) and the document's
//! attributes, so that a small document under odd settings could come to more than the server holds.

use crate::ingestion::failure::Failure;

const MOST_CHUNKS: usize = 100_000;
const MOST_BYTES: usize = 256 << 20;

/// What is left for a document's chunks.
#[derive(Debug)]
pub(crate) struct Room {
    chunks: usize,
    bytes: usize,
    /// Bytes that every chunk carries.
    each: usize,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self { chunks: MOST_CHUNKS, bytes: MOST_BYTES, each: 0 }
    }

    /// Every chunk from here on carries so many bytes.
    pub(crate) fn each_carries(&mut self, bytes: usize) {
        self.each = bytes;
    }

    /// Takes what one more chunk needs.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        let chunks = self.chunks.checked_sub(1).ok_or_else(|| {
            Failure::document(format!("it comes to more than {MOST_CHUNKS} chunks: choose larger ones"))
        })?;
        let left = bytes.checked_add(self.each).and_then(|needed| self.bytes.checked_sub(needed));
        let left = left.ok_or_else(|| {
            Failure::document(format!(
                "its chunks, with what each repeats of its neighbours, its parent and the attributes, come to more \
                 than {} MiB: choose less overlap, smaller parents or fewer attributes",
                MOST_BYTES >> 20
            ))
        })?;
        (self.chunks, self.bytes) = (chunks, left);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(mut room: Room, bytes: usize) -> String {
        loop {
            match room.take(bytes) {
                Ok(()) => {}
                Err(Failure::Document(reason)) => return reason,
                Err(failure) => panic!("{failure:?}"),
            }
        }
    }

    #[test]
    fn chunks_and_their_bytes_run_out() {
        assert!(reason(Room::new(), 1).contains("more than 100000 chunks"));
        assert!(reason(Room::new(), 1 << 20).contains("more than 256 MiB"));
        let mut heavy = Room::new();
        heavy.each_carries(64 << 20);
        assert!((0..3).all(|_| heavy.take(1).is_ok()) && heavy.take(1).is_err());
    }
}
