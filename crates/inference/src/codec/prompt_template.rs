//! Prompts written in a model's chat template, parsed back into the conversation they stand for.
//!
//! A program that calls `meta.llama3-…` sends one string with Llama's control tokens in it. Whatever model serves the
//! call has its own template, so the string must become messages again: tokens of another model's template would be
//! noise to it. A string in no template is one user message. Text after the last assistant header is the beginning of
//! the answer, and becomes a trailing assistant message.
//!
//! Parsing is linear in the prompt, tolerant of whitespace and of missing begin tokens, and never fails.

use craton_backend::{Block, Message, Role};

/// How a conversation is written as one string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// `<|start_header_id|>user<|end_header_id|>\n\n…<|eot_id|>`
    Llama3,
    /// `<|header_start|>user<|header_end|>\n\n…<|eot|>`
    Llama4,
    /// `<|im_start|>user\n…<|im_end|>`
    ChatMl,
    /// `<s>[INST] … [/INST] …</s>`: Mistral, and Llama 2 with `<<SYS>>`.
    Inst,
    /// `<｜User｜>…<｜Assistant｜>…<｜end▁of▁sentence｜>`, which clients also spell in ASCII.
    DeepSeek,
    /// `\n\nHuman: …\n\nAssistant: …`
    HumanAssistant,
    /// `User: …\nBot: …`
    UserBot,
}

impl Style {
    /// Those that plain prose does not look like, tried on every family.
    pub const ALL: &'static [Style] =
        &[Style::Llama3, Style::Llama4, Style::ChatMl, Style::DeepSeek, Style::Inst, Style::HumanAssistant];
    /// With Titan's, which is taken for one in Titan prompts only.
    pub const WITH_TITAN: &'static [Style] = &[
        Style::Llama3,
        Style::Llama4,
        Style::ChatMl,
        Style::DeepSeek,
        Style::Inst,
        Style::HumanAssistant,
        Style::UserBot,
    ];
}

/// The conversation in a prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    pub system: Vec<Block>,
    pub messages: Vec<Message>,
}

/// Parses `prompt` by the first of `styles` it is written in.
#[must_use]
pub fn parse(prompt: &str, styles: &[Style]) -> Parsed {
    for style in styles {
        let turns = match style {
            Style::Llama3 => headers(prompt, &LLAMA_3),
            Style::Llama4 => headers(prompt, &LLAMA_4),
            Style::ChatMl => headers(prompt, &CHAT_ML),
            Style::Inst => inst(prompt),
            Style::DeepSeek => deepseek(prompt),
            Style::HumanAssistant => human_assistant(prompt),
            Style::UserBot => user_bot(prompt),
        };
        if let Some(turns) = turns {
            let parsed = conversation(turns);
            if !parsed.messages.is_empty() {
                return parsed;
            }
        }
    }
    let content = vec![Block::Text(prompt.to_owned())];
    Parsed { system: Vec::new(), messages: vec![Message { role: Role::User, content }] }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    System,
    User,
    Assistant,
}

type Turns<'a> = Vec<(Speaker, &'a str)>;

struct Headers {
    begin: &'static str,
    open: &'static str,
    close: &'static str,
    ends: &'static [&'static str],
}

const LLAMA_3: Headers = Headers {
    begin: "<|begin_of_text|>",
    open: "<|start_header_id|>",
    close: "<|end_header_id|>",
    ends: &["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"],
};
const LLAMA_4: Headers = Headers {
    begin: "<|begin_of_text|>",
    open: "<|header_start|>",
    close: "<|header_end|>",
    ends: &["<|eot|>", "<|eom|>", "<|end_of_text|>"],
};
const CHAT_ML: Headers =
    Headers { begin: "<|endoftext|>", open: "<|im_start|>", close: "\n", ends: &["<|im_end|>"] };

fn headers<'a>(prompt: &'a str, template: &Headers) -> Option<Turns<'a>> {
    let (before, rest) = prompt.split_once(template.open)?;
    let mut turns = vec![(Speaker::System, without_begin(before, template.begin))];
    for turn in rest.split(template.open) {
        let (role, text) = turn.split_once(template.close).unwrap_or((turn, ""));
        let text =
            template.ends.iter().filter_map(|end| text.find(end)).min().map_or(text, |end| &text[..end]);
        turns.push((speaker(role), text));
    }
    Some(turns)
}

/// Tool results (`ipython`, `tool`) are given to the model as the user's turn.
fn speaker(role: &str) -> Speaker {
    match role.trim() {
        "system" | "developer" => Speaker::System,
        "assistant" => Speaker::Assistant,
        _ => Speaker::User,
    }
}

