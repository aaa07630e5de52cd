//! The transitions: at each token the best valid one of begin, inside, last, unit (each with a label) and outside.

use craton_backend::dot;

use super::tokens::Token;
use super::{Entity, Label};

/// Places of the parser's state: the next token, the first of the open entity, the last before the next.
const PLACES: usize = 3;
const HIDDEN: usize = 64;
const PIECES: usize = 2;

#[derive(Debug)]
pub(super) struct Parser {
    labels: Vec<Label>,
    bias: Vec<f32>,
    pad: Vec<f32>,
    /// Classes by hidden units.
    upper: Vec<f32>,
    upper_bias: Vec<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Begin(usize),
    Inside(usize),
    Last(usize),
    Unit(usize),
    Outside,
}

impl Parser {
    pub(super) fn new(
        labels: &[String],
        bias: Vec<f32>,
        pad: Vec<f32>,
        upper: Vec<f32>,
        upper_bias: Vec<f32>,
    ) -> Option<Self> {
        let classes = labels.len() * 4 + 2;
        let fits = bias.len() == HIDDEN * PIECES
            && pad.len() == PLACES * HIDDEN * PIECES
            && upper.len() == classes * HIDDEN
            && upper_bias.len() == classes;
        let labels = labels.iter().map(|label| label_of(label)).collect();
        fits.then_some(Self { labels, bias, pad, upper, upper_bias })
    }

    /// `states` has, for each token, its part of the first layer in each place.
    pub(super) fn parse(&self, tokens: &[Token], states: &[f32]) -> Vec<Entity> {
        let mut found = Vec::new();
        let mut open: Option<(usize, usize)> = None;
        for at in 0..tokens.len() {
            let hidden = self.hidden(states, at, open.map(|(start, _)| start));
            let last = at + 1 == tokens.len();
            let best = self.best(&hidden, open.map(|(_, label)| label), last, tokens[at].is_space);
            let entity = |start: usize, label: usize| Entity {
                label: self.labels[label],
                range: tokens[start].range.start..tokens[at].range.end,
            };
            match best {
                Move::Begin(label) => open = Some((at, label)),
                Move::Inside(_) | Move::Outside => {}
                Move::Last(label) => {
                    if let Some((start, _)) = open.take() {
                        found.push(entity(start, label));
                    }
                }
                Move::Unit(label) => found.push(entity(at, label)),
            }
        }
        found
    }

    fn hidden(&self, states: &[f32], at: usize, open: Option<usize>) -> [f32; HIDDEN] {
        const WIDTH: usize = HIDDEN * PIECES;
        let mut sums = [0.0_f32; WIDTH];
        sums.copy_from_slice(&self.bias);
        let places = [Some(at), open, open.and_then(|_| at.checked_sub(1))];
        for (place, token) in places.into_iter().enumerate() {
            let part = match token {
                Some(token) => &states[(token * PLACES + place) * WIDTH..][..WIDTH],
                None => &self.pad[place * WIDTH..][..WIDTH],
            };
            sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        std::array::from_fn(|unit| sums[unit * PIECES].max(sums[unit * PIECES + 1]))
    }

    /// The valid move with the highest score; the first of equal ones. Scores of moves that are not valid are not computed.
    fn best(&self, hidden: &[f32; HIDDEN], open: Option<usize>, last: bool, space: bool) -> Move {
        let count = self.labels.len();
        let mut best = (Move::Outside, f32::NEG_INFINITY);
        let mut consider = |candidate: Move, class: usize| {
            let score = dot(&self.upper[class * HIDDEN..][..HIDDEN], hidden) + self.upper_bias[class];
            if score > best.1 {
                best = (candidate, score);
            }
        };
        match open {
            Some(label) => {
                if !last {
                    consider(Move::Inside(label), count + label);
                }
                consider(Move::Last(label), 2 * count + label);
            }
            None => {
                for label in 0..count {
                    if !last && !space {
                        consider(Move::Begin(label), label);
                    }
                }
                for label in 0..count {
                    if !space {
                        consider(Move::Unit(label), 3 * count + label);
                    }
                }
                consider(Move::Outside, 4 * count + 1);
            }
        }
        best.0
    }
}

fn label_of(name: &str) -> Label {
    match name {
        "PERSON" => Label::Person,
        "GPE" => Label::Place,
        "LOC" => Label::Location,
        "FAC" => Label::Facility,
        "ORG" => Label::Organisation,
        "DATE" => Label::Other("DATE"),
        "MONEY" => Label::Other("MONEY"),
        "CARDINAL" => Label::Other("CARDINAL"),
        "NORP" => Label::Other("NORP"),
        "PERCENT" => Label::Other("PERCENT"),
        "WORK_OF_ART" => Label::Other("WORK_OF_ART"),
        "TIME" => Label::Other("TIME"),
        "QUANTITY" => Label::Other("QUANTITY"),
        "EVENT" => Label::Other("EVENT"),
        "ORDINAL" => Label::Other("ORDINAL"),
        "PRODUCT" => Label::Other("PRODUCT"),
        "LAW" => Label::Other("LAW"),
        "LANGUAGE" => Label::Other("LANGUAGE"),
        _ => Label::Other("OTHER"),
    }
}

impl Label {
    /// The model's own name of the label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Person => "PERSON",
            Self::Place => "GPE",
            Self::Location => "LOC",
            Self::Facility => "FAC",
            Self::Organisation => "ORG",
            Self::Other(name) => name,
        }
    }
}
