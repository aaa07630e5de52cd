//! Internal requests and answers that a family can express.

use bytes::Bytes;
use craton_backend::{
    Block, ChatRequest, Document, Finished, Image, Message, Reasoning, ResponseSchema, Role, Sampling,
    StopReason, Tool, ToolChoice, ToolResult, ToolUse, Usage,
};
use craton_models::Family;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::answer::Answer;

/// What a family's body has room for.
#[derive(Debug, Clone, Copy)]
struct Room {
    system: usize,
    images: bool,
    documents: bool,
    tools: bool,
    /// Tool results can say that they are errors, and hold images.
    rich_results: bool,
    reasoning: bool,
    redacted: bool,
    cache: bool,
    top_k: bool,
    seed: bool,
    penalties: bool,
    stop: usize,
    schema: bool,
    most_tokens: u32,
    top_p: (f32, f32),
}

const NOTHING: Room = Room {
    system: 0,
    images: false,
    documents: false,
    tools: false,
    rich_results: false,
    reasoning: false,
    redacted: false,
    cache: false,
    top_k: false,
    seed: false,
    penalties: false,
    stop: 0,
    schema: false,
    most_tokens: 4096,
    top_p: (0.0, 1.0),
};

fn room(family: Family) -> Room {
    let prompt = Room { system: 1, ..NOTHING };
    let chat = Room { system: 3, tools: true, ..NOTHING };
    match family {
        Family::AnthropicMessages => Room {
            images: true,
            documents: true,
            rich_results: true,
            reasoning: true,
            redacted: true,
            cache: true,
            top_k: true,
            stop: 4,
            schema: true,
            ..chat
        },
        Family::Nova => Room {
            images: true,
            documents: true,
            rich_results: true,
            reasoning: true,
            redacted: true,
            cache: true,
            top_k: true,
            stop: 4,
            ..chat
        },
        Family::OpenAiChat => Room {
            images: true,
            documents: true,
            reasoning: true,
            top_k: true,
            seed: true,
            penalties: true,
            stop: 4,
            schema: true,
            ..chat
        },
        Family::MistralChat => Room { stop: 4, seed: true, schema: true, ..chat },
        Family::Jamba => Room { stop: 4, penalties: true, schema: true, ..chat },
        Family::CohereCommandR => {
            Room { system: 1, stop: 4, top_k: true, seed: true, top_p: (0.02, 0.98), ..chat }
        }
        Family::AnthropicText => Room { top_k: true, stop: 4, ..prompt },
        Family::TitanText => Room { system: 0, stop: 4, ..prompt },
        Family::MistralText => Room { top_k: true, stop: 4, ..prompt },
        Family::CohereCommand => Room { top_k: true, stop: 4, ..prompt },
        _ => prompt,
    }
}

/// Requests that the family's body can hold and that read back the same.
pub(super) fn request(family: Family) -> BoxedStrategy<ChatRequest> {
    let room = room(family);
    let tools = if room.tools { vec(tool(), 0..3).boxed() } else { Just(Vec::new()).boxed() };
    (messages(room), system(room), sampling(room), tools, any::<prop::sample::Index>(), 0..4_u8, schema(room))
        .prop_map(move |(messages, system, sampling, tools, index, choice, response_schema)| {
            let tools = named_apart(tools);
            let tool_choice = match choice {
                // Command R has no tool choice.
                _ if tools.is_empty() || family == Family::CohereCommandR => ToolChoice::Auto,
                1 => ToolChoice::Any,
                2 if !matches!(family, Family::Nova) => ToolChoice::None,
                3 => ToolChoice::Tool(tools[index.index(tools.len())].name.clone()),
                _ => ToolChoice::Auto,
            };
            thinned(ChatRequest {
                messages,
                system,
                sampling,
                tools,
                tool_choice,
                response_schema,
                ..ChatRequest::default()
            })
        })
        .boxed()
}

/// With the first four of its cache points, which is as many as a request may have.
fn thinned(mut request: ChatRequest) -> ChatRequest {
    let mut left = 4_usize;
    let mut keep = |block: &Block| match block {
        Block::CachePoint => left.checked_sub(1).map(|fewer| left = fewer).is_some(),
        _ => true,
    };
    request.system.retain(&mut keep);
    request.messages.iter_mut().for_each(|message| message.content.retain(&mut keep));
    request
}

fn named_apart(tools: Vec<Tool>) -> Vec<Tool> {
    tools
        .into_iter()
        .enumerate()
        .map(|(index, tool)| Tool { name: format!("{}_{index}", tool.name), ..tool })
        .collect()
}