fn inst(prompt: &str) -> Option<Turns<'_>> {
    let (before, rest) = prompt.split_once("[INST]")?;
    let mut turns = Vec::new();
    let before = without_begin(before, "<s>").trim();
    let before = before.strip_prefix("[SYSTEM_PROMPT]").unwrap_or(before);
    turns.push((Speaker::System, before.strip_suffix("[/SYSTEM_PROMPT]").unwrap_or(before)));
    for turn in rest.split("[INST]") {
        let (mut user, assistant) = turn.split_once("[/INST]").unwrap_or((turn, ""));
        if let Some((system, after)) =
            user.trim_start().strip_prefix("<<SYS>>").and_then(|text| text.split_once("<</SYS>>"))
        {
            turns.push((Speaker::System, system));
            user = after;
        }
        turns.push((Speaker::User, user));
        turns.push((Speaker::Assistant, assistant.split("</s>").next().unwrap_or("")));
    }
    Some(turns)
}

fn deepseek(prompt: &str) -> Option<Turns<'_>> {
    const ENDS: [&str; 2] = ["<｜end▁of▁sentence｜>", "<|end_of_sentence|>"];
    let markers = [
        ("<｜User｜>", Speaker::User),
        ("<｜Assistant｜>", Speaker::Assistant),
        ("<|System|>", Speaker::System),
        ("<|User|>", Speaker::User),
        ("<|Assistant|>", Speaker::Assistant),
    ];
    let prompt = without_begin(prompt, "<｜begin▁of▁sentence｜>");
    let mut turns = marked(without_begin(prompt, "<|begin_of_sentence|>"), &markers)?;
    for (speaker, text) in &mut turns {
        let end = ENDS.iter().filter_map(|end| text.find(end)).min();
        *text = end.map_or(*text, |end| &text[..end]);
        // R1's template opens the model's reasoning for it, which means nothing to another model.
        if *speaker == Speaker::Assistant && text.trim() == "<think>" {
            *text = "";
        }
    }
    Some(turns)
}

fn human_assistant(prompt: &str) -> Option<Turns<'_>> {
    let markers = [("\n\nHuman:", Speaker::User), ("\n\nAssistant:", Speaker::Assistant)];
    dialogue(prompt, "Human:", &markers)
}

/// Taken for a template only when it starts with the user's turn, because prose may well contain `User:`.
fn user_bot(prompt: &str) -> Option<Turns<'_>> {
    let markers = [("\nUser:", Speaker::User), ("\nBot:", Speaker::Assistant)];
    prompt.trim_start().starts_with("User:").then(|| dialogue(prompt, "User:", &markers)).flatten()
}

/// A template of plain words: both speakers must occur, and the first may lack its leading newlines.
fn dialogue<'a>(prompt: &'a str, first: &str, markers: &[(&str, Speaker); 2]) -> Option<Turns<'a>> {
    let (head, tail) = match prompt.trim_start().strip_prefix(first) {
        // The user's first turn ends where the next marker begins.
        Some(rest) => {
            let end = markers.iter().filter_map(|(marker, _)| rest.find(marker)).min()?;
            (Some(&rest[..end]), &rest[end..])
        }
        None => (None, prompt),
    };
    let mut turns = marked(tail, markers)?;
    if let Some(head) = head {
        turns.insert(1, (Speaker::User, head));
    }
    let has = |wanted| turns.iter().any(|(speaker, _)| *speaker == wanted);
    (has(Speaker::User) && has(Speaker::Assistant)).then_some(turns)
}

/// What is before the first marker as the system's turn, then one turn a marker.
fn marked<'a>(text: &'a str, markers: &[(&str, Speaker)]) -> Option<Turns<'a>> {
    let mut found: Vec<(usize, usize, Speaker)> = markers
        .iter()
        .flat_map(|(marker, speaker)| {
            text.match_indices(marker).map(|(start, marker)| (start, start + marker.len(), *speaker))
        })
        .collect();
    found.sort_unstable_by_key(|(start, ..)| *start);
    let first = found.first()?.0;
    let mut turns = vec![(Speaker::System, &text[..first])];
    for (index, (_, start, speaker)) in found.iter().enumerate() {
        let end = found.get(index + 1).map_or(text.len(), |(next, ..)| *next);
        turns.push((*speaker, &text[*start..end]));
    }
    Some(turns)
}

fn without_begin<'a>(text: &'a str, begin: &str) -> &'a str {
    let trimmed = text.trim_start();
    trimmed.strip_prefix(begin).unwrap_or(text)
}

