//! What the tests share: a world with one account, and what its clients do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use craton_api_bedrock_agent as api;
use craton_backend::{BackendError, ChatModel, EmbedRequest, EmbeddingModel, Embeddings, RerankModel};
use craton_core::{Account, Arn, Clock as _, Principal, RandomIds, RequestContext, SystemClock};
use craton_identity::{Actor, AuthorizationRequest, ObjectAccess, Permissions, ServiceRoles, ServiceUse};
use craton_inference::Backends;
use craton_knowledge_bases::{
    CollectionIndex, KnowledgeBases, KnowledgeBasesConfig, KnownCollections, Parts,
};
use craton_metering::Metering;
use craton_models::files::ModelFiles;
use craton_models::{Models, ModelsConfig, Target};
use craton_objects::{FileObjects, ObjectRef, ObjectStore, Put, types};
use craton_store::Store;
use craton_store::jobs::{Runner, Running};
use craton_vectors::{Chunk, Drivers, IndexSpec, Query, Want};
use craton_wire::ApiError;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// What roles' own policies allow. What buckets and other resources have to say is the server's to weigh.
pub(crate) struct ByRole(pub(crate) ServiceRoles);

impl ByRole {
    fn ask(&self, actor: Actor<'_>, action: &str, resource: &str) -> Result<(), ApiError> {
        let Actor::Role(usage) = actor else { panic!("a knowledge base acts with its role") };
        let resources: Vec<Arn> = vec![resource.parse().unwrap()];
        self.0.using(usage).authorize(&AuthorizationRequest::new(action, &resources))
    }
}

#[async_trait::async_trait]
impl Permissions for ByRole {
    async fn check(
        &self,
        _: &RequestContext,
        actor: Actor<'_>,
        action: &str,
        resource: &str,
    ) -> Result<(), ApiError> {
        self.ask(actor, action, resource)
    }

    async fn check_object(
        &self,
        _: &RequestContext,
        actor: Actor<'_>,
        access: ObjectAccess<'_>,
    ) -> Result<(), ApiError> {
        let (action, place) = match access {
            ObjectAccess::Read { bucket, key } => ("s3:GetObject", format!("{bucket}/{key}")),
            ObjectAccess::Write { bucket, key } => ("s3:PutObject", format!("{bucket}/{key}")),
            ObjectAccess::List { bucket, .. } => ("s3:ListBucket", bucket.to_owned()),
        };
        self.ask(actor, action, &format!("arn:aws:s3:::{place}"))
    }

    async fn check_model(
        &self,
        _: &RequestContext,
        _: Actor<'_>,
        _: &str,
        _: Option<(&str, &str)>,
    ) -> Result<(), ApiError> {
        panic!("models are asked for by their ARNs")
    }

    fn check_trust(&self, usage: &ServiceUse<'_>) -> Result<(), ApiError> {
        self.0.check_trust(usage)
    }
}

pub(crate) const BUCKET: &str = "docs";
const WIDTH: usize = 64;

/// Vectors that count words by their hash; it can be told to fail or to wait, and remembers how much it embedded.
#[derive(Default)]
pub(crate) struct Words {
    pub(crate) texts: AtomicUsize,
    pub(crate) failing: Mutex<Option<BackendError>>,
    /// Each call takes a permit, where there is a gate.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
}

impl EmbeddingModel for Words {
    fn dimensions(&self) -> usize {
        WIDTH
    }

