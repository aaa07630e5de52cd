use serde::Deserialize;

/// `[[postgres]]`: a PostgreSQL with pgvector that holds indexes of knowledge bases with storage of type `RDS`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresDatabase {
    /// The `rdsConfiguration.resourceArn` that knowledge bases name it by.
    pub resource_arn: String,
    /// `postgres://user@host:port`; the database is the knowledge base's to name.
    pub url: String,
    /// The environment variable that holds the user's password, if the URL has none.
    #[serde(default)]
    pub password_env: Option<String>,
}

impl std::fmt::Debug for PostgresDatabase {
    /// Without the URL, which may have a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresDatabase").field("resource_arn", &self.resource_arn).finish_non_exhaustive()
    }
}

/// `[[opensearch]]`: an OpenSearch with its k-NN plugin that holds indexes of knowledge bases with storage of type
/// `OPENSEARCH_MANAGED_CLUSTER`, or of type `OPENSEARCH_SERVERLESS` in place of the embedded index.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSearchCluster {
    /// The domain's or the collection's ARN that knowledge bases name it by.
    pub resource_arn: String,
    /// `https://host:port`
    pub url: String,
    /// For basic authentication; without it requests are sent as they are.
    #[serde(default)]
    pub username: String,
    /// The environment variable that holds the user's password.
    #[serde(default)]
    pub password_env: Option<String>,
}

impl std::fmt::Debug for OpenSearchCluster {
    /// Without the URL, which may have a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSearchCluster").field("resource_arn", &self.resource_arn).finish_non_exhaustive()
    }
}

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
