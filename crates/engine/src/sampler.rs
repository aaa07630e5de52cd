//! Choosing the next token from the model's scores.
//!
//! Written here rather than taken from llama.cpp so that a choice depends on nothing but the scores, the settings
//! and the seed: the same request gives the same tokens alone, in a batch or streamed whenever the scores agree.
//! Order: penalties, constraint, temperature, top-k, top-p, min-p, draw.

use std::collections::HashMap;

use toktrie::SimpleVob;

/// How to choose. Temperature 0 is greedy, and then nothing below it but the penalties has a say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SamplerSettings {
    pub(crate) temperature: f32,
    pub(crate) top_p: f32,
    /// 0 keeps every token.
    pub(crate) top_k: usize,
    pub(crate) min_p: f32,
    /// Subtracted once from the score of a token already generated.
    pub(crate) presence_penalty: f32,
    /// Subtracted from a token's score as often as it has been generated.
    pub(crate) frequency_penalty: f32,
    pub(crate) seed: u64,
}

/// Scores this far under the best, in units of temperature, weigh less than 1e-11 and are dropped before sorting.
const NEGLIGIBLE: f32 = 25.0;

#[derive(Debug)]
pub(crate) struct Sampler {
    settings: SamplerSettings,
    step: u64,
    counts: HashMap<i32, u32>,
    candidates: Vec<(f32, i32)>,
}

impl Sampler {
    pub(crate) fn new(settings: SamplerSettings) -> Self {
        Self { settings, step: 0, counts: HashMap::new(), candidates: Vec::new() }
    }

    /// The next token among those allowed and not banned; `None` when no token has a finite score.
    pub(crate) fn pick(
        &mut self,
        logits: &[f32],
        allowed: Option<&SimpleVob>,
        banned: &[i32],
    ) -> Option<i32> {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        // Most tokens are far too unlikely to be drawn: only the rest is copied and sorted.
        let best = self.best(logits, allowed, banned);
        let picked = best.and_then(|best| {
            let temperature = self.settings.temperature;
            if temperature <= 0.0 {
                return Some(best.1);
            }
            let least = best.0 - NEGLIGIBLE * temperature;
            self.each(logits, allowed, banned, |score, token| {
                if score >= least {
                    candidates.push((score, token));
                }
            });
            self.draw(best, &mut candidates)
        });
        self.step += 1;
        self.candidates = candidates;
        picked
    }

    /// The first of the best.
    fn best(&self, logits: &[f32], allowed: Option<&SimpleVob>, banned: &[i32]) -> Option<(f32, i32)> {
        let mut best: Option<(f32, i32)> = None;
        self.each(logits, allowed, banned, |score, token| {
            if best.is_none_or(|best| score > best.0) {
                best = Some((score, token));
            }
        });
        best
    }

    /// Every token that may be chosen, with its score.
    fn each(
        &self,
        logits: &[f32],
        allowed: Option<&SimpleVob>,
        banned: &[i32],
        mut offer: impl FnMut(f32, i32),
    ) {
        let penalised = self.settings.presence_penalty != 0.0 || self.settings.frequency_penalty != 0.0;
        let mut look = |token: i32, logit: f32| {
            let score = if penalised { logit - self.penalty(token) } else { logit };
            if score.is_finite() && !banned.contains(&token) {
                offer(score, token);
            }
        };
        match allowed {
            Some(mask) => mask.iter().for_each(|token| {
                if let (Some(&logit), Ok(token)) = (logits.get(token as usize), i32::try_from(token)) {
                    look(token, logit);
                }
            }),
            None => (0..).zip(logits).for_each(|(token, logit)| look(token, *logit)),
        }
    }

    /// Counts a generated token for the penalties.
    pub(crate) fn accept(&mut self, token: i32) {
        *self.counts.entry(token).or_default() += 1;
    }

    #[allow(clippy::cast_precision_loss)]
    fn penalty(&self, token: i32) -> f32 {
        self.counts.get(&token).map_or(0.0, |&count| {
            self.settings.presence_penalty + self.settings.frequency_penalty * count as f32
        })
    }

