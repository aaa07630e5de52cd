//! What a setting is, the environment variables that are none, and the reference of both.

use std::fmt::Write as _;

use super::settings::SETTINGS;

/// How a setting's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Switch,
}

/// A key of `craton.toml`. Keys in a table are written `table.key`, those of an array of tables `[[table]].key`.
#[derive(Debug)]
pub struct Setting {
    pub key: &'static str,
    pub kind: Kind,
    /// As a reader of the documentation sees it; empty when there is none.
    pub default: &'static str,
    pub about: &'static str,
}

impl Setting {
    /// Whether one environment variable can set it: keys of arrays of tables have none.
    pub fn scalar(&self) -> bool {
        !self.key.starts_with("[[")
    }

    /// `limits.max_streams` is `CRATON_LIMITS_MAX_STREAMS`.
    pub fn variable(&self) -> String {
        format!("CRATON_{}", self.key.replace('.', "_").to_uppercase())
    }

    pub(super) fn read(&self, text: &str) -> Result<toml::Value, String> {
        match self.kind {
            Kind::Text => Ok(toml::Value::String(text.to_owned())),
            Kind::Number => {
                text.parse().map(toml::Value::Integer).map_err(|_| "must be a whole number".to_owned())
            }
            Kind::Switch => match text {
                "true" | "1" => Ok(toml::Value::Boolean(true)),
                "false" | "0" => Ok(toml::Value::Boolean(false)),
                _ => Err("must be true or false".to_owned()),
            },
        }
    }
}

/// An environment variable that is not a key of the file.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    pub about: &'static str,
}

pub(super) const fn text(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Text, default, about }
}

pub(super) const fn number(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Number, default, about }
}

pub(super) const fn switch(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Switch, default, about }
}

pub const VARIABLES: &[Variable] = &[
    Variable { name: "CRATON_CONFIG", about: "Configuration file, where `--config` is not given." },
    Variable {
        name: "CRATON_MODELS_DIR",
        about: "The model store, shared by every data directory. Default `~/.cache/craton/models`.",
    },
    Variable {
        name: "CRATON_ROOT_ACCESS_KEY_ID",
        about: "Root access key id. With the next one, used instead of the credentials file in the data directory.",
    },
    Variable { name: "CRATON_ROOT_SECRET_ACCESS_KEY", about: "Root secret access key." },
    Variable {
        name: "CRATON_SECRETS_KEY",
        about: "64 hexadecimal digits that users' secrets and session tokens are encrypted with, instead of `secrets.key` \
                in the data directory. Servers that share a database need the same.",
    },
    Variable {
        name: "CRATON_AVX512",
        about: "`off` leaves the processor's AVX-512 unused: to compare, or to see what another machine would compute.",
    },
    Variable { name: "CRATON_LOG", about: "What is logged, as a `tracing` filter. Default `info`." },
];

/// The text of `docs/configuration.md`.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Printed from the registry in `crates/server/src/config/registry.rs`; `CRATON_BLESS=1 cargo test -p \
         craton-server` rewrites it.\n\n\
         `craton serve` reads `--config FILE`, else `craton.toml` in the data directory if there is one. An environment \
         variable overrides the file, a command-line option overrides both. Keys that are not listed here are \
         refused.\n\n\
         ## `craton.toml`\n\n| key | environment variable | default | |\n|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let variable = if setting.scalar() { format!("`{}`", setting.variable()) } else { String::new() };
        let default =
            if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        let _ = writeln!(page, "| `{}` | {variable} | {default} | {} |", setting.key, setting.about);
    }
    page.push_str("\n## Environment only\n\n| variable | |\n|---|---|\n");
    for variable in VARIABLES {
        let _ = writeln!(page, "| `{}` | {} |", variable.name, variable.about);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::ServerConfig;
    use super::*;

    /// Field names that the parser itself knows at `place`, read from its complaint about one it doesn't.
    fn known(place: &str) -> Vec<String> {
        let probe = match place.strip_prefix("[[") {
            _ if place.is_empty() => "no_such_key = 1".to_owned(),
            Some(_) => format!("{place}\nno_such_key = 1"),
            None => format!("[{place}]\nno_such_key = 1"),
        };
        let complaint = toml::from_str::<ServerConfig>(&probe).unwrap_err().message().to_owned();
        let listed =
            complaint.split_once("expected").map(|(_, listed)| listed.to_owned()).unwrap_or_default();
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn documented(place: &str) -> Vec<String> {
        let prefix = if place.is_empty() { String::new() } else { format!("{place}.") };
        let keys = SETTINGS.iter().filter_map(|setting| setting.key.strip_prefix(&prefix));
        keys.filter(|key| !key.contains(['.', '['])).map(str::to_owned).collect()
    }

    #[test]
    fn the_registry_has_exactly_the_keys_of_the_parser() {
        let sections = [
            "limits",
            "s3",
            "engine",
            "audit",
            "agents",
            "knowledge_bases",
            "flows",
            "guardrails",
            "lambda",
            "sandbox",
            "sessions",
            "function",
            "model",
            "upstream",
            "bucket",
            "postgres",
            "opensearch",
        ];
        let tables = [
            "",
            "limits",
            "s3",
            "engine",
            "audit",
            "agents",
            "knowledge_bases",
            "flows",
            "guardrails",
            "lambda",
            "sandbox",
            "sessions",
        ];
        let lists =
            ["[[function]]", "[[model]]", "[[upstream]]", "[[bucket]]", "[[postgres]]", "[[opensearch]]"];
        for place in tables.into_iter().chain(lists) {
            let mut known = known(place);
            known.retain(|key| !place.is_empty() || !sections.contains(&key.as_str()));
            let mut documented = documented(place);
            assert!(!known.is_empty(), "{place}");
            known.sort();
            documented.sort();
            assert_eq!(known, documented, "keys of {place:?}");
        }
    }

    #[test]
    fn defaults_are_what_the_registry_says() {
        let with_default = |setting: &&Setting| setting.scalar() && !setting.default.is_empty();
        for setting in SETTINGS.iter().filter(with_default).filter(|setting| setting.key != "data_dir") {
            let value = setting.read(setting.default).unwrap();
            let written: ServerConfig = toml::from_str(&format!("{} = {value}", setting.key)).unwrap();
            assert_eq!(written, ServerConfig::default(), "{}", setting.key);
        }
    }

    #[test]
    fn the_documentation_is_up_to_date() {
        let path = craton_store::testing::repository("docs/configuration.md");
        if std::env::var_os("CRATON_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference(), "docs/configuration.md is out of date; run with CRATON_BLESS=1");
    }
}
