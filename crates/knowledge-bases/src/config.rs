use std::path::PathBuf;

use craton_core::Arn;
use craton_outbound::AwsCredentials;
use craton_vectors::OpenSearchAccess;
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

/// Why a database or a cluster can't be told who is asking.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A password that the configuration says is in the environment is not there.
    #[error("the environment variable {variable}, which password_env of {of} names, is not set")]
    Password { variable: String, of: String },
    /// As [`OpenSearchCluster::check`] says it.
    #[error("{0}")]
    Settings(String),
}

fn password(variable: Option<&String>, of: &str) -> Result<Option<String>, AccessError> {
    let Some(variable) = variable else { return Ok(None) };
    match std::env::var(variable) {
        Ok(password) if !password.is_empty() => Ok(Some(password)),
        _ => Err(AccessError::Password { variable: variable.clone(), of: of.to_owned() }),
    }
}

impl PostgresDatabase {
    pub fn password(&self) -> Result<Option<String>, AccessError> {
        password(self.password_env.as_ref(), &self.resource_arn)
    }
}

impl std::fmt::Debug for PostgresDatabase {
    /// Without the URL, which may have a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresDatabase").field("resource_arn", &self.resource_arn).finish_non_exhaustive()
    }
}

/// `[[opensearch]]`: an OpenSearch with its k-NN plugin that holds indexes of knowledge bases with storage of type
/// `OPENSEARCH_MANAGED_CLUSTER`, or of type `OPENSEARCH_SERVERLESS` in place of the embedded index.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSearchCluster {
    /// The domain's or the collection's ARN that knowledge bases name it by.
    pub resource_arn: String,
    /// `https://host:port`
    pub url: String,
    /// For basic authentication.
    #[serde(default)]
    pub username: String,
    /// The environment variable that holds the user's password.
    #[serde(default)]
    pub password_env: Option<String>,
    /// The service that requests are signed for, `es`; unsigned without.
    #[serde(default)]
    pub sign_for: Option<String>,
    /// The region to sign for. Default: the ARN's.
    #[serde(default)]
    pub region: Option<String>,
    /// The environment variables with the keys of the account that signs.
    #[serde(default)]
    pub access_key_id_env: Option<String>,
    #[serde(default)]
    pub secret_access_key_env: Option<String>,
    #[serde(default)]
    pub session_token_env: Option<String>,
    /// A profile of the credentials file in place of variables.
    #[serde(default)]
    pub aws_profile: Option<String>,
    #[serde(default)]
    pub aws_credentials_file: Option<PathBuf>,
}

impl OpenSearchCluster {
    /// The first thing that is wrong, if anything is.
    pub fn check(&self) -> Result<(), String> {
        self.problem().map_or(Ok(()), |problem| Err(format!("{}: {problem}", self.resource_arn)))
    }

    fn problem(&self) -> Option<&'static str> {
        let variables = [&self.access_key_id_env, &self.secret_access_key_env, &self.session_token_env];
        let about_signing = variables.into_iter().any(Option::is_some)
            || self.region.is_some()
            || self.aws_profile.is_some()
            || self.aws_credentials_file.is_some();
        match self.sign_for.as_deref() {
            Some("es") if !self.username.is_empty() || self.password_env.is_some() => {
                Some("set one of username and sign_for; password_env is the user's")
            }
            Some("es") if self.signing_region().is_empty() => Some("the ARN has no region; set region"),
            Some("es") => self.credentials().err(),
            // Its vector search collections take no ids of ours, and have no refresh.
            Some("aoss") => Some("collections of OpenSearch Serverless itself can't hold an index"),
            Some(_) => Some("sign_for must be es"),
            None if about_signing => Some("keys and a region are for signing, which sign_for turns on"),
            None if self.password_env.is_some() && self.username.is_empty() => {
                Some("password_env needs username")
            }
            None => None,
        }
    }

    /// Where the keys are that requests are signed with.
    fn credentials(&self) -> Result<AwsCredentials, &'static str> {
        let variables = [&self.access_key_id_env, &self.secret_access_key_env, &self.session_token_env];
        AwsCredentials::configured(
            self.aws_profile.as_deref(),
            self.aws_credentials_file.as_deref(),
            variables.map(Option::as_deref),
        )
    }

    /// Empty when neither the configuration nor the ARN has one.
    fn signing_region(&self) -> String {
        let of_arn = || self.resource_arn.parse::<Arn>().map(|arn| arn.region).unwrap_or_default();
        self.region.clone().unwrap_or_else(of_arn)
    }

    pub fn password(&self) -> Result<Option<String>, AccessError> {
        password(self.password_env.as_ref(), &self.resource_arn)
    }

    /// How it is told who is asking.
    pub(crate) fn access(&self) -> Result<OpenSearchAccess, AccessError> {
        self.check().map_err(AccessError::Settings)?;
        if let Some(service) = &self.sign_for {
            let credentials = self.credentials().map_err(|problem| AccessError::Settings(problem.into()))?;
            let (service, region) = (service.clone(), self.signing_region());
            return Ok(OpenSearchAccess::Signed { service, region, credentials });
        }
        if self.username.is_empty() {
            return Ok(OpenSearchAccess::Open);
        }
        let password = self.password()?.unwrap_or_default();
        Ok(OpenSearchAccess::Basic { username: self.username.clone(), password })
    }
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
    /// A sync fails when less than this is free on the disk of the data directory, so that its end can still be written.
    pub min_free_bytes: u64,
    /// Whether web data sources may reach loopback, private and link-local addresses.
    pub crawl_private_networks: bool,
}

