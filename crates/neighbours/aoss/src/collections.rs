//! Collections.

use std::collections::BTreeMap;

use craton_api_opensearchserverless as api;
use craton_core::{Arn, PageRequest, RequestContext};
use craton_store::{Created, Idempotency, NewRecord, Range, Record};
use craton_wire::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{from_store, from_vectors, internal};
use crate::{Collections, scope};

pub(crate) const COLLECTION: &str = "aoss-collection";

/// What is kept of a collection besides its id, name and times.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    r#type: api::CollectionType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    standby_replicas: api::StandbyReplicas,
    #[serde(default)]
    protected: bool,
}

impl Collections {
    pub async fn create_collection(
        &self,
        context: &RequestContext,
        input: api::CreateCollectionRequest,
    ) -> Result<api::CreateCollectionResponse, ApiError> {
        refuse_unserved(input.encryption_config.as_ref(), input.vector_options.is_some())?;
        if input.collection_group_name.is_some() {
            return Err(no_groups());
        }
        if input.encryption_config.is_none() && !self.is_encrypted(context, &input.name).await? {
            return Err(ApiError::validation(format!(
                "No matching security policy of encryption type found for collection name: {}. Please create \
                 security policy of encryption type for this collection.",
                input.name
            )));
        }
        let id = self.parts.ids.short(20).to_lowercase();
        let stored = Stored {
            r#type: input.r#type.unwrap_or(api::CollectionType::Timeseries),
            description: input.description,
            standby_replicas: input.standby_replicas.unwrap_or(api::StandbyReplicas::Enabled),
            protected: input.deletion_protection == Some(api::DeletionProtection::Enabled),
        };
        let tags: BTreeMap<String, String> =
            input.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
        let body = serde_json::to_value(&stored).map_err(|error| internal(&error))?;
        let request = json!([input.name, body, tags]);
        let new = NewRecord {
            name: Some(input.name),
            body,
            now_ms: self.now_ms(),
            idempotency: Idempotency::answering(input.client_token, &request, &id),
            tags: Some((arn(context, &id), tags)),
            id,
        };
        let record =
            match self.parts.store.create(&scope(context, COLLECTION), new).await.map_err(from_store)? {
                Created::New(record) => record,
                Created::Repeated(first) => {
                    self.collection(context, first.as_str().unwrap_or_default()).await?
                }
            };
        let (stored, record) = read(record)?;
        Ok(api::CreateCollectionResponse {
            create_collection_detail: Some(api::CreateCollectionDetail {
                arn: Some(arn(context, &record.id)),
                id: Some(record.id),
                name: record.name,
                status: Some(api::CollectionStatus::Creating),
                r#type: Some(stored.r#type),
                description: stored.description,
                kms_key_arn: Some("auto".into()),
                standby_replicas: Some(stored.standby_replicas),
                deletion_protection: Some(protection(stored.protected)),
                vector_options: None,
                created_date: Some(record.created_ms),
                last_modified_date: Some(record.updated_ms),
                collection_group_name: None,
            }),
        })
    }

    pub async fn batch_get_collection(
        &self,
        context: &RequestContext,
        input: api::BatchGetCollectionRequest,
    ) -> Result<api::BatchGetCollectionResponse, ApiError> {
        let (mut details, mut errors) = (Vec::new(), Vec::new());
        let missing = |id: Option<String>, name: Option<String>| api::CollectionErrorDetail {
            id,
            name,
            error_code: Some("NOT_FOUND".into()),
            error_message: Some("The specified Collection is not found.".into()),
        };
        for id in input.ids.into_iter().flatten() {
            match self.parts.store.get(&scope(context, COLLECTION), &id).await.map_err(from_store)? {
                Some(record) => details.push(self.detail(context, record)?),
                None => errors.push(missing(Some(id), None)),
            }
        }
        for name in input.names.into_iter().flatten() {
            match self
                .parts
                .store
                .find_by_name(&scope(context, COLLECTION), &name)
                .await
                .map_err(from_store)?
            {
                Some(record) => details.push(self.detail(context, record)?),
                None => errors.push(missing(None, Some(name))),
            }
        }
        Ok(api::BatchGetCollectionResponse {
            collection_details: Some(details),
            collection_error_details: Some(errors),
        })
    }

    pub async fn list_collections(
        &self,
        context: &RequestContext,
        input: api::ListCollectionsRequest,
    ) -> Result<api::ListCollectionsResponse, ApiError> {
        let listed = self.parts.store.list(&scope(context, COLLECTION), &Range::default()).await;
        let filters = input.collection_filters;
        if filters.as_ref().is_some_and(|filters| filters.collection_group_name.is_some()) {
            return Err(no_groups());
        }
        let wanted = |record: &Record| {
            filters.as_ref().is_none_or(|filters| {
                filters.name.as_deref().is_none_or(|name| record.name.as_deref() == Some(name))
                    && filters.status.as_ref().is_none_or(|status| *status == api::CollectionStatus::Active)
            })
        };
        let records = listed.map_err(from_store)?.into_iter().filter(wanted);
        let page =
            PageRequest::of(input.next_token, input.max_results).cut(records, |record| record.id.clone());
        let page = page.map_err(|error| ApiError::validation(error.to_string()))?;
        let summaries = page.items.into_iter().map(|record| api::CollectionSummary {
            arn: Some(arn(context, &record.id)),
            id: Some(record.id),
            name: record.name,
            status: Some(api::CollectionStatus::Active),
            kms_key_arn: None,
            collection_group_name: None,
        });
        Ok(api::ListCollectionsResponse {
            collection_summaries: Some(summaries.collect()),
            next_token: page.next_token,
        })
    }

