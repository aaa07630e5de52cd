//! Planned crashes: named points at which a test can have the process killed as `kill -9` kills it.
//!
//! `CRATON_CRASH_AT=name` ends the process when it first reaches [`point`]`("name")`, `name:3` at the third time. Only
//! in builds with debug assertions; a release build's points do nothing.

/// A point at which a planned crash may happen.
#[inline]
pub fn point(name: &str) {
    if cfg!(debug_assertions) {
        planned::reach(name);
    }
}

mod planned {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Plan {
        name: String,
        left: AtomicU64,
    }

    pub(super) fn reach(name: &str) {
        static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
        let plan = PLAN.get_or_init(|| {
            let plan = std::env::var("CRATON_CRASH_AT").ok()?;
            let (name, times) = plan.split_once(':').unwrap_or((&plan, "1"));
            Some(Plan { name: name.to_owned(), left: AtomicU64::new(times.parse().unwrap_or(1)) })
        });
        if let Some(plan) = plan
            && plan.name == name
            && plan.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
            // The signal is on its way; nothing more may happen.
            std::process::abort();
        }
    }
}
