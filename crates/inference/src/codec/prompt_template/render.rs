//! The inverse of parsing, for tests.

use craton_backend::Role;

use super::{CHAT_ML, Headers, LLAMA_3, LLAMA_4, Style};

/// The conversation as its model's template writes it: turns, then room for the answer.
pub(in super::super) fn render(style: Style, system: Option<&str>, turns: &[(Role, String)]) -> String {
    let mut out = String::new();
    let last = turns.len().saturating_sub(1);
    let answer_begun = turns.last().is_some_and(|(role, _)| *role == Role::Assistant);
    match style {
        Style::Llama3 => out = headers(&LLAMA_3, "\n\n", system, turns),
        Style::Llama4 => out = headers(&LLAMA_4, "\n\n", system, turns),
        Style::ChatMl => out = headers(&Headers { begin: "", ..CHAT_ML }, "", system, turns),
        Style::Inst => {
            out += "<s>";
            let mut system = system;
            for (index, (role, text)) in turns.iter().enumerate() {
                match role {
                    Role::User => {
                        let system = system
                            .take()
                            .map(|text| format!("<<SYS>>\n{text}\n<</SYS>>\n\n"))
                            .unwrap_or_default();
                        out += &format!("[INST] {system}{text} [/INST]");
                    }
                    Role::Assistant => {
                        out += &format!(" {text}{}", if index == last { "" } else { "</s>" });
                    }
                }
            }
        }
        Style::DeepSeek => {
            out += "<｜begin▁of▁sentence｜>";
            out += system.unwrap_or_default();
            for (index, (role, text)) in turns.iter().enumerate() {
                match role {
                    Role::User => out += &format!("<｜User｜>{text}"),
                    Role::Assistant => {
                        let end = if index == last { "" } else { "<｜end▁of▁sentence｜>" };
                        out += &format!("<｜Assistant｜>{text}{end}");
                    }
                }
            }
            out += if answer_begun { "" } else { "<｜Assistant｜><think>\n" };
        }
        Style::HumanAssistant | Style::UserBot => {
            let (user, assistant) = if style == Style::UserBot {
                ("\nUser:", "\nBot:")
            } else {
                ("\n\nHuman:", "\n\nAssistant:")
            };
            out += system.unwrap_or_default();
            for (role, text) in turns {
                out += &format!("{} {text}", if *role == Role::User { user } else { assistant });
            }
            out += if answer_begun { "" } else { assistant };
        }
    }
    out
}

fn headers(template: &Headers, newline: &str, system: Option<&str>, turns: &[(Role, String)]) -> String {
    let turn = |name: &str, text: &str, ended: bool| {
        let end = if ended { template.ends[0] } else { "" };
        let gap = if ended && template.close == "\n" { "\n" } else { "" };
        format!("{}{name}{}{newline}{text}{end}{gap}", template.open, template.close)
    };
    let mut out = template.begin.to_owned();
    out.extend(system.map(|text| turn("system", text, true)));
    for (index, (role, text)) in turns.iter().enumerate() {
        let user = *role == Role::User;
        out += &turn(if user { "user" } else { "assistant" }, text, user || index + 1 < turns.len());
    }
    if turns.last().is_none_or(|(role, _)| *role == Role::User) {
        out += &turn("assistant", "", false);
    }
    out
}
