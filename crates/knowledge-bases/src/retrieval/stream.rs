//! RetrieveAndGenerateStream: the answer's text as it is made, then what it rests on.
//!
//! Citations follow the text, because a sentence is compared with the passages when it is whole; their spans point
//! into all of it. Dropping the stream cancels the model's work.

use std::collections::VecDeque;

use craton_api_bedrock_agent_runtime as api;
use craton_backend::{ChatEvent, StopReason};
use craton_core::RequestContext;
use craton_inference::error::in_runtime_stream;
use craton_wire::ApiError;
use futures::StreamExt as _;

use super::Retrieval;
use super::attribution::Cleaner;
use super::generate::{Ready, nothing_found, text_of};
use super::sessions::Turn;

const OPERATION: &str = "RetrieveAndGenerateStream";

type Event = api::RetrieveAndGenerateStreamResponseOutput;

/// An answer under way.
struct Telling {
    service: Retrieval,
    context: RequestContext,
    ready: Option<Ready>,
    cleaner: Cleaner,
    /// A guardrail has put its words in the answer's place.
    intervened: bool,
    /// Events that wait to be taken.
    queue: VecDeque<Event>,
}

impl Retrieval {
    pub async fn retrieve_and_generate_stream(
        &self,
        context: &RequestContext,
        input: api::RetrieveAndGenerateStreamRequest,
    ) -> Result<api::RetrieveAndGenerateStreamResponse, ApiError> {
        let input = api::RetrieveAndGenerateRequest {
            input: input.input,
            retrieve_and_generate_configuration: input.retrieve_and_generate_configuration,
            session_configuration: input.session_configuration,
            session_id: input.session_id,
            user_context: input.user_context,
        };
        let ready = self.ready(context, input, OPERATION, true).await?;
        let session_id = ready.session.id.clone();
        let telling = Telling {
            service: self.clone(),
            context: context.clone(),
            cleaner: ready.basis.cleaner(),
            ready: Some(ready),
            intervened: false,
            queue: VecDeque::new(),
        };
        let events = futures::stream::try_unfold(telling, |mut telling| async move {
            let next = telling.next().await;
            let event = next.map_err(|error| in_runtime_stream(error, OPERATION))?;
            Ok(event.map(|event| (event, telling)))
        });
        Ok(api::RetrieveAndGenerateStreamResponse { session_id, stream: Box::pin(events) })
    }
}

impl Telling {
    async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            let Some(ready) = &mut self.ready else { return Ok(None) };
            match &mut ready.chat {
                None => {
                    let all = self.cleaner.push(nothing_found());
                    self.say(all);
                    self.conclude().await?;
                }
                Some(chat) => match chat.next().await.transpose()? {
                    Some(ChatEvent::BlockDelta { delta, .. }) => {
                        let shown = text_of(delta).map(|text| self.cleaner.push(&text));
                        self.say(shown.unwrap_or_default());
                    }
                    Some(ChatEvent::Finished(finished)) => {
                        self.intervened = finished.reason == StopReason::GuardrailIntervened;
                    }
                    Some(_) => {}
                    None => self.conclude().await?,
                },
            }
        }
    }

    fn say(&mut self, text: String) {
        if !text.is_empty() {
            self.queue.push_back(Event::Output(api::RetrieveAndGenerateOutputEvent { text }));
        }
    }

    /// The end of the text: its citations, and the turn remembered.
    async fn conclude(&mut self) -> Result<(), ApiError> {
        let Some(Ready { session, question, basis, chat }) = self.ready.take() else { return Ok(()) };
        drop(chat);
        let rest = self.cleaner.finish();
        self.say(rest);
        if self.intervened {
            let action = Some(api::GuadrailAction::Intervened);
            self.queue.push_back(Event::Guardrail(api::GuardrailEvent { action }));
        }
        for citation in basis.citations(&self.cleaner, self.intervened).await? {
            self.queue.push_back(Event::Citation(api::CitationEvent {
                citation: Some(citation.clone()),
                generated_response_part: citation.generated_response_part,
                retrieved_references: citation.retrieved_references,
            }));
        }
        let turn = Turn { question, answer: self.cleaner.text().to_owned() };
        self.service.remember(&self.context, session, turn).await
    }
}
