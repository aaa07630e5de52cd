//! Which slots have which attributes, by key, type and value: a filter becomes a set of slots without looking at rows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use smallvec::SmallVec;

use super::bits::Bits;
use crate::{Filter, MetadataValue};

/// Slots with one value, ascending. Most values of large columns (ids, URIs) belong to few slots.
type Slots = SmallVec<[u32; 4]>;

#[derive(Debug, Default)]
pub(super) struct Postings {
    columns: HashMap<String, Column>,
}

/// All values of one attribute.
#[derive(Debug, Default)]
struct Column {
    present: Bits,
    texts: BTreeMap<String, Slots>,
    /// By [`order`] of the number.
    numbers: BTreeMap<u64, Slots>,
    booleans: [Bits; 2],
    lists: HashMap<Vec<String>, Slots>,
    members: BTreeMap<String, Slots>,
}

impl Postings {
    /// Slots come in ascending order.
    pub(super) fn insert(&mut self, slot: u32, attributes: BTreeMap<String, MetadataValue>) {
        for (key, value) in attributes {
            let column = self.columns.entry(key).or_default();
            column.present.insert(slot);
            match value {
                MetadataValue::Boolean(value) => column.booleans[usize::from(value)].insert(slot),
                MetadataValue::Number(value) => column.numbers.entry(order(value)).or_default().push(slot),
                MetadataValue::Text(value) => column.texts.entry(value).or_default().push(slot),
                MetadataValue::List(mut members) => {
                    column.lists.entry(members.clone()).or_default().push(slot);
                    members.sort_unstable();
                    members.dedup();
                    for member in members {
                        column.members.entry(member).or_default().push(slot);
                    }
                }
            }
        }
    }

    /// Slots that pass. May hold slots that are gone; the caller intersects with those alive.
    pub(super) fn resolve(&self, filter: &Filter, alive: &Bits) -> Bits {
        match filter {
            Filter::AndAll(parts) => {
                let mut all = alive.clone();
                for part in parts {
                    all.intersect(&self.resolve(part, alive));
                }
                all
            }
            Filter::OrAll(parts) => {
                let mut any = Bits::default();
                for part in parts {
                    any.unite(&self.resolve(part, alive));
                }
                any
            }
            leaf => leaf
                .key()
                .and_then(|key| self.columns.get(key))
                .map_or_else(Bits::default, |column| column.resolve(leaf)),
        }
    }
}

impl Column {
    fn resolve(&self, leaf: &Filter) -> Bits {
        match leaf {
            Filter::Equals(_, value) => self.with(value),
            Filter::NotEquals(_, value) => self.without(std::slice::from_ref(value)),
            Filter::In(_, values) => self.any_of(values),
            Filter::NotIn(_, values) => self.without(values),
            Filter::GreaterThan(_, bound) => self.between(Bound::Excluded(*bound), Bound::Unbounded),
            Filter::GreaterThanOrEquals(_, bound) => self.between(Bound::Included(*bound), Bound::Unbounded),
            Filter::LessThan(_, bound) => self.between(Bound::Unbounded, Bound::Excluded(*bound)),
            Filter::LessThanOrEquals(_, bound) => self.between(Bound::Unbounded, Bound::Included(*bound)),
            Filter::StartsWith(_, prefix) => {
                let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
                let run = self.texts.range::<str, _>(from).take_while(|(text, _)| text.starts_with(prefix));
                collect(run.map(|(_, slots)| slots))
            }
            Filter::ListContains(_, member) => collect(self.members.get(member).into_iter()),
            Filter::StringContains(_, part) => {
                let values = self.texts.iter().chain(&self.members);
                let hits = values.filter(|(text, _)| text.contains(part.as_str()));
                collect(hits.map(|(_, slots)| slots))
            }
            Filter::AndAll(_) | Filter::OrAll(_) => Bits::default(),
        }
    }

    fn with(&self, value: &MetadataValue) -> Bits {
        match value {
            MetadataValue::Boolean(value) => self.booleans[usize::from(*value)].clone(),
            MetadataValue::Number(value) => collect(self.numbers.get(&order(*value)).into_iter()),
            MetadataValue::Text(value) => collect(self.texts.get(value).into_iter()),
            MetadataValue::List(value) => collect(self.lists.get(value).into_iter()),
        }
    }

    fn any_of(&self, values: &[MetadataValue]) -> Bits {
        let mut any = Bits::default();
        values.iter().for_each(|value| any.unite(&self.with(value)));
        any
    }

    fn without(&self, values: &[MetadataValue]) -> Bits {
        let mut rest = self.present.clone();
        rest.subtract(&self.any_of(values));
        rest
    }

    fn between(&self, from: Bound<f64>, to: Bound<f64>) -> Bits {
        let (from, to) = (from.map(order), to.map(order));
        collect(self.numbers.range((from, to)).map(|(_, slots)| slots))
    }
}

fn collect<'a>(postings: impl Iterator<Item = &'a Slots>) -> Bits {
    postings.flat_map(|slots| slots.iter().copied()).collect()
}

/// An integer that orders as the number does; both zeros are one.
fn order(number: f64) -> u64 {
    let bits = if number == 0.0 { 0 } else { number.to_bits() };
    if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = MetadataValue> {
        prop_oneof![
            any::<bool>().prop_map(MetadataValue::Boolean),
            prop_oneof![Just(0.0), Just(-0.0), Just(-3.5), Just(2.0), Just(1e9)]
                .prop_map(MetadataValue::Number),
            "[ab]{0,3}".prop_map(MetadataValue::Text),
            prop::collection::vec("[ab]{1,2}", 0..3).prop_map(MetadataValue::List),
        ]
    }

    fn leaf() -> impl Strategy<Value = Filter> {
        let key = prop_oneof![Just("x".to_owned()), Just("y".to_owned())];
        let number = prop_oneof![Just(0.0), Just(-3.5), Just(1.0), Just(2.0)];
        let text = "[ab]{0,2}";
        (0..11, key, value(), number, text, prop::collection::vec(value(), 0..3)).prop_map(
            |(which, key, value, number, text, values)| match which {
                0 => Filter::Equals(key, value),
                1 => Filter::NotEquals(key, value),
                2 => Filter::GreaterThan(key, number),
                3 => Filter::GreaterThanOrEquals(key, number),
                4 => Filter::LessThan(key, number),
                5 => Filter::LessThanOrEquals(key, number),
                6 => Filter::In(key, values),
                7 => Filter::NotIn(key, values),
                8 => Filter::StartsWith(key, text),
                9 => Filter::ListContains(key, text),
                _ => Filter::StringContains(key, text),
            },
        )
    }

    fn filter() -> impl Strategy<Value = Filter> {
        leaf().prop_recursive(3, 12, 3, |inner| {
            let parts = prop::collection::vec(inner, 0..3);
            (any::<bool>(), parts)
                .prop_map(|(and, parts)| if and { Filter::AndAll(parts) } else { Filter::OrAll(parts) })
        })
    }

    proptest! {
        #[test]
        fn sets_agree_with_matching(
            rows in prop::collection::vec(prop::collection::btree_map("[xy]", value(), 0..3), 1..20),
            filter in filter(),
        ) {
            let mut postings = Postings::default();
            for (slot, row) in (0_u32..).zip(&rows) {
                postings.insert(slot, row.clone());
            }
            let alive = Bits::below(rows.len());
            let found: Vec<u32> = postings.resolve(&filter, &alive).iter().collect();
            let expected: Vec<u32> =
                (0_u32..).zip(&rows).filter(|(_, row)| filter.matches(row)).map(|(slot, _)| slot).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
