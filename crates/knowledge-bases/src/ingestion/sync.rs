//! One sync of a data source. [`run`] has all of its control flow.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use craton_api_bedrock_agent::{DocumentStatus, IngestionJobStatus};
use craton_store::crash;
use craton_store::jobs::{JobContext, JobError};
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::failure::{Failure, from_api, from_store};
use super::handler::SyncJob;
use super::pace::Pace;
use super::parse::{Parsed, split_hash};
use super::pipeline::{Cut, Pipeline};
use super::source::{Listed, Listing, Source};
use super::table::{Document, Table};
use crate::KnowledgeBases;
use crate::records::{INGESTION_JOB, IngestionJobRecord, KnowledgeBaseRecord, Statistics};

/// Documents that are read, embedded and written together, bytes of them, and of what they come to as chunks.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 32 << 20;
const BATCH_CHUNK_BYTES: u64 = 256 << 20;
/// Documents read at the same time.
const READERS: usize = 8;
/// How often a listing that takes long shows how far it is.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
/// How often it is seen to that the disk has room, while nothing is written.
const ROOM_EVERY: Duration = Duration::from_secs(1);
/// Reasons of failed documents that a job keeps.
const MOST_REASONS: usize = 100;

/// Lists, compares, reads, cuts, embeds, indexes, removes. Begun again it goes on where it was.
pub(super) async fn run(service: &KnowledgeBases, job: &JobContext) -> Result<(), JobError> {
    let sync = Sync::open(service, job).await?;
    sync.check_room()?;
    sync.begin().await?;
    let listing = sync.list().await?;
    sync.while_it_may(sync.check_some(&listing.documents)).await?;
    crash::point("kb.listed");
    let plan = sync.compare(listing).await?;
    let mut read = sync.read(plan.batches.first());
    let (mut ready, mut pace) = (Vec::new(), Pace::default());
    for next in 1..=plan.batches.len() {
        job.check()?;
        let documents = sync.while_it_may(read).await?;
        // While these are worked on, the next are read.
        read = sync.read(plan.batches.get(next));
        let ahead = sync.while_it_may(read);
        let (worked, ahead) = tokio::join!(sync.work(documents, ready, &mut pace), ahead);
        ready = worked?;
        read = Box::pin(std::future::ready(ahead));
    }
    sync.index(ready).await?;
    job.check()?;
    sync.remove(plan.gone).await?;
    crash::point("kb.done");
    Ok(())
}

/// What is to be done.
struct Plan {
    batches: Vec<Vec<Work>>,
    /// Documents that the source no longer has.
    gone: Vec<Gone>,
}

struct Gone {
    document: String,
    had_metadata: bool,
    /// It failed whenever it was tried: nothing of it ever was in the index.
    never_was: bool,
}

/// A document to be done.
#[derive(Debug, Clone)]
struct Work {
    listed: Listed,
    before: Option<Document>,
}

impl Work {
    fn document(&self) -> &str {
        self.listed.location.uri()
    }

    /// Whether it is in the index, as far as is known.
    fn was_indexed(&self) -> Option<&Document> {
        self.before.as_ref().filter(|before| before.chunks > 0 || before.status == DocumentStatus::Indexed)
    }

    fn metadata_changed(&self) -> bool {
        self.before.as_ref().is_some_and(|before| {
            !before.settings.is_empty() && before.metadata_fingerprint != self.listed.metadata_fingerprint
        })
    }
}

/// What came of reading a document.
struct Done<T> {
    work: Work,
    result: Result<T, String>,
}

impl Done<Parsed> {
    fn text_bytes(&self) -> usize {
        self.result.iter().flat_map(|parsed| &parsed.sections).map(|section| section.text.len()).sum()
    }
}

/// A document with its chunks' vectors, unless it is the same as before, and the hash of its content.
type Embedded = Done<(Option<Cut>, String)>;

/// What came of a document.
enum Outcome {
    Indexed {
        chunks: i64,
        content_hash: String,
    },
    /// Its bytes are those that are indexed.
    Same {
        content_hash: String,
    },
    Failed(String),
}

type Reading<'a> = BoxFuture<'a, Result<Vec<Done<Parsed>>, JobError>>;

struct Sync<'a> {
    service: &'a KnowledgeBases,
    job: &'a JobContext,
    of: SyncJob,
    pipeline: Pipeline,
    source: Box<dyn Source>,
    base: KnowledgeBaseRecord,
}

