//! Bodies on their way to a real S3, checked against what was promised before the last of them is sent: a body that
//! turns out wrong is cut off short of the length that was announced, so that the other side keeps nothing of it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;

use crate::checksum::{Digests, Hasher};
use crate::types::{ByteStream, Expect};
use crate::{ObjectError, Result};

/// An error of ours inside a body, found again in the client's complaint that the body broke.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the body was given up")]
pub(super) struct Held(Arc<Mutex<Option<ObjectError>>>);

impl Held {
    fn new(error: ObjectError) -> Self {
        Self(Arc::new(Mutex::new(Some(error))))
    }

    pub(super) fn take(&self) -> ObjectError {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        held.unwrap_or_else(|| ObjectError::Unreachable("the body was given up".into()))
    }
}

/// Where the digests of a body are found once it has been sent.
pub(super) type Seen = Arc<Mutex<Option<Digests>>>;

/// A body of a known length that is checked as it passes.
pub(super) fn checked(body: ByteStream, expect: Expect, length: u64) -> (ByteStream, Seen) {
    let seen: Seen = Arc::default();
    let state = State {
        body,
        hasher: Some(Hasher::new(expect.checksum.as_ref().map(|sum| sum.algorithm).or(expect.algorithm))),
        expect: Some(expect),
        length,
        taken: 0,
        held: None,
        seen: Arc::clone(&seen),
    };
    let stream = futures::stream::unfold(Some(state), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(Held::new(error).into()), None)),
        }
    });
    (stream.boxed(), seen)
}

struct State {
    body: ByteStream,
    hasher: Option<Hasher>,
    expect: Option<Expect>,
    length: u64,
    taken: u64,
    /// The newest chunk, which goes out when another has come or the whole has been found right.
    held: Option<Bytes>,
    seen: Seen,
}

impl State {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.body.next().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(ObjectError::Body)?;
                    if chunk.is_empty() {
                        continue;
                    }
                    self.taken += chunk.len() as u64;
                    if self.taken > self.length {
                        return Err(ObjectError::IncompleteBody {
                            expected: self.length,
                            received: self.taken,
                        });
                    }
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(&chunk);
                    }
                    if let Some(before) = self.held.replace(chunk) {
                        return Ok(Some(before));
                    }
                }
                None => {
                    self.finish()?;
                    return Ok(self.held.take());
                }
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        let (Some(hasher), Some(expect)) = (self.hasher.take(), self.expect.take()) else { return Ok(()) };
        let digests = hasher.finish();
        if digests.length != self.length {
            return Err(ObjectError::IncompleteBody { expected: self.length, received: digests.length });
        }
        expect.verify(&digests)?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(digests);
        Ok(())
    }
}

/// Takes up to `limit` bytes of a body into memory; whether it ended there.
pub(super) async fn fill(
    body: &mut ByteStream,
    rest: &mut Option<Bytes>,
    limit: usize,
) -> Result<(Bytes, bool)> {
    let mut filled = Vec::new();
    loop {
        let chunk = match rest.take() {
            Some(chunk) => chunk,
            None => match body.next().await {
                Some(chunk) => chunk.map_err(ObjectError::Body)?,
                None => return Ok((filled.into(), true)),
            },
        };
        let room = limit - filled.len();
        if chunk.len() > room {
            filled.extend_from_slice(&chunk[..room]);
            *rest = Some(chunk.slice(room..));
            return Ok((filled.into(), false));
        }
        filled.extend_from_slice(&chunk);
    }
}
