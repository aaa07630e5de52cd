//! The vector index and the embedding model of a knowledge base, ready to be used.

use std::sync::Arc;
use std::time::Duration;

use craton_api_bedrock_agent as api;
use craton_backend::{BackendError, EmbedRequest, EmbeddingModel, Embeddings, fit_dimensions};
use craton_core::{Account, Arn, Principal, RequestContext};
use craton_identity::{Actor, ObjectAccess, ServiceUse};
use craton_metering::{CallStart, Metering, Tokens};
use craton_models::Target;
use craton_store::jobs::JobError;
use craton_vectors::{IndexSpec, VectorIndex};
use craton_wire::ApiError;
use tokio::sync::OnceCell;

use crate::error::from_vectors;
use crate::ingestion::{from_api, from_index};
use crate::records::{KnowledgeBaseRecord, Place, StoredKnowledgeBase, arn};
use crate::retrieval::{Searchable, Searchables, TextEmbedder};
use crate::{KnowledgeBases, members};

/// Texts in one call to the model; its backend makes batches of them as suits it.
const TEXTS: usize = 256;
/// Texts whose tokens are counted in one call.
const COUNTED: usize = 4_096;
/// Waits between tries while the model is not ready, overloaded or out of reach.
const WAITS: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8)];

/// A knowledge base's embedding model.
#[derive(Clone)]
pub(crate) struct Embedder {
    model: Arc<dyn EmbeddingModel>,
    /// The backend's name for it.
    name: String,
    /// The ARN it was asked for by.
    pub(crate) arn: String,
    /// What serves it, for telling vectors of one model from those of another.
    pub(crate) served_by: String,
    pub(crate) dimensions: usize,
    model_id: String,
    /// For whom, and in which operation, its calls are counted.
    pub(crate) context: RequestContext,
    pub(crate) operation: &'static str,
    metering: Arc<Metering>,
    /// Tokens of nothing, once they were counted.
    frame: Arc<OnceCell<u32>>,
}

impl Embedder {
    /// Vectors of unit length, in the texts' order. Tries again where waiting may help.
    pub(crate) async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, BackendError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for texts in texts.chunks(TEXTS) {
            let embedded = self.embed_batch(texts).await?;
            vectors.extend(embedded.iter().map(|vector| fit_dimensions(vector, self.dimensions)));
        }
        Ok(vectors)
    }

    async fn embed_batch(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, BackendError> {
        let mut waits = WAITS.iter();
        loop {
            match self.embed_once(texts).await {
                Ok(embeddings) if embeddings.vectors.len() == texts.len() => return Ok(embeddings.vectors),
                Ok(_) => {
                    return Err(BackendError::Internal(
                        "the model returned another number of vectors".into(),
                    ));
                }
                Err(error) => match waits.next() {
                    Some(wait) if may_pass(&error) => tokio::time::sleep(*wait).await,
                    _ => return Err(error),
                },
            }
        }
    }

    async fn embed_once(&self, texts: &[String]) -> Result<Embeddings, BackendError> {
        let start = CallStart {
            context: &self.context,
            operation: self.operation,
            model_id: &self.model_id,
            invoked_id: &self.arn,
            profile_arn: None,
            served_by: &self.served_by,
            streamed: false,
        };
        let mut meter = self.metering.call(start, Vec::new());
        let request = EmbedRequest { model: self.name.clone(), texts: texts.to_vec(), truncate: true };
        let answered = self.model.embed(request).await;
        match &answered {
            Ok(embeddings) => {
                let input =
                    embeddings.input_tokens.iter().fold(0, |sum: u32, more| sum.saturating_add(*more));
                meter.complete("end", Tokens { input, ..Tokens::default() });
            }
            Err(error) => {
                let error = craton_inference::error::from_backend(error.clone(), &self.name);
                meter.fail(error.code);
            }
        }
        answered
    }

    /// Tokens of texts, without those that the model puts around every text.
    pub(crate) async fn count_tokens(&self, texts: Vec<String>) -> Result<Vec<usize>, BackendError> {
        let frame = self.frame.get_or_try_init(|| self.model.count_tokens("")).await?;
        let mut counts = Vec::with_capacity(texts.len());
        for texts in texts.chunks(COUNTED) {
            let counted = self.model.count_each(texts.to_vec()).await?;
            counts.extend(counted.into_iter().map(|tokens| tokens.saturating_sub(*frame) as usize));
        }
        Ok(counts)
    }
}