impl<'a> Sync<'a> {
    async fn open(service: &'a KnowledgeBases, job: &'a JobContext) -> Result<Self, JobError> {
        let of: SyncJob = job.payload()?;
        let base = service.knowledge_base(&of.place, &of.knowledge_base).await.map_err(from_api)?;
        let source =
            service.data_source(&of.place, &of.knowledge_base, &of.data_source).await.map_err(from_api)?;
        let pipeline = Pipeline::open(service, &of.place, (&base, &source)).await?;
        let configuration = &source.body.configuration;
        service.check_listing(&of.place, &base, configuration).await.map_err(from_api)?;
        let source = service.source(configuration).map_err(from_api)?;
        Ok(Self { service, job, of, pipeline, source, base })
    }

    fn table(&self) -> Table<'_> {
        Table { knowledge_base: &self.of.knowledge_base, data_source: &self.of.data_source }
    }

    /// Shows that work has begun.
    async fn begin(&self) -> Result<(), JobError> {
        let started = |found: &mut IngestionJobRecord| {
            if found.body.status == IngestionJobStatus::Starting {
                found.body.status = IngestionJobStatus::InProgress;
            }
        };
        self.write(&[], &[], started).await
    }

    /// On a disk that is all but full nothing could be said any more of why the job failed.
    fn check_room(&self) -> Result<(), JobError> {
        let least = self.service.parts.config.min_free_bytes;
        match self.service.parts.drivers.free_bytes() {
            Some(free) if free < least => Err(JobError::Fail(format!(
                "There is no space left: {free} bytes are free on the server's disk, and a sync needs {least}."
            ))),
            _ => Ok(()),
        }
    }

    /// Does work that is given up when the job is to stop, or the disk gets full. What is being written is not: it comes
    /// to its end.
    async fn while_it_may<T>(&self, work: impl Future<Output = Result<T, JobError>>) -> Result<T, JobError> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.job.stopped() => Err(JobError::Stopped),
            error = self.no_room() => Err(error),
        }
    }

    /// Returns when the disk is all but full.
    async fn no_room(&self) -> JobError {
        loop {
            if let Err(error) = self.check_room() {
                return error;
            }
            tokio::time::sleep(ROOM_EVERY).await;
        }
    }

    async fn list(&self) -> Result<Listing, JobError> {
        let found = AtomicUsize::new(0);
        let listing = self.source.list(self.job, &found);
        tokio::pin!(listing);
        let mut shown = tokio::time::interval_at(tokio::time::Instant::now() + SHOWN_EVERY, SHOWN_EVERY);
        let listed = loop {
            tokio::select! {
                listed = &mut listing => break listed,
                _ = shown.tick() => {
                    self.check_room()?;
                    let so_far = i64::try_from(found.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
                    self.write(&[], &[], |found| found.body.statistics.scanned = so_far).await?;
                }
            }
        };
        listed.map_err(|failure| match failure {
            Failure::Job(error) => error,
            Failure::Document(reason) => JobError::Fail(reason),
        })
    }

    /// A role that may read nothing of what there is fails the job at once.
    async fn check_some(&self, documents: &[Listed]) -> Result<(), JobError> {
        let mut first = None;
        for listed in documents {
            self.job.check()?;
            match self.service.check_uri(&self.of.place, &self.base, listed.location.uri()).await {
                Ok(()) => return Ok(()),
                Err(Failure::Document(reason)) => first = first.or(Some(reason)),
                Err(Failure::Job(error)) => return Err(error),
            }
        }
        first.map_or(Ok(()), |reason| Err(JobError::Fail(reason)))
    }

    /// Finds what changed, and shows how much there is.
    async fn compare(&self, listing: Listing) -> Result<Plan, JobError> {
        let mut known = self.table().all(self.job.store()).await.map_err(from_store)?;
        if self.has_lost_index(&known, &listing).await? {
            self.lose_index().await?;
            known = self.table().all(self.job.store()).await.map_err(from_store)?;
        }
        let (scanned, metadata_scanned) = (listing.documents.len(), listing.metadata_files);
        let mut batches: Vec<Vec<Work>> = Vec::new();
        let growth = self.pipeline.strategy.growth(self.pipeline.embedder.dimensions);
        let most_bytes = BATCH_BYTES.min(BATCH_CHUNK_BYTES / growth.max(1));
        let (mut bytes, mut seen) = (0, HashSet::new());
        for listed in listing.documents {
            if !seen.insert(listed.location.uri().to_owned()) {
                continue;
            }
            let work = Work { before: known.remove(listed.location.uri()), listed };
            if !self.needs(&work) {
                continue;
            }
            bytes += work.listed.bytes;
            match batches.last_mut() {
                Some(batch) if batch.len() < BATCH && bytes <= most_bytes => batch.push(work),
                _ => {
                    bytes = work.listed.bytes;
                    batches.push(vec![work]);
                }
            }
        }
        if let Some(gone) = &listing.gone {
            known.retain(|document, _| gone.contains(document));
        }
        let gone = |(document, before): (String, Document)| Gone {
            document,
            had_metadata: !before.metadata_fingerprint.is_empty(),
            never_was: before.status == DocumentStatus::Failed && before.chunks == 0,
        };
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.write(&[], &[], |found| {
            found.body.statistics.scanned = count(scanned);
            found.body.statistics.metadata_scanned = count(metadata_scanned);
        })
        .await?;
        let mut gone: Vec<Gone> = known.into_iter().map(gone).collect();
        gone.sort_by(|a, b| a.document.cmp(&b.document));
        Ok(Plan { batches, gone })
    }

    /// Whether nothing is in the index of documents that were put there: somebody deleted it and left the rows.
    async fn has_lost_index(
        &self,
        known: &HashMap<String, Document>,
        listing: &Listing,
    ) -> Result<bool, JobError> {
        let is_indexed =
            |listed: &Listed| known.get(listed.location.uri()).is_some_and(|before| before.chunks > 0);
        Ok(listing.documents.iter().any(is_indexed) && self.pipeline.has_nothing().await?)
    }

    /// Before anything is put in anew, so that it is known after a crash too.
    async fn lose_index(&self) -> Result<(), JobError> {
        tracing::warn!(knowledge_base = self.of.knowledge_base, "the index is gone; it is made anew");
        let now_ms = self.service.parts.clock.now_ms();
        let mut transaction = self.job.store().begin().await.map_err(from_store)?;
        self.job.fence(&mut transaction).await?;
        self.table().lose_index(&mut transaction, now_ms).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)
    }

    /// Whether a document is to be read: it is new, changed, or failed before, and not done by this very job.
    fn needs(&self, work: &Work) -> bool {
        let Some(before) = &work.before else { return true };
        let listed = &work.listed;
        let unchanged = before.fingerprint == listed.fingerprint
            && before.metadata_fingerprint == listed.metadata_fingerprint
            && before.settings == self.pipeline.settings;
        let by_this_job = before.ingestion_job.as_deref() == Some(&self.of.ingestion_job);
        let settled = matches!(before.status, DocumentStatus::Indexed | DocumentStatus::Ignored);
        !(unchanged && (settled || by_this_job))
    }

    /// Reads a batch; several documents at the same time, answered in order.
    fn read<'b>(&'b self, batch: Option<&'b Vec<Work>>) -> Reading<'b> {
        let works = batch.map_or(&[][..], Vec::as_slice).iter();
        let reading: Vec<_> = works.map(|work| self.read_one(work).boxed()).collect();
        futures::stream::iter(reading).buffered(READERS).try_collect().boxed()
    }

    async fn read_one(&self, work: &Work) -> Result<Done<Parsed>, JobError> {
        let allowed = self.service.check_object(&self.of.place, &self.base, &work.listed).await;
        let content = match allowed {
            Ok(()) => self.source.read(&work.listed).await,
            Err(failure) => Err(failure),
        };
        let parsed = match content {
            Ok(content) => self.pipeline.parse(content).await,
            Err(failure) => Err(failure),
        };
        let result = match parsed {
            Ok(parsed) => Ok(parsed),
            Err(Failure::Document(reason)) => Err(reason),
            Err(Failure::Job(error)) => return Err(error),
        };
        Ok(Done { work: work.clone(), result })
    }

    /// Cuts and embeds a batch, some documents at a time. While the model works on these, those before are written; the
    /// last are given back for that.
    async fn work(
        &self,
        documents: Vec<Done<Parsed>>,
        mut ready: Vec<Embedded>,
        pace: &mut Pace,
    ) -> Result<Vec<Embedded>, JobError> {
        let mut left = documents;
        while !left.is_empty() {
            self.job.check()?;
            let some = pace.take(left.iter().map(Done::text_bytes));
            let rest = left.split_off(some);
            let some = std::mem::replace(&mut left, rest);
            let (bytes, begun) = (some.iter().map(Done::text_bytes).sum(), Instant::now());
            let embedded = self.while_it_may(async { self.embed(self.cut(some).await?).await });
            let (written, embedded) = tokio::join!(self.index(ready), embedded);
            written?;
            ready = embedded?;
            pace.took(bytes, begun.elapsed());
        }
        Ok(ready)
    }

    /// Cuts what was read; what has the same bytes as before is left as it is.
    async fn cut(&self, documents: Vec<Done<Parsed>>) -> Result<Vec<Embedded>, JobError> {
        let mut cut = Vec::with_capacity(documents.len());
        for Done { work, result } in documents {
            let result = match result {
                Ok(parsed) if self.is_same(&work, &parsed) => Ok((None, parsed.content_hash)),
                Ok(parsed) => match self.pipeline.cut(&work.listed.location, &parsed).await {
                    Ok(mut cut) => {
                        if self.has_vectors(&work, &parsed) {
                            self.pipeline.reuse(&mut cut).await?;
                        }
                        Ok((Some(cut), parsed.content_hash))
                    }
                    Err(Failure::Document(reason)) => Err(reason),
                    Err(Failure::Job(error)) => return Err(error),
                },
                Err(reason) => Err(reason),
            };
            cut.push(Done { work, result });
        }
        Ok(cut)
    }

    fn is_same(&self, work: &Work, parsed: &Parsed) -> bool {
        work.was_indexed().is_some_and(|before| {
            before.status == DocumentStatus::Indexed
                && before.content_hash == parsed.content_hash
                && before.settings == self.pipeline.settings
                && before.metadata_fingerprint == work.listed.metadata_fingerprint
        })
    }

    /// Whether vectors that the index has of a document are those of its texts: what changed is its metadata, or some
    /// of the texts.
    fn has_vectors(&self, work: &Work, parsed: &Parsed) -> bool {
        work.was_indexed().is_some_and(|before| {
            before.chunks > 0
                && before.settings == self.pipeline.settings
                && split_hash(&before.content_hash).1 == split_hash(&parsed.content_hash).1
        })
    }

    async fn embed(&self, documents: Vec<Embedded>) -> Result<Vec<Embedded>, JobError> {
        let mut documents = documents;
        let with_chunks = |done: &mut Embedded| done.result.as_mut().ok().and_then(|(cut, _)| cut.take());
        let mut cuts: Vec<Cut> = Vec::new();
        let mut places = Vec::new();
        for (place, done) in documents.iter_mut().enumerate() {
            if let Some(cut) = with_chunks(done) {
                places.push(place);
                cuts.push(cut);
            }
        }
        let reasons = self.pipeline.embed(&mut cuts).await?;
        for ((place, cut), reason) in places.into_iter().zip(cuts).zip(reasons) {
            let done = &mut documents[place];
            match (reason, &mut done.result) {
                (Some(reason), result) => *result = Err(reason),
                (None, Ok((slot, _))) => *slot = Some(cut),
                (None, Err(_)) => {}
            }
        }
        Ok(documents)
    }

    /// Writes a batch to the index, then to the rows and counters.
    async fn index(&self, documents: Vec<Embedded>) -> Result<(), JobError> {
        if documents.is_empty() {
            return Ok(());
        }
        let (mut cuts, mut outcomes) = (Vec::new(), Vec::new());
        for Done { work, result } in documents {
            let outcome = match result {
                Ok((Some(cut), content_hash)) => {
                    let chunks = i64::try_from(cut.len()).unwrap_or(i64::MAX);
                    cuts.push(cut);
                    Outcome::Indexed { chunks, content_hash }
                }
                Ok((None, content_hash)) => Outcome::Same { content_hash },
                Err(reason) => Outcome::Failed(reason),
            };
            outcomes.push((work, outcome));
        }
        crash::point("kb.before-index");
        if !cuts.is_empty() {
            self.before_index().await?;
            self.pipeline.put(cuts).await?;
        }
        crash::point("kb.indexed");
        self.record(outcomes).await?;
        crash::point("kb.recorded");
        Ok(())
    }

    /// The index is written to while there is room, and while the job is this worker's.
    async fn before_index(&self) -> Result<(), JobError> {
        self.check_room()?;
        let mut transaction = self.job.store().begin().await.map_err(from_store)?;
        self.job.fence(&mut transaction).await?;
        transaction.commit().await.map_err(from_store)
    }

    async fn record(&self, outcomes: Vec<(Work, Outcome)>) -> Result<(), JobError> {
        let (mut counted, mut reasons, mut rows) = (Statistics::default(), Vec::new(), Vec::new());
        let now_ms = self.service.parts.clock.now_ms();
        for (work, outcome) in outcomes {
            if let Outcome::Failed(reason) = &outcome {
                reasons.push(format!("{}: {reason}", work.document()));
            }
            count(&work, &outcome, &mut counted);
            rows.push(self.row(work, outcome, now_ms));
        }
        self.write(&rows, &[], |found| {
            let statistics = &mut found.body.statistics;
            statistics.new += counted.new;
            statistics.modified += counted.modified;
            statistics.metadata_modified += counted.metadata_modified;
            statistics.failed += counted.failed;
            statistics.skipped += counted.skipped;
            let room = MOST_REASONS.saturating_sub(found.body.failure_reasons.len());
            found.body.failure_reasons.extend(reasons.into_iter().take(room));
        })
        .await
    }

    /// The row of a document that was done. One that failed keeps what the index has of it.
    fn row(&self, work: Work, outcome: Outcome, now_ms: i64) -> Document {
        let Work { listed, before } = work;
        let chunks_before = before.as_ref().map_or(0, |before| before.chunks);
        let hash_before = before.map(|before| before.content_hash).unwrap_or_default();
        let (status, reason, chunks, content_hash) = match outcome {
            Outcome::Indexed { chunks: 0, content_hash } => {
                let reason = "it has no text".to_owned();
                (DocumentStatus::Ignored, Some(reason), 0, content_hash)
            }
            Outcome::Indexed { chunks, content_hash } => {
                (DocumentStatus::Indexed, None, chunks, content_hash)
            }
            Outcome::Same { content_hash } => (DocumentStatus::Indexed, None, chunks_before, content_hash),
            Outcome::Failed(reason) => (DocumentStatus::Failed, Some(reason), chunks_before, hash_before),
        };
        Document {
            document: listed.location.uri().to_owned(),
            status,
            status_reason: reason,
            fingerprint: listed.fingerprint,
            content_hash,
            metadata_fingerprint: listed.metadata_fingerprint,
            settings: self.pipeline.settings.clone(),
            chunks,
            ingestion_job: Some(self.of.ingestion_job.clone()),
            updated_ms: now_ms,
        }
    }

    /// Takes documents out of the index that the source no longer has.
    async fn remove(&self, gone: Vec<Gone>) -> Result<(), JobError> {
        for batch in gone.chunks(BATCH) {
            self.job.check()?;
            let documents: Vec<&str> = batch.iter().map(|gone| gone.document.as_str()).collect();
            crash::point("kb.before-removal");
            self.before_index().await?;
            self.pipeline.remove(&documents).await?;
            crash::point("kb.removed");
            let metadata = batch.iter().filter(|gone| gone.had_metadata).count();
            let deleted = batch.iter().filter(|gone| !gone.never_was).count();
            self.write(&[], &documents, |found| {
                found.body.statistics.deleted += i64::try_from(deleted).unwrap_or(i64::MAX);
                found.body.statistics.metadata_modified += i64::try_from(metadata).unwrap_or(i64::MAX);
            })
            .await?;
        }
        Ok(())
    }

    /// Rows, removals and the job's own record in one transaction, while the job is this worker's.
    async fn write(
        &self,
        rows: &[Document],
        removed: &[&str],
        change: impl FnOnce(&mut IngestionJobRecord),
    ) -> Result<(), JobError> {
        let scope = self.of.place.scope(INGESTION_JOB);
        let mut transaction = self.job.store().begin().await.map_err(from_store)?;
        self.job.fence(&mut transaction).await?;
        for row in rows {
            self.table().put(&mut transaction, row).await.map_err(from_store)?;
        }
        for document in removed {
            self.table().remove(&mut transaction, document).await.map_err(from_store)?;
        }
        let id = self.of.record_id();
        let hold = self.service.hold(&mut transaction, &scope, &id);
        let mut found: IngestionJobRecord = hold.await.map_err(from_api)?;
        change(&mut found);
        let record = found.changed().map_err(from_api)?;
        let now_ms = self.service.parts.clock.now_ms();
        transaction.update(&scope, &record, None, now_ms).await.map_err(from_store)?;
        transaction.commit().await.map_err(from_store)
    }
}

/// Adds a document to the counters.
fn count(work: &Work, outcome: &Outcome, counted: &mut Statistics) {
    let content_changed = |content_hash: &str| {
        work.was_indexed().is_none_or(|before| {
            split_hash(&before.content_hash).0 != split_hash(content_hash).0
                || before.metadata_fingerprint == work.listed.metadata_fingerprint
        })
    };
    match outcome {
        Outcome::Failed(_) => counted.failed += 1,
        Outcome::Same { .. } => {}
        Outcome::Indexed { chunks: 0, .. } => counted.skipped += 1,
        Outcome::Indexed { content_hash, .. } if content_changed(content_hash) => {
            if work.was_indexed().is_some() { counted.modified += 1 } else { counted.new += 1 }
        }
        // Only its metadata file changed.
        Outcome::Indexed { .. } => {}
    }
    if work.metadata_changed() && !matches!(outcome, Outcome::Failed(_)) {
        counted.metadata_modified += 1;
    }
}
