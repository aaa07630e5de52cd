//! BM25 over the postings of the word index, a word at a time.
//!
//! The library's own search walks the lists of all words side by side, which costs several times what the lists hold,
//! and common words stand in nearly every chunk. Here each list is read by itself from its beginning to its end into an
//! array of sums, the rarest word first. Once the words that are left can't lift a chunk among the best that is not close
//! to them already (MaxScore), they are looked up for the chunks that are close, and nowhere else.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::BlockSegmentPostings;
use tantivy::query::Bm25Weight;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, Searcher, SegmentReader, TantivyError, Term};

use super::bits::Bits;
use crate::words::words;

/// Distinct words of a question that are looked up, the rarest first.
const MAX_QUERY_WORDS: usize = 64;
/// Text of a question that is read at all, in bytes.
const MAX_QUERY_BYTES: usize = 16 * 1024;
/// BM25's term saturation, as the library has it.
const K1: f64 = 1.2;
/// Entries of a list are read one after the other where there are fewer than this for each chunk that is looked for.
const SEEK_WORTH: usize = 16;
/// Classes of sums among which the least of the best is found.
const CLASSES: usize = 1_024;

/// A question's words, the rarest first.
pub(super) struct Asked {
    words: Vec<Word>,
    /// The largest sum that all of them together could give, those that nobody has included.
    most: f64,
}

struct Word {
    term: Term,
    weight: Bm25Weight,
    /// The largest score it can give.
    most: f32,
}

impl Asked {
    pub(super) fn new(searcher: &Searcher, field: Field, question: &str) -> Result<Self, TantivyError> {
        let end = question.floor_char_boundary(MAX_QUERY_BYTES);
        let segments = searcher.segment_readers();
        // With those that are deleted and not yet merged away, as frequencies have them.
        let count: u64 = segments.iter().map(|segment| u64::from(segment.max_doc())).sum();
        let mut tokens = 0;
        for segment in segments {
            tokens += segment.inverted_index(field)?.total_num_tokens();
        }
        let mean_length = tokens as f32 / count.max(1) as f32;
        let distinct: BTreeSet<String> = words(&question[..end]).into_iter().collect();
        let mut found = Vec::with_capacity(distinct.len());
        for word in distinct {
            let term = Term::from_field_text(field, &word);
            let frequency = searcher.doc_freq(&term)?;
            let idf = (1.0 + (count.saturating_sub(frequency) as f64 + 0.5) / (frequency as f64 + 0.5)).ln();
            found.push((term, frequency, idf * (K1 + 1.0)));
        }
        found.sort_by(|a, b| b.2.total_cmp(&a.2));
        found.truncate(MAX_QUERY_WORDS);
        let most = found.iter().map(|(_, _, most)| most).sum();
        let had = found.into_iter().filter(|(_, frequency, _)| *frequency > 0 && *frequency <= count);
        let words = had.map(|(term, frequency, most)| Word {
            term,
            weight: Bm25Weight::for_one_term_without_explain(frequency, count, mean_length),
            most: most as f32,
        });
        Ok(Self { words: words.collect(), most })
    }

    fn score(&self, sum: f32) -> f64 {
        crate::fusion::keyword(f64::from(sum), self.most)
    }
}

/// Which chunks may be among the best.
pub(super) enum Among<'a> {
    All,
    Passing(&'a dyn Fn(u64) -> bool),
    /// These numbers.
    These(&'a [u64]),
}

/// What a search is to find.
pub(super) struct Sought<'a> {
    pub(super) among: Among<'a>,
    /// How many of the best.
    pub(super) limit: usize,
    /// Numbers whose scores are wanted wherever they stand.
    pub(super) also: &'a [u64],
}

/// Numbers and scores, in no order.
#[derive(Default)]
pub(super) struct Found {
    pub(super) best: Vec<(u64, f64)>,
    /// Those of [`Sought::also`] that have any of the words.
    pub(super) also: Vec<(u64, f64)>,
}

