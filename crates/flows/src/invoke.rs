//! InvokeFlow: a run whose events go to the client as they happen.
//!
//! The run is polled by the client's stream and by nothing else ([`Driven`]): a client that goes away drops it, and with
//! it every call that it waits for.
//!
//! When an agent asks its user something, the run goes on as far as it can without the answer. What its nodes gave is
//! then kept under the execution's id (`conversation`), and the next InvokeFlow with that id and an input for the
//! agent's node takes the run up again: nodes that have ended are not run again.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use craton_api_bedrock_agent::FlowNodeType;
use craton_api_bedrock_agent_runtime as api;
use craton_api_bedrock_agent_runtime::FlowResponseStream as Event;
use craton_core::RequestContext;
use craton_inference::error::in_runtime_stream;
use craton_wire::ApiError;
use craton_wire::driven::{Driven, Feed};
use futures::future::FutureExt as _;
use serde_json::Value;

use crate::Flows;
use crate::conversation::{Answering, Conversation, Place, Progress, Waiting};
use crate::definition::{Graph, Node};
use crate::run::event::RunEvent;
use crate::run::{Engine, Given, RecordError, Recorder};
use crate::runnable::{Caller, Runnable, entry, latency};
use crate::work::node_type;

/// How much longer than its own time a run may last for a client who does not read.
const READER: Duration = Duration::from_secs(5);

/// What a run begins with.
#[derive(Default)]
struct Start {
    input: Value,
    replies: BTreeMap<String, Value>,
    /// What else waits for an answer.
    waiting: Vec<Waiting>,
    /// Of a run that is taken up again: the right to do so, and the record that goes when that comes to an end.
    answering: Option<Answering>,
}

impl Flows {
    pub async fn invoke_flow(
        &self,
        context: &RequestContext,
        input: api::InvokeFlowRequest,
    ) -> Result<api::InvokeFlowResponse, ApiError> {
        let runnable = self.runnable(context, &input.flow_identifier, &input.flow_alias_identifier).await?;
        let execution_id = input.execution_id.unwrap_or_else(|| self.parts.ids.uuid());
        let resumed = self.resumed(&runnable, &execution_id, &input.inputs).await?;
        let (runnable, start) = match resumed {
            Some((runnable, start)) => (runnable, start),
            None => {
                let document = entry(&runnable.graph()?, &input.inputs)?;
                (runnable, Start { input: document, ..Start::default() })
            }
        };
        let graph = runnable.graph()?;
        let traced = input.enable_trace == Some(true);
        let caller = Caller {
            context: context.clone(),
            execution_id: execution_id.clone(),
            traced,
            latency: latency(input.model_performance_configuration.as_ref()),
            answers: true,
        };
        let feed = Feed::default();
        let Start { input: document, replies, waiting, answering } = start;
        let listener = Listener {
            feed: feed.clone(),
            traced,
            remembers: has_agents(&graph),
            progress: answering.as_ref().map(Answering::progress).unwrap_or_default(),
            replies,
            waited: waiting,
        };
        let (flows, id) = (self.clone(), execution_id.clone());
        let run = async move {
            flows.answer_client((runnable, graph), caller, (&listener, answering), (&id, document)).await
        };
        let most = Duration::from_secs(self.parts.config.invoke_timeout_s) + READER;
        let response_stream = Box::pin(Driven::new(feed, run.boxed(), (most, too_slow(most))));
        Ok(api::InvokeFlowResponse { execution_id: Some(execution_id), response_stream })
    }

    /// What is taken up again, where the input answers what an earlier run asked.
    async fn resumed(
        &self,
        runnable: &Runnable,
        execution_id: &str,
        inputs: &[api::FlowInput],
    ) -> Result<Option<(Runnable, Start)>, ApiError> {
        let Some(input) = inputs.first() else { return Ok(None) };
        let place = Place::of((&runnable.flow, &runnable.alias_id), execution_id);
        let taken = self.conversations().take(&place, &input.node_name).await?;
        let Some((conversation, answering)) = taken else { return Ok(None) };
        let Conversation { version, body, input: document, mut waiting, .. } = conversation;
        let api::FlowInputContent::Document(reply) = &input.content;
        let answered = waiting.iter().position(|it| it.node == input.node_name);
        let answered = answered.map(|at| waiting.remove(at));
        let replies = answered.map(|it| (it.key, reply.clone())).into_iter().collect();
        let runnable = Runnable {
            flow: runnable.flow.clone(),
            alias_id: runnable.alias_id.clone(),
            version,
            body,
            concurrency: runnable.concurrency,
        };
        let answering = Some(answering);
        Ok(Some((runnable, Start { input: document, replies, waiting, answering })))
    }

