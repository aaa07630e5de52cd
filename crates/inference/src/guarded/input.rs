//! What of a request is judged.

use std::ops::Range;

use craton_backend::{Block, ChatRequest};
use craton_guardrails::{Piece, Qualifier};

use super::{Marked, Place};

/// Where a piece came from.
pub(super) type Origin = (Place, Range<usize>);

/// What of a request a guardrail judges whatever the client marked. By default nothing: marked content of the system
/// prompt, and of the messages what is marked, or every text where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reach {
    pub whole_system: bool,
    pub whole_messages: bool,
}

impl Reach {
    /// What one or the other judges.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            whole_system: self.whole_system || other.whole_system,
            whole_messages: self.whole_messages || other.whole_messages,
        }
    }

    fn ignores(self, mark: &Marked) -> bool {
        match mark.place {
            Place::System(_) => self.whole_system,
            Place::Message(..) => self.whole_messages,
        }
    }
}

/// The texts to judge and where each is.
pub(super) fn pieces(reach: Reach, marked: &[Marked], request: &ChatRequest) -> (Vec<Origin>, Vec<Piece>) {
    let mut origins = Vec::new();
    let mut pieces = Vec::new();
    let mut add = |place: Place, range: Option<Range<usize>>, qualifiers: &[Qualifier]| {
        if let Some(text) = text_at(request, place) {
            let range = range.unwrap_or(0..text.len());
            if let Some(part) = text.get(range.clone()).filter(|part| !part.is_empty()) {
                pieces.push(Piece { text: part.to_owned(), qualifiers: qualifiers.to_vec() });
                origins.push((place, range));
            }
        }
    };
    for mark in marked.iter().filter(|mark| !reach.ignores(mark)) {
        add(mark.place, mark.range.clone(), &mark.qualifiers);
    }
    if reach.whole_system {
        for block in 0..request.system.len() {
            add(Place::System(block), None, &[]);
        }
    }
    if reach.whole_messages || !marked.iter().any(|mark| matches!(mark.place, Place::Message(..))) {
        for (message, it) in request.messages.iter().enumerate() {
            for block in 0..it.content.len() {
                add(Place::Message(message, block), None, &[]);
            }
        }
    }
    (origins, pieces)
}

/// Sources and queries that answers are held against.
pub(super) fn grounding_context(marked: &[Marked], request: &ChatRequest) -> Vec<Piece> {
    let mut context = Vec::new();
    for mark in marked {
        let qualifiers: Vec<Qualifier> =
            mark.qualifiers.iter().copied().filter(|it| *it != Qualifier::GuardContent).collect();
        if let Some(text) = text_at(request, mark.place).filter(|_| !qualifiers.is_empty()) {
            let range = mark.range.clone().unwrap_or(0..text.len());
            context.push(Piece { text: text.get(range).unwrap_or_default().to_owned(), qualifiers });
        }
    }
    context
}

fn text_at(request: &ChatRequest, place: Place) -> Option<&str> {
    let block = match place {
        Place::System(index) => request.system.get(index),
        Place::Message(message, block) => request.messages.get(message)?.content.get(block),
    };
    match block {
        Some(Block::Text(text)) => Some(text),
        _ => None,
    }
}

fn text_at_mut(request: &mut ChatRequest, place: Place) -> Option<&mut String> {
    let block = match place {
        Place::System(index) => request.system.get_mut(index),
        Place::Message(message, block) => request.messages.get_mut(message)?.content.get_mut(block),
    };
    match block {
        Some(Block::Text(text)) => Some(text),
        _ => None,
    }
}

/// Puts placeholders into the request, and moves the marks behind them along.
pub(super) fn mask(
    origins: &[Origin],
    masks: &[Vec<(Range<usize>, String)>],
    marked: &mut [Marked],
    request: &mut ChatRequest,
) {
    // From the back, so that earlier places stay where they are.
    for ((place, range), masks) in origins.iter().zip(masks).rev() {
        let Some(text) = text_at_mut(request, *place) else { continue };
        for (spot, placeholder) in masks.iter().rev() {
            let spot = range.start + spot.start..range.start + spot.end;
            if text.get(spot.clone()).is_none() {
                continue;
            }
            text.replace_range(spot.clone(), placeholder);
            for mark in marked.iter_mut().filter(|mark| mark.place == *place) {
                if let Some(range) = &mut mark.range {
                    let moved =
                        |at: usize| if at >= spot.end { at - spot.len() + placeholder.len() } else { at };
                    *range = moved(range.start)..moved(range.end);
                }
            }
        }
    }
}
