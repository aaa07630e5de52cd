//! Signals that ask a process to stop: the first asks for an orderly end, the second ends it at once.
//!
//! An orderly end waits, for open requests and for a model that is being loaded. Whoever asks twice does not want to. The
//! kernel ends the process then: nothing of it runs any more, C++'s taking apart of what a model thread still uses
//! included.

#![allow(unsafe_code)]

use nix::sys::signal::{SigHandler, Signal, signal};

/// Resolves at SIGTERM or SIGINT.
pub(crate) fn asked_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// From here on SIGTERM and SIGINT end this process at once.
pub(crate) fn end_at_once_from_now() {
    for number in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: the default action runs no code of this process. It fails for no signal that can be caught, and then
        // what was set before stays.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
    }
}
