//! Any text is normalised with offsets that stay inside it, and is judged by every policy without a panic.
#![no_main]

use std::sync::LazyLock;

use craton_guardrails::policies::content::ContentModel;
use craton_guardrails::policies::grounding;
use craton_guardrails::policies::words::{WordMatcher, profanity};
use craton_guardrails::text::{View, decoded_runs, sentences, spaced_words};
use libfuzzer_sys::fuzz_target;

static WORDS: LazyLock<Option<WordMatcher>> =
    LazyLock::new(|| WordMatcher::new(["acme", "project bluebird", "C++", "東京"]).ok());

fuzz_target!(|text: &str| {
    let folded = View::folded(text);
    for view in [&folded, &View::plain(text), &folded.squeezed()] {
        let mut starts = view.text().char_indices().map(|(at, _)| at).chain([view.text().len()]);
        let Some(mut before) = starts.next() else { continue };
        for at in starts {
            assert!(text.get(view.original(before..at)).is_some());
            before = at;
        }
    }
    for sentence in sentences(text) {
        assert!(text.get(sentence).is_some());
    }
    for (range, _) in decoded_runs(text) {
        assert!(text.get(range).is_some());
    }
    for word in spaced_words(&folded) {
        assert!(text.get(word.original(0..word.text().len())).is_some());
    }
    for hit in WORDS.iter().flat_map(|words| words.find(&folded)) {
        assert!(text.get(hit.range).is_some());
    }
    for range in profanity(&folded) {
        assert!(text.get(range).is_some());
    }
    ContentModel::shipped().scores(&folded);
    let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    grounding::scores(&text[..half], "What is it?", &text[half..]);
});