/// Text that no template takes for its own and that keeps its ends.
pub(super) fn said() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9äßé\"\\\\.,!? \n]{0,40}[a-zA-Z0-9]"
        .prop_map(|text| text.trim().to_owned())
        .prop_filter("a template's words", |text| {
            !["Human:", "Assistant:", "User:", "Bot:"].iter().any(|word| text.contains(word))
        })
}

fn schema(room: Room) -> BoxedStrategy<Option<ResponseSchema>> {
    if !room.schema {
        return Just(None).boxed();
    }
    let schema = ("[a-z]{1,8}", "[a-z]{1,8}").prop_map(|(name, property)| ResponseSchema {
        name: Some(name),
        schema: json!({"type": "object", "properties": {property: {"type": "string"}}}),
    });
    option::of(schema).boxed()
}

fn sampling(room: Room) -> impl Strategy<Value = Sampling> {
    let number = |on: bool, low: f32, high: f32| {
        if on { option::of(low..high).boxed() } else { Just(None).boxed() }
    };
    (
        1..=room.most_tokens,
        number(true, 0.0, 1.0),
        number(true, room.top_p.0, room.top_p.1),
        if room.top_k { option::of(0..100_u32).boxed() } else { Just(None).boxed() },
        vec("[a-z#]{1,6}", 0..=room.stop),
        if room.seed { option::of(0..u64::from(u32::MAX)).boxed() } else { Just(None).boxed() },
        number(room.penalties, -2.0, 2.0),
        number(room.penalties, -2.0, 2.0),
    )
        .prop_map(
            |(max_tokens, temperature, top_p, top_k, stop_sequences, seed, presence, frequency)| Sampling {
                max_tokens: Some(max_tokens),
                temperature,
                top_p,
                top_k,
                stop_sequences,
                seed,
                presence_penalty: presence,
                frequency_penalty: frequency,
            },
        )
}

fn tool() -> impl Strategy<Value = Tool> {
    ("[a-zA-Z_]{1,10}", said(), "[a-z]{1,6}").prop_map(|(name, description, property)| Tool {
        name,
        description: Some(description),
        input_schema: json!({
            "type": "object",
            "properties": {property.clone(): {"type": "string", "description": "what"}},
            "required": [property],
        }),
        strict: false,
    })
}

fn system(room: Room) -> impl Strategy<Value = Vec<Block>> {
    let cache = room.cache;
    vec((said(), any::<bool>()), 0..=room.system).prop_map(move |texts| {
        let mut blocks = Vec::new();
        for (text, cached) in texts {
            blocks.push(Block::Text(text));
            if cache && cached {
                blocks.push(Block::CachePoint);
            }
        }
        blocks
    })
}

/// Turns that alternate, the user's first.
fn messages(room: Room) -> BoxedStrategy<Vec<Message>> {
    let turn = (user(room), assistant(room), any::<bool>());
    (user_text(), vec(turn, 0..3), user_text())
        .prop_map(move |(first, turns, last)| {
            let mut messages = vec![Message { role: Role::User, content: first }];
            let mut calls = 0;
            let count = turns.len();
            for (number, (user, mut assistant, calling)) in turns.into_iter().enumerate() {
                // What is called is answered, and the last turn is not for answers.
                if !calling || number + 1 == count {
                    assistant.retain(|block| !matches!(block, Block::ToolUse(_)));
                }
                let assistant = numbered(assistant, &mut calls);
                let results = results(&assistant, room);
                messages.push(Message { role: Role::Assistant, content: assistant });
                let user = if results.is_empty() { user } else { results };
                messages.push(Message { role: Role::User, content: user });
            }
            // The last word is the user's own, in words: it is Command R's message.
            if messages.len() > 1 {
                let index = messages.len() - 1;
                messages[index].content = last;
            }
            messages
        })
        .boxed()
}

/// Ids in the order of the calls, as Command R numbers them.
fn numbered(mut content: Vec<Block>, calls: &mut usize) -> Vec<Block> {
    for block in &mut content {
        if let Block::ToolUse(tool) = block {
            tool.id = format!("call_{calls}");
            tool.name = format!("{}_{calls}", tool.name);
            *calls += 1;
        }
    }
    content
}

fn results(assistant: &[Block], room: Room) -> Vec<Block> {
    assistant
        .iter()
        .filter_map(|block| match block {
            Block::ToolUse(tool) => Some(Block::ToolResult(ToolResult {
                tool_use_id: tool.id.clone(),
                content: vec![Block::Text(json!({ "seen": tool.name }).to_string())],
                is_error: room.rich_results && tool.name.len() % 2 == 0,
            })),
            _ => None,
        })
        .collect()
}

fn user_text() -> BoxedStrategy<Vec<Block>> {
    said().prop_map(|text| vec![Block::Text(text)]).boxed()
}

