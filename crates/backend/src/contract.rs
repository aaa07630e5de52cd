//! What every chat driver must do, as functions that a driver's tests call. Feature `contract`; tests only.
//!
//! Nothing here depends on how clever the model is: the checks are about order, limits, cancellation and counting. A
//! failed check panics and says what was expected. Time limits are the caller's: wrap the calls in a timeout.
//!
//! ```ignore
//! let subject = Subject { driver: &driver, model: "tiny", counts_exactly: true };
//! timeout(Duration::from_secs(60), contract::all(&subject)).await.unwrap();
//! ```

use futures::StreamExt;
use serde_json::{Value, json};

use crate::{
    Block, BlockStart, ChatEvent, ChatModel, ChatRequest, Delta, Finished, Message, ResponseSchema, Role,
    Sampling, StopReason, Tool, ToolChoice, Usage,
};

/// A driver to check.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub driver: &'a dyn ChatModel,
    /// The model's name, as the driver knows it.
    pub model: &'a str,
    /// Whether `count_tokens` must equal the usage that the call then reports.
    pub counts_exactly: bool,
}

/// A whole answer, put together from its events.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    pub blocks: Vec<CollectedBlock>,
    pub finished: Finished,
}

/// One block of an answer with all its deltas joined.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedBlock {
    pub start: BlockStart,
    pub text: String,
}

impl Collected {
    /// All text blocks, joined.
    pub fn text(&self) -> String {
        let texts = self.blocks.iter().filter(|block| block.start == BlockStart::Text);
        texts.map(|block| block.text.as_str()).collect()
    }
}

/// Follows the events of one answer and tells when one is out of place.
#[derive(Debug, Default)]
pub struct Order {
    started: bool,
    open: bool,
    blocks: Vec<CollectedBlock>,
    finished: Option<Finished>,
}

impl Order {
    /// Takes the next event. Errors say which rule it breaks.
    pub fn event(&mut self, event: ChatEvent) -> Result<(), String> {
        if self.finished.is_some() {
            return Err(format!("an event follows Finished: {event:?}"));
        }
        if self.started == matches!(event, ChatEvent::Started { .. }) {
            return Err(format!("Started must come first and once, here is {event:?}"));
        }
        let next = self.blocks.len();
        match event {
            ChatEvent::Started { .. } => self.started = true,
            ChatEvent::BlockStart { index, block } => {
                if self.open || index as usize != next {
                    return Err(format!(
                        "block {index} starts where {next} is due, another open: {}",
                        self.open
                    ));
                }
                self.open = true;
                self.blocks.push(CollectedBlock { start: block, text: String::new() });
            }
            ChatEvent::BlockDelta { index, delta } => {
                self.place(index)?;
                self.delta(delta)?;
            }
            ChatEvent::BlockStop { index } => {
                self.place(index)?;
                self.open = false;
                self.complete()?;
            }
            ChatEvent::Finished(finished) => {
                if self.open {
                    return Err("Finished while a block is open".to_owned());
                }
                self.finished = Some(finished);
            }
        }
        Ok(())
    }

    /// The answer, if it is whole.
    pub fn end(self) -> Result<Collected, String> {
        let finished = self.finished.ok_or("the stream ended without Finished")?;
        Ok(Collected { blocks: self.blocks, finished })
    }

    fn place(&self, index: u32) -> Result<(), String> {
        if self.open && index as usize + 1 == self.blocks.len() {
            return Ok(());
        }
        Err(format!("an event for block {index}, which is not the open one"))
    }

    fn delta(&mut self, delta: Delta) -> Result<(), String> {
        let Some(block) = self.blocks.last_mut() else { return Ok(()) };
        match (&block.start, delta) {
            (BlockStart::Text, Delta::Text(text))
            | (BlockStart::Reasoning, Delta::Reasoning(text))
            | (BlockStart::ToolUse { .. }, Delta::ToolInput(text)) => block.text.push_str(&text),
            (BlockStart::Reasoning, Delta::ReasoningSignature(_) | Delta::ReasoningRedacted(_)) => {}
            (start, delta) => return Err(format!("{delta:?} in a block of {start:?}")),
        }
        Ok(())
    }

