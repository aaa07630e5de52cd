use std::io::Write as _;

use craton_wire::eventstream::Frame;
use serde_json::{Value, json};

use crate::client::{Client, Events};

/// Messages so far, and how to go on.
pub(super) struct Conversation {
    client: Client,
    path: String,
    max_tokens: u32,
    pub(super) system: Option<String>,
    pub(super) temperature: Option<f64>,
    messages: Vec<Value>,
}

/// How an answer ended.
pub(super) enum Ended {
    /// With a line about it.
    Whole(String),
    /// By Ctrl-C.
    Stopped,
}

impl Conversation {
    pub(super) fn new(client: Client, model: &str, max_tokens: u32) -> Self {
        let model = percent_encoding::utf8_percent_encode(model, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/model/{model}/converse-stream");
        Self { client, path, max_tokens, system: None, temperature: None, messages: Vec::new() }
    }

    pub(super) fn reset(&mut self) {
        self.messages.clear();
    }

    /// Says something and prints the answer as it comes. What failed is not remembered.
    pub(super) async fn say(&mut self, prompt: &str) -> anyhow::Result<Ended> {
        self.messages.push(message("user", prompt));
        let mut answer = Answer::default();
        let told = tokio::select! {
            told = stream(&self.client, &self.path, self.request(), &mut answer) => Some(told),
            _ = tokio::signal::ctrl_c() => None,
        };
        if !answer.text.is_empty() {
            println(&mut std::io::stdout())?;
        }
        if answer.text.trim().is_empty() || matches!(told, Some(Err(_))) {
            self.messages.pop();
        } else {
            self.messages.push(message("assistant", &answer.text));
        }
        match told {
            Some(Ok(())) => Ok(Ended::Whole(answer.summary())),
            Some(Err(error)) => Err(error),
            None => Ok(Ended::Stopped),
        }
    }

    fn request(&self) -> Value {
        let mut request = json!({
            "messages": self.messages,
            "inferenceConfig": {"maxTokens": self.max_tokens},
        });
        if let Some(system) = &self.system {
            request["system"] = json!([{"text": system}]);
        }
        if let Some(temperature) = self.temperature {
            request["inferenceConfig"]["temperature"] = temperature.into();
        }
        request
    }
}

fn message(role: &str, text: &str) -> Value {
    json!({"role": role, "content": [{"text": text}]})
}

fn println(out: &mut impl std::io::Write) -> std::io::Result<()> {
    writeln!(out)?;
    out.flush()
}

/// What has been seen of an answer.
#[derive(Default)]
struct Answer {
    text: String,
    served_by: Option<String>,
    stop_reason: String,
    output_tokens: u64,
    latency_ms: u64,
}

impl Answer {
    /// Takes in an event, and gives the text to print.
    fn take(&mut self, frame: &Frame) -> anyhow::Result<Option<String>> {
        let event: Value = serde_json::from_slice(&frame.payload)?;
        let text_at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let number_at = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        match frame.header(":event-type") {
            Some("contentBlockDelta") => {
                if let Some(text) = text_at("/delta/text") {
                    self.text.push_str(&text);
                    return Ok(Some(text));
                }
                Ok(None)
            }
            Some("messageStop") => {
                self.stop_reason = text_at("/stopReason").unwrap_or_default();
                Ok(None)
            }
            Some("metadata") => {
                self.output_tokens = number_at("/usage/outputTokens");
                self.latency_ms = number_at("/metrics/latencyMs");
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn summary(&self) -> String {
        let by = self.served_by.as_ref().map(|by| format!("{by}, ")).unwrap_or_default();
        let cut = if self.stop_reason == "max_tokens" { ", cut off: --max-tokens allows more" } else { "" };
        #[allow(clippy::cast_precision_loss)] // a display of tenths of seconds
        let seconds = self.latency_ms as f64 / 1000.0;
        format!("({by}{} tokens in {seconds:.1} s{cut})", self.output_tokens)
    }
}

async fn stream(client: &Client, path: &str, request: Value, answer: &mut Answer) -> anyhow::Result<()> {
    let response = client.post(path, &request).await?;
    let served_by = response.headers().get("x-craton-served-by");
    answer.served_by = served_by.and_then(|by| by.to_str().ok()).map(str::to_owned);
    let mut events = Events::new(response);
    let mut out = std::io::stdout();
    while let Some(frame) = events.next().await? {
        if let Some(text) = answer.take(&frame)? {
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_gathered_from_its_events() {
        let mut answer = Answer { served_by: Some("local/m".into()), ..Answer::default() };
        let events = [
            ("messageStart", json!({"role": "assistant"})),
            ("contentBlockDelta", json!({"delta": {"text": "Hel"}, "contentBlockIndex": 0})),
            ("contentBlockDelta", json!({"delta": {"text": "lo"}, "contentBlockIndex": 0})),
            ("contentBlockStop", json!({"contentBlockIndex": 0})),
            ("messageStop", json!({"stopReason": "max_tokens"})),
            ("metadata", json!({"usage": {"outputTokens": 2}, "metrics": {"latencyMs": 1500}})),
        ];
        let mut printed = String::new();
        for (name, payload) in events {
            let frame = Frame::json_event(name, payload.to_string());
            printed.extend(answer.take(&frame).unwrap());
        }
        assert_eq!(printed, "Hello");
        assert_eq!(answer.text, "Hello");
        assert_eq!(answer.summary(), "(local/m, 2 tokens in 1.5 s, cut off: --max-tokens allows more)");
    }
}
