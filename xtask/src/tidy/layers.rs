//! The order of crates in ARCHITECTURE.md: a crate depends only on those above it in the list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Problems with the crates of the workspace.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let page = std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("reading ARCHITECTURE.md")?;
    let order = listed_crates(&page);
    ensure!(order.len() > 5, "ARCHITECTURE.md has no list of crates under \"Crates, lowest first\"");
    let mut problems = Vec::new();
    let mut crates = BTreeMap::new();
    for folder in crate_folders(&root.join("crates"))? {
        let manifest: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml"))?
            .parse()
            .with_context(|| format!("{}/Cargo.toml", folder.display()))?;
        let place = folder.strip_prefix(root.join("crates"))?.to_string_lossy().into_owned();
        let name =
            manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
        let name = name.with_context(|| format!("{place} has a name"))?.to_owned();
        match rank(&order, &place) {
            Some(rank) => drop(crates.insert(name, (rank, manifest))),
            None => problems.push(format!("crates/{place} is not in ARCHITECTURE.md's list")),
        }
    }
    for (name, (rank, manifest)) in &crates {
        for dependency in dependencies(manifest) {
            if crates.get(dependency).is_some_and(|(other, _)| other >= rank) {
                problems.push(format!(
                    "{name} depends on {dependency}, which is not above it in ARCHITECTURE.md"
                ));
            }
        }
    }
    Ok(problems)
}

/// First cells of the table under the heading, without their backquotes.
fn listed_crates(page: &str) -> Vec<String> {
    let section =
        page.split("\n## ").find(|section| section.starts_with("Crates, lowest first")).unwrap_or_default();
    let cell = |line: &str| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned());
    section.lines().filter_map(cell).collect()
}

fn rank(order: &[String], place: &str) -> Option<usize> {
    order.iter().position(|listed| match listed.strip_suffix('*') {
        Some(folder) => place.starts_with(folder),
        None => place == listed,
    })
}

/// What it is built from; tests may use anything.
fn dependencies(manifest: &toml::Table) -> impl Iterator<Item = &str> {
    ["dependencies", "build-dependencies"]
        .into_iter()
        .filter_map(|section| manifest.get(section)?.as_table())
        .flat_map(|table| table.keys().map(String::as_str))
}

fn crate_folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            found.push(path);
        } else if path.is_dir() {
            found.extend(crate_folders(&path)?);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_and_ranks_folders() {
        let page = "# A\n## Crates, lowest first\n\n| crate | owns |\n|---|---|\n| `core` | x |\n| `api/*` | y |\n## B\n| `no` | z |";
        let order = listed_crates(page);
        assert_eq!(order, ["core", "api/*"]);
        assert_eq!(rank(&order, "api/bedrock"), Some(1));
        assert_eq!(rank(&order, "server"), None);
    }
}