    fn draw(&self, best: (f32, i32), candidates: &mut Vec<(f32, i32)>) -> Option<i32> {
        let SamplerSettings { temperature, top_p, top_k, min_p, .. } = self.settings;
        let descending = |a: &(f32, i32), b: &(f32, i32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if top_k > 0 && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, descending);
            candidates.truncate(top_k);
        }
        candidates.sort_unstable_by(descending);
        for (score, _) in candidates.iter_mut() {
            *score = ((*score - best.0) / temperature).exp();
        }
        let total: f32 = candidates.iter().map(|(weight, _)| weight).sum();
        let mut kept = 0.0;
        let mut length = 0;
        for (weight, _) in candidates.iter() {
            if length > 0 && (kept >= top_p * total || *weight < min_p) {
                break;
            }
            kept += weight;
            length += 1;
        }
        candidates.truncate(length);
        // Gumbel's trick: the largest sum of logarithm and noise is a draw by weight. The noise belongs to the seed,
        // the step and the token, so a last digit of a score changes the draw only where two sums are all but equal.
        let step = self.step;
        let sum = |(weight, token): (f32, i32)| weight.ln() + gumbel(self.settings.seed, step, token);
        candidates
            .iter()
            .copied()
            .map(|candidate| (sum(candidate), candidate.1))
            .reduce(better)
            .map(|best| best.1)
    }
}

fn better(best: (f32, i32), next: (f32, i32)) -> (f32, i32) {
    if next.0 > best.0 { next } else { best }
}

/// A standard Gumbel variate that depends on nothing but its arguments. The mixing is Sebastiano Vigna's SplitMix64:
/// the same on every version of every crate, which is what a seed promises.
#[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn gumbel(seed: u64, step: u64, token: i32) -> f32 {
    let mix = |value: u64| {
        let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let bits = mix(mix(mix(seed) ^ step) ^ u64::from(token as u32));
    // In 0..1 without the ends, with the 23 bits that leave a float exact.
    let uniform = ((bits >> 41) as f32 + 0.5) / 8_388_608.0;
    -(-uniform.ln()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SamplerSettings {
        SamplerSettings {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 7,
        }
    }

    fn shares(settings: SamplerSettings, logits: &[f32]) -> Vec<f32> {
        let mut sampler = Sampler::new(settings);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.pick(logits, None, &[]).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_best_and_the_first_of_equals() {
        let mut sampler = Sampler::new(SamplerSettings { temperature: 0.0, ..settings() });
        assert_eq!(sampler.pick(&[0.5, 2.0, 2.0, -1.0], None, &[]), Some(1));
        assert_eq!(sampler.pick(&[0.5, 2.0, 2.0, -1.0], None, &[1]), Some(2));
        assert_eq!(sampler.pick(&[f32::NAN, f32::NEG_INFINITY], None, &[]), None);
    }

    #[test]
    fn drawn_shares_follow_the_softmax_and_temperature_sharpens_them() {
        let logits = [1.0_f32, 0.0, 2.0];
        let total: f32 = logits.iter().map(|l| l.exp()).sum();
        for (share, logit) in shares(settings(), &logits).iter().zip(logits) {
            assert!((share - logit.exp() / total).abs() < 0.015, "{share} for {logit}");
        }
        let sharp = shares(SamplerSettings { temperature: 0.5, ..settings() }, &logits);
        let total: f32 = logits.iter().map(|l| (l * 2.0).exp()).sum();
        assert!((sharp[2] - 4.0_f32.exp() / total).abs() < 0.015);
    }

    #[test]
    fn top_k_top_p_and_min_p_cut_the_tail() {
        let logits = [3.0, 2.0, 1.0, 0.0];
        assert_eq!(shares(SamplerSettings { top_k: 2, ..settings() }, &logits)[2..], [0.0, 0.0]);
        // Shares are .64, .24, .09, .03: .7 is reached by the second token.
        assert_eq!(shares(SamplerSettings { top_p: 0.7, ..settings() }, &logits)[2..], [0.0, 0.0]);
        assert_eq!(shares(SamplerSettings { top_p: 0.0, ..settings() }, &logits)[1..], [0.0; 3]);
        assert_eq!(shares(SamplerSettings { min_p: 0.2, ..settings() }, &logits)[2..], [0.0, 0.0]);
    }

    #[test]
    fn penalties_and_the_mask_change_the_choice() {
        let mut sampler =
            Sampler::new(SamplerSettings { temperature: 0.0, frequency_penalty: 0.6, ..settings() });
        let logits = [2.0, 1.0];
        sampler.accept(0);
        assert_eq!(sampler.pick(&logits, None, &[]), Some(0));
        sampler.accept(0);
        assert_eq!(sampler.pick(&logits, None, &[]), Some(1));
        let mut mask = SimpleVob::alloc(2);
        mask.allow_token(0);
        assert_eq!(sampler.pick(&logits, Some(&mask), &[]), Some(0));
    }

    #[test]
    fn a_seed_repeats_its_draws_and_another_differs() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32 / 3.0).collect();
        let draws = |seed| {
            let mut sampler = Sampler::new(SamplerSettings { seed, ..settings() });
            (0..40).map(|_| sampler.pick(&logits, None, &[]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }
}
