use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use craton_api_bedrock_runtime as api;
use craton_backend::{ChatEvent, Usage};
use craton_wire::ApiError;
use craton_wire::types::Blob;
use futures::Stream;
use serde_json::{Map, Value, json};

use crate::active::ActiveChat;
use crate::codec::StreamEncoder;
use crate::error::{self, INVOKE_STREAM_ERRORS};

const METRICS: &str = "amazon-bedrock-invocationMetrics";

/// The chunks of InvokeModelWithResponseStream: what the codec makes of each event, with the invocation's metrics in
/// the last.
pub(super) struct Chunks {
    chat: ActiveChat,
    encoder: Box<dyn StreamEncoder>,
    ready: VecDeque<Value>,
    over: bool,
}

impl Chunks {
    pub(super) fn new(chat: ActiveChat, encoder: Box<dyn StreamEncoder>) -> Self {
        Self { chat, encoder, ready: VecDeque::new(), over: false }
    }

    fn take(&mut self, event: &ChatEvent) -> Result<(), ApiError> {
        let chunks = self.encoder.push(event)?;
        self.ready.extend(chunks);
        if let ChatEvent::Finished(finished) = event {
            let metrics = self.metrics(&finished.usage);
            let guard_fields = self.chat.guards().map(|guards| guards.body_fields()).unwrap_or_default();
            if let Some(Value::Object(last)) = self.ready.back_mut() {
                last.extend(guard_fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
            }
            match self.ready.back_mut() {
                Some(Value::Object(last)) => {
                    last.insert(METRICS.to_owned(), metrics);
                }
                _ => self.ready.push_back(Value::Object(Map::from_iter([(METRICS.to_owned(), metrics)]))),
            }
        }
        Ok(())
    }

    fn metrics(&self, usage: &Usage) -> Value {
        let latency_ms = self.chat.latency_ms();
        let mut metrics = json!({
            "inputTokenCount": usage.input_tokens,
            "outputTokenCount": usage.output_tokens,
            "invocationLatency": latency_ms,
            "firstByteLatency": self.chat.first_token_ms().unwrap_or(latency_ms),
        });
        if usage.cache_read_tokens + usage.cache_write_tokens > 0 {
            metrics["cacheReadInputTokenCount"] = usage.cache_read_tokens.into();
            metrics["cacheWriteInputTokenCount"] = usage.cache_write_tokens.into();
        }
        metrics
    }
}

fn chunk(value: &Value) -> Result<api::ResponseStream, ApiError> {
    let bytes = serde_json::to_vec(value).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(api::ResponseStream::Chunk(api::PayloadPart { bytes: Some(Blob::from(bytes)) }))
}

impl Stream for Chunks {
    type Item = Result<api::ResponseStream, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(value) = self.ready.pop_front() {
                return Poll::Ready(Some(chunk(&value)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let error = match ready!(Pin::new(&mut self.chat).poll_next(context)) {
                Some(Ok(event)) => match self.take(&event) {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Some(Err(error)) => error,
                None => return Poll::Ready(None),
            };
            self.over = true;
            self.ready.clear();
            return Poll::Ready(Some(Err(error::in_stream(error, INVOKE_STREAM_ERRORS))));
        }
    }
}
