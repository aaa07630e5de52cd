//! What is kept for a time: sessions, conversations and memories of all kinds, executions of flows, and uploads that nobody
//! completes.

use std::sync::Arc;
use std::time::Duration;

use craton_agents::run::AgentRuns;
use craton_core::{Clock, DAY_MS};
use craton_flows::Flows;
use craton_knowledge_bases::retrieval::Retrieval;
use craton_objects::Objects;
use craton_sessions::Sessions;

use crate::services::Services;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub(crate) struct Upkeep {
    sessions: Sessions,
    flows: Flows,
    agent_runs: AgentRuns,
    retrieval: Retrieval,
    objects: Objects,
    /// Zero keeps uploads for good.
    upload_expiry_days: u32,
    clock: Arc<dyn Clock>,
}

impl Upkeep {
    pub(crate) fn of(services: &Services, objects: Objects, upload_expiry_days: u32) -> Self {
        Self {
            sessions: services.sessions.clone(),
            flows: services.flows.clone(),
            agent_runs: services.agent_runs.clone(),
            retrieval: services.retrieval.clone(),
            objects,
            upload_expiry_days,
            clock: Arc::clone(&services.clock),
        }
    }

    pub(crate) async fn once(&self) {
        self.sessions.forget_old().await;
        self.flows.forget_old().await;
        self.agent_runs.forget_old().await;
        self.retrieval.forget_old().await;
        self.abort_old_uploads().await;
    }

    /// Sweeps up what a crash may have left of objects, then lets go each hour of what is old.
    pub(crate) async fn keep(self) {
        match self.objects.home().sweep().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "content files that no object has were removed"),
            Err(error) => tracing::warn!(%error, "content files could not be swept up"),
        }
        loop {
            self.once().await;
            tokio::time::sleep(HOUR).await;
        }
    }

    async fn abort_old_uploads(&self) {
        if self.upload_expiry_days == 0 {
            return;
        }
        let before_ms = self.clock.now_ms() - i64::from(self.upload_expiry_days) * DAY_MS;
        match self.objects.home().expire_uploads(before_ms).await {
            Ok(0) => {}
            Ok(aborted) => tracing::info!(aborted, "uploads that were never completed were aborted"),
            Err(error) => tracing::warn!(%error, "old uploads could not be aborted"),
        }
    }
}
