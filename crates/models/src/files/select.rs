//! Which files of a folder, wheel or repository make up a model.

use std::collections::BTreeMap;

use super::{FilesError, Format};

/// Quantisations in the order we would take them when a repository has several.
const PREFERRED: [&str; 8] = ["q4_k_m", "q4_0", "q4_1", "q4_k_s", "q5_k_m", "q6_k", "q8_0", "f16"];
/// A folder with a model has these.
const SAFETENSORS_NEEDS: [&str; 2] = ["config.json", "tokenizer.json"];

/// The files to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    pub format: Format,
    /// (path at the source, path in the model's folder).
    pub files: Vec<(String, String)>,
    /// What the engine opens, in the model's folder.
    pub entry: String,
}

/// Chooses among `paths` (relative, `/`). With `wanted`, that file and what belongs to it.
pub(super) fn select(source: &str, paths: &[String], wanted: Option<&str>) -> Result<Selection, FilesError> {
    let nothing = |reason: String| FilesError::NothingToServe { source_name: source.to_owned(), reason };
    let models = ggufs(paths);
    if let Some(wanted) = wanted {
        if !paths.iter().any(|path| path == wanted) {
            return Err(nothing(format!("it has no file {wanted:?}")));
        }
        return match models.values().find(|parts| parts.iter().any(|part| part == wanted)) {
            Some(parts) => gguf(parts).map_err(nothing),
            None => safetensors(paths, parent(wanted)).ok_or_else(|| {
                nothing(format!(
                    "{wanted:?} is neither GGUF nor safetensors with config.json and tokenizer.json"
                ))
            }),
        };
    }
    if !models.is_empty() {
        return gguf(choose(&models).map_err(nothing)?).map_err(nothing);
    }
    let mut roots: Vec<&str> =
        paths.iter().filter(|path| path.ends_with(".safetensors")).map(|path| parent(path)).collect();
    roots.sort_by_key(|root| root.len());
    roots.into_iter().find_map(|root| safetensors(paths, root)).ok_or_else(|| {
        nothing("no .gguf file, and no safetensors with config.json and tokenizer.json".into())
    })
}

/// Refuses a source with several GGUF models, telling which.
pub(super) fn only_gguf(source: &str, paths: &[String]) -> Result<(), FilesError> {
    let models = ggufs(paths);
    match models.len() {
        0 | 1 => Ok(()),
        _ => Err(FilesError::NothingToServe { source_name: source.to_owned(), reason: several(&models) }),
    }
}

fn several(models: &BTreeMap<String, Vec<String>>) -> String {
    let names: Vec<&str> = models.values().filter_map(|parts| parts.first()).map(String::as_str).collect();
    format!("it has several GGUF files; choose one with --file: {}", names.join(", "))
}

/// GGUF models by name, each with its parts in order.
fn ggufs(paths: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut models: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        if name.ends_with(".gguf") && !name.starts_with("mmproj") {
            let model = split_part(path).map_or_else(|| path.clone(), |(stem, _)| stem.to_owned());
            models.entry(model).or_default().push(path.clone());
        }
    }
    models.values_mut().for_each(|parts| parts.sort());
    models
}

/// `name-00001-of-00003.gguf` → (`name`, 3).
fn split_part(path: &str) -> Option<(&str, usize)> {
    let stem = path.strip_suffix(".gguf")?;
    let (rest, total) = stem.rsplit_once("-of-")?;
    let (name, part) = rest.rsplit_once('-')?;
    let number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (number(part) && number(total)).then(|| Some((name, total.parse().ok()?)))?
}

fn choose(models: &BTreeMap<String, Vec<String>>) -> Result<&[String], String> {
    if let (1, Some(only)) = (models.len(), models.values().next()) {
        return Ok(only);
    }
    let preferred = PREFERRED.iter().find_map(|quantisation| {
        let mut matching = models.iter().filter(|(name, _)| name.to_ascii_lowercase().contains(quantisation));
        match (matching.next(), matching.next()) {
            (Some((_, parts)), None) => Some(parts.as_slice()),
            _ => None,
        }
    });
    preferred.ok_or_else(|| several(models))
}

fn gguf(parts: &[String]) -> Result<Selection, String> {
    let Some(first) = parts.first() else { return Err("it has no GGUF file".into()) };
    if let Some((_, total)) = split_part(first)
        && total != parts.len()
    {
        return Err(format!("{first} is one of {total} parts, and {} are there", parts.len()));
    }
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    Ok(Selection {
        format: Format::Gguf,
        files: parts.iter().map(|path| (path.clone(), name(path))).collect(),
        entry: name(first),
    })
}

