//! How a process ends: the first signal that asks it to stop asks for an orderly end, the second ends it at once.
//!
//! An orderly end waits for open requests, and whoever asks twice does not want to. Either way the kernel ends the process:
//! nothing of it runs any more then. C++ would take llama.cpp's tables apart, and a thread that is loading a model, copying
//! it or freeing it would find them gone and die of it, after everything else has ended well.

#![allow(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

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

/// Ends this process, with all that was printed.
pub(crate) fn end(code: ExitCode) -> ! {
    let _ = std::io::stdout().flush();
    // It tells nobody its number.
    let number = (0..=u8::MAX).find(|number| ExitCode::from(*number) == code).unwrap_or(1);
    // SAFETY: runs no code of this process.
    unsafe { nix::libc::_exit(number.into()) }
}