    fn max_tokens(&self) -> u32 {
        8192
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, BackendError>> {
        if let Some(error) = self.failing.lock().clone() {
            return std::future::ready(Err(error)).boxed();
        }
        self.texts.fetch_add(request.texts.len(), Ordering::SeqCst);
        let vector = |text: &String| {
            let mut vector = [0.0_f32; WIDTH];
            vector[0] = 0.1;
            for word in text.to_lowercase().split(|letter: char| !letter.is_alphanumeric()) {
                let hash =
                    word.bytes().fold(5381_usize, |hash, byte| hash.wrapping_mul(33) ^ usize::from(byte));
                vector[hash % WIDTH] += 1.0;
            }
            let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter().map(|x| x / length).collect()
        };
        let embeddings = Embeddings {
            vectors: request.texts.iter().map(vector).collect(),
            input_tokens: request.texts.iter().map(|_| 1).collect(),
        };
        let gate = self.gate.lock().clone();
        let passed = async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            Ok(embeddings)
        };
        passed.boxed()
    }

    fn count_tokens<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<u32, BackendError>> {
        let words = text.split_whitespace().count();
        std::future::ready(Ok(u32::try_from(words).unwrap())).boxed()
    }
}

struct OnlyWords(Arc<Words>);

impl Backends for OnlyWords {
    fn chat(&self, _: &Target) -> Result<Arc<dyn ChatModel>, BackendError> {
        Err(BackendError::Unsupported("no chat here".into()))
    }

    fn embedding(&self, _: &Target) -> Result<Arc<dyn EmbeddingModel>, BackendError> {
        Ok(self.0.clone())
    }

    fn rerank(&self, _: &Target) -> Result<Arc<dyn RerankModel>, BackendError> {
        Err(BackendError::Unsupported("no rerank here".into()))
    }
}

struct OnlyAbc;

impl KnownCollections for OnlyAbc {
    fn has_collection<'a>(
        &'a self,
        _: &'a RequestContext,
        arn: &'a str,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        std::future::ready(Ok(arn == "arn:aws:aoss:us-east-1:123456789012:collection/abc")).boxed()
    }

    fn check_index<'a>(
        &'a self,
        _: &'a RequestContext,
        index: CollectionIndex<'a>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let checked = match index.fields.vector_field.as_str() {
            "unmapped" => Err(ApiError::validation("Field 'unmapped' is not knn_vector type.")),
            _ => Ok(()),
        };
        std::future::ready(checked).boxed()
    }

    fn name_fields<'a>(
        &'a self,
        _: &'a RequestContext,
        _: CollectionIndex<'a>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        std::future::ready(Ok(())).boxed()
    }
}

pub(crate) struct World {
    pub(crate) service: KnowledgeBases,
    pub(crate) store: Store,
    pub(crate) objects: Arc<FileObjects>,
    pub(crate) model: Arc<Words>,
    pub(crate) drivers: Drivers,
    pub(crate) running: Option<Running>,
}

pub(crate) fn context() -> RequestContext {
    RequestContext {
        request_id: "1".into(),
        account: Arc::new(Account::default()),
        region: "us-east-1".into(),
        principal: Arc::new(Principal::new("arn:aws:iam::123456789012:root", "AKIA")),
        source_ip: None,
        received_ms: SystemClock.now_ms(),
    }
}

/// A request from its JSON.
pub(crate) fn input<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

impl World {
    /// A world in a directory, at work.
    pub(crate) async fn open(directory: &Path) -> Self {
        Self::on(Store::open(directory).await.unwrap(), directory).await
    }

    pub(crate) async fn on(store: Store, directory: &Path) -> Self {
        let mut world = Self::idle(store, directory);
        world.work().await;
        world
    }

    /// A world whose jobs wait.
    pub(crate) fn idle(store: Store, directory: &Path) -> Self {
        let config = KnowledgeBasesConfig { crawl_private_networks: true, ..Default::default() };
        Self::configured(store, directory, config)
    }

    pub(crate) fn configured(store: Store, directory: &Path, config: KnowledgeBasesConfig) -> Self {
        Self::tuned(store, directory, |parts| parts.config = config)
    }

