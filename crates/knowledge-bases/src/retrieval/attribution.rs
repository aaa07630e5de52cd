//! Which passages a sentence of an answer rests on.
//!
//! Works on any model's answer. Where the model was asked to mark its sources and did (`[1]`), a sentence's marks
//! decide, and are taken out of the text. Brackets right behind a word, as in `a[1]`, and those in code are the answer's
//! own (`around`). Elsewhere a sentence is compared with every passage: by the share of its
//! words, the rare ones counting most, that the passage has, and by the cosine of its meaning with the nearest few
//! sentences of the passage. It rests on those that come near enough, and on none rather than on a guess.

use std::collections::HashSet;
use std::ops::Range;

use craton_api_bedrock_agent_runtime as api;
use craton_wire::ApiError;
use unicode_segmentation::UnicodeSegmentation as _;

use super::TextEmbedder;
use super::around::Around;

/// Weight of the words; the rest is the meaning's.
const WORDS: f32 = 0.6;
/// A sentence rests on a passage from here on, and on others that come this near to its best.
const ENOUGH: f32 = 0.45;
const NEAR_BEST: f32 = 0.85;
const MOST_PASSAGES: usize = 3;
/// Sentences compared together, and comparisons a passage.
const WINDOW: usize = 3;
const MOST_WINDOWS: usize = 12;
/// Longest mark, in bytes.
const MOST_MARK: usize = 24;

/// Takes the model's own marks out of its answer, piece by piece, and the white space around all of it.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    /// Passages that marks can name; 0 leaves brackets as they are.
    passages: usize,
    /// The answer is somebody else's: white space stays too.
    verbatim: bool,
    text: String,
    pending: String,
    /// What stands before `pending`, as the model wrote it.
    around: Around,
    /// Where in `text` marks stood, and the passages they name, from 0.
    marks: Vec<(usize, Vec<usize>)>,
}

impl Cleaner {
    pub(super) fn new(passages: usize) -> Self {
        Self { passages, ..Self::default() }
    }

    /// Leaves everything as it is.
    pub(super) fn verbatim() -> Self {
        Self { verbatim: true, ..Self::default() }
    }

    /// Takes in more of the answer; what of it can be shown.
    pub(super) fn push(&mut self, more: &str) -> String {
        let shown = self.text.len();
        self.pending.push_str(more);
        if self.verbatim {
            self.keep(self.pending.len());
            return self.text[shown..].to_owned();
        }
        while let Some(at) = self.pending.find('[').filter(|_| self.passages > 0) {
            let mut around = self.around;
            around.pass(&self.pending[..at]);
            let read = if around.has_marks() { mark(&self.pending[at..], self.passages) } else { Mark::None };
            let head = self.pending[..at].trim_end_matches(' ').len();
            match read {
                Mark::Names(passages, length) => {
                    self.keep(head);
                    self.marks.push((self.text.len(), passages));
                    self.pending.drain(..at - head + length);
                    self.around = around.behind_mark();
                }
                Mark::Unfinished => {
                    self.keep(head);
                    return self.text[shown..].to_owned();
                }
                Mark::None => self.keep(at + 1),
            }
        }
        // White space may come before a mark, or at the very end.
        self.keep(self.pending.trim_end().len());
        self.text[shown..].to_owned()
    }

    /// Makes what is held back a part of the text.
    fn keep(&mut self, bytes: usize) {
        let kept = &self.pending[..bytes];
        self.around.pass(kept);
        let begins = self.text.is_empty() && !self.verbatim;
        self.text.push_str(if begins { kept.trim_start() } else { kept });
        self.pending.drain(..bytes);
    }

    /// The end of the answer: what was held back.
    pub(super) fn finish(&mut self) -> String {
        let shown = self.text.len();
        let rest = if self.verbatim { self.pending.len() } else { self.pending.trim_end().len() };
        self.keep(rest);
        self.pending.clear();
        self.text[shown..].to_owned()
    }