/// Where chunks stand in a segment of the library's index. A segment never changes.
pub(super) struct Places {
    /// By their places.
    numbers: Vec<u64>,
    /// The places in the order of their numbers. Empty where that is their own order.
    by_number: Vec<DocId>,
}

impl Places {
    pub(super) fn of(reader: &SegmentReader) -> Result<Self, TantivyError> {
        let column = reader.fast_fields().u64("number")?;
        let numbers: Vec<u64> =
            (0..reader.max_doc()).map(|doc| column.first(doc).unwrap_or(u64::MAX)).collect();
        let mut by_number = Vec::new();
        if !numbers.is_sorted() {
            by_number.extend(0..reader.max_doc());
            by_number.sort_unstable_by_key(|doc| numbers[*doc as usize]);
        }
        Ok(Self { numbers, by_number })
    }

    fn number(&self, doc: DocId) -> u64 {
        self.numbers[doc as usize]
    }

    fn doc(&self, number: u64) -> Option<DocId> {
        if self.by_number.is_empty() {
            return DocId::try_from(self.numbers.binary_search(&number).ok()?).ok();
        }
        let at = self.by_number.binary_search_by_key(&number, |doc| self.number(*doc)).ok()?;
        Some(self.by_number[at])
    }
}

/// A segment that is searched.
pub(super) struct Segment<'a> {
    pub(super) reader: &'a SegmentReader,
    pub(super) places: &'a Places,
    pub(super) field: Field,
}

impl Segment<'_> {
    /// Adds what it has to what was found.
    pub(super) fn search(
        &self,
        asked: &Asked,
        sought: &Sought<'_>,
        found: &mut Found,
    ) -> Result<(), TantivyError> {
        let mut lists = self.lists(asked)?;
        if lists.is_empty() {
            return Ok(());
        }
        let mut sums = Sums {
            values: vec![0.0; self.places.numbers.len()],
            norms: self.reader.get_fieldnorms_reader(self.field)?,
            passing: self.passing(&sought.among),
            most: asked.most as f32,
        };
        let also = self.docs(sought.also);
        let best = match sought.among {
            Among::These(numbers) => {
                let docs = self.docs(numbers);
                let looked_for = merged(&docs, &also);
                lists.iter_mut().for_each(|list| list.add_to(&looked_for, &mut sums));
                docs
            }
            _ => sums.fill(&mut lists, sought.limit, &also),
        };
        let score = |doc: DocId| {
            let sum = sums.values[doc as usize];
            (sum > 0.0).then(|| (self.places.number(doc), asked.score(sum)))
        };
        found.best.extend(best.into_iter().filter_map(score));
        found.also.extend(also.into_iter().filter_map(score));
        Ok(())
    }

    fn lists<'a>(&self, asked: &'a Asked) -> Result<Vec<List<'a>>, TantivyError> {
        let index = self.reader.inverted_index(self.field)?;
        let mut lists = Vec::with_capacity(asked.words.len());
        for word in &asked.words {
            let postings = index.read_block_postings(&word.term, IndexRecordOption::WithFreqs)?;
            lists.extend(postings.map(|postings| List { postings, word }));
        }
        Ok(lists)
    }

    /// The chunks that may be found; None where all may.
    fn passing(&self, among: &Among<'_>) -> Option<Bits> {
        let alive = self.reader.alive_bitset();
        match among {
            Among::Passing(passes) => {
                let docs = (0..self.reader.max_doc()).filter(|doc| !self.reader.is_deleted(*doc));
                Some(docs.filter(|doc| passes(self.places.number(*doc))).collect())
            }
            _ => alive.map(|alive| alive.iter_alive().collect()),
        }
    }

    /// Where these chunks stand, ascending.
    fn docs(&self, numbers: &[u64]) -> Vec<DocId> {
        let here = numbers.iter().filter_map(|number| self.places.doc(*number));
        let mut docs: Vec<DocId> = here.filter(|doc| !self.reader.is_deleted(*doc)).collect();
        docs.sort_unstable();
        docs.dedup();
        docs
    }
}

