//! The word index: a cache of the rows' texts, kept by `tantivy`.
//!
//! Queries are built in code from [`words`], never parsed, so that a question's punctuation is text. Writes gather and
//! are committed before the next search, or when there are many.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::directory::MmapDirectory;
use tantivy::index::SegmentId;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::{BooleanQuery, EnableScoring, Occur, Query, TermQuery, Weight};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{
    DocId, DocSet as _, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, SegmentReader,
    TantivyDocument, TantivyError, Term,
};

use crate::VectorError;
use crate::words::words;

/// Distinct words of a question that are looked up, the rarest first.
const MAX_QUERY_WORDS: usize = 64;
/// Text of a question that is read at all, in bytes.
const MAX_QUERY_BYTES: usize = 16 * 1024;
/// Writes that are committed without waiting for a search.
const MAX_UNCOMMITTED: usize = 10_000;
/// The library's least.
const WRITER_BYTES: usize = 20_000_000;
/// BM25's term saturation, as the library has it.
const K1: f64 = 1.2;

pub(super) struct Keywords {
    index: Index,
    reader: IndexReader,
    writer: Mutex<Writer>,
    /// Set when writes were lost: an error ends the library's writer with all that it had not committed.
    lost: AtomicBool,
    number: Field,
    text: Field,
    /// Of each segment that was asked for some of its chunks.
    places: Mutex<HashMap<SegmentId, Arc<Places>>>,
}

/// Where chunks stand in a segment of the library's index, by their numbers. A segment never changes.
type Places = Vec<(u64, DocId)>;

#[derive(Default)]
struct Writer {
    /// Made with the first write: it holds threads.
    open: Option<IndexWriter>,
    uncommitted: usize,
}