fn may_pass(error: &BackendError) -> bool {
    match error {
        BackendError::Overloaded { .. }
        | BackendError::NotReady(_)
        | BackendError::Timeout(_)
        | BackendError::Unreachable(_) => true,
        BackendError::Upstream { status, .. } => *status >= 500,
        _ => false,
    }
}

/// Whether an error is about the texts, not about the model.
pub(crate) fn is_about_texts(error: &BackendError) -> bool {
    use BackendError::{ContextOverflow, Invalid, Refused};
    matches!(error, Invalid(_) | Refused(_) | ContextOverflow { .. })
}

impl KnowledgeBases {
    /// The embedding model of a configuration, and the length of vectors it asks for.
    pub(crate) async fn embedder_of(
        &self,
        place: &Place,
        configuration: &api::VectorKnowledgeBaseConfiguration,
    ) -> Result<Embedder, ApiError> {
        let arn = &configuration.embedding_model_arn;
        let context = self.background(place, "knowledge-base");
        let resolved = self.parts.models.resolve(&context, arn).await?;
        if resolved.model.family.task() != craton_models::Task::Embedding {
            return Err(ApiError::validation(format!(
                "The model {arn} is not an embedding model. Choose a model with embedding output."
            )));
        }
        let model =
            self.parts.backends.embedding(&resolved.target).map_err(|error| {
                ApiError::validation(format!("The embedding model can't be used: {error}"))
            })?;
        let asked = configuration
            .embedding_model_configuration
            .as_ref()
            .and_then(|configuration| configuration.bedrock_embedding_model_configuration.as_ref());
        if asked.is_some_and(|asked| asked.embedding_data_type == Some(api::EmbeddingDataType::Binary)) {
            return Err(ApiError::validation(
                "Binary vector embeddings are not served by this release. Choose FLOAT32.",
            ));
        }
        if asked.is_some_and(|asked| {
            asked.audio.is_some() || asked.video.is_some() || asked.model_configuration.is_some()
        }) {
            return Err(ApiError::validation(
                "audio, video and modelConfiguration of an embedding model are not served by this release of Craton.",
            ));
        }
        let offered = &resolved.model.embedding_dimensions;
        let dimensions = match asked.and_then(|asked| asked.dimensions) {
            Some(asked) => {
                let known =
                    u32::try_from(asked).ok().filter(|asked| offered.is_empty() || offered.contains(asked));
                known.ok_or_else(|| {
                    ApiError::validation(format!(
                        "The model {arn} has no embeddings of {asked} dimensions. It has: {offered:?}."
                    ))
                })? as usize
            }
            None => offered.first().map_or_else(|| model.dimensions(), |first| *first as usize),
        };
        let (Target::Local { model: name } | Target::Upstream { model: name, .. }) = &resolved.target;
        let (name, served_by) = (name.clone(), resolved.served_by.clone());
        Ok(Embedder {
            model,
            name,
            arn: arn.clone(),
            served_by,
            dimensions,
            model_id: resolved.model.id.clone(),
            context,
            operation: "StartIngestionJob",
            metering: Arc::clone(&self.parts.metering),
            frame: Arc::default(),
        })
    }

