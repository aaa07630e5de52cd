//! Records that are kept for a time: sessions, conversations and memories of all kinds, and executions of flows.

use std::time::Duration;

use craton_agents::run::AgentRuns;
use craton_flows::Flows;
use craton_knowledge_bases::retrieval::Retrieval;
use craton_sessions::Sessions;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) sessions: Sessions,
    pub(crate) flows: Flows,
    pub(crate) agent_runs: AgentRuns,
    pub(crate) retrieval: Retrieval,
}

impl Upkeep {
    pub(crate) async fn once(&self) {
        self.sessions.forget_old().await;
        self.flows.forget_old().await;
        self.agent_runs.forget_old().await;
        self.retrieval.forget_old().await;
    }

    pub(crate) async fn keep(self) {
        loop {
            self.once().await;
            tokio::time::sleep(HOUR).await;
        }
    }
}
