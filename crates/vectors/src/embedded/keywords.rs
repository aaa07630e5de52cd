//! The word index: a cache of the rows' texts, kept by `tantivy`.
//!
//! Queries are built in code from [`words`], never parsed, so that a question's punctuation is text. Writes gather and
//! are committed before the next search, or when there are many.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::directory::MmapDirectory;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term};

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
}

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
        Ok(Self { index, reader, writer: Mutex::default(), lost: AtomicBool::new(false), number, text })
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
        let (query, most) = self.query(&searcher, question)?;
        let top = TopDocs::with_limit(limit.max(1)).order_by_score();
        let found = match allowed {
            None => searcher.search(&query, &top),
            Some(allowed) => {
                let collector = FilterCollector::new("number".to_owned(), move |n: u64| allowed(n), top);
                searcher.search(&query, &collector)
            }
        };
        let mut hits = Vec::new();
        for (score, address) in found.map_err(of_library)? {
            let columns = searcher.segment_reader(address.segment_ord).fast_fields();
            let column = columns.u64("number").map_err(of_library)?;
            if let Some(number) = column.first(address.doc_id) {
                hits.push((number, crate::fusion::keyword(f64::from(score), most)));
            }
        }
        Ok(hits)
    }

    /// Any of the question's words, and the largest score that all of them together could give.
    fn query(&self, searcher: &Searcher, question: &str) -> Result<(BooleanQuery, f64), VectorError> {
        let end = question.floor_char_boundary(MAX_QUERY_BYTES);
        #[expect(clippy::cast_precision_loss, reason = "counts of chunks")]
        let count = searcher.num_docs() as f64;
        let distinct: BTreeSet<String> = words(&question[..end]).into_iter().collect();
        let mut weights = Vec::with_capacity(distinct.len());
        for word in distinct {
            let frequency =
                searcher.doc_freq(&Term::from_field_text(self.text, &word)).map_err(of_library)?;
            #[expect(clippy::cast_precision_loss, reason = "counts of chunks")]
            let frequency = frequency as f64;
            let idf = (1.0 + (count - frequency + 0.5).max(0.0) / (frequency + 0.5)).ln();
            weights.push((word, idf));
        }
        weights.sort_by(|a, b| b.1.total_cmp(&a.1));
        weights.truncate(MAX_QUERY_WORDS);
        let most = weights.iter().map(|(_, idf)| idf * (K1 + 1.0)).sum();
        let clauses = weights.iter().map(|(word, _)| {
            let term = Term::from_field_text(self.text, word);
            let query: Box<dyn Query> = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            (Occur::Should, query)
        });
        Ok((BooleanQuery::new(clauses.collect()), most))
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
