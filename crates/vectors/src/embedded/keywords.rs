//! The word index: a cache of the rows' texts, kept by `tantivy`.
//!
//! Questions are cut by [`words`], never parsed, so that their punctuation is text, and scored by `scoring`. Writes
//! gather and are committed before the next search, or when there are many.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tantivy::directory::MmapDirectory;
use tantivy::index::SegmentId;
use tantivy::indexer::IndexWriterOptions;
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, SegmentReader, TantivyDocument, TantivyError,
    Term,
};

use super::scoring::{Asked, Found, Places, Segment, Sought, best_first};
use crate::VectorError;
use crate::words::words;

/// Writes that are committed without waiting for a search.
const MAX_UNCOMMITTED: usize = 10_000;
/// The library's least.
const WRITER_BYTES: usize = 20_000_000;

pub(super) struct Keywords {
    index: Index,
    reader: IndexReader,
    writer: Mutex<Writer>,
    /// How often writes were lost: an error ends the library's writer with all that it had not committed.
    losses: AtomicU64,
    /// How many of those losses were made good.
    made_good: AtomicU64,
    number: Field,
    text: Field,
    /// Of each segment that was asked for some of its chunks.
    places: Mutex<HashMap<SegmentId, Arc<Places>>>,
}

#[derive(Default)]
struct Writer {
    /// Made with the first write: it holds threads.
    open: Option<IndexWriter>,
    uncommitted: usize,
}

impl Keywords {
    /// Opens the cache in a folder, or begins it anew when it is missing or damaged.
    pub(super) fn open(directory: &Path) -> Result<Self, VectorError> {
        let opened = Self::open_existing(directory);
        opened.or_else(|error| {
            tracing::warn!(%error, directory = %directory.display(), "rebuilding a word index");
            std::fs::remove_dir_all(directory)?;
            Self::open_existing(directory).map_err(of_library)
        })
    }

    fn open_existing(directory: &Path) -> Result<Self, TantivyError> {
        std::fs::create_dir_all(directory)?;
        let mut schema = Schema::builder();
        let number = schema.add_u64_field("number", INDEXED | FAST);
        let indexing = TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqs);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let index = Index::open_or_create(MmapDirectory::open(directory)?, schema.build())?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let (writer, places) = (Mutex::default(), Mutex::default());
        let (losses, made_good) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { index, reader, writer, losses, made_good, number, text, places })
    }

    /// The chunks it holds.
    pub(super) fn numbers(&self) -> Result<Vec<u64>, VectorError> {
        let mut numbers = Vec::new();
        for segment in self.reader.searcher().segment_readers() {
            let column = segment.fast_fields().u64("number").map_err(of_library)?;
            numbers.extend(segment.doc_ids_alive().filter_map(|doc| column.first(doc)));
        }
        Ok(numbers)
    }

    /// Takes chunks in and out. Seen by the next search.
    pub(super) fn change<'a>(
        &self,
        added: impl Iterator<Item = (u64, &'a str)>,
        removed: &[u64],
    ) -> Result<(), VectorError> {
        let mut writer = self.writer.lock();
        let changed = self.change_in(&mut writer, added, removed);
        self.or_lost(&mut writer, changed)
    }

    /// Whether it lacks what was written into it: it is to be brought to the rows again.
    pub(super) fn has_lost(&self) -> bool {
        self.losses() > self.made_good.load(Ordering::Acquire)
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Says that all that was lost in so many losses is there again.
    pub(super) fn made_good(&self, losses: u64) {
        self.made_good.store(losses, Ordering::Release);
    }

    /// After an error the writer is of no use; the next write makes another.
    fn or_lost(&self, writer: &mut Writer, done: Result<(), VectorError>) -> Result<(), VectorError> {
        if done.is_err() {
            *writer = Writer::default();
            self.losses.fetch_add(1, Ordering::AcqRel);
        }
        done
    }

    fn change_in<'a>(
        &self,
        writer: &mut Writer,
        added: impl Iterator<Item = (u64, &'a str)>,
        removed: &[u64],
    ) -> Result<(), VectorError> {
        let open = match &mut writer.open {
            Some(open) => open,
            closed => closed.insert(self.new_writer().map_err(of_library)?),
        };
        let mut changes = removed.len();
        for number in removed {
            open.delete_term(Term::from_field_u64(self.number, *number));
        }
        for (number, text) in added {
            let mut document = TantivyDocument::default();
            document.add_u64(self.number, number);
            document.add_pre_tokenized_text(self.text, tokenized(text));
            open.add_document(document).map_err(of_library)?;
            changes += 1;
        }
        writer.uncommitted += changes;
        if writer.uncommitted > MAX_UNCOMMITTED { self.commit(writer) } else { Ok(()) }
    }

    fn new_writer(&self) -> Result<IndexWriter, TantivyError> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .num_merge_threads(1)
            .build();
        self.index.writer_with_options(options)
    }

    fn commit(&self, writer: &mut Writer) -> Result<(), VectorError> {
        if writer.uncommitted > 0
            && let Some(open) = &mut writer.open
        {
            open.commit().map_err(of_library)?;
            self.reader.reload().map_err(of_library)?;
            writer.uncommitted = 0;
        }
        Ok(())
    }

    /// Makes every change so far visible, and durable.
    pub(super) fn flush(&self) -> Result<(), VectorError> {
        let mut writer = self.writer.lock();
        let committed = self.commit(&mut writer);
        self.or_lost(&mut writer, committed)
    }

    /// Scores of chunks by the words of a question, as [`crate::fusion`] describes them.
    pub(super) fn search(&self, question: &str, sought: &Sought<'_>) -> Result<Found, VectorError> {
        if let Err(error) = self.flush() {
            // What was there before is searched.
            tracing::warn!(%error, "the words that were written last are not searched yet");
        }
        let searcher = self.reader.searcher();
        let asked = Asked::new(&searcher, self.text, question).map_err(of_library)?;
        let mut found = Found::default();
        for reader in searcher.segment_readers() {
            let places = self.places(&searcher, reader)?;
            let segment = Segment { reader, places: &places, field: self.text };
            segment.search(&asked, sought, &mut found).map_err(of_library)?;
        }
        best_first(&mut found.best, sought.limit);
        Ok(found)
    }

    fn places(&self, searcher: &Searcher, reader: &SegmentReader) -> Result<Arc<Places>, VectorError> {
        if let Some(known) = self.places.lock().get(&reader.segment_id()) {
            return Ok(Arc::clone(known));
        }
        let places = Arc::new(Places::of(reader).map_err(of_library)?);
        let mut known = self.places.lock();
        known.retain(|id, _| searcher.segment_readers().iter().any(|reader| reader.segment_id() == *id));
        known.insert(reader.segment_id(), Arc::clone(&places));
        Ok(places)
    }
}