    fn complete(&self) -> Result<(), String> {
        match self.blocks.last() {
            Some(CollectedBlock { start: BlockStart::ToolUse { id, name }, .. })
                if id.is_empty() || name.is_empty() =>
            {
                Err("a tool use without an id or a name".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Runs one request to its end and checks the order of its events.
pub async fn collect(subject: &Subject<'_>, request: ChatRequest) -> Collected {
    let mut stream = match subject.driver.chat(request).await {
        Ok(stream) => stream,
        Err(error) => panic!("the call was refused: {error:?}"),
    };
    let mut order = Order::default();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if let Err(broken) = order.event(event) {
                    panic!("{broken}");
                }
            }
            Err(error) => panic!("the answer broke off: {error:?}"),
        }
    }
    match order.end() {
        Ok(collected) => collected,
        Err(broken) => panic!("{broken}"),
    }
}

/// A user's message to the subject's model, greedy, at most 16 tokens.
pub fn ask(subject: &Subject<'_>, text: &str) -> ChatRequest {
    ChatRequest {
        model: subject.model.to_owned(),
        messages: vec![Message { role: Role::User, content: vec![Block::Text(text.to_owned())] }],
        sampling: Sampling { max_tokens: Some(16), temperature: Some(0.0), ..Sampling::default() },
        stream: true,
        ..ChatRequest::default()
    }
}

/// Every check below.
pub async fn all(subject: &Subject<'_>) {
    events_come_in_order(subject).await;
    streamed_and_whole_answers_agree(subject).await;
    max_tokens_is_a_limit(subject).await;
    stop_sequences_never_leak(subject).await;
    usage_counts_the_prompt(subject).await;
    a_dropped_answer_leaves_the_driver_usable(subject).await;
    answers_side_by_side_do_not_mix(subject).await;
    if subject.driver.capabilities(subject.model).tools {
        a_forced_tool_is_called(subject).await;
        a_tool_conversation_goes_on(subject).await;
    }
    a_schema_is_satisfied(subject).await;
}

/// Order of events; something is said; the reason fits.
pub async fn events_come_in_order(subject: &Subject<'_>) {
    let answer = collect(subject, ask(subject, "Tell me about the sea.")).await;
    assert!(!answer.blocks.is_empty(), "an answer with nothing in it");
    assert!(answer.finished.usage.output_tokens > 0, "output tokens are counted");
    assert!(
        matches!(answer.finished.reason, StopReason::EndTurn | StopReason::MaxTokens),
        "{:?}",
        answer.finished.reason
    );
}

/// Greedy answers are the same streamed or not, in text and usage.
pub async fn streamed_and_whole_answers_agree(subject: &Subject<'_>) {
    let request = ask(subject, "Name three colours.");
    let streamed = collect(subject, request.clone()).await;
    let whole = collect(subject, ChatRequest { stream: false, ..request }).await;
    assert_eq!(streamed.blocks, whole.blocks);
    assert_eq!(streamed.finished.reason, whole.finished.reason);
    assert_eq!(streamed.finished.usage, whole.finished.usage);
}

/// Never more tokens than allowed, and the reason says so.
pub async fn max_tokens_is_a_limit(subject: &Subject<'_>) {
    for limit in [1, 3] {
        let mut request = ask(subject, "Count from one to one hundred in words.");
        request.sampling.max_tokens = Some(limit);
        let answer = collect(subject, request).await;
        assert!(answer.finished.usage.output_tokens <= limit, "{:?}", answer.finished.usage);
        if answer.finished.usage.output_tokens == limit {
            assert_eq!(answer.finished.reason, StopReason::MaxTokens);
        }
    }
}

/// The answer ends before a stop sequence; no part of it is in the answer.
pub async fn stop_sequences_never_leak(subject: &Subject<'_>) {
    let mut request = ask(subject, "Tell me about the sea.");
    request.sampling.max_tokens = Some(24);
    let free = collect(subject, request.clone()).await.text();
    let characters: Vec<char> = free.chars().collect();
    assert!(characters.len() >= 8, "too short an answer to test with: {free:?}");
    // A piece of the answer itself, from its middle, is a stop sequence that is certain to come.
    let middle = characters.len() / 2;
    let stop: String = characters[middle..characters.len().min(middle + 4)].iter().collect();
    request.sampling.stop_sequences = vec!["never said \u{1}".to_owned(), stop.clone()];
    for stream in [true, false] {
        let answer = collect(subject, ChatRequest { stream, ..request.clone() }).await;
        let before = free.split(&stop).next().unwrap_or_default();
        assert_eq!(answer.text(), before, "the answer up to {stop:?}");
        if answer.finished.stop_sequence.is_some() {
            assert_eq!(answer.finished.stop_sequence.as_ref(), Some(&stop));
            assert_eq!(answer.finished.reason, StopReason::StopSequence);
        } else {
            // An upstream may not tell which way it stopped.
            assert!(matches!(answer.finished.reason, StopReason::EndTurn | StopReason::StopSequence));
        }
    }
}

/// A longer prompt costs more; what is counted before is what is charged after.
pub async fn usage_counts_the_prompt(subject: &Subject<'_>) {
    let total = |usage: Usage| usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    let mut sizes = Vec::new();
    for text in ["Hi.", "Hi. The sea is wide, and the sky above it is wider still, they say."] {
        let mut request = ask(subject, text);
        request.sampling.max_tokens = Some(1);
        let counted = match subject.driver.count_tokens(&request).await {
            Ok(counted) => counted,
            Err(error) => panic!("tokens can't be counted: {error:?}"),
        };
        let usage = collect(subject, request).await.finished.usage;
        assert_eq!((usage.cache_read_tokens, usage.cache_write_tokens), (0, 0), "there are no cache points");
        if subject.counts_exactly {
            assert_eq!(counted, total(usage));
        }
        sizes.push((counted, total(usage)));
    }
    assert!(sizes[0].0 > 0 && sizes[0].0 < sizes[1].0, "{sizes:?}");
    assert!(sizes[0].1 > 0 && sizes[0].1 < sizes[1].1, "{sizes:?}");
}

/// Streams are dropped unread, at their start and half-way; the driver answers afterwards as before.
pub async fn a_dropped_answer_leaves_the_driver_usable(subject: &Subject<'_>) {
    let request = ask(subject, "Tell me about the sea.");
    let before = collect(subject, request.clone()).await;
    for events in [0, 1, 3] {
        for _ in 0..4 {
            match subject.driver.chat(request.clone()).await {
                Ok(mut stream) => {
                    for _ in 0..events {
                        stream.next().await;
                    }
                }
                Err(error) => panic!("the call was refused: {error:?}"),
            }
        }
    }
    assert_eq!(collect(subject, request).await.blocks, before.blocks);
}

/// Each of several answers at once is in order and complete.
pub async fn answers_side_by_side_do_not_mix(subject: &Subject<'_>) {
    let questions = ["Name a bird.", "Name a fish.", "Name a tree.", "Name a town."];
    let requests = questions.map(|question| collect(subject, ask(subject, question)));
    for answer in futures::future::join_all(requests).await {
        assert!(answer.finished.usage.output_tokens > 0);
    }
}

fn weather() -> Tool {
    Tool {
        name: "get_weather".to_owned(),
        description: Some("Tells the weather in a city.".to_owned()),
        input_schema: json!({
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": false,
        }),
        strict: false,
    }
}

/// The tool that the caller names is called, with an object as its input.
pub async fn a_forced_tool_is_called(subject: &Subject<'_>) {
    for stream in [true, false] {
        let mut request = ask(subject, "What is the weather in Paris?");
        request.sampling.max_tokens = Some(200);
        request.tools = vec![weather()];
        request.tool_choice = ToolChoice::Tool("get_weather".to_owned());
        request.stream = stream;
        let answer = collect(subject, request).await;
        assert_eq!(answer.finished.reason, StopReason::ToolUse, "{answer:?}");
        let call = answer.blocks.iter().find(|block| matches!(block.start, BlockStart::ToolUse { .. }));
        let Some(CollectedBlock { start: BlockStart::ToolUse { name, .. }, text }) = call else {
            panic!("no tool was called: {answer:?}")
        };
        assert_eq!(name, "get_weather");
        let input: Value = serde_json::from_str(text).unwrap_or_default();
        assert!(input["city"].is_string(), "the input is {text:?}");
    }
}

/// A history with a call and its result is accepted and answered.
pub async fn a_tool_conversation_goes_on(subject: &Subject<'_>) {
    let mut request = ask(subject, "What is the weather in Paris?");
    request.tools = vec![weather()];
    let id = "tooluse_0001".to_owned();
    request.messages.push(Message {
        role: Role::Assistant,
        content: vec![Block::ToolUse(crate::ToolUse {
            id: id.clone(),
            name: "get_weather".to_owned(),
            input: json!({"city": "Paris"}),
        })],
    });
    request.messages.push(Message {
        role: Role::User,
        content: vec![Block::ToolResult(crate::ToolResult {
            tool_use_id: id,
            content: vec![Block::Text("Rain, 12 degrees.".to_owned())],
            is_error: false,
        })],
    });
    let answer = collect(subject, request).await;
    assert!(answer.finished.usage.output_tokens > 0);
}

/// A response schema is satisfied unless the answer was cut short.
pub async fn a_schema_is_satisfied(subject: &Subject<'_>) {
    let mut request = ask(subject, "Is the sea salty?");
    request.sampling.max_tokens = Some(200);
    request.response_schema = Some(ResponseSchema {
        name: Some("verdict".to_owned()),
        schema: json!({
            "type": "object",
            "properties": {"verdict": {"type": "boolean"}},
            "required": ["verdict"],
            "additionalProperties": false,
        }),
    });
    let answer = collect(subject, request).await;
    if answer.finished.reason != StopReason::MaxTokens {
        let value: Value = serde_json::from_str(&answer.text()).unwrap_or_default();
        assert!(value["verdict"].is_boolean(), "{:?}", answer.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: Vec<ChatEvent>) -> Result<Collected, String> {
        let mut order = Order::default();
        for event in events {
            order.event(event)?;
        }
        order.end()
    }

    #[test]
    fn order_is_told_from_disorder() {
        let started = || ChatEvent::Started { usage: Usage::default() };
        let start = |index| ChatEvent::BlockStart { index, block: BlockStart::Text };
        let text = |index| ChatEvent::BlockDelta { index, delta: Delta::Text("a".into()) };
        let stop = |index| ChatEvent::BlockStop { index };
        let finished = || {
            ChatEvent::Finished(Finished {
                reason: StopReason::EndTurn,
                stop_sequence: None,
                usage: Usage::default(),
                extra: Value::Null,
            })
        };
        let good =
            run(vec![started(), start(0), text(0), text(0), stop(0), start(1), stop(1), finished()]).unwrap();
        assert_eq!(good.text(), "aa");
        for bad in [
            vec![],
            vec![finished()],
            vec![started(), started(), finished()],
            vec![started(), start(1), stop(1), finished()],
            vec![started(), start(0), start(1), stop(1), stop(0), finished()],
            vec![started(), start(0), finished()],
            vec![started(), text(0), finished()],
            vec![started(), start(0), text(1), stop(0), finished()],
            vec![started(), start(0), stop(0), text(0), finished()],
            vec![started(), finished(), finished()],
            vec![started(), start(0), stop(0)],
            vec![
                started(),
                start(0),
                ChatEvent::BlockDelta { index: 0, delta: Delta::ToolInput("x".into()) },
                stop(0),
                finished(),
            ],
        ] {
            assert!(run(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
