//! How many threads compute a step.
//!
//! Threads meet at a barrier after every operation. On an idle machine more of them are faster; when other work
//! holds a core for a moment, all of them wait for the one that lost it, and a small model's step of 10 ms becomes
//! 200 ms. No fixed number serves both, and load changes by the second, so the time of every step is watched: each
//! size of step uses the count that was fastest lately and now and then tries another, the more rarely the worse it
//! did. A try that finds nothing new makes the next one rarer still; when steps become slower or faster than they
//! were, the machine has changed and tries begin anew.

use std::ops::RangeInclusive;

/// Weight of the newest measurement where it is the slower one.
const NEWEST: f64 = 0.3;
/// A slow step counts for at most so many times what was usual: a single one may be anybody's fault.
const SLOWEST: f64 = 3.0;
/// Steps between tries of a count that is as fast as the best, at first.
const TRY_EVERY: f64 = 8.0;
/// So many times as many lie between them when they go on finding nothing new.
const MOST_PATIENCE: f64 = 8.0;
/// Steps take as long as they did while they take between a part and a multiple of the time.
const SAME: RangeInclusive<f64> = 0.8..=1.25;
/// So many steps in a row that do not are no accident.
const CHANGED_AFTER: u32 = 4;
const TRY_AT_LEAST_EVERY: f64 = 1024.0;
/// Steps of a size before a count that it never used is tried.
const FIRST_TRY_AFTER: u64 = 3;

/// Steps of about the same number of tokens.
#[derive(Debug, Clone)]
struct SizeClass {
    steps: u64,
    seen: Vec<Option<Seen>>,
    /// Seconds a token with the best choice when tries last began anew.
    settled_s: f64,
    /// Steps in a row that took another time.
    unsettled: u32,
}

/// What is known of one choice.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Seconds a token.
    each_s: f64,
    /// The step it was last used at.
    used_at: u64,
    /// How many times rarer it is tried than at first.
    patience: f64,
}

#[derive(Debug)]
pub(crate) struct ThreadChoice {
    counts: Vec<i32>,
    classes: Vec<SizeClass>,
}

impl ThreadChoice {
    /// Chooses among 1, 2, 4… and `most`.
    pub(crate) fn new(most: i32) -> Self {
        let mut counts: Vec<i32> = std::iter::successors(Some(1), |count| Some(count * 2))
            .take_while(|count| *count < most)
            .collect();
        counts.push(most.max(1));
        let class = SizeClass { steps: 0, seen: vec![None; counts.len()], settled_s: 0.0, unsettled: 0 };
        Self { counts, classes: vec![class; 17] }
    }

    fn class_of(tokens: usize) -> usize {
        tokens.max(1).ilog2().min(16) as usize
    }

    /// Threads for a step of `tokens` tokens.
    pub(crate) fn next(&self, tokens: usize) -> i32 {
        let Some(class) = self.classes.get(Self::class_of(tokens)) else { return 1 };
        let best = |class: &SizeClass| class.best().map(|(at, _)| at);
        // What is not known of a size is as with the size next to it.
        let of_others = || {
            let mut others: Vec<usize> = (0..self.classes.len()).collect();
            others.sort_by_key(|other| other.abs_diff(Self::class_of(tokens)));
            others.into_iter().find_map(|other| best(&self.classes[other]))
        };
        let at = class.due().or_else(|| best(class)).or_else(of_others).unwrap_or(self.counts.len() - 1);
        self.counts.get(at).copied().unwrap_or(1)
    }

    /// A step of `tokens` tokens took this long with this many threads.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn record(&mut self, tokens: usize, threads: i32, seconds: f64) {
        let Some(at) = self.counts.iter().position(|count| *count == threads) else { return };
        let Some(class) = self.classes.get_mut(Self::class_of(tokens)) else { return };
        class.record(at, seconds / tokens.max(1) as f64);
    }
}

impl SizeClass {
    /// What else the machine does makes steps slower and never faster: one fast step says what a choice can do.
    fn record(&mut self, at: usize, each_s: f64) {
        self.steps += 1;
        let steps = self.steps;
        let Some(place) = self.seen.get_mut(at) else { return };
        let was_known = place.is_some();
        let seen = place.get_or_insert(Seen { each_s, used_at: steps, patience: 1.0 });
        let slower_s = each_s.min(seen.each_s * SLOWEST) - seen.each_s;
        seen.each_s = each_s.min(seen.each_s + NEWEST * slower_s);
        seen.used_at = steps;
        let Some((best, fastest_s)) = self.best() else { return };
        if best != at {
            if let Some(Some(tried)) = self.seen.get_mut(at).filter(|_| was_known) {
                tried.patience = (tried.patience * 2.0).min(MOST_PATIENCE);
            }
            return;
        }
        let is_same = SAME.contains(&(each_s / self.settled_s));
        self.unsettled = if is_same { 0 } else { self.unsettled + 1 };
        if self.unsettled >= CHANGED_AFTER {
            self.unsettled = 0;
            self.settled_s = fastest_s;
            self.seen.iter_mut().flatten().for_each(|seen| seen.patience = 1.0);
        }
    }

