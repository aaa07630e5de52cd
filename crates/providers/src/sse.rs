//! Server-sent events, parsed as their bytes arrive.
//!
//! Follows the WHATWG's event-stream rules (lines end in CR, LF or CRLF; a blank line ends an event; data lines join
//! with LF), with two differences: `id` and `retry` are ignored, and at the end of the stream an unfinished event is
//! given out, because some servers leave out the last blank line.

use bytes::{Bytes, BytesMut};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// The `event` field; empty if there was none.
    pub(crate) name: Bytes,
    pub(crate) data: Bytes,
}

/// The stream has a line, or an event, longer than the parser will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {0} bytes")]
pub(crate) struct TooLong(usize);

/// Feed it with [`push`](Self::push), then take events with [`next`](Self::next) until there are none.
///
/// A line that lies within one piece of input is sliced out of it without a copy; only a line that crosses from one
/// piece to the next is copied, once.
#[derive(Debug)]
pub(crate) struct SseParser {
    limit: usize,
    /// Input not looked at yet.
    input: Bytes,
    /// The head of a line whose end has not arrived.
    partial: BytesMut,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Nothing has been parsed yet, so there may be a byte order mark.
    at_start: bool,
    name: Bytes,
    data: Option<Bytes>,
}

impl SseParser {
    /// `limit`: the longest event in bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            input: Bytes::new(),
            partial: BytesMut::new(),
            after_cr: false,
            at_start: true,
            name: Bytes::new(),
            data: None,
        }
    }

    pub(crate) fn push(&mut self, piece: Bytes) {
        if self.input.is_empty() {
            self.input = piece;
        } else {
            let mut joined = BytesMut::with_capacity(self.input.len() + piece.len());
            joined.extend_from_slice(&self.input);
            joined.extend_from_slice(&piece);
            self.input = joined.freeze();
        }
    }

    /// The next complete event of what has been pushed.
    pub(crate) fn next(&mut self) -> Result<Option<SseEvent>, TooLong> {
        while let Some(line) = self.line()? {
            if let Some(event) = self.take_line(line)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The event that the end of the stream cut short, if any.
    pub(crate) fn finish(&mut self) -> Result<Option<SseEvent>, TooLong> {
        let rest = self.partial.split().freeze();
        if !rest.is_empty() {
            let rest = self.without_mark(rest);
            self.take_line(rest)?;
        }
        Ok(self.dispatch())
    }

    fn line(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.after_cr && !self.input.is_empty() {
            self.after_cr = false;
            if self.input[0] == b'\n' {
                self.input = self.input.slice(1..);
            }
        }
        let Some(end) = memchr::memchr2(b'\n', b'\r', &self.input) else {
            if self.partial.len() + self.input.len() > self.limit {
                return Err(TooLong(self.limit));
            }
            self.partial.extend_from_slice(&self.input);
            self.input = Bytes::new();
            return Ok(None);
        };
        self.after_cr = self.input[end] == b'\r';
        let head = self.input.split_to(end);
        self.input = self.input.slice(1..);
        if self.partial.len() + head.len() > self.limit {
            return Err(TooLong(self.limit));
        }
        let line = if self.partial.is_empty() {
            head
        } else {
            self.partial.extend_from_slice(&head);
            self.partial.split().freeze()
        };
        Ok(Some(self.without_mark(line)))
    }

    fn without_mark(&mut self, line: Bytes) -> Bytes {
        if !self.at_start {
            return line;
        }
        self.at_start = false;
        if line.starts_with("\u{feff}".as_bytes()) { line.slice(3..) } else { line }
    }

    fn take_line(&mut self, line: Bytes) -> Result<Option<SseEvent>, TooLong> {
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = match memchr::memchr(b':', &line) {
            Some(colon) => {
                let after = colon + 1;
                let space = usize::from(line.get(after) == Some(&b' '));
                (&line[..colon], line.slice(after + space..))
            }
            None => (&line[..], Bytes::new()),
        };
        match field {
            b"data" => {
                self.data = Some(match self.data.take() {
                    None => value,
                    Some(data) if data.len() + value.len() >= self.limit => return Err(TooLong(self.limit)),
                    Some(data) => {
                        // The first data line is copied when a second one comes; few streams have a second one.
                        let mut joined = data.try_into_mut().unwrap_or_else(|data| BytesMut::from(&data[..]));
                        joined.extend_from_slice(b"\n");
                        joined.extend_from_slice(&value);
                        joined.freeze()
                    }
                });
            }
            b"event" => self.name = value,
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let name = std::mem::take(&mut self.name);
        self.data.take().map(|data| SseEvent { name, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = SseParser::new(1 << 20);
        let mut events = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for piece in pieces {
            parser.push(Bytes::copy_from_slice(piece));
            while let Some(event) = parser.next().unwrap() {
                events.push((text(&event.name), text(&event.data)));
            }
        }
        if let Some(event) = parser.finish().unwrap() {
            events.push((text(&event.name), text(&event.data)));
        }
        events
    }

    fn event(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn splits_at_every_byte_give_the_same_events() {
        let stream = "\u{feff}: hello\r\nevent: a\r\ndata: {\"x\":1}\r\n\r\ndata:two\rdata\rdata:  three\r\rdata: y\n\n";
        let whole = parse(&[stream.as_bytes()]);
        assert_eq!(whole, [event("a", "{\"x\":1}"), event("", "two\n\n three"), event("", "y")]);
        for at in 0..stream.len() {
            let (head, tail) = stream.as_bytes().split_at(at);
            assert_eq!(parse(&[head, tail]), whole, "split at {at}");
        }
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(parse(&bytes), whole);
    }

    #[test]
    fn a_last_event_without_its_blank_line_is_given_out() {
        assert_eq!(parse(&[b"data: a\n\ndata: [DONE]"]), [event("", "a"), event("", "[DONE]")]);
    }

    #[test]
    fn events_without_data_and_comments_are_dropped() {
        assert_eq!(
            parse(&[b"event: ping\n\n: keep-alive\n\nid: 4\nretry: 9\n\ndata: x\n\n"]),
            [event("", "x")]
        );
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = SseParser::new(100);
        parser.push(Bytes::from(vec![b'a'; 90]));
        assert_eq!(parser.next(), Ok(None));
        parser.push(Bytes::from(vec![b'a'; 90]));
        assert_eq!(parser.next(), Err(TooLong(100)));
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = SseParser::new(100);
        parser.push(Bytes::from("data: 0123456789012345678901234567890123456789\n".repeat(3)));
        assert_eq!(parser.next(), Err(TooLong(100)));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_parse_as_the_whole(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..8),
        ) {
            let whole = parse(&[&bytes]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse(&pieces), whole);
        }

        #[test]
        fn what_was_written_is_read(data in proptest::collection::vec("[^\r\n]{0,40}", 1..6)) {
            let stream: String = data.iter().map(|line| format!("data: {line}\n")).collect::<String>() + "\n";
            prop_assert_eq!(parse(&[stream.as_bytes()]), vec![event("", &data.join("\n"))]);
        }
    }
}
