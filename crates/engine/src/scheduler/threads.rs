//! How many threads compute a step.
//!
//! Threads meet at a barrier after every operation. On an idle machine more of them are faster; when other work
//! holds a core for a moment, all of them wait for the one that lost it, and a small model's step of 10 ms becomes
//! 200 ms. No fixed number serves both, and load changes by the second, so the time of every step is watched: each
//! size of step uses the count that was fastest lately and now and then tries another, the more rarely the worse it
//! did.

/// Weight of the newest measurement where it is the slower one.
const NEWEST: f64 = 0.3;
/// Steps between tries of a count that is as fast as the best.
const TRY_EVERY: f64 = 8.0;
const TRY_AT_LEAST_EVERY: f64 = 1024.0;
/// Steps of a size before a count that it never used is tried.
const FIRST_TRY_AFTER: u64 = 3;

/// Steps of about the same number of tokens.
#[derive(Debug, Clone, Default)]
struct SizeClass {
    steps: u64,
    /// For each choice: seconds a token, and the step it was last used at.
    seen: Vec<Option<(f64, u64)>>,
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
        let class = SizeClass { steps: 0, seen: vec![None; counts.len()] };
        Self { counts, classes: vec![class; 17] }
    }

    fn class_of(tokens: usize) -> usize {
        tokens.max(1).ilog2().min(16) as usize
    }

    /// Threads for a step of `tokens` tokens.
    pub(crate) fn next(&self, tokens: usize) -> i32 {
        let Some(class) = self.classes.get(Self::class_of(tokens)) else { return 1 };
        let at = class.due().or_else(|| class.best()).unwrap_or(self.counts.len() - 1);
        self.counts.get(at).copied().unwrap_or(1)
    }

    /// A step of `tokens` tokens took this long with this many threads.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn record(&mut self, tokens: usize, threads: i32, seconds: f64) {
        let Some(at) = self.counts.iter().position(|count| *count == threads) else { return };
        let Some(class) = self.classes.get_mut(Self::class_of(tokens)) else { return };
        class.steps += 1;
        let each = seconds / tokens.max(1) as f64;
        if let Some(seen) = class.seen.get_mut(at) {
            // What else the machine does makes steps slower and never faster: one fast step says what the count can do.
            let smoothed = seen.map_or(each, |(before, _)| each.min(before + NEWEST * (each - before)));
            *seen = Some((smoothed, class.steps));
        }
    }
}

impl SizeClass {
    fn best(&self) -> Option<usize> {
        let known = self.seen.iter().enumerate().filter_map(|(at, seen)| seen.map(|(each, _)| (at, each)));
        known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
    }

    /// A choice that it is time to try again: one never tried, or one not tried for long.
    #[allow(clippy::cast_precision_loss)]
    fn due(&self) -> Option<usize> {
        let best = self.best()?;
        let fastest = self.seen.get(best).copied().flatten()?.0;
        self.seen.iter().position(|seen| match seen {
            None => self.steps >= FIRST_TRY_AFTER,
            Some((each, used_at)) => {
                let ratio = (each / fastest.max(f64::MIN_POSITIVE)).min(100.0);
                (self.steps - used_at) as f64 > (TRY_EVERY * ratio * ratio).min(TRY_AT_LEAST_EVERY)
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
        // Other sizes learn for themselves.
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
    fn one_core_has_one_choice() {
        let mut choice = ThreadChoice::new(1);
        assert_eq!(run(&mut choice, 50, 8, |_| 1.0), [50, 0, 0]);
    }
}