    pub async fn update_collection(
        &self,
        context: &RequestContext,
        input: api::UpdateCollectionRequest,
    ) -> Result<api::UpdateCollectionResponse, ApiError> {
        refuse_unserved(input.encryption_config.as_ref(), input.vector_options.is_some())?;
        let (mut stored, record) = read(self.collection(context, &input.id).await?)?;
        stored.description = input.description.or(stored.description);
        if let Some(asked) = input.deletion_protection {
            stored.protected = asked == api::DeletionProtection::Enabled;
        }
        let body = serde_json::to_value(&stored).map_err(|error| internal(&error))?;
        let changed = Record { body, ..record };
        let scope = scope(context, COLLECTION);
        let updated = self.parts.store.update(&scope, &changed, Some(changed.version), self.now_ms()).await;
        let record = updated.map_err(from_store)?;
        Ok(api::UpdateCollectionResponse {
            update_collection_detail: Some(api::UpdateCollectionDetail {
                arn: Some(arn(context, &record.id)),
                id: Some(record.id),
                name: record.name,
                status: Some(api::CollectionStatus::Active),
                r#type: Some(stored.r#type),
                description: stored.description,
                vector_options: None,
                kms_key_arn: Some("auto".into()),
                created_date: Some(record.created_ms),
                last_modified_date: Some(record.updated_ms),
                deletion_protection: Some(protection(stored.protected)),
            }),
        })
    }

    pub async fn delete_collection(
        &self,
        context: &RequestContext,
        input: api::DeleteCollectionRequest,
    ) -> Result<api::DeleteCollectionResponse, ApiError> {
        let (stored, record) = read(self.collection(context, &input.id).await?)?;
        if stored.protected {
            return Err(ApiError::validation("Deletion protection is enabled for the collection."));
        }
        self.remove_indexes(context, &record.id).await?;
        // Knowledge bases made others.
        self.parts.drivers.remove_collection(&record.id).await.map_err(from_vectors)?;
        let scope = scope(context, COLLECTION);
        let arn = arn(context, &record.id);
        self.parts.store.delete(&scope, &record.id, Some(&arn)).await.map_err(from_store)?;
        // What was begun in between, by whoever still found the collection.
        self.remove_indexes(context, &record.id).await?;
        self.parts.drivers.remove_collection(&record.id).await.map_err(from_vectors)?;
        Ok(api::DeleteCollectionResponse {
            delete_collection_detail: Some(api::DeleteCollectionDetail {
                id: Some(record.id),
                name: record.name,
                status: Some(api::CollectionStatus::Deleting),
                deletion_protection: Some(protection(false)),
            }),
        })
    }

    pub(crate) async fn collection(&self, context: &RequestContext, id: &str) -> Result<Record, ApiError> {
        let found = self.parts.store.get(&scope(context, COLLECTION), id).await.map_err(from_store)?;
        found.ok_or_else(|| ApiError::not_found(format!("Collection with ID {id} cannot be found.")))
    }

    fn detail(&self, context: &RequestContext, record: Record) -> Result<api::CollectionDetail, ApiError> {
        let (stored, record) = read(record)?;
        Ok(api::CollectionDetail {
            arn: Some(arn(context, &record.id)),
            collection_endpoint: Some(format!("{}/aoss/{}", self.parts.url, record.id)),
            dashboard_endpoint: None,
            id: Some(record.id),
            name: record.name,
            status: Some(api::CollectionStatus::Active),
            r#type: Some(stored.r#type),
            description: stored.description,
            kms_key_arn: Some("auto".into()),
            standby_replicas: Some(stored.standby_replicas),
            deletion_protection: Some(protection(stored.protected)),
            vector_options: None,
            created_date: Some(record.created_ms),
            last_modified_date: Some(record.updated_ms),
            fips_endpoints: None,
            failure_code: None,
            failure_message: None,
            collection_group_name: None,
        })
    }
}

/// What is answered as `auto` must have been asked so.
fn refuse_unserved(encryption: Option<&api::EncryptionConfig>, has_options: bool) -> Result<(), ApiError> {
    if encryption.and_then(|config| config.kms_key_arn.as_deref()).is_some_and(|key| key != "auto") {
        return Err(ApiError::validation(
            "This server has no keys of KMS: collections are encrypted with the disk they are on. Set aWSOwnedKey.",
        ));
    }
    if has_options {
        return Err(ApiError::validation("vectorOptions is not served by this release of Craton."));
    }
    Ok(())
}

fn no_groups() -> ApiError {
    ApiError::validation("Collection groups are not served by this release of Craton.")
}

fn read(record: Record) -> Result<(Stored, Record), ApiError> {
    let stored = Stored::deserialize(&record.body).map_err(|error| internal(&error))?;
    Ok((stored, record))
}

fn protection(protected: bool) -> api::DeletionProtection {
    if protected { api::DeletionProtection::Enabled } else { api::DeletionProtection::Disabled }
}

pub(crate) fn arn(context: &RequestContext, id: &str) -> String {
    Arn::new("aoss", &context.region, &context.account.id, format!("collection/{id}")).to_string()
}
