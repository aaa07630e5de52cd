//! The calls that the safe binding lacks: changing a context's threads while it lives, and rewriting a file's
//! weights in another format.
//!
//! `llama_set_n_threads` takes a raw context. The binding keeps its pointer private, and prints it in the context's
//! `Debug` form only; it is read from there. If a later version prints something else, nothing is found and the
//! threads stay as they were set when the context was made.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_sys_2::{
    LLAMA_FTYPE_MOSTLY_Q8_0, llama_context, llama_model_quantize, llama_model_quantize_default_params,
    llama_n_threads, llama_set_n_threads,
};

/// Sets the threads of one context. Lives no longer than that context: the scheduler owns both.
#[derive(Debug)]
pub(crate) struct ThreadSetter {
    context: NonNull<llama_context>,
    set: i32,
}

impl ThreadSetter {
    /// `configured` is what the context was made with; a pointer whose context says otherwise is not used.
    pub(crate) fn of(context: &LlamaContext<'_>, configured: i32) -> Option<Self> {
        let printed = format!("{context:?}");
        let (_, rest) = printed.split_once("context: 0x")?;
        let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        let address = usize::from_str_radix(&digits, 16).ok()?;
        let pointer = NonNull::new(std::ptr::with_exposed_provenance_mut::<llama_context>(address))?;
        // SAFETY: the address is that of the live context borrowed by this function, as printed by its owner.
        let found = unsafe { llama_n_threads(pointer.as_ptr()) };
        (found == configured).then_some(Self { context: pointer, set: configured })
    }

    /// Threads for the next step, whatever its size.
    pub(crate) fn set(&mut self, threads: i32) {
        if self.set != threads {
            // SAFETY: the scheduler thread calls this between steps while it owns the context, so it is alive and
            // nothing else uses it; the call only stores the two numbers.
            unsafe { llama_set_n_threads(self.context.as_ptr(), threads, threads) };
            self.set = threads;
        }
    }
}

/// Writes the model in `from` to `to` with its weights as Q8_0. The backend must have been started.
pub(crate) fn rewrite_as_q8_0(from: &Path, to: &Path) -> io::Result<()> {
    let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).map_err(io::Error::other);
    let (from, to) = (text(from)?, text(to)?);
    // SAFETY: no arguments; it returns a plain struct without ownership.
    let mut settings = unsafe { llama_model_quantize_default_params() };
    settings.ftype = LLAMA_FTYPE_MOSTLY_Q8_0;
    settings.allow_requantize = true;
    // SAFETY: the two strings end in zero and live beyond the call, as does the struct, whose pointers are null as
    // the defaults left them. C++ exceptions are caught inside and become the result.
    let failed = unsafe { llama_model_quantize(from.as_ptr(), to.as_ptr(), &raw const settings) };
    if failed == 0 { Ok(()) } else { Err(io::Error::other("llama.cpp can't rewrite its weights")) }
}
