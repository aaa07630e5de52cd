//! What `craton serve` prints at start.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use craton_identity::{Origin, RootCredentials};
use craton_models::{Models, ServingRow};

use crate::config::{ServerConfig, is_loopback};

/// Ids named in a line before the rest are only counted.
const NAMED: usize = 3;

pub(crate) fn text(
    config: &ServerConfig,
    url: &str,
    credentials: &RootCredentials,
    models: &Models,
) -> String {
    let mut text = format!("Craton {} serves the Bedrock API on {url}\n", env!("CARGO_PKG_VERSION"));
    let keys = match credentials.origin() {
        Origin::Environment => "root's, from the environment".to_owned(),
        Origin::File(path) => path.display().to_string(),
        Origin::Created(path) => format!("{} (made now)", path.display()),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  account      {}, home region {}", config.account_id, config.region);
    let _ = writeln!(text, "  data         {}", config.data_dir.display());
    let _ = writeln!(text, "  credentials  {keys}");
    let _ = writeln!(text, "  model store  {}", models.files().directory().display());
    let roles = if config.enforce_service_roles {
        "checked (enforce_service_roles)"
    } else {
        "not checked: what agents, flows, knowledge bases, jobs and functions do needs no permission \
         (enforce_service_roles)"
    };
    let _ = writeln!(text, "  roles        {roles}");
    if !config.tls && !is_loopback(&config.listen) {
        let listen = &config.listen;
        let _ = writeln!(text, "  in clear     other machines reach {listen} without TLS (insecure_listen)");
    }
    text.push_str(&serving(&models.serving_table()));
    let _ = write!(text, "  `craton env` prints what AWS clients need; Ctrl-C stops");
    text
}

/// One line for each thing that serves, stand-ins apart.
fn serving(rows: &[ServingRow]) -> String {
    let mut groups: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    let mut unserved = Vec::new();
    for row in rows {
        match &row.served_by {
            Some(by) => groups.entry((row.stand_in, by)).or_default().push(&row.id),
            None => unserved.push(row.id.as_str()),
        }
    }
    let mut text = String::new();
    for ((stand_in, by), ids) in groups {
        let verb = if stand_in { "stands in for" } else { "serves" };
        let _ = writeln!(text, "  {by} {verb} {}", named(&ids));
    }
    if !unserved.is_empty() {
        let _ = writeln!(text, "  nothing serves {}", named(&unserved));
    }
    text
}

fn named(ids: &[&str]) -> String {
    let shown = ids.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_declared_and_long_lists_counted() {
        let row = |id: &str, by: Option<&str>, stand_in| ServingRow {
            id: id.into(),
            name: id.into(),
            provider: "p".into(),
            served_by: by.map(str::to_owned),
            stand_in,
        };
        let mut rows: Vec<_> = (0..5).map(|n| row(&format!("m{n}"), Some("local/x"), true)).collect();
        rows.push(row("c", Some("vllm/q"), false));
        rows.push(row("i", None, false));
        assert_eq!(
            serving(&rows),
            "  vllm/q serves c\n  local/x stands in for m0, m1, m2 and 2 more\n  nothing serves i\n"
        );
    }
}
