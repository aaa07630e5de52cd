/// Told how an installation comes along, so that a command line can draw it. All methods default to silence.
pub trait Progress: Send + Sync {
    /// A file begins: its size where known, and how much of it was already here.
    fn begin(&self, _file: &str, _total_bytes: Option<u64>, _present_bytes: u64) {}
    /// So many bytes more of the file that began last.
    fn advance(&self, _bytes: u64) {}
    /// The file that began last is complete.
    fn end(&self) {}
    /// Something a person would want to read: what happens next, or why it waits.
    fn note(&self, _message: &str) {}
}

/// No progress shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {}
