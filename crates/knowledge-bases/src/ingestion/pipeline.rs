//! The steps from a document's bytes to its chunks in the index, for many documents at a time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use craton_identity::ObjectAccess;
use craton_objects::split_uri;
use craton_store::jobs::JobError;
use craton_vectors::{
    Chunk, DATA_SOURCE_ID, DocumentChunks, DocumentKey, Filter, MetadataValue, PAGE_NUMBER, Parent, Query,
    SourceLocation, VectorIndex, Want,
};
use ring::digest::{SHA256, digest};

use super::chunking::{Piece, Room, Strategy};
use super::failure::{Failure, from_api, from_embedder, from_index};
use super::parse::{Content, Parsed, parse};
use super::source::{Listed, METADATA};
use crate::KnowledgeBases;
use crate::index::{Embedder, is_about_texts};
use crate::records::{DataSourceRecord, KnowledgeBaseRecord, Place};

/// What the steps need to know of a data source.
#[derive(Clone)]
pub(crate) struct Pipeline {
    pub(crate) knowledge_base: String,
    pub(crate) data_source: String,
    pub(crate) embedder: Embedder,
    pub(crate) index: Arc<dyn VectorIndex>,
    pub(crate) strategy: Strategy,
    /// Tells chunks of these settings from others.
    pub(crate) settings: String,
    pub(crate) max_bytes: usize,
}

/// A document, cut.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cut {
    location: SourceLocation,
    chunks: Vec<Chunk>,
    /// What is embedded, where it is not the chunk's text.
    embedded: String,
}

impl Cut {
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }
}

impl KnowledgeBases {
    /// Whether a knowledge base's role lets it read a document, and the file of its metadata.
    pub(crate) async fn check_object(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
        listed: &Listed,
    ) -> Result<(), Failure> {
        self.check_uri(place, knowledge_base, listed.location.uri()).await?;
        self.check_metadata(place, knowledge_base, listed).await
    }

    /// The same of the file of its metadata alone.
    pub(crate) async fn check_metadata(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
        listed: &Listed,
    ) -> Result<(), Failure> {
        if listed.metadata_fingerprint.is_empty() {
            return Ok(());
        }
        let uri = format!("{}{METADATA}", listed.location.uri());
        self.check_uri(place, knowledge_base, &uri).await
    }

    /// Whether a knowledge base's role lets it read what is at this place, if that is in a bucket.
    pub(crate) async fn check_uri(
        &self,
        place: &Place,
        knowledge_base: &KnowledgeBaseRecord,
        uri: &str,
    ) -> Result<(), Failure> {
        let Some((bucket, key)) = split_uri(uri) else { return Ok(()) };
        let access = ObjectAccess::Read { bucket, key };
        let allowed = self.check_access(place, knowledge_base, access).await;
        allowed.map_err(Failure::refused)
    }
}

impl Pipeline {
    pub(crate) async fn open(
        service: &KnowledgeBases,
        place: &Place,
        (knowledge_base, data_source): (&KnowledgeBaseRecord, &DataSourceRecord),
    ) -> Result<Self, JobError> {
        let embedder = service.embedder(place, &knowledge_base.body).await.map_err(from_api)?;
        service.check_use(place, knowledge_base, &embedder).await.map_err(from_api)?;
        let stored = service.check_storage(&embedder.context, &knowledge_base.body.storage).await;
        stored.map_err(from_api)?;
        service.name_fields(place, knowledge_base).await.map_err(from_api)?;
        let strategy = Strategy::of(data_source.body.ingestion.as_ref()).map_err(from_api)?;
        Ok(Self {
            knowledge_base: knowledge_base.id.clone(),
            data_source: data_source.id.clone(),
            index: service.index_of_job(place, &knowledge_base.body).await?,
            settings: strategy.fingerprint(&embedder),
            embedder,
            strategy,
            max_bytes: usize::try_from(service.parts.config.max_document_bytes).unwrap_or(usize::MAX),
        })
    }

    pub(crate) fn key(&self, document: &str) -> DocumentKey {
        DocumentKey::new(&self.knowledge_base, &self.data_source, document)
    }

    /// Reads a document's text.
    pub(crate) async fn parse(&self, content: Content) -> Result<Parsed, Failure> {
        let max_bytes = self.max_bytes;
        let parsed = tokio::task::spawn_blocking(move || parse(&content, max_bytes)).await;
        parsed.unwrap_or_else(|_| Err(Failure::document("its parser failed")))
    }

    /// Cuts a document into chunks, without their vectors yet.
    pub(crate) async fn cut(&self, location: &SourceLocation, parsed: &Parsed) -> Result<Cut, Failure> {
        let (mut chunks, mut room) = (Vec::new(), Room::new());
        for (number, section) in parsed.sections.iter().enumerate() {
            room.each_carries(section.metadata.iter().map(|(key, value)| key.len() + bytes_of(value)).sum());
            for piece in self.strategy.cut(&section.text, &self.embedder, &mut room).await? {
                // The page that it begins on, counted from 1.
                let page = section.pages.partition_point(|begin| *begin <= piece.at);
                let mut chunk = self.chunk(location, (number, chunks.len()), &section.metadata, piece);
                if page > 0 {
                    let page = u32::try_from(page).unwrap_or(u32::MAX);
                    chunk.metadata.insert(PAGE_NUMBER.to_owned(), MetadataValue::Number(page.into()));
                }
                chunks.push(chunk);
            }
        }
        Ok(Cut { location: location.clone(), chunks, embedded: parsed.embedded.clone() })
    }

