//! CreateDataSource, GetDataSource, ListDataSources, UpdateDataSource, DeleteDataSource.

use craton_api_bedrock_agent as api;
use craton_core::{PageRequest, RequestContext};
use craton_store::{Created, Idempotency, NewRecord};
use craton_wire::ApiError;
use serde_json::json;

use crate::KnowledgeBases;
use crate::error::{from_store, internal};
use crate::ingestion::chunking::Strategy;
use crate::ingestion::source;
use crate::records::{
    DATA_SOURCE, DataSourceRecord, ID_LENGTH, Place, StoredDataSource, bad_page, data_source_id, reasons,
};
use crate::upkeep::Task;

/// Data sources of a knowledge base, as AWS's default quota has it.
const MOST: usize = 5;

impl KnowledgeBases {
    pub async fn create_data_source(
        &self,
        context: &RequestContext,
        input: api::CreateDataSourceRequest,
    ) -> Result<api::CreateDataSourceResponse, ApiError> {
        let place = Place::of(context);
        let scope = place.scope(DATA_SOURCE);
        let base = input.knowledge_base_id;
        self.active_knowledge_base(&place, &base).await?;
        check(&place, &input.data_source_configuration, input.vector_ingestion_configuration.as_ref())?;
        if self.all::<StoredDataSource>(&scope, &data_source_id(&base, "")).await?.len() >= MOST {
            return Err(ApiError::quota_exceeded(format!(
                "Knowledge Base {base} has the {MOST} data sources it can have."
            )));
        }
        let request = json!([
            base,
            input.name,
            input.description,
            input.data_source_configuration,
            input.data_deletion_policy,
            input.server_side_encryption_configuration,
            input.vector_ingestion_configuration
        ]);
        let body = StoredDataSource {
            description: input.description,
            configuration: input.data_source_configuration,
            ingestion: input.vector_ingestion_configuration,
            encryption: input.server_side_encryption_configuration,
            deletion: input.data_deletion_policy.unwrap_or(api::DataDeletionPolicy::Delete),
            status: api::DataSourceStatus::Available,
            failure_reasons: Vec::new(),
        };
        let id = self.parts.ids.short(ID_LENGTH);
        let record = NewRecord {
            id: data_source_id(&base, &id),
            name: Some(format!("{base}/{}", input.name)),
            body: serde_json::to_value(&body).map_err(|error| internal(&error))?,
            now_ms: self.parts.clock.now_ms(),
            idempotency: Idempotency::answering(input.client_token, &request, &id),
            tags: None,
        };
        let id = match self.parts.store.create(&scope, record).await.map_err(from_store)? {
            Created::New(_) => id,
            Created::Repeated(first) => first.as_str().unwrap_or_default().to_owned(),
        };
        let created = self.data_source(&place, &base, &id).await?;
        Ok(api::CreateDataSourceResponse { data_source: view(&base, &created) })
    }

    pub async fn get_data_source(
        &self,
        context: &RequestContext,
        input: api::GetDataSourceRequest,
    ) -> Result<api::GetDataSourceResponse, ApiError> {
        let base = input.knowledge_base_id;
        let found = self.data_source(&Place::of(context), &base, &input.data_source_id).await?;
        Ok(api::GetDataSourceResponse { data_source: view(&base, &found) })
    }

    pub async fn list_data_sources(
        &self,
        context: &RequestContext,
        input: api::ListDataSourcesRequest,
    ) -> Result<api::ListDataSourcesResponse, ApiError> {
        let (place, base) = (Place::of(context), input.knowledge_base_id);
        self.knowledge_base(&place, &base).await?;
        let all: Vec<DataSourceRecord> =
            self.all(&place.scope(DATA_SOURCE), &data_source_id(&base, "")).await?;
        let page = PageRequest::of(input.next_token, input.max_results)
            .cut(all, |found| found.id.clone())
            .map_err(bad_page)?;
        let summary = |found: DataSourceRecord| api::DataSourceSummary {
            knowledge_base_id: base.clone(),
            data_source_id: found.id.clone(),
            name: found.name(),
            status: found.body.status,
            description: found.body.description.clone(),
            updated_at: found.updated(),
        };
        Ok(api::ListDataSourcesResponse {
            data_source_summaries: page.items.into_iter().map(summary).collect(),
            next_token: page.next_token,
        })
    }

