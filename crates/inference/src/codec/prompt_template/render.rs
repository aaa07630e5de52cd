//! The inverse of parsing, for tests.

use craton_backend::Role;

use super::{CHAT_ML, Headers, LLAMA_3, LLAMA_4, Style};

/// The conversation as its model's template writes it: turns, then room for the answer.
pub(in super::super) fn render(style: Style, system: Option<&str>, turns: &[(Role, String)]) -> String {
    let name = |role: Role| if role == Role::User { "user" } else { "assistant" };
    let mut out = String::new();
    let last = turns.len().saturating_sub(1);
    let answer_begun = turns.last().is_some_and(|(role, _)| *role == Role::Assistant);
    let header = |out: &mut String, template: &Headers, newline: &str| {
        out.push_str(template.begin);
        for (index, (role, text)) in system
            .iter()
            .map(|text| ("system", *text))
            .chain(turns.iter().map(|(r, t)| (name(*r), t.as_str())))
            .enumerate()
        {
            *out += &format!("{}{role}{}{newline}{text}", template.open, template.close);
            if !(answer_begun && index == last + usize::from(system.is_some())) {
                *out += template.ends[0];
                *out += if template.close == "\n" { "\n" } else { "" };
            }
        }
        if !answer_begun {
            *out += &format!("{}assistant{}{newline}", template.open, template.close);
        }
    };
    match style {
        Style::Llama3 => header(&mut out, &LLAMA_3, "\n\n"),
        Style::Llama4 => header(&mut out, &LLAMA_4, "\n\n"),
        Style::ChatMl => header(&mut out, &Headers { begin: "", ..CHAT_ML }, ""),
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
