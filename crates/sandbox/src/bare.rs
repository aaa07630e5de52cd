//! What installers and interpreters of this server's own are told of its environment.

use tokio::process::Command;

/// What programs need to be found, to find the network, and to know their user.
const NAMES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];
/// Settings of package managers, and of what chooses among versions.
const PREFIXES: &[&str] = &["PIP_", "NPM_CONFIG_", "XDG_", "PYENV_", "NVM_", "ASDF_"];
/// In capitals or not.
const PROXIES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// Gives a program that runs outside the walls nothing of this server's environment but what it needs: install scripts are
/// of strangers, and the server's keys stand in its environment.
pub fn with_little(command: &mut Command) {
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_passed_on)));
}

fn is_passed_on(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    NAMES.contains(&name)
        || PROXIES.contains(&upper.as_str())
        || PREFIXES.iter().any(|prefix| upper.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_passed_on() {
        for name in ["PATH", "HOME", "https_proxy", "NO_PROXY", "PIP_INDEX_URL", "npm_config_registry"] {
            assert!(is_passed_on(name), "{name}");
        }
        for name in ["CRATON_ROOT_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "VLLM_API_KEY", "path"] {
            assert!(!is_passed_on(name), "{name}");
        }
    }
}
