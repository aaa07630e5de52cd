//! Answers as models of each family write them, special tokens and all.

use proptest::prelude::*;

use super::*;

fn read(dialect: Dialect, reasoning: bool, pieces: &[&str]) -> Vec<Piece> {
    let names = vec!["get_weather".to_owned(), "search".to_owned()];
    let mut reader = Reader::new(dialect, names, reasoning);
    let mut all: Vec<Piece> = pieces.iter().flat_map(|piece| reader.push(piece)).collect();
    all.extend(reader.finish());
    // Neighbours of one kind are one.
    let mut merged: Vec<Piece> = Vec::new();
    for piece in all {
        match (merged.last_mut(), piece) {
            (Some(Piece::Text(text)), Piece::Text(more))
            | (Some(Piece::Reasoning(text)), Piece::Reasoning(more))
            | (Some(Piece::Input(text)), Piece::Input(more)) => text.push_str(&more),
            (_, piece) => merged.push(piece),
        }
    }
    merged
}

fn call(name: &str, input: &str) -> [Piece; 3] {
    [Piece::CallStart(name.to_owned()), Piece::Input(input.to_owned()), Piece::CallEnd]
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

fn reasoning(text: &str) -> Piece {
    Piece::Reasoning(text.to_owned())
}

/// (dialect, what the model wrote, what it says)
fn recorded() -> Vec<(Dialect, &'static str, Vec<Piece>)> {
    let lisbon = r#"{"city": "Lisbon"}"#;
    let both = || [call("get_weather", lisbon), call("search", r#"{"q": "a } \" b"}"#)].concat();
    vec![
        (
            Dialect::Llama,
            r#"{"name": "get_weather", "parameters": {"city": "Lisbon"}}"#,
            call("get_weather", lisbon).to_vec(),
        ),
        (
            Dialect::Llama,
            r#"<|python_tag|>{"type": "function", "name": "get_weather", "parameters": {"city": "Lisbon"}}"#,
            call("get_weather", lisbon).to_vec(),
        ),
        (
            Dialect::Llama,
            r#"<|python_tag|>{"name": "get_weather", "parameters": {"city": "Lisbon"}}; {"name": "search", "parameters": {"q": "a } \" b"}}"#,
            both(),
        ),
        (Dialect::Llama, r#"{"a": 1} is JSON."#, vec![text(r#"{"a": 1} is JSON."#)]),
        (Dialect::Llama, "It is sunny.", vec![text("It is sunny.")]),
        (
            Dialect::Mistral,
            r#"[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Lisbon"}}, {"name": "search", "arguments": {"q": "a } \" b"}}]"#,
            both(),
        ),
        (
            Dialect::Mistral,
            r#"[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Lisbon"}, "id": "Ab1{,}c"}]"#,
            call("get_weather", lisbon).to_vec(),
        ),
        (
            Dialect::Mistral,
            r#"I look.[TOOL_CALLS]get_weather[ARGS]{"city": "Lisbon"}[TOOL_CALLS]search[CALL_ID]x1[ARGS]{"q": "a } \" b"}"#,
            [vec![text("I look.")], both()].concat(),
        ),
        (
            Dialect::Mistral,
            "[THINK]It is in [brackets].[/THINK]It is sunny [today].",
            vec![reasoning("It is in [brackets]."), text("It is sunny [today].")],
        ),
        (
            Dialect::DeepSeek,
            "<think>\nWhere?\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"Lisbon\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>search\n```json\n{\"q\": \"a } \\\" b\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            [vec![reasoning("\nWhere?\n")], both()].concat(),
        ),
        (
            Dialect::DeepSeek,
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": \"Lisbon\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            call("get_weather", lisbon).to_vec(),
        ),
        (
            Dialect::Harmony,
            "<|channel|>analysis<|message|>The user asks for weather.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\": \"Lisbon\"}<|call|>",
            [vec![reasoning("The user asks for weather.")], call("get_weather", lisbon).to_vec()].concat(),
        ),
        (
            Dialect::Harmony,
            "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>It is sunny.<|return|>",
            vec![reasoning("Easy."), text("It is sunny.")],
        ),
        (
            Dialect::Harmony,
            " to=functions.get_weather<|channel|>commentary json<|message|>{\"city\": \"Lisbon\"}<|call|>",
            call("get_weather", lisbon).to_vec(),
        ),
    ]
}

#[test]
fn recorded_answers_are_understood() {
    for (dialect, answer, expected) in recorded() {
        assert_eq!(read(dialect, false, &[answer]), expected, "{answer}");
        let letters: Vec<String> = answer.chars().map(String::from).collect();
        let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
        assert_eq!(read(dialect, false, &letters), expected, "letter by letter: {answer}");
    }
}

#[test]
fn reasoning_that_the_prompt_began_ends_at_its_marker() {
    let found = read(Dialect::DeepSeek, true, &["So it is.", "</th", "ink>", "Yes."]);
    assert_eq!(found, [reasoning("So it is."), text("Yes.")]);
}

#[test]
fn unreadable_calls_are_told() {
    for (dialect, answer) in [
        (Dialect::Mistral, r#"[TOOL_CALLS][{"name": "unknown", "arguments": {}}]"#),
        (Dialect::Mistral, r#"[TOOL_CALLS][{"nome": "search"}]"#),
        (Dialect::Mistral, r#"[TOOL_CALLS]"#),
        (Dialect::DeepSeek, "<｜tool▁call▁begin｜>search {}"),
        (Dialect::Llama, r#"<|python_tag|>print("hello")"#),
        (Dialect::Harmony, "<|channel|>commentary to=functions.search<|message|>{not json}<|call|>"),
        (Dialect::Harmony, "<|channel|>commentary to=functions.search<|message|>[1]<|call|>"),
    ] {
        assert_eq!(read(dialect, false, &[answer]).last(), Some(&Piece::Malformed), "{answer}");
    }
}

#[test]
fn templates_tell_their_family() {
    for (template, dialect) in [
        ("{{ tools }}<tool_call>", Dialect::Hermes),
        ("<|im_start|>", Dialect::Hermes),
        ("{{ tools }}[AVAILABLE_TOOLS][TOOL_CALLS]", Dialect::Mistral),
        ("{% if tools %}<|python_tag|>", Dialect::Llama),
        ("{% if tools %}<｜tool▁call▁begin｜>", Dialect::DeepSeek),
        // Without declared tools the engine's own instructions apply.
        ("<｜tool▁call▁begin｜>", Dialect::Hermes),
        ("<|start|>assistant<|channel|>final", Dialect::Harmony),
    ] {
        assert_eq!(Dialect::of(template), dialect, "{template}");
    }
    let id = Dialect::Mistral.call_id("tooluse_1");
    assert!(
        id.len() == 9
            && id.chars().all(|c| c.is_ascii_alphanumeric())
            && id != Dialect::Mistral.call_id("tooluse_2")
    );
}

proptest! {
    /// However an answer is cut, and whatever it is made of, the same is read from it.
    #[test]
    fn cuts_do_not_matter(
        which in 0_usize..14,
        noise in proptest::collection::vec(prop_oneof![
            Just("<|"), Just("[TOOL"), Just("_CALLS]"), Just("{\"name\": \"search\", "), Just("\"arguments\": {"),
            Just("}"), Just("<|channel|>"), Just("<|message|>"), Just("é"), Just("<think>"), Just("<｜tool▁sep｜>")
        ], 0..8),
        cuts in proptest::collection::vec(0_usize..400, 0..6),
    ) {
        let (dialect, answer, _) = recorded().swap_remove(which);
        let answer = answer.to_owned() + &noise.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| answer.floor_char_boundary(cut)).collect();
        cuts.push(answer.len());
        cuts.sort_unstable();
        let mut from = 0;
        let mut parts = Vec::new();
        for cut in cuts {
            parts.push(&answer[from..cut]);
            from = cut;
        }
        prop_assert_eq!(read(dialect, false, &parts), read(dialect, false, &[&answer]));
    }
}
