//! What S3 itself has to say of a request on a bucket or an object: the bucket's policy and the object's tags. The S3
//! front weighs it with the caller's policies; so does the server for services that read and write objects for somebody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use craton_identity::policy::{Policy, PolicyKind};
use craton_objects::{ObjectError, ObjectRef, ObjectStore as _, Objects, ReadConditions, Tags};

use crate::policies::POLICY;

/// What names of context keys for an object's tags begin with, in lower case.
pub const OBJECT_TAG: &str = "s3:existingobjecttag/";

/// Compiled policies kept; a server has few buckets with one.
const KEPT: usize = 256;

/// Policies by bucket, with the text they were compiled from.
type Compiled = Mutex<HashMap<String, (String, Arc<Policy>)>>;

/// Buckets and objects as what permissions depend on.
#[derive(Clone)]
pub struct Sides {
    objects: Objects,
    compiled: Arc<Compiled>,
}

impl Sides {
    pub fn new(objects: Objects) -> Self {
        Self { objects, compiled: Arc::default() }
    }

    /// The bucket's policy, ready to be asked. One that can't be read is an error: it must not count as one that denies
    /// nothing.
    pub async fn policy(&self, bucket: &str) -> Result<Option<Arc<Policy>>, ObjectError> {
        let Some(text) = self.objects.setting(bucket, POLICY).await? else { return Ok(None) };
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, policy)) = compiled.get(bucket)
            && *known == text
        {
            return Ok(Some(Arc::clone(policy)));
        }
        let policy = Policy::parse(&text, PolicyKind::Resource)
            .map_err(|error| ObjectError::Corrupt(format!("the policy of the bucket {bucket}: {error}")))?;
        let policy = Arc::new(policy);
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        compiled.insert(bucket.to_owned(), (text, Arc::clone(&policy)));
        Ok(Some(policy))
    }

    /// The tags of an object, as far as they count for the action. What isn't there has none; what can't be read might
    /// have any, and is an error.
    pub async fn tags(&self, action: &str, at: &ObjectRef) -> Result<Tags, ObjectError> {
        if !has_tags(action) {
            return Ok(Tags::default());
        }
        match self.objects.tags(at).await {
            Err(error) if is_absent(&error) => Ok(Tags::default()),
            found => found,
        }
    }

    /// Whether the bucket is there and has no such key, which is told only to who may list it.
    pub async fn lacks(&self, at: &ObjectRef) -> Result<bool, ObjectError> {
        match self.objects.head(at, ReadConditions::default()).await {
            Ok(_) => Ok(false),
            Err(ObjectError::NoSuchKey { .. }) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_absent(error: &ObjectError) -> bool {
    matches!(
        error,
        ObjectError::NoSuchBucket(_)
            | ObjectError::NoSuchKey { .. }
            | ObjectError::NoSuchVersion { .. }
            | ObjectError::IsDeleteMarker { .. }
            | ObjectError::KeyTooLong { .. }
            | ObjectError::InvalidBucketName(_)
    )
}

/// Whether AWS weighs the tags of an object in this: in what reads it or changes its tags and permissions.
fn has_tags(action: &str) -> bool {
    action.starts_with("s3:GetObject")
        || matches!(
            action,
            "s3:PutObjectTagging"
                | "s3:PutObjectVersionTagging"
                | "s3:PutObjectAcl"
                | "s3:PutObjectVersionAcl"
                | "s3:DeleteObjectTagging"
                | "s3:DeleteObjectVersionTagging"
        )
}