/// What the words read so far give each chunk of a segment.
struct Sums {
    values: Vec<f32>,
    norms: FieldNormReader,
    passing: Option<Bits>,
    most: f32,
}

impl Sums {
    /// Reads the lists. Answers the best `limit` chunks and some that are as good as the last of them; their sums are
    /// right, and those of `also`.
    fn fill(&mut self, lists: &mut [List<'_>], limit: usize, also: &[DocId]) -> Vec<DocId> {
        for at in 0..lists.len() {
            let (left, reach) = lists[at..].iter().fold((0, 0.0), |(left, reach), list| {
                (left + list.postings.doc_freq() as usize, reach + list.word.most)
            });
            // To find where the best begin costs about as much as to read so many entries.
            if at > 0 && left > self.values.len() / 2 {
                let least = self.least_of_best(limit);
                if least > reach {
                    let close = self.at_least(least - reach);
                    let looked_for = merged(&close, also);
                    lists[at..].iter_mut().for_each(|list| list.add_to(&looked_for, self));
                    return close;
                }
            }
            lists[at].add_all(self);
        }
        self.at_least(self.least_of_best(limit))
    }

    /// A sum that at least `limit` chunks have, and not many more.
    fn least_of_best(&self, limit: usize) -> f32 {
        let classes_a_score = CLASSES as f32 / self.most.max(f32::MIN_POSITIVE);
        let mut counts = [0_usize; CLASSES];
        for (doc, sum) in (0..).zip(&self.values) {
            if *sum > 0.0 && self.passes(doc) {
                counts[((sum * classes_a_score) as usize).min(CLASSES - 1)] += 1;
            }
        }
        let mut better = 0;
        let full = (0..CLASSES).rev().find(|class| {
            better += counts[*class];
            better >= limit
        });
        // A little less, for what rounding took.
        full.map_or(0.0, |class| class as f32 / classes_a_score * 0.999)
    }

    /// Chunks with such a sum, in the order of their places.
    fn at_least(&self, least: f32) -> Vec<DocId> {
        let all = (0..).zip(&self.values);
        let good = all.filter(|(doc, sum)| **sum >= least && **sum > 0.0 && self.passes(*doc));
        good.map(|(doc, _)| doc).collect()
    }

    fn passes(&self, doc: DocId) -> bool {
        self.passing.as_ref().is_none_or(|passing| passing.contains(doc))
    }
}

/// Chunks of a segment that have a word.
struct List<'a> {
    postings: BlockSegmentPostings,
    word: &'a Word,
}

impl List<'_> {
    fn add_all(&mut self, sums: &mut Sums) {
        while !self.postings.docs().is_empty() {
            for (doc, times) in self.postings.docs().iter().zip(self.postings.freqs()) {
                sums.values[*doc as usize] += self.word.weight.score(sums.norms.fieldnorm_id(*doc), *times);
            }
            self.postings.advance();
        }
    }

    /// Adds at least what these chunks get of it; they ascend.
    fn add_to(&mut self, docs: &[DocId], sums: &mut Sums) {
        if (self.postings.doc_freq() as usize) < docs.len() * SEEK_WORTH {
            return self.add_all(sums);
        }
        for doc in docs {
            let at = self.postings.seek(*doc);
            if self.postings.doc(at) == *doc {
                let norm = sums.norms.fieldnorm_id(*doc);
                sums.values[*doc as usize] += self.word.weight.score(norm, self.postings.freq(at));
            }
        }
    }
}

/// Both, ascending, each once.
fn merged(a: &[DocId], b: &[DocId]) -> Vec<DocId> {
    let mut both = [a, b].concat();
    both.sort_unstable();
    both.dedup();
    both
}

/// Best first, equals in the order they were written; no more than `limit`.
pub(super) fn best_first(found: &mut Vec<(u64, f64)>, limit: usize) {
    let order = |a: &(u64, f64), b: &(u64, f64)| -> Ordering { b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)) };
    if limit > 0 && found.len() > limit {
        found.select_nth_unstable_by(limit - 1, order);
    }
    found.truncate(limit);
    found.sort_unstable_by(order);
}
