//! What of a request is judged.

use std::collections::HashMap;
use std::ops::Range;

use craton_backend::{Block, ChatRequest};
use craton_guardrails::{Piece, Qualifier};
use craton_wire::ApiError;

use super::{Marked, Place, strings};
use crate::documents;

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
            _ => self.whole_messages,
        }
    }
}

/// What the documents of a request say, by where they are.
pub(super) type Read = HashMap<Place, String>;

/// Reads the documents of a request: guardrails that nobody may pass by look into them.
pub(super) async fn read(request: &ChatRequest) -> Result<Read, ApiError> {
    let mut read = Read::new();
    for place in places(request) {
        if let Some(Block::Document(document)) = block_at(request, place) {
            read.insert(place, documents::read(document).await?);
        }
    }
    Ok(read)
}

/// Every block of the messages, those within tool results too.
fn places(request: &ChatRequest) -> Vec<Place> {
    let mut places = Vec::new();
    for (message, it) in request.messages.iter().enumerate() {
        for (block, it) in it.content.iter().enumerate() {
            places.push(Place::Message(message, block));
            if let Block::ToolResult(result) = it {
                places.extend((0..result.content.len()).map(|part| Place::Part(message, block, part)));
            }
        }
    }
    places
}

/// The texts to judge and where each is. `read` is what of documents is known.
pub(super) fn pieces(
    reach: Reach,
    marked: &[Marked],
    (request, read): (&ChatRequest, &Read),
) -> (Vec<Origin>, Vec<Piece>) {
    let mut origins = Vec::new();
    let mut pieces = Vec::new();
    let mut add = |place: Place, range: Option<Range<usize>>, text: &str, qualifiers: &[Qualifier]| {
        let range = range.unwrap_or(0..text.len());
        if let Some(part) = text.get(range.clone()).filter(|part| !part.is_empty()) {
            pieces.push(Piece { text: part.to_owned(), qualifiers: qualifiers.to_vec() });
            origins.push((place, range));
        }
    };
    for mark in marked.iter().filter(|mark| !reach.ignores(mark)) {
        if let Some(text) = text_at(request, mark.place) {
            add(mark.place, mark.range.clone(), text, &mark.qualifiers);
        }
    }
    if reach.whole_system {
        for place in (0..request.system.len()).map(Place::System) {
            add(place, None, text_at(request, place).unwrap_or_default(), &[]);
        }
    }
    if reach.whole_messages {
        for place in places(request) {
            match block_at(request, place) {
                Some(Block::Text(text)) => add(place, None, text, &[]),
                Some(Block::ToolUse(call)) => add(place, None, &strings::joined(&call.input), &[]),
                Some(Block::Document(_)) => {
                    add(place, None, read.get(&place).map_or("", String::as_str), &[]);
                }
                _ => {}
            }
        }
    } else if !marked.iter().any(|mark| !matches!(mark.place, Place::System(_))) {
        for place in places(request).into_iter().filter(|it| matches!(it, Place::Message(..))) {
            add(place, None, text_at(request, place).unwrap_or_default(), &[]);
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

fn block_at(request: &ChatRequest, place: Place) -> Option<&Block> {
    match place {
        Place::System(index) => request.system.get(index),
        Place::Message(message, block) => request.messages.get(message)?.content.get(block),
        Place::Part(message, block, part) => match request.messages.get(message)?.content.get(block)? {
            Block::ToolResult(result) => result.content.get(part),
            _ => None,
        },
    }
}

fn block_at_mut(request: &mut ChatRequest, place: Place) -> Option<&mut Block> {
    match place {
        Place::System(index) => request.system.get_mut(index),
        Place::Message(message, block) => request.messages.get_mut(message)?.content.get_mut(block),
        Place::Part(message, block, part) => {
            match request.messages.get_mut(message)?.content.get_mut(block)? {
                Block::ToolResult(result) => result.content.get_mut(part),
                _ => None,
            }
        }
    }
}

fn text_at(request: &ChatRequest, place: Place) -> Option<&str> {
    match block_at(request, place) {
        Some(Block::Text(text)) => Some(text),
        _ => None,
    }
}

/// Puts placeholders into the request, and moves the marks behind them along. A document with some becomes plain text.
pub(super) fn mask(
    origins: &[Origin],
    masks: &[Vec<(Range<usize>, String)>],
    marked: &mut [Marked],
    (request, read): (&mut ChatRequest, &mut Read),
) {
    // From the back, so that earlier places stay where they are.
    for ((place, range), masks) in origins.iter().zip(masks).rev().filter(|(_, masks)| !masks.is_empty()) {
        match block_at_mut(request, *place) {
            Some(Block::Text(text)) => replace(text, (*place, range.start), masks, marked),
            Some(Block::Document(document)) => {
                let Some(text) = read.get_mut(place) else { continue };
                replace(text, (*place, 0), masks, marked);
                document.bytes = text.clone().into_bytes().into();
                "txt".clone_into(&mut document.format);
            }
            Some(Block::ToolUse(call)) => strings::replace(&mut call.input, masks),
            _ => {}
        }
    }
}

fn replace(
    text: &mut String,
    (place, start): (Place, usize),
    masks: &[(Range<usize>, String)],
    marked: &mut [Marked],
) {
    for (spot, placeholder) in masks.iter().rev() {
        let spot = start + spot.start..start + spot.end;
        if text.get(spot.clone()).is_none() {
            continue;
        }
        text.replace_range(spot.clone(), placeholder);
        for mark in marked.iter_mut().filter(|mark| mark.place == place) {
            if let Some(range) = &mut mark.range {
                let moved = |at: usize| if at >= spot.end { at - spot.len() + placeholder.len() } else { at };
                *range = moved(range.start)..moved(range.end);
            }
        }
    }
}