    /// The embedding model of a knowledge base, at the length its index has.
    pub(crate) async fn embedder(
        &self,
        place: &Place,
        knowledge_base: &StoredKnowledgeBase,
    ) -> Result<Embedder, ApiError> {
        let embedder = self.embedder_of(place, vector_configuration(&knowledge_base.configuration)?).await?;
        Ok(Embedder { dimensions: knowledge_base.dimensions, ..embedder })
    }

    /// Whether the service may act with the role that a knowledge base is to have.
    pub(crate) fn check_trust(&self, place: &Place, id: &str, role_arn: &str) -> Result<(), ApiError> {
        let source_arn = arn(place, id);
        let usage = ServiceUse { role_arn, service: "bedrock.amazonaws.com", source_arn: Some(&source_arn) };
        self.parts.permissions.check_trust(&usage)
    }

    /// Whether a knowledge base's role lets it do this.
    pub(crate) async fn check_role(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
        action: &str,
        resource: &str,
    ) -> Result<(), ApiError> {
        let source_arn = arn(place, &knowledge_base.id);
        let actor = role_of(knowledge_base, &source_arn);
        self.parts.permissions.check(&self.role_context(place), actor, action, resource).await
    }

    /// The same for what is in a bucket.
    pub(crate) async fn check_access(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
        access: ObjectAccess<'_>,
    ) -> Result<(), ApiError> {
        let source_arn = arn(place, &knowledge_base.id);
        let actor = role_of(knowledge_base, &source_arn);
        self.parts.permissions.check_object(&self.role_context(place), actor, access).await
    }

    fn role_context(&self, place: &Place) -> RequestContext {
        self.background(place, "knowledge-base")
    }

    /// Whether a knowledge base's role lets it use its embedding model and the store of its index.
    pub(crate) async fn check_use(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
        embedder: &Embedder,
    ) -> Result<(), ApiError> {
        let storage = &knowledge_base.body.storage;
        self.check_role(place, knowledge_base, "bedrock:InvokeModel", &embedder.arn).await?;
        if let Some(collection) = &storage.opensearch_serverless_configuration {
            self.check_role(place, knowledge_base, "aoss:APIAccessAll", &collection.collection_arn).await?;
        }
        if let Some(domain) = &storage.opensearch_managed_cluster_configuration {
            let index = format!("{}/{}/*", domain.domain_arn, domain.vector_index_name);
            for action in ["es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut", "es:ESHttpDelete"] {
                self.check_role(place, knowledge_base, action, &index).await?;
            }
        }
        if let Some(rds) = &storage.rds_configuration {
            let secret = &rds.credentials_secret_arn;
            self.check_role(place, knowledge_base, "rds-data:ExecuteStatement", &rds.resource_arn).await?;
            self.check_role(place, knowledge_base, "secretsmanager:GetSecretValue", secret).await?;
        }
        Ok(())
    }

    /// The index of a knowledge base, opened.
    pub(crate) async fn open_index(
        &self,
        context: &RequestContext,
        knowledge_base: &StoredKnowledgeBase,
    ) -> Result<Arc<dyn VectorIndex>, ApiError> {
        let spec = self.index_spec(&knowledge_base.storage, knowledge_base.dimensions)?;
        let index = self.parts.drivers.open(&spec).await.map_err(from_vectors)?;
        self.check_kept(context, knowledge_base, &spec).await?;
        Ok(index)
    }

    /// The same for a job, whose owner is told why it can't be.
    pub(crate) async fn index_of_job(
        &self,
        place: &Place,
        knowledge_base: &StoredKnowledgeBase,
    ) -> Result<Arc<dyn VectorIndex>, JobError> {
        let spec = self.index_spec(&knowledge_base.storage, knowledge_base.dimensions).map_err(from_api)?;
        let index = self.parts.drivers.open(&spec).await.map_err(from_index)?;
        let context = self.background(place, "knowledge-base");
        self.check_kept(&context, knowledge_base, &spec).await.map_err(from_api)?;
        Ok(index)
    }

