//! Where a storage configuration says that an index is, and whether it can be there.

use craton_api_bedrock_agent as api;
use craton_core::{Arn, RequestContext};
use craton_vectors::{IndexSpec, OpenSearchIndex, PostgresTable, Storage};
use craton_wire::ApiError;

use crate::error::internal;
use crate::records::{KnowledgeBaseRecord, Place};
use crate::{CollectionIndex, KnowledgeBases, OpenSearchCluster, PostgresDatabase, members};

/// The beginning is AWS's for everything that is wrong with a vector store.
pub(crate) fn invalid_storage(reason: &str) -> ApiError {
    ApiError::validation(format!("The knowledge base storage configuration provided is invalid... {reason}"))
}

impl KnowledgeBases {
    /// Refuses a store that is not there: another's collection could be reached by naming it, and one that is made
    /// later would begin with what others left under its name.
    pub(crate) async fn check_storage(
        &self,
        context: &RequestContext,
        storage: &api::StorageConfiguration,
    ) -> Result<(), ApiError> {
        match self.missing_collection(context, storage).await? {
            None => Ok(()),
            Some(arn) => Err(invalid_storage(&format!(
                "there is no collection {arn}. Create it with CreateCollection."
            ))),
        }
    }

    /// The index that is to be in a collection of this server.
    fn in_collection<'a>(
        &self,
        storage: &'a api::StorageConfiguration,
        dimensions: usize,
    ) -> Option<CollectionIndex<'a>> {
        let collection = storage.opensearch_serverless_configuration.as_ref()?;
        let index = CollectionIndex {
            collection_arn: &collection.collection_arn,
            name: &collection.vector_index_name,
            fields: &collection.field_mapping,
            dimensions,
        };
        self.cluster(index.collection_arn).is_none().then_some(index)
    }

    /// Refuses a mapping of fields that the index it names does not fit.
    pub(crate) async fn check_fields(
        &self,
        context: &RequestContext,
        storage: &api::StorageConfiguration,
        dimensions: usize,
    ) -> Result<(), ApiError> {
        let Some(index) = self.in_collection(storage, dimensions) else { return Ok(()) };
        let api::OpenSearchServerlessFieldMapping { vector_field, text_field, metadata_field } = index.fields;
        if vector_field == text_field || vector_field == metadata_field || text_field == metadata_field {
            return Err(invalid_storage("the fields of fieldMapping must have different names."));
        }
        let checked = self.parts.collections.check_index(context, index).await;
        checked.map_err(|error| match error.code.as_ref() {
            "ValidationException" => invalid_storage(&error.message),
            _ => error,
        })
    }

    /// Has the collection know what this knowledge base calls its fields.
    pub(crate) async fn name_fields(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
    ) -> Result<(), ApiError> {
        let body = &knowledge_base.body;
        let Some(index) = self.in_collection(&body.storage, body.dimensions) else { return Ok(()) };
        let context = self.background(place, "knowledge-base");
        self.parts.collections.name_fields(&context, index, &knowledge_base.id).await
    }

    /// The collection that an index is to be in and that is not there, or not any more.
    pub(crate) async fn missing_collection<'a>(
        &self,
        context: &RequestContext,
        storage: &'a api::StorageConfiguration,
    ) -> Result<Option<&'a str>, ApiError> {
        let Some(collection) = &storage.opensearch_serverless_configuration else { return Ok(None) };
        let arn = collection.collection_arn.as_str();
        let is_there =
            self.cluster(arn).is_some() || self.parts.collections.has_collection(context, arn).await?;
        Ok((!is_there).then_some(arn))
    }
}

/// The column names and the table of an RDS store, in the database that the configuration knows under its ARN.
fn postgres_table(
    databases: &[PostgresDatabase],
    rds: &api::RdsConfiguration,
) -> Result<PostgresTable, ApiError> {
    let known = databases.iter().find(|known| known.resource_arn == rds.resource_arn).ok_or_else(|| {
        ApiError::validation(format!(
            "No database is configured for {}. The server's operator names it in [[postgres]] of the configuration.",
            rds.resource_arn
        ))
    })?;
    let fields = &rds.field_mapping;
    Ok(PostgresTable {
        url: known.url.clone(),
        password: known.password().map_err(|error| internal(&error))?,
        database: rds.database_name.clone(),
        table: rds.table_name.clone(),
        primary_key_field: fields.primary_key_field.clone(),
        vector_field: fields.vector_field.clone(),
        text_field: fields.text_field.clone(),
        metadata_field: fields.metadata_field.clone(),
        custom_metadata_field: fields.custom_metadata_field.clone(),
    })
}