    pub async fn update_data_source(
        &self,
        context: &RequestContext,
        input: api::UpdateDataSourceRequest,
    ) -> Result<api::UpdateDataSourceResponse, ApiError> {
        let (place, base) = (Place::of(context), input.knowledge_base_id);
        let mut found = self.data_source(&place, &base, &input.data_source_id).await?;
        if found.body.status == api::DataSourceStatus::Deleting {
            return Err(ApiError::conflict(format!("DataSource {} is being deleted.", found.id)));
        }
        check(&place, &input.data_source_configuration, input.vector_ingestion_configuration.as_ref())?;
        if input.data_source_configuration.r#type != found.body.configuration.r#type {
            return Err(ApiError::validation("The type of a data source can't be changed."));
        }
        // What is not said of chunks is not changed.
        let asked = input.vector_ingestion_configuration;
        let asked = asked.filter(|ingestion| ingestion.chunking_configuration.is_some());
        if asked.is_some() && Strategy::of(asked.as_ref())? != Strategy::of(found.body.ingestion.as_ref())? {
            return Err(ApiError::validation(
                "The chunkingConfiguration of a data source can't be changed. Create another data source.",
            ));
        }
        found.body.description = input.description;
        found.body.configuration = input.data_source_configuration;
        found.body.encryption = input.server_side_encryption_configuration;
        found.body.deletion = input.data_deletion_policy.unwrap_or(found.body.deletion);
        found.record.name = Some(format!("{base}/{}", input.name));
        let record = found.changed()?;
        let (scope, now_ms) = (place.scope(DATA_SOURCE), self.parts.clock.now_ms());
        let updated = self.parts.store.update(&scope, &record, Some(record.version), now_ms).await;
        let updated = DataSourceRecord::read(updated.map_err(from_store)?)?;
        Ok(api::UpdateDataSourceResponse { data_source: view(&base, &updated) })
    }

    pub async fn delete_data_source(
        &self,
        context: &RequestContext,
        input: api::DeleteDataSourceRequest,
    ) -> Result<api::DeleteDataSourceResponse, ApiError> {
        let (place, base, id) = (Place::of(context), input.knowledge_base_id, input.data_source_id);
        self.data_source(&place, &base, &id).await?;
        let scope = place.scope(DATA_SOURCE);
        let mut transaction = self.parts.store.begin().await.map_err(from_store)?;
        let mut found: DataSourceRecord =
            self.hold(&mut transaction, &scope, &data_source_id(&base, &id)).await?;
        if found.body.status != api::DataSourceStatus::Deleting {
            found.body.status = api::DataSourceStatus::Deleting;
            let now_ms = self.parts.clock.now_ms();
            transaction.update(&scope, &found.changed()?, None, now_ms).await.map_err(from_store)?;
            let task = Task::DeleteDataSource {
                place: place.clone(),
                knowledge_base: base.clone(),
                data_source: id.clone(),
            };
            transaction.enqueue(self.upkeep_job(&task)?).await.map_err(from_store)?;
        }
        transaction.commit().await.map_err(from_store)?;
        Ok(api::DeleteDataSourceResponse {
            knowledge_base_id: base,
            data_source_id: id,
            status: api::DataSourceStatus::Deleting,
        })
    }
}

/// Refuses what can't be served before it is stored.
fn check(
    place: &Place,
    configuration: &api::DataSourceConfiguration,
    ingestion: Option<&api::VectorIngestionConfiguration>,
) -> Result<(), ApiError> {
    source::check(configuration)?;
    let owner = configuration.s3_configuration.as_ref().and_then(|s3| s3.bucket_owner_account_id.as_ref());
    if owner.is_some_and(|owner| *owner != place.account) {
        return Err(ApiError::validation(
            "bucketOwnerAccountId names another account, and this server has the buckets of one.",
        ));
    }
    Strategy::of(ingestion)?;
    let Some(ingestion) = ingestion else { return Ok(()) };
    if ingestion.custom_transformation_configuration.is_some() {
        return Err(ApiError::validation(
            "customTransformationConfiguration is not served by this release of Craton.",
        ));
    }
    if ingestion.parsing_configuration.is_some() {
        return Err(ApiError::validation(
            "parsingConfiguration is not served by this release of Craton: leave it out for the default parser.",
        ));
    }
    if ingestion.context_enrichment_configuration.is_some() {
        return Err(ApiError::validation(
            "contextEnrichmentConfiguration is not served by this release of Craton.",
        ));
    }
    Ok(())
}

fn view(knowledge_base: &str, found: &DataSourceRecord) -> api::DataSource {
    api::DataSource {
        knowledge_base_id: knowledge_base.to_owned(),
        data_source_id: found.id.clone(),
        name: found.name(),
        status: found.body.status,
        description: found.body.description.clone(),
        data_source_configuration: found.body.configuration.clone(),
        server_side_encryption_configuration: found.body.encryption.clone(),
        vector_ingestion_configuration: found.body.ingestion.clone(),
        data_deletion_policy: Some(found.body.deletion),
        created_at: found.created(),
        updated_at: found.updated(),
        failure_reasons: reasons(&found.body.failure_reasons),
    }
}