    /// A world whose jobs wait, on parts that the test changes.
    pub(crate) fn tuned(store: Store, directory: &Path, tune: impl FnOnce(&mut Parts)) -> Self {
        let clock = Arc::new(SystemClock);
        let objects =
            Arc::new(FileObjects::open(store.clone(), &directory.join("objects"), clock.clone()).unwrap());
        let models = ModelFiles::at(directory.join("models"));
        let model = Arc::new(Words::default());
        let drivers = Drivers::new(store.clone(), directory.join("indexes"));
        let mut parts = Parts {
            store: store.clone(),
            objects: objects.clone(),
            drivers: drivers.clone(),
            models: Models::open(ModelsConfig::default(), models, store.clone()).unwrap(),
            backends: Arc::new(OnlyWords(model.clone())),
            permissions: Arc::new(ByRole(ServiceRoles::permissive())),
            clock,
            ids: Arc::new(RandomIds),
            config: KnowledgeBasesConfig::default(),
            collections: Arc::new(OnlyAbc),
            metering: Metering::new().unwrap(),
            databases: Vec::new(),
            clusters: Vec::new(),
        };
        tune(&mut parts);
        let service = KnowledgeBases::new(parts);
        Self { service, store, objects, model, drivers, running: None }
    }

    pub(crate) async fn work(&mut self) {
        let runner = Runner::new(self.store.clone(), Arc::new(SystemClock))
            .times(Duration::from_secs(2), Duration::from_millis(20));
        self.running = Some(self.service.handle_jobs(runner).start().await.unwrap());
    }

    pub(crate) async fn close(self) {
        if let Some(running) = self.running {
            running.stop().await;
        }
        self.store.close().await;
    }

    pub(crate) async fn bucket(&self) {
        self.objects.create_bucket(BUCKET, "us-east-1").await.unwrap();
    }

    pub(crate) async fn put(&self, key: &str, content: impl Into<Vec<u8>>) {
        let content: Vec<u8> = content.into();
        self.objects.put(Put::new(BUCKET, key), types::bytes(content)).await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.objects.delete(&ObjectRef::new(BUCKET, key), Default::default()).await.unwrap();
    }

