use serde::Deserialize;

/// `[knowledge_bases]`: how documents are taken in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnowledgeBasesConfig {
    /// Data sources synced at the same time; more wait.
    pub concurrent_syncs: usize,
    /// Larger documents fail, each by itself.
    pub max_document_bytes: u64,
    /// Whether web data sources may reach loopback, private and link-local addresses.
    pub crawl_private_networks: bool,
}

impl Default for KnowledgeBasesConfig {
    fn default() -> Self {
        Self { concurrent_syncs: 2, max_document_bytes: 50 << 20, crawl_private_networks: false }
    }
}