/// An index of a cluster that the configuration knows.
fn cluster_index(
    cluster: &OpenSearchCluster,
    (index, fields): (&str, [&str; 3]),
    dimensions: usize,
) -> Result<IndexSpec, ApiError> {
    let [vector_field, text_field, metadata_field] = fields.map(str::to_owned);
    let storage = Storage::OpenSearch(Box::new(OpenSearchIndex {
        url: cluster.url.clone(),
        access: cluster.access().map_err(|error| internal(&error))?,
        index: index.to_owned(),
        vector_field,
        text_field,
        metadata_field,
    }));
    Ok(IndexSpec { id: format!("{}/{index}", cluster.resource_arn), dimensions, storage })
}

impl KnowledgeBases {
    fn cluster(&self, resource_arn: &str) -> Option<&OpenSearchCluster> {
        self.parts.clusters.iter().find(|known| known.resource_arn == resource_arn)
    }

    fn collection_index(
        &self,
        collection: &api::OpenSearchServerlessConfiguration,
        dimensions: usize,
    ) -> Result<IndexSpec, ApiError> {
        let (arn, index) = (&collection.collection_arn, &collection.vector_index_name);
        if let Some(cluster) = self.cluster(arn) {
            let names = &collection.field_mapping;
            let fields = [&names.vector_field, &names.text_field, &names.metadata_field];
            return cluster_index(cluster, (index, fields.map(String::as_str)), dimensions);
        }
        let arn: Arn =
            arn.parse().map_err(|_| ApiError::validation(format!("{arn} is not a collection's ARN.")))?;
        let (_, id) = arn.resource_parts();
        Ok(IndexSpec::of_collection(id, index, dimensions))
    }

    fn domain_index(
        &self,
        domain: &api::OpenSearchManagedClusterConfiguration,
        dimensions: usize,
    ) -> Result<IndexSpec, ApiError> {
        let arn = &domain.domain_arn;
        let cluster = self.cluster(arn).ok_or_else(|| {
            ApiError::validation(format!(
                "No OpenSearch is configured for {arn}. The server's operator names it in [[opensearch]] of the \
                 configuration."
            ))
        })?;
        let names = &domain.field_mapping;
        let fields = [&names.vector_field, &names.text_field, &names.metadata_field];
        cluster_index(cluster, (&domain.vector_index_name, fields.map(String::as_str)), dimensions)
    }

    /// Which index a storage configuration names.
    pub(crate) fn index_spec(
        &self,
        storage: &api::StorageConfiguration,
        dimensions: usize,
    ) -> Result<IndexSpec, ApiError> {
        use api::KnowledgeBaseStorageType as Type;
        let kind = storage.r#type;
        let wanted = match kind {
            Type::OpensearchServerless => "opensearchServerlessConfiguration",
            Type::OpensearchManagedCluster => "opensearchManagedClusterConfiguration",
            Type::Rds => "rdsConfiguration",
            other => {
                return Err(ApiError::validation(format!(
                    "Storage of type {} is not served by this release of Craton; use OPENSEARCH_SERVERLESS, \
                     OPENSEARCH_MANAGED_CLUSTER or RDS.",
                    other.as_str()
                )));
            }
        };
        let api::StorageConfiguration {
            opensearch_serverless_configuration: collection,
            opensearch_managed_cluster_configuration: domain,
            rds_configuration: rds,
            ..
        } = storage;
        let given = [
            ("opensearchServerlessConfiguration", collection.is_some()),
            ("opensearchManagedClusterConfiguration", domain.is_some()),
            ("rdsConfiguration", rds.is_some()),
            ("pineconeConfiguration", storage.pinecone_configuration.is_some()),
            ("redisEnterpriseCloudConfiguration", storage.redis_enterprise_cloud_configuration.is_some()),
            ("mongoDbAtlasConfiguration", storage.mongo_db_atlas_configuration.is_some()),
        ];
        members::only(&format!("the type of the storage is {}", kind.as_str()), wanted, &given)?;
        match (collection, domain, rds) {
            (Some(collection), ..) => self.collection_index(collection, dimensions),
            (_, Some(domain), _) => self.domain_index(domain, dimensions),
            (.., Some(rds)) => {
                let table = postgres_table(&self.parts.databases, rds)?;
                let id = format!("{}/{}/{}", rds.resource_arn, rds.database_name, rds.table_name);
                Ok(IndexSpec { id, dimensions, storage: Storage::Postgres(Box::new(table)) })
            }
            // One of them is there.
            (None, None, None) => Err(ApiError::validation("storageConfiguration names no storage.")),
        }
    }
}
