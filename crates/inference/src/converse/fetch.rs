//! Documents and images that a conversation names by their place in S3, read before anything else looks at it.
//!
//! Whether the caller may read an object has been asked by then: the operation's rule names every place where a
//! conversation can have one. AWS takes such places for the Nova models only; here they are read for every model.

use std::sync::Arc;

use bytes::Bytes;
use craton_api_bedrock_runtime as api;
use craton_core::{RequestContext, media};
use craton_objects::{GetOptions, Object, ObjectError, ObjectRef, ObjectStore};
use craton_wire::ApiError;
use craton_wire::types::Blob;

use super::decode::Conversation;
use crate::chat::Inference;

/// Of a request, all objects together.
const MAX_BYTES: usize = 25 << 20;
/// Objects in a request. More images than any model takes.
const MAX_OBJECTS: usize = 100;

/// A block whose content may lie in S3.
enum Place<'a> {
    Image(&'a mut api::ImageBlock),
    Document(&'a mut api::DocumentBlock),
}

impl Inference {
    /// Puts what lies in S3 in the place of where it lies.
    pub(super) async fn fetch(
        &self,
        context: &RequestContext,
        conversation: &mut Conversation,
    ) -> Result<(), ApiError> {
        let Some(objects) = &self.objects else { return Ok(()) };
        let messages = conversation.messages.iter_mut().flatten();
        let mut places = Vec::new();
        for block in messages.flat_map(|message| &mut message.content) {
            collect(block, &mut places);
        }
        if places.len() > MAX_OBJECTS {
            return Err(ApiError::validation(format!(
                "A request can have at most {MAX_OBJECTS} blocks with an s3Location. Found {}.",
                places.len()
            )));
        }
        let mut reading = Reading { context, objects, left: MAX_BYTES };
        for place in places {
            reading.fill(place).await?;
        }
        Ok(())
    }
}

fn collect<'a>(block: &'a mut api::ContentBlock, places: &mut Vec<Place<'a>>) {
    match block {
        api::ContentBlock::Image(block) => places.extend(in_s3(Place::Image(block))),
        api::ContentBlock::Document(block) => places.extend(in_s3(Place::Document(block))),
        api::ContentBlock::ToolResult(result) => {
            for part in &mut result.content {
                match part {
                    api::ToolResultContentBlock::Image(block) => places.extend(in_s3(Place::Image(block))),
                    api::ToolResultContentBlock::Document(block) => {
                        places.extend(in_s3(Place::Document(block)));
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn in_s3(place: Place<'_>) -> Option<Place<'_>> {
    let is_in_s3 = match &place {
        Place::Image(block) => matches!(block.source, api::ImageSource::S3Location(_)),
        Place::Document(block) => matches!(block.source, api::DocumentSource::S3Location(_)),
    };
    is_in_s3.then_some(place)
}

/// The objects of one request.
struct Reading<'a> {
    context: &'a RequestContext,
    objects: &'a Arc<dyn ObjectStore>,
    /// Bytes that the next objects may still have.
    left: usize,
}

impl Reading<'_> {
    async fn fill(&mut self, place: Place<'_>) -> Result<(), ApiError> {
        match place {
            Place::Image(block) => {
                if let api::ImageSource::S3Location(at) = &block.source {
                    block.source = api::ImageSource::Bytes(Blob(self.get(at).await?.bytes));
                }
            }
            Place::Document(block) => {
                if let api::DocumentSource::S3Location(at) = &block.source {
                    let Found { bytes, key, media_type } = self.get(at).await?;
                    block.format = block.format.or_else(|| format_of(&media_type, &key));
                    block.source = api::DocumentSource::Bytes(Blob(bytes));
                }
            }
        }
        Ok(())
    }

    async fn get(&mut self, location: &api::S3Location) -> Result<Found, ApiError> {
        let uri = &location.uri;
        let at = ObjectRef::of_uri(uri).ok_or_else(|| {
            ApiError::validation(format!("The s3Location.uri {uri} must be of the form s3://bucket/key."))
        })?;
        let account = &self.context.account.id;
        if let Some(owner) = location.bucket_owner.as_ref().filter(|owner| *owner != account) {
            return Err(ApiError::access_denied(format!(
                "The bucket {} is not owned by the account {owner}, which s3Location.bucketOwner names.",
                at.bucket
            )));
        }
        let object = self.objects.get(&at, GetOptions::default()).await;
        let object = object.map_err(|error| unreadable(&error, uri))?;
        let media_type = object.meta.attributes.content_type.clone().unwrap_or_default();
        let bytes = self.content(object, uri).await?;
        Ok(Found { bytes, key: at.key, media_type })
    }

    async fn content(&mut self, object: Object, uri: &str) -> Result<Bytes, ApiError> {
        let bytes = match object.bytes(self.left).await {
            Ok(bytes) => bytes,
            Err(ObjectError::EntityTooLarge { .. }) => {
                return Err(ApiError::validation(format!(
                    "The objects that a request's s3Locations name can have at most {} MB together; with {uri} they \
                     have more.",
                    MAX_BYTES >> 20
                )));
            }
            Err(error) => return Err(unreadable(&error, uri)),
        };
        if bytes.is_empty() {
            return Err(ApiError::validation(format!("The object {uri} is empty.")));
        }
        self.left -= bytes.len();
        Ok(bytes)
    }
}

/// An object that was read.
struct Found {
    bytes: Bytes,
    key: String,
    /// Empty where its sender gave none.
    media_type: String,
}

fn format_of(media_type: &str, key: &str) -> Option<api::DocumentFormat> {
    media::document_format_of(media_type, key).and_then(|format| format.parse().ok())
}

/// What callers can mend is theirs to read; the rest is for the log.
fn unreadable(error: &ObjectError, uri: &str) -> ApiError {
    match error {
        ObjectError::NoSuchBucket(_)
        | ObjectError::InvalidBucketName(_)
        | ObjectError::NoSuchKey { .. }
        | ObjectError::KeyTooLong { .. }
        | ObjectError::InvalidArgument(_)
        | ObjectError::Remote { status: 400..500, .. } => {
            ApiError::validation(format!("The object {uri} can't be read: {error}."))
        }
        ObjectError::Remote { .. } | ObjectError::Unreachable(_) => {
            tracing::warn!(%error, uri, "an object of a conversation can't be read");
            ApiError::unavailable(format!("The object {uri} can't be read now. Try your request again."))
        }
        other => {
            tracing::error!(error = %other, uri, "an object of a conversation can't be read");
            ApiError::internal(
                "The system encountered an unexpected error during processing. Try your request again.",
            )
        }
    }
}
