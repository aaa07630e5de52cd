use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use craton_models::Task;
use craton_models::files::{FilesError, Format, Import, InstalledModel, ModelFiles, Progress, Quiet};

use crate::setup::{gguf, safetensors, visible, write_gguf};

fn import(files: &ModelFiles, source: &Path, id: &str) -> Result<InstalledModel, FilesError> {
    files.import(
        &Import { source: source.display().to_string(), id: id.into(), task: None, file: None },
        &Quiet,
    )
}

fn store() -> (tempfile::TempDir, ModelFiles, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let files = ModelFiles::at(directory.path().join("models"));
    (directory, files, tempfile::tempdir().unwrap())
}

fn minilm(directory: &Path, architecture: &str) {
    std::fs::create_dir_all(directory.join("1_Pooling")).unwrap();
    std::fs::write(directory.join("model.safetensors"), safetensors()).unwrap();
    std::fs::write(directory.join("config.json"), format!(r#"{{"architectures":["{architecture}"]}}"#))
        .unwrap();
    std::fs::write(directory.join("tokenizer.json"), "{}").unwrap();
    std::fs::write(directory.join("1_Pooling/config.json"), "{}").unwrap();
    std::fs::write(directory.join("pytorch_model.bin"), "not taken").unwrap();
}

#[derive(Default)]
struct Counted {
    total: AtomicU64,
    advanced: AtomicU64,
}

impl Progress for Counted {
    fn begin(&self, _file: &str, total_bytes: Option<u64>, _present_bytes: u64) {
        self.total.fetch_add(total_bytes.unwrap(), Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.advanced.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_file_becomes_a_model_with_a_manifest() {
    let (_directory, files, outside) = store();
    assert!(files.list().unwrap().is_empty(), "a store that does not exist yet is empty");
    let path = write_gguf(outside.path(), "tiny.gguf", "content");
    let progress = Counted::default();
    let request =
        Import { source: path.display().to_string(), id: "my.Tiny:1".into(), task: None, file: None };
    let model = files.import(&request, &progress).unwrap();
    assert_eq!(model.name, "my.tiny-1");
    assert_eq!((model.manifest.task, model.manifest.format), (Task::Chat, Format::Gguf));
    assert_eq!(model.manifest.ids, ["my.Tiny:1"]);
    assert_eq!(std::fs::read(model.path()).unwrap(), gguf("content"));
    assert_eq!(model.bytes(), gguf("content").len() as u64);
    assert_eq!(progress.total.into_inner(), model.bytes());
    assert_eq!(progress.advanced.into_inner(), model.bytes());
    assert_eq!(files.find("my.tiny-1").unwrap().unwrap(), model);
    assert_eq!(files.list().unwrap(), [model]);
    files.verify("my.tiny-1").unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &gguf("content"));
    assert_eq!(files.list().unwrap()[0].manifest.files[0].sha256, hex::encode(digest));
}

#[test]
fn a_folder_keeps_its_folders_and_says_what_it_does() {
    let (_directory, files, outside) = store();
    minilm(outside.path(), "BertModel");
    let model = import(&files, outside.path(), "e5").unwrap();
    assert_eq!((model.manifest.task, model.manifest.format), (Task::Embedding, Format::Safetensors));
    assert_eq!(model.path(), model.directory);
    assert!(model.directory.join("1_Pooling/config.json").is_file());
    assert!(!model.directory.join("pytorch_model.bin").exists());

    minilm(outside.path(), "BertForSequenceClassification");
    assert_eq!(import(&files, outside.path(), "judge").unwrap().manifest.task, Task::Rerank);
    minilm(outside.path(), "LlamaForCausalLM");
    let error = import(&files, outside.path(), "llama").unwrap_err();
    assert!(error.to_string().contains("convert it first"), "{error}");
    assert_eq!(files.list().unwrap().len(), 2);
}

#[test]
fn what_is_damaged_is_refused_with_a_reason_and_leaves_nothing() {
    let (_directory, files, outside) = store();
    for (name, content, reason) in [
        ("cut.gguf", gguf("x")[..20].to_vec(), "cut off"),
        ("page.gguf", b"<html>".to_vec(), "not a GGUF file"),
        ("empty.gguf", Vec::new(), "empty"),
        ("model.bin", gguf("x"), "neither a .gguf"),
    ] {
        let path = outside.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = import(&files, &path, "m").unwrap_err();
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    assert!(import(&files, &outside.path().join("absent.gguf"), "m").is_err());
    let path = write_gguf(outside.path(), "good.gguf", "x");
    for id in ["", "a b", "../x", "smollm2-135m-instruct", "default"] {
        assert!(import(&files, &path, id).is_err(), "{id:?}");
    }
    for task in [Task::Embedding, Task::Rerank, Task::Names, Task::Image] {
        let source = path.display().to_string();
        let import = Import { source, id: "m".into(), task: Some(task), file: None };
        let error = files.import(&import, &Quiet).unwrap_err();
        assert!(matches!(error, FilesError::NothingToServe { .. }), "{task:?}: {error}");
    }
    assert!(files.list().unwrap().is_empty());
    if files.directory().exists() {
        assert!(visible(files.directory()).iter().all(|name| name == ".locks"), "leftovers");
    }
}

#[test]
fn the_same_id_replaces_and_another_id_does_not() {
    let (_directory, files, outside) = store();
    let first = write_gguf(outside.path(), "a.gguf", "first");
    let second = write_gguf(outside.path(), "b.gguf", "second");
    import(&files, &first, "M").unwrap();
    let replaced = import(&files, &second, "M").unwrap();
    assert_eq!(std::fs::read(replaced.path()).unwrap(), gguf("second"));
    assert!(!replaced.directory.join("a.gguf").exists());
    let error = import(&files, &first, "m").unwrap_err();
    assert!(matches!(error, FilesError::NameTaken { .. }), "{error}");
    assert_eq!(visible(files.directory()), [".locks", "m"]);
}

#[test]
fn removal_is_by_name_or_id() {
    let (_directory, files, outside) = store();
    let path = write_gguf(outside.path(), "a.gguf", "x");
    import(&files, &path, "Some:Id").unwrap();
    assert_eq!(files.remove("Some:Id").unwrap().name, "some-id");
    import(&files, &path, "Some:Id").unwrap();
    files.remove("some-id").unwrap();
    assert!(files.list().unwrap().is_empty());
    assert_eq!(visible(files.directory()), [".locks"]);
    for name in ["some-id", "..", ".locks", ""] {
        assert!(matches!(files.remove(name).unwrap_err(), FilesError::NotInstalled(_)), "{name:?}");
    }
}

#[test]
fn damage_after_installation_is_found() {
    let (_directory, files, outside) = store();
    let path = write_gguf(outside.path(), "a.gguf", "content");
    let model = import(&files, &path, "m").unwrap();
    std::fs::write(model.path(), gguf("c0ntent")).unwrap();
    assert!(matches!(files.verify("m").unwrap_err(), FilesError::WrongDigest { .. }));
    std::fs::write(model.path(), gguf("")).unwrap();
    assert!(matches!(files.verify("m").unwrap_err(), FilesError::WrongSize { .. }));
}

#[test]
fn foreign_and_unfinished_folders_are_no_models() {
    let (_directory, files, outside) = store();
    let path = write_gguf(outside.path(), "a.gguf", "x");
    import(&files, &path, "good").unwrap();
    let folder = |name: &str| {
        let folder = files.directory().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    std::fs::write(folder("no-manifest").join("m.gguf"), gguf("x")).unwrap();
    std::fs::write(folder("broken").join("craton.json"), "{").unwrap();
    std::fs::copy(files.directory().join("good/craton.json"), folder(".staging-1-2").join("craton.json"))
        .unwrap();
    let manifest = std::fs::read_to_string(files.directory().join("good/craton.json")).unwrap();
    let escaping = manifest.replace(r#""entry": "a.gguf""#, r#""entry": "../good/a.gguf""#);
    assert_ne!(escaping, manifest);
    std::fs::write(folder("escaping").join("craton.json"), escaping).unwrap();
    let names: Vec<String> = files.list().unwrap().into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["good"]);
}

const CRASH: &str = "CRATON_MODELS_CRASH_DIRECTORY";

/// Dies without warning in the middle of an installation.
struct Abort;

impl Progress for Abort {
    fn advance(&self, _bytes: u64) {
        std::process::abort();
    }
}

/// Not a test of its own: what the dying process runs.
#[test]
fn imports_and_dies() {
    let Some(directory) = std::env::var_os(CRASH) else { return };
    let source = Path::new(&directory).join("a.gguf").display().to_string();
    let import = Import { source, id: "m".into(), task: None, file: None };
    let _ = ModelFiles::at(Path::new(&directory).join("models")).import(&import, &Abort);
}

#[test]
fn a_killed_import_is_no_model_and_is_no_hindrance() {
    let directory = tempfile::tempdir().unwrap();
    let path = write_gguf(directory.path(), "a.gguf", "content");
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "files::imports_and_dies"])
        .env(CRASH, directory.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    let files = ModelFiles::at(directory.path().join("models"));
    assert!(visible(files.directory()).iter().any(|name| name.starts_with(".staging-")), "it had begun");
    assert!(files.list().unwrap().is_empty());
    import(&files, &path, "m").unwrap();
    files.verify("m").unwrap();
}

#[test]
fn imports_of_one_id_at_once_take_turns() {
    let (_directory, files, outside) = store();
    let paths: Vec<_> =
        (0..8).map(|n| write_gguf(outside.path(), &format!("{n}.gguf"), &n.to_string())).collect();
    std::thread::scope(|scope| {
        for path in &paths {
            scope.spawn(|| import(&files, path, "m").unwrap());
        }
    });
    let model = files.find("m").unwrap().unwrap();
    assert_eq!(model.manifest.files.len(), 1);
    files.verify("m").unwrap();
    assert_eq!(visible(files.directory()), [".locks", "m"]);
}