impl Default for KnowledgeBasesConfig {
    fn default() -> Self {
        Self {
            concurrent_syncs: 2,
            max_document_bytes: 50 << 20,
            min_free_bytes: 8 << 20,
            crawl_private_networks: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(change: impl FnOnce(&mut OpenSearchCluster)) -> OpenSearchCluster {
        let mut cluster = OpenSearchCluster {
            resource_arn: "arn:aws:es:eu-west-1:123456789012:domain/vectors".into(),
            ..OpenSearchCluster::default()
        };
        change(&mut cluster);
        cluster
    }

    #[test]
    fn requests_are_signed_for_the_service_and_region_that_are_told() {
        let told = cluster(|cluster| cluster.sign_for = Some("es".into()));
        assert_eq!(told.check(), Ok(()));
        let OpenSearchAccess::Signed { service, region, credentials } = told.access().unwrap() else {
            panic!()
        };
        assert_eq!((service.as_str(), region.as_str()), ("es", "eu-west-1"));
        assert_eq!(credentials, AwsCredentials::default());
        let elsewhere = cluster(|cluster| {
            cluster.sign_for = Some("es".into());
            cluster.region = Some("us-west-2".into());
        });
        let OpenSearchAccess::Signed { service, region, .. } = elsewhere.access().unwrap() else { panic!() };
        assert_eq!((service.as_str(), region.as_str()), ("es", "us-west-2"));
        assert!(cluster(|_| {}).access().unwrap() == OpenSearchAccess::Open);
    }

    #[test]
    fn a_password_that_is_not_there_is_said_and_not_left_out() {
        let told = cluster(|cluster| {
            cluster.username = "me".into();
            cluster.password_env = Some("CRATON_TEST_NO_SUCH_PASSWORD".into());
        });
        let error = told.access().err().unwrap().to_string();
        assert!(
            error.contains("CRATON_TEST_NO_SUCH_PASSWORD") && error.contains("domain/vectors"),
            "{error}"
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let refused = |change: fn(&mut OpenSearchCluster)| cluster(change).check().unwrap_err();
        assert!(refused(|cluster| cluster.sign_for = Some("s3".into())).contains("must be es"));
        assert!(refused(|cluster| cluster.sign_for = Some("aoss".into())).contains("can't hold"));
        assert!(refused(|cluster| cluster.aws_profile = Some("work".into())).contains("sign_for"));
        let both = refused(|cluster| {
            cluster.sign_for = Some("es".into());
            cluster.username = "me".into();
        });
        assert!(both.contains("one of username and sign_for"));
        let unused = refused(|cluster| {
            cluster.sign_for = Some("es".into());
            cluster.password_env = Some("PASSWORD".into());
        });
        assert!(unused.contains("one of username and sign_for"));
        assert!(refused(|cluster| cluster.password_env = Some("PASSWORD".into())).contains("needs username"));
        let keys = |file: bool| {
            let told = cluster(|cluster| {
                cluster.sign_for = Some("es".into());
                cluster.aws_credentials_file = file.then(|| "/keys".into());
                cluster.aws_profile = (!file).then(|| "work".into());
                cluster.access_key_id_env = Some("ID".into());
            });
            told.check().unwrap_err()
        };
        assert!(keys(true).contains("needs `aws_profile`") && keys(false).contains("not both"));
        let nowhere = refused(|cluster| {
            cluster.sign_for = Some("es".into());
            cluster.resource_arn = "vectors".into();
        });
        assert!(nowhere.contains("set region"));
    }
}