    /// Ids follow from the document and the place in it, so that another run writes the same chunks.
    fn chunk(
        &self,
        location: &SourceLocation,
        (section, ordinal): (usize, usize),
        metadata: &BTreeMap<String, MetadataValue>,
        piece: Piece,
    ) -> Chunk {
        let uri = location.uri();
        let id = |what: &str, number: usize| {
            let Self { knowledge_base, data_source, .. } = self;
            let text = format!("{knowledge_base}\0{data_source}\0{uri}\0{what}\0{number}");
            hex::encode(&digest(&SHA256, text.as_bytes()).as_ref()[..16])
        };
        let parent =
            piece.parent.map(|(number, text)| Parent { id: id(&format!("parent {section}"), number), text });
        Chunk {
            id: id("chunk", ordinal),
            document: self.key(uri),
            text: piece.text,
            parent,
            metadata: metadata.clone(),
            vector: Vec::new(),
            location: location.clone(),
            payload: None,
        }
    }

    /// Takes the vectors of texts that the index has of the document already. Only where these were made by the same
    /// settings, of the texts with the same attributes before them.
    pub(crate) async fn reuse(&self, document: &mut Cut) -> Result<(), JobError> {
        let known = self.index.document(&self.key(document.location.uri())).await.map_err(from_index)?;
        let known: HashMap<&str, &Vec<f32>> =
            known.iter().map(|chunk| (chunk.text.as_str(), &chunk.vector)).collect();
        for chunk in &mut document.chunks {
            if let Some(vector) = known.get(chunk.text.as_str()) {
                chunk.vector.clone_from(vector);
            }
        }
        Ok(())
    }

    /// Gives those chunks of all documents their vectors that have none. What the model refuses fails alone; a model that fails fails
    /// the job.
    pub(crate) async fn embed(&self, documents: &mut [Cut]) -> Result<Vec<Option<String>>, JobError> {
        let texts: Vec<String> = documents.iter().flat_map(embedded_texts).collect();
        match self.embedder.embed(&texts).await {
            Ok(vectors) => {
                let mut vectors = vectors.into_iter();
                for chunk in documents.iter_mut().flat_map(without_vector) {
                    chunk.vector = vectors.next().unwrap_or_default();
                }
                Ok(vec![None; documents.len()])
            }
            Err(error) if is_about_texts(&error) => self.embed_one_by_one(documents).await,
            Err(error) => Err(from_embedder(error, &self.embedder.arn)),
        }
    }

    async fn embed_one_by_one(&self, documents: &mut [Cut]) -> Result<Vec<Option<String>>, JobError> {
        let mut reasons = Vec::with_capacity(documents.len());
        for document in documents {
            let texts: Vec<String> = embedded_texts(document).collect();
            reasons.push(match self.embedder.embed(&texts).await {
                Ok(vectors) => {
                    for (chunk, vector) in without_vector(document).zip(vectors) {
                        chunk.vector = vector;
                    }
                    None
                }
                Err(error) if is_about_texts(&error) => {
                    Some(format!("the embedding model refused it: {error}"))
                }
                Err(error) => return Err(from_embedder(error, &self.embedder.arn)),
            });
        }
        Ok(reasons)
    }

    /// Whether the index has no document of the data source.
    pub(crate) async fn has_nothing(&self) -> Result<bool, JobError> {
        let of_source = Filter::Equals(DATA_SOURCE_ID.to_owned(), self.data_source.as_str().into());
        let any = Query::new(Want::Everything, 1).of_owner(&self.knowledge_base).with_filter(of_source);
        Ok(self.index.search(&any).await.map_err(from_index)?.is_empty())
    }

    /// Puts documents in place of what the index had of them.
    pub(crate) async fn put(&self, documents: Vec<Cut>) -> Result<(), JobError> {
        let chunks = |document: Cut| DocumentChunks {
            key: self.key(document.location.uri()),
            chunks: document.chunks,
        };
        self.index.put(documents.into_iter().map(chunks).collect()).await.map_err(from_index)
    }

    pub(crate) async fn remove(&self, documents: &[&str]) -> Result<(), JobError> {
        let keys: Vec<DocumentKey> = documents.iter().map(|document| self.key(document)).collect();
        self.index.delete_documents(&keys).await.map(drop).map_err(from_index)
    }
}

fn bytes_of(value: &MetadataValue) -> usize {
    match value {
        MetadataValue::Boolean(_) | MetadataValue::Number(_) => 0,
        MetadataValue::Text(text) => text.len(),
        MetadataValue::List(texts) => texts.iter().map(String::len).sum(),
    }
}

fn without_vector(document: &mut Cut) -> impl Iterator<Item = &mut Chunk> {
    document.chunks.iter_mut().filter(|chunk| chunk.vector.is_empty())
}

/// What is to be embedded of the chunks that have no vector.
fn embedded_texts(document: &Cut) -> impl Iterator<Item = String> + '_ {
    document.chunks.iter().filter(|chunk| chunk.vector.is_empty()).map(|chunk| {
        match document.embedded.as_str() {
            "" => chunk.text.clone(),
            before => format!("{before}{}", chunk.text),
        }
    })
}
