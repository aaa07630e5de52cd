use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::endpoint::Endpoint;
use crate::options::ServerOptions;

/// Print shell exports that point AWS clients at the server
#[derive(Args)]
#[command(after_help = "Examples:
  eval \"$(craton env)\"
  craton env --shell fish | source
  craton env --shell powershell | Out-String | Invoke-Expression
  craton env --shell dotenv > .env")]
pub(crate) struct Env {
    /// Whose syntax to print [default: that of $SHELL]
    #[arg(long, value_enum)]
    shell: Option<Shell>,

    #[command(flatten)]
    server: ServerOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    /// bash, zsh and every other POSIX shell
    Sh,
    Fish,
    Powershell,
    /// NAME=value lines, for docker --env-file and the like
    Dotenv,
}

impl Shell {
    fn of_user() -> Self {
        match std::env::var("SHELL") {
            Ok(shell) if shell.ends_with("/fish") => Self::Fish,
            Ok(shell) if shell.ends_with("/pwsh") => Self::Powershell,
            _ => Self::Sh,
        }
    }

    fn line(self, name: &str, value: &str) -> String {
        match self {
            Self::Sh => format!("export {name}='{}'", value.replace('\'', r"'\''")),
            Self::Fish => format!("set -gx {name} '{}'", value.replace('\\', r"\\").replace('\'', r"\'")),
            Self::Powershell => format!("$Env:{name} = '{}'", value.replace('\'', "''")),
            Self::Dotenv => format!("{name}={value}"),
        }
    }

    fn clear(self, name: &str) -> Option<String> {
        match self {
            Self::Sh => Some(format!("unset {name}")),
            Self::Fish => Some(format!("set -e {name}")),
            Self::Powershell => Some(format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue")),
            Self::Dotenv => None,
        }
    }
}

impl Env {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let endpoint = Endpoint::of(&self.server.load()?)?;
        let shell = self.shell.unwrap_or_else(Shell::of_user);
        let mut out = std::io::stdout().lock();
        for (name, value) in endpoint.variables() {
            writeln!(out, "{}", shell.line(name, &value))?;
        }
        for name in Endpoint::cleared_here() {
            if let Some(line) = shell.clear(&name) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_each_shells_quoting() {
        let value = r"a'b\c$d";
        assert_eq!(Shell::Sh.line("N", value), r"export N='a'\''b\c$d'");
        assert_eq!(Shell::Fish.line("N", value), r"set -gx N 'a\'b\\c$d'");
        assert_eq!(Shell::Powershell.line("N", value), r"$Env:N = 'a''b\c$d'");
    }

    #[test]
    fn a_posix_shell_reads_back_what_was_printed() {
        let value = "it's $HOME \"and\" `more`\\";
        let script = format!("{}; printf %s \"$N\"", Shell::Sh.line("N", value));
        let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
    }
}