fn tokenized(text: &str) -> PreTokenizedString {
    let tokens = words(text).into_iter().enumerate().map(|(position, text)| Token {
        offset_from: 0,
        offset_to: 0,
        position,
        text,
        position_length: 1,
    });
    PreTokenizedString { text: String::new(), tokens: tokens.collect() }
}

fn of_library(error: TantivyError) -> VectorError {
    match error {
        TantivyError::IoError(error) => VectorError::Io(std::io::Error::new(error.kind(), error.to_string())),
        other => VectorError::Internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tantivy::collector::TopDocs;
    use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};

    use super::super::scoring::Among;
    use super::*;

    /// The best of a search among chunks that pass.
    fn search(keywords: &Keywords, question: &str, among: Among<'_>, limit: usize) -> Vec<(u64, f64)> {
        keywords.search(question, &Sought { among, limit, also: &[] }).unwrap().best
    }

    #[test]
    fn a_reopened_cache_knows_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let keywords = Keywords::open(directory.path()).unwrap();
        keywords.change([(1, "red fox"), (2, "blue fox")].into_iter(), &[]).unwrap();
        assert_eq!(search(&keywords, "fox", Among::All, 10).len(), 2);
        keywords.change([(3, "fox fox")].into_iter(), &[1]).unwrap();
        keywords.flush().unwrap();
        drop(keywords);
        let keywords = Keywords::open(directory.path()).unwrap();
        let mut numbers = keywords.numbers().unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, [2, 3]);
        let only = search(&keywords, "blue foxes", Among::Passing(&|n| n == 3), 10);
        assert_eq!(only.iter().map(|hit| hit.0).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_damaged_cache_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("meta.json"), "{").unwrap();
        let keywords = Keywords::open(directory.path()).unwrap();
        assert_eq!(keywords.numbers().unwrap(), Vec::<u64>::new());
    }

    /// What the library itself finds for the words of a question: the reference for ours.
    fn by_the_library(keywords: &Keywords, question: &str, limit: usize) -> Vec<(u64, f32)> {
        let any = words(question).into_iter().map(|word| {
            let term = Term::from_field_text(keywords.text, &word);
            let query: Box<dyn Query> = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            (Occur::Should, query)
        });
        let (query, top) = (BooleanQuery::new(any.collect()), TopDocs::with_limit(limit).order_by_score());
        let searcher = keywords.reader.searcher();
        let found = searcher.search(&query, &top).unwrap();
        let number = |address: tantivy::DocAddress| {
            let fields = searcher.segment_reader(address.segment_ord).fast_fields();
            fields.u64("number").unwrap().first(address.doc_id).unwrap()
        };
        found.into_iter().map(|(score, address)| (number(address), score)).collect()
    }

    /// Chunks of words of which some are in nearly all, in several segments, some deleted and out of order.
    fn crowd(directory: &std::path::Path) -> Keywords {
        let keywords = Keywords::open(directory).unwrap();
        let text = |n: u64| {
            let rare = if n.is_multiple_of(61) { "seldom" } else { "often" };
            let long = "filler ".repeat(usize::try_from(n % 5).unwrap());
            format!("word{} word{} word{} common common {rare} {long}", n % 7, n % 11, n % 3)
        };
        for part in 0..5_u64 {
            let numbers: Vec<u64> = (part * 400..part * 400 + 400).map(|n| 10_000 - n).collect();
            let texts: Vec<(u64, String)> = numbers.iter().map(|n| (*n, text(*n))).collect();
            keywords.change(texts.iter().map(|(n, text)| (*n, text.as_str())), &[]).unwrap();
            keywords.flush().unwrap();
        }
        let gone: Vec<u64> = (8_000..10_000_u64).filter(|n| n.is_multiple_of(13)).collect();
        keywords.change(std::iter::empty(), &gone).unwrap();
        keywords.flush().unwrap();
        keywords
    }

    #[test]
    fn scores_are_the_librarys() {
        let directory = tempfile::tempdir().unwrap();
        let keywords = crowd(directory.path());
        let questions = ["seldom common", "word1 word2 common elsewhere", "common filler often", "word10"];
        for question in questions {
            for limit in [1, 10, 100, 5_000] {
                let expected = by_the_library(&keywords, question, limit);
                let found = search(&keywords, question, Among::All, limit);
                assert_eq!(found.len(), expected.len(), "{question} {limit}");
                let scale = found[0].1 / f64::from(expected[0].1);
                for (found, expected) in found.iter().zip(&expected) {
                    // Equals may come in another order.
                    assert!((found.1 - f64::from(expected.1) * scale).abs() < 1e-5, "{question} {limit}");
                }
            }
        }
    }

    #[test]
    fn whoever_is_asked_about_has_one_score() {
        let directory = tempfile::tempdir().unwrap();
        let keywords = crowd(directory.path());
        let question = "seldom word1 word2 common elsewhere";
        let all: HashMap<u64, f64> = search(&keywords, question, Among::All, 5_000).into_iter().collect();
        let numbers: Vec<u64> = (8_000..11_000).collect();
        let these: HashMap<u64, f64> =
            search(&keywords, question, Among::These(&numbers), 5_000).into_iter().collect();
        assert!(all == these && all.len() > 1_800, "{} {}", all.len(), these.len());
        let some = |n: u64| n.is_multiple_of(3);
        let passing = search(&keywords, question, Among::Passing(&some), 20);
        let mut expected: Vec<(u64, f64)> =
            all.iter().map(|(n, s)| (*n, *s)).filter(|hit| some(hit.0)).collect();
        best_first(&mut expected, 20);
        assert_eq!(passing, expected);
        // Few of the best, so that common words are looked up only for chunks near them.
        let sought = Sought { among: Among::All, limit: 3, also: &[8_001, 8_002, 9_999, 20_000] };
        let found = keywords.search(question, &sought).unwrap();
        assert_eq!(found.best.len(), 3);
        assert!(found.best.iter().all(|(number, score)| all[number] == *score));
        let also: HashMap<u64, f64> = found.also.into_iter().collect();
        assert_eq!(also, [8_001, 8_002, 9_999].map(|number| (number, all[&number])).into_iter().collect());
        assert!(search(&keywords, "nowhere", Among::These(&numbers), 9).is_empty());
    }

    #[test]
    fn scores_do_not_depend_on_what_else_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let keywords = Keywords::open(directory.path()).unwrap();
        let texts = (0..50).map(|n| (n, if n == 7 { "zebra crossing" } else { "plain road" }));
        keywords.change(texts, &[]).unwrap();
        let all = search(&keywords, "zebra crossing", Among::All, 5);
        assert!(all.len() == 1 && (0.3..=1.0).contains(&all[0].1), "{all:?}");
        let half = search(&keywords, "zebra elephant", Among::All, 5);
        assert!(half[0].1 < all[0].1 * 0.6, "{half:?} of {all:?}");
    }
}
