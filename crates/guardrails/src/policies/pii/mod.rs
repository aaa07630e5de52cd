//! Personally identifiable information: the API's 31 types, and regexes of the guardrail's own.
//!
//! Most types are a pattern, a check that the characters can be what they look like (a card number's Luhn digit, a
//! bank's country), and, where digits alone say little, words near by that say what they are. Names and places come
//! from the model in [`crate::ner`], together with what patterns know of them (titles, streets).
//!
//! Everything runs in time linear in the text: the patterns are of an engine without backtracking, and each candidate
//! is checked in a bounded number of steps.

pub mod custom;
mod glance;
mod names;
mod nobody;
mod numbers;
mod rules;
mod specs;
mod subjects;
pub mod tagger;
mod validators;

use std::ops::Range;
use std::sync::Arc;

use craton_api_bedrock::GuardrailPiiEntityType as Kind;
use glance::Glance;

use crate::ner::NameModel;
use crate::text::{View, closed, spoken};

/// Something found: what it is, and where in the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub range: Range<usize>,
    /// How sure the detector is, from 0 to 100.
    pub confidence: u8,
}

/// Finds the types that it was asked for.
#[derive(Debug, Clone)]
pub struct PiiDetector {
    kinds: Vec<Kind>,
    names: Option<Arc<NameModel>>,
}

impl PiiDetector {
    /// A detector of `kinds`. Without a model NAME and ADDRESS are found by patterns only.
    pub fn new(kinds: &[Kind], names: Option<Arc<NameModel>>) -> Self {
        Self { kinds: kinds.to_vec(), names }
    }

    /// Every type: for measuring, and for InvokeGuardrailChecks.
    pub fn all(names: Option<Arc<NameModel>>) -> Self {
        Self::new(Kind::ALL, names)
    }

    /// What the text has of the wanted types, in the order of the text; findings don't overlap.
    pub fn find(&self, text: &str) -> Vec<Finding> {
        let view = View::plain(text);
        let plain = view.text();
        let mut found = Vec::new();
        let glance = Glance::at(plain);
        self.find_by_rules(plain, &glance, &mut found);
        if self.wants(Kind::Name) || self.wants(Kind::Address) {
            names::find((plain, &glance), self.names.as_deref(), &self.kinds, &mut found);
        }
        bound_addresses(plain, &mut found);
        let mut found = settle(found);
        for finding in &mut found {
            finding.range = view.original(finding.range.clone());
        }
        // Numbers and addresses whose characters all stand apart, numbers that are read out, and what has accents or letters
        // of other alphabets that look the same.
        for other in [closed(&view), spoken(&view), View::bared(text)].into_iter().flatten() {
            let mut hidden = Vec::new();
            self.find_by_rules(other.text(), &Glance::at(other.text()), &mut hidden);
            hidden.iter_mut().for_each(|it| it.range = other.original(it.range.clone()));
            found.extend(hidden);
            found = settle(found);
        }
        found
    }

    fn find_by_rules(&self, plain: &str, glance: &Glance, found: &mut Vec<Finding>) {
        for (index, rule) in rules::rules().iter().enumerate() {
            if self.wants(rule.kind) && rule.may_match(index, glance) {
                rule.find(plain, found);
            }
        }
        if glance.has_digit() {
            numbers::find(plain, &self.kinds, found);
        }
    }

    fn wants(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// An address ends where something begins that was checked: a telephone number below it, an e-mail address, a card.
fn bound_addresses(text: &str, found: &mut Vec<Finding>) {
    let checked =
        |it: &Finding| !matches!(it.kind, Kind::Address | Kind::Name | Kind::Username | Kind::LicensePlate);
    let mut firm: Vec<Range<usize>> =
        found.iter().filter(|it| checked(it)).map(|it| it.range.clone()).collect();
    firm.sort_by_key(|range| (range.start, range.end));
    // None is longer than this, so what may touch an address begins at most so far before it.
    let longest = firm.iter().map(Range::len).max().unwrap_or(0);
    found.retain_mut(|finding| {
        if finding.kind != Kind::Address {
            return true;
        }
        let mut range = finding.range.clone();
        let from = firm.partition_point(|other| other.start + longest < finding.range.start);
        let near = firm[from..].iter().take_while(|other| other.start < finding.range.end);
        for other in near.filter(|other| finding.range.start < other.end) {
            if other.start <= range.start {
                range.start = range.start.max(other.end);
            } else {
                range.end = range.end.min(other.start);
            }
        }
        if range == finding.range {
            return true;
        }
        let kept = text.get(range.clone()).unwrap_or_default();
        let outside = [' ', ',', '\n', '('];
        let lead = kept.len() - kept.trim_start_matches(outside).len();
        let end = kept.trim_end_matches(outside).len().max(lead);
        finding.range = range.start + lead..range.start + end;
        // What a number was cut off has another, or is no address.
        names::is_address(kept)
            && kept.contains(|it: char| it.is_ascii_digit() || it == ',')
            && kept.chars().filter(|it| it.is_alphabetic()).count() > 3
    });
}

/// Where findings overlap, the surer one stays; of two that are equally sure the longer.
fn settle(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|it| (it.range.start, std::cmp::Reverse(it.range.end)));
    let mut kept: Vec<Finding> = Vec::with_capacity(found.len());
    for finding in found {
        let better = |a: &Finding, b: &Finding| (a.confidence, a.range.len()) > (b.confidence, b.range.len());
        match kept.last_mut() {
            // What two ways of finding a type see of one value is all of it.
            Some(last) if finding.range.start < last.range.end && finding.kind == last.kind => {
                last.range.end = last.range.end.max(finding.range.end);
                last.confidence = last.confidence.max(finding.confidence);
            }
            Some(last) if finding.range.start < last.range.end => {
                if better(&finding, last) {
                    *last = finding;
                }
            }
            _ => kept.push(finding),
        }
    }
    kept
}

#[cfg(test)]
mod tests;
