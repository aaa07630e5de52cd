//! Objects of a bucket.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use craton_api_bedrock_agent as api;
use craton_core::Arn;
use craton_objects::{GetOptions, ListQuery, ObjectError, ObjectRef, ObjectStore, ReadConditions, split_uri};
use craton_store::jobs::{JobContext, JobError};
use craton_vectors::SourceLocation;
use craton_wire::ApiError;

use super::{Listed, Listing, Source};
use crate::ingestion::failure::Failure;
use crate::ingestion::metadata;
use crate::ingestion::parse::{Content, MetadataContent};

/// What is behind the name of a document in that of its metadata.
pub(crate) const METADATA: &str = ".metadata.json";
const PAGE: u32 = 1_000;

pub(crate) struct S3Source {
    objects: Arc<dyn ObjectStore>,
    bucket: String,
    /// Empty: everything.
    prefixes: Vec<String>,
    max_bytes: u64,
}

/// The bucket an ARN names.
pub(super) fn bucket(arn: &str) -> Result<String, ApiError> {
    let wrong = || ApiError::validation(format!("{arn} is not a bucket's ARN."));
    let parsed: Arn = arn.parse().map_err(|_| wrong())?;
    if parsed.service == "s3" && !parsed.resource.contains('/') { Ok(parsed.resource) } else { Err(wrong()) }
}

impl S3Source {
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        configuration: &api::S3DataSourceConfiguration,
        max_bytes: u64,
    ) -> Result<Self, ApiError> {
        let bucket = bucket(&configuration.bucket_arn)?;
        let mut prefixes = configuration.inclusion_prefixes.clone().unwrap_or_default();
        prefixes.sort();
        // What is under two prefixes is one document.
        prefixes.dedup_by(|later, earlier| later.starts_with(earlier.as_str()));
        Ok(Self { objects, bucket, prefixes, max_bytes })
    }

    /// One document of the bucket, as a listing has it.
    pub(crate) async fn look_up(&self, uri: &str) -> Result<Listed, Failure> {
        let key = split_uri(uri).filter(|(bucket, _)| *bucket == self.bucket).map(|(_, key)| key);
        let key = key.ok_or_else(|| Failure::document(format!("it is not in the bucket {}", self.bucket)))?;
        let at = |key: String| ObjectRef::new(self.bucket.clone(), key);
        let found = self.objects.head(&at(key.to_owned()), ReadConditions::default()).await?;
        let metadata = self.objects.head(&at(format!("{key}{METADATA}")), ReadConditions::default()).await;
        let metadata_fingerprint = match metadata {
            Ok(found) => found.etag,
            Err(ObjectError::NoSuchKey { .. }) => String::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Listed {
            location: SourceLocation::S3(uri.to_owned()),
            fingerprint: format!("{} {}", found.etag, found.size),
            bytes: found.size,
            metadata_fingerprint,
        })
    }

    async fn list_prefix(
        &self,
        prefix: &str,
        job: &JobContext,
        (found, count): (&mut Vec<craton_objects::Listed>, &AtomicUsize),
    ) -> Result<(), Failure> {
        let mut query = ListQuery { prefix: prefix.to_owned(), limit: PAGE, ..ListQuery::default() };
        loop {
            job.check()?;
            let page = self.objects.list(&self.bucket, query.clone()).await.map_err(no_list)?;
            found.extend(page.objects);
            count.store(found.len(), Ordering::Relaxed);
            if page.next.is_none() {
                return Ok(());
            }
            query.after = page.next;
        }
    }
}

/// Whatever goes wrong while listing concerns all of the source.
fn no_list(error: ObjectError) -> Failure {
    Failure::Job(JobError::Fail(format!("The data source can't be listed: {error}")))
}

/// Reads one object whole, and its metadata file where it has one.
pub(crate) async fn read_object(
    objects: &dyn ObjectStore,
    uri: &str,
    max_bytes: u64,
) -> Result<bytes::Bytes, Failure> {
    let (bucket, key) =
        split_uri(uri).ok_or_else(|| Failure::document(format!("{uri} is not an object's URI")))?;
    let object = objects.get(&ObjectRef::new(bucket, key), GetOptions::default()).await?;
    too_large(object.meta.size, max_bytes)?;
    Ok(object.bytes(usize::try_from(max_bytes).unwrap_or(usize::MAX)).await?)
}

fn too_large(bytes: u64, limit: u64) -> Result<(), Failure> {
    if bytes > limit {
        return Err(Failure::document(format!(
            "it has {bytes} bytes, more than the {limit} a document can have"
        )));
    }
    Ok(())
}

#[async_trait::async_trait]
impl Source for S3Source {
    async fn list(&self, job: &JobContext, count: &AtomicUsize) -> Result<Listing, Failure> {
        let mut found = Vec::new();
        if self.prefixes.is_empty() {
            self.list_prefix("", job, (&mut found, count)).await?;
        }
        for prefix in &self.prefixes {
            self.list_prefix(prefix, job, (&mut found, count)).await?;
        }
        let is_metadata = |listed: &craton_objects::Listed| listed.key.ends_with(METADATA);
        let (metadata, documents): (Vec<_>, Vec<_>) = found.into_iter().partition(is_metadata);
        let fingerprints: HashMap<&str, &str> = metadata
            .iter()
            .filter_map(|listed| Some((listed.key.strip_suffix(METADATA)?, listed.etag.as_str())))
            .collect();
        let listed = |listed: craton_objects::Listed| Listed {
            metadata_fingerprint: fingerprints
                .get(listed.key.as_str())
                .map_or_else(String::new, |etag| (*etag).to_owned()),
            location: SourceLocation::S3(format!("s3://{}/{}", self.bucket, listed.key)),
            fingerprint: format!("{} {}", listed.etag, listed.size),
            bytes: listed.size,
        };
        // Keys that end so are folders as consoles make them.
        let is_folder = |listed: &craton_objects::Listed| listed.key.ends_with('/') && listed.size == 0;
        let documents = documents.into_iter().filter(|found| !is_folder(found)).map(listed).collect();
        Ok(Listing { documents, metadata_files: metadata.len(), gone: None })
    }

    async fn read(&self, listed: &Listed) -> Result<Content, Failure> {
        let uri = listed.location.uri();
        too_large(listed.bytes, self.max_bytes)?;
        let bytes = read_object(&*self.objects, uri, self.max_bytes).await?;
        let metadata = if listed.metadata_fingerprint.is_empty() {
            MetadataContent::None
        } else {
            let limit = metadata::MAX_BYTES as u64;
            let file = read_object(&*self.objects, &format!("{uri}{METADATA}"), limit).await;
            MetadataContent::File(file.map_err(|failure| match failure {
                Failure::Document(reason) => Failure::Document(format!("its metadata file: {reason}")),
                job => job,
            })?)
        };
        Ok(Content { bytes, hint: uri.to_owned(), metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_and_keys_are_read() {
        assert_eq!(bucket("arn:aws:s3:::docs").unwrap(), "docs");
        assert!(bucket("arn:aws:s3:::docs/a").is_err());
        assert!(bucket("arn:aws:sqs:us-east-1:1:docs").is_err());
    }
}