    /// The answer without marks.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

enum Mark {
    Names(Vec<usize>, usize),
    Unfinished,
    None,
}

/// Reads `[1]` or `[1, 2]`.
fn mark(text: &str, passages: usize) -> Mark {
    let inner = &text[1..];
    let end = inner.find(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' '));
    match end {
        None if text.len() < MOST_MARK => Mark::Unfinished,
        Some(end) if end > 0 && inner[end..].starts_with(']') => {
            let numbers: Option<Vec<usize>> = inner[..end]
                .split(',')
                .map(|number| {
                    number.trim().parse().ok().filter(|n| (1..=passages).contains(n)).map(|n: usize| n - 1)
                })
                .collect();
            numbers.map_or(Mark::None, |numbers| Mark::Names(numbers, end + 2))
        }
        _ => Mark::None,
    }
}

/// A part of an answer and the passages it rests on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    /// Bytes of the answer.
    pub range: Range<usize>,
    /// Ascending.
    pub passages: Vec<usize>,
}

impl Part {
    /// As clients are told: positions count characters, and the last one is included.
    pub(super) fn to_api(&self, answer: &str) -> api::GeneratedResponsePart {
        let start = answer[..self.range.start].chars().count();
        let length = answer[self.range.clone()].chars().count();
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let span =
            api::Span { start: Some(number(start)), end: Some(number((start + length).saturating_sub(1))) };
        let text = answer[self.range.clone()].to_owned();
        api::GeneratedResponsePart {
            text_response_part: Some(api::TextResponsePart { span: Some(span), text: Some(text) }),
        }
    }
}

/// The parts of an answer that rest on passages, in order; neighbours that rest on the same ones are one part.
pub(super) async fn attribute(
    cleaner: &Cleaner,
    passages: &[&str],
    embedder: Option<&dyn TextEmbedder>,
) -> Result<Vec<Part>, ApiError> {
    let text = cleaner.text();
    let sentences = sentences(text);
    let marked: Vec<Vec<usize>> = sentences.iter().map(|range| cleaner.named_in(range)).collect();
    let compared: Vec<usize> = (0..sentences.len()).filter(|n| marked[*n].is_empty()).collect();
    let texts: Vec<&str> = compared.iter().map(|n| &text[sentences[*n].clone()]).collect();
    let mut found = compare(&texts, passages, embedder).await?.into_iter();
    let mut parts: Vec<Part> = Vec::new();
    for (range, mut rests_on) in sentences.into_iter().zip(marked) {
        if rests_on.is_empty() {
            rests_on = found.next().unwrap_or_default();
        }
        match parts.last_mut() {
            Some(last) if last.passages == rests_on => last.range.end = range.end,
            _ => parts.push(Part { range, passages: rests_on }),
        }
    }
    parts.retain(|part| !part.passages.is_empty());
    Ok(parts)
}

impl Cleaner {
    /// Passages that the marks in or right behind a sentence name.
    fn named_in(&self, range: &Range<usize>) -> Vec<usize> {
        let inside = self.marks.iter().filter(|(at, _)| *at > range.start && *at <= range.end);
        let mut named: Vec<usize> = inside.flat_map(|(_, passages)| passages).copied().collect();
        named.sort_unstable();
        named.dedup();
        named
    }
}

