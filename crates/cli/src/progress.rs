use craton_models::files::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;

/// Draws an installation on the terminal; without one it writes a line a file.
#[derive(Default)]
pub(crate) struct Bars {
    current: Mutex<Option<ProgressBar>>,
}

const SIZED: &str = "{msg:<32!} {bar:28} {bytes:>11} / {total_bytes} {bytes_per_sec} {eta}";
const UNSIZED: &str = "{msg:<32!} {spinner} {bytes:>11} {bytes_per_sec}";

impl Bars {
    fn current(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn begin(&self, file: &str, total_bytes: Option<u64>, present_bytes: u64) {
        self.end();
        let (bar, template) = match total_bytes {
            Some(total) => (ProgressBar::new(total), SIZED),
            None => (ProgressBar::new_spinner(), UNSIZED),
        };
        if bar.is_hidden() {
            eprintln!("{file}");
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_message(file.to_owned());
        bar.set_position(present_bytes);
        bar.reset_eta();
        *self.current() = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.current() {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.current().take() {
            bar.finish();
        }
    }

    fn note(&self, message: &str) {
        match &*self.current() {
            Some(bar) if !bar.is_hidden() => bar.suspend(|| eprintln!("{message}")),
            _ => eprintln!("{message}"),
        }
    }
}