    fn best(&self) -> Option<(usize, f64)> {
        let known = self.seen.iter().enumerate();
        let known = known.filter_map(|(at, seen)| seen.map(|seen| (at, seen.each_s)));
        known.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// A choice that it is time to try again: one never tried, or one not tried for long.
    #[allow(clippy::cast_precision_loss)]
    fn due(&self) -> Option<usize> {
        let (_, fastest_s) = self.best()?;
        self.seen.iter().position(|seen| match seen {
            None => self.steps >= FIRST_TRY_AFTER,
            Some(Seen { each_s, used_at, patience }) => {
                let ratio = (each_s / fastest_s.max(f64::MIN_POSITIVE)).min(100.0);
                let wait = TRY_EVERY * patience * ratio * ratio;
                (self.steps - used_at) as f64 > wait.min(TRY_AT_LEAST_EVERY)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs steps whose time depends on the thread count; how many used each count.
    fn run(choice: &mut ThreadChoice, steps: usize, tokens: usize, time: impl Fn(i32) -> f64) -> [usize; 3] {
        let mut used = [0; 3];
        for _ in 0..steps {
            let threads = choice.next(tokens);
            used[threads.ilog2() as usize] += 1;
            choice.record(tokens, threads, time(threads));
        }
        used
    }

    #[test]
    fn the_fastest_count_is_used_and_changes_are_noticed() {
        let mut choice = ThreadChoice::new(4);
        let idle = |threads: i32| 1.0 / f64::from(threads);
        let used = run(&mut choice, 1000, 1, idle);
        assert!(used[2] > 900, "{used:?}");
        // The machine becomes busy: many threads now cost most.
        let busy = |threads: i32| f64::from(threads * threads);
        run(&mut choice, 100, 1, busy);
        let used = run(&mut choice, 1000, 1, busy);
        assert!(used[0] > 900, "{used:?}");
        // Other sizes begin with the same, and learn for themselves.
        assert_eq!(choice.next(100), 1);
        assert!(run(&mut choice, 1000, 100, idle)[2] > 900);
    }

    #[test]
    fn a_bad_count_is_tried_rarely() {
        let mut choice = ThreadChoice::new(2);
        let used = run(&mut choice, 5000, 1, |threads| if threads == 1 { 0.01 } else { 0.2 });
        // The first steps, before the other count is tried, and then about one in a thousand.
        assert!(used[1] <= 9, "{used:?}");
    }

    #[test]
    fn what_was_tried_in_vain_is_tried_more_rarely() {
        let mut choice = ThreadChoice::new(2);
        let close = |threads: i32| if threads == 1 { 0.014 } else { 0.009 };
        run(&mut choice, 400, 1, close);
        // A step in 64 × (14/9)² of them.
        let used = run(&mut choice, 1600, 1, close);
        assert!((8..=11).contains(&used[0]), "{used:?}");
    }

    #[test]
    fn one_slow_step_changes_nothing() {
        let mut choice = ThreadChoice::new(2);
        let time = |threads: i32| if threads == 1 { 0.016 } else { 0.009 };
        run(&mut choice, 2000, 1, time);
        choice.record(1, 2, 0.5);
        // A try may have come due.
        let used = run(&mut choice, 20, 1, time);
        assert!(used[1] >= 19, "{used:?}");
    }

    #[test]
    fn a_machine_that_changes_is_looked_at_anew() {
        let mut choice = ThreadChoice::new(2);
        run(&mut choice, 2000, 1, |threads| if threads == 1 { 0.014 } else { 0.009 });
        // Others take the second core: one thread is better at once.
        let busy = |threads: i32| if threads == 1 { 0.020 } else { 0.060 };
        assert!(run(&mut choice, 1000, 1, busy)[0] > 980);
        // They go, which one thread feels too.
        let used = run(&mut choice, 600, 1, |threads| if threads == 1 { 0.014 } else { 0.009 });
        assert!(used[1] > 400, "{used:?}");
    }

    #[test]
    fn one_core_has_one_choice() {
        let mut choice = ThreadChoice::new(1);
        assert_eq!(run(&mut choice, 50, 8, |_| 1.0), [50, 0, 0]);
    }
}
