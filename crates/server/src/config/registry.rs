//! Every configuration key and environment variable, described once.

use std::fmt::Write as _;

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

const fn text(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Text, default, about }
}

const fn number(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Number, default, about }
}

const fn switch(key: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { key, kind: Kind::Switch, default, about }
}

pub const SETTINGS: &[Setting] = &[
    text("listen", "127.0.0.1:8473", "Address and port to listen on. Port 0 picks a free one."),
    text(
        "data_dir",
        "~/.local/share/craton",
        "Directory of root credentials, the TLS certificate and records.",
    ),
    text("account_id", "123456789012", "The AWS account this server plays: twelve digits."),
    text("region", "us-east-1", "The home region. Requests signed for other regions are accepted too."),
    switch(
        "stand_ins",
        "true",
        "Let the embedded models answer for every model that nothing is configured to serve, declared at start and in \
         the header `x-craton-served-by`. `false` answers AWS's error for a model without access instead.",
    ),
    switch(
        "tls",
        "false",
        "Serve TLS instead of plain HTTP, with a self-signed certificate unless one is given.",
    ),
    text("tls_certificate", "", "PEM file with the certificate chain to serve. Needs `tls_key`."),
    text("tls_key", "", "PEM file with the key of `tls_certificate`."),
    number("limits.max_connections", "4096", "Open connections; further ones wait to be accepted."),
    number("limits.max_streams", "256", "HTTP/2 streams open at once on one connection."),
    number("limits.max_headers", "100", "Header lines of an HTTP/1.1 request."),
    number("limits.max_header_bytes", "65536", "Bytes of all header lines of a request."),
    number(
        "limits.max_body_bytes",
        "67108864",
        "Bytes of a request body. A longer one is answered with status 413.",
    ),
    number(
        "limits.header_timeout_ms",
        "75000",
        "A connection that sends no complete request head for this long is closed, idle or not.",
    ),
    number("limits.body_timeout_ms", "120000", "Time for a request's body to arrive."),
    number(
        "limits.stop_grace_ms",
        "20000",
        "Time that open requests have to finish after SIGTERM or SIGINT. Streams that still run then end with a \
         modelled error.",
    ),
];

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
        keys.filter(|key| !key.contains('.')).map(str::to_owned).collect()
    }

    #[test]
    fn the_registry_has_exactly_the_keys_of_the_parser() {
        let sections = ["limits"];
        for place in ["", "limits"] {
            let mut known = known(place);
            known.retain(|key| !place.is_empty() || !sections.contains(&key.as_str()));
            let mut documented = documented(place);
            assert!(!known.is_empty(), "{place}");
            known.sort();
            documented.sort();
            assert_eq!(known, documented, "keys of [{place}]");
        }
    }

    #[test]
    fn defaults_are_what_the_registry_says() {
        let defaults = toml::Value::try_from(ServerConfig::default()).unwrap();
        for setting in SETTINGS.iter().filter(|setting| setting.scalar() && setting.key != "data_dir") {
            let mut value = Some(&defaults);
            for part in setting.key.split('.') {
                value = value.and_then(|value| value.get(part));
            }
            let written = value.map_or(String::new(), |value| value.to_string().trim_matches('"').to_owned());
            assert_eq!(written, setting.default, "{}", setting.key);
        }
    }

    #[test]
    fn the_documentation_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("CRATON_BLESS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), reference(), "run with CRATON_BLESS=1");
    }
}