/// For each sentence the passages that it rests on.
async fn compare(
    sentences: &[&str],
    passages: &[&str],
    embedder: Option<&dyn TextEmbedder>,
) -> Result<Vec<Vec<usize>>, ApiError> {
    if sentences.is_empty() || passages.is_empty() {
        return Ok(vec![Vec::new(); sentences.len()]);
    }
    let by_words = word_scores(sentences, passages);
    let by_meaning = match embedder {
        Some(embedder) => Some(meaning_scores(sentences, passages, embedder).await?),
        None => None,
    };
    let rests_on = by_words.iter().enumerate().map(|(sentence, words)| {
        let score = |passage: usize| match &by_meaning {
            Some(meanings) => WORDS * words[passage] + (1.0 - WORDS) * meanings[sentence][passage].max(0.0),
            None => words[passage],
        };
        let mut scored: Vec<(f32, usize)> =
            (0..passages.len()).map(|passage| (score(passage), passage)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let least = ENOUGH.max(scored[0].0 * NEAR_BEST);
        let near = scored.iter().take(MOST_PASSAGES).filter(|(score, _)| *score >= least);
        let mut near: Vec<usize> = near.map(|(_, passage)| *passage).collect();
        near.sort_unstable();
        near
    });
    Ok(rests_on.collect())
}

/// The weighted share of each sentence's words that each passage has.
fn word_scores(sentences: &[&str], passages: &[&str]) -> Vec<Vec<f32>> {
    let vocabularies: Vec<HashSet<String>> = passages.iter().map(|passage| words(passage)).collect();
    #[expect(clippy::cast_precision_loss, reason = "a few passages")]
    let rarity = |word: &String| {
        let having = vocabularies.iter().filter(|vocabulary| vocabulary.contains(word)).count();
        (1.0 + (vocabularies.len() as f32 + 0.5) / (having.max(1) as f32)).ln()
    };
    let scores = sentences.iter().map(|sentence| {
        let weighted: Vec<(String, f32)> = words(sentence)
            .into_iter()
            .map(|word| (rarity(&word), word))
            .map(|(weight, word)| (word, weight))
            .collect();
        let all: f32 = weighted.iter().map(|(_, weight)| weight).sum();
        let share = |vocabulary: &HashSet<String>| {
            let shared = weighted.iter().filter(|(word, _)| vocabulary.contains(word));
            if all > 0.0 { shared.map(|(_, weight)| weight).sum::<f32>() / all } else { 0.0 }
        };
        vocabularies.iter().map(share).collect()
    });
    scores.collect()
}

/// Words that say something, by their look alone so that it works in any language: three letters or a digit.
fn words(text: &str) -> HashSet<String> {
    let words = text
        .unicode_words()
        .filter(|word| word.chars().count() >= 4 || word.chars().any(|c| c.is_numeric()) || !word.is_ascii());
    words.map(|word| word.to_lowercase().trim_end_matches('s').to_owned()).collect()
}

async fn meaning_scores(
    sentences: &[&str],
    passages: &[&str],
    embedder: &dyn TextEmbedder,
) -> Result<Vec<Vec<f32>>, ApiError> {
    let mut texts: Vec<String> = sentences.iter().map(|sentence| (*sentence).to_owned()).collect();
    let mut windows = Vec::with_capacity(passages.len());
    for passage in passages {
        let first = texts.len();
        texts.extend(windows_of(passage));
        windows.push(first..texts.len());
    }
    let vectors = embedder.embed_texts(&texts).await?;
    let nearest = |sentence: &[f32], windows: &Range<usize>| {
        let cosines = vectors
            .get(windows.clone())
            .into_iter()
            .flatten()
            .map(|window| sentence.iter().zip(window).map(|(a, b)| a * b).sum::<f32>());
        cosines.fold(0.0, f32::max)
    };
    let scores = vectors
        .iter()
        .take(sentences.len())
        .map(|sentence| windows.iter().map(|windows| nearest(sentence, windows)).collect());
    Ok(scores.collect())
}

fn windows_of(passage: &str) -> Vec<String> {
    let sentences = sentences(passage);
    if sentences.len() <= WINDOW {
        return vec![passage.to_owned()];
    }
    let step = (sentences.len() / MOST_WINDOWS).max(WINDOW - 1);
    let starts = (0..sentences.len()).step_by(step).take(MOST_WINDOWS);
    let windows = starts.map(|start| {
        let end = (start + step + 1).min(sentences.len());
        passage[sentences[start].start..sentences[end - 1].end].to_owned()
    });
    windows.collect()
}

/// The sentences of a text without the white space around them.
fn sentences(text: &str) -> Vec<Range<usize>> {
    let trimmed = text.split_sentence_bound_indices().filter_map(|(at, sentence)| {
        let start = at + sentence.len() - sentence.trim_start().len();
        let end = start + sentence.trim().len();
        (end > start).then_some(start..end)
    });
    trimmed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str, passages: usize, piece: usize) -> Cleaner {
        let mut cleaner = Cleaner::new(passages);
        let mut shown = String::new();
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(piece) {
            shown += &cleaner.push(&piece.iter().collect::<String>());
        }
        shown += &cleaner.finish();
        assert_eq!(shown, cleaner.text(), "what was shown is the text");
        cleaner
    }

    #[test]
    fn marks_are_taken_out_however_the_text_arrives() {
        let text = "Returns take 45 days [1]. See [a] and [9], or [2, 3]. Last [1";
        for piece in 1..20 {
            let cleaner = cleaned(text, 3, piece);
            assert_eq!(cleaner.text(), "Returns take 45 days. See [a] and [9], or. Last [1");
            assert_eq!(cleaner.marks, [(20, vec![0]), (41, vec![1, 2])]);
        }
        assert_eq!(cleaned(text, 0, 3).text(), text);
    }

    #[test]
    fn brackets_of_the_answer_itself_stay() {
        for text in [
            "Arrays are written a[1] = 2 in C.",
            "Take x_[1], f(a)[b][1] or [a][2].",
            "Use `x = [1]` or ``y ` [2]`` there.",
            "See:\n```c\nint a = [1];\n\n[2]\n```\nNo more.",
            "~~~\n[1]\n```\n[2]\n~~~\nEnd",
            "été[1] и слово[2]",
        ] {
            for piece in 1..20 {
                let cleaner = cleaned(text, 3, piece);
                assert_eq!((cleaner.text(), &cleaner.marks[..]), (text, &[][..]), "by {piece}");
            }
        }
        for (text, left, marks) in [
            ("In C, a[1] = 2 [1].", "In C, a[1] = 2.", &[(14, vec![0])][..]),
            ("`a` [1] and ``b``[2].", "`a` and ``b``.", &[(3, vec![0]), (13, vec![1])]),
            ("Both.[1][2] Next", "Both. Next", &[(5, vec![0]), (5, vec![1])]),
            ("```\n[1]\n```\nAs said [2].", "```\n[1]\n```\nAs said.", &[(19, vec![1])]),
            ("```x = 1``` is it [1].", "```x = 1``` is it.", &[(17, vec![0])]),
            ("A lone ` here.\n\nThen [1].", "A lone ` here.\n\nThen.", &[(20, vec![0])]),
            ("**Bold** [1]", "**Bold**", &[(8, vec![0])]),
            ("退货需在45天内[1]。", "退货需在45天内。", &[(20, vec![0])]),
        ] {
            for piece in 1..20 {
                let cleaner = cleaned(text, 3, piece);
                assert_eq!((cleaner.text(), &cleaner.marks[..]), (left, marks), "by {piece}");
            }
        }
    }

    #[test]
    fn white_space_around_an_answer_goes_however_it_arrives() {
        for (text, left) in [("   ", ""), (" \n a  b\n\n", "a  b"), ("a [1] \n", "a"), ("[1] ", "")] {
            for piece in 1..8 {
                assert_eq!(cleaned(text, 1, piece).text(), left, "{text:?}");
                if !text.contains('[') {
                    assert_eq!(cleaned(text, 0, piece).text(), left, "{text:?}");
                }
            }
        }
        let mut cleaner = Cleaner::verbatim();
        assert_eq!(cleaner.push(" a[1] ") + &cleaner.finish(), " a[1] ");
    }

    #[tokio::test]
    async fn the_models_own_marks_decide() {
        let cleaner = cleaned("Cats purr [2]. Dogs bark. [1] Birds sing.", 2, 7);
        let parts = attribute(&cleaner, &["nothing alike", "nothing either"], None).await.unwrap();
        let shown: Vec<(&str, &[usize])> =
            parts.iter().map(|part| (&cleaner.text()[part.range.clone()], &part.passages[..])).collect();
        assert_eq!(shown, [("Cats purr.", &[1][..]), ("Dogs bark.", &[0][..])]);
    }

    #[tokio::test]
    async fn words_find_the_passage() {
        let passages = [
            "Enterprise subscriptions may be returned within 45 days of purchase for a full refund.",
            "Hardware is shipped by FedEx within 3 business days from the warehouse in Rotterdam.",
        ];
        let answer = "You can return enterprise subscriptions within 45 days of purchase. Hardware is shipped by FedEx. \
                      I like été and other unrelated poetry very much.";
        let cleaner = cleaned(answer, 0, 9);
        let parts = attribute(&cleaner, &passages, None).await.unwrap();
        let found: Vec<&[usize]> = parts.iter().map(|part| &part.passages[..]).collect();
        assert_eq!(found, [&[0][..], &[1][..]]);
        for part in &parts {
            let api = part.to_api(answer).text_response_part.unwrap();
            let span = api.span.unwrap();
            let (start, end) = (span.start.unwrap() as usize, span.end.unwrap() as usize);
            let sliced: String = answer.chars().skip(start).take(end - start + 1).collect();
            assert_eq!(Some(sliced), api.text);
        }
    }

    #[test]
    fn spans_count_characters() {
        let answer = "Été à Paris. Zweite Stadt: Köln.";
        let ranges = sentences(answer);
        let part =
            Part { range: ranges[1].clone(), passages: vec![0] }.to_api(answer).text_response_part.unwrap();
        assert_eq!(part.text.as_deref(), Some("Zweite Stadt: Köln."));
        assert_eq!(part.span.unwrap().start, Some(13));
    }

    /// Pieces of answers: marks, code, letters of several bytes, white space, in any order.
    fn answers() -> impl proptest::strategy::Strategy<Value = Vec<String>> {
        use proptest::prelude::*;
        let written = prop::sample::select(vec![
            "[1]",
            "[2, 3]",
            " [9]",
            "[",
            "]",
            "a[1]",
            "`",
            "``",
            "```",
            "\n",
            "\n\n",
            "~~~",
            ". ",
            "! ",
            " ",
            "\t",
            "été",
            "слово",
            "退货需在45天内",
            "。",
            "👩‍👩‍👧",
            "e\u{301}",
            "\u{a0}",
            "\u{feff}",
            "Cats purr",
            "45 days",
            "\r\n",
        ]);
        prop::collection::vec(prop_oneof![4 => written.prop_map(str::to_owned), 1 => ".{0,6}"], 0..24)
    }

    proptest::proptest! {
        #[test]
        fn spans_lie_on_characters_inside_the_answer(pieces in answers()) {
            let mut cleaner = Cleaner::new(3);
            let shown = pieces.iter().map(|piece| cleaner.push(piece)).collect::<String>() + &cleaner.finish();
            let answer = cleaner.text();
            proptest::prop_assert_eq!(&shown, answer);
            let passages = ["Cats purr within 45 days", "退货需在45天内", "été слово"];
            let found = futures::FutureExt::now_or_never(attribute(&cleaner, &passages, None));
            let (letters, mut last) = (answer.chars().collect::<Vec<_>>(), -1);
            for part in found.expect("nobody is asked").unwrap() {
                let told = part.to_api(answer).text_response_part.unwrap();
                let (span, text) = (told.span.unwrap(), told.text.unwrap());
                let (start, end) = (span.start.unwrap(), span.end.unwrap());
                proptest::prop_assert!(last < start && start <= end && (end as usize) < letters.len());
                proptest::prop_assert_eq!(letters[start as usize..=end as usize].iter().collect::<String>(), text);
                proptest::prop_assert!(part.passages.iter().all(|passage| *passage < passages.len()));
                last = end;
            }
        }
    }
}