/// Which chunks a search may return.
pub(super) type Allowed = Arc<dyn Fn(u64) -> bool + Send + Sync>;

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
        let (writer, places, lost) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Ok(Self { index, reader, writer, lost, number, text, places })
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

    /// Whether writes were lost since this was last asked. Whoever asks brings the index to the rows again.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    pub(super) fn has_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// After an error the writer is of no use; the next write makes another.
    fn or_lost(&self, writer: &mut Writer, done: Result<(), VectorError>) -> Result<(), VectorError> {
        if done.is_err() {
            *writer = Writer::default();
            self.lost.store(true, Ordering::Release);
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

    /// The chunks whose words answer `question` best, with scores as in [`crate::fusion`], best first.
    pub(super) fn search(
        &self,
        question: &str,
        allowed: Option<Allowed>,
        limit: usize,
    ) -> Result<Vec<(u64, f64)>, VectorError> {
        self.flush()?;
        let searcher = self.reader.searcher();
        let asked = self.asked(&searcher, question)?;
        let any = asked.words.iter().map(|word| (Occur::Should, Box::new(word.clone()) as Box<dyn Query>));
        let query = BooleanQuery::new(any.collect());
        let top = TopDocs::with_limit(limit.max(1)).order_by_score();
        let found = match allowed {
            None => searcher.search(&query, &top),
            Some(allowed) => {
                let collector = FilterCollector::new("number".to_owned(), move |n: u64| allowed(n), top);
                searcher.search(&query, &collector)
            }
        };
        let mut hits = Vec::new();
        for (sum, address) in found.map_err(of_library)? {
            let columns = searcher.segment_reader(address.segment_ord).fast_fields();
            let column = columns.u64("number").map_err(of_library)?;
            hits.extend(column.first(address.doc_id).map(|number| (number, asked.score(sum))));
        }
        Ok(hits)
    }

    /// What [`Self::search`] would give these chunks: they are looked up, where it goes through all that have the words.
    pub(super) fn scores(&self, question: &str, numbers: &[u64]) -> Result<Vec<(u64, f64)>, VectorError> {
        self.flush()?;
        let searcher = self.reader.searcher();
        let asked = self.asked(&searcher, question)?;
        let scoring = || EnableScoring::enabled_from_searcher(&searcher);
        let weights = asked.words.iter().map(|word| word.weight(scoring()));
        let weights: Vec<Box<dyn Weight>> = weights.collect::<Result<_, _>>().map_err(of_library)?;
        let mut sums = vec![0.0_f32; numbers.len()];
        for reader in searcher.segment_readers() {
            let places = self.places(&searcher, reader)?;
            let found = numbers.iter().enumerate().filter_map(|(at, number)| {
                let place = places.binary_search_by_key(number, |place| place.0).ok()?;
                Some((places[place].1, at))
            });
            let mut sought: Vec<(DocId, usize)> = found.collect();
            sought.sort_unstable();
            if sought.is_empty() {
                continue;
            }
            for weight in &weights {
                let mut scorer = weight.scorer(reader, 1.0).map_err(of_library)?;
                for (doc, at) in &sought {
                    if scorer.doc() < *doc {
                        scorer.seek(*doc);
                    }
                    if scorer.doc() == *doc {
                        sums[*at] += scorer.score();
                    }
                }
            }
        }
        let scored = numbers.iter().zip(sums).filter(|(_, sum)| *sum > 0.0);
        Ok(scored.map(|(number, sum)| (*number, asked.score(sum))).collect())
    }

    fn places(&self, searcher: &Searcher, reader: &SegmentReader) -> Result<Arc<Places>, VectorError> {
        if let Some(known) = self.places.lock().get(&reader.segment_id()) {
            return Ok(Arc::clone(known));
        }
        let column = reader.fast_fields().u64("number").map_err(of_library)?;
        let mut places: Places =
            (0..reader.max_doc()).filter_map(|doc| Some((column.first(doc)?, doc))).collect();
        places.sort_unstable();
        let places = Arc::new(places);
        let mut known = self.places.lock();
        known.retain(|id, _| searcher.segment_readers().iter().any(|reader| reader.segment_id() == *id));
        known.insert(reader.segment_id(), Arc::clone(&places));
        Ok(places)
    }

    fn asked(&self, searcher: &Searcher, question: &str) -> Result<Asked, VectorError> {
        let end = question.floor_char_boundary(MAX_QUERY_BYTES);
        #[expect(clippy::cast_precision_loss, reason = "counts of chunks")]
        let count = searcher.num_docs() as f64;
        let distinct: BTreeSet<String> = words(&question[..end]).into_iter().collect();
        let mut weights = Vec::with_capacity(distinct.len());
        for word in distinct {
            let term = Term::from_field_text(self.text, &word);
            let frequency = searcher.doc_freq(&term).map_err(of_library)?;
            #[expect(clippy::cast_precision_loss, reason = "counts of chunks")]
            let frequency = frequency as f64;
            let idf = (1.0 + (count - frequency + 0.5).max(0.0) / (frequency + 0.5)).ln();
            weights.push((term, idf));
        }
        weights.sort_by(|a, b| b.1.total_cmp(&a.1));
        weights.truncate(MAX_QUERY_WORDS);
        let most = weights.iter().map(|(_, idf)| idf * (K1 + 1.0)).sum();
        let words = weights.into_iter().map(|(term, _)| TermQuery::new(term, IndexRecordOption::WithFreqs));
        Ok(Asked { words: words.collect(), most })
    }
}

/// A question's words, the rarest first.
struct Asked {
    words: Vec<TermQuery>,
    /// The largest score that all of them together could give.
    most: f64,
}

impl Asked {
    fn score(&self, sum: f32) -> f64 {
        crate::fusion::keyword(f64::from(sum), self.most)
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
    use super::*;

    #[test]
    fn a_reopened_cache_knows_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let keywords = Keywords::open(directory.path()).unwrap();
        keywords.change([(1, "red fox"), (2, "blue fox")].into_iter(), &[]).unwrap();
        assert_eq!(keywords.search("fox", None, 10).unwrap().len(), 2);
        keywords.change([(3, "fox fox")].into_iter(), &[1]).unwrap();
        keywords.flush().unwrap();
        drop(keywords);
        let keywords = Keywords::open(directory.path()).unwrap();
        let mut numbers = keywords.numbers().unwrap();
        numbers.sort_unstable();
        assert_eq!(numbers, [2, 3]);
        let only = keywords.search("blue foxes", Some(Arc::new(|n| n == 3)), 10).unwrap();
        assert_eq!(only.iter().map(|hit| hit.0).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_damaged_cache_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("meta.json"), "{").unwrap();
        let keywords = Keywords::open(directory.path()).unwrap();
        assert_eq!(keywords.numbers().unwrap(), Vec::<u64>::new());
    }

    /// Chunks that are looked up have the scores that a search gives them, over several segments and deletions.
    #[test]
    fn what_is_looked_up_scores_as_what_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let keywords = Keywords::open(directory.path()).unwrap();
        let text = |n: u64| format!("word{} word{} word{} common", n % 7, n % 11, n % 3);
        for part in 0..5_u64 {
            let numbers: Vec<u64> = (part * 100..part * 100 + 100).map(|n| 1_000 - n).collect();
            let texts: Vec<(u64, String)> = numbers.iter().map(|n| (*n, text(*n))).collect();
            keywords.change(texts.iter().map(|(n, text)| (*n, text.as_str())), &[]).unwrap();
            keywords.flush().unwrap();
        }
        keywords.change(std::iter::empty(), &[600, 777]).unwrap();
        let question = "word1 word2 common elsewhere";
        let found: HashMap<u64, f64> = keywords.search(question, None, 1_000).unwrap().into_iter().collect();
        assert_eq!(found.len(), 498);
        let numbers: Vec<u64> = (1..2_000).filter(|n| *n != 600 && *n != 777).collect();
        let sought: HashMap<u64, f64> = keywords.scores(question, &numbers).unwrap().into_iter().collect();
        assert_eq!(sought.len(), found.len());
        for (number, score) in found {
            assert!((sought[&number] - score).abs() < 1e-6, "{number}");
        }
        assert!(keywords.scores("nowhere", &numbers).unwrap().is_empty());
    }

    #[test]
    fn scores_do_not_depend_on_what_else_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let keywords = Keywords::open(directory.path()).unwrap();
        let texts = (0..50).map(|n| (n, if n == 7 { "zebra crossing" } else { "plain road" }));
        keywords.change(texts, &[]).unwrap();
        let all = keywords.search("zebra crossing", None, 5).unwrap();
        assert!(all.len() == 1 && (0.3..=1.0).contains(&all[0].1), "{all:?}");
        let half = keywords.search("zebra elephant", None, 5).unwrap();
        assert!(half[0].1 < all[0].1 * 0.6, "{half:?} of {all:?}");
    }
}
