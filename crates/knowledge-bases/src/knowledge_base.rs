//! CreateKnowledgeBase, GetKnowledgeBase, ListKnowledgeBases, UpdateKnowledgeBase, DeleteKnowledgeBase.

use std::collections::BTreeMap;

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::jobs::NewJob;
use craton_store::{Created, Idempotency, NewRecord};
use craton_vectors::is_index_name;
use craton_wire::ApiError;
use serde_json::json;

use crate::KnowledgeBases;
use crate::error::{from_store, internal, missing};
use crate::index::vector_configuration;
use crate::records::{
    ID_LENGTH, KNOWLEDGE_BASE, KnowledgeBaseRecord, Place, StoredKnowledgeBase, arn, bad_page, reasons, same,
};
use crate::storage::invalid_storage;
use crate::upkeep::{self, Task};

/// Knowledge bases of an account in a region, as AWS's default quota has it.
const MOST: usize = 100;

impl KnowledgeBases {
    pub async fn create_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::CreateKnowledgeBaseRequest,
    ) -> Result<api::CreateKnowledgeBaseResponse, ApiError> {
        let place = Place::of(context);
        let scope = place.scope(KNOWLEDGE_BASE);
        let vector = vector_configuration(&input.knowledge_base_configuration)?;
        let storage = input.storage_configuration.clone().ok_or_else(|| {
            ApiError::validation("storageConfiguration is required for a knowledge base of type VECTOR.")
        })?;
        let embedder = self.embedder_of(&place, vector).await?;
        self.index_spec(&storage, embedder.dimensions)?;
        check_name(&storage)?;
        self.check_storage(context, &storage).await?;
        self.check_fields(context, &storage, embedder.dimensions).await?;
        if self.all::<StoredKnowledgeBase>(&scope, "").await?.len() >= MOST {
            return Err(ApiError::quota_exceeded(format!(
                "The account has the {MOST} knowledge bases it can have."
            )));
        }
        let id = self.parts.ids.short(ID_LENGTH);
        self.check_trust(&place, &id, &input.role_arn)?;
        let request = json!([
            input.name,
            input.description,
            input.role_arn,
            input.knowledge_base_configuration,
            storage,
            input.tags
        ]);
        let body = StoredKnowledgeBase {
            description: input.description,
            role_arn: input.role_arn,
            configuration: input.knowledge_base_configuration,
            storage,
            status: api::KnowledgeBaseStatus::Creating,
            failure_reasons: Vec::new(),
            dimensions: embedder.dimensions,
        };
        let now_ms = self.parts.clock.now_ms();
        let tags: BTreeMap<String, String> = input.tags.unwrap_or_default().into_iter().collect();
        let record = NewRecord {
            id: id.clone(),
            name: Some(input.name),
            body: serde_json::to_value(&body).map_err(|error| internal(&error))?,
            now_ms,
            idempotency: Idempotency::answering(input.client_token, &request, &id),
            tags: Some((arn(&place, &id), tags)),
        };
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let id = match transaction.create(&scope, record).await.map_err(from_store)? {
            Created::New(_) => {
                let job = Task::Create { place: place.clone(), knowledge_base: id.clone() };
                transaction.enqueue(self.upkeep_job(&job)?).await.map_err(from_store)?;
                transaction.commit().await.map_err(from_store)?;
                id
            }
            Created::Repeated(first) => {
                drop(transaction);
                first.as_str().unwrap_or_default().to_owned()
            }
        };
        let created = self.knowledge_base(&place, &id).await?;
        Ok(api::CreateKnowledgeBaseResponse { knowledge_base: view(&place, &created) })
    }

    pub(crate) fn upkeep_job(&self, task: &Task) -> Result<NewJob, ApiError> {
        let payload = serde_json::to_value(task).map_err(|error| internal(&error))?;
        Ok(NewJob::new(self.parts.ids.uuid(), upkeep::KIND, payload, self.parts.clock.now_ms()))
    }

    pub async fn get_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::GetKnowledgeBaseRequest,
    ) -> Result<api::GetKnowledgeBaseResponse, ApiError> {
        let place = Place::of(context);
        let found = self.knowledge_base(&place, &input.knowledge_base_id).await?;
        Ok(api::GetKnowledgeBaseResponse { knowledge_base: view(&place, &found) })
    }

    pub async fn list_knowledge_bases(
        &self,
        context: &RequestContext,
        input: api::ListKnowledgeBasesRequest,
    ) -> Result<api::ListKnowledgeBasesResponse, ApiError> {
        let all: Vec<KnowledgeBaseRecord> = self.all(&Place::of(context).scope(KNOWLEDGE_BASE), "").await?;
        let page = PageRequest::of(input.next_token, input.max_results)
            .cut(all, |found| found.id.clone())
            .map_err(bad_page)?;
        let summary = |found: KnowledgeBaseRecord| api::KnowledgeBaseSummary {
            knowledge_base_id: found.id.clone(),
            name: found.name(),
            description: found.body.description.clone(),
            status: found.body.status,
            updated_at: found.updated(),
        };
        Ok(api::ListKnowledgeBasesResponse {
            knowledge_base_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    pub async fn update_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::UpdateKnowledgeBaseRequest,
    ) -> Result<api::UpdateKnowledgeBaseResponse, ApiError> {
        let place = Place::of(context);
        let scope = place.scope(KNOWLEDGE_BASE);
        let mut found = self.knowledge_base(&place, &input.knowledge_base_id).await?;
        let changed = "can't be changed. Create another knowledge base.";
        if !same(&found.body.configuration, &input.knowledge_base_configuration) {
            return Err(ApiError::validation(format!("The knowledgeBaseConfiguration {changed}")));
        }
        if input.storage_configuration.is_some_and(|storage| !same(&storage, &found.body.storage)) {
            return Err(ApiError::validation(format!("The storageConfiguration {changed}")));
        }
        if found.body.status == api::KnowledgeBaseStatus::Deleting {
            return Err(ApiError::conflict(format!("Knowledge Base {} is being deleted.", found.id)));
        }
        self.check_trust(&place, &found.id, &input.role_arn)?;
        found.body.description = input.description;
        found.body.role_arn = input.role_arn;
        found.record.name = Some(input.name);
        let record = found.changed()?;
        let version = Some(record.version);
        let updated = self.parts.store.update(&scope, &record, version, self.parts.clock.now_ms()).await;
        let updated = KnowledgeBaseRecord::read(updated.map_err(from_store)?)?;
        Ok(api::UpdateKnowledgeBaseResponse { knowledge_base: view(&place, &updated) })
    }

    pub async fn delete_knowledge_base(
        &self,
        context: &RequestContext,
        input: api::DeleteKnowledgeBaseRequest,
    ) -> Result<api::DeleteKnowledgeBaseResponse, ApiError> {
        let (place, id) = (Place::of(context), input.knowledge_base_id);
        let scope = place.scope(KNOWLEDGE_BASE);
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let mut found: KnowledgeBaseRecord = self.hold(&mut transaction, &scope, &id).await?;
        if found.body.status != api::KnowledgeBaseStatus::Deleting {
            found.body.status = api::KnowledgeBaseStatus::Deleting;
            let now_ms = self.parts.clock.now_ms();
            transaction.update(&scope, &found.changed()?, None, now_ms).await.map_err(from_store)?;
            let task = Task::Delete { place: place.clone(), knowledge_base: id.clone() };
            transaction.enqueue(self.upkeep_job(&task)?).await.map_err(from_store)?;
        }
        transaction.commit().await.map_err(from_store)?;
        Ok(api::DeleteKnowledgeBaseResponse {
            knowledge_base_id: id,
            status: api::KnowledgeBaseStatus::Deleting,
        })
    }

    /// A knowledge base that can be worked with.
    pub(crate) async fn active_knowledge_base(
        &self,
        place: &Place,
        id: &str,
    ) -> Result<KnowledgeBaseRecord, ApiError> {
        let found = self.knowledge_base(place, id).await?;
        match found.body.status {
            api::KnowledgeBaseStatus::Active => Ok(found),
            // On its way out it is as good as gone.
            api::KnowledgeBaseStatus::Deleting => Err(missing(KNOWLEDGE_BASE, id)),
            other => Err(ApiError::validation(format!(
                "Knowledge Base {id} is not ready: its status is {}.",
                other.as_str()
            ))),
        }
    }
}

/// Refuses a name that no index can have.
fn check_name(storage: &api::StorageConfiguration) -> Result<(), ApiError> {
    let collection = storage.opensearch_serverless_configuration.as_ref();
    let domain = storage.opensearch_managed_cluster_configuration.as_ref();
    let name = collection.map(|it| &it.vector_index_name).or(domain.map(|it| &it.vector_index_name));
    match name.filter(|name| !is_index_name(name)) {
        Some(name) => Err(invalid_storage(&format!("Invalid index name [{name}]"))),
        None => Ok(()),
    }
}

fn view(place: &Place, found: &KnowledgeBaseRecord) -> api::KnowledgeBase {
    api::KnowledgeBase {
        knowledge_base_id: found.id.clone(),
        name: found.name(),
        knowledge_base_arn: arn(place, &found.id),
        description: found.body.description.clone(),
        role_arn: found.body.role_arn.clone(),
        knowledge_base_configuration: found.body.configuration.clone(),
        storage_configuration: Some(found.body.storage.clone()),
        status: found.body.status,
        created_at: found.created(),
        updated_at: found.updated(),
        failure_reasons: reasons(&found.body.failure_reasons),
        metadata_configurations: None,
    }
}