/// Turns that say nothing are dropped: an empty assistant turn is only where the answer goes.
fn conversation(turns: Turns<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    for (speaker, text) in turns {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let block = Block::Text(text.to_owned());
        match speaker {
            Speaker::System => parsed.system.push(block),
            Speaker::User => parsed.messages.push(Message { role: Role::User, content: vec![block] }),
            Speaker::Assistant => {
                parsed.messages.push(Message { role: Role::Assistant, content: vec![block] })
            }
        }
    }
    parsed
}

#[cfg(test)]
pub(super) mod render;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::render::render;
    use super::*;

    const EVERY: [Style; 7] = [
        Style::Llama3,
        Style::Llama4,
        Style::ChatMl,
        Style::Inst,
        Style::DeepSeek,
        Style::HumanAssistant,
        Style::UserBot,
    ];

    fn texts(parsed: &Parsed) -> (Vec<String>, Vec<(Role, String)>) {
        let text = |block: &Block| match block {
            Block::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        (
            parsed.system.iter().map(text).collect(),
            parsed.messages.iter().map(|message| (message.role, text(&message.content[0]))).collect(),
        )
    }

    /// Text without the templates' own tokens; every template forbids some of these.
    fn said() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9äß.,!?<>|: \n]{1,40}".prop_map(|text| text.trim().to_owned()).prop_filter(
            "says something",
            |text| {
                !text.is_empty()
                    && !["Human:", "Assistant:", "User:", "Bot:"].iter().any(|word| text.contains(word))
            },
        )
    }

    proptest! {
        #[test]
        fn rendering_then_parsing_gives_the_conversation(
            style in proptest::sample::select(&EVERY),
            system in proptest::option::of(said()),
            said in proptest::collection::vec(said(), 1..6),
        ) {
            // Titan's template has no system turn.
            let system = system.filter(|_| style != Style::UserBot);
            let turns: Vec<(Role, String)> = said
                .into_iter()
                .enumerate()
                .map(|(index, text)| (if index % 2 == 0 { Role::User } else { Role::Assistant }, text))
                .collect();
            let prompt = render(style, system.as_deref(), &turns);
            let (found_system, found) = texts(&parse(&prompt, Style::WITH_TITAN));
            prop_assert_eq!(found_system, system.into_iter().collect::<Vec<_>>(), "{}", prompt);
            prop_assert_eq!(found, turns, "{}", prompt);
        }

        #[test]
        fn any_prompt_parses_to_something(prompt in "(<s>|\\[INST\\]|\\[/INST\\]|<\\|im_start\\|>|user|\n|Human:|Bot:|User:|<\\|end_header_id\\|>|<\\|start_header_id\\|>|.){1,30}") {
            prop_assert!(!parse(&prompt, Style::WITH_TITAN).messages.is_empty());
        }
    }

    #[test]
    fn plain_text_is_one_user_message_unchanged() {
        for prompt in ["  Hello \n", "Assistant: hi", "Compare User: and Bot: labels", ""] {
            let (system, turns) = texts(&parse(prompt, Style::WITH_TITAN));
            assert!(system.is_empty());
            assert_eq!(turns, [(Role::User, prompt.to_owned())]);
        }
    }

    #[test]
    fn whitespace_and_begin_tokens_are_optional() {
        let prompt = "<|start_header_id|> system <|end_header_id|>Be brief.<|eot_id|>\n\n  <|start_header_id|>user<|end_header_id|>\nHi<|eot_id|>\n<|start_header_id|>assistant<|end_header_id|>";
        let (system, turns) = texts(&parse(prompt, Style::ALL));
        assert_eq!(system, ["Be brief."]);
        assert_eq!(turns, [(Role::User, "Hi".to_owned())]);
        let (_, turns) = texts(&parse("[INST]Hi[/INST]Hello there</s> [INST]Bye[/INST] So", Style::ALL));
        let said: Vec<&str> = turns.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(said, ["Hi", "Hello there", "Bye", "So"]);
        let (system, turns) = texts(&parse(
            "\n<|begin_of_sentence|><|System|>Be brief.<|User|>Hi<|Assistant|>Yes?<|end_of_sentence|><|User|>Bye<|Assistant|>\n\n",
            Style::ALL,
        ));
        assert_eq!(system, ["Be brief."]);
        let said: Vec<&str> = turns.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(said, ["Hi", "Yes?", "Bye"]);
        let (_, turns) = texts(&parse("Human: Hi\n\nAssistant:", Style::ALL));
        assert_eq!(turns, [(Role::User, "Hi".to_owned())]);
    }

    #[test]
    fn tool_output_is_the_users_turn() {
        let prompt = "<|start_header_id|>ipython<|end_header_id|>\n\n42<|eot_id|>";
        assert_eq!(texts(&parse(prompt, Style::ALL)).1, [(Role::User, "42".to_owned())]);
    }
}
