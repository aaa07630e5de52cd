//! Python that does its work, and Python that tries to get out.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod attacks;
mod programs;

use std::time::Duration;

use craton_sandbox::{Limits, Outcome, Program, Sandbox, SandboxConfig};

pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(SandboxConfig::default(), &[])
}

pub(crate) fn program(code: &str) -> Program {
    Program { code: code.into(), ..Program::default() }
}

pub(crate) fn limits() -> Limits {
    Limits { time: Duration::from_secs(20), ..Limits::default() }
}

pub(crate) async fn run(code: &str) -> Outcome {
    sandbox().run(program(code), limits()).await.unwrap()
}

/// Runs code that must be refused by the kernel: it must end in an OSError of this kind.
pub(crate) async fn refused(code: &str, kind: &str) -> Outcome {
    let outcome = run(code).await;
    match &outcome.exit {
        craton_sandbox::Exit::Raised { kind: raised, .. } if raised == kind => outcome,
        other => panic!("{code}\nended {other:?}\n{}{}", outcome.stdout, outcome.stderr),
    }
}
