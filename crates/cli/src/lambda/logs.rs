//! `craton lambda logs`: the file that a function's output is kept in.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::options::ServerOptions;

const POLL: Duration = Duration::from_millis(200);
/// What is read of a file to find its last lines.
const TAIL_BYTES: u64 = 1 << 20;

/// Show what a function printed
///
/// Reads the file in the server's data directory, so it runs on the server's machine.
#[derive(Args)]
#[command(after_help = "Examples:
  craton lambda logs orders
  craton lambda logs orders --follow
  craton lambda logs orders --lines 1000 --data-dir ./data")]
pub(super) struct Logs {
    /// The function's name
    name: String,

    /// Go on with what is printed from now on
    #[arg(long, short)]
    follow: bool,

    /// Lines to show
    #[arg(long, value_name = "N", default_value_t = 100)]
    lines: usize,

    /// The function's region [default: the server's]
    #[arg(long)]
    region: Option<String>,

    #[command(flatten)]
    server: ServerOptions,
}

impl Logs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.server.load()?;
        let region = self.region.as_deref().unwrap_or(&config.region);
        if !self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            bail!("{} is not a function's name", self.name);
        }
        let path = log_path(&config.data_dir, region, &self.name);
        let mut out = io::stdout().lock();
        let mut followed = Followed::new(path);
        match followed.last_lines(self.lines) {
            Ok(text) => out.write_all(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.follow => {}
            Err(error) => {
                return Err(error).with_context(|| format!("nothing is kept in {}", followed.path.display()));
            }
        }
        if !self.follow {
            return Ok(ExitCode::SUCCESS);
        }
        loop {
            out.flush()?;
            std::thread::sleep(POLL);
            followed.copy_new(&mut out)?;
        }
    }
}

/// Where a server keeps a function's output.
pub(super) fn log_path(data_dir: &Path, region: &str, name: &str) -> PathBuf {
    craton_lambda::log_path(&data_dir.join("lambda"), region, name)
}

/// A file that grows, and is replaced when it has grown enough.
pub(super) struct Followed {
    path: PathBuf,
    open: Option<File>,
}

impl Followed {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// The last lines of what is there; what comes later is new.
    pub(super) fn last_lines(&mut self, lines: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        self.open = Some(file);
        let ends =
            text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1);
        let start = ends.skip(1).nth(lines.saturating_sub(1)).unwrap_or(0);
        Ok(if lines == 0 { Vec::new() } else { text.split_off(start) })
    }

    /// Copies what was printed since. A file that is not there yet is waited for.
    pub(super) fn copy_new(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        if let Some(file) = &mut self.open {
            io::copy(file, out)?;
            let now = std::fs::metadata(&self.path).map(|found| found.ino()).ok();
            if now == Some(file.metadata()?.ino()) {
                return out.flush();
            }
            // It was moved away; what its writer had begun to write is read, and the new one is read from its start.
            io::copy(file, out)?;
        }
        self.open = File::open(&self.path).ok();
        if let Some(file) = &mut self.open {
            io::copy(file, out)?;
        }
        out.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_followed_over_its_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.log");
        let mut followed = Followed::new(path.clone());
        let new = |followed: &mut Followed| {
            let mut out = Vec::new();
            followed.copy_new(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(new(&mut followed), "");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(followed.last_lines(2).unwrap(), b"two\nthree\n");
        assert_eq!(Followed::new(path.clone()).last_lines(9).unwrap(), b"one\ntwo\nthree\n");
        assert_eq!(Followed::new(path.clone()).last_lines(0).unwrap(), b"");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"four\n").unwrap();
        assert_eq!(new(&mut followed), "four\n");
        file.write_all(b"five\n").unwrap();
        std::fs::rename(&path, path.with_extension("log.1")).unwrap();
        std::fs::write(&path, "six\n").unwrap();
        assert_eq!(new(&mut followed), "five\nsix\n");
        assert_eq!(new(&mut followed), "");
    }
}