    /// Runs a flow to its end, or until it waits, which is kept before the client is told.
    async fn answer_client(
        &self,
        (runnable, graph): (Runnable, Graph),
        caller: Caller,
        (listener, answering): (&Listener, Option<Answering>),
        (execution_id, input): (&str, Value),
    ) -> Result<(), ApiError> {
        let run = self.run_for_client((&runnable, &graph), caller, listener, input.clone());
        let ended = match &answering {
            Some(answering) => tokio::select! {
                ended = run => ended,
                lost = answering.lost() => Err(lost),
            },
            None => run.await,
        };
        let complete = match (ended, answering) {
            (Ok(true), Some(answering)) => answering.forget().await.map(|()| true)?,
            (Ok(true), None) => true,
            (Ok(false), answering) => {
                let place = Place::of((&runnable.flow, &runnable.alias_id), execution_id);
                // Copied: a run that can't be kept so is kept as it was, with what it has come to.
                let conversation = Conversation {
                    version: runnable.version,
                    body: runnable.body,
                    input,
                    done: listener.progress.done.lock().clone(),
                    waiting: listener.progress.asked.lock().clone(),
                };
                match answering {
                    Some(answering) => answering.wait(&conversation).await?,
                    None => self.conversations().keep(&place, &conversation).await?,
                }
                false
            }
            (Err(error), Some(answering)) => {
                answering.release().await;
                return Err(error);
            }
            (Err(error), None) => return Err(error),
        };
        let completion_reason = match complete {
            true => api::FlowCompletionReason::Success,
            false => api::FlowCompletionReason::InputRequired,
        };
        listener.tell(Event::FlowCompletionEvent(api::FlowCompletionEvent { completion_reason }));
        Ok(())
    }

    /// Whether the flow came to its end; where it did not, it waits for answers.
    async fn run_for_client(
        &self,
        (runnable, graph): (&Runnable, &Graph),
        caller: Caller,
        listener: &Listener,
        input: Value,
    ) -> Result<bool, ApiError> {
        let nodes = self.nodes(runnable, caller);
        let limits = self.parts.config.limits(runnable.concurrency);
        let most = Duration::from_secs(self.parts.config.invoke_timeout_s);
        let engine = Engine::new(&nodes, listener, &*self.parts.clock, limits);
        let run = tokio::time::timeout(most, engine.run(graph, input)).await;
        run.map_err(|_| too_slow(most))?.map_err(|error| in_runtime_stream(error.into_api(), "InvokeFlow"))
    }
}

fn too_slow(most: Duration) -> ApiError {
    ApiError::new("DependencyFailedException", format!("The flow took more than {} seconds.", most.as_secs()))
}

fn has_agents(graph: &Graph) -> bool {
    let mut nodes = graph.nodes.iter();
    nodes.any(|node| node.kind == FlowNodeType::Agent || node.body.as_deref().is_some_and(has_agents))
}

/// Passes what happens on to a client.
struct Listener {
    feed: Feed<Event>,
    traced: bool,
    /// Whether the run may have to be taken up again.
    remembers: bool,
    progress: Progress,
    replies: BTreeMap<String, Value>,
    /// What was asked before this run and is not answered by it.
    waited: Vec<Waiting>,
}

impl Listener {
    fn tell(&self, event: Event) {
        self.feed.send(event);
    }

    /// Asks the client, now or again.
    fn ask(&self, waiting: Waiting) {
        self.tell(Event::FlowMultiTurnInputRequestEvent(api::FlowMultiTurnInputRequestEvent {
            content: api::FlowMultiTurnInputContent::Document(Value::String(waiting.question.clone())),
            node_name: waiting.node.clone(),
            // Only agents ask.
            node_type: node_type(FlowNodeType::Agent),
        }));
        self.progress.asked.lock().push(waiting);
    }

    fn happened(&self, event: RunEvent) {
        match event {
            RunEvent::FlowOutput { node, value, .. } => {
                self.tell(Event::FlowOutputEvent(api::FlowOutputEvent {
                    content: api::FlowOutputContent::Document(value),
                    node_name: node,
                    node_type: node_type(FlowNodeType::Output),
                }))
            }
            event if self.traced => {
                if let Some(trace) = event.into_trace() {
                    self.tell(Event::FlowTraceEvent(api::FlowTraceEvent { trace }));
                }
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Recorder for Listener {
    fn recall(&self, key: &str) -> Option<Given> {
        if self.remembers { self.progress.done.lock().get(key).cloned() } else { None }
    }

    fn reply(&self, key: &str) -> Option<Value> {
        self.replies.get(key).cloned()
    }

    fn waits(&self, key: &str) -> bool {
        let Some(waiting) = self.waited.iter().find(|it| it.key == key) else { return false };
        self.ask(waiting.clone());
        true
    }

    fn keeps_events(&self) -> bool {
        self.traced
    }

    async fn begins(&self, _key: &str, event: RunEvent) -> Result<(), RecordError> {
        self.happened(event);
        Ok(())
    }

    async fn ended(&self, key: &str, given: &Given, events: Vec<RunEvent>) -> Result<(), RecordError> {
        events.into_iter().for_each(|event| self.happened(event));
        if self.remembers {
            self.progress.done.lock().insert(key.to_owned(), given.clone());
        }
        Ok(())
    }

    async fn asks(&self, key: &str, node: &Node, question: String) -> Result<(), RecordError> {
        self.ask(Waiting { key: key.to_owned(), node: node.name.clone(), question });
        Ok(())
    }
}
