//! How families of models write tool calls and reasoning of their own accord.
//!
//! The engine's own form of a call (see [`crate::tool_text`]) is that of Hermes and Qwen models. Llama, Mistral,
//! DeepSeek and gpt-oss models were trained on others, which their templates declare tools in; a [`Reader`] takes
//! their text apart as it comes. Here nothing holds an input to its schema while it is written, as a guide does with
//! the engine's own form: an input that is no JSON object and a tool that was not declared are told, not repaired.

use serde_json::Value;

use craton_backend::possible_prefix;

use crate::output::JsonScanner;

/// Longest head of a call, from its marker to its input.
const MAX_HEAD_BYTES: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`; what models are told to write whose template has no form.
    Hermes,
    /// `{"name": …, "parameters": …}` as the whole answer, after `<|python_tag|>` or without.
    Llama,
    /// `[TOOL_CALLS]` and an array of calls, or a name, `[ARGS]` and the input.
    Mistral,
    /// `<｜tool▁call▁begin｜>` … `<｜tool▁sep｜>` … `<｜tool▁call▁end｜>`.
    DeepSeek,
    /// gpt-oss: everything is a message in a channel, and a call one to `functions.name`.
    Harmony,
}

/// Where reasoning begins and ends, and where a call begins.
struct Markers {
    reasoning: (&'static str, &'static str),
    calls: &'static [&'static str],
    /// Texts of special tokens that say nothing by themselves.
    noise: &'static [&'static str],
}

impl Markers {
    fn all(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.reasoning.0].into_iter().chain(self.calls.iter().copied()).chain(self.noise.iter().copied())
    }
}

impl Dialect {
    /// By the texts that a chat template holds.
    pub(crate) fn of(template: &str) -> Self {
        let has = |text: &str| template.contains(text);
        if has("<|channel|>") && has("<|start|>") {
            Self::Harmony
        } else if has("<tool_call>") || !has("tools") {
            Self::Hermes
        } else if has("[TOOL_CALLS]") {
            Self::Mistral
        } else if has("<｜tool▁call▁begin｜>") {
            Self::DeepSeek
        } else if has("<|python_tag|>") || (has("<|start_header_id|>") && has("parameters")) {
            Self::Llama
        } else {
            Self::Hermes
        }
    }

    /// The id of a call as the template takes it.
    pub(crate) fn call_id(self, id: &str) -> String {
        if self != Self::Mistral {
            return id.to_owned();
        }
        // Nine letters or digits, or the template refuses them.
        let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (0..9)
            .map(|_| {
                let digit = u32::try_from(hash % 36).unwrap_or(0);
                hash /= 36;
                char::from_digit(digit, 36).unwrap_or('0')
            })
            .collect()
    }

    /// Whether the template takes the input of a past call as text.
    pub(crate) fn input_as_text(self) -> bool {
        self == Self::DeepSeek
    }

    fn markers(self) -> Markers {
        let think = ("<think>", "</think>");
        match self {
            Self::Hermes => Markers { reasoning: think, calls: &["<tool_call>"], noise: &[] },
            Self::Llama => Markers { reasoning: think, calls: &["<|python_tag|>"], noise: &[] },
            Self::Mistral => {
                Markers { reasoning: ("[THINK]", "[/THINK]"), calls: &["[TOOL_CALLS]"], noise: &[] }
            }
            Self::DeepSeek => Markers {
                reasoning: think,
                calls: &["<｜tool▁call▁begin｜>"],
                noise: &["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"],
            },
            // What a message is, its header says.
            Self::Harmony => Markers {
                reasoning: (think.0, "<|end|>"),
                calls: &["<|start|>", "<|channel|>"],
                noise: &["<|end|>", "<|return|>", "<|call|>"],
            },
        }
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Reasoning(String),
    CallStart(String),
    Input(String),
    CallEnd,
    /// A call that can't be read.
    Malformed,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Before anything but white space: a Llama call may begin without a marker.
    Start,
    Text,
    Reasoning,
    /// After a marker, before the input.
    Head,
    Input,
    /// After an input: the call's end, and perhaps another call.
    Tail,
    Broken,
}

/// Takes an answer apart as it comes, however it is cut into pieces.
#[derive(Debug)]
pub(crate) struct Reader {
    dialect: Dialect,
    names: Vec<String>,
    state: State,
    held: String,
    scanner: JsonScanner,
    input: String,
    tail: Tail,
    pieces: Vec<Piece>,
}

/// Whether a text begins with the head of a call.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// The tool's name, and the bytes before its input.
    Whole(String, usize),
    /// It may become one.
    Begun,
    No,
}

impl Reader {
    /// `names`: the tools that may be called. `reasoning`: the prompt ends inside the reasoning.
    pub(crate) fn new(dialect: Dialect, names: Vec<String>, reasoning: bool) -> Self {
        let state = if reasoning { State::Reasoning } else { State::Start };
        let (held, input, pieces) = (String::new(), String::new(), Vec::new());
        Self {
            dialect,
            names,
            state,
            held,
            scanner: JsonScanner::default(),
            input,
            tail: Tail::default(),
            pieces,
        }
    }

    pub(crate) fn push(&mut self, text: &str) -> Vec<Piece> {
        self.held.push_str(text);
        while self.advance() {}
        std::mem::take(&mut self.pieces)
    }

    /// Whether a call was begun and is not complete.
    pub(crate) fn in_call(&self) -> bool {
        matches!(self.state, State::Head | State::Input | State::Broken)
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        let rest = std::mem::take(&mut self.held);
        match self.state {
            State::Start | State::Text => self.say(&rest),
            State::Reasoning => self.think(&rest),
            State::Head => self.pieces.push(Piece::Malformed),
            State::Input | State::Tail | State::Broken => {}
        }
        std::mem::take(&mut self.pieces)
    }

    fn say(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(text.to_owned()));
        }
    }

    fn think(&mut self, text: &str) {
        if !text.is_empty() {
            self.pieces.push(Piece::Reasoning(text.to_owned()));
        }
    }

    /// One step; false when more text is needed.
    fn advance(&mut self) -> bool {
        match self.state {
            State::Start => self.begin(),
            State::Text => self.scan_text(),
            State::Reasoning => self.scan_reasoning(),
            State::Head => self.scan_head(),
            State::Input => self.scan_input(),
            State::Tail => self.scan_tail(),
            State::Broken => {
                self.held.clear();
                false
            }
        }
    }

    /// Layout before a marker is no answer; before text it is part of it.
    fn begin(&mut self) -> bool {
        let text = self.held.trim_start();
        if text.is_empty() {
            return false;
        }
        let from = self.held.len() - text.len();
        let bare = match self.dialect {
            Dialect::Llama if !self.names.is_empty() => json_head(text),
            Dialect::Harmony if text.starts_with("to=functions.") => Head::Whole(String::new(), 0),
            Dialect::Harmony if "to=functions.".starts_with(text) => Head::Begun,
            _ => Head::No,
        };
        let markers = self.dialect.markers();
        match bare {
            Head::Begun if text.len() < MAX_HEAD_BYTES => return false,
            Head::Whole(name, _) if name.is_empty() || self.names.contains(&name) => {
                self.held.drain(..from);
                self.state = State::Head;
            }
            _ if markers.all().any(|marker| text.len() < marker.len() && marker.starts_with(text)) => {
                return false;
            }
            _ => {
                if markers.all().any(|marker| text.starts_with(marker)) {
                    self.held.drain(..from);
                }
                self.state = State::Text;
            }
        }
        true
    }

    fn scan_text(&mut self) -> bool {
        let markers = self.dialect.markers();
        let first = markers
            .all()
            .filter_map(|marker| self.held.find(marker).map(|at| (at, marker)))
            .min_by_key(|(at, _)| *at);
        let Some((at, marker)) = first else {
            let needles: Vec<&str> = markers.all().collect();
            let keep = possible_prefix(&self.held, &needles);
            let text: String = self.held.drain(..self.held.len() - keep).collect();
            self.say(&text);
            return false;
        };
        let text: String = self.held.drain(..at + marker.len()).collect();
        self.say(&text[..at]);
        self.state = if marker == markers.reasoning.0 {
            State::Reasoning
        } else if markers.calls.contains(&marker) {
            State::Head
        } else {
            State::Start
        };
        true
    }

    fn scan_reasoning(&mut self) -> bool {
        let end = self.dialect.markers().reasoning.1;
        if let Some(at) = self.held.find(end) {
            let text: String = self.held.drain(..at + end.len()).collect();
            self.think(&text[..at]);
            self.state = State::Start;
            return true;
        }
        let keep = possible_prefix(&self.held, &[end]);
        let text: String = self.held.drain(..self.held.len() - keep).collect();
        self.think(&text);
        false
    }

    fn scan_head(&mut self) -> bool {
        let head = match self.dialect {
            Dialect::Harmony => return self.scan_channel(),
            Dialect::Hermes | Dialect::Llama => json_head(&self.held),
            Dialect::Mistral => mistral_head(&self.held),
            Dialect::DeepSeek => deepseek_head(&self.held),
        };
        match head {
            Head::Whole(name, length) => {
                self.held.drain(..length);
                self.call(name);
                true
            }
            Head::Begun if self.held.len() < MAX_HEAD_BYTES => false,
            _ => self.broken(),
        }
    }

    /// The rest of a message's header: `commentary to=functions.name <|constrain|>json<|message|>`.
    fn scan_channel(&mut self) -> bool {
        const MESSAGE: &str = "<|message|>";
        let Some(at) = self.held.find(MESSAGE) else {
            return self.held.len() >= MAX_HEAD_BYTES && self.broken();
        };
        let header: String = self.held.drain(..at + MESSAGE.len()).collect();
        let name = header.split_once("functions.").map(|(_, rest)| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
                .collect::<String>()
        });
        match name {
            Some(name) => self.call(name),
            None if header
                .rsplit("<|channel|>")
                .next()
                .is_some_and(|channel| channel.starts_with("analysis")) =>
            {
                self.state = State::Reasoning;
            }
            None => self.state = State::Text,
        }
        true
    }

    fn call(&mut self, name: String) {
        if !self.names.contains(&name) {
            self.broken();
            return;
        }
        self.pieces.push(Piece::CallStart(name));
        self.scanner = JsonScanner::default();
        self.input.clear();
        self.state = State::Input;
    }

    fn broken(&mut self) -> bool {
        self.pieces.push(Piece::Malformed);
        self.state = State::Broken;
        true
    }

    fn scan_input(&mut self) -> bool {
        let (taken, complete) = self.scanner.scan(&self.held);
        let piece: String = self.held.drain(..taken).collect();
        self.input.push_str(&piece);
        if !self.input.trim_start().is_empty() && !self.input.trim_start().starts_with('{') {
            return self.broken();
        }
        if !piece.is_empty() {
            self.pieces.push(Piece::Input(piece));
        }
        if complete {
            if !matches!(serde_json::from_str(&self.input), Ok(Value::Object(_))) {
                return self.broken();
            }
            self.pieces.push(Piece::CallEnd);
            self.tail = Tail::default();
            self.state = State::Tail;
        }
        complete
    }

    /// What stands between calls says nothing: the end of one, an id, a comma, the marker of the next.
    fn scan_tail(&mut self) -> bool {
        let calls = self.dialect.markers().calls;
        let json = matches!(self.dialect, Dialect::Mistral | Dialect::Llama | Dialect::Hermes);
        while let Some(letter) = self.held.chars().next() {
            if let Some(marker) = calls.iter().find(|call| self.held.starts_with(**call)) {
                self.held.drain(..marker.len());
                self.state = State::Head;
                return true;
            }
            if calls.iter().any(|call| call.starts_with(self.held.as_str())) {
                return false;
            }
            if json && self.tail.opens_call(letter) {
                self.state = State::Head;
                return true;
            }
            self.held.drain(..letter.len_utf8());
        }
        false
    }
}

/// Between the calls of a list.
#[derive(Debug, Default)]
struct Tail {
    in_string: bool,
    escaped: bool,
    /// The object of the last call has ended.
    closed: bool,
}

impl Tail {
    /// Whether the next call of the list begins with this letter.
    fn opens_call(&mut self, letter: char) -> bool {
        if self.in_string {
            self.in_string = letter != '"' || self.escaped;
            self.escaped = letter == '\\' && !self.escaped;
            return false;
        }
        self.in_string = letter == '"';
        self.closed |= letter == '}';
        letter == '{' && self.closed
    }
}

/// `{"name": "…", "arguments": ` or with `parameters`, and perhaps `"type": "function"` before it.
fn json_head(text: &str) -> Head {
    let mut cursor = Cursor { rest: text };
    let parsed = (|| {
        cursor.literal("{")?;
        let mut name = None;
        loop {
            let key = cursor.string()?;
            cursor.literal(":")?;
            match key.as_str() {
                "name" => name = Some(cursor.string()?),
                "type" | "id" => {
                    cursor.string()?;
                }
                "arguments" | "parameters" => {
                    cursor.space()?;
                    return name.ok_or(Head::No);
                }
                _ => return Err(Head::No),
            }
            cursor.literal(",")?;
        }
    })();
    match parsed {
        Ok(name) => Head::Whole(name, text.len() - cursor.rest.len()),
        Err(head) => head,
    }
}

/// `[{"name": …` or `name[ARGS]`, perhaps with `[CALL_ID]` and an id between.
fn mistral_head(text: &str) -> Head {
    let body = text.trim_start();
    let skipped = text.len() - body.len();
    if let Some(array) = body.strip_prefix('[') {
        return match json_head(array) {
            Head::Whole(name, length) => Head::Whole(name, skipped + 1 + length),
            other => other,
        };
    }
    if body.starts_with('{') {
        return match json_head(body) {
            Head::Whole(name, length) => Head::Whole(name, skipped + length),
            other => other,
        };
    }
    match body.find('{') {
        Some(at) => {
            let name = body[..at].split('[').next().unwrap_or_default().trim();
            Head::Whole(name.to_owned(), skipped + at)
        }
        None => Head::Begun,
    }
}

/// `function<｜tool▁sep｜>name` and a code fence, or `name<｜tool▁sep｜>`.
fn deepseek_head(text: &str) -> Head {
    let Some(at) = text.find('{') else { return Head::Begun };
    let Some((kind, rest)) = text[..at].split_once("<｜tool▁sep｜>") else { return Head::No };
    let inner = rest.split("```").next().unwrap_or_default().trim();
    let name = if inner.is_empty() { kind.trim() } else { inner };
    Head::Whole(name.to_owned(), at)
}

struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    /// Skips white space; something must follow.
    fn space(&mut self) -> Result<(), Head> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() { Err(Head::Begun) } else { Ok(()) }
    }

    fn literal(&mut self, text: &str) -> Result<(), Head> {
        self.space()?;
        self.rest = self.rest.strip_prefix(text).ok_or(Head::No)?;
        Ok(())
    }

    fn string(&mut self) -> Result<String, Head> {
        self.space()?;
        if !self.rest.starts_with('"') {
            return Err(Head::No);
        }
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find_map(|(at, letter)| {
            let closes = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            closes.then_some(at)
        });
        let end = end.ok_or(Head::Begun)?;
        let text = serde_json::from_str(&self.rest[..=end]).map_err(|_| Head::No)?;
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
