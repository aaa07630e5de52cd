//! The end of the process.
//!
//! C++ takes llama.cpp's tables apart then, and a thread that is still loading a model or computing finds them gone: the process
//! dies of it after everything else has ended well. So model threads say when they are at work, and who ends the process waits.

use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};

static AT_WORK: RwLock<()> = RwLock::new(());

/// To be held while llama.cpp loads or computes.
pub(crate) fn at_work() -> RwLockReadGuard<'static, ()> {
    AT_WORK.read()
}

/// Waits until no model of this process is being loaded or computes, and keeps all from beginning anew: the last thing that a
/// process does. False when `most` was not enough.
pub fn rest(most: Duration) -> bool {
    let resting = AT_WORK.try_write_for(most);
    let all = resting.is_some();
    std::mem::forget(resting);
    all
}