    pub(crate) async fn create_base(&self, name: &str) -> Result<String, ApiError> {
        let created = self.service.create_knowledge_base(&context(), input(base_request(name))).await?;
        let id = created.knowledge_base.knowledge_base_id;
        assert_eq!(created.knowledge_base.status, api::KnowledgeBaseStatus::Creating);
        for _ in 0..500 {
            let request = input(json!({ "knowledgeBaseId": id }));
            let found = self.service.get_knowledge_base(&context(), request).await?.knowledge_base;
            if found.status == api::KnowledgeBaseStatus::Active {
                return Ok(id);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} is never active");
    }

    pub(crate) async fn create_source(&self, base: &str, request: Value) -> Result<String, ApiError> {
        let mut request = request;
        request["knowledgeBaseId"] = json!(base);
        if request.get("name").is_none() {
            request["name"] = json!("source");
        }
        if request.get("dataSourceConfiguration").is_none() {
            request["dataSourceConfiguration"] = bucket_configuration();
        }
        let created = self.service.create_data_source(&context(), input(request)).await?;
        Ok(created.data_source.data_source_id)
    }

    /// A knowledge base with a data source on the bucket.
    pub(crate) async fn library(&self) -> Ids {
        self.bucket().await;
        let base = self.create_base("library").await.unwrap();
        let source = self.create_source(&base, json!({})).await.unwrap();
        Ids { base, source }
    }

    pub(crate) async fn start(&self, ids: &Ids) -> Result<String, ApiError> {
        let started = self.service.start_ingestion_job(&context(), input(ids.json())).await?;
        Ok(started.ingestion_job.ingestion_job_id)
    }

    pub(crate) async fn job(&self, ids: &Ids, job: &str) -> api::IngestionJob {
        let mut request = ids.json();
        request["ingestionJobId"] = json!(job);
        self.service.get_ingestion_job(&context(), input(request)).await.unwrap().ingestion_job
    }

    pub(crate) async fn ended(&self, ids: &Ids, job: &str) -> api::IngestionJob {
        use api::IngestionJobStatus::{Complete, Failed, Stopped};
        for _ in 0..6000 {
            let found = self.job(ids, job).await;
            if matches!(found.status, Complete | Failed | Stopped) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.job(ids, job).await);
    }

    pub(crate) async fn sync(&self, ids: &Ids) -> api::IngestionJob {
        let job = self.start(ids).await.unwrap();
        self.ended(ids, &job).await
    }

    /// A sync that completes: its counters, in the order of the API.
    pub(crate) async fn counters(&self, ids: &Ids) -> [i64; 8] {
        let job = self.sync(ids).await;
        assert_eq!(job.status, api::IngestionJobStatus::Complete, "{job:?}");
        counters(&job)
    }

    async fn index(&self) -> Arc<dyn craton_vectors::VectorIndex> {
        self.drivers.open(&IndexSpec::of_collection("abc", "i", 1024)).await.unwrap()
    }

    pub(crate) async fn chunks(&self) -> Vec<Chunk> {
        self.index().await.export().await.unwrap()
    }

    /// Texts of the chunks by their document's name after the bucket.
    pub(crate) async fn texts(&self) -> BTreeMap<String, Vec<String>> {
        let mut texts = BTreeMap::<String, Vec<String>>::new();
        for chunk in self.chunks().await {
            let name = chunk.location.uri().trim_start_matches("s3://docs/").to_owned();
            texts.entry(name).or_default().push(chunk.text);
        }
        texts
    }

    /// What a search by words finds first.
    pub(crate) async fn find(&self, text: &str) -> Option<Chunk> {
        let query = Query::new(Want::Keywords { text: text.to_owned() }, 1);
        self.index().await.search(&query).await.unwrap().into_iter().next().map(|hit| hit.chunk)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Ids {
    pub(crate) base: String,
    pub(crate) source: String,
}

impl Ids {
    pub(crate) fn json(&self) -> Value {
        json!({ "knowledgeBaseId": self.base, "dataSourceId": self.source })
    }
}

pub(crate) fn base_request(name: &str) -> Value {
    json!({
        "name": name,
        "roleArn": "arn:aws:iam::123456789012:role/R",
        "knowledgeBaseConfiguration": { "type": "VECTOR", "vectorKnowledgeBaseConfiguration": {
            "embeddingModelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0" } },
        "storageConfiguration": { "type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": {
            "collectionArn": "arn:aws:aoss:us-east-1:123456789012:collection/abc", "vectorIndexName": "i",
            "fieldMapping": { "vectorField": "v", "textField": "t", "metadataField": "m" } } },
    })
}

pub(crate) fn bucket_configuration() -> Value {
    json!({ "type": "S3", "s3Configuration": { "bucketArn": "arn:aws:s3:::docs" } })
}

pub(crate) fn chunking(strategy: &str, name: &str, configuration: Value) -> Value {
    let mut chunking = json!({ "chunkingStrategy": strategy });
    if !name.is_empty() {
        chunking[name] = configuration;
    }
    json!({ "vectorIngestionConfiguration": { "chunkingConfiguration": chunking } })
}

/// Scanned, metadata scanned, new, modified, metadata modified, deleted, failed, skipped.
pub(crate) fn counters(job: &api::IngestionJob) -> [i64; 8] {
    let counted = job.statistics.clone().unwrap();
    [
        counted.number_of_documents_scanned,
        counted.number_of_metadata_documents_scanned,
        counted.number_of_new_documents_indexed,
        counted.number_of_modified_documents_indexed,
        counted.number_of_metadata_documents_modified,
        counted.number_of_documents_deleted,
        counted.number_of_documents_failed,
        counted.number_of_documents_skipped,
    ]
    .map(Option::unwrap)
}
