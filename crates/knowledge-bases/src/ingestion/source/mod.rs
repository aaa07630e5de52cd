//! Where documents come from.

mod s3;
mod web;

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;

use craton_api_bedrock_agent as api;
use craton_identity::ObjectAccess;
use craton_store::jobs::JobContext;
use craton_vectors::SourceLocation;
use craton_wire::ApiError;

use super::failure::Failure;
use super::parse::Content;
use crate::records::{KnowledgeBaseRecord, Place};
use crate::{KnowledgeBases, KnowledgeBasesConfig, members};
use web::WebSource;

pub(crate) use s3::{METADATA, S3Source, read_object};

/// A document as its source lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) location: SourceLocation,
    /// Changes whenever the content does.
    pub(crate) fingerprint: String,
    pub(crate) bytes: u64,
    /// Of its metadata file, where it has one.
    pub(crate) metadata_fingerprint: String,
}

/// Everything a source has.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Listing {
    /// In the order of their names.
    pub(crate) documents: Vec<Listed>,
    pub(crate) metadata_files: usize,
    /// Where parts of the source could not be looked at: the URIs that are known to be gone, the only ones that leave the
    /// index. `None`: whatever is not listed is gone.
    pub(crate) gone: Option<HashSet<String>>,
}

/// A source of documents.
#[async_trait::async_trait]
pub(crate) trait Source: Send + Sync {
    /// Everything there is. `found` counts on the way, for those who wait.
    async fn list(&self, job: &JobContext, found: &AtomicUsize) -> Result<Listing, Failure>;

    /// A document's bytes and its metadata. It may have changed since it was listed.
    async fn read(&self, listed: &Listed) -> Result<Content, Failure>;
}

/// Refuses configurations that can't be served.
pub(crate) fn check(configuration: &api::DataSourceConfiguration) -> Result<(), ApiError> {
    let api::DataSourceConfiguration { s3_configuration: s3, web_configuration: web, .. } = configuration;
    let kind = configuration.r#type;
    let wanted = match kind {
        api::DataSourceType::S3 => "s3Configuration",
        api::DataSourceType::Custom => "",
        api::DataSourceType::Web => "webConfiguration",
        other => {
            return Err(ApiError::validation(format!(
                "Data sources of type {} are not served by this release of Craton.",
                other.as_str()
            )));
        }
    };
    let given = [
        ("s3Configuration", s3.is_some()),
        ("webConfiguration", web.is_some()),
        ("confluenceConfiguration", configuration.confluence_configuration.is_some()),
        ("salesforceConfiguration", configuration.salesforce_configuration.is_some()),
        ("sharePointConfiguration", configuration.share_point_configuration.is_some()),
        (
            "managedKnowledgeBaseConnectorConfiguration",
            configuration.managed_knowledge_base_connector_configuration.is_some(),
        ),
    ];
    members::only(&format!("the type of a data source is {}", kind.as_str()), wanted, &given)?;
    if let Some(s3) = s3 {
        s3::bucket(&s3.bucket_arn)?;
    }
    if let Some(web) = web {
        WebSource::new(web, &KnowledgeBasesConfig::default())?;
    }
    Ok(())
}

impl KnowledgeBases {
    /// Whether a knowledge base's role lets it list what a sync is to read.
    pub(crate) async fn check_listing(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
        configuration: &api::DataSourceConfiguration,
    ) -> Result<(), ApiError> {
        let Some(s3) = &configuration.s3_configuration else { return Ok(()) };
        let bucket = s3::bucket(&s3.bucket_arn)?;
        let prefixes = s3.inclusion_prefixes.iter().flatten().map(|prefix| Some(prefix.as_str()));
        let mut prefixes: Vec<Option<&str>> = prefixes.collect();
        if prefixes.is_empty() {
            prefixes.push(None);
        }
        for prefix in prefixes {
            let access = ObjectAccess::List { bucket: &bucket, prefix };
            self.check_access(place, knowledge_base, access).await?;
        }
        Ok(())
    }

    pub(crate) fn source(
        &self,
        configuration: &api::DataSourceConfiguration,
    ) -> Result<Box<dyn Source>, ApiError> {
        let web = configuration.web_configuration.as_ref();
        match (configuration.r#type, &configuration.s3_configuration, web) {
            (api::DataSourceType::Web, _, Some(web)) => {
                Ok(Box::new(WebSource::new(web, &self.parts.config)?))
            }
            (api::DataSourceType::S3, Some(s3), _) => Ok(Box::new(S3Source::new(
                self.parts.objects.clone(),
                s3,
                self.parts.config.max_document_bytes,
            )?)),
            _ => Err(ApiError::validation("This data source has nothing to sync from.")),
        }
    }
}