/// The model in folder `root`, when it is complete there.
fn safetensors(paths: &[String], root: &str) -> Option<Selection> {
    let prefix = if root.is_empty() { String::new() } else { format!("{root}/") };
    let here: Vec<(String, String)> = paths
        .iter()
        .filter_map(|path| Some((path.clone(), path.strip_prefix(&prefix)?.to_owned())))
        .filter(|(_, path)| belongs(path))
        .collect();
    let has = |name: &str| here.iter().any(|(_, path)| path == name);
    let complete =
        SAFETENSORS_NEEDS.into_iter().all(has) && here.iter().any(|(_, path)| path.ends_with(".safetensors"));
    complete.then(|| Selection { format: Format::Safetensors, files: here, entry: ".".to_owned() })
}

/// Weights and what describes them, in the folder itself or in a sentence-transformers module such as `1_Pooling/`.
fn belongs(path: &str) -> bool {
    let (folder, name) = path.split_once('/').unwrap_or(("", path));
    let module = folder.split_once('_').is_some_and(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
    let describes = (name.ends_with(".json") && name != super::manifest::MANIFEST)
        || matches!(name, "vocab.txt" | "merges.txt");
    if folder.is_empty() {
        describes || name.ends_with(".safetensors") || name == "tokenizer.model"
    } else {
        module && !name.contains('/') && (describes || name.ends_with(".safetensors"))
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(paths: &[&str], wanted: Option<&str>) -> Result<Selection, String> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        select("s", &paths, wanted).map_err(|error| error.to_string())
    }

    #[test]
    fn one_gguf_is_taken_and_of_several_the_usual_quantisation() {
        assert_eq!(choice(&["a/m.gguf", "README.md"], None).unwrap().entry, "m.gguf");
        assert_eq!(choice(&["m.Q8_0.gguf", "m.Q4_K_M.gguf"], None).unwrap().entry, "m.Q4_K_M.gguf");
        assert_eq!(
            choice(&["m.Q8_0.gguf", "m.Q4_K_M.gguf"], Some("m.Q8_0.gguf")).unwrap().entry,
            "m.Q8_0.gguf"
        );
        assert!(
            choice(&["a.gguf", "b.gguf"], None)
                .unwrap_err()
                .contains("choose one with --file: a.gguf, b.gguf")
        );
        assert_eq!(choice(&["m.gguf", "mmproj-m.gguf"], None).unwrap().entry, "m.gguf");
    }

    #[test]
    fn parts_come_together_or_not_at_all() {
        let parts = ["m-00002-of-00002.gguf", "m-00001-of-00002.gguf"];
        let selection = choice(&parts, None).unwrap();
        assert_eq!(selection.entry, "m-00001-of-00002.gguf");
        assert_eq!(selection.files.len(), 2);
        assert_eq!(choice(&parts, Some("m-00002-of-00002.gguf")).unwrap(), selection);
        assert!(choice(&parts[..1], None).unwrap_err().contains("one of 2 parts"));
    }

    #[test]
    fn a_sentence_transformers_folder_keeps_its_folders() {
        let paths = [
            "p/__init__.py",
            "p/model/config.json",
            "p/model/tokenizer.json",
            "p/model/model.safetensors",
            "p/model/1_Pooling/config.json",
            "p/model/onnx/model.onnx",
            "p/model/README.md",
        ];
        let selection = choice(&paths, None).unwrap();
        assert_eq!((selection.format, selection.entry.as_str()), (Format::Safetensors, "."));
        let taken: Vec<&str> = selection.files.iter().map(|(_, to)| to.as_str()).collect();
        assert_eq!(taken, ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"]);
    }

    proptest::proptest! {
        #[test]
        fn only_offered_files_are_chosen(paths in proptest::collection::vec("(a/|1_P/)?(m|q4_0|x-00001-of-00002|config|tokenizer)[.](gguf|json|safetensors)", 0..8)) {
            if let Ok(selection) = select("s", &paths, None) {
                proptest::prop_assert!(!selection.files.is_empty());
                proptest::prop_assert!(selection.files.iter().all(|(from, to)| paths.contains(from) && from.ends_with(to.as_str())));
                let entry = selection.entry == "." || selection.files.iter().any(|(_, to)| *to == selection.entry);
                proptest::prop_assert!(entry);
            }
        }
    }

    #[test]
    fn an_incomplete_or_foreign_source_says_why() {
        assert!(choice(&["model.safetensors"], None).unwrap_err().contains("tokenizer.json"));
        assert!(choice(&["pytorch_model.bin"], None).unwrap_err().contains("no .gguf"));
        assert!(choice(&["m.gguf"], Some("n.gguf")).unwrap_err().contains("no file"));
    }
}
