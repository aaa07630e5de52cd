//! Bytes of a document to the text a model reads.
//!
//! Owns every format that a Converse document block can have, and presentations. Documents come from strangers, so nothing here trusts
//! them: input, output, what an archive unpacks to, nesting and time all have [`Limits`], and a parser that panics
//! costs one document, not the process. What a document is follows from its bytes first and from its declared format
//! second, since files are often named wrongly; the declared format decides between kinds of plain text.
//!
//! Text comes out as a model reads it best: headings and lists as Markdown, tables and sheets as rows of
//! comma-separated values.

mod bounds;
mod csv_rows;
mod docx;
mod error;
mod format;
mod html;
mod pdf;
mod plain;
mod pptx;
mod sheets;
mod xls_guard;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use error::DocumentError;
pub use format::Format;

use bounds::Budget;

/// How much one document may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub input_bytes: usize,
    /// What compressed parts may unpack to, together.
    pub unpacked_bytes: usize,
    pub output_bytes: usize,
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            input_bytes: 32 << 20,
            unpacked_bytes: 256 << 20,
            output_bytes: 8 << 20,
            time: Duration::from_secs(20),
        }
    }
}

/// A document's text and what the document turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    pub text: String,
    pub format: Format,
    /// Where in `text` each page begins, in bytes; empty for what has no pages.
    pub pages: Vec<usize>,
}

/// Parsers that recurse get room for what nesting the checks before them let through.
const STACK_BYTES: usize = 256 << 20;
/// Threads that may be at work at a time, those included that outran their time and can't be ended.
const MAX_THREADS: usize = 8;
static THREADS: Mutex<usize> = Mutex::new(0);
static THREAD_ENDED: Condvar = Condvar::new();

/// The text of a document declared as `format` (`pdf`, `csv`, `doc`, `docx`, `pptx`, `xls`, `xlsx`, `html`, `txt` or
/// `md`).
///
/// Blocks for as long as `limits.time`; the work runs on a thread of its own, which is left to itself when its time
/// is up.
pub fn extract(bytes: &[u8], format: &str, limits: &Limits) -> Result<Extracted, DocumentError> {
    if bytes.len() > limits.input_bytes {
        return Err(DocumentError::TooLarge { what: "the document", limit_bytes: limits.input_bytes });
    }
    let declared =
        Format::from_name(format).ok_or_else(|| DocumentError::UnknownFormat(format.to_owned()))?;
    let format = format::detect(bytes, declared)?;
    // Plain text needs no parser that could go wrong.
    if matches!(format, Format::Txt | Format::Md | Format::Csv) {
        return plain::decode(bytes, limits).map(|text| Extracted { text, format, pages: Vec::new() });
    }
    let bytes = bytes.to_vec();
    let limits = *limits;
    run_bounded(limits.time, move |budget| {
        let budget = Budget { limits, ..budget };
        let mut pages = Vec::new();
        let text = match format {
            Format::Html => html::extract(&bytes, &budget),
            Format::Pdf => pdf::extract(&bytes, &budget).map(|read| {
                pages = read.pages;
                read.text
            }),
            Format::Docx => docx::extract(&bytes, &budget),
            Format::Pptx => pptx::extract(&bytes, &budget),
            Format::Xlsx => sheets::extract_xlsx(bytes, &budget),
            Format::Xls => sheets::extract_xls(bytes, &budget),
            Format::Doc => Err(DocumentError::Unsupported(
                "Word 97 documents (.doc) can't be read; save the document as .docx or .pdf",
            )),
            Format::Txt | Format::Md | Format::Csv => plain::decode(&bytes, &limits),
        };
        text.map(|text| Extracted { text, format, pages })
    })
}

/// A thread's place among [`MAX_THREADS`], released however the thread ends.
struct Place;

impl Place {
    /// Waits for a place, as long as the work itself may take.
    fn take(time: Duration) -> Result<Self, DocumentError> {
        let threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |threads: &mut usize| *threads >= MAX_THREADS;
        let (mut threads, waited) =
            THREAD_ENDED.wait_timeout_while(threads, time, full).unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(DocumentError::Busy);
        }
        *threads += 1;
        Ok(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *THREADS.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        THREAD_ENDED.notify_one();
    }
}

fn run_bounded<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce(Budget) -> Result<T, DocumentError> + Send + 'static,
) -> Result<T, DocumentError> {
    let place = Place::take(time)?;
    let budget = Budget { limits: Limits::default(), deadline: Instant::now() + time };
    let (send, receive) = sync_channel(1);
    let body = move || {
        let _place = place;
        let result = catch_unwind(AssertUnwindSafe(|| work(budget)))
            .unwrap_or_else(|_| Err(DocumentError::Malformed("its parser failed".into())));
        // Nobody listens after the time is up.
        let _ = send.send(result);
    };
    std::thread::Builder::new()
        .name("craton-document".into())
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map_err(|_| DocumentError::Busy)?;
    match receive.recv_timeout(time) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(DocumentError::TimedOut(time)),
        Err(RecvTimeoutError::Disconnected) => Err(DocumentError::Malformed("its parser failed".into())),
    }
}
