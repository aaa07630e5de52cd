//! Storage and retrieval nodes: objects in buckets.

use craton_api_bedrock_agent as api;
use craton_identity::ObjectAccess;
use craton_objects::{GetOptions, ObjectError, ObjectRef, Put, types};
use craton_wire::ApiError;
use serde_json::Value;

use super::{Nodes, gave, input, text};
use crate::run::{Call, Work};

impl Nodes {
    pub(super) async fn store(
        &self,
        call: &Call<'_>,
        configuration: &api::StorageFlowNodeConfiguration,
    ) -> Result<Work, ApiError> {
        let api::StorageFlowNodeServiceConfiguration::S3(s3) = &configuration.service_configuration;
        let (bucket, key) = (&s3.bucket_name, text(input(call.inputs, "objectKey")?));
        self.allowed_object(ObjectAccess::Write { bucket, key: &key }).await?;
        let content = input(call.inputs, "content")?;
        let mut put = Put::new(bucket, &key);
        let kind = if content.is_string() { "text/plain; charset=utf-8" } else { "application/json" };
        put.attributes.content_type = Some(kind.to_owned());
        self.parts.objects.put(put, types::bytes(text(content))).await.map_err(object_error)?;
        Ok(gave("s3Uri", Value::String(format!("s3://{bucket}/{key}")), None))
    }

    pub(super) async fn fetch(
        &self,
        call: &Call<'_>,
        configuration: &api::RetrievalFlowNodeConfiguration,
    ) -> Result<Work, ApiError> {
        let api::RetrievalFlowNodeServiceConfiguration::S3(s3) = &configuration.service_configuration;
        let (bucket, key) = (&s3.bucket_name, text(input(call.inputs, "objectKey")?));
        self.allowed_object(ObjectAccess::Read { bucket, key: &key }).await?;
        let at = ObjectRef::new(bucket, &key);
        let object = self.parts.objects.get(&at, GetOptions::default()).await.map_err(object_error)?;
        let bytes = object.bytes(self.parts.config.max_value_bytes).await.map_err(object_error)?;
        let content = String::from_utf8(bytes.to_vec())
            .map_err(|_| ApiError::validation(format!("the object {key} in {bucket} is not UTF-8 text")))?;
        // A node may declare that its object holds JSON of another type than a string.
        let declared = call.node.outputs.iter().find(|output| output.name == "s3Content");
        let wants_text = declared.is_none_or(|output| output.data_type == api::FlowNodeIODataType::String);
        let value = if wants_text {
            Value::String(content)
        } else {
            serde_json::from_str(&content).map_err(|error| {
                ApiError::validation(format!("the object {key} in {bucket} is no JSON: {error}"))
            })?
        };
        Ok(gave("s3Content", value, None))
    }
}

fn object_error(error: ObjectError) -> ApiError {
    match error {
        ObjectError::NoSuchBucket(_) | ObjectError::NoSuchKey { .. } => {
            ApiError::not_found(error.to_string())
        }
        ObjectError::EntityTooLarge { .. }
        | ObjectError::KeyTooLong { .. }
        | ObjectError::InvalidArgument(_) => ApiError::validation(error.to_string()),
        other => crate::error::internal(&other),
    }
}
