//! Stop sequences for upstreams that may not keep to them: some servers ignore `stop`, or take four of them and no more.
//!
//! Text is passed on as far as no stop sequence can begin in it. Where one comes up the answer ends, and so does the
//! upstream's work. Of an upstream that does keep to them nothing is ever held back for long.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use craton_backend::{
    BackendError, ChatEvent, ChatStream, Delta, Finished, StopReason, Usage, first_stop, possible_prefix,
};
use futures::Stream;
use serde_json::Value;

use crate::estimate;

/// An answer that ends at the first of its stop sequences.
pub(crate) struct Stops {
    /// `None` once there is nothing more to come.
    answer: Option<ChatStream>,
    stops: Vec<String>,
    /// The whole answer is here already: what it cost is at its end.
    whole: bool,
    /// What is known of the cost before the end.
    usage: Usage,
    /// Text that may begin a stop sequence.
    held: String,
    text_bytes: usize,
    stopped_by: Option<String>,
    events: VecDeque<ChatEvent>,
}

impl Stops {
    /// `usage` is the request's estimated size, for an answer that is cut short before the upstream has told.
    pub(crate) fn keep(answer: ChatStream, stops: Vec<String>, usage: Usage, whole: bool) -> ChatStream {
        if stops.is_empty() {
            return answer;
        }
        Box::pin(Self {
            answer: Some(answer),
            stops,
            whole,
            usage,
            held: String::new(),
            text_bytes: 0,
            stopped_by: None,
            events: VecDeque::new(),
        })
    }

    fn take(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Finished(finished) if self.stopped_by.is_some() => {
                self.finish(finished.usage, finished.extra);
            }
            _ if self.stopped_by.is_some() => {}
            ChatEvent::Started { usage } => {
                if usage.input_tokens > 0 {
                    self.usage = usage;
                }
                self.events.push_back(ChatEvent::Started { usage });
            }
            ChatEvent::BlockDelta { index, delta: Delta::Text(text) } => self.text(index, &text),
            ChatEvent::BlockStop { index } => {
                let rest = std::mem::take(&mut self.held);
                self.release(index, rest);
                self.events.push_back(ChatEvent::BlockStop { index });
            }
            other => self.events.push_back(other),
        }
    }

    fn text(&mut self, index: u32, text: &str) {
        self.held.push_str(text);
        if let Some((at, stop)) = first_stop(&self.held, &self.stops) {
            self.stopped_by = Some(stop.to_owned());
            self.held.truncate(at);
            let rest = std::mem::take(&mut self.held);
            self.release(index, rest);
            self.events.push_back(ChatEvent::BlockStop { index });
            if !self.whole {
                let output_tokens = estimate::tokens_of(self.text_bytes);
                self.finish(Usage { output_tokens, ..self.usage }, Value::Null);
            }
            return;
        }
        let needles: Vec<&str> = self.stops.iter().map(String::as_str).collect();
        let keep = possible_prefix(&self.held, &needles);
        let free = self.held.drain(..self.held.len() - keep).collect();
        self.release(index, free);
    }

    fn release(&mut self, index: u32, text: String) {
        if !text.is_empty() {
            self.text_bytes += text.len();
            self.events.push_back(ChatEvent::BlockDelta { index, delta: Delta::Text(text) });
        }
    }

    /// Dropping what is left of the answer ends the upstream's work.
    fn finish(&mut self, usage: Usage, extra: Value) {
        self.answer = None;
        let stop_sequence = self.stopped_by.take();
        self.events.push_back(ChatEvent::Finished(Finished {
            reason: StopReason::StopSequence,
            stop_sequence,
            usage,
            extra,
        }));
    }
}

impl Stream for Stops {
    type Item = Result<ChatEvent, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.events.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(answer) = &mut this.answer else { return Poll::Ready(None) };
            match std::task::ready!(answer.as_mut().poll_next(cx)) {
                Some(Ok(event)) => this.take(event),
                Some(Err(error)) => {
                    this.answer = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => this.answer = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use craton_backend::BlockStart;
    use craton_backend::contract::Order;
    use futures::StreamExt as _;

    use super::*;

    /// The text and the end of an answer that came in these pieces.
    fn answer(pieces: &[&str], stops: &[&str], whole: bool) -> (String, Finished) {
        let delta = |text: &&str| ChatEvent::BlockDelta { index: 0, delta: Delta::Text((*text).to_owned()) };
        let mut events = vec![
            ChatEvent::Started { usage: Usage { input_tokens: 5, ..Usage::default() } },
            ChatEvent::BlockStart { index: 0, block: BlockStart::Text },
        ];
        events.extend(pieces.iter().map(delta));
        events.push(ChatEvent::BlockStop { index: 0 });
        events.push(ChatEvent::Finished(Finished {
            reason: StopReason::EndTurn,
            stop_sequence: None,
            usage: Usage { input_tokens: 5, output_tokens: 77, ..Usage::default() },
            extra: Value::Null,
        }));
        let upstream = Box::pin(futures::stream::iter(events.into_iter().map(Ok)));
        let stops = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let kept = Stops::keep(upstream, stops, Usage::default(), whole);
        let (mut order, mut text, mut last) = (Order::default(), String::new(), None);
        for event in futures::executor::block_on(kept.collect::<Vec<_>>()) {
            let event = event.unwrap();
            match &event {
                ChatEvent::BlockDelta { delta: Delta::Text(piece), .. } => text.push_str(piece),
                ChatEvent::Finished(finished) => last = Some(finished.clone()),
                _ => {}
            }
            order.event(event).unwrap();
        }
        order.end().unwrap();
        (text, last.unwrap())
    }

    #[test]
    fn an_answer_ends_at_a_stop_sequence_that_its_upstream_passed_over() {
        let (text, finished) = answer(&["abc", "de", "fS", "T", "O", "P", "ghi"], &["STOP"], false);
        assert_eq!((text.as_str(), finished.reason), ("abcdef", StopReason::StopSequence));
        assert_eq!(finished.stop_sequence.as_deref(), Some("STOP"));
        assert_eq!((finished.usage.input_tokens, finished.usage.output_tokens), (5, 2));
        let (text, finished) = answer(&["STOP and go"], &["never", "STOP"], true);
        assert_eq!((text.as_str(), finished.usage.output_tokens), ("", 77));
    }

    #[test]
    fn what_only_began_like_one_is_passed_on() {
        let (text, finished) = answer(&["a ST", "AR, a STO"], &["STOP", "STORM"], false);
        assert_eq!((text.as_str(), finished.reason), ("a STAR, a STO", StopReason::EndTurn));
        assert_eq!((finished.stop_sequence, finished.usage.output_tokens), (None, 77));
    }

    proptest::proptest! {
        #[test]
        fn cutting_the_text_elsewhere_changes_nothing(text in "[abc]{0,24}", cuts: [u8; 3], stops in proptest::collection::vec("[abc]{1,3}", 1..4)) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut at: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) % (text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<&str> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (cut, finished) = answer(&pieces, &stops, true);
            let (uncut, same) = answer(&[&text], &stops, true);
            proptest::prop_assert_eq!((&cut, &finished.stop_sequence), (&uncut, &same.stop_sequence));
            proptest::prop_assert!(stops.iter().all(|stop| !cut.contains(stop)));
        }
    }
}
