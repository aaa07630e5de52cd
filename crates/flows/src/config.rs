use std::time::Duration;

use serde::Deserialize;

use crate::run::Limits;

/// `[flows]`: what a run of a flow may use.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowsConfig {
    /// Nodes of one run at work at the same time, unless its alias says less.
    pub max_concurrency: usize,
    /// Runs of nodes in one run of a flow, each iteration counted.
    pub max_node_runs: usize,
    /// Items that an iterator goes through.
    pub max_items: usize,
    /// One value that a node gives.
    pub max_value_bytes: usize,
    /// All values that nodes give in one run.
    pub max_total_bytes: usize,
    /// How long one node may work.
    pub node_timeout_s: u64,
    /// How long InvokeFlow may take.
    pub invoke_timeout_s: u64,
    /// How long an execution may take.
    pub execution_timeout_s: u64,
    /// Executions that run at the same time; more wait.
    pub concurrent_executions: usize,
    /// Executions that ended are deleted after so many days; 0 keeps them.
    pub execution_retention_days: u32,
}

impl Default for FlowsConfig {
    fn default() -> Self {
        Self {
            max_concurrency: 10,
            max_node_runs: 10_000,
            max_items: 1_000,
            max_value_bytes: 8 << 20,
            max_total_bytes: 128 << 20,
            node_timeout_s: 300,
            invoke_timeout_s: 3_600,
            execution_timeout_s: 24 * 3_600,
            concurrent_executions: 4,
            execution_retention_days: 90,
        }
    }
}

impl FlowsConfig {
    /// The limits of one run; an alias may ask for less concurrency.
    pub(crate) fn limits(&self, concurrency: Option<usize>) -> Limits {
        Limits {
            concurrency: concurrency.map_or(self.max_concurrency, |asked| asked.min(self.max_concurrency)),
            node_runs: self.max_node_runs,
            items: self.max_items,
            value_bytes: self.max_value_bytes,
            total_bytes: self.max_total_bytes,
            node: Duration::from_secs(self.node_timeout_s),
        }
    }
}
