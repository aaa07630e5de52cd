//! Removes code that no function has any more.

use std::collections::HashSet;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::function::KIND;
use crate::{Inner, Lambda};

/// Longer than a call may run (15 minutes): then no environment is in a folder that is removed.
const GRACE: Duration = Duration::from_secs(20 * 60);

impl Lambda {
    /// Looks for code that no function has, now and until none is left of what is found. For the start of a server too:
    /// what an earlier one left behind.
    pub fn sweep_later(&self) {
        if self.inner.sweeping.swap(true, Ordering::AcqRel) {
            // The one under way looks again before it ends.
            return;
        }
        tokio::spawn(sweep(std::sync::Arc::downgrade(&self.inner)));
    }
}

async fn sweep(inner: Weak<Inner>) {
    loop {
        let Some(this) = inner.upgrade().map(|inner| Lambda { inner }) else { return };
        this.inner.sweeping.store(false, Ordering::Release);
        let waiting = this.sweep().await.unwrap_or_else(|reason| {
            tracing::warn!(reason, "unused code of functions could not be removed");
            false
        });
        if !waiting || this.inner.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        drop(this);
        tokio::time::sleep(GRACE).await;
    }
}

impl Lambda {
    /// True when some code waits for its time.
    async fn sweep(&self) -> Result<bool, String> {
        let bodies = self.inner.store.bodies(KIND).await.map_err(|error| error.to_string())?;
        let code = |body: &Value| body["code"].as_str().map(str::to_owned);
        let used: HashSet<String> = bodies.iter().filter_map(code).collect();
        let this = self.clone();
        let swept = tokio::task::spawn_blocking(move || this.inner.code.sweep(&used, GRACE)).await;
        swept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}