fn user(room: Room) -> BoxedStrategy<Vec<Block>> {
    let mut kinds = vec![said().prop_map(Block::Text).boxed()];
    if room.images {
        kinds.push(image().boxed());
    }
    if room.documents {
        kinds.push(document().boxed());
    }
    let most = if kinds.len() > 1 { 4 } else { 2 };
    with_cache(vec(proptest::strategy::Union::new(kinds), 1..most).boxed(), room)
}

fn image() -> impl Strategy<Value = Block> {
    (prop::sample::select(vec!["png", "jpeg", "gif", "webp"]), vec(any::<u8>(), 0..20)).prop_map(
        |(format, bytes)| Block::Image(Image { format: format.to_owned(), bytes: Bytes::from(bytes) }),
    )
}

fn document() -> impl Strategy<Value = Block> {
    ("[a-z]{1,8}", prop::sample::select(vec!["pdf", "txt"]), said()).prop_map(|(name, format, text)| {
        Block::Document(Document { name, format: format.to_owned(), bytes: Bytes::from(text) })
    })
}

fn assistant(room: Room) -> BoxedStrategy<Vec<Block>> {
    let reasoning =
        if room.reasoning { option::of(reasoning(room.redacted)).boxed() } else { Just(None).boxed() };
    let calls = if room.tools { vec(tool_use(), 0..3).boxed() } else { Just(Vec::new()).boxed() };
    (reasoning, said(), calls)
        .prop_map(|(reasoning, text, calls)| {
            let mut content: Vec<Block> = reasoning.into_iter().collect();
            content.push(Block::Text(text));
            content.extend(calls);
            content
        })
        .boxed()
}

/// Signed or redacted where the family has those, else plain.
fn reasoning(redacted: bool) -> BoxedStrategy<Block> {
    if !redacted {
        return said().prop_map(|text| Block::Reasoning(Reasoning::Text { text, signature: None })).boxed();
    }
    prop_oneof![
        (said(), option::of("[a-zA-Z0-9=]{1,12}"))
            .prop_map(|(text, signature)| Block::Reasoning(Reasoning::Text { text, signature })),
        "[a-zA-Z0-9]{1,20}".prop_map(|data| Block::Reasoning(Reasoning::Redacted(Bytes::from(data)))),
    ]
    .boxed()
}

fn tool_use() -> impl Strategy<Value = Block> {
    ("[a-z0-9_]{1,10}", "[a-z_]{1,8}", said(), any::<i32>()).prop_map(|(id, name, text, number)| {
        Block::ToolUse(ToolUse {
            id,
            name,
            input: json!({"text": text, "number": number, "deep": {"list": [1, null]}}),
        })
    })
}

/// Cache points after some of the blocks.
fn with_cache(blocks: BoxedStrategy<Vec<Block>>, room: Room) -> BoxedStrategy<Vec<Block>> {
    if !room.cache {
        return blocks;
    }
    (blocks, any::<u8>())
        .prop_map(|(blocks, marks)| {
            let mut marked = Vec::new();
            for (index, block) in blocks.into_iter().enumerate() {
                marked.push(block);
                if marks & (1 << (index % 8)) != 0 {
                    marked.push(Block::CachePoint);
                }
            }
            marked
        })
        .boxed()
}

/// Any answer a backend can give.
pub(super) fn answer() -> BoxedStrategy<Answer> {
    let block = prop_oneof![
        ".{1,30}".prop_map(Block::Text),
        tool_use(),
        (".{1,20}", option::of("[a-z]{1,9}"))
            .prop_map(|(text, signature)| Block::Reasoning(Reasoning::Text { text, signature })),
        "[a-z]{1,9}".prop_map(|data| Block::Reasoning(Reasoning::Redacted(Bytes::from(data)))),
    ];
    let reason = prop::sample::select(vec![
        StopReason::EndTurn,
        StopReason::ToolUse,
        StopReason::MaxTokens,
        StopReason::StopSequence,
        StopReason::ContentFiltered,
        StopReason::ContextWindowExceeded,
        StopReason::MalformedToolUse,
        StopReason::MalformedOutput,
    ]);
    (vec(block, 0..5), reason, 0..9999_u32, 0..9999_u32, 0..99_u32, 0..99_u32)
        .prop_map(|(content, reason, input, output, read, write)| Answer {
            content,
            finished: Finished {
                reason,
                stop_sequence: (reason == StopReason::StopSequence).then(|| "END".to_owned()),
                usage: Usage {
                    input_tokens: input,
                    output_tokens: output,
                    cache_read_tokens: read,
                    cache_write_tokens: write,
                },
                extra: Value::Null,
            },
        })
        .boxed()
}