    /// Refuses an index whose collection was deleted while it was opened, and removes what opening it made: nobody would
    /// come by it any more.
    async fn check_kept(
        &self,
        context: &RequestContext,
        knowledge_base: &StoredKnowledgeBase,
        spec: &IndexSpec,
    ) -> Result<(), ApiError> {
        let storage = &knowledge_base.storage;
        if self.missing_collection(context, storage).await?.is_some() {
            self.parts.drivers.remove(spec).await.map_err(from_vectors)?;
        }
        self.check_storage(context, storage).await
    }

    /// The context of work that no request asked for directly.
    pub(crate) fn background(&self, place: &Place, what: &str) -> RequestContext {
        let account = Account { id: place.account.clone(), home_region: place.region.clone() };
        RequestContext {
            request_id: self.parts.ids.uuid(),
            account: Arc::new(account),
            region: place.region.clone(),
            principal: Arc::new(Principal::new(
                Arn::new("bedrock", &place.region, &place.account, what).to_string(),
                "",
            )),
            source_ip: None,
            received_ms: self.parts.clock.now_ms(),
        }
    }
}

/// A knowledge base's role, used on its behalf.
fn role_of<'a>(knowledge_base: &'a KnowledgeBaseRecord, source_arn: &'a str) -> Actor<'a> {
    Actor::Role(ServiceUse {
        role_arn: &knowledge_base.body.role_arn,
        service: "bedrock.amazonaws.com",
        source_arn: Some(source_arn),
    })
}

#[async_trait::async_trait]
impl Searchables for KnowledgeBases {
    async fn searchable(&self, context: &RequestContext, id: &str) -> Result<Searchable, ApiError> {
        let place = Place::of(context);
        let found = self.active_knowledge_base(&place, id).await?;
        let embedder = self.embedder(&place, &found.body).await?;
        self.check_use(&place, &found, &embedder).await?;
        self.check_storage(context, &found.body.storage).await?;
        Ok(Searchable {
            id: found.id,
            index: self.open_index(context, &found.body).await?,
            embedder: Arc::new(Embedder { context: context.clone(), operation: "Retrieve", ..embedder }),
        })
    }
}

#[async_trait::async_trait]
impl TextEmbedder for Embedder {
    async fn embed_texts(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ApiError> {
        self.embed(texts).await.map_err(|error| craton_inference::error::from_backend(error, &self.name))
    }
}

pub(crate) fn vector_configuration(
    configuration: &api::KnowledgeBaseConfiguration,
) -> Result<&api::VectorKnowledgeBaseConfiguration, ApiError> {
    if configuration.r#type == api::KnowledgeBaseType::Vector {
        let given = [
            (
                "managedKnowledgeBaseConfiguration",
                configuration.managed_knowledge_base_configuration.is_some(),
            ),
            ("kendraKnowledgeBaseConfiguration", configuration.kendra_knowledge_base_configuration.is_some()),
            ("sqlKnowledgeBaseConfiguration", configuration.sql_knowledge_base_configuration.is_some()),
        ];
        members::only("the type of a knowledge base is VECTOR", "", &given)?;
    }
    match (&configuration.r#type, &configuration.vector_knowledge_base_configuration) {
        (api::KnowledgeBaseType::Vector, Some(vector))
            if vector.supplemental_data_storage_configuration.is_some() =>
        {
            Err(ApiError::validation(
                "supplementalDataStorageConfiguration is not served by this release of Craton: pictures in documents are not read.",
            ))
        }
        (api::KnowledgeBaseType::Vector, Some(vector)) => Ok(vector),
        (api::KnowledgeBaseType::Vector, None) => Err(ApiError::validation(
            "vectorKnowledgeBaseConfiguration is required for a knowledge base of type VECTOR.",
        )),
        (other, _) => Err(ApiError::validation(format!(
            "Knowledge bases of type {} are not served by this release of Craton; use VECTOR.",
            other.as_str()
        ))),
    }
}
