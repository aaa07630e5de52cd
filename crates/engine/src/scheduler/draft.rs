//! Prompt lookup decoding: drafts of what comes next, taken from what was said before.
//!
//! Answers repeat their prompt and themselves: names, quotations, lists, code. Where the last few tokens stood before, what
//! followed them then is the draft of what follows now. A step over a few tokens costs little more than one over a single
//! token, as the weights are read once, and every token of the draft that the model then chooses itself saves a step. The
//! rest is cut from the cache again: the answer is the model's own.

use llama_cpp_2::token::LlamaToken;

use crate::products::multiplies_blocks;

/// When to draft, and how much: how many last tokens must have stood before, at first, once drafts are right, and once they are
/// wrong; and the most tokens of a draft.
#[derive(Debug, Clone, Copy)]
struct Habits {
    first: usize,
    least: usize,
    most: usize,
    tokens: usize,
}

/// Where a step over eight tokens of a small model takes as long as three over one, a draft is no present. Replayed over sixty
/// answers of a small model, these made its likeliest words 8 % faster and drawn ones no slower; beginning with four cost the
/// latter 2 %.
const DEAR: Habits = Habits { first: 6, least: 3, most: 12, tokens: usize::MAX };
/// Where a step over four tokens takes little longer than one over one, and over eight twice as long: small drafts, often.
const CHEAP: Habits = Habits { first: 3, least: 2, most: 8, tokens: 3 };

/// How far back is looked.
const WINDOW: usize = 8192;

/// Makes one answer's drafts.
#[derive(Debug)]
pub(crate) struct Drafter {
    habits: Habits,
    /// Last tokens that must have stood before.
    matched: usize,
}

impl Default for Drafter {
    fn default() -> Self {
        Self::with(if multiplies_blocks() { CHEAP } else { DEAR })
    }
}

impl Drafter {
    fn with(habits: Habits) -> Self {
        Self { habits, matched: habits.first }
    }

    /// What followed the last tokens where they stood last, `most` tokens of it; empty where they are new.
    pub(crate) fn draft<'t>(&self, tokens: &'t [LlamaToken], most: usize) -> &'t [LlamaToken] {
        let tokens = &tokens[tokens.len().saturating_sub(WINDOW)..];
        let Some(start) = tokens.len().checked_sub(self.matched) else { return &[] };
        let last = &tokens[start..];
        // Windows that end before the last token, the latest first.
        let mut before = tokens[..tokens.len() - 1].windows(self.matched);
        match before.rposition(|window| window == last) {
            Some(at) => {
                let follows = &tokens[at + self.matched..];
                &follows[..most.min(self.habits.tokens).min(follows.len())]
            }
            None => &[],
        }
    }

    /// So many tokens of a draft were right. Where that was worth its step, less is needed for the next; where it was not,
    /// more.
    pub(crate) fn learn(&mut self, right: usize, drafted: usize) {
        self.matched = match right * 2 > drafted {
            true => self.matched.saturating_sub(1).max(self.habits.least),
            false => (self.matched + 1).min(self.habits.most),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[i32]) -> Vec<LlamaToken> {
        ids.iter().copied().map(LlamaToken).collect()
    }

    #[test]
    fn what_followed_last_time_is_the_draft() {
        let drafter = Drafter { habits: DEAR, matched: 2 };
        assert_eq!(drafter.draft(&tokens(&[1, 2, 3, 4, 9, 1, 2, 5, 6, 1, 2]), 3), tokens(&[5, 6, 1]));
        assert_eq!(drafter.draft(&tokens(&[1, 2, 3, 1, 2]), 9), tokens(&[3, 1, 2]));
        assert_eq!(drafter.draft(&tokens(&[7, 7, 7]), 4), tokens(&[7]));
        for nothing in [&[][..], &[1], &[1, 2], &[1, 2, 3, 4]] {
            assert_eq!(drafter.draft(&tokens(nothing), 4), []);
        }
        assert_eq!(drafter.draft(&tokens(&[1, 2, 3, 1, 2]), 0), []);
    }

    #[test]
    fn drafts_of_no_use_make_the_next_rarer() {
        let mut drafter = Drafter { habits: DEAR, matched: 3 };
        let said = tokens(&[0, 1, 2, 3, 8, 9, 1, 2, 3]);
        assert_eq!(drafter.draft(&said, 1), tokens(&[8]));
        drafter.learn(1, 4);
        assert_eq!(drafter.draft(&said, 1), []);
        drafter.learn(3, 4);
        assert_eq!(drafter.draft(&said, 1), tokens(&[8]));
        (0..20).for_each(|_| drafter.learn(0, 4));
        assert_eq!(drafter.matched, DEAR.most);
        (0..20).for_each(|_| drafter.learn(4, 4));
        assert_eq!(drafter.matched, DEAR.least);
    }

    #[test]
    fn no_more_is_drafted_than_is_cheap() {
        let said = tokens(&[1, 2, 3, 4, 5, 6, 7, 1, 2, 3]);
        assert_eq!(Drafter::with(CHEAP).draft(&said, 9), tokens(&[4, 5, 6]));
        assert_eq!(Drafter { habits: DEAR, matched: 3 }.draft(&said, 9), tokens(&[4, 5, 6, 7, 1, 2, 3]));
    }
}
