//! Knowledge bases, on what they keep their documents and vectors in.

use std::sync::Arc;

use craton_aoss::Collections;
use craton_aoss::rest::{FieldNames, NamedIndex};
use craton_api_bedrock_agent::OpenSearchServerlessFieldMapping;
use craton_core::{Clock, IdSource, RequestContext};
use craton_identity::Permissions;
use craton_inference::Backends;
use craton_knowledge_bases::{AccessError, CollectionIndex, KnowledgeBases, KnownCollections, Parts};
use craton_metering::Metering;
use craton_models::Models;
use craton_objects::Objects;
use craton_store::Store;
use craton_wire::ApiError;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::config::{ConfigError, ServerConfig};

/// The collections of this server, for knowledge bases to look up.
struct Known(Collections);

impl KnownCollections for Known {
    fn has_collection<'a>(
        &'a self,
        context: &'a RequestContext,
        arn: &'a str,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        self.0.has_collection(context, arn).boxed()
    }

    fn check_index<'a>(
        &'a self,
        context: &'a RequestContext,
        index: CollectionIndex<'a>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        async move { self.0.check_index(context, named(&index, &names(index.fields))).await }.boxed()
    }

    fn name_fields<'a>(
        &'a self,
        context: &'a RequestContext,
        index: CollectionIndex<'a>,
        knowledge_base: &'a str,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let noted = async move {
            let names = names(index.fields);
            self.0.name_fields(context, named(&index, &names), knowledge_base).await
        };
        noted.boxed()
    }
}

fn names(fields: &OpenSearchServerlessFieldMapping) -> FieldNames {
    FieldNames {
        vector: fields.vector_field.clone(),
        text: fields.text_field.clone(),
        metadata: fields.metadata_field.clone(),
    }
}

fn named<'a>(index: &CollectionIndex<'a>, fields: &'a FieldNames) -> NamedIndex<'a> {
    let collection_id = index.collection_arn.rsplit_once('/').map_or("", |(_, id)| id);
    NamedIndex { collection_id, name: index.name, fields, dimensions: index.dimensions }
}

pub(crate) fn knowledge_bases(
    config: &ServerConfig,
    (store, objects, drivers): (&Store, Objects, craton_vectors::Drivers),
    (models, backends): (&Models, Arc<dyn Backends>),
    (permissions, metering, collections): (&Arc<dyn Permissions>, &Arc<Metering>, &Collections),
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
) -> Result<KnowledgeBases, ConfigError> {
    let missing = |key| move |error: AccessError| ConfigError::Value { key, message: error.to_string() };
    config.databases.iter().try_for_each(|one| one.password().map(drop)).map_err(missing("postgres"))?;
    config.clusters.iter().try_for_each(|one| one.password().map(drop)).map_err(missing("opensearch"))?;
    Ok(KnowledgeBases::new(Parts {
        store: store.clone(),
        objects: Arc::new(objects),
        drivers,
        collections: Arc::new(Known(collections.clone())),
        metering: Arc::clone(metering),
        databases: config.databases.clone(),
        clusters: config.clusters.clone(),
        models: models.clone(),
        backends,
        permissions: Arc::clone(permissions),
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        config: config.knowledge_bases.clone(),
    }))
}
